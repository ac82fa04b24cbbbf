//! Tests of the whole crate, one module for each area.

#![expect(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

mod extract;
mod folder;
mod hostile;
mod index;
mod ingest;
mod kills;
mod retrieval;
mod sets;
mod support;
