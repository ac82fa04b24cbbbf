//! What follows from the state: who is let in, who is started, who must leave for that.
//!
//! Every question about memory is answered by [`Fleet::room`], which changes nothing, so that
//! `explain` gives the same answer as the deed.

use std::collections::BTreeSet;

use super::{
    Fleet, Phase, Waiting, Worker,
    limits::{FAIR_WAIT, LEASES_PER_WORKER_MAX, WAIT_MAX},
    word::{Action, Model, Refusal, RequestId, StopReason, When, WorkerId},
};

/// Whether so many bytes can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Room {
    /// They are free.
    Free,
    /// They will be, once the workers that are leaving are gone.
    AfterExits,
    /// They would be, if these idle workers left as well.
    AfterStopping(Vec<WorkerId>),
    /// This many are missing even if every idle worker left.
    Blocked {
        /// Bytes that only workers in use could give back.
        missing_bytes: u64,
    },
}

impl Fleet {
    /// When time alone will change something, and why. The end of [`FAIR_WAIT`] is not among
    /// these: it changes what becomes of the next newcomer, and that one is an event.
    #[must_use]
    pub fn next_deadline(&self) -> Option<(When, &'static str)> {
        let unloads = self.workers.keys().filter(|id| self.is_idle(**id));
        let unloads =
            unloads.filter_map(|id| Some((self.unload_at(*id)?, "an idle worker unloads")));
        let patient = self.waiting.iter().filter(|waiting| !self.is_loading(&waiting.model));
        let refusals = patient
            .filter_map(|waiting| Some((waiting.since.checked_add(WAIT_MAX)?, "a wait ends")));
        unloads.chain(refusals).min()
    }

    /// Refuses whoever waited as long as a request may. A load has its own end, so whoever waits
    /// for one is spared.
    pub(super) fn expire(&mut self, now: When, actions: &mut Vec<Action>) {
        let loading: BTreeSet<Model> = self
            .workers
            .values()
            .filter(|worker| worker.phase == Phase::Loading)
            .map(|worker| worker.model.clone())
            .collect();
        let expired = |waiting: &Waiting| {
            now.since(waiting.since) >= WAIT_MAX && !loading.contains(&waiting.model)
        };
        self.refuse_waiting(expired, &Refusal::WaitedTooLong { limit: WAIT_MAX }, actions);
    }

    /// Makes room, starts what fits, and lets in whoever may go on.
    pub(super) fn plan(&mut self, now: When, actions: &mut Vec<Action>) {
        self.relieve(actions);
        let starving = self.start_wanted(now, actions);
        let newcomers_from = match starving {
            Some(request) => self.position(request),
            None => {
                self.workers.values_mut().for_each(|worker| worker.draining = false);
                self.waiting.len()
            }
        };
        let workers: Vec<WorkerId> = self.workers.keys().copied().collect();
        for id in workers {
            let queue_end = match self.workers[&id].draining {
                true => newcomers_from,
                false => self.waiting.len(),
            };
            self.grant_waiting(id, queue_end, actions);
        }
    }

    /// Stops workers that nobody used for the configured time.
    pub(super) fn unload_idle(&mut self, now: When, actions: &mut Vec<Action>) {
        let due = |id: &WorkerId| {
            self.is_idle(*id) && self.unload_at(*id).is_some_and(|when| when <= now)
        };
        let due: Vec<WorkerId> = self.workers.keys().copied().filter(due).collect();
        self.stop(&due, StopReason::Idle, actions);
    }

