//! What the supervisor says about itself.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use planner::{
    fleet::{Model, Pressure, RequestId, Turn, WorkerId},
    footprint::CacheType,
};
use worker_protocol::Stats;

/// A model that holds memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Resident {
    /// The model's name.
    pub name: String,
    /// What runs it: `worker`, `command`, `upstream` or `tool`.
    pub engine: &'static str,
    /// Its file, where the hub knows one.
    pub path: Option<PathBuf>,
    /// Where its worker is in its life.
    pub state: ResidentState,
    /// Whether it never leaves for another.
    pub pinned: bool,
    /// Bytes that the ledger counts for it: the larger of promise and measurement.
    pub booked_bytes: u64,
    /// Bytes that the process was last seen to hold.
    pub measured_bytes: Option<u64>,
    /// Process id, once it was started.
    pub pid: Option<u32>,
    /// What loading it took, by its worker's own account; `None` for foreign engines.
    pub load_ms: Option<u64>,
    /// Context cells that all its sequences share; `None` where only a foreign engine knows.
    pub context_tokens: Option<u32>,
    /// How keys and values are encoded in its cache; `None` where that is not for the hub to say.
    pub kv_type: Option<CacheType>,
    /// Requests that hold a lease on it.
    pub leased: u32,
    /// Requests that wait for it.
    pub waiting: u32,
    /// The worker's own counters, once it sent some.
    pub stats: Option<Stats>,
    /// How long nobody has used it; `None` while it is in use.
    pub idle_for: Option<Duration>,
    /// How long it stays once nobody uses it; `None` when it stays until it is told to go.
    pub kept_for: Option<Duration>,
}

impl Resident {
    /// When it will be stopped unless someone uses it; `None` when it will not.
    #[must_use]
    pub fn unload_in(&self) -> Option<Duration> {
        Some(self.kept_for?.saturating_sub(self.idle_for?))
    }
}

/// The requests that wait or use a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requests {
    /// Where each stands, in the order of arrival.
    pub turns: Vec<(RequestId, Turn)>,
    /// The model of each worker that they may speak of.
    pub workers: BTreeMap<WorkerId, Model>,
}

/// Where a worker is in its life.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ResidentState {
    /// Loading; the share that is done, from 0 to 1.
    Loading {
        /// From 0 to 1.
        fraction: f32,
    },
    /// Ready for requests.
    Ready,
    /// Told to stop; its memory counts until its exit is seen.
    Stopping,
}

/// Counters since the start of the hub, and what is true now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics {
    /// Workers that were started.
    pub workers_started: u64,
    /// Workers that ended although nobody had asked them to, failed loads included.
    pub workers_crashed: u64,
    /// Loads that failed.
    pub loads_failed: u64,
    /// Requests that got a lease.
    pub requests_granted: u64,
    /// Requests that were refused, by reason.
    pub requests_refused: BTreeMap<&'static str, u64>,
    /// Requests whose caller left while they waited.
    pub requests_abandoned: u64,
    /// Requests that wait now.
    pub waiting: u32,
    /// Bytes that all workers hold by the ledger.
    pub booked_bytes: u64,
    /// Bytes they may hold.
    pub budget_bytes: u64,
    /// How short of memory the machine itself is.
    pub pressure: Pressure,
    /// What each model did since the start of the hub, ordered by name.
    pub models: Vec<ModelMetrics>,
}

/// What one model did since the start of the hub, over all its workers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelMetrics {
    /// The model's name.
    pub name: String,
    /// Bytes that its workers hold by the ledger now.
    pub booked_bytes: u64,
    /// Requests that run now.
    pub running: u32,
    /// Requests that wait for a sequence now.
    pub waiting: u32,
    /// Context cells in use now.
    pub cells_used: u32,
    /// Prompt tokens processed.
    pub prefill_tokens: u64,
    /// Prompt tokens found in the cache, whichever tier had them.
    pub cached_tokens: u64,
    /// Those of them that came from memory outside the context.
    pub cached_ram_tokens: u64,
    /// Those of them that came from files.
    pub cached_ssd_tokens: u64,
    /// Bytes of kept prefixes written to files.
    pub kept_written_bytes: u64,
    /// Bytes of prefixes kept in memory now.
    pub kept_ram_bytes: u64,
    /// Bytes of prefixes kept in files, while the model is in memory.
    pub kept_ssd_bytes: u64,
    /// Tokens generated.
    pub decode_tokens: u64,
    /// Tokens that were guessed ahead and checked.
    pub drafted_tokens: u64,
    /// Those of them that came true; they are among the generated ones.
    pub accepted_tokens: u64,
}
