//! What the fleet remembers of each model: its terms, how often it is wanted, how it left last; and
//! what follows from that: what bringing it back costs, and how long to hold it for its users.
//!
//! **Cost.** An idle model that leaves will have to be loaded again when it is next wanted. Its cost
//! is the time that takes, divided by the silence to expect before: the milliseconds of loading that
//! each hour of its absence is expected to cost. The time is what its terms say, at least its bytes
//! at [`LOAD_BYTES_PER_S`]; the silence to expect is its usual one and the present one together, so
//! that of two equals the one that was used last stays.
//!
//! **Holding.** When two clients take turns with two models that do not fit together, every
//! request is a switch unless each model is kept for a few of them. So an idle model that is *hot*
//! may be held while another waits: until it was silent for longer than usual, and for no longer than a
//! share of the other's fair wait. The share is learned: it is all of it once the model was wanted
//! while another waited for its memory, and a part less after each switch where it was not. One client
//! that goes from model to model never asks for the one while it waits for the other, and is not
//! held up.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    limits::{
        HOLD_PARTS_FIRST, HOLD_PARTS_MAX, LOAD_BYTES_PER_S, REMEMBERED_MODELS_MAX, SILENCE_MAX,
        SILENCE_MIN, USUAL_SILENCE_FIRST, USUAL_SILENCES,
    },
    planted::{Bug, planted},
    word::{Model, StopReason, Terms, When},
};

/// All models that are remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Habits {
    #[serde(with = "crate::pairs")]
    models: BTreeMap<Model, Habit>,
    /// Those that are used once, while they are. They push no other out.
    #[serde(with = "crate::pairs")]
    passing: BTreeMap<Model, Habit>,
}

/// What is remembered of one model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Habit {
    /// The newest word on how to treat it.
    pub(super) terms: Terms,
    /// Whether it is not served any more, and only its present users keep it.
    pub(super) withdrawn: bool,
    /// How its worker left last, if one did.
    pub(super) departure: Option<Departure>,
    last_wanted: Option<When>,
    /// The usual time between two requests, once there were two.
    usual_silence: Option<Duration>,
    /// How long to hold it, in parts of the other's fair wait.
    hold_parts: u32,
    /// Whether it was wanted while its memory was wanted too; `None` while nobody wants its memory.
    contested: Option<bool>,
}

/// How a worker left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departure {
    /// When that was decided, or seen.
    pub when: When,
    /// Why.
    pub cause: Cause,
}

/// Why a worker left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// It was told to.
    Stopped {
        /// Why.
        why: StopReason,
        /// The model that needed its memory, where one did.
        for_model: Option<Model>,
    },
    /// It ended by itself, in its own words.
    Died {
        /// What its exit said.
        reason: String,
    },
}

impl Habits {
    /// The newest word on how to treat a model. Forgets others that nobody needs when there are
    /// too many; `needed` tells which are.
    pub(super) fn told(&mut self, model: &Model, terms: Terms, needed: impl Fn(&Model) -> bool) {
        let known = if terms.once { &mut self.passing } else { &mut self.models };
        if let Some(habit) = known.get_mut(model) {
            habit.terms = terms;
            habit.withdrawn = false;
            return;
        }
        self.models.remove(model);
        self.passing.remove(model);
        if terms.once {
            self.passing.insert(model.clone(), Habit::new(terms));
        } else {
            self.make_room(needed);
            self.models.insert(model.clone(), Habit::new(terms));
        }
    }

    /// Forgets those that are used once and were.
    pub(super) fn forget_passing(&mut self, needed: impl Fn(&Model) -> bool) {
        self.passing.retain(|model, _| needed(model));
    }

    /// How a model is treated from now on, without anybody wanting it.
    pub(super) fn retold(&mut self, model: &Model, terms: Terms) {
        if let Some(habit) = self.get_mut(model) {
            habit.terms = terms;
            habit.withdrawn = false;
        }
    }

    /// A model is not served any more.
    pub(super) fn withdraw(&mut self, model: &Model) {
        if let Some(habit) = self.get_mut(model) {
            habit.withdrawn = true;
        }
    }

    /// A request wants a model that was told of.
    pub(super) fn wanted(&mut self, now: When, model: &Model) {
        let Some(habit) = self.get_mut(model) else { return };
        if let Some(last) = habit.last_wanted {
            let silence = now.since(last).min(SILENCE_MAX);
            let usual = habit.usual_silence.unwrap_or(silence);
            habit.usual_silence = Some((usual * 3 + silence) / 4);
        }
        habit.last_wanted = Some(now);
        if habit.contested.is_some() {
            habit.contested = Some(true);
        }
    }

