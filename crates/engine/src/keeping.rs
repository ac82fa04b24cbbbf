//! Keeps prefixes outside the context and has them back: the hands of what `planner::batch` decides.
//!
//! Saving runs behind the work: a request that ended leaves its blocks to be copied out while nobody
//! asks for anything, and beside work one block at a time, for a small share of the time. Having
//! something back runs between steps, so that streams move meanwhile. Whatever goes wrong with what was
//! kept, the tokens are computed again.
//!
//! Not here: where it is kept (`kv-store`), how the model gives and takes it (`llama-worker`).

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kv_store::{BLOCK_TOKENS, Cut, Fetch, Found, Kind, Payload, Put, Step, Tier, Tiers};
use planner::batch::{
    Admission, Batch, Held, Key, Lost, Rates, Scales, Stored, is_state_worth_keeping,
};
use worker_protocol::limits::KEPT_SEGMENT_BYTES;

use crate::limits::{
    BRANCHES_MAX, FLUSH_LOOK, RESCUE_SHARE, RESTORE_PART_WAIT, RESTORE_TURN, RESTORE_WEIGHT,
    SAVE_SHARE, SEGMENT_TOKENS_STEP,
};
use crate::model::{Keeps, Model};

/// The tiers of one model, and what is on its way to and from them.
pub(crate) struct Keeping {
    /// Of cells that are computed with the model's own scales.
    tiers: Tiers,
    own: Scales,
    /// Of those that are computed with other scales, the ones used last behind the others.
    branches: Vec<(Scales, Tiers)>,
    keeps: Keeps,
    /// What was found for requests that are being admitted.
    found: BTreeMap<Key, Found>,
    restores: BTreeMap<Key, Restore>,
    /// Bytes that come back a second, measured.
    bytes_per_s: Option<f32>,
    /// Seconds that copying the cells of one token out takes, measured.
    save_s: Option<f32>,
    /// Whether some sequence may hold what is not kept.
    is_behind: bool,
    /// Tokens whose cells are read at a time later on.
    segment_tokens: u32,
    /// Time that may still be spent on saving beside work.
    allowance: Duration,
    /// What of each sequence was offered to the tiers. They may have let go of it since, and it is not
    /// offered again: where they have no room for all, that would never end.
    offered: BTreeMap<u32, Offered>,
    /// The same of states, by the tokens they stand after.
    offered_states: BTreeMap<u32, Offered>,
    /// Bytes of a state, once one was seen: all of a model's have about as many.
    state_bytes: Option<u64>,
    /// Prompt tokens computed a second, as far as measured.
    prefill_tokens_per_s: Option<f32>,
    /// Entries that the tiers had written or given up when there was no room last.
    settled: u64,
}

/// What was offered of a sequence: with which scales it was computed, and its tokens.
type Offered = (Scales, Vec<u32>);

/// A prefix on its way back.
struct Restore {
    fetch: Fetch,
    sequence: u32,
    /// Tokens that the sequence holds now.
    holds: u32,
    /// Tokens that it is to hold.
    end: u32,
    begun: Instant,
    bytes: u64,
    came: Came,
}

/// Where the tokens of a request's prefix were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Came {
    /// In the context.
    pub(crate) live: u32,
    /// In memory outside the context.
    pub(crate) ram: u32,
    /// In files.
    pub(crate) ssd: u32,
}

impl Came {
    pub(crate) fn tokens(self) -> u32 {
        self.live + self.ram + self.ssd
    }
}

/// What one turn of saving came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Saved {
    /// Something was copied out; there may be more.
    Some,
    /// Nothing is missing.
    All,
    /// There is no room before more was written.
    Full,
}

impl Keeping {
    /// `own` is what its model computes with where no request says otherwise.
    pub(crate) fn new(tiers: Tiers, keeps: Keeps, own: Scales) -> Self {
        Self {
            tiers,
            own,
            branches: Vec::new(),
            keeps,
            found: BTreeMap::new(),
            restores: BTreeMap::new(),
            bytes_per_s: None,
            save_s: None,
            // The context may have been in use before the tiers were there.
            is_behind: true,
            segment_tokens: SEGMENT_TOKENS_STEP,
            allowance: Duration::ZERO,
            offered: BTreeMap::new(),
            offered_states: BTreeMap::new(),
            state_bytes: None,
            prefill_tokens_per_s: None,
            settled: 0,
        }
    }

