//! What would happen to a request now, and why, in bytes: who would leave for it, at what cost, and
//! why each of the others would not.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    Fleet, Phase,
    habits::{Cause, Departure},
    limits::LEASES_PER_WORKER_MAX,
    room::{Need, Pledges, Room},
    turn::{Turn, WaitingFor, turn_at},
    word::{Action, Event, Model, Pressure, Priority, Refusal, RequestId, Terms, When, WorkerId},
};

/// The answer to "what if someone wanted this model now".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// When it was true.
    pub at: When,
    /// The model's group, if that is exclusive.
    pub group: Option<Arc<str>>,
    /// What it needs: the prediction, or more when it was seen to hold more.
    pub needed_bytes: u64,
    /// What all workers may hold.
    pub budget_bytes: u64,
    /// What they hold.
    pub booked_bytes: u64,
    /// What those were promised who wait and come before; it is held by nobody yet.
    pub pledged_bytes: u64,
    /// How short of memory the machine itself is, whatever is booked.
    pub pressure: Pressure,
    /// Who holds it, in the order of starting.
    pub holders: Vec<Holder>,
    /// How its worker left last, if one did and nobody forgot.
    pub departure: Option<Departure>,
    /// What would happen.
    pub verdict: Verdict,
}

/// A worker that holds memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Which worker.
    pub worker: WorkerId,
    /// Its model.
    pub model: Model,
    /// What it counts for.
    pub bytes: u64,
    /// What it was started with.
    pub promised_bytes: u64,
    /// The most it was seen to hold; zero before it was measured.
    pub measured_bytes: u64,
    /// Requests that use it.
    pub leases: usize,
    /// How long nobody has used it; `None` while someone does or it is leaving.
    pub idle_for: Option<Duration>,
    /// When it will be stopped unless someone uses it; `None` when it will not.
    pub unload_in: Option<Duration>,
    /// What it is expected to cost to do without it: milliseconds of loading for each hour of its
    /// absence. Those that may leave and cost least together leave first.
    pub cost_ms_per_hour: u64,
    /// What it is to the request in question.
    pub standing: Standing,
}

/// What a worker is to a request for some model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// It serves that model, or will.
    Itself,
    /// It was told to leave; its bytes count until its exit is seen.
    Leaving,
    /// It would be stopped: no other set of idle workers gives enough and costs less.
    Chosen,
    /// It would be stopped, because of its group only one model may be resident.
    ChosenForGroup,
    /// It is pinned, and never leaves for another.
    Pinned,
    /// It is in use.
    InUse,
    /// Others wait for it.
    Wanted,
    /// It is idle and could leave, but need not: there is room without, or others cost less.
    Spared,
}

/// What would happen to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Served at once by this worker.
    Served(WorkerId),
    /// It would wait for this worker, which is loading, full, or closed to newcomers.
    Queued(WorkerId),
    /// A worker would be started at once.
    Started,
    /// A worker would be started when those that are leaving are gone.
    StartedAfterExits,
    /// These idle workers would be stopped, and then one started.
    StartedAfterStopping(Vec<WorkerId>),
    /// It would wait until these workers are gone or the machine itself, which is about to swap, has
    /// enough again.
    Pressed(Vec<WorkerId>),
    /// These idle workers would be stopped after a moment, for which they are held for their own
    /// users.
    Held {
        /// The workers.
        victims: Vec<WorkerId>,
        /// For how long at most.
        ends_in: Duration,
    },
    /// It would wait for these workers, which load or have just loaded and will soon be idle; others
    /// are idle now, but dearer to bring back.
    Sparing {
        /// The workers.
        workers: Vec<WorkerId>,
        /// For how long at most.
        ends_in: Duration,
    },
    /// It would wait until workers in use are idle.
    Blocked {
        /// Bytes that only workers in use could give back.
        missing_bytes: u64,
        /// The workers.
        workers: Vec<WorkerId>,
    },
    /// It would wait behind this earlier request of another model.
    Behind(RequestId),
    /// It would be refused.
    Refused(Refusal),
}

impl Fleet {
    /// Why a model is not loaded, and what would happen to an interactive request for a model under these terms. Changes nothing: it
    /// is tried on a copy.
    #[must_use]
    pub fn what_if(&self, now: When, model: &Model, terms: &Terms) -> Explanation {
        let need = self.need(model, terms);
        let verdict = self.tried(now, model, terms);
        let pledges = self.pledges_before(now, model, turn_at(now, Priority::Interactive));
        Explanation {
            at: now,
            needed_bytes: need.bytes,
            budget_bytes: self.ledger.budget_bytes(),
            booked_bytes: self.ledger.booked_bytes(),
            pledged_bytes: pledges.map_or(0, |pledges| pledges.bytes()),
            pressure: self.pressure,
            holders: self.holders(now, &need, &verdict),
            departure: self.habits.of(model).and_then(|habit| habit.departure.clone()),
            group: need.group,
            verdict,
        }
    }

