//! What a worker computes next: which requests hold a sequence, which prefix each may keep, and
//! which tokens go into the next step.
//!
//! One [`Batch`] stands for one context of the engine: `cells` of KV cache that `sequences` share.
//! The caller submits requests as tokens, and then in a loop: [`Batch::admit`], apply the edits to
//! the cache, [`Batch::step`], decode its rows, and [`Batch::accept`] one sampled token for each
//! row that has an output.
//!
//! A sequence that nobody owns keeps its tokens as a prefix for later requests until its cells or
//! its place are needed. A request that has to give way (no cells left, or its reader stopped
//! reading while others wait) is parked: it goes back to the head of the queue with all its tokens
//! and continues later from whatever is left of its prefix. So nothing is ever lost to pressure.
//!
//! Cells are counted as if no sequence shared any, which is never less than the truth.
//!
//! What a request shares with none of the sequences may lie in a tier outside the context. Where having
//! it back is quicker than computing it, the admission says so ([`Admission::restore`]): the sequence
//! takes part in no step until [`Batch::restored`] says how much came back.
//!
//! A prompt may hold runs ([`Run`]): what a picture or a sound is to the model. Their rows are computed from
//! something that must be made first, which takes long, so a step has rows of one run at most, and only
//! after [`Batch::allow_run`].
//!
//! Behind the one token of a stream a step may hold guesses of what follows ([`Batch::draft`]). Their
//! cells count like others until the caller has sampled as far as they came true, and
//! [`Batch::settle`] says what of the sequence stays.
//!
//! Requests may want other scales of the model's adapters ([`Scales`]). They share neither steps nor prefixes,
//! and take turns.
//!
//! Not here: sampling, text, the cache itself (`engine`), and the tiers (`kv-store`).

mod cells;
mod drafts;
pub mod limits;
mod prefixes;
mod restore;
mod runs;
mod turns;

pub use drafts::{Settled, Stream};
pub use restore::{Rates, Stored, is_state_worth_keeping};
pub use runs::{Cut, MEDIA_TOKEN_MIN, NextRun, Run, is_media};
pub use turns::Scales;

use std::collections::{BTreeMap, VecDeque};

use limits::{
    ADMIT_SLACK_CELLS, CHECKPOINT_TOKENS, PREFILL_TOKENS_FIRST, PREFILL_TOKENS_MIN, QUIET_STEP_US,
    SHARED_PREFIX_TOKENS_MIN, STALL_US, STEP_TOKENS_TILE, WAITING_MAX,
};
use prefixes::Prefix;
use turns::Turn;

/// What the engine's context can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Cells of KV cache, one per token.
    pub cells: u32,
    /// Sequences that may exist at once.
    pub sequences: u32,
    /// Tokens one step may hold, and beside them as many rows of a run.
    pub step_tokens_max: u32,
    /// Whether the tail of a sequence can be removed. Recurrent models cannot: their state is of
    /// the last token only, so a prefix is reused whole or not at all.
    pub trims: bool,
    /// Whether states of sequences are kept, which models that do not trim need: prompts are then
    /// computed in parts that end where a state is worth keeping.
    pub keeps_states: bool,
    /// Rows of a step that may have an output.
    pub outputs_max: u32,
    /// Tokens that a sequence can be cut back by right after the step that added them, which bounds
    /// the guesses of a stream.
    pub takes_back_max: u32,
}

/// The caller's name for a request.
pub type Key = u64;

/// Says what of these tokens of a request, computed with these scales, lies outside the context.
pub type Look<'a> = &'a mut dyn FnMut(Key, &Scales, &[u32]) -> Option<Stored>;

/// A request was given a sequence. Before the next step the cache of `sequence` must hold exactly
/// the first `cached` tokens of the request; [`Batch::forget`] says that it could not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// Whose it is.
    pub key: Key,
    /// Which sequence it got.
    pub sequence: u32,
    /// The sequence that holds the prefix now: `sequence` itself means "trim", another one means
    /// "clear and copy", `None` means "clear".
    pub source: Option<u32>,
    /// Tokens to keep or copy.
    pub cached: u32,
    /// How many tokens the sequence is to hold once the rest of them came back from outside the
    /// context; [`Batch::restored`] says what came of it.
    pub restore: Option<u32>,
    /// What is given up for it: of other sequences, whose cells must be freed before anything else is
    /// done, and of its own.
    pub lost: Vec<Lost>,
}

