//! Linux: `/proc`.

use std::fs;

/// Every process with its parent, as far as they may be seen.
pub(super) fn parents(_root: u32) -> Vec<(u32, u32)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some((pid, parent(&stat)?))
    })
    .collect()
}

/// The line reads `42 (a name) S 7 ...`, and the name may hold anything, spaces and brackets too.
fn parent(stat: &str) -> Option<u32> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_forge_a_parent() {
        assert_eq!(parent("42 (plain) S 7 42 42 0 -1"), Some(7));
        assert_eq!(parent("42 (a) S 1 (b) R 7 42 42 0 -1"), Some(7));
        assert_eq!(parent("42 (cut"), None);
    }
}
