//! The life of a managed command: a program that is started behind a guard, found ready, spoken to
//! over HTTP on a port of this machine, measured, and stopped with all that it started.
//!
//! Not here: the conversation (`conversation`), the guard (`guarded`).

use std::{net::TcpListener, sync::Arc, time::Duration};

use planner::fleet::StopReason;
use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    conversation::{Probed, Speaker, Waits},
    upstream::{opened, report_stats},
};
use crate::{
    assignment::{Assignment, Report},
    engine::{ManagedCommand, Server},
    guarded::{Guarded, Order},
    limits::READY_LOOK_INTERVAL,
    log::{self, Log, Pipe},
    memory,
};

/// Runs one program. Returns after it and all that it started are gone, which is reported.
pub(crate) async fn run(
    assignment: Assignment,
    command: Arc<ManagedCommand>,
    frames: mpsc::Receiver<Vec<u8>>,
    stop: oneshot::Receiver<StopReason>,
) {
    let reason = match Life::begin(&assignment, &command) {
        Ok(life) => life.live(frames, stop).await,
        Err(reason) => reason,
    };
    assignment.exited(reason).await;
}

/// A running program.
struct Life<'a> {
    assignment: &'a Assignment,
    command: &'a ManagedCommand,
    program: Guarded,
    speaker: Speaker,
    log: Log,
}

/// Why a life ends.
enum End {
    /// The run loop wants it.
    Asked(StopReason),
    /// The program is gone; how it ended.
    Exited(String),
    /// It did not become ready; what it said last.
    NeverReady(String),
}

impl<'a> Life<'a> {
    fn begin(assignment: &'a Assignment, command: &'a ManagedCommand) -> Result<Self, String> {
        let port = free_port()?;
        let name = &assignment.launch.model.name;
        let server = Server { base_url: format!("http://127.0.0.1:{port}"), key: None };
        let ManagedCommand { model, manner, ready, .. } = command;
        let model = model.as_deref();
        let speaker = Speaker::new(name, model, &[server], manner, ready, Waits::default())?;
        let order = Order {
            argv: &filled(&command.argv, port, model),
            environment: &command.environment,
            input: None,
            folder: None,
        };
        let mut program = Guarded::start(&assignment.config.guard, &order)?;
        let stdout = program.take_stdout().map(|pipe| Box::new(pipe) as Pipe);
        let stderr = program.take_stderr().map(|pipe| Box::new(pipe) as Pipe);
        let log_path = log::path(&assignment.config.logs_dir, name);
        let log = Log::follow(stdout.into_iter().chain(stderr), log_path);
        Ok(Self { assignment, command, program, speaker, log })
    }

    /// Returns why it ended, after nothing was left of it.
    async fn live(
        mut self,
        frames: mpsc::Receiver<Vec<u8>>,
        mut stop: oneshot::Receiver<StopReason>,
    ) -> String {
        if let Some(pid) = self.program.pid() {
            self.assignment.report(Report::Started { pid }).await;
        }
        let end = match self.get_ready(&mut stop).await {
            Ok(probed) => {
                let opened = opened(probed, self.command.manner.context_tokens);
                let measured_bytes = memory::tree_bytes(self.program.pid()).await;
                self.assignment.report(Report::Ready { opened, measured_bytes }).await;
                self.serve(frames, &mut stop).await
            }
            Err(end) => end,
        };
        self.end(end).await
    }

    async fn get_ready(&mut self, stop: &mut oneshot::Receiver<StopReason>) -> Result<Probed, End> {
        let mut last_reason = "it was never asked".to_owned();
        let ready = async {
            loop {
                match self.speaker.probe().await {
                    Ok(probed) => return probed,
                    Err(reason) => last_reason = reason,
                }
                sleep(READY_LOOK_INTERVAL).await;
            }
        };
        tokio::select! {
            // First, since who took its port may answer in its place.
            biased;
            ended = self.program.wait() => Err(End::Exited(ended)),
            why = stop => Err(End::Asked(why.unwrap_or(StopReason::Shutdown))),
            probed = ready => Ok(probed),
            () = sleep(self.command.ready_wait_max) => Err(End::NeverReady(last_reason)),
        }
    }