/// A prefix that is given up, which is the last chance to keep it outside the context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Where it was.
    pub sequence: u32,
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// With which scales its cells were computed.
    pub scales: Scales,
}

/// What the next decode computes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// Sequences whose cells must be freed first, and what they held.
    pub lost: Vec<Lost>,
    /// Tokens in the order of the batch.
    pub rows: Vec<Row>,
    /// With which scales they are computed.
    pub scales: Scales,
    /// How many of the rows belong to prompts that go on beyond this step or end in it.
    pub prefill_rows: u32,
    /// How many of the rows are guesses.
    pub drafted_rows: u32,
    /// Sequences whose state is worth keeping when this step was computed, and before the next one.
    pub states: Vec<u32>,
}

/// What a sequence of the context holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held<'a> {
    /// Its number.
    pub sequence: u32,
    /// The tokens whose cells it has.
    pub tokens: &'a [u32],
    /// With which scales they were computed.
    pub scales: &'a Scales,
    /// Whether a request goes on with it.
    pub is_owned: bool,
}

/// One token of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Whose it is.
    pub key: Key,
    /// Its sequence.
    pub sequence: u32,
    /// Its position in the sequence.
    pub position: u32,
    /// The token.
    pub token: u32,
    /// Whether the next token is sampled from this row; of a guess, only if it came true.
    pub output: bool,
    /// Whether the token is a guess. Such rows follow the one that their stream is certain of.
    pub is_draft: bool,
}

/// Why a request cannot be submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No token to start from.
    #[error("the prompt is empty; send at least one token")]
    Empty,
    /// The prompt leaves no cell for an answer.
    #[error(
        "the prompt has {prompt_tokens} tokens, but this model runs with a context of {cells}; \
         shorten the prompt or start with a larger --context"
    )]
    TooLong {
        /// Tokens in the prompt.
        prompt_tokens: usize,
        /// Cells of the context.
        cells: u32,
    },
    /// Nothing follows the last picture or sound, so that there is nothing to answer from.
    #[error("the prompt ends in a picture or a sound; put text behind it")]
    EndsInRun,
    /// A run is too long for a step and cannot be divided.
    #[error(
        "a picture or sound takes {rows} tokens, which this model must compute at once, and a step of \
         it holds {step_tokens_max}; send a smaller one"
    )]
    LongRun {
        /// Tokens of the run.
        rows: u32,
        /// Tokens of a step.
        step_tokens_max: u32,
    },
    /// The queue is full.
    #[error("{WAITING_MAX} requests wait for this model already; try again later")]
    Crowded,
}

/// What became of a sampled token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It will be decoded in a coming step.
    Continues,
    /// It was guessed, and its row is in the step that was decoded: the next token is sampled from it.
    Guessed,
    /// The context is full: nothing can follow this token.
    Full,
}

/// Counts for reports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests without a sequence.
    pub waiting: u32,
    /// Requests with a sequence.
    pub running: u32,
    /// Cells in use, kept prefixes included.
    pub cells_used: u32,
}

/// The state of one context. See the module's documentation.
#[derive(Debug)]
pub struct Batch {
    shape: Shape,
    slots: Vec<Slot>,
    waiting: VecDeque<Work>,
    /// Counts uses of slots, to know which was used last.
    uses: u64,
    /// Guesses for the next step.
    proposals: BTreeMap<Key, Vec<u32>>,
    /// Whose run the next step may compute.
    allowed: Option<Key>,
    /// Whose turn it is.
    turn: Turn,
}

/// A request and every token it has so far.
#[derive(Debug)]
struct Work {
    key: Key,
    tokens: Vec<u32>,
    runs: Vec<Run>,
    scales: Scales,
    paused: bool,
}