    /// Somebody waits for this model's memory.
    pub(super) fn contest(&mut self, model: &Model) {
        if let Some(habit) = self.get_mut(model) {
            habit.contested.get_or_insert(false);
        }
    }

    /// Whoever waited for this model's memory has it now.
    pub(super) fn settle(&mut self, model: &Model) {
        let Some(habit) = self.get_mut(model) else { return };
        match habit.contested.take() {
            Some(true) => habit.hold_parts = HOLD_PARTS_MAX,
            Some(false) => habit.hold_parts = habit.hold_parts.saturating_sub(1),
            None => {}
        }
    }

    pub(super) fn left(&mut self, now: When, model: &Model, cause: Cause) {
        if let Some(habit) = self.get_mut(model) {
            habit.departure = Some(Departure { when: now, cause });
        }
    }

    pub(super) fn of(&self, model: &Model) -> Option<&Habit> {
        self.models.get(model).or_else(|| self.passing.get(model))
    }

    fn get_mut(&mut self, model: &Model) -> Option<&mut Habit> {
        self.models.get_mut(model).or_else(|| self.passing.get_mut(model))
    }

    fn make_room(&mut self, needed: impl Fn(&Model) -> bool) {
        if self.models.len() < REMEMBERED_MODELS_MAX {
            return;
        }
        let dispensable = self.models.iter().filter(|(model, _)| !needed(model));
        let oldest = dispensable.min_by_key(|(_, habit)| habit.last_wanted);
        if let Some(oldest) = oldest.map(|(model, _)| model.clone()) {
            self.models.remove(&oldest);
        }
    }
}

impl Habit {
    fn new(terms: Terms) -> Self {
        Self {
            terms,
            withdrawn: false,
            departure: None,
            last_wanted: None,
            usual_silence: None,
            hold_parts: HOLD_PARTS_FIRST,
            contested: None,
        }
    }

    /// Milliseconds of loading that each hour of its absence is expected to cost, when it holds so
    /// many bytes and has been silent for so long.
    pub(super) fn cost(&self, bytes: u64, silence: Duration) -> u64 {
        const HOUR_MS: u128 = 3_600_000;
        if planted(Bug::IgnoresCosts) {
            return 1;
        }
        let usual = self.usual_silence.unwrap_or(USUAL_SILENCE_FIRST);
        let expected = (usual + silence).max(SILENCE_MIN);
        let cost = self.load_time(bytes).as_millis() * HOUR_MS / expected.as_millis();
        u64::try_from(cost).unwrap_or(u64::MAX)
    }

    /// How long it stays hot after its last use.
    pub(super) fn hot_for(&self, bytes: u64) -> Duration {
        let usual = self.usual_silence.unwrap_or_default() * USUAL_SILENCES;
        self.load_time(bytes).max(usual)
    }

    /// How long it may be held for its users while another waits whose fair wait is this.
    pub(super) fn hold(&self, fair_wait: Duration) -> Duration {
        fair_wait * self.hold_parts / HOLD_PARTS_MAX
    }

    fn load_time(&self, bytes: u64) -> Duration {
        let by_bytes = Duration::from_millis(bytes / (LOAD_BYTES_PER_S / 1_000));
        self.terms.load_time.max(by_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(once: bool) -> Terms {
        let (bytes, group, pinned, idle_unload) = (1, None, false, None);
        Terms { bytes, group, pinned, idle_unload, load_time: Duration::ZERO, once }
    }

    fn model(version: u64) -> Model {
        Model { name: "a".into(), version }
    }

    #[test]
    fn what_is_used_once_pushes_nothing_out_and_is_forgotten() {
        let mut habits = Habits::default();
        habits.told(&model(0), terms(false), |_| false);
        for version in 1..=2 * REMEMBERED_MODELS_MAX as u64 {
            habits.told(&model(version), terms(true), |_| false);
            habits.forget_passing(|needed| *needed == model(version));
            assert!(habits.of(&model(version)).is_some_and(|habit| habit.terms.once));
        }
        habits.forget_passing(|_| false);
        assert!(habits.of(&model(0)).is_some());
        assert_eq!((habits.models.len(), habits.passing.len()), (1, 0));
    }

    #[test]
    fn the_newest_word_says_whether_it_comes_once() {
        let mut habits = Habits::default();
        for once in [true, false, true] {
            habits.told(&model(0), terms(once), |_| false);
            assert_eq!(habits.of(&model(0)).map(|habit| habit.terms.once), Some(once));
            assert_eq!(habits.models.len() + habits.passing.len(), 1);
        }
    }
}
