//! How the rest of the program talks to the supervisor.
//!
//! Not here: any decision; the run loop asks the fleet.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use planner::{
    fleet::{self, Explanation, Priority, RequestId, Terms},
    footprint::Place,
};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task::JoinHandle,
};

use crate::{
    config::{Config, Settings},
    elsewhere::Elsewhere,
    error::{AcquireError, StopError},
    happening::Happening,
    lease::{Grant, Lease, Ticket, Wish},
    limits::{HAPPENINGS_WAITING_MAX, INBOX_MESSAGES_MAX, REQUESTS_MAX},
    model::{Kept, ModelSummary, Models, Residence},
    preflight::{Launch, Start},
    report::{Metrics, Requests, Resident},
    reservation::Reservation,
    run_loop::{self, Message},
    senses::Senses,
};

mod edition;
mod pools;
mod progress;
mod role;

pub use edition::Edition;
pub use progress::{Progress, Stage, Watch};
pub use role::{Form, Outlook, Purpose, Served};

/// Starts the supervisor's task on the current tokio runtime (time and IO enabled). It ends after
/// [`Handle::shutdown`]; aborting it stops all workers.
pub fn start(config: Config, models: Arc<dyn Models>) -> (Handle, JoinHandle<()>) {
    let (inbox, messages) = mpsc::channel(INBOX_MESSAGES_MAX);
    let (ended, requests_ended) = mpsc::channel(REQUESTS_MAX);
    let (happenings, _) = broadcast::channel(HAPPENINGS_WAITING_MAX);
    let Config { place, patience, .. } = config;
    let edition = Edition::new(0, config.settings.clone(), models, place, patience.lookup);
    let shared = Shared {
        inbox: inbox.clone(),
        ended,
        edition: RwLock::new(Arc::new(edition)),
        editions: AtomicU64::new(1),
        changing: tokio::sync::Mutex::default(),
        place,
        guard: config.guard.clone(),
        logs_dir: config.logs_dir.clone(),
        requests: AtomicU64::new(0),
        shutdown_wait_max: patience.shutdown,
        elsewhere: Elsewhere::default(),
        lookup_age_max: patience.lookup,
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
    /// What is served now.
    edition: RwLock<Arc<Edition>>,
    /// How many editions there have been.
    editions: AtomicU64,
    /// One change follows the other.
    changing: tokio::sync::Mutex<()>,
    /// Where workers put a model's layers.
    place: Place,
    /// The program that tools are guarded by, with its first arguments.
    guard: Vec<OsString>,
    logs_dir: PathBuf,
    requests: AtomicU64,
    shutdown_wait_max: Duration,
    /// What the servers of open pools have.
    elsewhere: Elsewhere,
    lookup_age_max: Duration,
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
        let edition = self.shared.edition();
        let mut models = edition.models.list();
        models.extend(self.models_elsewhere(&edition));
        models.sort_by(|one, other| one.name.cmp(&other.name));
        models.iter().map(|model| edition.preflight.summary(model)).collect()
    }

    /// The model of exactly this name. Reads its header if the file is new or changed.
    #[must_use]
    pub fn model(&self, name: &str) -> Option<ModelSummary> {
        let edition = self.shared.edition();
        let model = edition.models.find(name)?;
        if self.is_denied_elsewhere(&edition, name) {
            return None;
        }
        Some(edition.preflight.summary(&model))
    }

    /// Where workers put a model's layers.
    #[must_use]
    pub fn place(&self) -> Place {
        self.shared.place
    }

    /// What would be served if the configuration were this; [`Self::change`] makes it so.
    #[must_use]
    pub fn edition(&self, settings: Settings, models: Arc<dyn Models>) -> Edition {
        let shared = &self.shared;
        let number = shared.editions.fetch_add(1, Ordering::Relaxed);
        Edition::new(number, settings, models, shared.place, shared.lookup_age_max)
    }

    /// Takes another configuration in one step. Nobody who uses a model is cut off: an engine whose
    /// file or settings are others now is let go when its last request has ended, and the next
    /// request starts it anew.
    ///
    /// # Errors
    /// [`AcquireError::ShuttingDown`].
    pub async fn change(&self, edition: Edition) -> Result<(), AcquireError> {
        let _one_at_a_time = self.shared.changing.lock().await;
        let edition = Arc::new(edition);
        let known = self.ask(|reply| Message::Known { reply }).await;
        let known = known.ok_or(AcquireError::ShuttingDown)?;
        let launches = launches_of(&edition, known).await?;
        let (reply, missed) = oneshot::channel();
        let place = self.place_in_inbox().await?;
        // Under the lock, so that what is wanted of this edition comes after it and what is wanted of
        // the one before comes before.
        self.shared.put_edition(&edition, || {
            place.send(edition.changed(launches, reply));
        });
        let missed = missed.await.map_err(|_| AcquireError::ShuttingDown)?;
        if missed.is_empty() {
            return Ok(());
        }
        // They were wanted while the others were looked up. Nothing more is, of that edition.
        let launches = launches_of(&edition, missed).await?;
        let told = self.ask(|reply| edition.changed(launches, reply)).await;
        told.map(drop).ok_or(AcquireError::ShuttingDown)
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
            once: false,
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
        mut launch: Launch,
        wish: Wish,
        ticket: Ticket,
    ) -> Result<Lease, AcquireError> {
        let (mut reply, granted) = oneshot::channel();
        let request = ticket.request();
        let wait = Wait { granted, ticket };
        loop {
            let place = self.place_in_inbox().await?;
            let is_told = self.shared.with_edition(|edition| {
                // What was looked up before a change is not what is served now.
                let holds = launch.edition == edition.number() || !launch.start.is_model();
                if !holds {
                    return Err(reply);
                }
                let launch = Box::new(launch.clone());
                place.send(Message::Wanted { request, launch, wish, reply });
                Ok(())
            });
            match is_told {
                Ok(()) => return wait.lease(launch.kept).await,
                Err(not_told) => reply = not_told,
            }
            launch = self.launch(&launch.model.name).await?;
        }
    }

    async fn place_in_inbox(&self) -> Result<mpsc::Permit<'_, Message>, AcquireError> {
        self.shared.inbox.reserve().await.map_err(|_| AcquireError::ShuttingDown)
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
        // It is the same in every edition.
        let launch = Launch {
            edition: 0,
            model,
            start,
            needed_bytes: bytes,
            group: None,
            residence,
            senses: Senses::none(),
            kept: None,
        };
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
        let edition = self.shared.edition();
        if let Some(launch) = edition.fresh_lookup(name) {
            return Ok(launch);
        }
        self.refuse_unlisted(&edition, name).await?;
        let name = name.to_owned();
        let looked_up = tokio::task::spawn_blocking(move || edition.look_up(&name));
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
    fn edition(&self) -> Arc<Edition> {
        self.with_edition(Arc::clone)
    }

    /// Does something for which the edition must not change meanwhile.
    fn with_edition<T>(&self, work: impl FnOnce(&Arc<Edition>) -> T) -> T {
        work(&self.edition.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another edition in place, and says so before anyone can see it.
    fn put_edition(&self, edition: &Arc<Edition>, say: impl FnOnce()) {
        let mut current = self.edition.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::clone(edition);
        say();
    }
}

/// What would be started for each of these names.
async fn launches_of(
    edition: &Arc<Edition>,
    names: BTreeSet<Arc<str>>,
) -> Result<BTreeMap<Arc<str>, Option<Launch>>, AcquireError> {
    let edition = Arc::clone(edition);
    let looked_up = tokio::task::spawn_blocking(move || {
        // What cannot be used is not served.
        let launch = |name: &Arc<str>| edition.look_up(name).ok();
        names.into_iter().map(|name| (Arc::clone(&name), launch(&name))).collect()
    });
    // The runtime cancels a blocking task only when it goes down.
    looked_up.await.map_err(|_| AcquireError::ShuttingDown)
}

impl Wait {
    async fn lease(mut self, kept: Option<Arc<Kept>>) -> Result<Lease, AcquireError> {
        let grant = (&mut self.granted).await.unwrap_or(Err(AcquireError::ShuttingDown))?;
        Ok(Lease::new(grant, self.ticket, kept))
    }
}
