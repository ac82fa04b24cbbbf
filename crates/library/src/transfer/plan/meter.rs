//! How much one connection brings, and how fast.

use std::{collections::VecDeque, time::Duration};

/// The rate of one connection.
pub(super) struct Meter {
    window: Duration,
    began: Duration,
    /// When it was asked for something or brought something last.
    latest: Duration,
    bytes: u64,
    /// What came when, as far back as the window reaches.
    recent: VecDeque<(Duration, u64)>,
    /// Whether its first rate counts among those of new connections.
    pub(super) is_noted: bool,
}

impl Meter {
    pub(super) fn new(now: Duration, window: Duration) -> Self {
        Self { window, began: now, latest: now, bytes: 0, recent: VecDeque::new(), is_noted: false }
    }

    pub(super) fn asked(&mut self, now: Duration) {
        self.latest = now;
    }

    pub(super) fn add(&mut self, now: Duration, bytes: u64) {
        while self.recent.front().is_some_and(|(at, _)| *at + self.window <= now) {
            self.recent.pop_front();
        }
        self.latest = now;
        self.bytes += bytes;
        match self.recent.back_mut() {
            // Twenty numbers say as much as thousands.
            Some((at, sum)) if now < *at + self.window / 20 => *sum += bytes,
            Some(_) | None => self.recent.push_back((now, bytes)),
        }
    }

    /// Bytes per second over the window, once it is as old as that.
    pub(super) fn rate(&self, now: Duration) -> Option<f64> {
        let is_old = self.age(now) >= self.window;
        is_old.then(|| self.bytes_recently(now) as f64 / self.window.as_secs_f64())
    }

    pub(super) fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.began)
    }

    pub(super) fn silence(&self, now: Duration) -> Duration {
        now.saturating_sub(self.latest)
    }

    /// What it had brought when the window began.
    pub(super) fn bytes_before(&self, now: Duration) -> u64 {
        self.bytes - self.bytes_recently(now)
    }

    fn bytes_recently(&self, now: Duration) -> u64 {
        let recent = self.recent.iter().filter(|(at, _)| *at + self.window > now);
        recent.map(|(_, bytes)| bytes).sum()
    }
}
