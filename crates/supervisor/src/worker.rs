//! One worker: a child process from its start until its exit was seen.
//!
//! One task does everything for it, so that its life reads from top to bottom: start, greet, load,
//! serve, and one way out for every end. It reports to the run loop and delivers events straight
//! to whoever waits for them.
//!
//! Not here: when to start or stop (`planner::fleet`).

mod process;
mod reader;
mod writer;

use std::{pin::Pin, time::Duration};

use planner::fleet::StopReason;
use tokio::{
    process::Child,
    sync::{mpsc, oneshot},
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until, timeout},
};
use worker_protocol::{self as protocol, Command, Keep, Load, Loaded, frame};

use self::reader::Reader;
use crate::{
    assignment::{Assignment, Opened, Report},
    config::{KeepMode, KeepSettings},
    limits::DRAIN_WAIT_MAX,
    link::Delivery,
    log::{self, Log},
    memory,
    preflight::WorkerStart,
};

/// Runs one worker. Returns after its exit was seen and reported.
pub(crate) async fn run(
    assignment: Assignment,
    start: WorkerStart,
    frames: mpsc::Receiver<Vec<u8>>,
    stop: oneshot::Receiver<StopReason>,
) {
    let reason = match process::spawn(&assignment.config.settings.worker) {
        Ok(child) => Life::begin(&assignment, &start, child, frames).live(stop).await,
        Err(reason) => reason,
    };
    assignment.exited(reason).await;
}

/// A running process and the ends of its pipes.
struct Life<'a> {
    assignment: &'a Assignment,
    start: &'a WorkerStart,
    child: Child,
    reader: Reader,
    /// Writes frames for ever; ends with a fault. Dropping it closes the worker's standard input.
    writer: Pin<Box<dyn Future<Output = String> + Send>>,
    log: Log,
    stage: Stage,
    measure: Interval,
    requests_measured: u64,
    /// Whether it said that it knows how to trim.
    trims: bool,
    /// Whether it said that it knows how to count.
    counts: bool,
}

/// How far the worker has come, and by when it must come further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Starting { until: Instant },
    Loading { until: Instant },
    Serving,
}

/// Why a life ends.
enum End {
    /// The run loop wants it.
    Asked(StopReason),
    /// The process is gone.
    Exited,
    /// It closed a pipe, so it is about to be gone.
    HungUp,
    /// It says itself that the model cannot be loaded, and leaves.
    LoadFailed(String),
    /// It cannot be used any longer.
    Fault(String),
}