    /// Lets in those of the first `queue_end` who wait for this worker, as far as it has places.
    pub(super) fn grant_waiting(
        &mut self,
        id: WorkerId,
        queue_end: usize,
        actions: &mut Vec<Action>,
    ) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if worker.phase != Phase::Ready {
            return;
        }
        let queue_end = queue_end.min(self.waiting.len());
        let granted = self.waiting.extract_if(..queue_end, |waiting| {
            let may = waiting.model == worker.model && worker.leases.len() < LEASES_PER_WORKER_MAX;
            may && worker.leases.insert(waiting.request)
        });
        for waiting in granted {
            actions.push(Action::Grant { request: waiting.request, worker: id });
        }
    }

    /// Whether `bytes` can be had, beside `pledged_bytes` that earlier requests wait for.
    pub(super) fn room(&self, bytes: u64, pledged_bytes: u64) -> Room {
        let needed = bytes.saturating_add(pledged_bytes);
        let fits_beside = |staying_bytes: u64| {
            needed.checked_add(staying_bytes).is_some_and(|sum| sum <= self.budget_bytes)
        };
        let booked = self.booked_bytes();
        let mut staying = booked - self.leaving_bytes();
        if fits_beside(staying) {
            let free = bytes.saturating_add(booked) <= self.budget_bytes;
            return if free { Room::Free } else { Room::AfterExits };
        }
        let mut victims = Vec::new();
        for id in self.idle_oldest_first() {
            staying -= self.workers[&id].booked_bytes();
            victims.push(id);
            if fits_beside(staying) {
                break;
            }
        }
        if !fits_beside(staying) {
            let over = needed.saturating_add(staying).saturating_sub(self.budget_bytes);
            return Room::Blocked { missing_bytes: over };
        }
        // A large worker late in the row may have made an earlier, smaller one unnecessary. The
        // most recently used are spared first.
        for position in (0..victims.len()).rev() {
            let with_it = staying + self.workers[&victims[position]].booked_bytes();
            if fits_beside(with_it) {
                staying = with_it;
                victims.remove(position);
            }
        }
        Room::AfterStopping(victims)
    }

    /// The oldest request of each model that has no worker, in the order of arrival.
    pub(super) fn wanted_models(&self) -> Vec<Waiting> {
        let mut seen: BTreeSet<&Model> = BTreeSet::new();
        let mut wanted = Vec::new();
        for waiting in &self.waiting {
            if seen.insert(&waiting.model) && self.live(&waiting.model).is_none() {
                wanted.push(waiting.clone());
            }
        }
        wanted
    }

    /// Whether nobody would miss this worker: nobody uses it, and nobody waits for it who may
    /// still be let in.
    pub(super) fn is_idle(&self, id: WorkerId) -> bool {
        let worker = &self.workers[&id];
        let wanted = || self.waiting.iter().any(|waiting| waiting.model == worker.model);
        let unused = worker.phase != Phase::Leaving && worker.leases.is_empty();
        unused && (worker.draining || !wanted())
    }

    fn is_loading(&self, model: &Model) -> bool {
        self.live(model).is_some_and(|id| self.workers[&id].phase == Phase::Loading)
    }

    fn leaving_bytes(&self) -> u64 {
        let leaving = self.workers.values().filter(|worker| worker.phase == Phase::Leaving);
        leaving.map(Worker::booked_bytes).sum()
    }

    fn idle_oldest_first(&self) -> Vec<WorkerId> {
        let mut idle: Vec<WorkerId> =
            self.workers.keys().copied().filter(|id| self.is_idle(*id)).collect();
        idle.sort_by_key(|id| self.workers[id].idle_since);
        idle
    }

    fn position(&self, request: RequestId) -> usize {
        let position = self.waiting.iter().position(|waiting| waiting.request == request);
        position.unwrap_or(self.waiting.len())
    }

    fn stop(&mut self, ids: &[WorkerId], why: StopReason, actions: &mut Vec<Action>) {
        for id in ids {
            if let Some(worker) = self.workers.get_mut(id) {
                assert!(worker.leases.is_empty(), "{id:?} is in use and must not be stopped");
                worker.phase = Phase::Leaving;
                actions.push(Action::Stop { worker: *id, why });
            }
        }
    }

    /// Workers that turned out larger than promised may exceed the budget together; then idle
    /// ones leave until they do not.
    fn relieve(&mut self, actions: &mut Vec<Action>) {
        for id in self.idle_oldest_first() {
            if self.booked_bytes() - self.leaving_bytes() <= self.budget_bytes {
                return;
            }
            self.stop(&[id], StopReason::Evicted, actions);
        }
    }

    /// Starts what is wanted, in the order of arrival, as far as there is room. Returns the
    /// request that has waited too long for memory in use, if one has.
    fn start_wanted(&mut self, now: When, actions: &mut Vec<Action>) -> Option<RequestId> {
        let mut pledged_bytes: u64 = 0;
        for wanted in self.wanted_models() {
            match self.room(wanted.bytes, pledged_bytes) {
                Room::Free => self.start(now, &wanted, actions),
                Room::AfterExits => pledged_bytes = pledged_bytes.saturating_add(wanted.bytes),
                Room::AfterStopping(victims) => {
                    self.stop(&victims, StopReason::Evicted, actions);
                    pledged_bytes = pledged_bytes.saturating_add(wanted.bytes);
                }
                // Smaller models may still slip past, until it has waited long enough.
                Room::Blocked { .. } if now.since(wanted.since) < FAIR_WAIT => {}
                Room::Blocked { missing_bytes } => {
                    self.drain(missing_bytes);
                    return Some(wanted.request);
                }
            }
        }
        None
    }

    fn start(&mut self, now: When, wanted: &Waiting, actions: &mut Vec<Action>) {
        let id = WorkerId(self.next_worker);
        self.next_worker += 1;
        let worker = Worker {
            model: wanted.model.clone(),
            phase: Phase::Loading,
            promised_bytes: wanted.bytes,
            measured_bytes: 0,
            leases: BTreeSet::new(),
            idle_since: now,
            draining: false,
        };
        self.workers.insert(id, worker);
        actions.push(Action::Start { worker: id, model: wanted.model.clone() });
    }

    /// Closes workers in use to newcomers until those closed give `missing_bytes`: the smallest
    /// that is enough, or else the largest and more. One that was closed stays so, or else each
    /// could be let off just before it is empty.
    fn drain(&mut self, missing_bytes: u64) {
        let in_use =
            |worker: &&mut Worker| worker.phase == Phase::Ready && !worker.leases.is_empty();
        let draining = self.workers.values_mut().filter(in_use).filter(|worker| worker.draining);
        let mut missing =
            missing_bytes.saturating_sub(draining.map(|worker| worker.booked_bytes()).sum());
        while missing > 0 {
            let open = self.workers.values_mut().filter(in_use).filter(|worker| !worker.draining);
            let best = open.min_by_key(|worker| {
                let bytes = worker.booked_bytes();
                let enough = bytes >= missing;
                (!enough, if enough { bytes } else { u64::MAX - bytes })
            });
            let Some(worker) = best else { return };
            worker.draining = true;
            missing = missing.saturating_sub(worker.booked_bytes());
        }
    }
}
