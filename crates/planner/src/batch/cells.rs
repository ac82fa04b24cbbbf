//! Cells that run short: which kept prefixes are given up, and who gives way.
//!
//! Not here: who gets a sequence, and what a step holds (`super`).

use super::{Batch, Lost, Prefix, Scales, Slot, Step, Work, sequence_of};

impl Batch {
    /// Frees every cell that no step needs now: parks paused requests and gives up kept prefixes.
    /// Returns what the sequences held whose cells must be freed.
    #[must_use]
    pub fn free_unused(&mut self) -> Vec<Lost> {
        while self.park_paused().is_some() {}
        let mut lost = Vec::new();
        while let Some(index) = self.oldest_prefix() {
            lost.push(self.drop_prefix(index));
        }
        lost
    }

    /// Gives up kept prefixes, the oldest first, until `target` can hold `tokens` tokens; `None` when
    /// that is not enough. What the request itself continues stays.
    pub(super) fn room_for(
        &mut self,
        tokens: usize,
        target: usize,
        kept: Option<Prefix>,
    ) -> Option<Vec<Lost>> {
        let needed = tokens.saturating_sub(self.slots[target].cached);
        let is_spared = |index| index == target || kept.is_some_and(|kept| kept.slot == index);
        let mut others: Vec<usize> = (0..self.slots.len())
            .filter(|index| {
                let slot = &self.slots[*index];
                slot.owner.is_none() && slot.cached > 0 && !is_spared(*index)
            })
            .collect();
        let gives: usize = others.iter().map(|index| self.slots[*index].cached).sum();
        if self.free_cells() + gives < needed {
            return None;
        }
        others.sort_unstable_by_key(|index| self.slots[*index].last_use);
        let mut lost = Vec::new();
        for index in others {
            if self.free_cells() >= needed {
                break;
            }
            lost.push(self.drop_prefix(index));
        }
        Some(lost)
    }

    /// Sends the youngest paused request back to the queue, for its sequence.
    pub(super) fn park_paused(&mut self) -> Option<()> {
        let is_parkable =
            |index: &usize| self.is_paused(*index) && !self.slots[*index].is_restoring;
        let paused = self.by_age_all().rfind(is_parkable)?;
        self.park(paused);
        Some(())
    }

    /// Frees cells until one token of each stream with these scales fits, and some of their prompts: kept
    /// prefixes first, the oldest before the others, then requests give way, paused before running, young
    /// before old.
    pub(super) fn make_room(&mut self, scales: &Scales, step: &mut Step) {
        let streams = self.running_with(scales).filter(|slot| slot.pending() == 1).count();
        loop {
            let wanted = streams + self.prompt_cells(scales);
            if self.free_cells() >= wanted.min(self.pending_cells(scales)) {
                return;
            }
            if let Some(index) = self.oldest_prefix() {
                let lost = self.drop_prefix(index);
                step.lost.push(lost);
            } else if let Some(index) = self.next_to_park() {
                self.park(index);
            } else {
                return;
            }
        }
    }

    fn oldest_prefix(&self) -> Option<usize> {
        let kept = self.slots.iter().enumerate();
        let kept = kept.filter(|(_, slot)| slot.owner.is_none() && slot.cached > 0);
        kept.min_by_key(|(_, slot)| slot.last_use).map(|(index, _)| index)
    }

    pub(super) fn drop_prefix(&mut self, index: usize) -> Lost {
        let slot = &mut self.slots[index];
        let mut tokens = std::mem::take(&mut slot.tokens);
        tokens.truncate(slot.cached);
        slot.cached = 0;
        Lost { sequence: sequence_of(index), tokens, scales: slot.scales.clone() }
    }

    /// Who gives way next; the last one left never does.
    fn next_to_park(&self) -> Option<usize> {
        let mut by_age: Vec<usize> =
            self.by_age_all().filter(|index| !self.slots[*index].is_restoring).collect();
        if by_age.len() < 2 {
            return None;
        }
        by_age.reverse();
        by_age.iter().find(|index| self.is_paused(**index)).or(by_age.first()).copied()
    }

    /// Back to the head of the queue with all its tokens; what is cached stays as a prefix.
    fn park(&mut self, index: usize) {
        let Some(owner) = self.slots[index].owner else { return };
        let tokens = self.slots[index].tokens.clone();
        let runs = std::mem::take(&mut self.slots[index].runs);
        let scales = self.slots[index].scales.clone();
        self.retire(index);
        let work = Work { key: owner.key, tokens, runs, scales, paused: owner.paused };
        self.waiting.push_front(work);
    }

    /// The sequence has no owner any more; its cached tokens are a prefix for later.
    pub(super) fn retire(&mut self, index: usize) {
        self.uses += 1;
        let slot = &mut self.slots[index];
        slot.owner = None;
        slot.runs.clear();
        slot.cached = slot.live();
        slot.is_restoring = false;
        debug_assert!(slot.drafted.is_empty(), "a request ended before its guesses were settled");
        slot.tokens.truncate(slot.cached);
        slot.last_use = self.uses;
    }

    pub(super) fn used_cells(&self) -> usize {
        self.slots.iter().map(|slot| slot.cached + slot.drafted.len()).sum()
    }

    pub(super) fn free_cells(&self) -> usize {
        self.shape.cells as usize - self.used_cells()
    }

    /// Cells that the running requests with these scales lack for the tokens they have.
    fn pending_cells(&self, scales: &Scales) -> usize {
        self.running_with(scales).map(Slot::pending).sum()
    }
}
