//! The worker's life: say hello, load, serve until the hub is gone.

use std::fs::File;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, sync_channel};

use engine::{Inbox, Outbox};
use worker_protocol::{Command, Load, Report, VERSION};

use crate::model::LlamaModel;
use crate::tiers::Opening;
use crate::{FAILED, MISUSED, llama, log, pipe};

/// Commands that wait for the next step. The hub sends a few per request; when it is this far
/// ahead, its pipe may fill.
const COMMANDS_MAX: usize = 1024;

/// A change of the loaded share that is worth a report.
const PROGRESS_STEP: f32 = 0.01;

pub(crate) fn run() -> ExitCode {
    let pipe = match pipe::take_stdout() {
        Ok(pipe) => pipe,
        Err(error) => {
            log::complain(&format!("error: cannot take standard output: {error}"));
            return ExitCode::from(FAILED);
        }
    };
    log_to_stderr();
    log::install();
    let (sender, receiver) = sync_channel(COMMANDS_MAX);
    let reader = std::thread::Builder::new().name("commands".to_owned());
    if let Err(error) = reader.spawn(move || pipe::read_forever(sender)) {
        log::complain(&format!("error: cannot start a thread: {error}"));
        return ExitCode::from(FAILED);
    }
    serve(pipe, receiver)
}

fn serve(pipe: File, commands: Receiver<Command>) -> ExitCode {
    let mut outbox = Outbox::new(pipe);
    let engine = format!("llama.cpp {}", llama::version());
    outbox.push(&Report::Hello { version: VERSION, engine, trims: true, counts: true });
    if outbox.flush().is_err() {
        return ExitCode::SUCCESS;
    }
    let load = match commands.recv() {
        Ok(Command::Load(load)) => load,
        Ok(_) => {
            log::complain("error: the hub's first command must be Load");
            return ExitCode::from(MISUSED);
        }
        Err(_) => return ExitCode::SUCCESS,
    };
    let opening = Opening::begin(&load);
    match load_model(&load, &mut outbox) {
        Some(model) => {
            let tiers = opening.and_then(|opening| opening.then_use(&model));
            if tiers.is_some() {
                pipe::linger();
            }
            // An error means that the hub is gone, which ends a worker in peace.
            let _ = engine::run(model, &Inbox::new(commands), outbox, tiers, &load.speculation);
            // Destructors of C++ have nothing to give back that the end of the process does not.
            pipe::leave(0)
        }
        None => ExitCode::from(FAILED),
    }
}

/// Loads and reports; `None` when it failed, which was reported too.
fn load_model(load: &Load, outbox: &mut Outbox<File>) -> Option<LlamaModel> {
    let mut reported = 0.0;
    let loaded = LlamaModel::load(load, |fraction| {
        if fraction - reported >= PROGRESS_STEP {
            reported = fraction;
            outbox.push(&Report::Loading { fraction });
            // The hub may be gone; the reading thread sees that and ends the process.
            let _ = outbox.flush();
        }
    });
    let report = match &loaded {
        Ok(model) => Report::Loaded(engine::Model::facts(model).clone()),
        Err(failure) => Report::LoadFailed(failure.clone()),
    };
    outbox.push(&report);
    outbox.flush().ok()?;
    loaded.ok()
}

fn log_to_stderr() {
    // A second initialisation cannot happen in this process.
    let _ = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        // A line that cannot be written is lost. Reporting that on the same full disk would panic.
        .log_internal_errors(false)
        .try_init();
}
