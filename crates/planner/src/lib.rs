//! What fits, which models are resident, who leaves, and what a worker computes next.
//!
//! Everything here is pure: values in, decisions out. No file, no clock, no randomness, no thread;
//! the caller reads the files and tells the time. `clippy.toml` beside this crate enforces it.
pub mod adapter;
pub mod batch;
pub mod catalogue;
pub mod draft;
pub mod family;
pub mod fit;
pub mod fleet;
pub mod footprint;
pub mod gguf;
pub mod importance;
pub mod ledger;
pub mod machine;
mod pairs;
pub mod quality;
pub mod recipe;
pub mod roles;
pub mod speed;
pub mod tensors;
pub mod threads;
