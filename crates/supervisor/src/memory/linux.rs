//! Linux: the proportional set size, which counts mapped file pages (weights) too, and shared
//! pages by their share.

/// Bytes that the process holds now; `None` if it is gone or may not be looked at.
pub(super) fn process_bytes(pid: u32) -> Option<u64> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    proportional_bytes(&rollup)
}

/// The line reads `Pss:     12345 kB`.
fn proportional_bytes(rollup: &str) -> Option<u64> {
    let value = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kibibytes: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernel_s_own_form() {
        let rollup = "00400000-7fff [rollup]\nRss:   900 kB\nPss:   12 kB\nPss_Dirty:  7 kB\n";
        assert_eq!(proportional_bytes(rollup), Some(12 << 10));
        assert_eq!(proportional_bytes("Rss: 900 kB\n"), None);
    }

    #[test]
    fn this_process_holds_something() {
        assert!(process_bytes(std::process::id()).is_some_and(|bytes| bytes > 1 << 10));
        assert_eq!(process_bytes(u32::MAX), None);
    }
}
