//! The gateway over real TCP, before a supervisor whose workers are fixtures.
//!
//! A prompt tells the fixture what to do: `say 3` gives three texts, `endless` never ends,
//! `silence` says nothing, `abort-mid-answer` dies. What real models answer is tested in `resident`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod anthropic;
mod client;
mod control;
mod infill;
mod kept;
mod library;
mod limits;
mod media;
mod ollama;
mod ollama_models;
mod rerank;
mod responses;
mod roles;
mod routes;
mod rules;
mod site;
#[cfg(unix)]
mod sound;
mod streams;
#[cfg(unix)]
mod tools;

#[path = "../../../supervisor/tests/it/gguf.rs"]
mod gguf;
