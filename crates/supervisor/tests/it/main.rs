//! The supervisor with real processes: a fixture worker that misbehaves on command.

mod gguf;
mod hub;
mod misbehaviour;
mod residence;
mod streams;
