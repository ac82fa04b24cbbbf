//! Which models are resident: who may start, who must leave, who waits, who is refused.
//!
//! A state machine that is told the time. Events go in, [`Action`]s come out, and whoever carries
//! them out reports back with further events. There is one budget of bytes, kept by a
//! [`Ledger`]. A worker's bytes count until its exit was seen; a worker that someone uses is never
//! stopped, except by the operator.
//!
//! Fairness: each request has a moment at which its turn comes at the latest, [`limits::FAIR_WAIT`]
//! after its arrival, or [`limits::BACKGROUND_FAIR_WAIT`] after that of a background request. Who
//! waits is served in the order of these moments, except that a loaded model goes on serving
//! newcomers while another waits for its memory. That exception ends with the turn of the other: then
//! just enough workers are drained, no other model is started, and newcomers queue behind it.
//!
//! Who leaves is the set of idle workers that is cheapest to bring back (`habits` has the formula),
//! and one that is wanted by turns, or is dear, is held or spared for a moment first (`outlook`). Pinned
//! models never leave.
//!
//! Not here: processes and pipes (`supervisor`), what a model needs ([`crate::footprint`]).

mod asked;
mod breaker;
mod explain;
mod habits;
mod invariant;
mod leave;
pub mod limits;
mod outlook;
mod plan;
pub mod planted;
mod room;
mod turn;
mod unasked;
mod word;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::ledger::Ledger;
use breaker::Breaker;
pub use explain::{Explanation, Holder, Standing, Verdict};
use habits::Habits;
pub use habits::{Cause, Departure};
use planted::{Bug, planted};
pub use turn::{Turn, Wait, WaitingFor};
use unasked::Warm;
pub use word::{
    Action, Event, Model, Policy, Pressure, Priority, Refusal, RequestId, StopReason, Terms, When,
    WorkerId,
};

/// The state of all workers and all waiting requests. Written down and read again, it goes on deciding
/// as it would have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    ledger: Ledger,
    /// A worker that was idle for this long is stopped, unless its model has its own time.
    idle_unload: Duration,
    /// Groups of which at most one model may be resident.
    exclusive: BTreeSet<Arc<str>>,
    workers: BTreeMap<WorkerId, Worker>,
    /// Who waits, in the order of their turns.
    waiting: Vec<Waiting>,
    habits: Habits,
    /// The operator's words on pins, by name. As many as the operator has models.
    pins: BTreeMap<Arc<str>, bool>,
    warm: Option<Warm>,
    /// Models that left for one that waits and has not started yet, by the one that waits.
    #[serde(with = "crate::pairs")]
    displaced: BTreeMap<Model, Vec<Model>>,
    /// Models that left for a load that failed, and are to come back.
    returning: Vec<Model>,
    pressure: Pressure,
    /// When a worker was last seen to exit.
    last_exit: Option<When>,
    /// When someone who waits for memory will have waited enough for the sake of its present users.
    look_again_at: Option<When>,
    breaker: Breaker,
    next_worker: u64,
    shutting_down: bool,
}

/// One worker, from the decision to start it until its exit was seen. Its bytes are in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Worker {
    model: Model,
    phase: Phase,
    /// Requests that use it, each with its word on how long the worker is to stay after it.
    leases: BTreeMap<RequestId, Option<Duration>>,
    /// Since when nobody has used it, if nobody does; before its first use, since its start.
    idle_since: When,
    /// When it had loaded, if it has.
    ready_at: Option<When>,
    /// The word of the request that ended last; before that, of the one it was started for.
    keep_alive: Option<Duration>,
    /// Whether a request ever used it.
    used: bool,
    /// Whether a request ended while it lived.
    served: bool,
    /// Newcomers are no longer let in, because another model has waited too long for its memory.
    draining: bool,
    /// Whether it was asked to trim in this time of pressure.
    trimmed: bool,
    /// Models that left for it.
    displaced: Vec<Model>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    Loading,
    Ready,
    Leaving,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Waiting {
    request: RequestId,
    model: Model,
    priority: Priority,
    keep_alive: Option<Duration>,
    since: When,
    /// When its turn comes at the latest.
    turn_at: When,
}

