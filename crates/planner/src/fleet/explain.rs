//! What would happen to a request now, and why, in bytes.

use std::time::Duration;

use super::{
    Fleet, Phase,
    plan::Room,
    word::{Model, Refusal, When, WorkerId},
};

/// The answer to "what if someone wanted this model now".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What it needs.
    pub needed_bytes: u64,
    /// What all workers may hold.
    pub budget_bytes: u64,
    /// What they hold.
    pub booked_bytes: u64,
    /// Who holds it, in the order of starting.
    pub holders: Vec<Holder>,
    /// What would happen.
    pub verdict: Verdict,
}

/// A worker that holds memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Which worker.
    pub worker: WorkerId,
    /// Its model.
    pub model: Model,
    /// What it holds.
    pub bytes: u64,
    /// Requests that use it.
    pub leases: usize,
    /// How long nobody has used it; `None` while someone does or it is leaving.
    pub idle_for: Option<Duration>,
    /// Whether it was told to leave.
    pub leaving: bool,
}

/// What would happen to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// It would wait until workers in use are idle.
    Blocked {
        /// Bytes that only workers in use could give back.
        missing_bytes: u64,
    },
    /// It would be refused.
    Refused(Refusal),
}

impl Fleet {
    /// What would happen to a request for a model that needs so many bytes. Changes nothing.
    #[must_use]
    pub fn explain(&self, now: When, model: &Model, bytes: u64) -> Explanation {
        Explanation {
            needed_bytes: bytes,
            budget_bytes: self.budget_bytes,
            booked_bytes: self.booked_bytes(),
            holders: self.holders(now),
            verdict: self.verdict(now, model, bytes),
        }
    }

    fn verdict(&self, now: When, model: &Model, bytes: u64) -> Verdict {
        if let Some(refusal) = self.refusal_at_arrival(now, model, bytes) {
            return Verdict::Refused(refusal);
        }
        if let Some(id) = self.live(model) {
            return if self.is_open(id) { Verdict::Served(id) } else { Verdict::Queued(id) };
        }
        match self.room(bytes, self.pledged_bytes()) {
            Room::Free => Verdict::Started,
            Room::AfterExits => Verdict::StartedAfterExits,
            Room::AfterStopping(victims) => Verdict::StartedAfterStopping(victims),
            Room::Blocked { missing_bytes } => Verdict::Blocked { missing_bytes },
        }
    }

    fn is_open(&self, id: WorkerId) -> bool {
        let worker = &self.workers[&id];
        let has_place = worker.leases.len() < super::limits::LEASES_PER_WORKER_MAX;
        worker.phase == Phase::Ready && !worker.draining && has_place
    }

    /// What waits in front of a newcomer for memory: newcomers get what is left of it. A model
    /// that is blocked counts too once it has starved, and then nothing is left.
    fn pledged_bytes(&self) -> u64 {
        let starving = self.workers.values().any(|worker| worker.draining);
        let mut pledged: u64 = 0;
        for wanted in self.wanted_models() {
            let will_fit = match self.room(wanted.bytes, pledged) {
                Room::Free | Room::AfterExits | Room::AfterStopping(_) => true,
                Room::Blocked { .. } => starving,
            };
            if will_fit {
                pledged = pledged.saturating_add(wanted.bytes);
            }
        }
        pledged
    }

    fn holders(&self, now: When) -> Vec<Holder> {
        let holder = |(id, worker): (&WorkerId, &super::Worker)| Holder {
            worker: *id,
            model: worker.model.clone(),
            bytes: worker.booked_bytes(),
            leases: worker.leases.len(),
            idle_for: self.idle_since(*id).map(|since| now.since(since)),
            leaving: worker.phase == Phase::Leaving,
        };
        self.workers.iter().map(holder).collect()
    }
}
