//! The breaker: a model that keeps failing is left alone, each time for longer.
//!
//! A failure is a load that ended in an exit, or a worker that died before it had finished one
//! request. A finished request clears the record.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    limits::{
        COOL_OFF, COOL_OFF_MAX, FAILING_MODELS_MAX, FAILURE_WINDOW, FAILURES_FORGOTTEN_AFTER,
        LOAD_FAILURES_MAX,
    },
    planted::{Bug, planted},
    word::{Model, Refusal, When},
};

/// Failures of late, by version of the model: a changed file has a clean record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Breaker {
    #[serde(with = "crate::pairs")]
    failing: BTreeMap<Model, Record>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// The last failures, at most [`LOAD_FAILURES_MAX`], oldest first. Never empty.
    failures: VecDeque<When>,
    /// How often it failed in all since it last served.
    failures_count: usize,
    /// How long it is left alone after the last failure; zero before the first few.
    cool_off: Duration,
    last_reason: String,
}

impl Breaker {
    /// A model failed.
    pub(super) fn failed(&mut self, now: When, model: &Model, reason: &str) {
        let stale = |record: &Record| {
            let last = record.failures.back().copied().unwrap_or(now);
            now.since(last) > FAILURES_FORGOTTEN_AFTER
        };
        if self.failing.get(model).is_some_and(stale) {
            self.failing.remove(model);
        }
        if !self.failing.contains_key(model) && self.failing.len() >= FAILING_MODELS_MAX {
            self.forget_oldest();
        }
        let record = self.failing.entry(model.clone()).or_insert_with(Record::new);
        if record.failures.len() == LOAD_FAILURES_MAX {
            record.failures.pop_front();
        }
        record.failures.push_back(now);
        record.failures_count += 1;
        record.cool_off = record.next_cool_off(now);
        reason.clone_into(&mut record.last_reason);
    }

    /// A worker of the model finished a request, which clears the record.
    pub(super) fn served(&mut self, model: &Model) {
        self.failing.remove(model);
    }

    /// Why this model is not tried now, if it is not.
    pub(super) fn cooling(&self, now: When, model: &Model) -> Option<Refusal> {
        let record = self.failing.get(model)?;
        let last = record.failures.back()?;
        let retry_in = record.cool_off.saturating_sub(now.since(*last));
        (retry_in > Duration::ZERO).then(|| Refusal::CoolingOff {
            failures: record.failures_count,
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

impl Record {
    fn new() -> Self {
        Self {
            failures: VecDeque::new(),
            failures_count: 0,
            cool_off: Duration::ZERO,
            last_reason: String::new(),
        }
    }

    /// How long to leave it alone after a failure now, which is the last of `failures`.
    fn next_cool_off(&self, now: When) -> Duration {
        if self.cool_off > Duration::ZERO && !planted(Bug::BackOffNeverGrows) {
            return (self.cool_off * 2).min(COOL_OFF_MAX);
        }
        let often = self.failures.len() >= LOAD_FAILURES_MAX;
        let close = self.failures.front().is_some_and(|first| now.since(*first) <= FAILURE_WINDOW);
        if often && close { COOL_OFF } else { self.cool_off }
    }
}
