//! How the rest of the program talks to the supervisor.
//!
//! Not here: any decision; the run loop asks the fleet.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use planner::{
    fleet::{self, Explanation, Priority, RequestId, Terms},
    roles::Roles,
};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task::JoinHandle,
};

use crate::{
    config::Config,
    elsewhere::Elsewhere,
    error::{AcquireError, StopError},
    happening::Happening,
    lease::{Grant, Lease, Ticket, Wish},
    limits::{HAPPENINGS_WAITING_MAX, INBOX_MESSAGES_MAX, LOOKUPS_MAX, REQUESTS_MAX},
    model::{Model, ModelSummary, Models, Residence},
    preflight::{Launch, Preflight, Start},
    report::{Metrics, Requests, Resident},
    reservation::Reservation,
    run_loop::{self, Message},
};

mod pools;
mod progress;
mod role;

use role::Look;

pub use progress::{Progress, Stage, Watch};
pub use role::{Purpose, Served};

/// Starts the supervisor's task on the current tokio runtime (time and IO enabled). It ends after
/// [`Handle::shutdown`]; aborting it stops all workers.
pub fn start(config: Config, models: Arc<dyn Models>) -> (Handle, JoinHandle<()>) {
    let (inbox, messages) = mpsc::channel(INBOX_MESSAGES_MAX);
    let (ended, requests_ended) = mpsc::channel(REQUESTS_MAX);
    let (happenings, _) = broadcast::channel(HAPPENINGS_WAITING_MAX);
    let preflight = Preflight::new(&config);
    let shared = Shared {
        inbox: inbox.clone(),
        ended,
        models,
        preflight,
        guard: config.guard.clone(),
        logs_dir: config.logs_dir.clone(),
        requests: AtomicU64::new(0),
        shutdown_wait_max: config.patience.shutdown,
        elsewhere: Elsewhere::default(),
        looked_up: Mutex::default(),
        lookup_age_max: config.patience.lookup,
        roles: config.roles.clone(),
        prefer_resident: config.prefer_resident,
        roles_looked_up: Mutex::default(),
        happenings: happenings.downgrade(),
    };
    let task = tokio::spawn(run_loop::run(config, inbox, messages, requests_ended, happenings));
    (Handle { shared: Arc::new(shared) }, task)
}

/// The way to the supervisor; clones share it.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

struct Shared {
    inbox: mpsc::Sender<Message>,
    ended: mpsc::Sender<RequestId>,
    models: Arc<dyn Models>,
    preflight: Preflight,
    /// The program that tools are guarded by, with its first arguments.
    guard: Vec<OsString>,
    logs_dir: PathBuf,
    requests: AtomicU64,
    shutdown_wait_max: Duration,
    /// What the servers of open pools have.
    elsewhere: Elsewhere,
    /// What was found for each name, and when. At most [`LOOKUPS_MAX`].
    looked_up: Mutex<BTreeMap<String, (Instant, Launch)>>,
    lookup_age_max: Duration,
    /// Names to use instead of models.
    roles: Roles,
    prefer_resident: bool,
    /// What was found for each role.
    roles_looked_up: Mutex<BTreeMap<String, Look>>,
    /// Weak, so that whoever looks on sees the end of the hub.
    happenings: broadcast::WeakSender<Arc<Happening>>,
}

/// A request that waits. Dropped in this order, so that whoever sees the ticket's end also sees
/// that nobody listens for the grant any more.
struct Wait {
    granted: oneshot::Receiver<Result<Grant, AcquireError>>,
    ticket: Ticket,
}

impl Handle {
    /// All models with what their headers say, ordered by name; of open pools those that their
    /// servers listed when [`Self::look_elsewhere`] last asked. Reads the headers of files that are
    /// new or changed, so call it where blocking is allowed when there may be many.
    #[must_use]
    pub fn models(&self) -> Vec<ModelSummary> {
        let mut models = self.shared.models.list();
        models.extend(self.models_elsewhere());
        models.sort_by(|one, other| one.name.cmp(&other.name));
        models.iter().map(|model| self.shared.preflight.summary(model)).collect()
    }

    /// The model of exactly this name. Reads its header if the file is new or changed.
    #[must_use]
    pub fn model(&self, name: &str) -> Option<ModelSummary> {
        let model = self.shared.models.find(name)?;
        if self.is_denied_elsewhere(name) {
            return None;
        }
        Some(self.shared.preflight.summary(&model))
    }

    /// Waits until the model is loaded and may be used. Dropping the future abandons the wait.
    ///
    /// # Errors
    /// See [`AcquireError`]; each is final for this request.
    pub async fn acquire(&self, model: &str) -> Result<Lease, AcquireError> {
        self.acquire_with(model, Wish::default()).await
    }

    /// The same, with a word on how urgent it is and how long the model is to stay afterwards.
    ///
    /// # Errors
    /// See [`AcquireError`]; each is final for this request.
    pub async fn acquire_with(&self, model: &str, wish: Wish) -> Result<Lease, AcquireError> {
        let launch = self.launch(model).await?;
        self.wanted(launch, wish, self.ticket(model)?).await
    }

