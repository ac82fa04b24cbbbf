//! Guessing ahead: which tokens a stream is likely to say next, and how many of them are worth a row
//! of the next step.
//!
//! A step that holds several tokens of one stream takes hardly longer than one with a single token
//! where the machine waits for memory, and much longer where it computes. So nothing is assumed:
//! [`Policy`] measures what steps of so many rows take and how many guesses of each [`Trust`] come
//! true, and drafts what makes the most tokens a second of it. Where that is nothing, it tries again
//! now and then, for a small share of the time.
//!
//! [`Lookup`] guesses from the text itself: what followed the last few tokens when they occurred
//! before. Other sources (a small model, the model's own further heads) belong to the engine.
//!
//! A guess never changes what is said: each token is drawn from the model's own logits, and a drafted
//! row counts only when the token that was drawn before it is the one that was guessed.
//!
//! Not here: rows and cells (`batch`), drawing and decoding (`engine`).

pub mod limits;
mod lookup;
mod own;
mod pair;
mod policy;
#[cfg(test)]
mod tests;
mod times;

pub use lookup::{Guess, Lookup};
pub use own::{head_misfit, taken_back};
pub use pair::misfit;
pub use policy::{Choice, Mode, Offer, Policy, Record, Stepped};

use limits::{TRUST_LONG_TOKENS, TRUST_MIDDLE_TOKENS};

/// What is known about guesses before they are tried. Guesses of one kind share their record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trust {
    /// From the text, after a match of few tokens.
    ShortMatch,
    /// From the text, after a match of some tokens.
    MiddleMatch,
    /// From the text, after a long match.
    LongMatch,
    /// By a model.
    Model,
}

impl Trust {
    /// How many kinds there are.
    pub(crate) const COUNT: usize = 4;

    /// The kind of a guess from the text whose match has so many tokens.
    #[must_use]
    pub fn of_match(tokens: usize) -> Self {
        if tokens >= TRUST_LONG_TOKENS {
            Self::LongMatch
        } else if tokens >= TRUST_MIDDLE_TOKENS {
            Self::MiddleMatch
        } else {
            Self::ShortMatch
        }
    }

    fn index(self) -> usize {
        match self {
            Self::ShortMatch => 0,
            Self::MiddleMatch => 1,
            Self::LongMatch => 2,
            Self::Model => 3,
        }
    }
}
