//! Guesses behind the one token that a stream is certain of: their rows, their cells, and what of
//! them stays.
//!
//! Not here: what is guessed and how much of it (`draft`).

use std::collections::BTreeMap;

use super::{Batch, Key, Row, Scales, Slot, Step, sequence_of};
use crate::draft::limits::DRAFT_TOKENS_MAX;

/// A request that moves by one token in the next step, and may move by more where that is guessed
/// right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream<'a> {
    /// Whose it is.
    pub key: Key,
    /// Its sequence.
    pub sequence: u32,
    /// All its tokens. The last one is not in the cache yet.
    pub tokens: &'a [u32],
    /// Guesses that there can be at most.
    pub draft_max: u32,
}

/// What stays of a sequence whose guesses did not all come true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// Its number.
    pub sequence: u32,
    /// Tokens that it keeps; the cells behind them must be freed before anything else is done.
    pub tokens: u32,
}

impl Batch {
    /// The streams of the next step, oldest first. That step may leave some out when cells run short.
    #[must_use]
    pub fn streams(&self) -> Vec<Stream<'_>> {
        let theirs = self.by_age_with(&self.next_scales()).into_iter();
        let streams = theirs.filter(|index| self.slots[*index].pending() == 1);
        let stream = |index: usize| {
            let slot = &self.slots[index];
            let (key, draft_max) = (slot.owner.map(|owner| owner.key)?, self.draft_max(slot));
            Some(Stream { key, sequence: sequence_of(index), tokens: &slot.tokens, draft_max })
        };
        streams.filter_map(stream).collect()
    }

    /// What is guessed of a stream, for the next step alone.
    pub fn draft(&mut self, key: Key, tokens: Vec<u32>) {
        if !tokens.is_empty() {
            self.proposals.insert(key, tokens);
        }
    }

    /// The tokens of a request that hold are all accepted; its guesses that are left came to nothing.
    /// Must follow each step that had guesses of it, before anything else happens to it.
    #[must_use]
    pub fn settle(&mut self, key: Key) -> Option<Settled> {
        let index = self.slot_of(key)?;
        let slot = &mut self.slots[index];
        if slot.drafted.is_empty() {
            return None;
        }
        slot.drafted.clear();
        let tokens = u32::try_from(slot.cached).unwrap_or(u32::MAX);
        Some(Settled { sequence: sequence_of(index), tokens })
    }

    /// Guesses that a stream can have: the token after the last one must still find a cell. One whose
    /// layers carry a state guesses only while it runs alone: llama.cpp computes a step of several such
    /// sequences in parts, and a later part may move the state of an earlier one without the states before
    /// it (`llama_memory_recurrent::find_slot`, `build_rs`).
    fn draft_max(&self, slot: &Slot) -> u32 {
        if !self.shape.trims && self.running().nth(1).is_some() {
            return 0;
        }
        let left = (self.shape.cells as usize).saturating_sub(slot.tokens.len() + 1);
        u32::try_from(left).unwrap_or(u32::MAX).min(self.shape.takes_back_max)
    }

    /// Guesses that a step for these scales has room for beside what is certain, of all streams together:
    /// they take no cell and no row from anybody, and no prefix is given up for them.
    pub(super) fn room_for_drafts(&self, scales: &Scales) -> usize {
        let streams = self.running_with(scales).filter(|slot| slot.pending() == 1).count();
        let prompts = self.prompt_cells(scales);
        let room = self.free_cells().min(self.step_tokens_max()).saturating_sub(streams + prompts);
        // Any sequence may have its one output.
        let outputs = self.shape.outputs_max.saturating_sub(self.shape.sequences);
        room.min(outputs as usize).min(DRAFT_TOKENS_MAX)
    }

    /// Adds guesses of this stream to a step that has its certain token, at most `room`; how many.
    pub(super) fn push_draft(
        &mut self,
        index: usize,
        proposals: &mut BTreeMap<Key, Vec<u32>>,
        room: usize,
        step: &mut Step,
    ) -> usize {
        let draft_max = self.draft_max(&self.slots[index]) as usize;
        let slot = &mut self.slots[index];
        let Some(owner) = slot.owner else { return 0 };
        let Some(mut tokens) = proposals.remove(&owner.key) else { return 0 };
        tokens.truncate(room.min(draft_max));
        for (position, token) in (slot.cached..).zip(&tokens) {
            step.rows.push(Row {
                key: owner.key,
                sequence: sequence_of(index),
                position: u32::try_from(position).unwrap_or(u32::MAX),
                token: *token,
                output: true,
                is_draft: true,
            });
        }
        step.drafted_rows += u32::try_from(tokens.len()).unwrap_or(u32::MAX);
        slot.drafted = tokens.into();
        slot.drafted.len()
    }
}