    /// Loads a model that nobody asks yet, and returns when it is ready. Whoever asks comes first.
    ///
    /// # Errors
    /// See [`AcquireError`].
    pub async fn warm(
        &self,
        model: &str,
        keep_alive: Option<Duration>,
    ) -> Result<(), AcquireError> {
        let wish = Wish { priority: Priority::Background, keep_alive };
        self.acquire_with(model, wish).await.map(drop)
    }

    /// From now on this model is loaded whenever nobody wants another for a while; `None` ends that.
    ///
    /// # Errors
    /// See [`AcquireError`].
    pub async fn keep_warm(&self, model: Option<&str>) -> Result<(), AcquireError> {
        let launch = match model {
            Some(name) => Some(Box::new(self.launch(name).await?)),
            None => None,
        };
        let told = self.shared.inbox.send(Message::KeepWarm { launch }).await;
        told.map_err(|_| AcquireError::ShuttingDown)
    }

    /// The operator's word on whether a model ever leaves for another, over its configuration's;
    /// `None` takes it back. It holds until the hub ends.
    ///
    /// # Errors
    /// [`AcquireError::UnknownModel`].
    pub async fn pin(&self, model: &str, pinned: Option<bool>) -> Result<(), AcquireError> {
        let launch = self.launch(model).await?;
        let told = self.shared.inbox.send(Message::Pin { launch: Box::new(launch), pinned }).await;
        told.map_err(|_| AcquireError::ShuttingDown)
    }

    /// Why a model is not loaded, and what would happen if somebody asked for it now.
    ///
    /// # Errors
    /// When the model cannot be used at all.
    pub async fn explain(&self, model: &str) -> Result<Explanation, AcquireError> {
        let launch = Box::new(self.launch(model).await?);
        let explanation = self.ask(|reply| Message::Explain { launch, reply }).await;
        explanation.ok_or(AcquireError::ShuttingDown)
    }

    /// What would happen to a request for a model that nobody has configured, which would need so
    /// many bytes and be of this group.
    ///
    /// # Errors
    /// When the hub is down.
    pub async fn what_if(
        &self,
        name: &str,
        bytes: u64,
        group: Option<&str>,
    ) -> Result<Explanation, AcquireError> {
        // No version is this one, so that it is not taken for a model of the same name.
        let model = fleet::Model { name: name.into(), version: 0 };
        let terms = Terms {
            bytes,
            group: group.map(Arc::from),
            pinned: false,
            idle_unload: None,
            load_time: Duration::ZERO,
        };
        let explanation = self.ask(|reply| Message::WhatIf { model, terms, reply }).await;
        explanation.ok_or(AcquireError::ShuttingDown)
    }

    /// The requests that wait or use a model, and what each waits for. Empty once the hub is down.
    pub async fn requests(&self) -> Requests {
        self.ask(|reply| Message::Turns { reply }).await.unwrap_or_default()
    }

    /// What the fleet is told and decides, from now on until the hub is down. Whoever falls behind
    /// loses the oldest.
    #[must_use]
    pub fn happenings(&self) -> broadcast::Receiver<Arc<Happening>> {
        match self.shared.happenings.upgrade() {
            Some(happenings) => happenings.subscribe(),
            // The hub is down; of this channel nobody hears anything but its end.
            None => broadcast::channel(1).1,
        }
    }

    async fn wanted(
        &self,
        launch: Launch,
        wish: Wish,
        ticket: Ticket,
    ) -> Result<Lease, AcquireError> {
        let (reply, granted) = oneshot::channel();
        let request = ticket.request();
        let wait = Wait { granted, ticket };
        let wanted = Message::Wanted { request, launch: Box::new(launch), wish, reply };
        self.shared.inbox.send(wanted).await.map_err(|_| AcquireError::ShuttingDown)?;
        wait.lease().await
    }

    /// Waits until so many bytes are free for something that the hub does not run itself, such as
    /// a one-shot tool, and books them until the reservation is dropped. Idle models leave for it
    /// if they must. Dropping the future abandons the wait. `name` is what people see.
    ///
    /// # Errors
    /// See [`AcquireError`]; each is final for this request.
    pub async fn reserve(
        &self,
        name: &str,
        bytes: u64,
        priority: Priority,
    ) -> Result<Reservation, AcquireError> {
        let ticket = self.ticket(name)?;
        let (hold, revoked) = watch::channel(None);
        // Two reservations of one name have nothing in common.
        let model = fleet::Model { name: name.into(), version: ticket.request().0 };
        let start = Start::Reservation(hold);
        let residence = Residence::default();
        let launch = Launch { model, start, needed_bytes: bytes, residence };
        let wish = Wish { priority, keep_alive: Some(Duration::ZERO) };
        let lease = self.wanted(launch, wish, ticket).await?;
        Ok(Reservation::new(lease, revoked, self.shared.inbox.clone()))
    }

    /// The program that tools are guarded by, with its first arguments.
    pub(crate) fn guard(&self) -> &[OsString] {
        &self.shared.guard
    }

