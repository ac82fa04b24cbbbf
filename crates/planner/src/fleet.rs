//! Which models are resident: who may start, who must leave, who waits, who is refused.
//!
//! A state machine that is told the time. Events go in, [`Action`]s come out, and whoever carries
//! them out reports back with further events. There is one budget of bytes. A worker's bytes count
//! until its exit was seen; a worker that someone uses is never stopped, except by the operator.
//!
//! Fairness: requests are served in the order of their arrival, except that a loaded model goes
//! on serving newcomers while another model waits for its memory. That exception ends when the
//! other has waited for [`limits::FAIR_WAIT`]: then just enough workers are drained, no other model
//! is started, and newcomers queue behind it.
//!
//! Not here: processes and pipes (`supervisor`), what a model needs ([`crate::footprint`]).

mod breaker;
mod explain;
mod invariant;
pub mod limits;
mod plan;
mod word;

use std::{collections::BTreeMap, time::Duration};

use breaker::Breaker;
pub use explain::{Explanation, Holder, Verdict};
pub use word::{Action, Event, Model, Refusal, RequestId, StopReason, When, WorkerId};

/// The state of all workers and all waiting requests.
#[derive(Debug, Clone)]
pub struct Fleet {
    budget_bytes: u64,
    /// A worker that was idle for this long is stopped.
    idle_unload: Duration,
    workers: BTreeMap<WorkerId, Worker>,
    /// Who waits, in the order of arrival.
    waiting: Vec<Waiting>,
    breaker: Breaker,
    next_worker: u64,
    shutting_down: bool,
}

/// One worker, from the decision to start it until its exit was seen.
#[derive(Debug, Clone)]
struct Worker {
    model: Model,
    phase: Phase,
    /// What its model was said to need.
    promised_bytes: u64,
    /// The most it was seen to hold.
    measured_bytes: u64,
    /// Requests that use it.
    leases: std::collections::BTreeSet<RequestId>,
    /// Since when nobody has used it, if nobody does; before its first use, since its start.
    idle_since: When,
    /// Newcomers are no longer let in, because another model has waited too long for its memory.
    draining: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Loading,
    Ready,
    Leaving,
}

#[derive(Debug, Clone)]
struct Waiting {
    request: RequestId,
    model: Model,
    bytes: u64,
    since: When,
}

impl Fleet {
    /// A fleet without workers. `Duration::MAX` for `idle_unload` never unloads.
    #[must_use]
    pub fn new(budget_bytes: u64, idle_unload: Duration) -> Self {
        Self {
            budget_bytes,
            idle_unload,
            workers: BTreeMap::new(),
            waiting: Vec::new(),
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
            Event::Wanted { request, model, bytes } => {
                self.wanted(now, Waiting { request, model, bytes, since: now }, actions);
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
            Event::StopAsked { name } => self.stop_asked(&name, actions),
            Event::ShutdownAsked => self.shutdown_asked(actions),
            Event::Tick => {}
        }
        self.expire(now, actions);
        self.plan(now, actions);
        self.unload_idle(now, actions);
        self.assert_invariants();
    }

    /// Bytes that all workers hold, those on their way out included.
    #[must_use]
    pub fn booked_bytes(&self) -> u64 {
        self.workers.values().map(Worker::booked_bytes).sum()
    }

    /// Bytes that one worker counts for; zero when it is gone.
    #[must_use]
    pub fn worker_booked_bytes(&self, worker: WorkerId) -> u64 {
        self.workers.get(&worker).map_or(0, Worker::booked_bytes)
    }

    /// Bytes that all workers may hold.
    #[must_use]
    pub fn budget_bytes(&self) -> u64 {
        self.budget_bytes
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

    /// When this worker will be stopped unless someone uses it.
    #[must_use]
    pub fn unload_at(&self, worker: WorkerId) -> Option<When> {
        self.idle_since(worker)?.checked_add(self.idle_unload)
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

    /// A request is answered at once, or it joins the queue: no other way leads in.
    fn wanted(&mut self, now: When, wanted: Waiting, actions: &mut Vec<Action>) {
        let refusal = self.refusal_at_arrival(now, &wanted.model, wanted.bytes);
        match refusal {
            Some(reason) => actions.push(Action::Refuse { request: wanted.request, reason }),
            None => self.waiting.push(wanted),
        }
    }

    fn refusal_at_arrival(&self, now: When, model: &Model, bytes: u64) -> Option<Refusal> {
        if self.shutting_down {
            return Some(Refusal::ShuttingDown);
        }
        if self.live(model).is_none() {
            if bytes > self.budget_bytes {
                let budget_bytes = self.budget_bytes;
                return Some(Refusal::TooLarge { needed_bytes: bytes, budget_bytes });
            }
            if let Some(cooling) = self.breaker.cooling(now, model) {
                return Some(cooling);
            }
        }
        let queue_full = self.waiting.len() >= limits::WAITING_MAX;
        queue_full.then_some(Refusal::QueueFull { limit: limits::WAITING_MAX })
    }

    /// Whoever waited for the load gets its turn even if the worker must be drained next: a load
    /// that served nobody would be wasted.
    fn ready(&mut self, now: When, id: WorkerId, measured_bytes: u64, actions: &mut Vec<Action>) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.measured_bytes = worker.measured_bytes.max(measured_bytes);
        if worker.phase != Phase::Loading {
            return;
        }
        worker.phase = Phase::Ready;
        worker.idle_since = now;
        let model = worker.model.clone();
        self.breaker.loaded(&model);
        self.grant_waiting(id, usize::MAX, actions);
    }

    fn measured(&mut self, id: WorkerId, bytes: u64) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.measured_bytes = worker.measured_bytes.max(bytes);
        }
    }

