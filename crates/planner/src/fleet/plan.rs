//! What follows from the state: who is let in, who is started, who must leave for that.
//!
//! What each request is up against is answered by [`Fleet::outlook`], which changes nothing, so that
//! `explain` gives the same answer as the deed.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Fleet, Phase, Waiting, Worker,
    limits::{LEASES_PER_WORKER_MAX, WAIT_MAX},
    outlook::Outlook,
    planted::{Bug, planted},
    room::{Candidate, Need, Pledges, Room, cheapest},
    word::{Action, Model, Refusal, RequestId, StopReason, When, WorkerId},
};

impl Fleet {
    /// When time alone will change something, and why.
    #[must_use]
    pub fn next_deadline(&self) -> Option<(When, &'static str)> {
        let unloads = self.workers.keys().filter(|id| self.is_idle(**id));
        let unloads =
            unloads.filter_map(|id| Some((self.unload_at(*id)?, "an idle worker unloads")));
        let patient = self.waiting.iter().filter(|waiting| !self.is_loading(&waiting.model));
        let refusals = patient
            .filter_map(|waiting| Some((waiting.since.checked_add(WAIT_MAX)?, "a wait ends")));
        let others = [
            (self.look_again_at, "somebody has waited for others for long enough"),
            (self.next_relief_at(), "the machine is still short of memory"),
            (self.warm_at(), "the warm model is brought back"),
        ];
        let others = others.into_iter().filter_map(|(when, why)| Some((when?, why)));
        unloads.chain(refusals).chain(others).min()
    }

    /// Refuses whoever waited as long as a request may, and whoever waits for what can never be
    /// since terms, pins or the policy changed. A load has its own end, so whoever waits for one is
    /// spared. Says whether that was anyone.
    pub(super) fn refuse_hopeless(&mut self, now: When, actions: &mut Vec<Action>) -> bool {
        let waiting = self.waiting.len();
        if waiting == 0 {
            return false;
        }
        for wanted in self.wanted_models() {
            let need = self.need_of(&wanted.model);
            let hopeless = need.and_then(|need| self.hopeless(&need));
            let refusal = hopeless.or_else(|| self.breaker.cooling(now, &wanted.model));
            if let Some(reason) = refusal {
                self.refuse_waiting(|waiting| waiting.model == wanted.model, &reason, actions);
            }
        }
        let loading: BTreeSet<Model> = self
            .workers
            .values()
            .filter(|worker| worker.phase == Phase::Loading)
            .map(|worker| worker.model.clone())
            .collect();
        let expired = |waiting: &Waiting| {
            let long = now.since(waiting.since) >= WAIT_MAX && !planted(Bug::WaitsForEver);
            long && !loading.contains(&waiting.model)
        };
        self.refuse_waiting(expired, &Refusal::WaitedTooLong { limit: WAIT_MAX }, actions);
        self.waiting.len() < waiting
    }

