//! The words of the fleet: what it is told and what it decides.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

/// A moment, as time since some start that the caller chose once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct When(pub Duration);

impl When {
    /// The moment `wait` later; `None` if that is never.
    #[must_use]
    pub fn checked_add(self, wait: Duration) -> Option<Self> {
        self.0.checked_add(wait).map(Self)
    }

    /// Time since an earlier moment; zero if it is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Names one request, from `Wanted` to `Released`. The caller never uses a number twice, nor the last
/// one, which stands for a request that is only asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// Names one worker, from `Start` to `Exited`. The fleet never uses a number twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WorkerId(pub u64);

/// A model as it is on disk now. A changed file is another model of the same name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Model {
    /// The name that the operator and the clients use.
    pub name: Arc<str>,
    /// Differs when the file or the way to load it differs.
    pub version: u64,
}

/// How a model is to be treated. Comes with each `Wanted`; the newest word counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// What a worker of it is predicted to hold.
    pub bytes: u64,
    /// Its group. Of a group that is exclusive, at most one model holds memory, beside workers that
    /// are leaving.
    pub group: Option<Arc<str>>,
    /// Never stopped for another's sake, by idling or by pressure, also not on a failed load; only
    /// by the operator or at shutdown.
    pub pinned: bool,
    /// How long its worker stays when nobody uses it. `None` takes the policy's; `Duration::MAX`
    /// is for ever.
    pub idle_unload: Option<Duration>,
    /// How long loading it is expected to take.
    pub load_time: Duration,
    /// Whether this version is used once and never wanted again, like the run of a tool: then nothing
    /// is remembered of it when it has left, and it is never brought back.
    #[serde(default)]
    pub once: bool,
}

/// Who comes first when several wait for memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Priority {
    /// A person waits for the answer.
    Interactive,
    /// Nobody waits for it just now.
    Background,
}

/// What holds for all models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Bytes that all workers may hold together.
    pub budget_bytes: u64,
    /// A worker that was idle for this long is stopped; `Duration::MAX` keeps it.
    pub idle_unload: Duration,
    /// Groups of which at most one model may be resident.
    pub exclusive: BTreeSet<Arc<str>>,
}

