//! What is done to this project and not by it: `cargo xtask --help`.
//!
//! Each command is a module; this file only names them.

mod make_model;
mod tidy;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Chores of the Resident project")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Write a GGUF model of a real shape with random weights, for tests and measurements.
    MakeModel(make_model::Arguments),
    /// Check the walls between the crates and the shape of the code; `cargo test -p xtask` does too.
    Tidy,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().chore {
        Chore::MakeModel(arguments) => make_model::run(&arguments),
        Chore::Tidy => tidy::run(),
    }
}
