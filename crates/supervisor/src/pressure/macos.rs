//! macOS: the level that the system itself computes and tells every program.

use sysctl::{Ctl, Sysctl};

use super::Reading;
use crate::limits::{PRESSURE_FULL_PERCENT, PRESSURE_SOME_PERCENT};

/// 1 is normal, 2 a warning, 4 critical.
pub(super) fn read() -> Option<Reading> {
    let value = Ctl::new("kern.memorystatus_vm_pressure_level").ok()?.value_string().ok()?;
    let level: u32 = value.trim().parse().ok()?;
    Some(Reading {
        some_percent: if level >= 2 { PRESSURE_SOME_PERCENT } else { 0.0 },
        full_percent: if level >= 4 { PRESSURE_FULL_PERCENT } else { 0.0 },
        held_share: 0.0,
    })
}
