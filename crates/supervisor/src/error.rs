//! Why a model cannot be had or stopped. Each message is complete for the person who asked.

use std::time::Duration;

use crate::bytes::readable;

/// Why no lease was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcquireError {
    /// No model has this name.
    #[error(
        "no model is named '{name}'{}{}",
        nearest_hint(.nearest.as_deref()), offered_hint(offered)
    )]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// The known name that is most like it.
        nearest: Option<String>,
        /// What there is instead in the pool of servers that was named, if one was.
        offered: Vec<String>,
    },
    /// The file cannot be used.
    #[error("model '{name}' cannot be used: {message}")]
    Unusable {
        /// The model.
        name: String,
        /// The file, the problem and the way out.
        message: String,
    },
    /// The request brings what the model cannot take.
    #[error("model '{name}' takes no {what}: {why}")]
    TakesNone {
        /// The model.
        name: String,
        /// Pictures or sounds.
        what: &'static str,
        /// Why it does not, and the way out.
        why: String,
    },
    /// The request chooses adapters that the model does not have.
    #[error("model '{name}': {why}")]
    NoSuchAdapter {
        /// The model.
        name: String,
        /// Which, and what there is.
        why: String,
    },
    /// It would not fit even if it were alone.
    #[error(
        "model '{name}' needs {} of memory, but all models together may take {}; use a smaller \
         quantization or a shorter context, or raise the budget",
        readable(*.needed_bytes), readable(*.budget_bytes)
    )]
    TooLarge {
        /// The model.
        name: String,
        /// What it needs.
        needed_bytes: u64,
        /// What all models may take.
        budget_bytes: u64,
    },
    /// Its worker did not come up.
    #[error("model '{name}' could not be loaded: {message}{}", retry_hint(*.retry_after))]
    LoadFailed {
        /// The model.
        name: String,
        /// What the worker, or its death, said.
        message: String,
        /// Set when it failed so often that it is not tried again before this time has passed.
        retry_after: Option<Duration>,
    },
    /// Too many requests wait, or this one waited too long.
    #[error("model '{name}' is overloaded: {message}; try again later")]
    Overloaded {
        /// The model.
        name: String,
        /// Which limit was reached.
        message: String,
    },
    /// The operator stopped the model while this request waited for it.
    #[error("model '{name}' was stopped by the operator; ask again to start it anew")]
    Stopped {
        /// The model.
        name: String,
    },
    /// A role was asked for, and none of its models could take the request.
    #[error(
        "no model of the role '{role}' can serve this request: {}; ask for a model by its name, or \
         add one to the role",
        all_of(reasons)
    )]
    NobodyServes {
        /// The role.
        role: String,
        /// Why each of its models could not: those that were tried, then the others.
        reasons: Vec<String>,
        /// Why the last one could not that was tried.
        last: Option<Box<AcquireError>>,
        /// Whether each one's context is too short, and nothing else is wrong.
        is_too_long: bool,
        /// When one can be tried again, if it is only a matter of waiting.
        retry_after: Option<Duration>,
    },
    /// The hub is going down.
    #[error("the hub is shutting down")]
    ShuttingDown,
}

/// Why a model was not stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StopError {
    /// No worker of it is running.
    #[error("model '{name}' is not running")]
    NotRunning {
        /// The model.
        name: String,
    },
    /// The hub is going down.
    #[error("the hub is shutting down")]
    ShuttingDown,
}

fn nearest_hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean '{name}'?"))
}

fn offered_hint(offered: &[String]) -> String {
    match offered {
        [] => String::new(),
        some => format!("; its servers have {}", some.join(", ")),
    }
}

fn all_of(reasons: &[String]) -> String {
    if reasons.is_empty() { "there is none that does this".to_owned() } else { reasons.join("; ") }
}

fn retry_hint(retry_after: Option<Duration>) -> String {
    retry_after.map_or_else(String::new, |wait| {
        format!(
            "; it failed too often and is not tried again for {} s (a changed file is tried at once)",
            wait.as_secs().max(1)
        )
    })
}