    async fn serve(
        &mut self,
        frames: mpsc::Receiver<Vec<u8>>,
        stop: &mut oneshot::Receiver<StopReason>,
    ) -> End {
        let Self { assignment, program, speaker, .. } = self;
        let pid = program.pid();
        tokio::select! {
            ended = program.wait() => End::Exited(ended),
            // A stop that is dropped means that the run loop is gone, and with it all need.
            why = stop => End::Asked(why.unwrap_or(StopReason::Shutdown)),
            // Its frames end with the run loop too.
            () = speaker.converse(frames, &assignment.link) => End::Asked(StopReason::Shutdown),
            () = measure(assignment, pid) => End::Asked(StopReason::Shutdown),
            () = report_stats(assignment, speaker) => End::Asked(StopReason::Shutdown),
        }
    }

    /// One way out for every end: nobody waits any longer than needed, nothing is left of the
    /// program, and what it said last is known.
    async fn end(mut self, end: End) -> String {
        let ended = match end {
            End::Asked(why) => {
                self.assignment.close(&why.to_string(), false);
                let grace = self.grace(why);
                self.program.stop(self.command.stop_signal, grace).await;
                return why.to_string();
            }
            End::Exited(ended) => ended,
            End::NeverReady(reason) => {
                let (signal, grace) = (self.command.stop_signal, self.command.stop_grace);
                let ended = self.program.stop(signal, grace).await;
                let wait_s = self.command.ready_wait_max.as_secs_f32();
                format!("was not ready within {wait_s} s ({reason}) and, told to stop, {ended}")
            }
        };
        format!("its engine {ended}; {}", self.log.last_words().await)
    }

    /// Nobody waits long for a hub that goes down.
    fn grace(&self, why: StopReason) -> Duration {
        match why {
            StopReason::Shutdown => {
                self.command.stop_grace.min(self.assignment.config.patience.stop_grace)
            }
            StopReason::Idle
            | StopReason::Evicted
            | StopReason::Pressure
            | StopReason::Operator
            | StopReason::Withdrawn => self.command.stop_grace,
        }
    }
}

/// Reports what the program and its children hold while it is in use, for ever: its memory grows
/// with use, and an unused one is left in peace.
async fn measure(assignment: &Assignment, pid: Option<u32>) {
    let mut look = interval(assignment.config.patience.measure);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut requests_measured = 0;
    loop {
        look.tick().await;
        let requests = assignment.link.requests_begun();
        if requests == requests_measured && !assignment.link.is_busy() {
            continue;
        }
        requests_measured = requests;
        if let Some(bytes) = memory::tree_bytes(pid).await {
            assignment.report(Report::Measured { bytes }).await;
        }
    }
}

/// A port that nobody has now. Whoever takes it before the program does makes the program end, which
/// is seen.
fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0");
    let address = listener.and_then(|listener| listener.local_addr());
    address
        .map(|address| address.port())
        .map_err(|error| format!("no port is free for it: {error}; close some other program"))
}

/// The arguments with what only the hub knows.
fn filled(argv: &[String], port: u16, model: Option<&str>) -> Vec<String> {
    let fill = |argument: &String| {
        let argument = argument.replace("{port}", &port.to_string());
        model.map_or(argument.clone(), |model| argument.replace("{model}", model))
    };
    argv.iter().map(fill).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_inside_arguments() {
        let argv = ["serve", "--at=127.0.0.1:{port}", "{model}", "{port}{port}", "{other}"];
        let argv = argv.map(str::to_owned);
        let model = Some("a model; with {port} and $(signs)");
        assert_eq!(
            filled(&argv, 80, model),
            ["serve", "--at=127.0.0.1:80", "a model; with {port} and $(signs)", "8080", "{other}"]
        );
        assert_eq!(filled(&argv[2..3], 80, None), ["{model}"]);
    }
}