    /// What is known of how fast prefixes are computed and come back.
    pub(crate) fn rates(&self) -> Rates {
        Rates {
            prefill_tokens_per_s: self.prefill_tokens_per_s,
            restore_bytes_per_s: self.bytes_per_s,
        }
    }

    /// Prompt tokens are computed so fast.
    pub(crate) fn note_speed(&mut self, prefill_tokens_per_s: Option<f32>) {
        self.prefill_tokens_per_s = prefill_tokens_per_s;
    }

    /// Where cells are kept that were computed with these scales.
    fn tiers_of(&mut self, scales: &Scales) -> &Tiers {
        if *scales == self.own {
            return &self.tiers;
        }
        let known = self.branches.iter().position(|(other, _)| other == scales);
        let branch = match known {
            Some(place) => self.branches.remove(place),
            None => (scales.clone(), self.tiers.branch(&way(scales))),
        };
        if self.branches.len() >= BRANCHES_MAX {
            self.branches.remove(0);
        }
        let place = self.branches.len();
        self.branches.push(branch);
        &self.branches[place].1
    }

    pub(crate) fn stats(&self) -> kv_store::Stats {
        self.tiers.stats()
    }

    /// The machine is short of memory: what is kept in RAM is let go, but for what was not written yet.
    pub(crate) fn give_back(&self) {
        let bytes = self.tiers.shrink(0);
        tracing::info!(bytes, "the cache gave memory back");
        // It may fill again; while the machine stays short, this comes again.
        self.tiers.shrink(u64::MAX);
    }

    // Back.

    /// What of these tokens is kept, computed with these scales.
    pub(crate) fn look(&mut self, key: Key, scales: &Scales, tokens: &[u32]) -> Option<Stored> {
        let found = self.tiers_of(scales).find(tokens);
        let stored = Stored {
            tokens: u32::try_from(found.tokens).ok().filter(|tokens| *tokens > 0)?,
            bytes: found.pieces.iter().map(|piece| piece.bytes).sum(),
        };
        self.found.insert(key, found);
        Some(stored)
    }

    /// Begins to have back what the admission asks for, behind the `holds` tokens that the sequence
    /// holds. `false` when there is nothing.
    pub(crate) fn begin(&mut self, admission: &Admission, holds: u32) -> bool {
        let found = self.found.remove(&admission.key);
        let Some((end, mut found)) = admission.restore.zip(found) else { return false };
        let is_wanted =
            |range: &Range<usize>| range.end > holds as usize && range.start < end as usize;
        found.pieces.retain(|piece| piece.kind == Kind::State || is_wanted(&piece.range));
        let restore = Restore {
            fetch: self.tiers.fetch(found, Box::new(|| {})),
            sequence: admission.sequence,
            holds,
            end,
            begun: Instant::now(),
            bytes: 0,
            came: Came { live: holds, ..Came::default() },
        };
        self.restores.insert(admission.key, restore);
        true
    }

    pub(crate) fn is_restoring(&self) -> bool {
        !self.restores.is_empty()
    }

    /// Puts what has come into the context, for a bounded time; with `waits` at least one piece, however
    /// long it takes to come. Gives the requests whose prefix is as whole as it will be.
    pub(crate) fn restore<M: Model>(&mut self, model: &mut M, waits: bool) -> Vec<(Key, Came)> {
        let begun = Instant::now();
        let mut done = Vec::new();
        let mut waits = waits;
        for (key, restore) in &mut self.restores {
            loop {
                let step = if waits {
                    restore.fetch.wait()
                } else {
                    restore.fetch.wait_for(RESTORE_PART_WAIT)
                };
                waits = false;
                let is_over = match step {
                    Step::Pending => break,
                    Step::Ready(piece, bytes) => !restore.put(model, self.keeps, &piece, &bytes),
                    Step::Failed(reason) => {
                        tracing::info!(reason, "a kept prefix is computed again from here");
                        true
                    }
                    Step::Done => true,
                };
                if is_over {
                    done.push(*key);
                    break;
                }
                if begun.elapsed() > RESTORE_TURN {
                    break;
                }
            }
        }
        done.into_iter().filter_map(|key| Some((key, self.finish(model, key)?))).collect()
    }