/// How short of memory the machine itself is, whatever the ledger says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Pressure {
    /// There is enough.
    #[default]
    Calm,
    /// It begins to wait for memory: caches are to be given back.
    Some,
    /// It is about to swap: whoever is idle is to leave.
    Full,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A request wants to use a model.
    Wanted {
        /// Number of the request.
        request: RequestId,
        /// What it wants to use.
        model: Model,
        /// How that model is to be treated from now on.
        terms: Terms,
        /// Who comes first.
        priority: Priority,
        /// How long the worker is to stay idle after this request, if the request says so. With
        /// zero it leaves when its last lease ends.
        keep_alive: Option<Duration>,
    },
    /// A request that waited does not wait any more.
    Abandoned {
        /// Number of the request.
        request: RequestId,
    },
    /// A worker has loaded its model.
    Ready {
        /// Which worker.
        worker: WorkerId,
        /// What it was seen to hold; zero if that could not be found out.
        measured_bytes: u64,
    },
    /// A worker was measured again.
    Measured {
        /// Which worker.
        worker: WorkerId,
        /// What it was seen to hold.
        bytes: u64,
    },
    /// A worker is gone, and its memory with it.
    Exited {
        /// Which worker.
        worker: WorkerId,
        /// Why, in words for the person who asked for the model.
        reason: String,
    },
    /// A request that was granted has ended.
    Released {
        /// Number of the request.
        request: RequestId,
    },
    /// The operator wants a model stopped, whoever uses it.
    StopAsked {
        /// Its name, whatever the version.
        name: Arc<str>,
    },
    /// The operator pins a model or lets it go, whatever its terms say; `None` takes that back.
    PinAsked {
        /// Its name, whatever the version.
        name: Arc<str>,
        /// The operator's word.
        pinned: Option<bool>,
    },
    /// This model is to be there when nobody asked for another: it is started at once if no worker
    /// in use must leave for it, and again whenever nothing was wanted for a while.
    WarmChosen {
        /// Which one; `None` lets all leave.
        warm: Option<(Model, Terms)>,
    },
    /// The budget, the groups, or how models are treated are others now. All of it counts at once,
    /// and nothing in use is stopped for it.
    PolicyChanged {
        /// What holds from now on.
        policy: Policy,
        /// How models that were wanted before are treated from now on; `None` withdraws one.
        #[serde(default)]
        models: Vec<(Model, Option<Terms>)>,
    },
    /// A model is not served any more, because its file or its settings are others: whoever has
    /// or waits for it is still served, and then it leaves, pinned or not. The next `Wanted` takes
    /// that back.
    Withdrawn {
        /// Which version.
        model: Model,
    },
    /// The machine itself is short of memory, or no longer.
    Pressure {
        /// How short.
        level: Pressure,
    },
    /// Everything is to be stopped, and nothing started any more.
    ShutdownAsked,
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Start a worker. It ends with `Exited`, even if it never started.
    Start {
        /// Its number from now on.
        worker: WorkerId,
        /// What it is to load.
        model: Model,
    },
    /// Stop a worker. Its memory counts until `Exited`.
    Stop {
        /// Which worker.
        worker: WorkerId,
        /// Why.
        why: StopReason,
    },
    /// Let a request use a worker, until `Released`.
    Grant {
        /// Number of the request.
        request: RequestId,
        /// Which worker.
        worker: WorkerId,
    },
    /// Ask a worker to give back what it can do without. Nothing is expected of it.
    Trim {
        /// Which worker.
        worker: WorkerId,
    },
    /// Refuse a request.
    Refuse {
        /// Number of the request.
        request: RequestId,
        /// Why.
        reason: Refusal,
    },
}

/// Why a worker is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopReason {
    /// Nobody used it for the configured time.
    Idle,
    /// Another model needs its memory, and nobody uses it.
    Evicted,
    /// The machine is short of memory, and nobody uses it.
    Pressure,
    /// The operator wants it.
    Operator,
    /// It is not served any more as it was loaded, and nobody uses it.
    Withdrawn,
    /// Everything is to be stopped.
    Shutdown,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The model would not fit if it were alone.
    TooLarge {
        /// What it needs.
        needed_bytes: u64,
        /// What there is.
        budget_bytes: u64,
    },
    /// Pinned models leave no room for it, and they never leave.
    Pins {
        /// What it needs.
        needed_bytes: u64,
        /// What the pinned models hold.
        pinned_bytes: u64,
        /// What there is.
        budget_bytes: u64,
    },
    /// A pinned model of the same exclusive group is resident, and it never leaves.
    PinnedGroup {
        /// The group.
        group: Arc<str>,
        /// The name of the pinned model.
        holder: Arc<str>,
    },
    /// As many requests wait as may wait.
    QueueFull {
        /// How many that is.
        limit: usize,
    },
    /// It waited as long as a request may wait.
    WaitedTooLong {
        /// How long that is.
        limit: Duration,
    },
    /// The worker that it waited for exited while loading.
    LoadFailed {
        /// What its exit said.
        reason: String,
    },
    /// The model failed to load so often that it is not tried for a while.
    CoolingOff {
        /// How often it failed.
        failures: usize,
        /// When it will be tried again.
        retry_in: Duration,
        /// What the last exit said.
        reason: String,
    },
    /// The operator stopped the model.
    Stopped,
    /// Everything is being stopped.
    ShuttingDown,
}

impl fmt::Display for When {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:.3} s", self.0.as_secs_f64())
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Idle => "nobody used it",
            Self::Evicted => "another model needs its memory",
            Self::Pressure => "the machine is short of memory",
            Self::Operator => "the operator stopped it",
            Self::Withdrawn => "its file or its settings are others now",
            Self::Shutdown => "the hub is shutting down",
        })
    }
}
