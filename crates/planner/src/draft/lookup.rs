//! Guesses from the text itself: what followed when the last tokens occurred before.
//!
//! The index is that of a compressor: for each place in the text the latest earlier place where the
//! same three tokens begin, found through a table of hashes. Adding a token and looking one up takes
//! bounded work, however long the text.

use super::Trust;
use super::limits::{CANDIDATES_MAX, INDEX_SLOTS_FIRST, MATCH_TOKENS_MAX, MATCH_TOKENS_MIN};

/// No place.
const NOWHERE: u32 = u32::MAX;

/// An index of one text, which grows with it.
#[derive(Debug, Clone)]
pub struct Lookup {
    /// By hash, the latest place whose tokens have it. A place is where three tokens begin.
    latest: Vec<u32>,
    /// By place, the one before it with the same hash.
    earlier: Vec<u32>,
}

/// What may follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guess {
    /// The tokens.
    pub tokens: Vec<u32>,
    /// How much they are to be believed.
    pub trust: Trust,
}

impl Default for Lookup {
    fn default() -> Self {
        Self { latest: vec![NOWHERE; INDEX_SLOTS_FIRST], earlier: Vec::new() }
    }
}

impl Lookup {
    /// What may follow `text`, at most `tokens_max` tokens: what followed the longest of the latest
    /// matches of its end, the latest of equals. `text` must begin with what it was when this was
    /// last asked.
    pub fn guess(&mut self, text: &[u32], tokens_max: usize) -> Option<Guess> {
        self.learn(text);
        let end = text.len();
        let last = end.checked_sub(MATCH_TOKENS_MIN)?;
        let mut place = *self.earlier.get(last)?;
        let mut best: Option<(usize, usize)> = None;
        for _ in 0..CANDIDATES_MAX {
            if place == NOWHERE {
                break;
            }
            let after = place as usize + MATCH_TOKENS_MIN;
            let length = matched(&text[..after], text);
            if length >= MATCH_TOKENS_MIN && best.is_none_or(|(longest, _)| length > longest) {
                best = Some((length, after));
                if length == MATCH_TOKENS_MAX {
                    break;
                }
            }
            place = self.earlier[place as usize];
        }
        let (length, after) = best?;
        // Where the match overlaps the end, the text repeats with this period and goes on so.
        let period = end - after;
        let guessed = |at: usize| text[after + at % period];
        let tokens: Vec<u32> = (0..tokens_max).map(guessed).collect();
        (!tokens.is_empty()).then(|| Guess { tokens, trust: Trust::of_match(length) })
    }

    /// Adds the places that are new.
    fn learn(&mut self, text: &[u32]) {
        let places = (text.len() + 1).saturating_sub(MATCH_TOKENS_MIN);
        if places > self.latest.len() {
            self.grow(places.next_power_of_two(), text);
        }
        for place in self.earlier.len()..places {
            let slot = self.slot(&text[place..place + MATCH_TOKENS_MIN]);
            self.earlier.push(self.latest[slot]);
            self.latest[slot] = u32::try_from(place).unwrap_or(NOWHERE);
        }
    }

    /// Makes the table so large, which places all that was learned anew.
    fn grow(&mut self, slots: usize, text: &[u32]) {
        let known = self.earlier.len();
        self.latest = vec![NOWHERE; slots];
        self.earlier.clear();
        let known = if known == 0 { 0 } else { known + MATCH_TOKENS_MIN - 1 };
        self.learn(&text[..known]);
    }

    /// The table's length is a power of two.
    fn slot(&self, tokens: &[u32]) -> usize {
        // Knuth's multiplicative hash, 2^64 divided by the golden ratio.
        const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
        let hash = tokens.iter().fold(0_u64, |hash, token| {
            (hash ^ u64::from(*token)).wrapping_mul(FACTOR).rotate_left(29)
        });
        #[expect(clippy::cast_possible_truncation, reason = "the low bits are wanted")]
        let low = (hash ^ (hash >> 32)) as usize;
        low & (self.latest.len() - 1)
    }
}

/// How many of the last tokens of both are the same, as far as they are compared.
fn matched(earlier: &[u32], text: &[u32]) -> usize {
    let pairs = earlier.iter().rev().zip(text.iter().rev());
    pairs.take(MATCH_TOKENS_MAX).take_while(|(one, other)| one == other).count()
}
