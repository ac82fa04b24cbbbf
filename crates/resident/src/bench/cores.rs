//! How many threads both sides get when nobody says: the number that a worker begins with.

use sysinfo::System;

/// Cores of the machine that this process may use.
pub(crate) fn all() -> u32 {
    let allowed = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(allowed).unwrap_or(1)
}

/// The fast cores where the system tells them apart, else the physical ones, as the worker counts
/// them.
pub(crate) fn performance() -> u32 {
    let physical = System::physical_core_count().ok().and_then(|count| u32::try_from(count).ok());
    let worth = fast().or(physical).unwrap_or_else(all);
    worth.min(all()).max(1)
}

#[cfg(target_os = "macos")]
fn fast() -> Option<u32> {
    let mut command = std::process::Command::new("/usr/sbin/sysctl");
    let output = command.args(["-n", "hw.perflevel0.physicalcpu"]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

#[cfg(target_os = "linux")]
fn fast() -> Option<u32> {
    // Intel's hybrid chips list their fast logical processors apart; those of one core name the
    // same siblings.
    let list = std::fs::read_to_string("/sys/devices/cpu_core/cpus").ok()?;
    let mut cores = std::collections::BTreeSet::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        for cpu in first.parse::<u32>().ok()?..=last.parse().ok()? {
            let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/core_cpus_list");
            cores.insert(std::fs::read_to_string(path).unwrap_or_else(|_| cpu.to_string()));
        }
    }
    u32::try_from(cores.len()).ok().filter(|count| *count > 0)
}

#[cfg(not(any(target_os = "macos", target_os = "linux")))]
fn fast() -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_core_and_no_more_fast_ones_than_all() {
        assert!((1..=all()).contains(&performance()));
    }
}
