//! The two programs from outside: real processes, real HTTP, real models.
//!
//! `cargo build --release` makes the programs first; RESIDENT_BIN_DIR names another folder with
//! them. Models that the repository does not carry come from the test data folder.
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on panics, whatever else came"
)]
#![expect(clippy::print_stdout, reason = "shown when a test fails or is skipped")]

#[cfg(unix)]
mod adapters;
mod agents;
mod answers;
mod anthropic_client;
mod bench;
#[cfg(target_os = "linux")]
mod convert;
#[cfg(unix)]
mod described;
mod equality;
mod explain;
#[cfg(unix)]
mod foreign;
mod gguf;
#[cfg(unix)]
mod guard;
mod hearing;
mod http;
mod hub;
mod infill;
mod input;
#[cfg(unix)]
mod installed;
mod kept;
mod kept_trouble;
mod kills;
#[cfg(unix)]
mod knowledge;
#[cfg(unix)]
mod knowledge_clients;
#[cfg(unix)]
mod kv_folder;
mod kv_types;
mod layouts;
#[cfg(unix)]
mod libraries;
#[cfg(unix)]
mod library;
mod made;
#[cfg(unix)]
mod mcp;
mod models;
#[cfg(unix)]
mod node;
mod ollama_client;
mod openai_client;
#[cfg(unix)]
#[path = "../../../library/tests/it/peer.rs"]
#[expect(dead_code, reason = "the library's tests use all of it")]
mod peer;
mod plan;
#[cfg(unix)]
mod play;
mod process;
mod promises;
mod pulls;
mod python;
#[cfg(target_os = "linux")]
mod quantize;
#[cfg(unix)]
mod registry;
#[cfg(unix)]
mod reload;
mod rerank;
mod responses_client;
#[cfg(unix)]
mod seeing;
#[cfg(unix)]
mod sharing;
#[cfg(unix)]
mod soak;
#[cfg(unix)]
mod speculation;
mod structured;
mod switching;
#[cfg(unix)]
mod tools;
#[cfg(unix)]
mod torn_writes;
