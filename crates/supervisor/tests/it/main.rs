//! The supervisor with real processes: a fixture worker that misbehaves on command.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod gguf;
mod hub;
mod misbehaviour;
mod residence;
mod streams;