    /// The request ended; what came of its prefix is let go.
    pub(crate) fn abandon<M: Model>(&mut self, model: &mut M, key: Key) -> bool {
        self.found.remove(&key);
        let restore = self.restores.remove(&key);
        if let Some(restore) = &restore {
            model.clear(restore.sequence);
        }
        restore.is_some()
    }

    /// The context is gone.
    pub(crate) fn forget(&mut self) {
        self.found.clear();
        self.restores.clear();
    }

    fn finish<M: Model>(&mut self, model: &mut M, key: Key) -> Option<Came> {
        let restore = self.restores.remove(&key)?;
        self.measure(&restore);
        let needs_state = match self.keeps {
            Keeps::Nothing | Keeps::Cells => false,
            Keeps::CellsAndState | Keeps::State => true,
        };
        // Cells without their state are of no use.
        if needs_state && restore.holds < restore.end {
            model.clear(restore.sequence);
            return Some(Came::default());
        }
        Some(restore.came)
    }

    fn measure(&mut self, restore: &Restore) {
        if restore.bytes == 0 {
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "a measured speed")]
        let speed = restore.bytes as f32 / restore.begun.elapsed().as_secs_f32().max(1e-6);
        let before = self.bytes_per_s.unwrap_or(speed);
        self.bytes_per_s = Some(before + RESTORE_WEIGHT * (speed - before));
    }

    // Away.

    /// Sequences may hold something new.
    pub(crate) fn note_change(&mut self) {
        self.is_behind = true;
    }

    /// Whether something may be missing outside the context.
    pub(crate) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Work went on for so long; a share of it may be spent on saving beside it.
    pub(crate) fn allow(&mut self, worked: Duration) {
        self.allowance = (self.allowance + worked.mul_f32(SAVE_SHARE)).min(RESTORE_TURN);
    }

    /// Saves beside work, as long as its share of the time lasts.
    pub(crate) fn save_beside<M: Model>(&mut self, model: &mut M, batch: &Batch) {
        while self.is_behind && !self.allowance.is_zero() {
            let begun = Instant::now();
            let saved = self.save(model, batch);
            // What there was no room for was copied out too.
            self.allowance = self.allowance.saturating_sub(begun.elapsed());
            if saved != Saved::Some {
                return;
            }
        }
    }

    /// Saves what is about to be lost, as long as that takes a small part of what computing it again
    /// would.
    pub(crate) fn rescue<M: Model>(&mut self, model: &mut M, lost: &Lost) {
        let speed = self.prefill_tokens_per_s;
        let is_dear = |save_s: f32| speed.is_some_and(|speed| save_s * speed > RESCUE_SHARE);
        if !self.is_behind || self.save_s.is_some_and(is_dear) {
            return;
        }
        let Lost { sequence, tokens, scales } = lost;
        let held = Held { sequence: *sequence, tokens, scales, is_owned: false };
        while let Some(put) = self.save_cells(model, &held) {
            if put == Put::Full {
                return;
            }
        }
        self.save_state(model, *sequence, scales, tokens);
    }

    /// Saves one block, or one state.
    pub(crate) fn save<M: Model>(&mut self, model: &mut M, batch: &Batch) -> Saved {
        for held in batch.held() {
            let put = self.save_cells(model, &held).or_else(|| {
                // Whoever runs is soon beyond it; its states are saved when a step ends at one.
                let Held { sequence, tokens, scales, is_owned } = held;
                (!is_owned).then(|| self.save_state(model, sequence, scales, tokens))?
            });
            match put {
                Some(Put::Taken | Put::Known) => return Saved::Some,
                Some(Put::Full) => return Saved::Full,
                None => {}
            }
        }
        self.is_behind = false;
        Saved::All
    }

    /// The first of a sequence's blocks that is not kept. The last block of one that runs is not whole
    /// yet.
    fn save_cells<M: Model>(&mut self, model: &mut M, held: &Held<'_>) -> Option<Put> {
        let Held { sequence, tokens, scales, is_owned } = *held;
        match self.keeps {
            Keeps::Nothing | Keeps::State => return None,
            Keeps::Cells | Keeps::CellsAndState => {}
        }
        let offered = self.offered.get(&sequence).filter(|(of, _)| of == scales);
        let offered = offered.map_or(0, |(_, offered)| {
            offered.iter().zip(tokens).take_while(|(one, other)| one == other).count()
        });
        let is_wanted = |block: &Range<usize>| {
            block.end > offered && (!is_owned || block.len() == BLOCK_TOKENS)
        };
        let mut missing = self.tiers_of(scales).missing(tokens).into_iter().filter(is_wanted);
        missing.find_map(|block| {
            let end = block.end;
            let positions = u32::try_from(block.start).ok()?..u32::try_from(end).ok()?;
            let begun = Instant::now();
            let cells = self.copy_out(model, sequence, positions)?;
            #[expect(clippy::cast_precision_loss, reason = "a block has few tokens")]
            let save_s = begun.elapsed().as_secs_f32() / block.len() as f32;
            let before = self.save_s.unwrap_or(save_s);
            self.save_s = Some(before + RESTORE_WEIGHT * (save_s - before));
            let put = self.tiers_of(scales).put(Kind::Cells, &tokens[..end], cells);
            if put != Put::Full {
                self.offered.insert(sequence, (scales.clone(), tokens[..end].to_vec()));
            }
            Some(put)
        })
    }

    /// A copy of these cells, cut as they are to be read.
    fn copy_out<M: Model>(
        &mut self,
        model: &mut M,
        sequence: u32,
        positions: Range<u32>,
    ) -> Option<Payload> {
        let mut payload = Payload::default();
        let (end, segment_tokens) = (positions.end, self.segment_tokens);
        let tokens = positions.len();
        for begin in positions.step_by(segment_tokens as usize) {
            let segment = begin..end.min(begin + segment_tokens);
            let before = payload.bytes.len();
            if !model.save_cells(sequence, segment.clone(), &mut payload.bytes) {
                return None;
            }
            let bytes = payload.bytes.len() - before;
            if before == 0 {
                // And one more: a copy may need room for what is cut off behind it.
                payload.bytes.reserve_exact(bytes * tokens.div_ceil(segment.len()));
            }
            let bytes = u32::try_from(bytes).ok()?;
            payload.cuts.push(Cut { tokens: end.min(begin + segment_tokens) - begin, bytes });
        }
        self.segment_tokens = segment_tokens_of(payload.bytes.len() / tokens.max(1));
        Some(payload)
    }

    /// The state that a sequence stands at, if it is not kept.
    pub(crate) fn save_state<M: Model>(
        &mut self,
        model: &mut M,
        sequence: u32,
        scales: &Scales,
        tokens: &[u32],
    ) -> Option<Put> {
        match self.keeps {
            Keeps::Nothing | Keeps::Cells => return None,
            Keeps::CellsAndState | Keeps::State => {}
        }
        let before = self.offered_states.get(&sequence);
        let before = before.filter(|(of, one)| of == scales && tokens.starts_with(one));
        let gained = tokens.len() - before.map_or(0, |(_, one)| one.len());
        let gained = u32::try_from(gained).unwrap_or(u32::MAX);
        let rates = self.rates();
        let is_worth = |bytes| is_state_worth_keeping(bytes, gained, rates);
        if gained == 0 || !self.state_bytes.is_none_or(is_worth) {
            return None;
        }
        if self.tiers_of(scales).has_state(tokens) {
            self.offered_states.insert(sequence, (scales.clone(), tokens.to_vec()));
            return None;
        }
        let state = model.save_state(sequence)?;
        self.state_bytes = Some(state.len() as u64);
        let put = self.tiers_of(scales).put(Kind::State, tokens, state);
        if put != Put::Full {
            self.offered_states.insert(sequence, (scales.clone(), tokens.to_vec()));
        }
        Some(put)
    }

    /// Waits a moment for room. `false` when nothing was written since the last time and nothing is being
    /// written, so that there is no hurry.
    pub(crate) fn wait_for_room(&mut self) -> bool {
        let (settled, goes_on) = self.tiers.wait_for_room(FLUSH_LOOK);
        let is_moving = goes_on || settled != self.settled;
        self.settled = settled;
        self.is_behind = is_moving;
        is_moving
    }

    /// Saves all that there is and waits until it is written, at most so long.
    pub(crate) fn leave<M: Model>(&mut self, model: &mut M, batch: &Batch, wait_max: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < wait_max {
            match self.save(model, batch) {
                Saved::Some => {}
                Saved::Full if self.wait_for_room() => {}
                Saved::Full | Saved::All => break,
            }
        }
        let left_bytes = self.tiers.flush(wait_max.saturating_sub(begun.elapsed()));
        if left_bytes > 0 {
            tracing::info!(left_bytes, "not all of the cache was written in time");
        }
    }
}