    fn exited(&mut self, now: When, id: WorkerId, reason: &str, actions: &mut Vec<Action>) {
        let Some(worker) = self.workers.remove(&id) else { return };
        match worker.phase {
            // Whoever waited for the load hears why it failed. Whoever comes next tries again,
            // until the breaker has seen enough.
            Phase::Loading => {
                self.breaker.load_failed(now, &worker.model, reason);
                let reason = Refusal::LoadFailed { reason: reason.to_owned() };
                self.refuse_waiting(|waiting| waiting.model == worker.model, &reason, actions);
            }
            // Its leases died with it. Whoever had no lease yet waits for the next worker.
            Phase::Ready | Phase::Leaving => {}
        }
    }

    fn released(&mut self, now: When, request: RequestId) {
        for worker in self.workers.values_mut() {
            if worker.leases.remove(&request) && worker.leases.is_empty() {
                worker.idle_since = now;
            }
        }
    }

    /// The operator's hand wins over leases, and over whoever waits.
    fn stop_asked(&mut self, name: &str, actions: &mut Vec<Action>) {
        self.stop_where(|worker| &*worker.model.name == name, StopReason::Operator, actions);
        self.refuse_waiting(|waiting| &*waiting.model.name == name, &Refusal::Stopped, actions);
    }

    fn shutdown_asked(&mut self, actions: &mut Vec<Action>) {
        self.shutting_down = true;
        self.stop_where(|_| true, StopReason::Shutdown, actions);
        self.refuse_waiting(|_| true, &Refusal::ShuttingDown, actions);
    }

    fn stop_where(
        &mut self,
        mut chosen: impl FnMut(&Worker) -> bool,
        why: StopReason,
        actions: &mut Vec<Action>,
    ) {
        for (id, worker) in &mut self.workers {
            if worker.phase != Phase::Leaving && chosen(worker) {
                worker.phase = Phase::Leaving;
                worker.leases.clear();
                actions.push(Action::Stop { worker: *id, why });
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

    /// The worker that serves a model or is about to.
    fn live(&self, model: &Model) -> Option<WorkerId> {
        let mut workers = self.workers.iter();
        let live = |worker: &Worker| worker.phase != Phase::Leaving && worker.model == *model;
        workers.find(|(_, worker)| live(worker)).map(|(id, _)| *id)
    }
}

impl Worker {
    fn booked_bytes(&self) -> u64 {
        self.promised_bytes.max(self.measured_bytes)
    }
}
