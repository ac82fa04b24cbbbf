//! Every bound of the fleet, with its reason.

use std::time::Duration;

/// Requests that may wait, over all models. A person's machine answers a few at a time; whoever
/// would be behind hundreds of others is better told so at once.
pub const WAITING_MAX: usize = 512;

/// Requests that may use one worker at once. The engine batches far fewer and queues the rest;
/// beyond this its queue would only hide that the fleet is overloaded.
pub const LEASES_PER_WORKER_MAX: usize = 256;

/// How long one request waits at most before it is refused, unless its model is loading, which
/// has its own end. The official clients give up after 10 minutes as well.
pub const WAIT_MAX: Duration = Duration::from_secs(600);

/// How long newcomers of a loaded model may overtake a request that waits for its memory. About
/// one answer: shorter would reload models all day, longer would feel like a hang.
pub const FAIR_WAIT: Duration = Duration::from_secs(15);

/// A model that failed to load this often within [`FAILURE_WINDOW`] is not tried for
/// [`COOL_OFF`]. Once may be bad luck and twice an impatient person.
pub const LOAD_FAILURES_MAX: usize = 3;

/// How long a failed load is remembered.
pub const FAILURE_WINDOW: Duration = Duration::from_secs(120);

/// How long a model that keeps failing is left alone. Long enough that a client in a retry loop
/// does not keep the disk busy, short enough for a person who has just freed some memory.
pub const COOL_OFF: Duration = Duration::from_secs(60);

/// Models whose failures are remembered; the one that failed longest ago is forgotten first. A
/// person has fewer models, so this only stops a client that keeps changing a file.
pub const FAILING_MODELS_MAX: usize = 64;
