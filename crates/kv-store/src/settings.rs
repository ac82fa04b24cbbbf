//! What a store is told when it is opened: the user's settings, and whose cells these are.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::key::Key;

/// Which tiers there are besides the live cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// None.
    #[default]
    Off,
    /// Memory; it ends with the process.
    Ram,
    /// Memory, and files that stay.
    Ssd,
}

/// The user's settings, as they travel from the hub to a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Which tiers there are.
    pub mode: Mode,
    /// Where the files lie; several workers and hubs may share a folder.
    pub folder: PathBuf,
    /// Bytes of the memory tier, with what waits to be written.
    pub ram_bytes: u64,
    /// Bytes of all files in the folder, of all models.
    pub ssd_bytes: u64,
    /// Bytes of this model's files, when it has a quota of its own.
    pub model_ssd_bytes: Option<u64>,
    /// Bytes that stay free on the disk for everybody else.
    pub free_floor_bytes: u64,
    /// Bytes that may be written in a day (UTC), by all who share the folder; `u64::MAX` for any.
    pub day_write_bytes: u64,
    /// Whether files are compressed with zstd. Cells hardly shrink, and it costs time.
    pub compress: bool,
    /// The file with the key, when files are encrypted; it is made at first use.
    pub encryption_key: Option<PathBuf>,
}

/// What it takes to restore a prefix of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Full attention: cells, any number of tokens.
    Cells,
    /// Sliding windows and hybrids: cells, and the partial state exactly where they end.
    CellsAndState,
    /// Recurrent: the state alone.
    State,
}

/// Whose cells these are.
#[derive(Debug, Clone)]
pub struct Identity {
    /// What everything hangs from; see [`crate::Fingerprint`].
    pub root: Key,
    /// The model's name, for people.
    pub model: String,
    /// The model's file (the first of them). When it is gone or another, its entries go first.
    pub path: PathBuf,
    /// What a restore needs.
    pub need: Need,
}
