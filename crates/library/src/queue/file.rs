//! The file in which those pulls are written down that go on after a restart.
//!
//! One program has it at a time. It is never half written: a new one takes the place of the old. What cannot be read
//! is as if it were not there; pulls that are asked for again find what they have.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{limits::PULLS_FILE_BYTES_MAX, name::Name, private};

const NAME: &str = "queue.json";
const LOCK: &str = "queue.lock";

/// What is written down.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The last number that was given, so that none is given twice.
    pub(super) last_id: u64,
    /// In their order.
    pub(super) pulls: Vec<Pull>,
}

/// One pull that is not done.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Pull {
    pub(super) id: u64,
    pub(super) source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<Name>,
    #[serde(default)]
    pub(super) is_paused: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) failed: Option<String>,
    /// What its files are known by on the disk.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) keys: Vec<String>,
}

/// The file, and that nobody else has it.
pub(super) struct StateFile {
    folder: PathBuf,
    _lock: File,
}

impl StateFile {
    /// The file of this folder with what it says; `None` when another program has it.
    pub(super) fn open(folder: &Path) -> Option<(Self, Kept)> {
        private::folder(folder).ok()?;
        let lock = File::options().append(true).create(true).open(folder.join(LOCK)).ok()?;
        lock.try_lock().ok()?;
        let file = Self { folder: folder.to_owned(), _lock: lock };
        let kept = file.read().unwrap_or_default();
        Some((file, kept))
    }

    fn read(&self) -> Option<Kept> {
        let path = self.folder.join(NAME);
        let is_sane = fs::metadata(&path).ok()?.len() <= PULLS_FILE_BYTES_MAX;
        let text = is_sane.then(|| fs::read(&path).ok())??;
        serde_json::from_slice(&text).ok()
    }

    /// Writes down what there is now. A disk that refuses costs what was to be remembered, and stops no pull.
    pub(super) fn write(&self, kept: &Kept) {
        let _forgotten = self.try_write(kept);
    }

    fn try_write(&self, kept: &Kept) -> io::Result<()> {
        let new = self.folder.join(format!("{NAME}.new"));
        // Addresses in it may hold passwords.
        let mut file = private::file(&new)?;
        file.write_all(&serde_json::to_vec(kept)?)?;
        file.sync_all()?;
        fs::rename(&new, self.folder.join(NAME))
    }
}
