//! The supervisor with real processes: a fixture worker that misbehaves on command.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod changes;
#[cfg(target_os = "linux")]
mod chores;
#[cfg(target_os = "linux")]
mod engines;
#[cfg(target_os = "linux")]
mod errands;
mod eyes;
mod gguf;
#[cfg(target_os = "linux")]
mod guard;
mod hub;
mod misbehaviour;
mod reservations;
mod residence;
mod roles;
mod streams;
#[cfg(unix)]
mod tools;
mod upstreams;
