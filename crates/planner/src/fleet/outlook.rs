//! What a request is up against that waits for memory: whether its model can have it, and whether it
//! is better to wait a little, for the sake of those who use the workers that would leave.
//!
//! Two clients who take turns, or several who wait for one cheap place, would each time throw out what
//! the next one needs. So an idle worker may be held for its users for a share of the other's fair
//! wait, and one that is dear to bring back is spared while a much cheaper one is in use, until the
//! turn of the request has come, or a moment longer where that one has only just loaded.

use std::time::Duration;

use super::{
    Fleet, Phase, Waiting,
    limits::{SPARING_WAIT, WORTH_WAITING_FOR},
    planted::{Bug, planted},
    room::{Candidate, Need, Pledges, Room, cheapest},
    word::{When, WorkerId},
};

/// What a request is up against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outlook {
    /// Whether its model can have what it needs now.
    Room(Room),
    /// The machine is about to swap, so that nothing is started before these are gone.
    Pressed(Vec<WorkerId>),
    /// These idle workers would leave for it, but are held for their own users until then.
    Held {
        /// The workers.
        victims: Vec<WorkerId>,
        /// The end of that.
        until: When,
    },
    /// Idle workers could leave for it, but it is worth waiting for these, until then.
    Sparing {
        /// The workers; none where they have not started yet.
        workers: Vec<WorkerId>,
        /// The end of that.
        until: When,
    },
}

impl Fleet {
    /// What the request is up against that is the first of its model.
    pub(super) fn outlook(
        &self,
        now: When,
        wanted: &Waiting,
        need: &Need,
        pledges: &Pledges,
    ) -> Outlook {
        let awaited = self.awaited_under_pressure(need);
        if !awaited.is_empty() {
            return Outlook::Pressed(awaited);
        }
        let room = self.room(now, need, pledges);
        let Room::AfterStopping(victims) = room else { return Outlook::Room(room) };
        if let Some(until) = self.held_until(now, wanted, &victims) {
            return Outlook::Held { victims, until };
        }
        let last = wanted.turn_at.checked_add(SPARING_WAIT);
        let until = [Some(wanted.turn_at), last].into_iter().flatten().find(|until| *until > now);
        let workers = self.worth_waiting_for(now, wanted, need, pledges, &victims);
        match workers.zip(until) {
            Some((workers, until)) => Outlook::Sparing { workers, until },
            None => Outlook::Room(Room::AfterStopping(victims)),
        }
    }

    /// Until when these victims are held for their users although another waits, if they are: each
    /// while it is hot, and for its share of the other's fair wait. One that nobody ever used is
    /// not.
    fn held_until(&self, now: When, wanted: &Waiting, victims: &[WorkerId]) -> Option<When> {
        let held_until = |id: &WorkerId| {
            let worker = &self.workers[id];
            let habit = self.habits.of(&worker.model)?;
            let held = worker.used && worker.phase == Phase::Ready;
            let hot_for = habit.hot_for(self.ledger.worker_bytes(*id));
            let cools_at = worker.idle_since.checked_add(hot_for)?;
            let fair_wait = wanted.turn_at.since(wanted.since);
            let share_ends_at = wanted.since.checked_add(habit.hold(fair_wait))?;
            held.then_some(cools_at.min(share_ends_at))
        };
        let last = victims.iter().filter_map(held_until).max()?;
        (last > now && !planted(Bug::HoldsNothing)).then_some(last)
    }

    /// Workers that it is worth waiting for instead of stopping these idle victims, if it is: such
    /// that are much cheaper to bring back and will be idle at some time, those included that are
    /// about to start for earlier requests and have no number yet. Once the turn of the request has
    /// come, only such that have just loaded for others whose turn was before. When several wait for
    /// the same cheap place, each would else throw out a dear model that nobody happens to use at
    /// that moment.
    fn worth_waiting_for(
        &self,
        now: When,
        wanted: &Waiting,
        need: &Need,
        pledges: &Pledges,
        victims: &[WorkerId],
    ) -> Option<Vec<WorkerId>> {
        // One of the same group has to leave whatever else does.
        let is_rival = |id: &WorkerId| need.group.is_some() && self.group_of(*id) == need.group;
        if victims.iter().any(is_rival) {
            return None;
        }
        let in_use = |id: &WorkerId| {
            let is_new = self.workers[id].ready_at.is_none_or(|when| when >= wanted.since);
            let in_time = is_new || now < wanted.turn_at;
            in_time && !self.is_idle(*id) && !self.stays(*id)
        };
        let in_use: Vec<WorkerId> = self.rivals_and_others(need).filter(in_use).collect();
        let victims: Vec<Candidate> = victims.iter().map(|id| self.candidate(now, *id)).collect();
        let others = in_use.iter().map(|id| self.candidate(now, *id));
        let others: Vec<Candidate> = others.chain(self.about_to_start(now, pledges)).collect();
        let bytes = |set: &[Candidate]| set.iter().map(|each| each.bytes).sum::<u64>();
        let cost =
            |set: &[Candidate]| set.iter().fold(0, |sum: u64, each| sum.saturating_add(each.cost));
        let staying = self.ledger.booked_bytes() - self.leaving_bytes() - bytes(&victims);
        let needed = need.bytes.saturating_add(pledges.bytes()).saturating_add(staying);
        let spare = self.ledger.budget_bytes().saturating_sub(needed);
        let mut all = [victims.clone(), others.clone()].concat();
        let instead = cheapest(&mut all, bytes(&victims).saturating_sub(spare))?;
        let instead = all.into_iter().filter(|each| instead.contains(&each.id));
        let instead: Vec<Candidate> = instead.collect();
        let worth = cost(&instead) < cost(&victims) / WORTH_WAITING_FOR;
        (worth && !planted(Bug::SparesNothing)).then(|| {
            let is_one = |id: &WorkerId| instead.iter().any(|each| each.id == *id);
            in_use.into_iter().filter(is_one).collect()
        })
    }

    /// Those that earlier requests were promised, as if they had started. They get the last numbers.
    fn about_to_start(&self, now: When, pledges: &Pledges) -> Vec<Candidate> {
        let numbers = (0..=u64::MAX).rev().map(WorkerId);
        let candidate = |(need, id): (&Need, WorkerId)| {
            let habit = self.habits.of(&need.model)?;
            let cost = habit.cost(need.bytes, Duration::ZERO);
            Some(Candidate { id, bytes: need.bytes, cost, last_use: now })
        };
        pledges.needs.iter().zip(numbers).filter_map(candidate).collect()
    }
}
