//! Tests of this crate as others use it: one module for each area.

mod folder;
mod hostile;
mod ingest;
mod kills;
mod support;
