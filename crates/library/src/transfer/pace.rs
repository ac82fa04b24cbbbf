//! How long a transfer waits, how much it asks for at once, and when a connection is slow. Tests set these small.

use std::{fmt::Display, time::Duration};

use crate::limits;

/// What can fail and go well later.
pub(crate) trait MayPass: Display {
    /// Whether it may go well when it is tried again.
    fn may_pass(&self) -> bool;

    /// How long whoever was asked wants to be left alone.
    fn after(&self) -> Option<Duration>;
}

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
    /// What stays free on the disk beside the file.
    pub spare_bytes: u64,
    /// After how much more of a file of unknown length the disk is asked again whether there is room.
    pub room_bytes: u64,
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
            spare_bytes: limits::DISK_SPARE_BYTES,
            room_bytes: limits::ROOM_BYTES,
            probe: limits::PROBE_WAIT,
        }
    }
}

impl Pace {
    /// Asks until there is an answer, or a failure that does not pass, or one more than there may be of those that do.
    /// What it waits for, and then that it waits no more, goes to `say`.
    ///
    /// # Errors
    /// The last failure.
    pub(crate) async fn patiently<T, E: MayPass, F: Future<Output = Result<T, E>>>(
        &self,
        mut say: impl FnMut(Option<String>),
        mut ask: impl FnMut() -> F,
    ) -> Result<T, E> {
        let mut failures = 0;
        loop {
            let error = match ask().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            failures += 1;
            if !error.may_pass() || failures >= self.first_tries_max {
                return Err(error);
            }
            let asked_for = error.after().unwrap_or_default().min(self.retry_after_max);
            let wait = self.wait(failures).max(asked_for);
            say(Some(format!("{error}; asking again in {} s", wait.as_secs() + 1)));
            tokio::time::sleep(wait).await;
            say(None);
        }
    }

    /// The wait behind so many failures in a row: it grows, up to a bound.
    pub(super) fn wait(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        self.back_off.saturating_mul(1 << doublings).min(self.back_off_max)
    }
}