    /// Where what tools say beside their output is kept.
    pub(crate) fn logs_dir(&self) -> &Path {
        &self.shared.logs_dir
    }

    /// The models that hold memory, ordered by name. Empty once the hub is down.
    pub async fn residents(&self) -> Vec<Resident> {
        self.ask(|reply| Message::Residents { reply }).await.unwrap_or_default()
    }

    /// Stops a model by the operator's hand, whoever uses it: open answers end with `Failed`, and
    /// requests that wait for it are refused. Returns when its processes were told, not when
    /// they are gone; [`Self::residents`] shows that.
    ///
    /// # Errors
    /// [`StopError::NotRunning`] when no worker of it runs.
    pub async fn stop(&self, model: &str) -> Result<(), StopError> {
        let name = model.to_owned();
        self.ask(|reply| Message::Stop { name, reply })
            .await
            .unwrap_or(Err(StopError::ShuttingDown))
    }

    /// Stops all workers, refuses everyone who waits, and returns when all processes are gone, or
    /// after a bounded time.
    pub async fn shutdown(&self) {
        let wait_max = self.shared.shutdown_wait_max;
        // No answer means that the task is gone already, which is what was asked for.
        let down = self.ask(|reply| Message::Shutdown { reply });
        if tokio::time::timeout(wait_max, down).await.is_err() {
            tracing::warn!(wait_ms_max = wait_max.as_millis(), "some worker is still there");
        }
    }

    /// Counters since the start, and what is true now. All zero once the hub is down.
    pub async fn metrics(&self) -> Metrics {
        self.ask(|reply| Message::Metrics { reply }).await.unwrap_or_default()
    }

    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.shared.inbox.send(message(reply)).await.ok()?;
        answer.await.ok()
    }

    /// Finding a model and reading its header touch the disk, on a thread that may wait for it. What
    /// was found a moment ago still holds: on a machine that computes, waking that thread takes
    /// longer than the look itself.
    async fn launch(&self, name: &str) -> Result<Launch, AcquireError> {
        if let Some(launch) = self.shared.fresh_lookup(name) {
            return Ok(launch);
        }
        let launch = self.look_up(name).await?;
        self.refuse_unlisted(name).await?;
        self.shared.keep_lookup(name, launch.clone());
        Ok(launch)
    }

    async fn look_up(&self, name: &str) -> Result<Launch, AcquireError> {
        let shared = Arc::clone(&self.shared);
        let name = name.to_owned();
        let looked_up = tokio::task::spawn_blocking(move || {
            let Some(model) = shared.models.find(&name) else {
                return Err(unknown(name, &shared.models.list()));
            };
            shared.preflight.launch(&model)
        });
        // The runtime cancels a blocking task only when it goes down.
        looked_up.await.unwrap_or(Err(AcquireError::ShuttingDown))
    }

    fn ticket(&self, model: &str) -> Result<Ticket, AcquireError> {
        let request = RequestId(self.shared.requests.fetch_add(1, Ordering::Relaxed));
        match self.shared.ended.clone().try_reserve_owned() {
            Ok(ended) => Ok(Ticket::new(request, ended)),
            Err(mpsc::error::TrySendError::Full(_)) => Err(AcquireError::Overloaded {
                name: model.to_owned(),
                message: format!("{REQUESTS_MAX} requests are open already"),
            }),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(AcquireError::ShuttingDown),
        }
    }
}

impl Shared {
    fn fresh_lookup(&self, name: &str) -> Option<Launch> {
        let looked_up = self.looked_up.lock().unwrap_or_else(PoisonError::into_inner);
        let (when, launch) = looked_up.get(name)?;
        (when.elapsed() < self.lookup_age_max).then(|| launch.clone())
    }

    /// Only names that were found are kept, and those that are no longer believed make room.
    fn keep_lookup(&self, name: &str, launch: Launch) {
        let mut looked_up = self.looked_up.lock().unwrap_or_else(PoisonError::into_inner);
        if looked_up.len() >= LOOKUPS_MAX {
            looked_up.retain(|_, (when, _)| when.elapsed() < self.lookup_age_max);
        }
        if looked_up.len() >= LOOKUPS_MAX {
            looked_up.pop_first();
        }
        looked_up.insert(name.to_owned(), (Instant::now(), launch));
    }
}

impl Wait {
    async fn lease(mut self) -> Result<Lease, AcquireError> {
        let grant = (&mut self.granted).await.unwrap_or(Err(AcquireError::ShuttingDown))?;
        Ok(Lease::new(grant, self.ticket))
    }
}

fn unknown(name: String, models: &[Model]) -> AcquireError {
    let nearest = nearest(&name, models.iter().map(|model| model.name.as_str()));
    AcquireError::UnknownModel { name, nearest, offered: Vec::new() }
}

fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    /// Names less alike than this are a guess, not a slip of the finger.
    const LIKENESS_MIN: f64 = 0.7;
    let likely = names.map(|other| (strsim::jaro_winkler(other, name), other));
    let likely = likely.filter(|(likeness, _)| *likeness >= LIKENESS_MIN);
    likely.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, name)| name.to_owned())
}
