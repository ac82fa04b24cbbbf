//! Whose turn it is: what an arriving request is told at once, and where one that waits stands.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    Fleet, Phase, Waiting,
    limits::{BACKGROUND_FAIR_WAIT, BACKGROUND_WAITING_MAX, FAIR_WAIT, WAIT_MAX, WAITING_MAX},
    outlook::Outlook,
    planted::{Bug, planted},
    room::{Need, Pledges, Room},
    word::{Event, Model, Priority, Refusal, RequestId, When, WorkerId},
};

/// Where a request stands that was not refused and has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Turn {
    /// It uses this worker.
    Using(WorkerId),
    /// It waits.
    Waiting(Wait),
}

/// Where a request stands that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// What it wants to use.
    pub model: Model,
    /// Who comes first.
    pub priority: Priority,
    /// Its place among all who wait, from 1.
    pub place: usize,
    /// How long it has waited.
    pub waited: Duration,
    /// When its turn comes at the latest: newcomers of other models do not overtake it after that.
    pub turn_in: Duration,
    /// When it is refused for waiting too long; `None` while its model loads, which has its own end.
    pub refused_in: Option<Duration>,
    /// What has to happen first.
    pub waiting_for: WaitingFor,
}

/// What has to happen before a request is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WaitingFor {
    /// This worker loads its model.
    Load(WorkerId),
    /// This worker serves as many as it may.
    Place(WorkerId),
    /// This worker lets no newcomers in, for the sake of that earlier request.
    Drained {
        /// The worker of its model.
        worker: WorkerId,
        /// The request whose turn it is.
        behind: RequestId,
    },
    /// Workers that were told to leave give back enough.
    Exits(Vec<WorkerId>),
    /// The machine itself is about to swap, so that nothing is started before these workers are gone,
    /// or it has enough again.
    Pressure(Vec<WorkerId>),
    /// These idle workers would leave for it, but are held a little longer for their own users.
    Held {
        /// The workers.
        victims: Vec<WorkerId>,
        /// For how long at most.
        ends_in: Duration,
    },
    /// These workers have just loaded or are about to have, and will soon be idle; others are idle
    /// now, but dearer to bring back.
    Sparing {
        /// The workers.
        workers: Vec<WorkerId>,
        /// For how long at most.
        ends_in: Duration,
    },
    /// Workers in use hold the memory, or the place in its group.
    InUse {
        /// Bytes that only they could give back.
        missing_bytes: u64,
        /// The workers.
        workers: Vec<WorkerId>,
    },
    /// This earlier request of another model comes first.
    Behind(RequestId),
}

/// When the turn of a request comes at the latest.
pub(super) fn turn_at(now: When, priority: Priority) -> When {
    let interactive = match priority {
        Priority::Interactive => !planted(Bug::BackgroundFirst),
        Priority::Background => planted(Bug::BackgroundFirst),
    };
    let fair_wait = if interactive { FAIR_WAIT } else { BACKGROUND_FAIR_WAIT };
    now.checked_add(fair_wait).unwrap_or(now)
}

/// How many may wait when a request of this priority comes.
fn waiting_max(priority: Priority) -> usize {
    match priority {
        Priority::Interactive => WAITING_MAX,
        Priority::Background => BACKGROUND_WAITING_MAX,
    }
}

impl Fleet {
    /// All requests that were not refused and have not ended, in the order of their numbers.
    #[must_use]
    pub fn turns(&self, now: When) -> Vec<(RequestId, Turn)> {
        let using = self.workers.values().flat_map(|worker| worker.leases.keys().copied());
        let waiting = self.waiting.iter().map(|waiting| waiting.request);
        let mut requests: Vec<RequestId> = using.chain(waiting).collect();
        requests.sort_unstable();
        // One look at the clock is enough for all of them.
        let present = self.present(now);
        let turn = |request| Some((request, present.turn_of(now, request)?));
        requests.into_iter().filter_map(turn).collect()
    }

    /// Where a request stands and what it waits for; `None` when it was answered and has ended.
    #[must_use]
    pub fn explain_request(&self, now: When, request: RequestId) -> Option<Turn> {
        self.present(now).turn_of(now, request)
    }

    /// How things stand once the fleet has looked at the clock.
    fn present(&self, now: When) -> Self {
        let mut present = self.clone();
        present.handle(now, Event::Tick, &mut Vec::new());
        present
    }

    pub(super) fn turn_of(&self, now: When, request: RequestId) -> Option<Turn> {
        let mut workers = self.workers.iter();
        if let Some((id, _)) = workers.find(|(_, worker)| worker.leases.contains_key(&request)) {
            return Some(Turn::Using(*id));
        }
        let place = self.waiting.iter().position(|waiting| waiting.request == request)?;
        let waiting = &self.waiting[place];
        let waiting_for = self.waits_for(now, waiting, place)?;
        let refused_at = waiting.since.checked_add(WAIT_MAX);
        let loads = matches!(waiting_for, WaitingFor::Load(_));
        Some(Turn::Waiting(Wait {
            model: waiting.model.clone(),
            priority: waiting.priority,
            place: place + 1,
            waited: now.since(waiting.since),
            turn_in: waiting.turn_at.since(now),
            refused_in: refused_at.filter(|_| !loads).map(|when| when.since(now)),
            waiting_for,
        }))
    }

