//! Which models can be resident at the same time, which must take turns, and whether a
//! configuration can keep what it promises.

use std::cmp::Reverse;

use crate::machine::{Budget, text};

use super::limits::MEMBERS_MAX;
use super::{Need, judge_need};

/// A model of a machine's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member<'a> {
    /// What it is called.
    pub name: &'a str,
    /// What it needs when it is resident.
    pub need: Need,
    /// Whether it is promised to be resident at all times.
    pub pinned: bool,
    /// The exclusive group it belongs to: at most one of a group is resident at a time.
    pub group: Option<&'a str>,
}

/// What is possible with several models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Together {
    /// Whether all of them can be resident at once.
    pub all_at_once: bool,
    /// The sets that can be resident at once and to which none can be added, largest first, as
    /// places in the members. Each has all pinned ones. Empty when the pinned ones alone do not fit.
    pub sets: Vec<Vec<usize>>,
    /// Pairs that are in no set together: they take turns.
    pub turns: Vec<(usize, usize)>,
    /// Whether each member can have what it is promised, in their order.
    pub promises: Vec<Promise>,
}

/// Whether a member can have what it is promised: a pinned one to be resident at all times, another
/// to be resident when it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise {
    /// Whether it can.
    pub kept: bool,
    /// Why.
    pub why: String,
}

/// More models than are planned together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{count} models were to be planned together, but at most {MEMBERS_MAX} are; leave out those \
     that are never used at the same time"
)]
pub struct TooMany {
    /// How many there were.
    pub count: usize,
}

/// What is possible with `members` within `budget`. All sets are tried.
///
/// # Errors
/// When there are more than [`MEMBERS_MAX`].
pub fn together(members: &[Member<'_>], budget: &Budget) -> Result<Together, TooMany> {
    if members.len() > MEMBERS_MAX {
        return Err(TooMany { count: members.len() });
    }
    let plan = Plan { members, budget };
    let sets = plan.largest_sets();
    let turns = pairs(members.len())
        .filter(|(one, other)| !sets.iter().any(|set| set.has(*one) && set.has(*other)))
        .collect();
    Ok(Together {
        all_at_once: plan.possible(Set::of(0..members.len())),
        sets: sets.into_iter().map(|set| set.places().collect()).collect(),
        turns,
        promises: (0..members.len()).map(|place| plan.promise(place)).collect(),
    })
}

fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |one| (one + 1..count).map(move |other| (one, other)))
}

/// Some of the members, one bit for each: all sets of them are tried, so they must be cheap.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Set(u32);

impl Set {
    fn of(places: impl Iterator<Item = usize>) -> Self {
        Self(places.fold(0, |bits, place| bits | 1 << place))
    }

    fn has(self, place: usize) -> bool {
        self.0 >> place & 1 == 1
    }

    fn with(self, place: usize) -> Self {
        Self(self.0 | 1 << place)
    }

    fn has_all_of(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    fn places(self) -> impl Iterator<Item = usize> {
        (0..MEMBERS_MAX).filter(move |place| self.has(*place))
    }
}

struct Plan<'a> {
    members: &'a [Member<'a>],
    budget: &'a Budget,
}

impl Plan<'_> {
    fn pinned(&self) -> Set {
        Set::of((0..self.members.len()).filter(|place| self.members[*place].pinned))
    }

    fn need(&self, set: Set) -> Need {
        set.places().fold(Need::default(), |sum, place| sum.and(self.members[place].need))
    }

    /// Another of `set` in the same exclusive group as `place`.
    fn rival(&self, place: usize, set: Set) -> Option<usize> {
        let group = self.members[place].group?;
        set.places().find(|other| *other != place && self.members[*other].group == Some(group))
    }

    fn possible(&self, set: Set) -> bool {
        let rivals = set.places().any(|place| self.rival(place, set).is_some());
        !rivals && self.need(set).fits(self.budget)
    }

    /// Sets with all pinned members to which none can be added. What fits with a member fits
    /// without it, so a set that takes no single other takes no two.
    fn largest_sets(&self) -> Vec<Set> {
        let count = self.members.len();
        let pinned = self.pinned();
        let grows =
            |set: Set| (0..count).any(|place| !set.has(place) && self.possible(set.with(place)));
        let mut sets: Vec<Set> = (1..1_u32 << count)
            .map(Set)
            .filter(|set| set.has_all_of(pinned) && self.possible(*set) && !grows(*set))
            .collect();
        sets.sort_by_key(|set| (Reverse(set.0.count_ones()), set.places().collect::<Vec<_>>()));
        sets
    }

    fn promise(&self, place: usize) -> Promise {
        let member = &self.members[place];
        let set = self.pinned().with(place);
        if let Some(rival) = self.rival(place, set) {
            let why = format!(
                "{} and {}, which is pinned, are both in group {}, of which one is resident at a \
                 time; unpin one or take it out of the group",
                member.name,
                self.members[rival].name,
                member.group.unwrap_or_default()
            );
            return Promise { kept: false, why };
        }
        let judgement = judge_need(&self.need(set), self.budget);
        let beside = self.names_beside(set, place);
        let kept = judgement.headroom_bytes >= 0;
        let alone = member.need.fits(self.budget);
        let why = match (kept, alone, beside.is_empty()) {
            (true, _, true) => format!("alone: {}", judgement.why),
            (true, _, false) => format!("beside {beside}: {}", judgement.why),
            (false, true, _) => format!(
                "alone it would fit, but not beside {beside}, which may not leave: {}",
                judgement.why
            ),
            (false, false, _) => {
                let alone = judge_need(&member.need, self.budget);
                format!("not even alone: {}; choose a smaller one", alone.why)
            }
        };
        Promise { kept, why }
    }

    /// Who else is in `set`, for people.
    fn names_beside(&self, set: Set, place: usize) -> String {
        let names: Vec<String> = set
            .places()
            .filter(|other| *other != place)
            .map(|other| {
                let member = &self.members[other];
                let bytes = member.need.ram_bytes.saturating_add(member.need.gpu_bytes);
                format!("{} ({})", member.name, text(bytes))
            })
            .collect();
        names.join(", ")
    }
}