/// What tells cells that were computed with these scales from all others of the model.
fn way(scales: &Scales) -> Vec<u8> {
    scales.iter().flat_map(f32::to_le_bytes).collect()
}

/// How many tokens with cells of so many bytes are read at a time.
fn segment_tokens_of(cell_bytes: usize) -> u32 {
    let fit = KEPT_SEGMENT_BYTES / (cell_bytes as u64).max(1);
    let fit = u32::try_from(fit).unwrap_or(u32::MAX);
    let block = u32::try_from(BLOCK_TOKENS).unwrap_or(u32::MAX);
    let steps = fit.saturating_add(SEGMENT_TOKENS_STEP / 2) / SEGMENT_TOKENS_STEP;
    (steps * SEGMENT_TOKENS_STEP).clamp(SEGMENT_TOKENS_STEP, block)
}

impl Restore {
    /// Puts one piece into its sequence. `false` when it does not fit, which ends the restore.
    fn put<M: Model>(
        &mut self,
        model: &mut M,
        keeps: Keeps,
        piece: &kv_store::Piece,
        bytes: &Arc<Vec<u8>>,
    ) -> bool {
        let is_done = match piece.kind {
            Kind::Cells => self.put_cells(model, piece, bytes),
            Kind::State => {
                let is_done = model.load_state(self.sequence, self.end, bytes);
                if is_done && keeps == Keeps::State {
                    self.count(piece.tier, self.end);
                }
                self.holds = if is_done { self.end } else { 0 };
                is_done
            }
        };
        self.bytes += bytes.len() as u64;
        if !is_done {
            tracing::warn!("a kept prefix was refused by the model; it is computed again");
        }
        is_done
    }

