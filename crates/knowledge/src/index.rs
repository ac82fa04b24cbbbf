//! Where passages are found: by nearness of vectors, and by terms.
//!
//! An [`Index`] holds nothing that could not be made again from the store: for each passage its number, a vector, its
//! terms and a few labels to choose by. It comes in three forms behind one trait: [`segments`], files that are read where
//! they lie; [`cluster`], a Qdrant elsewhere; [`exact`], which compares everything with everything in memory and is the
//! measure of the others.
//! `tests/it/index.rs` holds all of them to the same contract.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use crate::words::Sparse;

mod best;
pub mod cluster;
pub mod description;
pub mod exact;
mod files;
mod form;
mod held;
pub mod segments;

pub use description::{Description, Embedder};
pub use form::Form;

/// A passage as an index holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The passage's number in the store.
    pub id: u64,
    /// What the embedder made of it; nothing where there is no embedder, or it could not be asked yet.
    pub dense: Option<Vec<f32>>,
    /// Its terms (`words::passage`).
    pub sparse: Sparse,
    /// What it can be chosen by.
    pub labels: Labels,
}

/// What a passage can be chosen by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Labels {
    /// The collection's name.
    pub collection: String,
    /// The file's number in the store.
    pub file: u64,
    /// What the file is, such as `pdf`.
    pub kind: String,
    /// When the file was last changed, in seconds since 1970.
    pub modified_s: i64,
    /// Where the file is, with `/` between its parts on every system.
    pub path: String,
}

/// Which passages may be found. What is empty or absent does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of one of these collections.
    pub collections: Vec<String>,
    /// Of one of these files.
    pub files: Vec<u64>,
    /// In one of these folders or their folders, or one of these files: whole parts of paths, so that `notes/a` has
    /// `notes/a/b.md` and not `notes/ab.md`. A slash at the end means nothing.
    pub folders: Vec<String>,
    /// Of one of these kinds.
    pub kinds: Vec<String>,
    /// Changed at or after the first, and before the second, in seconds since 1970.
    pub modified_s: Option<Range<i64>>,
}

/// A passage that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// The passage's number.
    pub id: u64,
    /// How well it fits: the cosine, or the sum of BM25. To be compared within one answer only.
    pub score: f32,
}

/// What tidying an index has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Optimized {
    /// There was nothing to do, or everything is done.
    Whole,
    /// It was stopped before; calling again goes on.
    Stopped,
}

/// Passages that can be found by a vector and by terms.
///
/// All calls block. Any number of threads may ask while one changes; changes are done one after the other.
pub trait Index: Send + Sync {
    /// What the index was made for.
    fn description(&self) -> &Description;

    /// Puts passages in, or in the place of those with the same numbers.
    ///
    /// # Errors
    ///
    /// [`Error::Dimension`] for a vector of another length, before anything is changed.
    fn upsert(&self, points: Vec<Point>) -> Result<(), Error>;

    /// Takes passages out. Numbers that are not there are nothing to complain of.
    ///
    /// # Errors
    ///
    /// Those of the files or the network behind it.
    fn remove(&self, ids: &[u64]) -> Result<(), Error>;

    /// Takes all passages of these files out.
    ///
    /// # Errors
    ///
    /// Those of the files or the network behind it.
    fn remove_files(&self, files: &[u64]) -> Result<(), Error>;

    /// What was changed before this call is there after a loss of power. Changes before that may be lost with the
    /// process, so that a caller notes a passage as indexed after this and not before.
    ///
    /// # Errors
    ///
    /// Those of the files or the network behind it.
    fn flush(&self) -> Result<(), Error>;

    /// Puts what was changed into the form in which it is found quickly and without memory. The caller decides when;
    /// every few thousand passages bounds both how long this takes and the memory until then. `stop` is looked at
    /// between steps.
    ///
    /// # Errors
    ///
    /// Those of the files or the network behind it.
    fn optimize(&self, stop: &AtomicBool) -> Result<Optimized, Error>;

