//! Who leaves although no other model needs the room: who was idle for long, who is not served any
//! more, who is over a budget that shrank or was outgrown, and who is in the way of a machine that is
//! about to swap.

use std::time::Duration;

use super::{
    Fleet, Phase,
    habits::Cause,
    limits::PRESSURE_SETTLES,
    planted::{Bug, planted},
    room::Need,
    word::{Action, Model, Pressure, StopReason, When, WorkerId},
};

impl Fleet {
    /// When this worker will be stopped unless someone uses it; `None` when it will not.
    #[must_use]
    pub fn unload_at(&self, worker: WorkerId) -> Option<When> {
        let idle_since = self.idle_since(worker)?;
        idle_since.checked_add(self.kept_for(worker)?)
    }

    /// How long this worker stays once nobody uses it; `None` when it stays until it is told to go.
    #[must_use]
    pub fn kept_for(&self, worker: WorkerId) -> Option<Duration> {
        let running = self.workers.get(&worker)?;
        let model = &running.model;
        let stays = self.is_pinned(worker) || self.is_warm(model) && !planted(Bug::UnloadsWarm);
        if stays {
            return None;
        }
        let of_model = self.habits.of(model).and_then(|habit| habit.terms.idle_unload);
        let kept_for = running.keep_alive.or(of_model).unwrap_or(self.idle_unload);
        Some(kept_for).filter(|kept_for| *kept_for != Duration::MAX)
    }

    /// Stops workers that nobody used for their time.
    pub(super) fn unload_idle(&mut self, now: When, actions: &mut Vec<Action>) {
        let due = |id: &WorkerId| {
            self.is_idle(*id) && self.unload_at(*id).is_some_and(|when| when <= now)
        };
        let due: Vec<WorkerId> = self.workers.keys().copied().filter(due).collect();
        self.stop(now, &due, StopReason::Idle, None, actions);
    }

    /// Stops workers whose models are not served any more, once nobody uses or waits for them.
    pub(super) fn unload_withdrawn(&mut self, now: When, actions: &mut Vec<Action>) {
        let due = |id: &WorkerId| self.is_withdrawn(*id) && self.is_idle(*id);
        let due: Vec<WorkerId> = self.workers.keys().copied().filter(due).collect();
        if !planted(Bug::KeepsWithdrawn) {
            self.stop(now, &due, StopReason::Withdrawn, None, actions);
        }
    }

    /// Workers that turned out larger than promised, or a budget that shrank, may exceed the budget
    /// together; and a group may have become exclusive. Then idle ones leave, the cheapest to bring
    /// back first.
    pub(super) fn relieve_budget(&mut self, now: When, actions: &mut Vec<Action>) {
        let over = |fleet: &Self| {
            let staying_bytes = fleet.ledger.booked_bytes() - fleet.leaving_bytes();
            staying_bytes > fleet.ledger.budget_bytes()
        };
        let nothing_to_do = !over(self) && self.exclusive.is_empty();
        if nothing_to_do || planted(Bug::NeverRelieves) {
            return;
        }
        for id in self.leavers_cheapest_first(now) {
            if over(self) || self.shares_its_group(id) {
                self.stop(now, &[id], StopReason::Evicted, None, actions);
            }
        }
    }

    pub(super) fn pressure_is(&mut self, level: Pressure) {
        self.pressure = level;
        if level == Pressure::Calm {
            self.workers.values_mut().for_each(|worker| worker.trimmed = false);
        }
    }

    /// While the machine is short of memory, each ready worker is asked once for what it can do
    /// without. When that is not enough, idle workers leave one at a time, the cheapest to bring
    /// back first, until the machine has had time to show that it was enough.
    pub(super) fn relieve_machine(&mut self, now: When, actions: &mut Vec<Action>) {
        if self.pressure == Pressure::Calm {
            return;
        }
        for (id, worker) in &mut self.workers {
            if worker.phase == Phase::Ready && !worker.trimmed {
                worker.trimmed = !planted(Bug::TrimsAgain);
                actions.push(Action::Trim { worker: *id });
            }
        }
        let all_at_once = planted(Bug::PressureStopsAll) && self.pressure == Pressure::Full;
        let due = self.next_relief_at().is_some_and(|when| when <= now);
        let leavers = self.leavers_cheapest_first(now);
        match leavers.first() {
            Some(_) if all_at_once => {
                self.stop(now, &leavers, StopReason::Pressure, None, actions);
            }
            Some(first) if due => self.stop(now, &[*first], StopReason::Pressure, None, actions),
            Some(_) | None => {}
        }
    }

    /// Who has to be gone before anything that needs memory is started while the machine is about to
    /// swap: all who leave or may leave some time. Where there is nobody of that kind, waiting would
    /// change nothing, so that one may start.
    pub(super) fn awaited_under_pressure(&self, need: &Need) -> Vec<WorkerId> {
        if self.pressure != Pressure::Full || need.bytes == 0 || planted(Bug::StartsUnderPressure) {
            return Vec::new();
        }
        let awaited = |id: &WorkerId| {
            let goes = self.workers[id].phase == Phase::Leaving || !self.is_pinned(*id);
            goes && self.ledger.worker_bytes(*id) > 0
        };
        self.workers.keys().copied().filter(awaited).collect()
    }

    /// When the next idle worker leaves because the machine is short of memory.
    pub(super) fn next_relief_at(&self) -> Option<When> {
        let leaving = self.workers.values().any(|worker| worker.phase == Phase::Leaving);
        let any = self.workers.keys().any(|id| self.may_leave(*id));
        if self.pressure != Pressure::Full || leaving || !any {
            return None;
        }
        let last_exit = self.last_exit.map(|when| when.checked_add(PRESSURE_SETTLES));
        last_exit.unwrap_or(Some(When::default()))
    }

    /// Whether nobody would miss this worker, and nothing keeps it.
    pub(super) fn may_leave(&self, id: WorkerId) -> bool {
        self.is_idle(id) && (!self.stays(id) || planted(Bug::EvictsPinned))
    }

    /// Whether nobody would miss this worker: nobody uses it, and nobody waits for it who may
    /// still be let in.
    pub(super) fn is_idle(&self, id: WorkerId) -> bool {
        let worker = &self.workers[&id];
        let wanted = || self.waiting.iter().any(|waiting| waiting.model == worker.model);
        let unused = worker.phase != Phase::Leaving && worker.leases.is_empty();
        // Whoever waits for a load is let in, whatever comes next.
        let closed = worker.draining && worker.phase == Phase::Ready;
        unused && (closed || !wanted())
    }

    /// Tells workers to leave, for a model that needs their room if there is one.
    pub(super) fn stop(
        &mut self,
        now: When,
        ids: &[WorkerId],
        why: StopReason,
        for_model: Option<&Model>,
        actions: &mut Vec<Action>,
    ) {
        for id in ids {
            let Some(worker) = self.workers.get_mut(id) else { continue };
            assert!(worker.leases.is_empty(), "{id:?} is in use and must not be stopped");
            worker.phase = Phase::Leaving;
            let cause = Cause::Stopped { why, for_model: for_model.cloned() };
            self.habits.left(now, &worker.model, cause);
            actions.push(Action::Stop { worker: *id, why });
        }
    }

    /// Whether another worker of the same exclusive group stays too.
    fn shares_its_group(&self, id: WorkerId) -> bool {
        let Some(group) = self.group_of(id) else { return false };
        let mut others = self
            .workers
            .iter()
            .filter(|(other, worker)| **other != id && worker.phase != Phase::Leaving);
        others.any(|(other, _)| self.group_of(*other).as_ref() == Some(&group))
    }
}