    fn put_cells<M: Model>(
        &mut self,
        model: &mut M,
        piece: &kv_store::Piece,
        bytes: &Arc<Vec<u8>>,
    ) -> bool {
        let position = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let saved = position(piece.range.start)..position(piece.range.end);
        let usable = position(piece.range.start + piece.usable);
        let wanted = self.holds..usable.min(self.end);
        if wanted.is_empty() {
            return true;
        }
        let is_next = saved.start <= wanted.start;
        let is_done =
            is_next && model.load_cells(self.sequence, saved, wanted.clone(), bytes.as_slice());
        if is_done {
            self.count(piece.tier, wanted.end - wanted.start);
            self.holds = wanted.end;
        }
        is_done
    }

    fn count(&mut self, tier: Tier, tokens: u32) {
        match tier {
            Tier::Ram => self.came.ram += tokens,
            Tier::Ssd => self.came.ssd += tokens,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_about_as_many_bytes_whatever_a_cell_has() {
        // 0.6 and 8 billion parameters at 16 bits, the latter with what stands before its cells.
        assert_eq!([114_688, 131_080].map(segment_tokens_of), [32, 32]);
        assert_eq!(segment_tokens_of(32 << 10), 128);
        assert_eq!(segment_tokens_of(1 << 20), SEGMENT_TOKENS_STEP, "not fewer");
        assert_eq!([0, 4].map(segment_tokens_of), [BLOCK_TOKENS as u32; 2], "a block at most");
    }
}
