//! Engines that are not our worker: servers of OpenAI's API, spoken to over HTTP.
//!
//! A conversation takes the same frames that a worker takes and gives the same events, so that
//! leases, answers, credit and cancelling know no difference.
//!
//! Not here: the fields of that API (`dialect`).

pub(crate) mod conversation;
mod http;
mod pool;
mod port;
pub(crate) mod process;
pub(crate) mod upstream;

pub use conversation::served_models;
