//! macOS: the physical footprint, which counts what the GPU holds for the process too.

use libproc::pid_rusage::{RUsageInfoV2, pidrusage};

/// Bytes that the process holds now; `None` if it is gone or may not be looked at.
pub(super) fn process_bytes(pid: u32) -> Option<u64> {
    let usage = pidrusage::<RUsageInfoV2>(i32::try_from(pid).ok()?).ok()?;
    Some(usage.ri_phys_footprint)
}
