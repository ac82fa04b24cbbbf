//! The one task that owns the fleet: takes messages in, tells the fleet, has its actions carried
//! out. It never waits for a worker or a caller.
//!
//! Not here: carrying actions out (`execute`), talking to a process (`worker`).

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use planner::fleet::{
    self, Event, Explanation, Fleet, Policy, Pressure, RequestId, Terms, Turn, Verdict, When,
    WorkerId,
};
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    time::Instant,
};

use crate::{
    assignment::Report,
    config::{Config, Settings},
    error::{AcquireError, StopError},
    execute::Running,
    happening::Happening,
    journal::Journal,
    lease::{Grant, Wish},
    limits::{MODELS_COUNTED_MAX, UPSTREAM_IDLE_MAX, UPSTREAMS_MAX},
    preflight::{Launch, Start},
    pressure,
    report::{Metrics, ModelMetrics, Requests, Resident},
};

/// What the run loop is told.
pub(crate) enum Message {
    /// A request wants to use a model.
    Wanted { request: RequestId, launch: Box<Launch>, wish: Wish, reply: GrantReply },
    /// This model is to be there when nobody wants another.
    KeepWarm { launch: Option<Box<Launch>> },
    /// The operator's word on whether a model may leave for others.
    Pin { launch: Box<Launch>, pinned: Option<bool> },
    /// Someone wants to know the names of all models that may still be here.
    Known { reply: NamesReply },
    /// The configuration is another one. For each name that was known, what would be started for it
    /// now; answered with the names that have become known since.
    Changed {
        settings: Box<Settings>,
        launches: BTreeMap<Arc<str>, Option<Launch>>,
        reply: NamesReply,
    },
    /// Someone wants to know what would happen to a request for a model.
    Explain { launch: Box<Launch>, reply: oneshot::Sender<Explanation> },
    /// The same for a model that is in no configuration.
    WhatIf { model: fleet::Model, terms: Terms, reply: oneshot::Sender<Explanation> },
    /// Someone wants to know in short what would happen to requests for these models.
    Verdicts { asked: Vec<Launch>, reply: oneshot::Sender<Vec<Verdict>> },
    /// Someone wants to see where one request stands; `None` when it has ended.
    Turn { request: RequestId, reply: oneshot::Sender<Option<Turn>> },
    /// Someone wants to see who waits for what.
    Turns { reply: oneshot::Sender<Requests> },
    /// The operator wants a model stopped.
    Stop { name: String, reply: oneshot::Sender<Result<(), StopError>> },
    /// Someone wants to see who is resident.
    Residents { reply: oneshot::Sender<Vec<Resident>> },
    /// Someone wants the counters.
    Metrics { reply: oneshot::Sender<Metrics> },
    /// Everything is to be stopped; answered when it is.
    Shutdown { reply: oneshot::Sender<()> },
    /// The machine itself is more or less short of memory than before.
    Pressure { level: Pressure },
    /// A worker has something to say.
    Worker { worker: WorkerId, report: Report },
}

/// Where names of models go.
pub(crate) type NamesReply = oneshot::Sender<BTreeSet<Arc<str>>>;

/// Where the answer to a wait goes.
pub(crate) type GrantReply = oneshot::Sender<Result<Grant, AcquireError>>;