    /// The passages whose vectors are nearest by cosine, best first, at most `limit`; approximately, where that is
    /// quicker.
    ///
    /// # Errors
    ///
    /// [`Error::Dimension`] for a vector of another length.
    fn nearest(&self, vector: &[f32], filter: &Filter, limit: usize) -> Result<Vec<Hit>, Error>;

    /// As [`Index::nearest`], compared with every vector. For measuring.
    ///
    /// # Errors
    ///
    /// [`Error::Dimension`] for a vector of another length.
    fn nearest_exact(
        &self,
        vector: &[f32],
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<Hit>, Error>;

    /// The passages with the highest BM25 for `words::query`, best first, at most `limit`. Those that share no term
    /// are not among them.
    ///
    /// # Errors
    ///
    /// Those of the files or the network behind it.
    fn lexical(&self, query: &Sparse, filter: &Filter, limit: usize) -> Result<Vec<Hit>, Error>;

    /// How many passages there are that the filter lets through.
    ///
    /// # Errors
    ///
    /// Those of the files or the network behind it.
    fn count(&self, filter: &Filter) -> Result<u64, Error>;

    /// The numbers of the passages above `after`, ascending, at most `limit`: for comparing with the store.
    ///
    /// # Errors
    ///
    /// Those of the files or the network behind it.
    fn ids(&self, after: Option<u64>, limit: usize) -> Result<Vec<u64>, Error>;
}

/// Why an index cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was made for something else than it is opened for.
    #[error("the index at {path} was made for {made}, not for {wanted}: use {made} again, or make the index anew, \
             which needs the files only", path = path.display())]
    Different {
        /// Where it is.
        path: PathBuf,
        /// What it was made for.
        made: String,
        /// What it was opened for.
        wanted: String,
    },
    /// A vector has another length than those of the index.
    #[error(
        "a vector has {got} numbers where this index has {wanted}: it comes from another embedder than \
             the one that the index was made for"
    )]
    Dimension {
        /// Numbers of the index's vectors; 0 if it was made without an embedder.
        wanted: usize,
        /// Numbers of this one.
        got: usize,
    },
    /// Another process has it open.
    #[error("the index at {path} is open in another process: stop that one, or ask it", path = path.display())]
    InUse {
        /// Where it is.
        path: PathBuf,
    },
    /// What is on the disk is not what was written.
    #[error("the index at {path} is damaged ({why}): remove that folder, and it is made anew from the store",
            path = path.display())]
    Damaged {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A file could not be read or written.
    #[error("cannot {what} {path}: {source}", path = path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The Qdrant that has the index cannot be reached, or refuses.
    #[error(
        "the Qdrant at {url} cannot {what}: {why}; see that it runs and that the address is its port for gRPC, or \
             take another one: [knowledge.qdrant] url"
    )]
    Cluster {
        /// Its address.
        url: String,
        /// What was tried.
        what: &'static str,
        /// Why not, in its words.
        why: String,
    },
    /// What holds the index has refused; the words are its own.
    #[error("the index cannot {what}: {why}")]
    Engine {
        /// What was tried.
        what: &'static str,
        /// Why not.
        why: String,
    },
}

impl Error {
    fn file(what: &'static str, path: &Path, source: std::io::Error) -> Self {
        Error::File { what, path: path.to_owned(), source }
    }
}

impl Filter {
    /// Whether it lets a passage with these labels through.
    pub fn admits(&self, labels: &Labels) -> bool {
        let among = |set: &[String], value: &String| set.is_empty() || set.contains(value);
        let in_folder = |folder: &String| {
            let folder = folder.trim_end_matches('/');
            let rest = labels.path.strip_prefix(folder);
            folder.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        among(&self.collections, &labels.collection)
            && (self.files.is_empty() || self.files.contains(&labels.file))
            && (self.folders.is_empty() || self.folders.iter().any(in_folder))
            && among(&self.kinds, &labels.kind)
            && self.modified_s.as_ref().is_none_or(|range| range.contains(&labels.modified_s))
    }
}
