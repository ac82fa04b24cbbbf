//! Whether tokens that lie outside the context come back from there, or are computed again, and whether
//! a state is worth being kept there.
//!
//! Not here: where they lie and how they come back (`kv-store`, `engine`).

use super::limits::{RESTORE_BYTES_PER_S_FIRST, RESTORE_FIXED_US, STATE_BYTES_SMALL};

/// A prefix of a request that lies outside the context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// How many tokens come back.
    pub tokens: u32,
    /// Bytes that must be read for it.
    pub bytes: u64,
}

/// What was measured so far; `None` is unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    /// Prompt tokens computed a second.
    pub prefill_tokens_per_s: Option<f32>,
    /// Bytes that come back a second, reading included.
    pub restore_bytes_per_s: Option<f32>,
}

/// Whether a state of so many bytes is worth keeping, `tokens` tokens behind the last one that is kept:
/// whoever wants it must gain by having it back. The largest take as long as hundreds of tokens, and
/// short prompts would fill the tiers with them.
#[must_use]
pub fn is_state_worth_keeping(state_bytes: u64, tokens: u32, rates: Rates) -> bool {
    state_bytes <= STATE_BYTES_SMALL || Stored { tokens, bytes: state_bytes }.pays(0, rates)
}

impl Stored {
    /// Whether having these tokens back is quicker than computing those that are not in the context
    /// anyway. Before a speed was measured it is, since prompts are slow to compute nearly everywhere.
    pub(super) fn pays(&self, live_tokens: usize, rates: Rates) -> bool {
        let Some(gained) = (self.tokens as usize).checked_sub(live_tokens).filter(|gain| *gain > 0)
        else {
            return false;
        };
        let Some(prefill_tokens_per_s) = rates.prefill_tokens_per_s else { return true };
        let bytes_per_s = rates.restore_bytes_per_s.unwrap_or(RESTORE_BYTES_PER_S_FIRST);
        #[expect(clippy::cast_precision_loss, reason = "an estimate of time")]
        let (restore_s, prefill_s) = (
            RESTORE_FIXED_US as f32 / 1e6 + self.bytes as f32 / bytes_per_s.max(1.0),
            gained as f32 / prefill_tokens_per_s.max(1e-3),
        );
        restore_s < prefill_s
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW_DISK: Rates =
        Rates { prefill_tokens_per_s: Some(1000.0), restore_bytes_per_s: Some(1e6) };

    #[test]
    fn only_what_is_quicker_than_computing_comes_back() {
        let small = Stored { tokens: 1000, bytes: 100_000 };
        assert!(small.pays(0, SLOW_DISK), "0.1 s against 1 s");
        let large = Stored { tokens: 1000, bytes: 2_000_000 };
        assert!(!large.pays(0, SLOW_DISK), "2 s against 1 s");
        assert!(!small.pays(950, SLOW_DISK), "most of it is in the context");
        assert!(!small.pays(1000, Rates::default()), "nothing is gained");
        assert!(large.pays(999, Rates::default()), "nothing is known");
    }

    #[test]
    fn a_large_state_is_kept_where_its_prefix_takes_longer_to_compute() {
        // Half a second to have it back, and 100 tokens computed a second.
        let state_bytes = 150 << 20;
        let rates = Rates { prefill_tokens_per_s: Some(100.0), restore_bytes_per_s: Some(300e6) };
        assert!(!is_state_worth_keeping(state_bytes, 40, rates));
        assert!(is_state_worth_keeping(state_bytes, 60, rates));
        assert!(is_state_worth_keeping(STATE_BYTES_SMALL, 1, rates), "small ones always");
        assert!(is_state_worth_keeping(state_bytes, 1, Rates::default()), "nothing is known");
    }
}
