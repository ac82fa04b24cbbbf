//! The breaker: a model that keeps failing to load is left alone for a while.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::{
    limits::{COOL_OFF, FAILING_MODELS_MAX, FAILURE_WINDOW, LOAD_FAILURES_MAX},
    word::{Model, Refusal, When},
};

/// Failed loads of late, by version of the model: a changed file has a clean record.
#[derive(Debug, Clone, Default)]
pub(super) struct Breaker {
    failing: BTreeMap<Model, Record>,
}

#[derive(Debug, Clone)]
struct Record {
    /// The last failures, at most [`LOAD_FAILURES_MAX`], oldest first. Never empty.
    failures: VecDeque<When>,
    last_reason: String,
}

impl Breaker {
    /// A load failed.
    pub(super) fn load_failed(&mut self, now: When, model: &Model, reason: &str) {
        let is_new = !self.failing.contains_key(model);
        if is_new && self.failing.len() >= FAILING_MODELS_MAX {
            self.forget_oldest();
        }
        let record = self
            .failing
            .entry(model.clone())
            .or_insert_with(|| Record { failures: VecDeque::new(), last_reason: String::new() });
        if record.failures.len() == LOAD_FAILURES_MAX {
            record.failures.pop_front();
        }
        record.failures.push_back(now);
        reason.clone_into(&mut record.last_reason);
    }

    /// A load succeeded, which clears the record.
    pub(super) fn loaded(&mut self, model: &Model) {
        self.failing.remove(model);
    }

    /// Why this model is not tried now, if it is not.
    pub(super) fn cooling(&self, now: When, model: &Model) -> Option<Refusal> {
        let record = self.failing.get(model)?;
        let (first, last) = (record.failures.front()?, record.failures.back()?);
        let often = record.failures.len() >= LOAD_FAILURES_MAX;
        let close = last.since(*first) <= FAILURE_WINDOW;
        let retry_in = COOL_OFF.saturating_sub(now.since(*last));
        let cooling = often && close && retry_in > Duration::ZERO;
        cooling.then(|| Refusal::CoolingOff {
            failures: record.failures.len(),
            retry_in,
            reason: record.last_reason.clone(),
        })
    }

    fn forget_oldest(&mut self) {
        let last_failure = |record: &Record| record.failures.back().copied();
        let oldest = self.failing.iter().min_by_key(|(_, record)| last_failure(record));
        if let Some(model) = oldest.map(|(model, _)| model.clone()) {
            self.failing.remove(&model);
        }
    }
}
