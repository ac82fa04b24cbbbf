//! The life of a managed command: a program that is started behind a guard, found ready, spoken to
//! over HTTP on a port of this machine, measured, and stopped with all that it started.
//!
//! Not here: the conversation (`conversation`), the guard (`guarded`).

use std::{sync::Arc, time::Duration};

use planner::fleet::StopReason;
use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    conversation::{Probed, Speaker, Waits},
    port::{self, Owner},
    unguessable,
    upstream::{opened, report_stats},
};
use crate::{
    assignment::{Assignment, Report},
    engine::{KEY_PLACE, ManagedCommand, Server},
    guarded::{Guarded, Order},
    limits::{PORT_TRIES_MAX, READY_LOOK_INTERVAL},
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
    let reason = live(&assignment, &command, frames, stop).await;
    assignment.exited(reason).await;
}

/// Returns why it ended, after nothing was left of it. A port that was taken before the program could
/// listen there costs a new start, and not the request that waits for it.
async fn live(
    assignment: &Assignment,
    command: &ManagedCommand,
    frames: mpsc::Receiver<Vec<u8>>,
    mut stop: oneshot::Receiver<StopReason>,
) -> String {
    let mut tries_left = PORT_TRIES_MAX;
    loop {
        tries_left -= 1;
        let mut life = match Life::begin(assignment, command) {
            Ok(life) => life,
            Err(reason) => return reason,
        };
        if let Some(pid) = life.program.pid() {
            assignment.report(Report::Started { pid }).await;
        }
        let end = match life.get_ready(&mut stop).await {
            Ok(probed) => life.serve(probed, frames, &mut stop).await,
            Err(end @ End::PortTaken) if tries_left > 0 => {
                let reason = life.end(end).await;
                tracing::warn!(model = %assignment.launch.model.name, reason, "tried again");
                continue;
            }
            Err(end) => end,
        };
        return life.end(end).await;
    }
}

/// A running program.
struct Life<'a> {
    assignment: &'a Assignment,
    command: &'a ManagedCommand,
    program: Guarded,
    port: u16,
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
    /// Somebody else listens where it should.
    PortTaken,
}

impl<'a> Life<'a> {
    fn begin(assignment: &'a Assignment, command: &'a ManagedCommand) -> Result<Self, String> {
        let port = port::free()?;
        let secret = command.takes_key().then(unguessable).transpose()?;
        let name = &assignment.launch.model.name;
        let ManagedCommand { model, manner, ready, .. } = command;
        let model = model.as_deref();
        let own = Own { port, model, key: secret.as_deref() };
        let environment = command.environment.iter();
        let environment = environment.map(|(name, value)| (name.clone(), own.key_into(value)));
        let order = Order {
            argv: &own.argv(&command.argv),
            environment: &environment.collect(),
            input: None,
            folder: None,
        };
        let server = Server { base_url: format!("http://127.0.0.1:{port}"), key: secret.clone() };
        let speaker = Speaker::new(name, model, &[server], manner, ready, Waits::default())?;
        let mut program = Guarded::start(&assignment.config.guard, &order)?;
        let stdout = program.take_stdout().map(|pipe| Box::new(pipe) as Pipe);
        let stderr = program.take_stderr().map(|pipe| Box::new(pipe) as Pipe);
        let log_path = log::path(&assignment.config.logs_dir, name);
        let log = Log::follow(stdout.into_iter().chain(stderr), log_path);
        Ok(Self { assignment, command, program, port, speaker, log })
    }

    async fn get_ready(&mut self, stop: &mut oneshot::Receiver<StopReason>) -> Result<Probed, End> {
        let mut last_reason = "it was never asked".to_owned();
        let pid = self.program.pid();
        let ready = async {
            loop {
                let probed = self.speaker.probe().await;
                // Only now, so that whoever came between both looks is seen too. What it heard is a
                // key that opens nothing, since the program never got to listen.
                match (port::owner(self.port, pid).await, probed) {
                    (Owner::Other, _) => return Err(End::PortTaken),
                    (Owner::Program | Owner::Unknown, Ok(probed)) => return Ok(probed),
                    (Owner::Nobody, Ok(_)) => {
                        "it changes who listens there".clone_into(&mut last_reason)
                    }
                    (Owner::Nobody | Owner::Program | Owner::Unknown, Err(reason)) => {
                        last_reason = reason;
                    }
                }
                sleep(READY_LOOK_INTERVAL).await;
            }
        };
        tokio::select! {
            biased;
            // Many programs end when they cannot have their port.
            ended = self.program.wait() => Err(match port::is_taken(self.port) {
                true => End::PortTaken,
                false => End::Exited(ended),
            }),
            why = stop => Err(End::Asked(why.unwrap_or(StopReason::Shutdown))),
            ready = ready => ready,
            () = sleep(self.command.ready_wait_max) => Err(End::NeverReady(last_reason)),
        }
    }

    async fn serve(
        &mut self,
        probed: Probed,
        frames: mpsc::Receiver<Vec<u8>>,
        stop: &mut oneshot::Receiver<StopReason>,
    ) -> End {
        let Self { assignment, command, program, speaker, .. } = self;
        let pid = program.pid();
        let opened = opened(probed, speaker, command.manner.context_tokens);
        let measured_bytes = memory::tree_bytes(pid).await;
        assignment.report(Report::Ready { opened, measured_bytes }).await;
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
            End::PortTaken => {
                self.program.kill();
                self.program.wait().await;
                return format!(
                    "another program listens on port {}, which was free when the hub chose it for \
                     this engine; stop that program, or ask again",
                    self.port
                );
            }
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

/// What only the hub knows of a program that it starts.
struct Own<'a> {
    port: u16,
    model: Option<&'a str>,
    key: Option<&'a str>,
}

impl Own<'_> {
    fn argv(&self, argv: &[String]) -> Vec<String> {
        let fill = |argument: &String| {
            // The model last, since a name may hold what looks like a place.
            let argument = self.key_into(&argument.replace("{port}", &self.port.to_string()));
            self.model.map_or(argument.clone(), |model| argument.replace("{model}", model))
        };
        argv.iter().map(fill).collect()
    }

    fn key_into(&self, text: &str) -> String {
        self.key.map_or_else(|| text.to_owned(), |key| text.replace(KEY_PLACE, key))
    }
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
            Own { port: 80, model, key: None }.argv(&argv),
            ["serve", "--at=127.0.0.1:80", "a model; with {port} and $(signs)", "8080", "{other}"]
        );
        let own = Own { port: 80, model: None, key: Some("secret") };
        assert_eq!(own.argv(&argv[2..3]), ["{model}"]);
        assert_eq!(own.argv(&["--key={key}".to_owned()]), ["--key=secret"]);
    }
}
