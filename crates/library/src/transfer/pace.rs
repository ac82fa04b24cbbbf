//! How long a transfer waits, how much it asks for at once, and when a connection is slow. Tests set these small.

use std::time::Duration;

use crate::limits;

/// The waits, sizes and thresholds of a transfer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// The least that one connection is asked for, and the least that is left to each of two that share a range.
    pub range_bytes_min: u64,
    /// The most that one connection is asked for.
    pub range_bytes_max: u64,
    /// Over how long a connection's rate is measured.
    pub window: Duration,
    /// Silence of a connection before it is replaced.
    pub stall: Duration,
    /// The wait behind a first failure; each further one doubles it.
    pub back_off: Duration,
    /// The longest such wait.
    pub back_off_max: Duration,
    /// The longest wait that a server may ask for.
    pub retry_after_max: Duration,
    /// How often one is tried that never answered, neither now nor in earlier pulls of the file.
    pub first_tries_max: u32,
    /// How long received bytes wait to be written and recorded, unless there are many of them.
    pub flush: Duration,
    /// How long to wait between the first and the second probe of whether new connections are faster.
    pub probe: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            range_bytes_min: limits::RANGE_BYTES_MIN,
            range_bytes_max: limits::RANGE_BYTES_MAX,
            window: limits::RATE_WINDOW,
            stall: limits::STALL_MAX,
            back_off: limits::BACK_OFF,
            back_off_max: limits::BACK_OFF_MAX,
            retry_after_max: limits::RETRY_AFTER_MAX,
            first_tries_max: limits::FIRST_TRIES_MAX,
            flush: limits::FLUSH_WAIT,
            probe: limits::PROBE_WAIT,
        }
    }
}

impl Pace {
    /// The wait behind so many failures in a row: it grows, up to a bound.
    pub(super) fn wait(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        self.back_off.saturating_mul(1 << doublings).min(self.back_off_max)
    }
}
