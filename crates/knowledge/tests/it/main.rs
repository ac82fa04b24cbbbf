//! Tests of the whole crate, one module for each area.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![expect(clippy::print_stdout, reason = "shown when a test fails or is skipped")]

mod cite;
mod extract;
mod folder;
mod hostile;
mod index;
mod ingest;
mod kills;
mod retrieval;
mod sets;
mod support;