/// A sequence of the context.
#[derive(Debug, Default)]
struct Slot {
    /// Who runs here; `None` means the tokens are a prefix kept for later.
    owner: Option<Owner>,
    /// Tokens of the owner, or the kept prefix.
    tokens: Vec<u32>,
    /// Runs among the tokens of the owner, in their order.
    runs: Vec<Run>,
    /// With which scales the tokens are computed.
    scales: Scales,
    /// When it was admitted, or had a turn last.
    turn_at: u64,
    /// How many of `tokens` are in the cache, or will be once they came back.
    cached: usize,
    /// Whether some of them are still on their way back.
    is_restoring: bool,
    /// Guesses that are in the cache behind `cached` tokens, until they are settled.
    drafted: VecDeque<u32>,
    /// Length of the prompt when it was admitted.
    prompt: usize,
    last_use: u64,
}

#[derive(Debug, Clone, Copy)]
struct Owner {
    key: Key,
    paused: bool,
    /// Order of admission; the largest is the youngest.
    since: u64,
}

impl Batch {
    /// An empty context.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        let slots = (0..shape.sequences).map(|_| Slot::default()).collect();
        Self {
            shape,
            slots,
            waiting: VecDeque::new(),
            uses: 0,
            proposals: BTreeMap::new(),
            allowed: None,
            turn: Turn::default(),
        }
    }

    /// Queues a request.
    ///
    /// # Errors
    /// [`Refusal`] when it could never run, or too many wait already.
    pub fn submit(&mut self, key: Key, prompt: Vec<u32>) -> Result<(), Refusal> {
        self.submit_as(key, prompt, Vec::new(), Scales::default())
    }

    /// Queues a request of which these tokens, in their order and apart from each other, are runs, and which
    /// is computed with these scales.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub fn submit_as(
        &mut self,
        key: Key,
        prompt: Vec<u32>,
        runs: Vec<Run>,
        scales: Scales,
    ) -> Result<(), Refusal> {
        if prompt.is_empty() {
            return Err(Refusal::Empty);
        }
        if prompt.len() >= self.shape.cells as usize {
            let (prompt_tokens, cells) = (prompt.len(), self.shape.cells);
            return Err(Refusal::TooLong { prompt_tokens, cells });
        }
        runs::check(&prompt, &runs, self.shape.step_tokens_max)?;
        if self.waiting.len() >= WAITING_MAX {
            return Err(Refusal::Crowded);
        }
        self.waiting.push_back(Work { key, tokens: prompt, runs, scales, paused: false });
        Ok(())
    }

    /// The request ended, however it ended. What is in the cache stays as a prefix.
    pub fn release(&mut self, key: Key) {
        self.waiting.retain(|work| work.key != key);
        if let Some(slot) = self.slot_of(key) {
            self.retire(slot);
        }
    }

    /// A paused request is left out of steps; others may take its place.
    pub fn set_paused(&mut self, key: Key, paused: bool) {
        if let Some(work) = self.waiting.iter_mut().find(|work| work.key == key) {
            work.paused = paused;
        }
        for owner in self.slots.iter_mut().filter_map(|slot| slot.owner.as_mut()) {
            if owner.key == key {
                owner.paused = paused;
            }
        }
    }

    /// Gives sequences to waiting requests, first come first served, as far as cells allow. `look`
    /// says what of these tokens, computed with these scales, lies outside the context.
    #[must_use]
    pub fn admit(&mut self, rates: Rates, look: Look<'_>) -> Vec<Admission> {
        let mut admissions = Vec::new();
        let mut next = 0;
        while let Some(work) = self.waiting.get(next) {
            if work.paused || self.waits_for_twin(work) {
                next += 1;
                continue;
            }
            if !self.cells_allow(work) {
                // Whoever does not read gives way, and goes to the head of the queue.
                if self.park_paused().is_none() {
                    break;
                }
                next += 1;
                continue;
            }
            let key = work.key;
            let Some(admission) = self.place(key, rates, look) else { break };
            admissions.push(admission);
        }
        admissions
    }

    /// The cache of this sequence could not be brought to what the admission said; it is empty now.
    pub fn forget(&mut self, sequence: u32) {
        let slot = &mut self.slots[sequence as usize];
        slot.cached = 0;
        slot.drafted.clear();
    }

    /// What came back from outside the context: the sequence of this request holds its first `tokens`
    /// tokens, and takes part in steps from now on.
    pub fn restored(&mut self, key: Key, tokens: u32) {
        if let Some(index) = self.slot_of(key) {
            let slot = &mut self.slots[index];
            slot.is_restoring = false;
            slot.cached = (tokens as usize).min(slot.cached);
        }
    }

    /// What every sequence holds, for keeping it outside the context; the one used last comes first.
    /// One that holds guesses is left out until they are settled.
    #[must_use]
    pub fn held(&self) -> Vec<Held<'_>> {
        let mut held: Vec<(u64, Held<'_>)> = Vec::new();
        for (index, slot) in self.slots.iter().enumerate() {
            let tokens = &slot.tokens[..slot.live()];
            let is_owned = slot.owner.is_some();
            if !tokens.is_empty() && slot.drafted.is_empty() {
                let (sequence, scales) = (sequence_of(index), &slot.scales);
                held.push((slot.last_use, Held { sequence, tokens, scales, is_owned }));
            }
        }
        held.sort_unstable_by_key(|(last_use, _)| std::cmp::Reverse(*last_use));
        held.into_iter().map(|(_, held)| held).collect()
    }

    /// The next step, of those whose turn it is: one token of every stream with the guesses that there is room
    /// for, and of prompts as much as `prefill_tokens_per_s` says is bearable ([`STALL_US`] beside streams,
    /// [`QUIET_STEP_US`] alone). The rows count as decoded from here on; a failed decode ends with
    /// [`Batch::reset`].
    #[must_use]
    pub fn step(&mut self, prefill_tokens_per_s: Option<f32>) -> Step {
        debug_assert!(self.slots.iter().all(|slot| slot.drafted.is_empty()), "not settled");
        let mut step = Step::default();
        let mut proposals = std::mem::take(&mut self.proposals);
        // Who has the turn may be able to do nothing with it, where cells are promised to what comes back or
        // vectors of a run are missing.
        for scales in self.turns() {
            self.fill(&scales, prefill_tokens_per_s, &mut proposals, &mut step);
            if !step.rows.is_empty() {
                self.take_turn(&scales, &step);
                step.scales = scales;
                break;
            }
        }
        self.allowed = None;
        debug_assert!(self.used_cells() <= self.shape.cells as usize);
        step
    }

    /// Adds rows of the requests with these scales to a step that has none.
    fn fill(
        &mut self,
        scales: &Scales,
        prefill_tokens_per_s: Option<f32>,
        proposals: &mut BTreeMap<Key, Vec<u32>>,
        step: &mut Step,
    ) {
        self.make_room(scales, step);
        let mut spare = self.room_for_drafts(scales);
        for index in self.by_age_with(scales) {
            // Cells may be promised to what comes back, which nobody can be parked for.
            let fits = step.rows.len() < self.step_tokens_max() && self.free_cells() > 0;
            if self.slots[index].pending() == 1 && fits {
                self.push_rows(index, 1, step);
                spare -= self.push_draft(index, proposals, spare, step);
            }
        }
        let mut budget = self.prefill_budget(step.rows.len(), prefill_tokens_per_s);
        for index in self.by_age_with(scales) {
            if self.slots[index].pending() > 1 {
                budget = budget.saturating_sub(self.push_prompt(index, budget, step));
            }
        }
    }

    /// Adds the token that was sampled for a request.
    #[must_use]
    pub fn accept(&mut self, key: Key, token: u32) -> Accepted {
        let Some(index) = self.slot_of(key) else { return Accepted::Continues };
        let slot = &mut self.slots[index];
        // Behind a guess that was wrong nothing counts, whatever comes next.
        let is_guessed = slot.pending() == 0 && slot.drafted.front() == Some(&token);
        if is_guessed {
            slot.drafted.pop_front();
            slot.cached += 1;
        }
        slot.tokens.push(token);
        if slot.tokens.len() >= self.shape.cells as usize {
            Accepted::Full
        } else if is_guessed {
            Accepted::Guessed
        } else {
            Accepted::Continues
        }
    }

    /// The cache is gone, and every request with it.
    pub fn reset(&mut self) {
        *self = Self::new(self.shape);
    }

    /// Whether any step could have rows.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let runs = self.running().any(|slot| slot.pending() > 0);
        !runs && self.waiting.iter().all(|work| work.paused)
    }

    /// Counts for reports.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            waiting: u32::try_from(self.waiting.len()).unwrap_or(u32::MAX),
            running: self.slots.iter().map(|slot| u32::from(slot.owner.is_some())).sum(),
            cells_used: u32::try_from(self.used_cells()).unwrap_or(u32::MAX),
        }
    }

    // Admission.

    /// What runs may grow into its own tokens, and this one must fit beside them. Kept prefixes do
    /// not count: they are given up on demand. Alone, a request always fits.
    fn cells_allow(&self, work: &Work) -> bool {
        let committed: usize =
            self.slots.iter().filter(|s| s.owner.is_some()).map(|s| s.tokens.len()).sum();
        let needed = work.tokens.len() + ADMIT_SLACK_CELLS as usize;
        committed == 0 || committed + needed <= self.shape.cells as usize
    }

    /// Moves a waiting request into a sequence.
    fn place(&mut self, key: Key, rates: Rates, look: Look<'_>) -> Option<Admission> {
        if self.slots.iter().all(|slot| slot.owner.is_some()) {
            self.park_paused()?;
        }
        let position = self.waiting.iter().position(|work| work.key == key)?;
        let prefix = self.best_prefix(&self.waiting[position]);
        let target = self.target_for(prefix)?;
        let work = self.waiting.remove(position)?;
        // A copied prefix counts twice, so it must fit twice on paper.
        let room = self.free_cells() + self.slots[target].cached;
        let copies = SHARED_PREFIX_TOKENS_MIN as usize..=room;
        let kept = prefix.filter(|prefix| prefix.slot == target || copies.contains(&prefix.tokens));
        let stored = look(key, &work.scales, &work.tokens[..work.tokens.len() - 1]);
        let stored = stored.and_then(|stored| self.usable(stored, &work.runs));
        let stored = stored.filter(|stored| stored.pays(kept.map_or(0, |kept| kept.tokens), rates));
        // A state is of one moment, so that nothing can be joined to what is there.
        let joined = kept.filter(|_| self.shape.trims);
        let restored = stored.and_then(|stored| {
            let lost = self.room_for(stored.tokens as usize, target, joined)?;
            Some((stored.tokens, lost))
        });
        let (restore, lost) = restored.unzip();
        let kept = if restore.is_some() { joined } else { kept };
        self.uses += 1;
        if let Some(prefix) = kept {
            self.slots[prefix.slot].last_use = self.uses;
        }
        let live = kept.map_or(0, |prefix| prefix.tokens);
        let mut lost = lost.unwrap_or_default();
        let goes_on = kept.is_some_and(|kept| kept.slot == target);
        if self.slots[target].cached > if goes_on { live } else { 0 } {
            lost.push(self.drop_prefix(target));
        }
        self.slots[target] = Slot {
            owner: Some(Owner { key: work.key, paused: work.paused, since: self.uses }),
            prompt: work.tokens.len(),
            tokens: work.tokens,
            runs: work.runs,
            scales: work.scales,
            turn_at: self.uses,
            cached: restore.map_or(live, |tokens| tokens as usize),
            is_restoring: restore.is_some(),
            drafted: VecDeque::new(),
            last_use: self.uses,
        };
        Some(Admission {
            key: work.key,
            sequence: sequence_of(target),
            source: kept.map(|prefix| sequence_of(prefix.slot)),
            cached: u32::try_from(live).unwrap_or(u32::MAX),
            restore,
            lost,
        })
    }

    // Rows.

    fn push_rows(&mut self, index: usize, count: usize, step: &mut Step) {
        let slot = &mut self.slots[index];
        let Some(owner) = slot.owner else { return };
        let end = slot.cached + count;
        for position in slot.cached..end {
            step.rows.push(Row {
                key: owner.key,
                sequence: sequence_of(index),
                position: u32::try_from(position).unwrap_or(u32::MAX),
                token: slot.tokens[position],
                output: position + 1 == slot.tokens.len(),
                is_draft: false,
            });
        }
        slot.cached = end;
    }

    /// Adds what a step has room for of a prompt, of its text or of a run; how much.
    fn push_prompt(&mut self, index: usize, budget: usize, step: &mut Step) -> usize {
        let checkpoint = self.next_checkpoint(index);
        let chunk = match self.run_at(index) {
            // Whoever waits for what its run is computed from holds nobody up.
            Some(_) if !self.is_allowed(index) => 0,
            Some(run) if run.is_one_step() => {
                if run.rows() <= self.free_cells() {
                    run.rows()
                } else {
                    0
                }
            }
            Some(_) | None => {
                let left = self.slots[index].left_of_part();
                let chunk = left.min(budget).min(self.free_cells()).min(checkpoint);
                // One token would be left for a step of its own, which costs as much as thirty and goes
                // through other kernels, that round differently.
                let leaves_one = chunk + 1 == left && chunk < checkpoint;
                if leaves_one { chunk.saturating_sub(1) } else { chunk }
            }
        };
        if chunk > 0 {
            self.push_rows(index, chunk, step);
            step.prefill_rows += u32::try_from(chunk).unwrap_or(u32::MAX);
            if chunk == checkpoint {
                step.states.push(sequence_of(index));
            }
        }
        chunk
    }

    /// Tokens until the state of a sequence is worth keeping: at every so many tokens, and before the
    /// last token of a prompt, so that the same prompt finds all it can use.
    fn next_checkpoint(&self, index: usize) -> usize {
        if !self.shape.keeps_states {
            return usize::MAX;
        }
        let slot = &self.slots[index];
        let round = (slot.cached + 1).next_multiple_of(CHECKPOINT_TOKENS as usize);
        let last = slot.prompt.saturating_sub(1);
        let next = if last > slot.cached { round.min(last) } else { round };
        next - slot.cached
    }

    /// Prompt tokens this step may hold beside `streams`. Streams whose turn it is not wait for it too.
    fn prefill_budget(&self, streams: usize, tokens_per_s: Option<f32>) -> usize {
        let room = self.step_tokens_max().saturating_sub(streams);
        let somebody_streams = streams > 0 || self.running().any(|slot| slot.pending() == 1);
        let time_us = if somebody_streams { STALL_US } else { QUIET_STEP_US };
        let bearable = match tokens_per_s {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a token count from a measured speed; `as` saturates"
            )]
            Some(speed) => (speed * time_us as f32 / 1e6) as usize,
            None => PREFILL_TOKENS_FIRST as usize,
        };
        let tile = STEP_TOKENS_TILE as usize;
        let rows = streams.saturating_add(bearable.max(tile)) / tile * tile;
        let rest = rows.saturating_sub(streams);
        // A tile that is begun costs as much as a full one.
        let budget = if rest < PREFILL_TOKENS_MIN as usize { rest + tile } else { rest };
        budget.min(room)
    }

    fn step_tokens_max(&self) -> usize {
        self.shape.step_tokens_max as usize
    }

    // Slots.

    /// Slots whose owner takes part in steps.
    fn running(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| slot.is_running())
    }

    /// Indices of owned slots, oldest owner first.
    fn by_age_all(&self) -> impl DoubleEndedIterator<Item = usize> + use<> {
        let owned = self.slots.iter().enumerate();
        let mut owned: Vec<(u64, usize)> =
            owned.filter_map(|(index, slot)| Some((slot.owner?.since, index))).collect();
        owned.sort_unstable();
        owned.into_iter().map(|(_, index)| index)
    }

    fn is_paused(&self, index: usize) -> bool {
        self.slots[index].owner.is_some_and(|owner| owner.paused)
    }

    fn slot_of(&self, key: Key) -> Option<usize> {
        self.slots.iter().position(|slot| slot.owner.is_some_and(|owner| owner.key == key))
    }
}

impl Slot {
    fn is_running(&self) -> bool {
        !self.is_restoring && self.owner.is_some_and(|owner| !owner.paused)
    }

    /// How many tokens are in the cache now and may be shared.
    fn live(&self) -> usize {
        if self.is_restoring { 0 } else { self.cached }
    }

    /// Tokens that are not in the cache yet.
    fn pending(&self) -> usize {
        self.tokens.len() - self.cached
    }
}

fn sequence_of(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