impl<'a> Life<'a> {
    fn begin(
        assignment: &'a Assignment,
        start: &'a WorkerStart,
        mut child: Child,
        frames: mpsc::Receiver<Vec<u8>>,
    ) -> Self {
        let patience = assignment.config.patience;
        let log_path = log::path(&assignment.config.logs_dir, &assignment.launch.model.name);
        let mut measure = interval(patience.measure);
        measure.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            assignment,
            start,
            reader: Reader::new(child.stdout.take()),
            writer: Box::pin(writer::write(child.stdin.take(), frames, patience.write)),
            log: Log::follow(child.stderr.take().map(|pipe| Box::new(pipe) as log::Pipe), log_path),
            child,
            stage: Stage::Starting { until: Instant::now() + patience.hello },
            measure,
            requests_measured: 0,
            trims: false,
            counts: false,
        }
    }

    /// Returns why it ended, after the process's exit was seen.
    async fn live(mut self, mut stop: oneshot::Receiver<StopReason>) -> String {
        if let Some(pid) = self.child.id() {
            self.assignment.report(Report::Started { pid }).await;
        }
        let end = self.serve(&mut stop).await;
        self.end(end).await
    }

    async fn serve(&mut self, stop: &mut oneshot::Receiver<StopReason>) -> End {
        loop {
            tokio::select! {
                report = self.reader.next() => match report {
                    Ok(Some(report)) => if let Err(end) = self.take(report).await { return end },
                    Ok(None) => return End::HungUp,
                    Err(fault) => return End::Fault(fault),
                },
                // A stop that is dropped means that the run loop is gone, and with it all need.
                why = &mut *stop => return End::Asked(why.unwrap_or(StopReason::Shutdown)),
                _ = self.child.wait() => return End::Exited,
                fault = &mut self.writer => return self.writer_ended(fault),
                () = overdue(self.stage) => return End::Fault(self.overdue_fault()),
                _ = self.measure.tick() => self.measure_if_used().await,
            }
        }
    }

    /// What one report changes.
    async fn take(&mut self, report: protocol::Report) -> Result<(), End> {
        match report {
            protocol::Report::Hello { version, engine, trims, counts } => {
                (self.trims, self.counts) = (trims, counts);
                self.greeted(version, &engine).await
            }
            protocol::Report::Loading { fraction } => {
                self.loading_goes_on();
                self.assignment.fraction.send_replace(fraction.clamp(0.0, 1.0));
                Ok(())
            }
            protocol::Report::Loaded(loaded) => self.loaded(loaded).await,
            protocol::Report::LoadFailed(failure) => Err(End::LoadFailed(failure.message)),
            protocol::Report::Event { request, event } => {
                match self.assignment.link.deliver(request, event) {
                    Delivery::Done => Ok(()),
                    Delivery::OverCredit => {
                        Err(End::Fault("it sent more events than it had credit for".to_owned()))
                    }
                }
            }
            protocol::Report::Stats(stats) => {
                self.assignment.report(Report::Stats(stats)).await;
                Ok(())
            }
        }
    }

    async fn greeted(&mut self, version: u32, engine: &str) -> Result<(), End> {
        if version != protocol::VERSION {
            return Err(End::Fault(format!(
                "{} speaks version {version} of the protocol and this hub version {}; install \
                 both from the same release",
                self.assignment.config.settings.worker.display(),
                protocol::VERSION
            )));
        }
        if !matches!(self.stage, Stage::Starting { .. }) {
            return Err(out_of_turn("Hello"));
        }
        tracing::debug!(engine, "worker greeted");
        self.stage = Stage::Loading { until: self.load_until() };
        let load = Command::Load(self.load());
        let frame = frame::encode(&load).map_err(|error| End::Fault(error.to_string()))?;
        // The first frame always finds a place.
        self.assignment.link.frames().try_send(frame).ok();
        Ok(())
    }

    async fn loaded(&mut self, loaded: Loaded) -> Result<(), End> {
        if !matches!(self.stage, Stage::Loading { .. }) {
            return Err(out_of_turn("Loaded"));
        }
        self.stage = Stage::Serving;
        let measured_bytes = memory::tree_bytes(self.child.id()).await;
        let context_tokens = Some(loaded.context_tokens);
        let opened = Opened {
            context_tokens,
            loaded: Some(Box::new(loaded)),
            trims: self.trims,
            counts: self.counts,
            errands: None,
        };
        self.assignment.report(Report::Ready { opened, measured_bytes }).await;
        Ok(())
    }

    fn load(&self) -> Load {
        let config = &self.assignment.config;
        let projector = self.start.projector.as_ref();
        Load {
            path: self.start.path.clone(),
            context_tokens: Some(self.start.context_tokens),
            sequences_max: config.settings.sequences_max,
            threads: config.settings.threads,
            kv_type: self.start.kv_type.map(|kind| kind.name().to_owned()),
            keep: self.start.keep.as_ref().map(|keep| self.keep(keep)),
            speculation: self.start.speculation.clone(),
            taken_back_max: self.start.taken_back_max,
            projector: projector.map(|file| file.path.clone()),
            projector_is_named: projector.is_some_and(|file| file.is_named),
            adapters: self.start.adapters.clone(),
            chat_template: self.start.chat_template.as_deref().map(str::to_owned),
        }
    }

    fn keep(&self, keep: &KeepSettings) -> Keep {
        Keep {
            model: self.assignment.launch.model.name.to_string(),
            files: match keep.mode {
                KeepMode::Off | KeepMode::Ram => false,
                KeepMode::Ssd => true,
            },
            folder: keep.folder.clone(),
            ram_bytes: keep.ram_bytes,
            ssd_bytes: keep.ssd_bytes,
            model_ssd_bytes: None,
            free_floor_bytes: keep.free_floor_bytes,
            day_write_bytes: keep.day_write_bytes,
            compress: keep.compress,
            encryption_key: keep.encryption_key.clone(),
        }
    }

    fn loading_goes_on(&mut self) {
        if matches!(self.stage, Stage::Loading { .. }) {
            self.stage = Stage::Loading { until: self.load_until() };
        }
    }

    fn load_until(&self) -> Instant {
        Instant::now() + self.assignment.config.patience.load_progress
    }

    /// Its memory grows with use, and an unused one is left in peace.
    async fn measure_if_used(&mut self) {
        let link = &self.assignment.link;
        let requests = link.requests_begun();
        let used = requests != self.requests_measured || link.is_busy();
        if self.stage == Stage::Serving && used {
            self.requests_measured = requests;
            if let Some(bytes) = memory::tree_bytes(self.child.id()).await {
                self.assignment.report(Report::Measured { bytes }).await;
            }
        }
    }

    fn overdue_fault(&self) -> String {
        let patience = self.assignment.config.patience;
        let seconds = |wait: Duration| wait.as_secs_f32();
        match self.stage {
            Stage::Starting { .. } => {
                format!("it did not speak within {} s of its start", seconds(patience.hello))
            }
            Stage::Loading { .. } | Stage::Serving => {
                format!("loading made no progress for {} s", seconds(patience.load_progress))
            }
        }
    }

    /// The writer polled to its end must not be polled again.
    fn writer_ended(&mut self, fault: String) -> End {
        self.close_input();
        if fault.is_empty() { End::HungUp } else { End::Fault(fault) }
    }

    fn close_input(&mut self) {
        self.writer = Box::pin(std::future::pending());
    }

    /// One way out for every end: nobody waits any longer than needed, the process is gone, and
    /// what it said last is known.
    async fn end(mut self, end: End) -> String {
        let grace = match &end {
            End::Asked(why) => {
                self.assignment.close(&why.to_string(), false);
                self.assignment.config.patience.stop_grace
            }
            End::LoadFailed(_) => self.assignment.config.patience.stop_grace,
            End::HungUp | End::Exited => DRAIN_WAIT_MAX,
            End::Fault(_) => Duration::ZERO,
        };
        self.close_input();
        let exit = self.exit_within(grace).await;
        let end = match end {
            // What it wrote before it went may say why it went.
            End::Exited | End::HungUp => self.drain().await.unwrap_or(end),
            End::Asked(_) | End::LoadFailed(_) | End::Fault(_) => end,
        };
        let ended = match end {
            End::Asked(why) => return why.to_string(),
            End::LoadFailed(message) => return message,
            End::Exited | End::HungUp => exit,
            End::Fault(fault) => format!("was killed because {fault}"),
        };
        format!("its worker {ended}; {}", self.log.last_words().await)
    }

    /// Waits for the exit, and kills when that takes longer than `grace`. Returns only after the
    /// exit was seen, since only then the memory is free; says how it ended.
    async fn exit_within(&mut self, grace: Duration) -> String {
        if let Ok(exit) = timeout(grace, self.child.wait()).await {
            let status = exit.map_or_else(|error| error.to_string(), |status| status.to_string());
            return format!("ended with {status}");
        }
        // Both fail only if it is gone already.
        self.child.start_kill().ok();
        self.child.wait().await.ok();
        "closed its pipes, stayed, and was killed".to_owned()
    }

    /// Delivers what the process wrote before its end; the reason, if it gave one.
    async fn drain(&mut self) -> Option<End> {
        let drained = timeout(DRAIN_WAIT_MAX, async {
            loop {
                match self.reader.next().await {
                    Ok(Some(report)) => {
                        if let Err(end) = self.take(report).await {
                            return Some(end);
                        }
                    }
                    Ok(None) => return None,
                    Err(fault) => return Some(End::Fault(fault)),
                }
            }
        });
        // Whoever inherited the pipe keeps it open for ever; nothing of the worker's comes then.
        drained.await.ok().flatten()
    }
}

fn out_of_turn(word: &str) -> End {
    End::Fault(format!("it said {word} out of turn"))
}

async fn overdue(stage: Stage) {
    match stage {
        Stage::Starting { until } | Stage::Loading { until } => sleep_until(until).await,
        Stage::Serving => std::future::pending().await,
    }
}