/// Runs until everything was stopped.
pub(crate) async fn run(
    config: Config,
    inbox: mpsc::Sender<Message>,
    mut messages: mpsc::Receiver<Message>,
    mut requests_ended: mpsc::Receiver<RequestId>,
    happenings: broadcast::Sender<Arc<Happening>>,
) {
    tokio::spawn(pressure::watch(config.pressure.clone(), inbox.clone()));
    let mut state = RunLoop::new(config, inbox, happenings);
    while !state.is_done() {
        let deadline = state.deadline();
        let alarm = async {
            match deadline {
                Some(when) => tokio::time::sleep_until(when).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // The loop and every handle hold a sender, so neither channel closes before the end.
            Some(request) = requests_ended.recv() => state.request_ended(request),
            Some(message) = messages.recv() => state.take(message),
            () = alarm => state.tell(Event::Tick),
        }
    }
    state.finish();
}

/// What the run loop knows beside the fleet: the means to carry its actions out.
pub(crate) struct RunLoop {
    pub(crate) config: Config,
    pub(crate) inbox: mpsc::Sender<Message>,
    pub(crate) workers: BTreeMap<WorkerId, Running>,
    pub(crate) waiters: BTreeMap<RequestId, Waiter>,
    /// How to start each model that was ever wanted: the fleet may bring one back for which nobody
    /// waits. As many as the person has models, and those of servers elsewhere that are in use.
    pub(crate) launches: BTreeMap<fleet::Model, Launch>,
    /// What was last said to be kept warm.
    warm: Option<fleet::Model>,
    /// How long each model took to load the last time, from the start of its process.
    load_times: BTreeMap<Arc<str>, Duration>,
    /// Counters; what is true now is filled in when someone asks.
    pub(crate) metrics: Metrics,
    /// What the workers that are gone had counted, by name of the model. At most
    /// [`MODELS_COUNTED_MAX`].
    pub(crate) totals: BTreeMap<String, ModelMetrics>,
    fleet: Fleet,
    happenings: broadcast::Sender<Arc<Happening>>,
    begin_journal: Option<Begin>,
    journal: Option<Journal>,
    started: Instant,
    shutdown_asked_by: Vec<oneshot::Sender<()>>,
}

/// What a journal begins with.
struct Begin {
    folder: PathBuf,
    policy: Policy,
}

/// A request that waits for its grant.
pub(crate) struct Waiter {
    pub(crate) launch: Launch,
    pub(crate) reply: GrantReply,
}

impl RunLoop {
    fn new(
        config: Config,
        inbox: mpsc::Sender<Message>,
        happenings: broadcast::Sender<Arc<Happening>>,
    ) -> Self {
        let policy = config.settings.policy();
        // Begun with the first event, so that a hub that fails to start takes no other's place.
        let journal = config.journal.clone().map(|folder| Begin { folder, policy: policy.clone() });
        let fleet = Fleet::new(policy);
        Self {
            config,
            inbox,
            workers: BTreeMap::new(),
            waiters: BTreeMap::new(),
            launches: BTreeMap::new(),
            warm: None,
            load_times: BTreeMap::new(),
            metrics: Metrics::default(),
            totals: BTreeMap::new(),
            fleet,
            happenings,
            begin_journal: journal,
            journal: None,
            started: Instant::now(),
            shutdown_asked_by: Vec::new(),
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Wanted { request, launch, wish, reply } => {
                self.wanted(request, *launch, wish, reply);
            }
            Message::KeepWarm { launch } => self.keep_warm(launch.map(|launch| *launch)),
            Message::Pin { launch, pinned } => {
                let name = Arc::clone(&launch.model.name);
                self.tell(Event::PinAsked { name, pinned });
            }
            // Whoever asked may be gone, then nobody misses the answer.
            Message::Known { reply } => _ = reply.send(self.known_names()),
            Message::Changed { settings, launches, reply } => {
                _ = reply.send(self.changed(*settings, launches));
            }
            Message::Explain { launch, reply } => {
                let terms = self.terms(&launch);
                _ = reply.send(self.fleet.what_if(self.now(), &launch.model, &terms));
            }
            Message::WhatIf { model, terms, reply } => {
                _ = reply.send(self.fleet.what_if(self.now(), &model, &terms));
            }
            Message::Verdicts { asked, reply } => {
                let now = self.now();
                let verdict =
                    |launch: Launch| self.fleet.verdict(now, &launch.model, &self.terms(&launch));
                _ = reply.send(asked.into_iter().map(verdict).collect());
            }
            Message::Turn { request, reply } => {
                _ = reply.send(self.fleet.explain_request(self.now(), request));
            }
            Message::Turns { reply } => _ = reply.send(self.turns()),
            Message::Stop { name, reply } => _ = reply.send(self.stop(name)),
            Message::Residents { reply } => _ = reply.send(self.residents()),
            Message::Metrics { reply } => _ = reply.send(self.metrics_now()),
            Message::Shutdown { reply } => {
                self.shutdown_asked_by.push(reply);
                self.tell(Event::ShutdownAsked);
            }
            Message::Pressure { level } => self.pressed(level),
            Message::Worker { worker, report } => self.reported(worker, report),
        }
    }

    /// The end of a request may overtake its beginning, because they come on two channels. Then
    /// nobody listens for the grant any more.
    fn wanted(&mut self, request: RequestId, launch: Launch, wish: Wish, reply: GrantReply) {
        if reply.is_closed() {
            self.metrics.requests_abandoned += 1;
            return;
        }
        if self.has_too_many_elsewhere(&launch) {
            *self.metrics.requests_refused.entry("too_many_elsewhere").or_default() += 1;
            let name = launch.model.name.to_string();
            let message = format!("{UPSTREAMS_MAX} models of servers elsewhere are in use already");
            // Whoever asked may be gone, then nobody misses the answer.
            _ = reply.send(Err(AcquireError::Overloaded { name, message }));
            return;
        }
        let model = launch.model.clone();
        let terms = self.terms(&launch);
        self.replace(&launch);
        self.remember(&launch);
        let Wish { priority, mut keep_alive } = wish;
        // What holds no memory is kept as long as all of its kind are.
        keep_alive.take_if(|_| launch.start.is_elsewhere());
        self.waiters.insert(request, Waiter { launch, reply });
        self.tell(Event::Wanted { request, model, terms, priority, keep_alive });
    }

    /// Whether this would be one model too many of servers elsewhere.
    fn has_too_many_elsewhere(&self, launch: &Launch) -> bool {
        let is_there = |running: &Running| running.launch.model == launch.model;
        let elsewhere = |running: &&Running| running.launch.start.is_elsewhere();
        launch.start.is_elsewhere()
            && !self.workers.values().any(is_there)
            && self.workers.values().filter(elsewhere).count() >= UPSTREAMS_MAX
    }

    /// How the fleet is to treat what would be started.
    fn terms(&self, launch: &Launch) -> Terms {
        let residence = &launch.residence;
        let load_time = self.load_times.get(&launch.model.name).copied().unwrap_or_default();
        let terms = Terms {
            bytes: launch.needed_bytes,
            group: launch.group.clone(),
            pinned: residence.pinned,
            idle_unload: residence.idle_unload,
            load_time,
            once: matches!(launch.start, Start::Reservation(_)),
        };
        match launch.start {
            Start::Worker(_) | Start::Command(_) | Start::Reservation(_) => terms,
            // It holds no memory, so it is not one of those that exclude each other, and there is
            // nothing to pin. It leaves when nobody asks for it, or names of an open pool would pile
            // up.
            Start::Upstream(_) => {
                let own = residence.idle_unload.unwrap_or(UPSTREAM_IDLE_MAX);
                let idle_unload = Some(own.min(UPSTREAM_IDLE_MAX));
                Terms { group: None, pinned: false, idle_unload, ..terms }
            }
        }
    }

    /// Its file or its settings are others than those of what was started for its name before, which
    /// is let go when nobody uses it.
    fn replace(&mut self, launch: &Launch) {
        if !launch.start.is_model() {
            return;
        }
        let model = &launch.model;
        let running = self.workers.values().map(|running| &running.launch);
        let running = running.filter(|launch| launch.start.is_model()).map(|launch| &launch.model);
        let others = self.launches.keys().chain(running);
        let others = others.filter(|it| it.name == model.name && *it != model);
        for model in others.cloned().collect::<BTreeSet<_>>() {
            self.tell(Event::Withdrawn { model });
        }
        if self.warm.as_ref().is_some_and(|warm| warm.name == model.name && warm != model) {
            self.keep_warm(Some(launch.clone()));
        }
    }

    /// Chosen again, it would come back though the operator has stopped it.
    fn keep_warm(&mut self, launch: Option<Launch>) {
        let model = launch.as_ref().map(|launch| launch.model.clone());
        if model == self.warm {
            return;
        }
        self.warm = model;
        let warm = launch.map(|launch| {
            self.remember(&launch);
            (launch.model.clone(), self.terms(&launch))
        });
        self.tell(Event::WarmChosen { warm });
    }

    /// Every model that runs, is waited for or may be brought back.
    fn known(&self) -> BTreeSet<fleet::Model> {
        let running = self.workers.values().map(|running| &running.launch);
        let wanted = self.waiters.values().map(|waiter| &waiter.launch);
        let of_models = running.chain(wanted).filter(|launch| launch.start.is_model());
        let known = of_models.map(|launch| &launch.model).chain(self.launches.keys());
        known.chain(&self.warm).cloned().collect()
    }

    fn known_names(&self) -> BTreeSet<Arc<str>> {
        self.known().into_iter().map(|model| model.name).collect()
    }

    /// Takes another configuration in one step. Workers that were started as it still says stay,
    /// the others are let go when nobody uses them.
    fn changed(
        &mut self,
        settings: Settings,
        launches: BTreeMap<Arc<str>, Option<Launch>>,
    ) -> BTreeSet<Arc<str>> {
        let mut missed = BTreeSet::new();
        let mut models = Vec::new();
        for model in self.known() {
            match launches.get(&model.name) {
                None => drop(missed.insert(model.name)),
                Some(Some(launch)) if launch.model == model => {
                    models.push((model, Some(self.terms(launch))));
                }
                Some(_) => models.push((model, None)),
            }
        }
        for (name, launch) in launches {
            self.launches.retain(|known, _| known.name != name);
            self.launches.extend(launch.map(|launch| (launch.model.clone(), launch)));
        }
        self.warm.take_if(|warm| models.contains(&(warm.clone(), None)));
        self.config.settings = settings;
        let policy = self.config.settings.policy();
        tracing::info!(budget_bytes = policy.budget_bytes, "the configuration is another");
        self.tell(Event::PolicyChanged { policy, models });
        missed
    }

    fn turns(&self) -> Requests {
        let workers = self.workers.iter();
        Requests {
            turns: self.fleet.turns(self.now()),
            workers: workers.map(|(id, running)| (*id, running.launch.model.clone())).collect(),
        }
    }

    /// Keeps how to start a model anew when nobody waits for it; of each name, as it was wanted
    /// last. A reservation is for the one who waits, and never started anew.
    fn remember(&mut self, launch: &Launch) {
        if launch.start.is_model() {
            let model = &launch.model;
            self.launches.retain(|known, _| known.name != model.name || known == model);
            if launch.start.is_elsewhere() {
                self.forget_elsewhere();
            }
            self.launches.insert(model.clone(), launch.clone());
        }
    }

    /// Forgets models of servers elsewhere that are not in use: nothing but their being kept warm
    /// brings them back without a request.
    fn forget_elsewhere(&mut self) {
        let Self { launches, workers, warm, .. } = self;
        launches.retain(|model, launch| {
            !launch.start.is_elsewhere()
                || warm.as_ref() == Some(model)
                || workers.values().any(|running| running.launch.model == *model)
        });
    }

    fn request_ended(&mut self, request: RequestId) {
        match self.waiters.remove(&request) {
            Some(_) => {
                self.metrics.requests_abandoned += 1;
                self.tell(Event::Abandoned { request });
            }
            None => self.tell(Event::Released { request }),
        }
    }

    fn stop(&mut self, name: String) -> Result<(), StopError> {
        let runs = self.workers.values().any(|running| running.is_stoppable(&name));
        let wanted = self.waiters.values().any(|waiter| *waiter.launch.model.name == *name);
        if !runs && !wanted {
            return Err(StopError::NotRunning { name });
        }
        self.tell(Event::StopAsked { name: name.into() });
        Ok(())
    }

    fn pressed(&mut self, level: Pressure) {
        tracing::info!(?level, "the machine's own shortage of memory changed");
        self.metrics.pressure = level;
        self.tell(Event::Pressure { level });
    }

    fn reported(&mut self, id: WorkerId, report: Report) {
        let Entry::Occupied(mut entry) = self.workers.entry(id) else { return };
        let running = entry.get_mut();
        match report {
            Report::Started { pid } => running.pid = Some(pid),
            Report::Ready { opened, measured_bytes } => {
                let load_ms = opened.loaded.as_ref().map(|loaded| loaded.load_ms);
                tracing::info!(model = %running.launch.model.name, load_ms, "model loaded");
                running.opened = Some(Arc::new(opened));
                if running.launch.start.is_process() {
                    let name = Arc::clone(&running.launch.model.name);
                    self.load_times.insert(name, running.started.elapsed());
                }
                running.measured_bytes = measured_bytes;
                let measured_bytes = measured_bytes.unwrap_or(0);
                self.tell(Event::Ready { worker: id, measured_bytes });
            }
            Report::Measured { bytes } => {
                running.measured_bytes = Some(bytes);
                self.tell(Event::Measured { worker: id, bytes });
            }
            Report::Stats(stats) => running.stats = Some(stats),
            Report::Exited { reason } => {
                let running = entry.remove();
                self.count_exit(&running, &reason);
                self.tell(Event::Exited { worker: id, reason });
            }
        }
    }

    fn count_exit(&mut self, running: &Running, reason: &str) {
        let name = &*running.launch.model.name;
        if running.stopping.is_some() || !running.launch.start.is_process() {
            tracing::info!(model = name, reason, "gone");
        } else {
            tracing::warn!(model = name, reason, "ended unasked");
            self.metrics.workers_crashed += 1;
            if running.opened.is_none() {
                self.metrics.loads_failed += 1;
            }
        }
        if self.totals.len() < MODELS_COUNTED_MAX || self.totals.contains_key(name) {
            running.add_counters(self.totals.entry(name.to_owned()).or_default());
        }
    }

    /// Tells the fleet and does what it decides.
    pub(crate) fn tell(&mut self, event: Event) {
        let now = self.now();
        let mut actions = Vec::new();
        self.fleet.handle(now, event.clone(), &mut actions);
        let happening = Happening::Told { at: now.0, event, actions: actions.clone() };
        self.show(happening);
        for action in actions {
            self.execute(action);
        }
    }

    /// Shows an entry to whoever looks on, and writes it down.
    fn show(&mut self, happening: Happening) {
        let happening = Arc::new(happening);
        if let Some(begin) = self.begin_journal.take() {
            self.journal = Journal::begin(&begin.folder, &begin.policy);
        }
        if let Some(journal) = &mut self.journal {
            journal.write(When(self.started.elapsed()), Arc::clone(&happening), &self.fleet);
        }
        // An error means that nobody looks on.
        self.happenings.send(happening).ok();
    }

    fn now(&self) -> When {
        When(self.started.elapsed())
    }

    fn deadline(&self) -> Option<Instant> {
        let (when, why) = self.fleet.next_deadline()?;
        tracing::trace!(%when, why, "next deadline");
        self.started.checked_add(when.0)
    }

    fn is_done(&self) -> bool {
        !self.shutdown_asked_by.is_empty() && self.workers.is_empty()
    }

    fn finish(&mut self) {
        for reply in self.shutdown_asked_by.drain(..) {
            // Whoever asked may have stopped waiting.
            reply.send(()).ok();
        }
    }

    fn residents(&self) -> Vec<Resident> {
        let now = self.now();
        let mut residents: Vec<Resident> = Vec::new();
        for (id, running) in &self.workers {
            residents.push(Resident {
                name: running.launch.model.name.to_string(),
                engine: running.launch.start.kind(),
                path: running.launch.start.path().cloned(),
                state: running.state(),
                pinned: self.fleet.pinned(*id),
                booked_bytes: self.fleet.worker_booked_bytes(*id),
                measured_bytes: running.measured_bytes,
                pid: running.pid,
                load_ms: running.load_ms(),
                context_tokens: running.context_tokens(),
                kv_type: running.launch.start.kv_type(),
                leased: count(self.fleet.leases(*id)),
                waiting: count(self.fleet.waiting_for(&running.launch.model)),
                stats: running.stats,
                idle_for: self.fleet.idle_since(*id).map(|since| now.since(since)),
                kept_for: self.fleet.kept_for(*id),
            });
        }
        residents.sort_by(|one, other| one.name.cmp(&other.name));
        residents
    }

    fn metrics_now(&self) -> Metrics {
        let mut models = self.totals.clone();
        for (id, running) in &self.workers {
            let model: &mut ModelMetrics =
                models.entry(running.launch.model.name.to_string()).or_default();
            running.add_counters(model);
            running.add_gauges(model);
            model.booked_bytes += self.fleet.worker_booked_bytes(*id);
        }
        let named = |(name, model)| ModelMetrics { name, ..model };
        Metrics {
            waiting: count(self.fleet.waiting()),
            booked_bytes: self.fleet.booked_bytes(),
            budget_bytes: self.fleet.budget_bytes(),
            models: models.into_iter().map(named).collect(),
            ..self.metrics.clone()
        }
    }
}

/// The fleet's limits keep these far below the type's.
fn count(requests: usize) -> u32 {
    u32::try_from(requests).unwrap_or(u32::MAX)
}

/// The name of a reason, for counting.
pub(crate) fn refusal_name(reason: &fleet::Refusal) -> &'static str {
    match reason {
        fleet::Refusal::TooLarge { .. } => "too_large",
        fleet::Refusal::Pins { .. } | fleet::Refusal::PinnedGroup { .. } => "pinned",
        fleet::Refusal::QueueFull { .. } => "queue_full",
        fleet::Refusal::WaitedTooLong { .. } => "waited_too_long",
        fleet::Refusal::LoadFailed { .. } => "load_failed",
        fleet::Refusal::CoolingOff { .. } => "cooling_off",
        fleet::Refusal::Stopped => "stopped",
        fleet::Refusal::ShuttingDown => "shutting_down",
    }
}
