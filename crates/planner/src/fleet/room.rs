//! Whether a model can have the memory it needs, and who would have to leave for that.
//!
//! [`Fleet::room`] changes nothing, so that `explain` gives the same answer as the deed.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{
    Fleet, Phase,
    limits::VICTIMS_WEIGHED_MAX,
    planted::{Bug, planted},
    word::{Model, Refusal, Terms, When, WorkerId},
};

/// What a model needs before it can start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) model: Model,
    pub(super) bytes: u64,
    /// Its group, if that is exclusive.
    pub(super) group: Option<Arc<str>>,
}

/// What earlier requests were promised and nobody else may take.
#[derive(Debug, Clone, Default)]
pub(super) struct Pledges {
    pub(super) needs: Vec<Need>,
    /// Idle workers that are held a little longer and then leave for an earlier request.
    held: BTreeSet<WorkerId>,
}

/// Whether a model can have what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Room {
    /// It is free.
    Free,
    /// It will be, once the workers that are leaving are gone.
    AfterExits,
    /// It would be, if these idle workers left as well.
    AfterStopping(Vec<WorkerId>),
    /// An earlier request was promised the place in its group, or the workers that would leave.
    Behind,
    /// Only workers in use could make room.
    Blocked {
        /// Bytes that are missing even if every idle worker left.
        missing_bytes: u64,
        /// Workers in use that hold the place in its group.
        rivals: Vec<WorkerId>,
    },
}

impl Pledges {
    pub(super) fn add(&mut self, need: &Need) {
        if planted(Bug::ForgetsPledges) {
            return;
        }
        self.needs.push(need.clone());
    }

    pub(super) fn bytes(&self) -> u64 {
        self.needs.iter().fold(0, |sum, need| sum.saturating_add(need.bytes))
    }

    /// An earlier request waits until these idle workers were held for long enough.
    pub(super) fn hold(&mut self, victims: Vec<WorkerId>) {
        self.held.extend(victims);
    }
}

impl Fleet {
    /// What a model needs under these terms.
    pub(super) fn need(&self, model: &Model, terms: &Terms) -> Need {
        let bytes = self.ledger.promise(model, terms.bytes);
        Need { model: model.clone(), bytes, group: self.exclusive_group(terms) }
    }

    /// What a model needs under the terms that came last. It must be remembered.
    pub(super) fn need_of(&self, model: &Model) -> Option<Need> {
        Some(self.need(model, &self.habits.of(model)?.terms))
    }

    /// Why no wait could ever help, if none could.
    pub(super) fn hopeless(&self, need: &Need) -> Option<Refusal> {
        let needed_bytes = need.bytes;
        let budget_bytes = self.ledger.budget_bytes();
        if needed_bytes > budget_bytes {
            return Some(Refusal::TooLarge { needed_bytes, budget_bytes });
        }
        let pinned = || self.rivals_and_others(need).filter(|id| self.is_pinned(*id));
        if let Some(group) = &need.group
            && let Some(id) = pinned().find(|id| self.group_of(*id).as_ref() == Some(group))
        {
            let holder = Arc::clone(&self.workers[&id].model.name);
            return Some(Refusal::PinnedGroup { group: Arc::clone(group), holder });
        }
        let pinned_bytes = pinned().map(|id| self.ledger.worker_bytes(id)).sum();
        let fits = needed_bytes.checked_add(pinned_bytes).is_some_and(|sum| sum <= budget_bytes);
        (!fits).then_some(Refusal::Pins { needed_bytes, pinned_bytes, budget_bytes })
    }

