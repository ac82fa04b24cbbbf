//! The binary `resident`: command line, configuration, and the wiring of the other crates.
//!
//! Each subcommand is a module; what they share is the configuration (`config`), the sources of
//! models (`models`), the client of a running hub (`client`) and the one place that prints
//! (`terminal`). Not here: HTTP service (`gateway`), processes (`supervisor`), decisions (`planner`).

mod bench;
mod cache;
mod calibration;
mod cli;
mod client;
mod config;
mod connect;
mod convert;
mod copy;
mod create;
mod du;
mod duration;
mod exit;
mod explain;
mod hardware;
mod import;
mod kb;
mod limits;
mod ls;
mod making;
mod mcp;
mod models;
mod offer;
mod pin;
mod plan;
mod ps;
mod pull;
mod quantize;
mod reload;
mod remove;
mod replay;
mod run;
mod search;
mod serve;
mod show;
mod size;
mod steps;
mod stop;
mod stop_signal;
mod table;
mod terminal;
mod token;
mod verify;
mod warm;

use std::process::ExitCode;

use clap::Parser as _;
use cli::Command;
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    // No subcommand: only the hub starts it, and what follows is not for a person to write.
    match arguments.next() {
        Some(word) if word == serve::GUARD_WORD => return supervisor::guard::run(arguments).into(),
        Some(word) if word == serve::EXTRACT_WORD => return ::knowledge::extract::child(),
        Some(_) | None => {}
    }
    let cli = cli::Cli::parse();
    listen_to_logs();
    let done = match &cli.command {
        Command::Serve(arguments) => serve::serve(arguments),
        Command::Run(arguments) => run::run(arguments),
        Command::Ls(arguments) => ls::ls(arguments),
        Command::Pull(arguments) => pull::run(arguments),
        Command::Import(arguments) => import::import(arguments),
        Command::Search(arguments) => search::search(arguments),
        Command::Create(arguments) => create::create(arguments),
        Command::Cp(arguments) => copy::copy(arguments),
        Command::Rm(arguments) => remove::remove(arguments),
        Command::Du(arguments) => du::du(arguments),
        Command::Verify(arguments) => verify::verify(arguments),
        Command::Show(arguments) => show::show(arguments),
        Command::Ps(arguments) => ps::ps(arguments),
        Command::Stop(arguments) => stop::stop(arguments),
        Command::Warm(arguments) => warm::warm(arguments),
        Command::Pin(arguments) => pin::pin(arguments),
        Command::Unpin(arguments) => pin::unpin(arguments),
        Command::Reload(arguments) => reload::reload(arguments),
        Command::Explain(arguments) => explain::explain(arguments),
        Command::Replay(arguments) => replay::replay(arguments),
        Command::Kb(command) => kb::kb(command),
        Command::Mcp(arguments) => mcp::mcp(arguments),
        Command::Cache(arguments) => cache::cache(arguments),
        Command::Connect(arguments) => connect::connect(arguments),
        Command::Quantize(arguments) => quantize::quantize(arguments),
        Command::Convert(arguments) => convert::convert(arguments),
        Command::Plan(arguments) => plan::run(arguments),
        Command::Bench(bench) => bench::run(bench),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let alarm = terminal::Paint::stderr().tone(terminal::Tone::Alarm, "error:");
            terminal::note(format_args!("{alarm} {error:#}"));
            exit::code_of(&error)
        }
    }
}

/// Sends the log to stderr. `RESIDENT_LOG` says how much, as in `debug` or `supervisor=debug`.
fn listen_to_logs() {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::WARN.into())
        .with_env_var("RESIDENT_LOG")
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal::stderr_has_colour())
        // A line that cannot be written is lost. Reporting that on the same full disk would panic.
        .log_internal_errors(false)
        .init();
}
