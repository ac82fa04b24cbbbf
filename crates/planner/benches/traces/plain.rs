//! What others do: requests in the order of their arrival, and when memory is short, the first idle
//! worker in a row leaves: the one that was used longest ago, or the one that was loaded first.

use std::collections::{BTreeMap, BTreeSet};

use planner::fleet::{Action, Event, Model, RequestId, StopReason, When, WorkerId};

/// Who leaves first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// The least recently used.
    Lru,
    /// The first that came.
    Fifo,
}

/// A scheduler that knows nothing but its order.
#[derive(Debug)]
pub(crate) struct Plain {
    order: Order,
    budget_bytes: u64,
    workers: BTreeMap<WorkerId, Worker>,
    waiting: Vec<(RequestId, Model, u64)>,
    started: u64,
}

#[derive(Debug)]
struct Worker {
    model: Model,
    bytes: u64,
    is_ready: bool,
    is_leaving: bool,
    users: BTreeSet<RequestId>,
    last_use: When,
}

impl Plain {
    pub(crate) fn new(order: Order, budget_bytes: u64) -> Self {
        Self { order, budget_bytes, workers: BTreeMap::new(), waiting: Vec::new(), started: 0 }
    }

    /// Answers as the fleet does, to the events that a trace brings about.
    pub(crate) fn handle(&mut self, now: When, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Wanted { request, model, terms, .. } => {
                self.waiting.push((request, model, terms.bytes));
            }
            Event::Ready { worker, .. } => {
                if let Some(worker) = self.workers.get_mut(&worker) {
                    worker.is_ready = true;
                    worker.last_use = now;
                }
            }
            Event::Exited { worker, .. } => drop(self.workers.remove(&worker)),
            Event::Released { request } => {
                for worker in self.workers.values_mut() {
                    if worker.users.remove(&request) {
                        worker.last_use = now;
                    }
                }
            }
            Event::Abandoned { .. }
            | Event::Measured { .. }
            | Event::StopAsked { .. }
            | Event::PinAsked { .. }
            | Event::WarmChosen { .. }
            | Event::PolicyChanged { .. }
            | Event::Withdrawn { .. }
            | Event::Pressure { .. }
            | Event::ShutdownAsked
            | Event::Tick => unreachable!("no trace brings this about"),
        }
        self.grant(actions);
        self.make_room(now, actions);
    }

    fn grant(&mut self, actions: &mut Vec<Action>) {
        for (id, worker) in self.workers.iter_mut().filter(|(_, worker)| worker.is_ready) {
            let serves = |model: &Model| !worker.is_leaving && worker.model == *model;
            for (request, ..) in self.waiting.extract_if(.., |(_, model, _)| serves(model)) {
                worker.users.insert(request);
                actions.push(Action::Grant { request, worker: *id });
            }
        }
    }

    /// For the first that has no worker, as the others wait behind it.
    fn make_room(&mut self, now: When, actions: &mut Vec<Action>) {
        let live = |worker: &&Worker| !worker.is_leaving;
        let mut waiting = self.waiting.iter();
        let first = waiting.find(|(_, wanted, _)| {
            !self.workers.values().filter(live).any(|worker| worker.model == *wanted)
        });
        let Some((_, model, bytes)) = first.cloned() else { return };
        while self.bytes(|worker| !worker.is_leaving) + bytes > self.budget_bytes {
            let idle = self.workers.iter_mut().filter(|(_, worker)| {
                worker.is_ready && !worker.is_leaving && worker.users.is_empty()
            });
            let next = match self.order {
                Order::Lru => idle.min_by_key(|(_, worker)| worker.last_use),
                Order::Fifo => idle.min_by_key(|(id, _)| **id),
            };
            let Some((id, worker)) = next else { return };
            worker.is_leaving = true;
            actions.push(Action::Stop { worker: *id, why: StopReason::Evicted });
        }
        if self.bytes(|_| true) + bytes <= self.budget_bytes {
            let id = WorkerId(self.started);
            self.started += 1;
            let worker = Worker {
                model: model.clone(),
                bytes,
                is_ready: false,
                is_leaving: false,
                users: BTreeSet::new(),
                last_use: now,
            };
            self.workers.insert(id, worker);
            actions.push(Action::Start { worker: id, model });
            self.make_room(now, actions);
        }
    }

    fn bytes(&self, counts: impl Fn(&Worker) -> bool) -> u64 {
        self.workers.values().filter(|worker| counts(worker)).map(|worker| worker.bytes).sum()
    }
}