    /// Whether a model can have what it needs, beside what earlier requests were promised.
    pub(super) fn room(&self, now: When, need: &Need, pledges: &Pledges) -> Room {
        let shares_group = |other: &Need| need.group.is_some() && other.group == need.group;
        if pledges.needs.iter().any(shares_group) {
            return Room::Behind;
        }
        let (rivals, others): (Vec<_>, Vec<_>) = self
            .rivals_and_others(need)
            .partition(|id| need.group.is_some() && self.group_of(*id) == need.group);
        let rivals_bytes: u64 = rivals.iter().map(|id| self.ledger.worker_bytes(*id)).sum();
        let booked = self.ledger.booked_bytes();
        let staying = booked - self.leaving_bytes() - rivals_bytes;
        let needed = need.bytes.saturating_add(pledges.bytes()).saturating_add(staying);
        let missing = needed.saturating_sub(self.ledger.budget_bytes());
        let idle = others.iter().copied().filter(|id| self.may_leave(*id));
        let mut idle: Vec<Candidate> = idle.map(|id| self.candidate(now, id)).collect();
        let busy_rivals: Vec<WorkerId> =
            rivals.iter().copied().filter(|id| !self.may_leave(*id)).collect();
        let Some(mut victims) = cheapest(&mut idle, missing) else {
            let idle_bytes: u64 = idle.iter().map(|idle| idle.bytes).sum();
            let missing_bytes = missing.saturating_sub(idle_bytes);
            return Room::Blocked { missing_bytes, rivals: busy_rivals };
        };
        if !busy_rivals.is_empty() {
            return Room::Blocked { missing_bytes: 0, rivals: busy_rivals };
        }
        victims.extend(rivals);
        if victims.iter().any(|id| pledges.held.contains(id)) {
            return Room::Behind;
        }
        if !victims.is_empty() {
            return Room::AfterStopping(victims);
        }
        let free = need.bytes.saturating_add(booked) <= self.ledger.budget_bytes();
        if free || planted(Bug::LeavingCountsAsGone) { Room::Free } else { Room::AfterExits }
    }

    /// What it is expected to cost to do without a worker, in milliseconds of loading for each hour.
    pub(super) fn cost(&self, now: When, id: WorkerId) -> u64 {
        let worker = &self.workers[&id];
        let silence = match worker.leases.is_empty() {
            true => now.since(worker.idle_since),
            false => Duration::ZERO,
        };
        let bytes = self.ledger.worker_bytes(id);
        self.habits.of(&worker.model).map_or(0, |habit| habit.cost(bytes, silence))
    }

    /// Idle workers that may leave, the cheapest to bring back first.
    pub(super) fn leavers_cheapest_first(&self, now: When) -> Vec<WorkerId> {
        let leavers = self.workers.keys().copied().filter(|id| self.may_leave(*id));
        let mut leavers: Vec<Candidate> = leavers.map(|id| self.candidate(now, id)).collect();
        leavers.sort_by_key(|candidate| (candidate.cost, candidate.last_use));
        leavers.into_iter().map(|candidate| candidate.id).collect()
    }

    /// The group of a worker's model, if it is exclusive.
    pub(super) fn group_of(&self, id: WorkerId) -> Option<Arc<str>> {
        let habit = self.habits.of(&self.workers[&id].model)?;
        self.exclusive_group(&habit.terms)
    }

    pub(super) fn leaving_bytes(&self) -> u64 {
        let leaving = self.workers.iter().filter(|(_, worker)| worker.phase == Phase::Leaving);
        leaving.map(|(id, _)| self.ledger.worker_bytes(*id)).sum()
    }

    fn exclusive_group(&self, terms: &Terms) -> Option<Arc<str>> {
        let group = terms.group.as_ref()?;
        let exclusive = self.exclusive.contains(group) && !planted(Bug::IgnoresGroups);
        exclusive.then(|| Arc::clone(group))
    }

    /// Workers of other models that are not leaving.
    pub(super) fn rivals_and_others(&self, need: &Need) -> impl Iterator<Item = WorkerId> {
        let stay =
            |worker: &super::Worker| worker.phase != Phase::Leaving && worker.model != need.model;
        self.workers.iter().filter(move |(_, worker)| stay(worker)).map(|(id, _)| *id)
    }

    pub(super) fn candidate(&self, now: When, id: WorkerId) -> Candidate {
        Candidate {
            id,
            bytes: self.ledger.worker_bytes(id),
            cost: self.cost(now, id),
            last_use: self.workers[&id].idle_since,
        }
    }
}

/// An idle worker that could leave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) id: WorkerId,
    pub(super) bytes: u64,
    pub(super) cost: u64,
    pub(super) last_use: When,
}