    /// Why a request is not even allowed to wait, if it is not.
    pub(super) fn refusal_at_arrival(
        &self,
        now: When,
        need: &Need,
        priority: Priority,
    ) -> Option<Refusal> {
        if self.shutting_down {
            return Some(Refusal::ShuttingDown);
        }
        if self.live(&need.model).is_none() {
            let cooling = || self.breaker.cooling(now, &need.model);
            if let Some(refusal) = self.hopeless(need).or_else(cooling) {
                return Some(refusal);
            }
        }
        let limit = waiting_max(priority);
        (self.waiting.len() >= limit).then_some(Refusal::QueueFull { limit })
    }

    /// What those were promised who wait before a request for this model with this turn. Of one
    /// whose turn has come while workers in use are in its way, all later ones are behind.
    pub(super) fn pledges_before(
        &self,
        now: When,
        model: &Model,
        turn_at: When,
    ) -> Result<Pledges, RequestId> {
        let mut pledges = Pledges::default();
        for wanted in self.wanted_models() {
            if wanted.model == *model || wanted.turn_at > turn_at {
                break;
            }
            let Some(need) = self.need_of(&wanted.model) else { continue };
            let its_turn = now >= wanted.turn_at;
            match self.outlook(now, &wanted, &need, &pledges) {
                Outlook::Room(Room::Blocked { .. })
                | Outlook::Sparing { .. }
                | Outlook::Pressed(_)
                    if its_turn =>
                {
                    return Err(wanted.request);
                }
                Outlook::Held { victims, .. } => pledges.hold(victims),
                Outlook::Room(Room::Free | Room::AfterExits | Room::AfterStopping(_)) => {
                    pledges.add(&need);
                }
                Outlook::Room(Room::Blocked { .. } | Room::Behind)
                | Outlook::Sparing { .. }
                | Outlook::Pressed(_) => {}
            }
        }
        Ok(pledges)
    }

    /// Workers in use that could give back the memory a model needs.
    fn in_its_way(&self, model: &Model, rivals: Vec<WorkerId>) -> Vec<WorkerId> {
        if !rivals.is_empty() {
            return rivals;
        }
        let in_use = self.workers.iter().filter(|(id, worker)| {
            let stays = worker.phase != Phase::Leaving && worker.model != *model;
            stays && !self.stays(**id) && !self.is_idle(**id)
        });
        in_use.map(|(id, _)| *id).collect()
    }

    fn waits_for(&self, now: When, waiting: &Waiting, place: usize) -> Option<WaitingFor> {
        if let Some(id) = self.live(&waiting.model) {
            let worker = &self.workers[&id];
            let behind = self.waiting[..place].iter().find(|other| other.model != waiting.model);
            return Some(match (worker.phase, behind) {
                (Phase::Loading, _) => WaitingFor::Load(id),
                (Phase::Ready | Phase::Leaving, Some(first)) if worker.draining => {
                    WaitingFor::Drained { worker: id, behind: first.request }
                }
                (Phase::Ready | Phase::Leaving, _) => WaitingFor::Place(id),
            });
        }
        let need = self.need_of(&waiting.model)?;
        let pledges = match self.pledges_before(now, &waiting.model, waiting.turn_at) {
            Ok(pledges) => pledges,
            Err(first) => return Some(WaitingFor::Behind(first)),
        };
        Some(match self.outlook(now, waiting, &need, &pledges) {
            // What is free is taken at once, so it is only seen free by one who waits for exits.
            Outlook::Room(Room::Free | Room::AfterExits | Room::AfterStopping(_)) => {
                WaitingFor::Exits(self.leaving())
            }
            Outlook::Pressed(awaited) => WaitingFor::Pressure(awaited),
            Outlook::Held { victims, until } => {
                WaitingFor::Held { victims, ends_in: until.since(now) }
            }
            Outlook::Sparing { workers, until } => {
                WaitingFor::Sparing { workers, ends_in: until.since(now) }
            }
            Outlook::Room(Room::Blocked { missing_bytes, rivals }) => {
                let workers = self.in_its_way(&waiting.model, rivals);
                WaitingFor::InUse { missing_bytes, workers }
            }
            Outlook::Room(Room::Behind) => {
                let mut earlier = self.waiting[..place].iter();
                let other = earlier.find(|other| other.model != waiting.model);
                WaitingFor::Behind(other.map_or(waiting.request, |other| other.request))
            }
        })
    }

    fn leaving(&self) -> Vec<WorkerId> {
        let leaving = self.workers.iter().filter(|(_, worker)| worker.phase == Phase::Leaving);
        leaving.map(|(id, _)| *id).collect()
    }
}
