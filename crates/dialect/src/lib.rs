//! What clients say and expect to hear, translated to and from the canonical words.
//!
//! A dialect is one decoder (bytes of a request body to a canonical request) and one encoder
//! (canonical events to the bytes of an answer). Each vendor has one module; the canonical request
//! and events are `worker-protocol`'s, so that no dialect knows another.
//!
//! Everything here is pure: no input or output, no clock, no randomness. Whatever an answer needs
//! of those (its id, the time of day) is handed in.
//!
//! `openapi` describes all of it, as a document for people and programs.
//!
//! OpenAI's also has the way back, for engines that speak it: canonical request to body, bytes of the
//! answer to canonical events.
//!
//! Not here: HTTP, framing of an outgoing stream (`data: …`), and authentication (`gateway`).

pub mod anthropic;
mod billing;
mod cached;
mod constraint;
mod encode;
mod error;
pub mod limits;
pub mod llama_server;
mod media;
pub mod ollama;
pub mod openai;
pub mod openapi;
mod outcome;
mod read;
mod reasoning;
mod request;
pub mod rerank;
mod sampling;
mod timings;
mod tools;
mod vectors;
mod wish;
mod write;

pub use cached::CachedBy;
pub use encode::Encode;
pub use error::Error;
pub use wish::Wish;
