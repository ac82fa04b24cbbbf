//! The KV cache below the live cells: prefixes of tokens with the engine's state for them, in memory
//! and in files, so that a conversation survives a switch, a restart and a crash.
//!
//! This crate alone knows the files; `docs/design/kv-format.md` describes them. It knows nothing of
//! llama.cpp: an entry is opaque bytes. What is worth restoring is decided in `planner::batch`.
//!
//! [`Tiers`] is the store of one model. Many processes may share a folder: files are whole or not
//! there (they get their name by a rename), readers take no lock, and who writes or removes holds
//! the one lock of the folder and counts it before. Whatever is wrong with a file, it is a miss.

mod census;
mod digest;
mod disk;
mod fetch;
pub mod folder;
pub mod format;
mod index;
mod key;
mod ledger;
pub mod limits;
mod memory;
mod seal;
mod settings;
mod shelf;
mod stats;
mod tiers;
mod writer;

pub use digest::{digest, is_remembered};
pub use disk::free_bytes;
pub use fetch::{Fetch, Found, Piece, Step, Tier, Wake};
pub use format::{Cut, Payload};
pub use key::{Fingerprint, Key, Kind};
pub use limits::BLOCK_TOKENS;
pub use seal::Seal;
pub use settings::{Identity, Mode, Need, Settings};
pub use shelf::Put;
pub use stats::{Restored, Stats};
pub use tiers::Tiers;

#[cfg(test)]
mod tests;
