//! What people see of a transfer.

use std::{collections::VecDeque, time::Duration};

use tokio::{sync::watch, time::Instant};

use super::Seen;
use crate::limits;

/// Keeps [`Seen`] up to date, not too often.
pub(super) struct Progress<'a> {
    seen: &'a watch::Sender<Seen>,
    /// What came when, as far back as the rate reaches.
    recent: VecDeque<(Instant, u64)>,
    began: Instant,
    shown: Option<Instant>,
    why: Option<String>,
}

impl<'a> Progress<'a> {
    pub(super) fn new(seen: &'a watch::Sender<Seen>, done_bytes: u64, whole: Option<u64>) -> Self {
        let first = Seen { done_bytes, whole_bytes: whole, ..Seen::default() };
        seen.send_replace(first);
        Self { seen, recent: VecDeque::new(), began: Instant::now(), shown: None, why: None }
    }

    pub(super) fn arrived(&mut self, bytes: u64) {
        let now = Instant::now();
        match self.recent.back_mut() {
            Some((at, sum)) if now - *at < limits::SHOWN_EVERY => *sum += bytes,
            Some(_) | None => self.recent.push_back((now, bytes)),
        }
    }

    /// Why nothing comes, or that something does.
    pub(super) fn waits_for(&mut self, why: Option<String>) {
        self.why = why;
    }

    /// Shows how it stands, if it is time: `wait` until somebody is asked again, `state` when it is no plain fetching.
    pub(super) fn show(
        &mut self,
        done_bytes: u64,
        whole_bytes: Option<u64>,
        connections: usize,
        wait: Option<Duration>,
        state: Option<String>,
    ) {
        let now = Instant::now();
        if self.shown.is_some_and(|shown| now - shown < limits::SHOWN_EVERY) {
            return;
        }
        self.shown = Some(now);
        let bytes_per_s = self.rate(now);
        let left_bytes = whole_bytes.map(|whole| whole.saturating_sub(done_bytes));
        let left = left_bytes
            .filter(|_| bytes_per_s > 0)
            .map(|left| Duration::from_secs(left / bytes_per_s));
        let waiting = wait.map(|wait| {
            let why = self.why.as_deref().unwrap_or("the server does not answer");
            format!("{why}; asking again in {} s", wait.as_secs() + 1)
        });
        let note = waiting.or(state);
        self.seen.send_replace(Seen {
            done_bytes,
            whole_bytes,
            bytes_per_s,
            left,
            connections,
            note,
        });
    }

    /// All is there and right.
    pub(super) fn end(&mut self, bytes: u64) {
        self.shown = None;
        self.show(bytes, Some(bytes), 0, None, Some("making it durable".to_owned()));
    }

    /// Bytes per second over some seconds.
    pub(super) fn rate(&mut self, now: Instant) -> u64 {
        let window = limits::RATE_SHOWN_WINDOW;
        while self.recent.front().is_some_and(|(at, _)| now - *at > window) {
            self.recent.pop_front();
        }
        let bytes: u64 = self.recent.iter().map(|(_, bytes)| bytes).sum();
        let span_s = (now - self.began).min(window).as_secs_f64().max(0.1);
        (bytes as f64 / span_s) as u64
    }
}
