//! What the user wrote about the KV cache.

use std::path::PathBuf;

use serde::Deserialize;
use supervisor::KeepMode;

/// `[kv]`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kv {
    /// Where prefixes are kept.
    pub(crate) cache: Option<KvCache>,
    /// How keys and values are encoded, as `q8_0`.
    #[serde(rename = "type")]
    pub(crate) kv_type: Option<String>,
    /// The folder of the files.
    pub(crate) folder: Option<PathBuf>,
    /// Memory of each worker for it, as `256MiB`.
    pub(crate) ram: Option<String>,
    /// Size of all files, as `20GiB`.
    pub(crate) ssd: Option<String>,
    /// What stays free on the disk, as `10GiB`.
    pub(crate) free_floor: Option<String>,
    /// What may be written in a day, as `50GB`.
    pub(crate) daily_writes: Option<String>,
    /// Whether files are compressed.
    pub(crate) compress: Option<bool>,
    /// Whether files are encrypted.
    pub(crate) encrypt: Option<bool>,
}

/// Where prefixes are kept besides the live cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KvCache {
    /// Nowhere
    Off,
    /// In memory
    Ram,
    /// In memory and in files
    Ssd,
}

impl KvCache {
    /// The user's word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Ram => "ram",
            Self::Ssd => "ssd",
        }
    }

    /// The supervisor's word for it.
    pub(crate) fn mode(self) -> KeepMode {
        match self {
            Self::Off => KeepMode::Off,
            Self::Ram => KeepMode::Ram,
            Self::Ssd => KeepMode::Ssd,
        }
    }
}
