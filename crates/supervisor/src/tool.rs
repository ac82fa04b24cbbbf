//! One-shot tools: programs that run once for each request and are gone afterwards.
//!
//! These are settings, already checked by whoever read them. Not here: reading settings (`resident`).

use std::{collections::BTreeMap, time::Duration};

/// A program that runs once for each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// The name that clients use.
    pub name: String,
    /// Program and arguments, never a shell; `{input}`, `{output}` and the request's values, such as
    /// `{voice}`, are replaced inside each argument.
    pub argv: Vec<String>,
    /// Variables that are added to the few of the hub's that every engine gets.
    pub environment: BTreeMap<String, String>,
    /// Memory it is promised to take.
    pub memory_bytes: u64,
    /// How long it may run.
    pub time_max: Duration,
    /// How much it may give.
    pub output_bytes_max: u64,
    /// What it is for.
    pub serves: Serves,
    /// How it gets what the request brings.
    pub input: Input,
    /// How it gives what it makes.
    pub output: Output,
    /// What it gives, such as `audio/wav`.
    pub content_type: String,
}

/// What a tool is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serves {
    /// Text to speech.
    Speak,
    /// Speech to text.
    Listen,
    /// Pictures.
    Draw,
    /// Whatever it does; it answers under its name only.
    Tool,
}

/// How a tool gets what the request brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// On its standard input.
    Stdin,
    /// In a file, which `{input}` names.
    File {
        /// Ending of the file's name, without its dot.
        extension: String,
    },
    /// Not at all: everything is in its arguments.
    None,
}

/// How a tool gives what it makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// On its standard output.
    Stdout,
    /// In a file, which `{output}` names.
    File {
        /// Ending of the file's name, without its dot.
        extension: String,
    },
}
