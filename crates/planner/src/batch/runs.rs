//! Pictures and sounds in a prompt: runs of rows that are computed from vectors instead of tokens.
//!
//! A row of a run stands in the prompt as a token above every vocabulary ([`MEDIA_TOKEN_MIN`]), which says
//! what it is of: equal tokens are equal rows. So prefixes with runs are found, shared and kept like
//! others.
//!
//! Not here: what the tokens are and where vectors come from (`engine`).

use super::limits::PREFILL_TOKENS_MIN;
use super::{Batch, Key, Refusal, Scales, Slot, Stored};

/// The first of the tokens that stand for rows of runs. No vocabulary reaches so far.
pub const MEDIA_TOKEN_MIN: u32 = 1 << 31;

/// Whether a token stands for a row of a run.
#[must_use]
pub const fn is_media(token: u32) -> bool {
    token >= MEDIA_TOKEN_MIN
}

/// Where a run may be divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Anywhere, like text.
    Anywhere,
    /// Between steps; what is kept of it is all or nothing, since its rows share positions.
    BetweenSteps,
    /// Nowhere: each row looks at all others, those behind it too, so that one step computes them all.
    Nowhere,
}

/// Rows of one picture, of a part of one, or of a sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Place of its first row in the prompt.
    pub start: u32,
    /// How many rows it has; at least one.
    pub rows: u32,
    /// Where it may be divided.
    pub cut: Cut,
}

impl Run {
    /// The place behind its last row.
    #[must_use]
    pub const fn end(&self) -> u32 {
        self.start.saturating_add(self.rows)
    }

    /// Whether one step must compute it.
    pub(super) const fn is_one_step(&self) -> bool {
        matches!(self.cut, Cut::Nowhere)
    }

    /// Whether a prefix may end in it.
    const fn ends_prefixes(&self) -> bool {
        matches!(self.cut, Cut::Anywhere)
    }

    pub(super) const fn rows(&self) -> usize {
        self.rows as usize
    }

    const fn contains(&self, place: usize) -> bool {
        self.start as usize <= place && place < self.end() as usize
    }
}

/// The run that somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextRun {
    /// Whose it is.
    pub key: Key,
    /// Which of its runs, by its place among them.
    pub run: usize,
}

impl Batch {
    /// The run that should be computed next: the oldest request's that can go on only with one, of those
    /// whose turn it is.
    #[must_use]
    pub fn next_run(&self) -> Option<NextRun> {
        self.by_age_with(&self.next_scales()).into_iter().find_map(|index| {
            let slot = &self.slots[index];
            let run = slot.runs.iter().position(|run| run.contains(slot.cached))?;
            Some(NextRun { key: slot.owner?.key, run })
        })
    }

    /// What the next run of this request is computed from is there: the next step, and no later one, may
    /// hold rows of it.
    pub fn allow_run(&mut self, key: Key) {
        self.allowed = Some(key);
    }

    pub(super) fn is_allowed(&self, index: usize) -> bool {
        self.slots[index].owner.is_some_and(|owner| self.allowed == Some(owner.key))
    }

    /// The run that a sequence goes on with.
    pub(super) fn run_at(&self, index: usize) -> Option<Run> {
        let slot = &self.slots[index];
        slot.runs.iter().find(|run| run.contains(slot.cached)).copied()
    }

    /// Cells that a step for these scales wants for prompts: their least share, or all of a run that cannot
    /// be divided.
    pub(super) fn prompt_cells(&self, scales: &Scales) -> usize {
        let has_prompts = self.running_with(scales).any(|slot| slot.pending() > 1);
        let least = if has_prompts { PREFILL_TOKENS_MIN as usize } else { 0 };
        let allowed = self.allowed.and_then(|key| self.slot_of(key));
        let is_theirs = |slot: &Slot| slot.is_running() && slot.scales == *scales;
        let allowed = allowed.filter(|index| is_theirs(&self.slots[*index]));
        let run = allowed.and_then(|index| self.run_at(index)).filter(Run::is_one_step);
        least.max(run.map_or(0, |run| run.rows()))
    }

    /// What of a prefix outside the context a request with these runs can use.
    pub(super) fn usable(&self, stored: Stored, runs: &[Run]) -> Option<Stored> {
        let tokens = floor(runs, stored.tokens as usize);
        if tokens == stored.tokens as usize {
            return Some(stored);
        }
        // A state is of one moment, and of no earlier one.
        let tokens = u32::try_from(tokens).ok().filter(|_| self.shape.trims)?;
        Some(Stored { tokens, ..stored })
    }
}

impl Slot {
    /// Tokens until the end of the text or of the run that it goes on with.
    pub(super) fn left_of_part(&self) -> usize {
        let borders = self.runs.iter().flat_map(|run| [run.start, run.end()]);
        let next = borders.map(|border| border as usize).find(|border| *border > self.cached);
        next.map_or_else(|| self.pending(), |border| border - self.cached)
    }
}

/// How much of a prefix of so many tokens there is without a part of a run that is whole or nothing.
pub(super) fn floor(runs: &[Run], tokens: usize) -> usize {
    let cut = runs.iter().find(|run| {
        !run.ends_prefixes() && (run.start as usize) < tokens && tokens < run.end() as usize
    });
    cut.map_or(tokens, |run| run.start as usize)
}

/// Whether a prompt with these runs can be computed.
pub(super) fn check(prompt: &[u32], runs: &[Run], step_tokens_max: u32) -> Result<(), Refusal> {
    debug_assert!(runs.is_sorted_by(|one, next| one.end() <= next.start), "runs overlap");
    debug_assert!(
        (0..).zip(prompt).all(|(place, token)| {
            is_media(*token) == runs.iter().any(|run| run.contains(place))
        }),
        "runs and their tokens do not agree"
    );
    if let Some(run) = runs.iter().find(|run| run.is_one_step() && run.rows > step_tokens_max) {
        return Err(Refusal::LongRun { rows: run.rows, step_tokens_max });
    }
    let ends_in_run = runs.last().is_some_and(|run| run.end() as usize >= prompt.len());
    if ends_in_run { Err(Refusal::EndsInRun) } else { Ok(()) }
}
