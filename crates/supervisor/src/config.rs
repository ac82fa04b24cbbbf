//! What the supervisor is told at its start, and what of that may change while it runs.
//!
//! Not here: reading it from a file or choosing defaults for a machine (`resident`).

use std::{collections::BTreeSet, ffi::OsString, path::PathBuf, time::Duration};

use planner::{
    fleet::{Policy, Pressure},
    footprint::{CacheType, Place},
    roles::Roles,
};
use tokio::sync::watch;

use crate::limits;

/// How to run workers and how much memory they may take together.
#[derive(Debug, Clone)]
pub struct Config {
    /// What may change while it runs.
    pub settings: Settings,
    /// The program that runs [`crate::guard::run`], with its first arguments; without any, foreign
    /// programs cannot be started.
    pub guard: Vec<OsString>,
    /// Where each model's worker writes what it says on standard error; made when missing.
    pub logs_dir: PathBuf,
    /// The folder in which each run's happenings are written down; `None` writes nothing.
    pub journal: Option<PathBuf>,
    /// Where workers put a model's layers on this machine, so that memory is predicted for there.
    pub place: Place,
    /// Where the machine's own shortage of memory is told; `None` looks at the machine itself.
    pub pressure: Option<watch::Receiver<Pressure>>,
    /// How long to wait for a worker at each step.
    pub patience: Patience,
}

/// What may change while the supervisor runs. What concerns a worker holds for those that are
/// started from then on.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The worker's program, `resident-llama`.
    pub worker: PathBuf,
    /// Memory that all workers may take together.
    pub budget_bytes: u64,
    /// Groups of which at most one model holds memory at a time.
    pub exclusive_groups: BTreeSet<String>,
    /// A worker that nobody asked for this long is stopped; `Duration::MAX` keeps it.
    pub idle_unload: Duration,
    /// Sequences that may run in one step of a worker.
    pub sequences_max: u32,
    /// Threads of a step; `None` lets the worker adapt to what the machine can spare.
    pub threads: Option<u32>,
    /// Context of a model that has no setting of its own; `None` takes the smaller of its training
    /// context and [`limits::CONTEXT_TOKENS_DEFAULT`].
    pub context_tokens: Option<u32>,
    /// How our own workers encode keys and values in the cache of a model that has no setting of its
    /// own.
    pub kv_type: CacheType,
    /// Names that requests may use instead of models.
    pub roles: Roles,
    /// Whether a resident model may stand in for one of a role that would have to be loaded, where
    /// the role does not say.
    pub prefer_resident: bool,
    /// How our own workers keep prefixes outside the context; `None` keeps none, whatever a model says.
    pub keep: Option<KeepSettings>,
}

/// Where prefixes are kept outside the context, so that they outlive a worker's sequences or the
/// worker itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeepMode {
    /// Nowhere.
    Off,
    /// In the worker's memory; it ends with the worker.
    Ram,
    /// In memory, and in files that stay.
    Ssd,
}

/// How prefixes are kept outside the context.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeepSettings {
    /// Where, for models that say nothing else.
    pub mode: KeepMode,
    /// Where the files lie; several hubs may share a folder.
    pub folder: PathBuf,
    /// Bytes in each worker's memory, at most; a small model gets less.
    pub ram_bytes: u64,
    /// Bytes of all files in the folder, of all models.
    pub ssd_bytes: u64,
    /// Bytes that stay free on the disk for everybody else.
    pub free_floor_bytes: u64,
    /// Bytes that may be written in a day.
    pub day_write_bytes: u64,
    /// Whether files are compressed.
    pub compress: bool,
    /// The file with the key, where files are encrypted.
    pub encryption_key: Option<PathBuf>,
}

impl KeepSettings {
    /// What holds for a model with this word of its own; `None` where it keeps nothing.
    pub(crate) fn of_model(&self, own: Option<KeepMode>) -> Option<Self> {
        let mode = own.unwrap_or(self.mode);
        match mode {
            KeepMode::Off => None,
            KeepMode::Ram | KeepMode::Ssd => Some(Self { mode, ..self.clone() }),
        }
    }
}

impl Settings {
    /// What holds for all models.
    pub(crate) fn policy(&self) -> Policy {
        let groups = self.exclusive_groups.iter();
        Policy {
            budget_bytes: self.budget_bytes,
            idle_unload: self.idle_unload,
            exclusive: groups.map(|group| group.as_str().into()).collect(),
        }
    }
}

/// How long to wait for a worker before it counts as broken. The defaults are in [`limits`]; tests
/// shorten them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// From the start of the process to its first word.
    pub hello: Duration,
    /// Between two signs of progress while it loads.
    pub load_progress: Duration,
    /// For one frame to be taken from its standard input.
    pub write: Duration,
    /// Between closing its standard input and killing it.
    pub stop_grace: Duration,
    /// For all workers to be gone at shutdown.
    pub shutdown: Duration,
    /// How long what was found for a model's name is believed without another look at its file.
    pub lookup: Duration,
    /// Between two measurements of an engine's memory while it is in use.
    pub measure: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            hello: limits::HELLO_WAIT_MAX,
            load_progress: limits::LOAD_PROGRESS_WAIT_MAX,
            write: limits::WRITE_WAIT_MAX,
            stop_grace: limits::STOP_GRACE_MAX,
            shutdown: limits::SHUTDOWN_WAIT_MAX,
            lookup: limits::LOOKUP_AGE_MAX,
            measure: limits::MEASURE_INTERVAL,
        }
    }
}
