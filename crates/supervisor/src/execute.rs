//! Carries out what the fleet decided. Nothing here decides, and nothing here waits.

use std::{sync::Arc, time::Instant};

use planner::fleet::{Action, Event, Model, Refusal, RequestId, StopReason, WorkerId};
use tokio::sync::{mpsc, oneshot, watch};
use worker_protocol::{Command, Stats, frame};

use crate::{
    assignment::{Assignment, Opened},
    bytes::readable,
    error::AcquireError,
    foreign::{process, upstream},
    lease::Grant,
    limits::COMMANDS_WAITING_MAX,
    link::Link,
    preflight::{Launch, Start},
    report::{ModelMetrics, ResidentState},
    reservation,
    run_loop::{RunLoop, refusal_name},
    worker,
};

/// A worker's task as the run loop sees it.
pub(crate) struct Running {
    pub(crate) launch: Launch,
    pub(crate) opened: Option<Arc<Opened>>,
    pub(crate) pid: Option<u32>,
    pub(crate) measured_bytes: Option<u64>,
    pub(crate) stats: Option<Stats>,
    /// Why it was told to stop, if it was.
    pub(crate) stopping: Option<StopReason>,
    link: Arc<Link>,
    stop: Option<oneshot::Sender<StopReason>>,
    pub(crate) started: Instant,
    /// The share of the model that is loaded.
    fraction: watch::Receiver<f32>,
}

impl RunLoop {
    pub(crate) fn execute(&mut self, action: Action) {
        match action {
            Action::Start { worker, model } => self.start(worker, &model),
            Action::Stop { worker, why } => self.stop_worker(worker, why),
            Action::Grant { request, worker } => self.grant(request, worker),
            Action::Trim { worker } => self.trim(worker),
            Action::Refuse { request, reason } => self.refuse(request, &reason),
        }
    }

    fn start(&mut self, worker: WorkerId, model: &Model) {
        let mut waiters = self.waiters.values().map(|waiter| &waiter.launch);
        let waited_for = waiters.find(|launch| launch.model == *model);
        // The fleet may bring back what nobody waits for.
        let Some(launch) = waited_for.or_else(|| self.launches.get(model)).cloned() else {
            let reason = "its file or its settings are others now".to_owned();
            return self.tell(Event::Exited { worker, reason });
        };
        let engine = launch.start.kind();
        tracing::info!(model = %model.name, engine, needed_bytes = launch.needed_bytes, "starting");
        let (frames, frames_waiting) = mpsc::channel(COMMANDS_WAITING_MAX);
        let (stop, stop_asked) = oneshot::channel();
        let (fraction, fraction_seen) = watch::channel(0.0);
        let link = Arc::new(Link::new(frames));
        let assignment = Assignment {
            worker,
            launch: launch.clone(),
            config: self.config.clone(),
            link: Arc::clone(&link),
            inbox: self.inbox.clone(),
            fraction,
        };
        match &launch.start {
            Start::Worker(start) => {
                tokio::spawn(worker::run(assignment, start.clone(), frames_waiting, stop_asked));
            }
            Start::Reservation(hold) => {
                tokio::spawn(reservation::hold(assignment, hold.clone(), stop_asked));
            }
            Start::Command(command) => {
                let command = Arc::clone(command);
                tokio::spawn(process::run(assignment, command, frames_waiting, stop_asked));
            }
            Start::Upstream(pool) => {
                let pool = Arc::clone(pool);
                tokio::spawn(upstream::run(assignment, pool, frames_waiting, stop_asked));
            }
        }
        let running = Running {
            launch,
            opened: None,
            pid: None,
            measured_bytes: None,
            stats: None,
            stopping: None,
            link,
            stop: Some(stop),
            fraction: fraction_seen,
            started: Instant::now(),
        };
        self.metrics.workers_started += u64::from(running.launch.start.is_process());
        self.workers.insert(worker, running);
    }

    fn stop_worker(&mut self, worker: WorkerId, why: StopReason) {
        let Some(running) = self.workers.get_mut(&worker) else { return };
        tracing::info!(model = %running.launch.model.name, %why, "stopping");
        running.stopping = Some(why);
        if let Some(stop) = running.stop.take() {
            // An error means that its task is ending already.
            stop.send(why).ok();
        }
    }

    /// Asks one of our own workers. Foreign engines have no word for it.
    fn trim(&self, worker: WorkerId) {
        let Some(running) = self.workers.get(&worker) else { return };
        if running.opened.as_ref().is_some_and(|opened| opened.trims) {
            tracing::debug!(model = %running.launch.model.name, "asked to trim");
            // One that takes no frames now has other troubles, and nothing is expected of it.
            let frame = frame::encode(&Command::Trim).ok();
            frame.and_then(|frame| running.link.frames().try_send(frame).ok());
        }
    }

