//! Whose turn a step is, where requests want different adapters.
//!
//! One step computes all its rows with the same weights, so requests with other scales of the model's
//! adapters take turns. The cells of a sequence are of the scales that they were computed with, and nobody
//! with other scales goes on from them.
//!
//! The turn goes to whoever waited longest, and with it to all who want the same: each time the ones who had
//! it go behind everybody else, so with k sets of scales nobody waits for more than k - 1 turns, whoever
//! comes or goes. A turn lasts some steps, since changing the weights costs the engine time, but it ends
//! with the first step that holds parts of a prompt.
//!
//! Not here: which adapters there are and what changes the weights (`engine`, `llama-worker`).

use std::sync::Arc;

use super::limits::TURN_STEPS;
use super::{Batch, Slot, Step};

/// How strongly each adapter of the model acts, in the model's order; empty where it has none. Equal ones
/// are the same weights.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scales(Arc<[u32]>);

impl Scales {
    /// These scales. A negative zero is the same as zero.
    #[must_use]
    pub fn new(scales: impl IntoIterator<Item = f32>) -> Self {
        Self(scales.into_iter().map(|scale| (scale + 0.0).to_bits()).collect())
    }

    /// The scale of each adapter.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = f32> {
        self.0.iter().map(|bits| f32::from_bits(*bits))
    }
}

/// Who computes now, and for how many steps more if others wait.
#[derive(Debug, Clone, Default)]
pub(super) struct Turn {
    scales: Scales,
    steps_left: u32,
}

impl Batch {
    /// With which scales the next step is computed: those whose turn it is, as far as any of theirs can go on.
    pub(super) fn next_scales(&self) -> Scales {
        self.turns().into_iter().next().unwrap_or_default()
    }

    /// All scales of those that can go on, in the order of their turns.
    pub(super) fn turns(&self) -> Vec<Scales> {
        let mut waiting: Vec<&Slot> = self.running().filter(|slot| slot.pending() > 0).collect();
        let goes_on = |slot: &Slot| self.turn.steps_left > 0 && slot.scales == self.turn.scales;
        waiting.sort_by_key(|slot| (!goes_on(slot), slot.turn_at));
        let mut turns: Vec<Scales> = Vec::new();
        for slot in waiting {
            if !turns.contains(&slot.scales) {
                turns.push(slot.scales.clone());
            }
        }
        turns
    }

    /// A step was made for these scales: all who want them go behind the others.
    pub(super) fn take_turn(&mut self, scales: &Scales, step: &Step) {
        let goes_on = self.turn.scales == *scales && self.turn.steps_left > 0;
        let steps_left = if goes_on { self.turn.steps_left } else { TURN_STEPS };
        let steps_left = if step.prefill_rows > 0 { 0 } else { steps_left - 1 };
        self.turn = Turn { scales: scales.clone(), steps_left };
        self.uses += 1;
        let now = self.uses;
        let theirs = self.slots.iter_mut().filter(|slot| slot.scales == *scales);
        theirs.filter(|slot| slot.is_running()).for_each(|slot| slot.turn_at = now);
    }

    /// Running slots that the next step can be for.
    pub(super) fn running_with<'a>(&'a self, scales: &'a Scales) -> impl Iterator<Item = &'a Slot> {
        self.running().filter(move |slot| slot.scales == *scales)
    }

    /// Indices of running slots with these scales, oldest owner first.
    pub(super) fn by_age_with(&self, scales: &Scales) -> Vec<usize> {
        self.by_age_all()
            .filter(|index| {
                let slot = &self.slots[*index];
                slot.is_running() && slot.scales == *scales
            })
            .collect()
    }
}
