//! What can be wrong with a Modelfile, each with its line and the way out.

use crate::limits::MANIFEST_BYTES_MAX;

/// Why a Modelfile, or a parameter of one, cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// More than anybody writes.
    #[error(
        "the Modelfile has {bytes} bytes, at most {MANIFEST_BYTES_MAX} are read; shorten its texts"
    )]
    Large {
        /// Its length.
        bytes: usize,
    },
    /// A word that is no command.
    #[error(
        "line {line}: '{word}' is no command; there are FROM, PARAMETER, TEMPLATE, SYSTEM, ADAPTER, DRAFT, \
         RENDERER, PARSER, LICENSE, MESSAGE and REQUIRES, and a text over several lines stands in \"\"\""
    )]
    Command {
        /// Where, from 1.
        line: usize,
        /// What stands there.
        word: String,
    },
    /// A command without what belongs behind it.
    #[error("line {line}: {command} needs {what} behind it")]
    Missing {
        /// Where, from 1.
        line: usize,
        /// The command.
        command: String,
        /// What is not there.
        what: &'static str,
    },
    /// Somebody who says nothing in a conversation.
    #[error(
        "line {line}: '{word}' says nothing in a conversation; MESSAGE has system, user or assistant before its text"
    )]
    Role {
        /// Where, from 1.
        line: usize,
        /// What stands there.
        word: String,
    },
    /// A text without an end.
    #[error(
        "line {line}: the quotes that are opened here are not closed; close them at the end of a line"
    )]
    Quotes {
        /// Where they are opened, from 1.
        line: usize,
    },
    /// A parameter that cannot be used.
    #[error("line {line}: {error}")]
    Parameter {
        /// Where, from 1.
        line: usize,
        /// What is wrong with it.
        error: ParameterError,
    },
    /// A version that cannot be compared.
    #[error("line {line}: REQUIRES names a version, as 0.14.0, not '{value}'")]
    Version {
        /// Where, from 1.
        line: usize,
        /// What was given.
        value: String,
    },
    /// Nothing to make a model from.
    #[error(
        "there is no FROM; begin with a line that says what the model is made from: FROM qwen3:8b, or FROM ./model.gguf"
    )]
    NoFrom,
}

/// Why a parameter cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// It does not exist.
    #[error("there is no parameter '{name}'{}", nearest.as_ref().map_or_else(String::new, |nearest| format!("; did you mean '{nearest}'?")))]
    Unknown {
        /// Its name.
        name: String,
        /// One that exists and is written alike.
        nearest: Option<String>,
    },
    /// Its value is of the wrong kind.
    #[error("parameter {name} is '{value}', and should be {kind}")]
    Kind {
        /// The parameter.
        name: String,
        /// What was given.
        value: String,
        /// What it should be.
        kind: &'static str,
    },
}