    fn grant(&mut self, request: RequestId, worker: WorkerId) {
        self.metrics.requests_granted += 1;
        let Some(waiter) = self.waiters.remove(&request) else { return };
        let running = self.workers.get(&worker);
        let grant = running.and_then(|running| {
            let opened = Arc::clone(running.opened.as_ref()?);
            Some(Grant { worker, link: Arc::clone(&running.link), opened })
        });
        let Some(grant) = grant else {
            unreachable!("{request:?} is granted {worker:?}, which is not loaded");
        };
        // If nobody listens any more, the request's ticket is on its way and releases the grant.
        waiter.reply.send(Ok(grant)).ok();
    }

    fn refuse(&mut self, request: RequestId, reason: &Refusal) {
        *self.metrics.requests_refused.entry(refusal_name(reason)).or_default() += 1;
        let Some(waiter) = self.waiters.remove(&request) else { return };
        let name = waiter.launch.model.name.to_string();
        tracing::info!(model = name, ?reason, "request refused");
        waiter.reply.send(Err(acquire_error(name, reason))).ok();
    }
}

impl Running {
    /// What loading took, by the worker's own account.
    pub(crate) fn load_ms(&self) -> Option<u64> {
        Some(self.opened.as_ref()?.loaded.as_ref()?.load_ms)
    }

    pub(crate) fn is_stoppable(&self, name: &str) -> bool {
        *self.launch.model.name == *name && self.stopping.is_none()
    }

    pub(crate) fn state(&self) -> ResidentState {
        if self.stopping.is_some() {
            ResidentState::Stopping
        } else if self.opened.is_some() {
            ResidentState::Ready
        } else {
            ResidentState::Loading { fraction: *self.fraction.borrow() }
        }
    }

    /// What the engine has, or before it says so, what it was asked for.
    pub(crate) fn context_tokens(&self) -> Option<u32> {
        let opened = self.opened.as_ref().and_then(|opened| opened.context_tokens);
        opened.or_else(|| self.launch.start.context_tokens())
    }

    /// Adds what only ever grows.
    pub(crate) fn add_counters(&self, model: &mut ModelMetrics) {
        if let Some(stats) = self.stats {
            model.prefill_tokens += stats.prefill_tokens;
            model.cached_tokens += stats.cached_tokens;
            model.cached_ram_tokens += stats.cached_ram_tokens;
            model.cached_ssd_tokens += stats.cached_ssd_tokens;
            model.kept_written_bytes += stats.kept_written_bytes;
            model.decode_tokens += stats.decode_tokens;
            model.drafted_tokens += stats.drafted_tokens;
            model.accepted_tokens += stats.accepted_tokens;
        }
    }

    /// Adds what is true now.
    pub(crate) fn add_gauges(&self, model: &mut ModelMetrics) {
        if let Some(stats) = self.stats {
            model.running += stats.running;
            model.waiting += stats.waiting;
            model.cells_used += stats.cells_used;
            model.kept_ram_bytes += stats.kept_ram_bytes;
            // Two workers of one model share its files.
            model.kept_ssd_bytes = model.kept_ssd_bytes.max(stats.kept_ssd_bytes);
        }
    }
}

fn acquire_error(name: String, reason: &Refusal) -> AcquireError {
    match reason {
        Refusal::TooLarge { needed_bytes, budget_bytes } => AcquireError::TooLarge {
            name,
            needed_bytes: *needed_bytes,
            budget_bytes: *budget_bytes,
        },
        Refusal::Pins { needed_bytes, pinned_bytes, budget_bytes } => {
            let message = format!(
                "it needs {}, but pinned models hold {} of {}; unpin one of them",
                readable(*needed_bytes),
                readable(*pinned_bytes),
                readable(*budget_bytes)
            );
            AcquireError::Overloaded { name, message }
        }
        Refusal::PinnedGroup { group, holder } => {
            let message = format!(
                "of group '{group}' one model is resident at a time, and '{holder}' is pinned; \
                 unpin it"
            );
            AcquireError::Overloaded { name, message }
        }
        Refusal::QueueFull { limit } => {
            AcquireError::Overloaded { name, message: format!("{limit} requests wait already") }
        }
        Refusal::WaitedTooLong { limit } => {
            let message = format!(
                "the models in use did not leave enough memory for it within {} s",
                limit.as_secs()
            );
            AcquireError::Overloaded { name, message }
        }
        Refusal::LoadFailed { reason } => {
            AcquireError::LoadFailed { name, message: reason.clone(), retry_after: None }
        }
        Refusal::CoolingOff { failures: _, retry_in, reason } => {
            AcquireError::LoadFailed { name, message: reason.clone(), retry_after: Some(*retry_in) }
        }
        Refusal::Stopped => AcquireError::Stopped { name },
        Refusal::ShuttingDown => AcquireError::ShuttingDown,
    }
}