impl Fleet {
    /// A fleet without workers.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            ledger: Ledger::new(policy.budget_bytes),
            idle_unload: policy.idle_unload,
            exclusive: policy.exclusive,
            workers: BTreeMap::new(),
            waiting: Vec::new(),
            habits: Habits::default(),
            pins: BTreeMap::new(),
            warm: None,
            displaced: BTreeMap::new(),
            returning: Vec::new(),
            pressure: Pressure::Calm,
            last_exit: None,
            look_again_at: None,
            breaker: Breaker::default(),
            next_worker: 0,
            shutting_down: false,
        }
    }

    /// Takes one event and appends what is to be done about it, in that order. `now` never goes
    /// back. Events about requests and workers that are gone are ignored, since they were on
    /// their way when they ceased to matter.
    pub fn handle(&mut self, now: When, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Wanted { request, model, terms, priority, keep_alive } => {
                self.told(&model, terms);
                let turn_at = turn::turn_at(now, priority);
                let wanted = Waiting { request, model, priority, keep_alive, since: now, turn_at };
                self.wanted(now, wanted, actions);
            }
            Event::Abandoned { request } => {
                self.waiting.retain(|waiting| waiting.request != request);
            }
            Event::Ready { worker, measured_bytes } => {
                self.ready(now, worker, measured_bytes, actions);
            }
            Event::Measured { worker, bytes } => self.measured(worker, bytes),
            Event::Exited { worker, reason } => self.exited(now, worker, &reason, actions),
            Event::Released { request } => self.released(now, request),
            Event::StopAsked { name } => self.stop_asked(now, &name, actions),
            Event::PinAsked { name, pinned } => self.pin_asked(name, pinned),
            Event::WarmChosen { warm } => self.warm_chosen(now, warm),
            Event::PolicyChanged { policy, models } => self.policy_changed(policy, models),
            Event::Withdrawn { model } => self.withdrawn(&model),
            Event::Pressure { level } => self.pressure_is(level),
            Event::ShutdownAsked => self.shutdown_asked(now, actions),
            Event::Tick => {}
        }
        self.refuse_hopeless(now, actions);
        self.unload_idle(now, actions);
        self.unload_withdrawn(now, actions);
        self.plan(now, actions);
        // A pinned model that has just been started may have made the wait of others hopeless, and
        // whoever had to wait for their sake may go on then.
        while self.refuse_hopeless(now, actions) {
            self.plan(now, actions);
        }
        self.relieve_machine(now, actions);
        self.start_unasked(now, actions);
        self.forget_passing();
        self.assert_invariants();
    }

    /// Who holds how many bytes.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Bytes that all workers hold, those on their way out included.
    #[must_use]
    pub fn booked_bytes(&self) -> u64 {
        self.ledger.booked_bytes()
    }

    /// Bytes that one worker counts for; zero when it is gone.
    #[must_use]
    pub fn worker_booked_bytes(&self, worker: WorkerId) -> u64 {
        self.ledger.worker_bytes(worker)
    }

    /// Bytes that all workers may hold.
    #[must_use]
    pub fn budget_bytes(&self) -> u64 {
        self.ledger.budget_bytes()
    }

    /// Requests that use this worker.
    #[must_use]
    pub fn leases(&self, worker: WorkerId) -> usize {
        self.workers.get(&worker).map_or(0, |worker| worker.leases.len())
    }

    /// Since when nobody has used this worker, if nobody does and it is ready.
    #[must_use]
    pub fn idle_since(&self, worker: WorkerId) -> Option<When> {
        let worker = self.workers.get(&worker)?;
        let idle = worker.phase == Phase::Ready && worker.leases.is_empty();
        idle.then_some(worker.idle_since)
    }

    /// Whether a worker never leaves for another, by the operator's word or else by its terms.
    #[must_use]
    pub fn pinned(&self, worker: WorkerId) -> bool {
        self.workers.contains_key(&worker) && self.is_pinned(worker)
    }

    /// Requests that wait, of all models.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Requests that wait for this model.
    #[must_use]
    pub fn waiting_for(&self, model: &Model) -> usize {
        self.waiting.iter().filter(|waiting| waiting.model == *model).count()
    }

    /// The newest word on how to treat a model.
    fn told(&mut self, model: &Model, terms: Terms) {
        let Self { habits, workers, waiting, warm, returning, .. } = self;
        let needed = |model: &Model| {
            workers.values().any(|worker| worker.model == *model)
                || waiting.iter().any(|waiting| waiting.model == *model)
                || warm.as_ref().is_some_and(|warm| warm.model == *model)
                || returning.contains(model)
        };
        habits.told(model, terms, needed);
    }

    /// What is used once is forgotten when nobody waits for it any more and its exit was seen.
    fn forget_passing(&mut self) {
        let Self { habits, workers, waiting, warm, .. } = self;
        habits.forget_passing(|model| {
            workers.values().any(|worker| worker.model == *model)
                || waiting.iter().any(|waiting| waiting.model == *model)
                || warm.as_ref().is_some_and(|warm| warm.model == *model)
        });
    }

    /// A request is answered at once, or it joins the queue: no other way leads in.
    fn wanted(&mut self, now: When, wanted: Waiting, actions: &mut Vec<Action>) {
        self.habits.wanted(now, &wanted.model);
        self.warm_wanted(now, &wanted.model);
        let need = self.need_of(&wanted.model);
        let refusal = need.and_then(|need| self.refusal_at_arrival(now, &need, wanted.priority));
        match refusal {
            Some(reason) => actions.push(Action::Refuse { request: wanted.request, reason }),
            None => {
                let earlier = |waiting: &Waiting| waiting.turn_at <= wanted.turn_at;
                let place = self.waiting.partition_point(earlier);
                self.waiting.insert(place, wanted);
            }
        }
    }

    /// Whoever waited for the load gets its turn even if the worker must be drained next: a load
    /// that served nobody would be wasted.
    fn ready(&mut self, now: When, id: WorkerId, measured_bytes: u64, actions: &mut Vec<Action>) {
        self.measured(id, measured_bytes);
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if worker.phase != Phase::Loading {
            return;
        }
        worker.phase = Phase::Ready;
        worker.idle_since = now;
        worker.ready_at = Some(now);
        for displaced in std::mem::take(&mut worker.displaced) {
            self.habits.settle(&displaced);
        }
        self.grant_waiting(id, usize::MAX, actions);
    }

    fn measured(&mut self, id: WorkerId, bytes: u64) {
        if !planted(Bug::IgnoresMeasurements) {
            self.ledger.measured(id, bytes);
        }
    }

    fn exited(&mut self, now: When, id: WorkerId, reason: &str, actions: &mut Vec<Action>) {
        let Some(worker) = self.workers.remove(&id) else { return };
        self.ledger.close(id);
        self.last_exit = Some(now);
        self.warm_exited(now, &worker.model);
        if worker.phase == Phase::Leaving {
            return;
        }
        self.habits.left(now, &worker.model, Cause::Died { reason: reason.to_owned() });
        if !worker.served && !self.is_passing(&worker.model) && !planted(Bug::NeverCoolsOff) {
            self.breaker.failed(now, &worker.model, reason);
        }
        // Whoever waited for the load hears why it failed. Whoever comes next tries again, until
        // the breaker has seen enough. When a ready worker dies, its leases die with it, and
        // whoever had no lease yet waits for the next worker.
        if worker.phase == Phase::Loading {
            let refusal = Refusal::LoadFailed { reason: reason.to_owned() };
            let waits = |waiting: &Waiting| waiting.model == worker.model;
            if !planted(Bug::FailedLoadAnswersNobody) {
                self.refuse_waiting(waits, &refusal, actions);
            }
            self.returning.extend(worker.displaced);
        }
    }

    /// The word of the request that ended last says how long the worker stays.
    fn released(&mut self, now: When, request: RequestId) {
        for worker in self.workers.values_mut() {
            let Some(keep_alive) = worker.leases.remove(&request) else { continue };
            worker.served = true;
            self.breaker.served(&worker.model);
            if worker.leases.is_empty() {
                worker.idle_since = now;
                worker.keep_alive = if planted(Bug::ForgetsKeepAlive) { None } else { keep_alive };
            }
        }
    }

    fn refuse_waiting(
        &mut self,
        mut chosen: impl FnMut(&Waiting) -> bool,
        reason: &Refusal,
        actions: &mut Vec<Action>,
    ) {
        for refused in self.waiting.extract_if(.., |waiting| chosen(waiting)) {
            actions.push(Action::Refuse { request: refused.request, reason: reason.clone() });
        }
    }

    /// Whether a model is used once and never wanted again.
    fn is_passing(&self, model: &Model) -> bool {
        let once = self.habits.of(model).is_some_and(|habit| habit.terms.once);
        once && !planted(Bug::RemembersWhatPasses)
    }

    /// The worker that serves a model or is about to.
    fn live(&self, model: &Model) -> Option<WorkerId> {
        let mut workers = self.workers.iter();
        let live = |worker: &Worker| worker.phase != Phase::Leaving && worker.model == *model;
        workers.find(|(_, worker)| live(worker)).map(|(id, _)| *id)
    }

    /// Whether this worker leaves for no other: it is pinned, or nobody would gain by its leaving,
    /// since it holds no memory and no place in a group. A server elsewhere is such a one.
    fn stays(&self, id: WorkerId) -> bool {
        let gives_nothing = || self.ledger.worker_bytes(id) == 0 && self.group_of(id).is_none();
        self.is_pinned(id) || gives_nothing()
    }

    /// Whether this worker's model is pinned, by the operator's word or else by its terms. What is
    /// not served any more is promised to nobody.
    fn is_pinned(&self, id: WorkerId) -> bool {
        let model = &self.workers[&id].model;
        let by_terms = || self.habits.of(model).is_some_and(|habit| habit.terms.pinned);
        let pinned = self.pins.get(&model.name).copied().unwrap_or_else(by_terms);
        pinned && !self.is_withdrawn(id)
    }

    /// Whether this worker's model is not served any more as it was loaded.
    fn is_withdrawn(&self, id: WorkerId) -> bool {
        self.habits.of(&self.workers[&id].model).is_some_and(|habit| habit.withdrawn)
    }
}