/// The set that gives `missing` bytes and costs least to do without; of equals the one that was used
/// longer ago, then the one that gives back less. `None` if all together are not enough.
pub(super) fn cheapest(idle: &mut [Candidate], missing: u64) -> Option<Vec<WorkerId>> {
    if missing == 0 {
        return Some(Vec::new());
    }
    if idle.iter().map(|candidate| candidate.bytes).sum::<u64>() < missing {
        return None;
    }
    let chosen = match idle.len() <= VICTIMS_WEIGHED_MAX {
        true if !planted(Bug::EvictsAll) => cheapest_of_all_sets(idle, missing),
        true => idle.to_vec(),
        false => cheapest_in_turn(idle, missing),
    };
    Some(chosen.iter().map(|candidate| candidate.id).collect())
}

fn cheapest_of_all_sets(idle: &[Candidate], missing: u64) -> Vec<Candidate> {
    let members = |set: u32| {
        let bits = idle.iter().enumerate().filter(move |(bit, _)| set & (1 << bit) != 0);
        bits.map(|(_, candidate)| *candidate)
    };
    let price = |set: u32| {
        let cost = members(set).fold(0_u64, |sum, member| sum.saturating_add(member.cost));
        let last_use = members(set).map(|member| member.last_use).max();
        let bytes: u64 = members(set).map(|member| member.bytes).sum();
        (cost, last_use, bytes, set.count_ones())
    };
    let enough = |set: &u32| members(*set).map(|member| member.bytes).sum::<u64>() >= missing;
    let sets = 1..1_u32 << idle.len();
    let best = sets.filter(enough).min_by_key(|set| price(*set));
    best.map(|set| members(set).collect()).unwrap_or_default()
}

/// One after the other until it is enough. A large one late in the row may have made an earlier,
/// smaller one unnecessary; the most expensive are spared first.
fn cheapest_in_turn(idle: &mut [Candidate], missing: u64) -> Vec<Candidate> {
    idle.sort_by_key(|candidate| (candidate.cost, candidate.last_use));
    let mut freed: u64 = 0;
    let mut chosen: Vec<Candidate> = Vec::new();
    for candidate in idle.iter().copied() {
        if freed < missing {
            freed += candidate.bytes;
            chosen.push(candidate);
        }
    }
    for position in (0..chosen.len()).rev() {
        if freed - chosen[position].bytes >= missing {
            freed -= chosen.remove(position).bytes;
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle(sizes_and_costs: &[(u64, u64)]) -> Vec<Candidate> {
        let candidate = |(number, (bytes, cost)): (usize, &(u64, u64))| Candidate {
            id: WorkerId(number as u64),
            bytes: *bytes,
            cost: *cost,
            last_use: When::default(),
        };
        sizes_and_costs.iter().enumerate().map(candidate).collect()
    }

    fn chosen(sizes_and_costs: &[(u64, u64)], missing: u64) -> Option<Vec<u64>> {
        let chosen = cheapest(&mut idle(sizes_and_costs), missing)?;
        Some(chosen.iter().map(|id| id.0).collect())
    }

    #[test]
    fn the_cheapest_set_leaves_and_not_the_cheapest_workers_one_by_one() {
        assert_eq!(chosen(&[(20, 1), (20, 1), (20, 1), (60, 2)], 60), Some(vec![3]));
        assert_eq!(chosen(&[(20, 1), (20, 1), (20, 1), (60, 4)], 60), Some(vec![0, 1, 2]));
        assert_eq!(chosen(&[(20, 1), (30, 0), (0, 0)], 10), Some(vec![1]));
        assert_eq!(chosen(&[(20, 1), (30, 1)], 51), None);
        assert_eq!(chosen(&[(20, 1)], 0), Some(vec![]));
    }

    #[test]
    fn of_more_than_can_be_weighed_none_leaves_needlessly() {
        let mut many = vec![(1, 1); VICTIMS_WEIGHED_MAX];
        many.push((100, 2));
        assert_eq!(chosen(&many, 100), Some(vec![VICTIMS_WEIGHED_MAX as u64]));
        let all: Vec<u64> = (0..VICTIMS_WEIGHED_MAX as u64).collect();
        assert_eq!(chosen(&many, VICTIMS_WEIGHED_MAX as u64), Some(all));
    }
}
