//! Who holds how many bytes: the one place that knows.
//!
//! An entry is opened when a worker is about to start and closed when its exit was seen. It books
//! the larger of what was promised and the most that was measured, and what a worker was seen to
//! hold is remembered for its model, so that the next promise is no smaller.
//!
//! Not here: what a model is predicted to need ([`crate::footprint`]), and who may have the bytes
//! ([`crate::fleet`]).

pub mod limits;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fleet::{Model, WorkerId};
use limits::LEARNED_MODELS_MAX;

/// The budget, and what is booked on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    budget_bytes: u64,
    entries: BTreeMap<WorkerId, Entry>,
    /// The most that a worker of each model was seen to hold.
    #[serde(with = "crate::pairs")]
    learned: BTreeMap<Model, Learned>,
    /// Counts measurements, so that the oldest can be told.
    measurements: u64,
}

/// What one worker counts for, from before its start until its exit was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its model.
    pub model: Model,
    /// What it was started with: the prediction, or more when its model is known to take more.
    pub promised_bytes: u64,
    /// The most it was seen to hold; zero before it was measured.
    pub measured_bytes: u64,
    /// Whether what it holds says anything about the next of its model.
    pub teaches: bool,
}

/// One line of an explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Which worker.
    pub worker: WorkerId,
    /// What is known of it.
    pub entry: Entry,
    /// What it counts for.
    pub booked_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Learned {
    peak_bytes: u64,
    /// The number of the measurement that was last heard of this model.
    measurement: u64,
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new(budget_bytes: u64) -> Self {
        Self { budget_bytes, ..Self::default() }
    }

    /// Bytes that may be booked.
    #[must_use]
    pub fn budget_bytes(&self) -> u64 {
        self.budget_bytes
    }

    /// From now on so many bytes may be booked. What is booked stays so.
    pub fn set_budget(&mut self, budget_bytes: u64) {
        self.budget_bytes = budget_bytes;
    }

    /// What to book for a model that is predicted to need `bytes`: more, if it was seen to hold more.
    #[must_use]
    pub fn promise(&self, model: &Model, bytes: u64) -> u64 {
        let learned = self.learned.get(model).map_or(0, |learned| learned.peak_bytes);
        bytes.max(learned)
    }

    /// A worker is about to start.
    pub fn open(&mut self, worker: WorkerId, model: Model, promised_bytes: u64) {
        let entry = Entry { model, promised_bytes, measured_bytes: 0, teaches: true };
        let known = self.entries.insert(worker, entry);
        assert!(known.is_none(), "{worker:?} is in the ledger already");
    }

    /// There will be no other of this worker's model, so what it holds is not to be remembered.
    pub fn learn_nothing_of(&mut self, worker: WorkerId) {
        if let Some(entry) = self.entries.get_mut(&worker) {
            entry.teaches = false;
        }
    }

    /// A worker was seen to hold so many bytes. Workers without an entry are gone, and what was seen
    /// of them says nothing any more.
    pub fn measured(&mut self, worker: WorkerId, bytes: u64) {
        let Some(entry) = self.entries.get_mut(&worker) else { return };
        entry.measured_bytes = entry.measured_bytes.max(bytes);
        if entry.teaches {
            let model = entry.model.clone();
            let peak_bytes = entry.measured_bytes;
            self.learn(model, peak_bytes);
        }
    }

    /// The exit of a worker was seen.
    pub fn close(&mut self, worker: WorkerId) {
        self.entries.remove(&worker);
    }

    /// Bytes that are booked in all.
    #[must_use]
    pub fn booked_bytes(&self) -> u64 {
        self.entries.values().map(Entry::booked_bytes).sum()
    }

    /// Bytes that one worker counts for; zero when it has no entry.
    #[must_use]
    pub fn worker_bytes(&self, worker: WorkerId) -> u64 {
        self.entries.get(&worker).map_or(0, Entry::booked_bytes)
    }

    /// Who has an entry, in the order of starting.
    pub fn workers(&self) -> impl Iterator<Item = WorkerId> {
        self.entries.keys().copied()
    }

    /// What is booked, line by line, in the order of starting.
    #[must_use]
    pub fn explain(&self) -> Vec<Row> {
        let row = |(worker, entry): (&WorkerId, &Entry)| Row {
            worker: *worker,
            entry: entry.clone(),
            booked_bytes: entry.booked_bytes(),
        };
        self.entries.iter().map(row).collect()
    }

    fn learn(&mut self, model: Model, peak_bytes: u64) {
        if !self.learned.contains_key(&model) && self.learned.len() >= LEARNED_MODELS_MAX {
            let oldest = self.learned.iter().min_by_key(|(_, learned)| learned.measurement);
            if let Some(oldest) = oldest.map(|(model, _)| model.clone()) {
                self.learned.remove(&oldest);
            }
        }
        self.measurements += 1;
        let measurement = self.measurements;
        let learned = self.learned.entry(model).or_insert(Learned { peak_bytes: 0, measurement });
        learned.peak_bytes = learned.peak_bytes.max(peak_bytes);
        learned.measurement = measurement;
    }
}

