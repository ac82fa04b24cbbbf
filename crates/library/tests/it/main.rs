//! Headers and whole models over HTTP: from a server in this process, which behaves or misbehaves as a test tells it
//! and counts what it sends, and from real ones.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(clippy::print_stdout, reason = "shown when a test fails")]

mod doubts;
mod faults;
mod found;
mod headers;
mod hub;
mod kills;
mod listing;
mod misbehaviour;
mod model;
mod neighbours;
mod peer;
mod peers;
mod pulls;
mod registries;
mod secrets;
mod server;
mod whole;
