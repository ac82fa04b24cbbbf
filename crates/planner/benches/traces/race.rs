//! Plays a trace on a machine where loads take their time and exits half a second, and adds up what
//! loading cost and how long anyone waited.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use planner::fleet::{
    Action, Event, Fleet, Model, Policy, Priority, RequestId, Terms, When, WorkerId,
};

use crate::{
    plain::{Order, Plain},
    trace::Trace,
};

/// How long a worker takes to be gone once it was told to leave.
pub(crate) const EXIT: Duration = Duration::from_millis(500);

/// What a trace came to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outcome {
    pub(crate) load_time: Duration,
    pub(crate) longest_wait: Duration,
    pub(crate) waits: Duration,
}

/// Who decides.
pub(crate) enum Contender {
    Fleet(Box<Fleet>),
    Plain(Plain),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Ready(WorkerId),
    Exited(WorkerId),
    Released(RequestId),
    Wanted(usize),
    Alarm,
}

impl Contender {
    pub(crate) fn fleet(trace: &Trace) -> Self {
        let policy = Policy {
            budget_bytes: trace.budget_bytes,
            idle_unload: Duration::from_secs(600),
            exclusive: BTreeSet::new(),
        };
        Self::Fleet(Box::new(Fleet::new(policy)))
    }

    pub(crate) fn plain(order: Order, trace: &Trace) -> Self {
        Self::Plain(Plain::new(order, trace.budget_bytes))
    }

    fn handle(&mut self, now: When, event: Event, actions: &mut Vec<Action>) {
        match self {
            Self::Fleet(fleet) => fleet.handle(now, event, actions),
            Self::Plain(plain) => plain.handle(now, event, actions),
        }
    }

    fn next_deadline(&self) -> Option<Duration> {
        match self {
            Self::Fleet(fleet) => fleet.next_deadline().map(|(when, _)| when.0),
            Self::Plain(_) => None,
        }
    }
}

/// Plays a trace to its end, when everyone was served.
pub(crate) fn run(trace: &Trace, mut contender: Contender) -> Outcome {
    let mut outcome = Outcome::default();
    let visits = trace.visits.iter().enumerate();
    let mut agenda: BTreeSet<(Duration, Happening)> =
        visits.map(|(visit, at)| (at.at, Happening::Wanted(visit))).collect();
    let mut running: BTreeMap<WorkerId, usize> = BTreeMap::new();
    let mut unserved = trace.visits.len();
    while unserved > 0 {
        let alarm = contender.next_deadline().map(|when| (when, Happening::Alarm));
        let next = agenda.first().copied().into_iter().chain(alarm).min();
        let (now, happening) = next.expect("someone waits for nothing");
        agenda.remove(&(now, happening));
        let mut actions = Vec::new();
        contender.handle(When(now), event(trace, happening), &mut actions);
        for action in actions {
            match action {
                Action::Start { worker, model } => {
                    let model: usize = model.name.parse().expect("models are numbers");
                    let load = trace.models[model].load;
                    running.insert(worker, model);
                    outcome.load_time += load;
                    agenda.insert((now + load, Happening::Ready(worker)));
                }
                Action::Stop { worker, .. } => {
                    agenda.remove(&(now, Happening::Ready(worker)));
                    agenda.insert((now + EXIT, Happening::Exited(worker)));
                }
                Action::Grant { request, .. } => {
                    let visit = trace.visits[request.0 as usize];
                    let wait = now - visit.at;
                    outcome.waits += wait;
                    outcome.longest_wait = outcome.longest_wait.max(wait);
                    unserved -= 1;
                    agenda.insert((now + visit.uses_for, Happening::Released(request)));
                }
                Action::Refuse { request, reason } => panic!("{request:?}: {reason:?}"),
                Action::Trim { .. } => {}
            }
        }
    }
    outcome
}

fn event(trace: &Trace, happening: Happening) -> Event {
    match happening {
        Happening::Ready(worker) => Event::Ready { worker, measured_bytes: 0 },
        Happening::Exited(worker) => Event::Exited { worker, reason: String::new() },
        Happening::Released(request) => Event::Released { request },
        Happening::Alarm => Event::Tick,
        Happening::Wanted(visit) => {
            let model = trace.visits[visit].model;
            let shape = trace.models[model];
            let terms = Terms {
                bytes: shape.bytes,
                group: None,
                pinned: false,
                idle_unload: None,
                load_time: shape.load,
                once: false,
            };
            Event::Wanted {
                request: RequestId(visit as u64),
                model: Model { name: model.to_string().into(), version: 0 },
                terms,
                priority: Priority::Interactive,
                keep_alive: None,
            }
        }
    }
}
