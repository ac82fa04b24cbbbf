//! Linux: pressure stall information of the machine, and the limits of our own control group, which
//! are those of the container or the unit that the hub runs in.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::Reading;

/// Where version 2 of the control groups is.
const GROUPS: &str = "/sys/fs/cgroup";

/// What the system says now; `None` where it says nothing.
pub(super) fn read() -> Option<Reading> {
    let stalls = fs::read_to_string("/proc/pressure/memory").ok();
    let stalls = stalls.and_then(|text| Some((share(&text, "some")?, share(&text, "full")?)));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let held_share = own_group(&groups).and_then(|group| held_share(Path::new(GROUPS), &group));
    if stalls.is_none() && held_share.is_none() {
        return None;
    }
    let (some_percent, full_percent) = stalls.unwrap_or_default();
    Some(Reading { some_percent, full_percent, held_share: held_share.unwrap_or_default() })
}

/// The line reads `some avg10=1.53 avg60=0.87 avg300=0.29 total=5380`.
fn share(text: &str, kind: &str) -> Option<f32> {
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(kind))?;
    line.split_whitespace().find_map(|field| field.strip_prefix("avg10=")?.parse().ok())
}

/// The line of version 2 reads `0::/user.slice/a.scope`.
fn own_group(groups: &str) -> Option<PathBuf> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(PathBuf::from(path))
}

/// The share of its limit that the group, or the one of those around it that is nearest to its own
/// limit, holds. `None` without any limit.
fn held_share(root: &Path, group: &Path) -> Option<f32> {
    let shares = group.ancestors().filter_map(|group| {
        let group = root.join(group);
        let limit = |name| number(&fs::read_to_string(group.join(name)).ok()?);
        let limit_bytes = limit("memory.max").into_iter().chain(limit("memory.high")).min()?;
        let held_bytes = number(&fs::read_to_string(group.join("memory.current")).ok()?)?;
        let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
        let needed_bytes = held_bytes.saturating_sub(spare_bytes(&stat));
        Some(needed_bytes as f32 / limit_bytes.max(1) as f32)
    });
    shares.max_by(f32::total_cmp)
}

/// Pages of files that no process has mapped: they fill every limit in the end, are given back
/// before anything else, and mean nothing. Mapped ones are weights.
fn spare_bytes(stat: &str) -> u64 {
    let field = |name: &str| {
        let mut lines = stat.lines().filter_map(|line| line.split_once(' '));
        lines.find(|(its, _)| *its == name).and_then(|(_, value)| number(value)).unwrap_or(0)
    };
    let cached_bytes = field("inactive_file").saturating_add(field("active_file"));
    cached_bytes.saturating_sub(field("file_mapped"))
}

/// `max` is no number and no limit.
fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_own_form() {
        let text = "some avg10=1.53 avg60=0.87 avg300=0.29 total=5380\n\
                    full avg10=0.42 avg60=0.10 avg300=0.03 total=2130\n";
        assert_eq!((share(text, "some"), share(text, "full")), (Some(1.53), Some(0.42)));
        assert_eq!(share("some", "some"), None);
        assert_eq!(own_group("9:cpu:/a\n0::/b/c\n"), Some(PathBuf::from("b/c")));
        assert_eq!(own_group("9:cpu:/a\n"), None);
    }

    #[test]
    fn the_tightest_of_the_groups_around_us_counts() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("unit/inner");
        fs::create_dir_all(&inner).unwrap();
        let write = |group: &str, name: &str, text: &str| {
            fs::write(folder.path().join(group).join(name), text).unwrap();
        };
        let share = || held_share(folder.path(), Path::new("unit/inner"));
        assert_eq!(share(), None);
        write("unit/inner", "memory.current", "300\n");
        write("unit/inner", "memory.max", "max\n");
        assert_eq!(share(), None);
        write("unit/inner", "memory.max", "1000\n");
        assert_eq!(share(), Some(0.3));
        write("unit", "memory.current", "900\n");
        write(
            "unit",
            "memory.stat",
            "anon 500\nfile_mapped 100\ninactive_file 150\nactive_file 100\n",
        );
        write("unit", "memory.max", "2000\n");
        write("unit", "memory.high", "1000\n");
        assert_eq!(share(), Some(0.75));
    }
}