    /// The verdict of [`Self::what_if`] alone. Where it is plain, nothing is copied for it: what is
    /// loaded or loading, what would be refused, and what fits where nobody waits.
    #[must_use]
    pub fn verdict(&self, now: When, model: &Model, terms: &Terms) -> Verdict {
        let need = self.need(model, terms);
        if let Some(refusal) = self.refusal_at_arrival(now, &need, Priority::Interactive) {
            return Verdict::Refused(refusal);
        }
        let nobody_waits = self.waiting.is_empty();
        let live = self.live(model).map(|id| (id, &self.workers[&id]));
        match live.map(|(id, worker)| (id, worker.phase, worker.leases.len())) {
            Some((id, Phase::Loading, _)) => return Verdict::Queued(id),
            Some((id, Phase::Ready, leases)) if nobody_waits && leases < LEASES_PER_WORKER_MAX => {
                return Verdict::Served(id);
            }
            None if nobody_waits && self.awaited_under_pressure(&need).is_empty() => {
                if self.room(now, &need, &Pledges::default()) == Room::Free {
                    return Verdict::Started;
                }
            }
            Some(_) | None => {}
        }
        self.tried(now, model, terms)
    }

    /// What would happen, tried on a copy.
    fn tried(&self, now: When, model: &Model, terms: &Terms) -> Verdict {
        let request = RequestId(u64::MAX);
        let wanted = Event::Wanted {
            request,
            model: model.clone(),
            terms: terms.clone(),
            priority: Priority::Interactive,
            keep_alive: None,
        };
        let mut tried = self.clone();
        let mut actions = Vec::new();
        tried.handle(now, wanted, &mut actions);
        let mut victims = Vec::new();
        let mut is_started = false;
        for action in actions {
            match action {
                Action::Grant { request: granted, worker } if granted == request => {
                    return Verdict::Served(worker);
                }
                Action::Refuse { request: refused, reason } if refused == request => {
                    return Verdict::Refused(reason);
                }
                Action::Start { model: started, .. } => is_started |= started == *model,
                Action::Stop { worker, .. } if tried.left_for(worker, model) => {
                    victims.push(worker);
                }
                Action::Stop { .. }
                | Action::Grant { .. }
                | Action::Refuse { .. }
                | Action::Trim { .. } => {}
            }
        }
        if !victims.is_empty() {
            return Verdict::StartedAfterStopping(victims);
        }
        if is_started {
            return Verdict::Started;
        }
        match tried.turn_of(now, request) {
            Some(Turn::Waiting(wait)) => Verdict::of_wait(wait.waiting_for),
            Some(Turn::Using(worker)) => Verdict::Served(worker),
            None => unreachable!("{request:?} was neither answered nor waits"),
        }
    }

    /// Whether this worker was last told to leave for the sake of this model.
    fn left_for(&self, id: WorkerId, model: &Model) -> bool {
        let habit = self.workers.get(&id).and_then(|worker| self.habits.of(&worker.model));
        let cause = habit.and_then(|habit| habit.departure.as_ref()).map(|left| &left.cause);
        matches!(cause, Some(Cause::Stopped { for_model: Some(other), .. }) if other == model)
    }

    fn holders(&self, now: When, need: &Need, verdict: &Verdict) -> Vec<Holder> {
        let holder = |row: crate::ledger::Row| Holder {
            worker: row.worker,
            bytes: row.booked_bytes,
            promised_bytes: row.entry.promised_bytes,
            measured_bytes: row.entry.measured_bytes,
            leases: self.leases(row.worker),
            idle_for: self.idle_since(row.worker).map(|since| now.since(since)),
            unload_in: self.unload_at(row.worker).map(|when| when.since(now)),
            cost_ms_per_hour: self.cost(now, row.worker),
            standing: self.standing(row.worker, need, verdict),
            model: row.entry.model,
        };
        self.ledger.explain().into_iter().map(holder).collect()
    }

    fn standing(&self, id: WorkerId, need: &Need, verdict: &Verdict) -> Standing {
        let worker = &self.workers[&id];
        let victims: &[WorkerId] = match verdict {
            Verdict::StartedAfterStopping(victims) | Verdict::Held { victims, .. } => victims,
            Verdict::Served(_)
            | Verdict::Queued(_)
            | Verdict::Started
            | Verdict::StartedAfterExits
            | Verdict::Pressed(_)
            | Verdict::Sparing { .. }
            | Verdict::Blocked { .. }
            | Verdict::Behind(_)
            | Verdict::Refused(_) => &[],
        };
        if worker.phase == Phase::Leaving {
            Standing::Leaving
        } else if worker.model == need.model {
            Standing::Itself
        } else if victims.contains(&id) {
            let rival = need.group.is_some() && self.group_of(id) == need.group;
            if rival { Standing::ChosenForGroup } else { Standing::Chosen }
        } else if self.is_pinned(id) {
            Standing::Pinned
        } else if !worker.leases.is_empty() {
            Standing::InUse
        } else if !self.is_idle(id) {
            Standing::Wanted
        } else {
            Standing::Spared
        }
    }
}

impl Verdict {
    fn of_wait(waiting_for: WaitingFor) -> Self {
        match waiting_for {
            WaitingFor::Load(worker)
            | WaitingFor::Place(worker)
            | WaitingFor::Drained { worker, .. } => Self::Queued(worker),
            WaitingFor::Exits(_) => Self::StartedAfterExits,
            WaitingFor::Pressure(workers) => Self::Pressed(workers),
            WaitingFor::Held { victims, ends_in } => Self::Held { victims, ends_in },
            WaitingFor::Sparing { workers, ends_in } => Self::Sparing { workers, ends_in },
            WaitingFor::InUse { missing_bytes, workers } => {
                Self::Blocked { missing_bytes, workers }
            }
            WaitingFor::Behind(request) => Self::Behind(request),
        }
    }
}
