//! Where the beginning of a request's tokens is in the context already, and which sequence it gets.
//!
//! Not here: what lies outside the context (`restore`).

use super::limits::SHARED_PREFIX_TOKENS_MIN;
use super::{Batch, Slot, Work, runs};

/// Where a prefix of a waiting request was found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prefix {
    pub(super) slot: usize,
    pub(super) tokens: usize,
}

impl Batch {
    /// Someone who runs is computing a prefix this request shares. Waiting for it is cheaper than
    /// computing it twice, and it ends with that prompt.
    pub(super) fn waits_for_twin(&self, work: &Work) -> bool {
        if !self.shape.trims {
            return false;
        }
        let now = self.best_prefix(work).map_or(0, |prefix| prefix.tokens);
        let reusable = &work.tokens[..work.tokens.len() - 1];
        let owned = self.slots.iter().filter(|slot| {
            slot.scales == work.scales && slot.owner.is_some_and(|owner| !owner.paused)
        });
        owned.filter(|slot| slot.is_restoring || slot.pending() > 1).any(|slot| {
            let later = runs::floor(&work.runs, shared_prefix(&slot.tokens, reusable));
            later >= now + SHARED_PREFIX_TOKENS_MIN as usize
        })
    }

    /// The longest prefix of the request that some sequence holds, computed with its scales. The last token
    /// is never reused: its output is what the answer starts from.
    pub(super) fn best_prefix(&self, work: &Work) -> Option<Prefix> {
        let reusable = &work.tokens[..work.tokens.len() - 1];
        let mut best: Option<Prefix> = None;
        let alike = self.slots.iter().enumerate().filter(|(_, slot)| slot.scales == work.scales);
        for (index, slot) in alike {
            let shared = shared_prefix(&slot.tokens[..slot.live()], reusable);
            let tokens = runs::floor(&work.runs, shared);
            let usable = self.shape.trims || (slot.owner.is_none() && tokens == slot.cached);
            if usable && tokens > best.map_or(0, |best| best.tokens) {
                best = Some(Prefix { slot: index, tokens });
            }
        }
        best
    }

    /// The sequence for a request: the one that holds its prefix when that prefix is most of what
    /// it holds, else an empty one, else the one that was not used longest.
    pub(super) fn target_for(&self, prefix: Option<Prefix>) -> Option<usize> {
        let is_idle = |slot: &Slot| slot.owner.is_none();
        let empty = self.slots.iter().position(|slot| is_idle(slot) && slot.cached == 0);
        if let Some(prefix) = prefix {
            let source = &self.slots[prefix.slot];
            let continues = prefix.tokens * 2 >= source.cached;
            if is_idle(source) && (continues || empty.is_none()) {
                return Some(prefix.slot);
            }
        }
        let oldest = || {
            let idle = self.slots.iter().enumerate().filter(|(_, slot)| is_idle(slot));
            idle.min_by_key(|(_, slot)| slot.last_use).map(|(index, _)| index)
        };
        empty.or_else(oldest)
    }
}

pub(super) fn shared_prefix(left: &[u32], right: &[u32]) -> usize {
    left.iter().zip(right).take_while(|(left, right)| left == right).count()
}
