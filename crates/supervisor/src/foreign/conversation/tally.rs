//! What an engine did and does, counted by the hub: the counters that our own worker sends.

use std::sync::{Mutex, MutexGuard, PoisonError};

use worker_protocol::{Stats, Usage};

/// Counters of one engine. Cells and threads are the engine's own affair and stay 0.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Stats>);

/// A request as the counters see it, for as long as it exists.
pub(super) struct Place<'a> {
    tally: &'a Tally,
    runs: bool,
}

impl Tally {
    pub(super) fn stats(&self) -> Stats {
        *self.counters()
    }

    /// A request that waits.
    pub(super) fn enter(&self) -> Place<'_> {
        self.counters().waiting += 1;
        Place { tally: self, runs: false }
    }

    /// A request ended well.
    pub(super) fn add(&self, usage: &Usage) {
        let mut counters = self.counters();
        let computed = usage.prompt_tokens.saturating_sub(usage.cached_tokens);
        counters.prefill_tokens += u64::from(computed);
        counters.cached_tokens += u64::from(usage.cached_tokens);
        counters.decode_tokens += u64::from(usage.completion_tokens);
    }

    /// Nothing panics while it holds the lock, so a poisoned one is still sound.
    fn counters(&self) -> MutexGuard<'_, Stats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place<'_> {
    /// It waits no longer.
    pub(super) fn run(&mut self) {
        if !std::mem::replace(&mut self.runs, true) {
            let mut counters = self.tally.counters();
            counters.waiting -= 1;
            counters.running += 1;
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut counters = self.tally.counters();
        if self.runs {
            counters.running -= 1;
        } else {
            counters.waiting -= 1;
        }
    }
}