impl Entry {
    /// What it counts for.
    #[must_use]
    pub fn booked_bytes(&self) -> u64 {
        self.promised_bytes.max(self.measured_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(version: u64) -> Model {
        Model { name: "chat".into(), version }
    }

    #[test]
    fn the_larger_of_promise_and_peak_is_booked_until_the_exit() {
        let mut ledger = Ledger::new(100);
        ledger.open(WorkerId(0), model(1), 40);
        ledger.open(WorkerId(1), model(2), 10);
        ledger.measured(WorkerId(0), 30);
        assert_eq!(ledger.booked_bytes(), 50);
        ledger.measured(WorkerId(0), 60);
        ledger.measured(WorkerId(0), 20);
        assert_eq!((ledger.worker_bytes(WorkerId(0)), ledger.booked_bytes()), (60, 70));
        let rows = ledger.explain();
        assert_eq!(rows.iter().map(|row| row.booked_bytes).collect::<Vec<_>>(), [60, 10]);
        let entry =
            Entry { model: model(1), promised_bytes: 40, measured_bytes: 60, teaches: true };
        assert_eq!(rows[0].entry, entry);
        ledger.close(WorkerId(0));
        assert_eq!((ledger.worker_bytes(WorkerId(0)), ledger.booked_bytes()), (0, 10));
    }

    #[test]
    fn a_promise_is_no_smaller_than_what_that_version_was_seen_to_hold() {
        let mut ledger = Ledger::new(100);
        ledger.open(WorkerId(0), model(1), 40);
        ledger.measured(WorkerId(0), 55);
        ledger.close(WorkerId(0));
        ledger.measured(WorkerId(0), 99);
        assert_eq!(ledger.promise(&model(1), 40), 55);
        assert_eq!(ledger.promise(&model(1), 70), 70);
        assert_eq!(ledger.promise(&model(2), 40), 40);
    }

    #[test]
    fn of_what_comes_once_nothing_is_learned() {
        let mut ledger = Ledger::new(100);
        ledger.open(WorkerId(0), model(1), 40);
        ledger.learn_nothing_of(WorkerId(0));
        ledger.measured(WorkerId(0), 55);
        assert_eq!((ledger.booked_bytes(), ledger.promise(&model(1), 40)), (55, 40));
        assert_eq!(ledger.learned.len(), 0);
    }

    #[test]
    fn the_model_measured_longest_ago_is_forgotten_first() {
        let mut ledger = Ledger::new(100);
        let models = LEARNED_MODELS_MAX as u64;
        for version in 0..models {
            ledger.open(WorkerId(version), model(version), 1);
            ledger.measured(WorkerId(version), 9);
        }
        ledger.measured(WorkerId(0), 9);
        ledger.open(WorkerId(models), model(models), 1);
        ledger.measured(WorkerId(models), 9);
        let promises = [0, 1, 2, models].map(|version| ledger.promise(&model(version), 1));
        assert_eq!(promises, [9, 1, 9, 9]);
        assert_eq!(ledger.learned.len(), LEARNED_MODELS_MAX);
    }
}
