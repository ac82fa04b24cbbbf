//! The binary `resident`: command line, configuration, and the wiring of the other crates.
//!
//! Each subcommand is a module; what they share is the configuration (`config`), the sources of
//! models (`models`), the client of a running hub (`client`) and the one place that prints
//! (`terminal`). Not here: HTTP service (`gateway`), processes (`supervisor`), decisions (`planner`).

mod cli;
mod config;
mod duration;
mod exit;
mod models;
mod size;
mod table;
mod terminal;
mod token;

use std::process::ExitCode;

use clap::Parser as _;
use cli::Command;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let done: anyhow::Result<()> = match cli.command {
        Command::Serve(_)
        | Command::Run(_)
        | Command::Ls(_)
        | Command::Show(_)
        | Command::Ps(_)
        | Command::Stop(_) => Ok(()),
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
