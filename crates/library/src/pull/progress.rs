//! How a pull stands, for bars, programs and Ollama's clients.

use std::time::Duration;

use crate::{
    digest::Sha256,
    name::Name,
    transfer::{Key, Seen},
    wanted::Wanted,
};

/// How a pull stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// What it is at.
    pub stage: Stage,
    /// What the model will be called, once that is known.
    pub name: Option<Name>,
    /// The model's files, from [`Stage::Files`] on; those that the store had already are done.
    pub files: Vec<FileProgress>,
    /// How fast it comes, over some seconds.
    pub bytes_per_s: u64,
    /// How long all files take at that rate, when their lengths are known.
    pub left: Option<Duration>,
    /// Connections that are open or being opened.
    pub connections: usize,
    /// What it waits for or does, when it is not simply fetching.
    pub note: Option<String>,
}

/// What a pull is at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Asking the source what the model is made of.
    #[default]
    Manifest,
    /// Fetching files, which are hashed as they come.
    Files,
    /// All are whole, and go to their places.
    Verifying,
    /// The model gets its name.
    Writing,
    /// It is there.
    Done,
}

/// How one file of a pull stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProgress {
    /// What people call it.
    pub name: String,
    /// What is fetched.
    pub wanted: Wanted,
    /// What is here of it.
    pub done_bytes: u64,
    /// Its length, once that is known.
    pub whole_bytes: Option<u64>,
}

impl FileProgress {
    /// What it hashes to, if its source says that.
    #[must_use]
    pub fn digest(&self) -> Option<Sha256> {
        self.wanted.digest
    }
}

impl Progress {
    /// What its files are known by on the disk.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        self.files.iter().map(|file| file.wanted.key()).collect()
    }

    /// What is here of all files.
    #[must_use]
    pub fn done_bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum: u64, file| sum.saturating_add(file.done_bytes))
    }

    /// The length of all files, once all are known.
    #[must_use]
    pub fn whole_bytes(&self) -> Option<u64> {
        let mut lengths = self.files.iter().map(|file| file.whole_bytes);
        let first = lengths.next()?;
        lengths.fold(first, |sum, length| Some(sum?.saturating_add(length?)))
    }

    /// File `at` stands like this.
    pub(super) fn saw(&mut self, at: usize, seen: &Seen) {
        if let Some(file) = self.files.get_mut(at) {
            file.done_bytes = seen.done_bytes;
            file.whole_bytes = seen.whole_bytes.or(file.whole_bytes);
        }
        self.bytes_per_s = seen.bytes_per_s;
        self.connections = seen.connections;
        self.note.clone_from(&seen.note);
        let left_bytes = self.whole_bytes().map(|whole| whole.saturating_sub(self.done_bytes()));
        self.left = left_bytes
            .and_then(|bytes| bytes.checked_div(seen.bytes_per_s))
            .map(Duration::from_secs);
    }

    /// File `at` is all there.
    pub(super) fn finish(&mut self, at: usize) {
        if let Some(file) = self.files.get_mut(at) {
            file.done_bytes = file.whole_bytes.unwrap_or(file.done_bytes);
        }
        (self.bytes_per_s, self.left, self.connections) = (0, None, 0);
        self.note = None;
    }
}