    /// Makes room, starts what fits, and lets in whoever may go on.
    pub(super) fn plan(&mut self, now: When, actions: &mut Vec<Action>) {
        self.relieve_budget(now, actions);
        self.forget_displaced();
        let starving = self.start_wanted(now, actions);
        let newcomers_from = starving.map_or(self.waiting.len(), |first| self.position(first));
        if starving.is_none() {
            self.workers.values_mut().for_each(|worker| worker.draining = false);
        }
        let workers: Vec<WorkerId> = self.workers.keys().copied().collect();
        for id in workers {
            let queue_end = match self.workers[&id].draining {
                true => newcomers_from,
                false => self.waiting.len(),
            };
            self.grant_waiting(id, queue_end, actions);
        }
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
            may && worker.leases.insert(waiting.request, waiting.keep_alive).is_none()
        });
        for waiting in granted {
            worker.used = true;
            actions.push(Action::Grant { request: waiting.request, worker: id });
        }
    }

    /// The first request of each model that has no worker, in the order of their turns.
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

    pub(super) fn start(&mut self, now: When, need: &Need, actions: &mut Vec<Action>) {
        self.assert_start(need);
        let id = WorkerId(self.next_worker);
        self.next_worker += 1;
        let sponsor = self.waiting.iter().find(|waiting| waiting.model == need.model);
        let worker = Worker {
            model: need.model.clone(),
            phase: Phase::Loading,
            leases: BTreeMap::new(),
            idle_since: now,
            ready_at: None,
            keep_alive: sponsor.and_then(|waiting| waiting.keep_alive),
            used: false,
            served: false,
            draining: false,
            trimmed: false,
            displaced: self.displaced.remove(&need.model).unwrap_or_default(),
        };
        self.workers.insert(id, worker);
        self.ledger.open(id, need.model.clone(), need.bytes);
        if self.is_passing(&need.model) {
            self.ledger.learn_nothing_of(id);
        }
        actions.push(Action::Start { worker: id, model: need.model.clone() });
    }

    /// Starts what is wanted, in the order of turns, as far as there is room. Returns the request
    /// whose turn has come while workers in use are in its way, if there is one.
    fn start_wanted(&mut self, now: When, actions: &mut Vec<Action>) -> Option<RequestId> {
        let mut pledges = Pledges::default();
        self.look_again_at = None;
        let wanted = self.wanted_models();
        // Whoever others were drained for may have given up.
        if wanted.iter().all(|wanted| now < wanted.turn_at) {
            self.workers.values_mut().for_each(|worker| worker.draining = false);
        }
        for wanted in wanted {
            let Some(need) = self.need_of(&wanted.model) else { continue };
            let starves = now >= wanted.turn_at && !planted(Bug::NeverDrains);
            match self.outlook(now, &wanted, &need, &pledges) {
                Outlook::Room(Room::Free) => self.start(now, &need, actions),
                Outlook::Room(Room::AfterExits) => pledges.add(&need),
                Outlook::Room(Room::AfterStopping(victims)) => {
                    self.contest(&victims);
                    self.displace(now, &need.model, &victims, actions);
                    self.start_or_pledge(now, &need, &mut pledges, actions);
                }
                Outlook::Pressed(awaited) if starves => {
                    self.drain(now, u64::MAX, &awaited);
                    return Some(wanted.request);
                }
                Outlook::Held { victims, until } => {
                    self.contest(&victims);
                    self.look_again_at(until);
                    pledges.hold(victims);
                }
                Outlook::Sparing { workers, until } => {
                    self.look_again_at(until);
                    if starves {
                        self.drain(now, 0, &workers);
                        return Some(wanted.request);
                    }
                }
                Outlook::Room(Room::Blocked { missing_bytes, rivals }) if starves => {
                    self.drain(now, missing_bytes, &rivals);
                    return Some(wanted.request);
                }
                // Smaller models may still slip past, until its turn has come.
                Outlook::Room(Room::Blocked { .. }) | Outlook::Pressed(_)
                    if now < wanted.turn_at =>
                {
                    self.look_again_at(wanted.turn_at);
                }
                Outlook::Room(Room::Blocked { .. } | Room::Behind) | Outlook::Pressed(_) => {}
            }
        }
        None
    }

    fn look_again_at(&mut self, until: When) {
        self.look_again_at = self.look_again_at.into_iter().chain([until]).min();
    }

    /// Once the others were told to leave, the place in a group is free, and the bytes may be too.
    fn start_or_pledge(
        &mut self,
        now: When,
        need: &Need,
        pledges: &mut Pledges,
        actions: &mut Vec<Action>,
    ) {
        if self.room(now, need, pledges) == Room::Free {
            self.start(now, need, actions);
        } else {
            pledges.add(need);
        }
    }

    /// Remembers that somebody waits for the memory of these.
    fn contest(&mut self, victims: &[WorkerId]) {
        for id in victims {
            self.habits.contest(&self.workers[id].model);
        }
    }

    fn displace(
        &mut self,
        now: When,
        model: &Model,
        victims: &[WorkerId],
        actions: &mut Vec<Action>,
    ) {
        let models = victims.iter().map(|id| self.workers[id].model.clone());
        let models: Vec<Model> = models.filter(|model| !self.is_passing(model)).collect();
        self.displaced.entry(model.clone()).or_default().extend(models);
        self.stop(now, victims, StopReason::Evicted, Some(model), actions);
    }

    /// Whoever waited for what left may have given up before its own start.
    fn forget_displaced(&mut self) {
        let Self { displaced, waiting, habits, .. } = self;
        let gone = displaced
            .extract_if(.., |model, _| !waiting.iter().any(|waiting| waiting.model == *model));
        gone.flat_map(|(_, models)| models).for_each(|model| habits.settle(&model));
    }

    /// Closes workers to newcomers: these first, then all that are idle, since even they are not
    /// enough, and others in use until those closed give `missing_bytes`, the cheapest to bring back.
    /// One that was closed stays so, or else each could be let off just before it is empty.
    fn drain(&mut self, now: When, missing_bytes: u64, first: &[WorkerId]) {
        let in_use = |id: &WorkerId| {
            let worker = &self.workers[id];
            let in_use = worker.phase == Phase::Ready && !worker.leases.is_empty();
            in_use && !self.stays(*id) && !first.contains(id)
        };
        let (draining, open): (Vec<WorkerId>, Vec<WorkerId>) =
            self.workers.keys().filter(|id| in_use(id)).partition(|id| self.workers[id].draining);
        let coming: u64 = draining.iter().map(|id| self.ledger.worker_bytes(*id)).sum();
        let missing = missing_bytes.saturating_sub(coming);
        let mut candidates: Vec<Candidate> =
            open.iter().map(|id| self.candidate(now, *id)).collect();
        let closing = cheapest(&mut candidates, missing).unwrap_or(open);
        let idle = self.workers.keys().copied().filter(|id| self.may_leave(*id));
        let idle: Vec<WorkerId> = idle.filter(|_| missing_bytes > 0).collect();
        for id in closing.iter().chain(first).chain(&idle) {
            if let Some(worker) = self.workers.get_mut(id) {
                worker.draining = true;
            }
        }
    }

    fn is_loading(&self, model: &Model) -> bool {
        self.live(model).is_some_and(|id| self.workers[&id].phase == Phase::Loading)
    }

    fn position(&self, request: RequestId) -> usize {
        let position = self.waiting.iter().position(|waiting| waiting.request == request);
        position.unwrap_or(self.waiting.len())
    }
}
