//! Whether models fit a machine, which one to take, and which can be resident together.
//!
//! Everything is decided by bytes: a footprint on one side, a budget on the other. Not here: how
//! the bytes are predicted ([`crate::footprint`]), how the budget is made ([`crate::machine`]), and
//! who is loaded when ([`crate::fleet`]).

mod choose;
mod limits;
mod need;
mod offload;
#[cfg(test)]
mod tests;
mod together;
#[cfg(test)]
mod yardsticks;

use crate::footprint::Footprint;
use crate::machine::{Budget, text};

pub use choose::{
    Candidate, Change, Choice, Offer, Wanted, choose, judge_model, longest_context, offers, ranked,
};
pub use limits::{
    COMFORTABLE_LEFT_PERCENT, CONTEXT_MAX_TOKENS, CONTEXT_MIN_TOKENS, CONTEXT_STEP_TOKENS,
    MEMBERS_MAX, TIGHT_LEFT_PERCENT,
};
pub use need::Need;
pub use offload::{Offload, offload};
pub use together::{Member, Promise, Together, TooMany, together};

use need::Part;

/// How well something fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// With room for more beside it.
    Comfortable,
    /// With some room.
    Fits,
    /// With so little room that a small error would take it.
    Tight,
    /// Not at all.
    DoesNotFit,
}

impl Verdict {
    /// As people read it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Comfortable => "comfortable",
            Self::Fits => "fits",
            Self::Tight => "tight",
            Self::DoesNotFit => "does not fit",
        }
    }

    /// Whether it is as good as `least` or better.
    #[must_use]
    pub const fn is_at_least(self, least: Self) -> bool {
        self.rank() >= least.rank()
    }

    const fn rank(self) -> u8 {
        match self {
            Self::Comfortable => 3,
            Self::Fits => 2,
            Self::Tight => 1,
            Self::DoesNotFit => 0,
        }
    }

    fn of(part: &Part) -> Self {
        let Some(left_bytes) = part.budget_bytes.checked_sub(part.needed_bytes) else {
            return Self::DoesNotFit;
        };
        let has_left = |percent: u64| {
            u128::from(left_bytes) * 100 >= u128::from(part.budget_bytes) * u128::from(percent)
        };
        if has_left(COMFORTABLE_LEFT_PERCENT) {
            Self::Comfortable
        } else if has_left(TIGHT_LEFT_PERCENT) {
            Self::Fits
        } else {
            Self::Tight
        }
    }
}

/// A verdict with its figures: those of the memory that is shortest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// How well it fits.
    pub verdict: Verdict,
    /// What is needed of that memory, in bytes.
    pub needed_bytes: u64,
    /// What there is of it, in bytes.
    pub budget_bytes: u64,
    /// What is left; negative when it does not fit.
    pub headroom_bytes: i128,
    /// The figures in a sentence.
    pub why: String,
}

/// Whether what `footprint` says fits into `budget`.
#[must_use]
pub fn judge(footprint: &Footprint, budget: &Budget) -> Judgement {
    let mut judgement = judge_need(&Need::of(footprint), budget);
    if !footprint.certain {
        judgement.why.push_str(
            "; not all of the architecture is known here, so the need is an upper bound, not a prediction",
        );
    }
    judgement
}

/// As [`judge`], for a sum over several models.
#[must_use]
pub fn judge_need(need: &Need, budget: &Budget) -> Judgement {
    let shortest = need
        .parts(budget)
        .into_iter()
        .min_by(|one, other| one.left_share().total_cmp(&other.left_share()));
    let Part { memory, needed_bytes, budget_bytes } =
        shortest.unwrap_or(Part { memory: "RAM", needed_bytes: 0, budget_bytes: budget.bytes });
    let part = Part { memory, needed_bytes, budget_bytes };
    let headroom_bytes = i128::from(budget_bytes) - i128::from(needed_bytes);
    let why = if headroom_bytes < 0 {
        format!(
            "needs {} of {memory}, but may have {}: {} too few",
            text(needed_bytes),
            text(budget_bytes),
            text(needed_bytes - budget_bytes)
        )
    } else {
        format!(
            "needs {} of the {} of {memory}, {} ({:.1} %) are left",
            text(needed_bytes),
            text(budget_bytes),
            text(budget_bytes - needed_bytes),
            part.left_share() * 100.0
        )
    };
    let verdict = Verdict::of(&part);
    Judgement { verdict, needed_bytes, budget_bytes, headroom_bytes, why }
}
