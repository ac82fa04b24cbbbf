//! The truth about what has been read: one SQLite file with collections, their files, passages and vectors.
//!
//! Whatever an index holds can be made again from here without reading a file and without an embedder. Vectors are
//! kept by what was embedded (the first 16 bytes of a hash of embedder and text), as 16-bit floats: 768 bytes of a
//! passage with 384 dimensions, 2 KiB with 1,024. Equal passages of any files share one, and what has not changed in
//! a changed file is not embedded again.
//!
//! Passages and files have numbers that are never used twice. A passage is *due* until the index has it for good;
//! numbers of passages that are gone are kept until the index has forgotten them. So whoever was interrupted finds
//! here what is left to do. Not here: who does it (`ingest`).

mod paths;
mod read;
mod schema;
mod seen;
mod sources;
mod write;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use rusqlite::{Connection, ErrorCode};

pub use read::{Counts, File, Found, State};
pub use seen::{Change, Seen, Stat, Vanished};
pub use sources::{Collection, Job, JobState, Kind, Source};
pub use write::{Due, Outcome, Read, Stale, VectorKey, vector_key};
pub(crate) use {paths::label, write::kind_of};

use crate::limits::READERS_IDLE_MAX;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A later version of this program has written it.
    #[error(
        "the store {path} is of version {found}, this program knows {known}; use the newer program, or another folder",
        path = path.display()
    )]
    Newer {
        /// The store.
        path: PathBuf,
        /// The version in the file.
        found: u32,
        /// The version that is written here.
        known: u32,
    },
    /// It is a database, but no store.
    #[error("{path} is a database of another program; name another folder for the store", path = path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It is not what was written.
    #[error(
        "the store {path} is damaged: {why}; nothing was changed; move the file aside and add the folders again \
         (collections and their files are read anew), or put a copy back",
        path = path.display()
    )]
    Damaged {
        /// The store.
        path: PathBuf,
        /// What SQLite found.
        why: String,
    },
    /// The disk has no room.
    #[error(
        "no room to write the store {path} ({why}); what was written is kept; make room on that disk or the one with \
         temporary files, and go on",
        path = path.display()
    )]
    Full {
        /// The store.
        path: PathBuf,
        /// What SQLite said.
        why: String,
    },
    /// Another process writes it and does not end.
    #[error("the store {path} is being written by another process; wait for it or stop it", path = path.display())]
    Busy {
        /// The store.
        path: PathBuf,
    },
    /// Anything else that SQLite says.
    #[error("the store {path}: {source}", path = path.display())]
    Sqlite {
        /// The store.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// There is no collection of that name.
    #[error("no collection is called {name:?}; there are: {known}")]
    NoCollection {
        /// What was asked for.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// A name that a collection cannot have.
    #[error("a collection cannot be called {name:?}: {why}")]
    Name {
        /// The name.
        name: String,
        /// Why not.
        why: &'static str,
    },
    /// Two sources of one collection would hold the same files.
    #[error(
        "{path} and {other} hold the same files; the collection {collection:?} has {other} already: remove that first, \
         or use another collection",
        path = path.display(), other = other.display()
    )]
    Overlaps {
        /// The collection.
        collection: String,
        /// What was to be added.
        path: PathBuf,
        /// What is there.
        other: PathBuf,
    },
    /// The collection was embedded by another model.
    #[error(
        "the collection {collection:?} was embedded by {has}, not by {asked}; their vectors cannot be compared: use \
         {has} again, or rebuild the collection for {asked}"
    )]
    OtherEmbedder {
        /// The collection.
        collection: String,
        /// Name and dimension of its own.
        has: String,
        /// Name and dimension of the other.
        asked: String,
    },
    /// What is being written could not be passed on.
    #[error("cannot write what is exported: {0}")]
    Export(#[source] std::io::Error),
}

/// The store, for any number of threads: one writes at a time, others read meanwhile.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    /// Collections that are being brought in step.
    busy: Mutex<BTreeSet<u64>>,
}

/// A collection that somebody brings in step, until it is dropped.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    store: &'a Store,
    collection: u64,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.store.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.collection);
    }
}

impl Store {
    /// Opens the store at `path`, or makes an empty one.
    ///
    /// # Errors
    /// When it cannot be opened, is damaged, or is not one of this program's version.
    pub fn open(path: &Path) -> Result<Store, Error> {
        let opened = Connection::open(path).map_err(|source| told(path, source))?;
        schema::prepare(&opened, path)?;
        Ok(Store {
            path: path.to_owned(),
            writer: Mutex::new(opened),
            readers: Mutex::default(),
            busy: Mutex::default(),
        })
    }

    /// Reads all of it and compares it with what its structure says. Takes a second for each few hundred megabytes.
    ///
    /// # Errors
    /// [`Error::Damaged`] with the first finding.
    pub fn check(&self) -> Result<(), Error> {
        self.read(|reader| {
            let said: String =
                reader.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
            Ok(said)
        })
        .and_then(|said| match said.as_str() {
            "ok" => Ok(()),
            _ => Err(Error::Damaged { path: self.path.clone(), why: said }),
        })
    }

    /// Holds a collection for whoever brings it in step; nothing if somebody else does.
    pub(crate) fn hold(&self, collection: u64) -> Option<Held<'_>> {
        let is_free = self.busy.lock().unwrap_or_else(PoisonError::into_inner).insert(collection);
        is_free.then_some(Held { store: self, collection })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn writer(&self) -> MutexGuard<'_, Connection> {
        // A transaction that a panic left is rolled back by its guard; the connection is sound.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `work` in one transaction, all or nothing.
    fn write<T>(
        &self,
        work: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let mut writer = self.writer();
        let attempt = || {
            let transaction =
                writer.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        attempt().map_err(|source| told(&self.path, source))
    }

    /// As [`Store::write`], without waiting for the disk: a loss of power may undo it, the end of the process does not.
    /// For what is found out or done again by itself.
    fn write_lightly<T>(
        &self,
        work: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let mut writer = self.writer();
        let attempt = |writer: &mut Connection| {
            writer.pragma_update(None, "synchronous", "normal")?;
            let transaction =
                writer.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        let done = attempt(&mut writer);
        let restored = writer.pragma_update(None, "synchronous", "full");
        done.and_then(|done| restored.map(|()| done)).map_err(|source| told(&self.path, source))
    }

    /// Does `work` on temporary tables of the connection that writes, without keeping other processes from writing.
    fn scratch<T>(
        &self,
        work: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let mut writer = self.writer();
        let attempt = || {
            let transaction = writer.transaction()?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        attempt().map_err(|source| told(&self.path, source))
    }

    /// Does `work` on a connection that reads, beside whoever writes.
    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let attempt = |reader: Option<Connection>| {
            let reader = match reader {
                Some(reader) => reader,
                None => schema::reader(&self.path)?,
            };
            let done = work(&reader)?;
            let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
            if readers.len() < READERS_IDLE_MAX {
                readers.push(reader);
            }
            Ok(done)
        };
        attempt(idle).map_err(|source| told(&self.path, source))
    }
}

/// SQLite's words as ours.
fn told(path: &Path, source: rusqlite::Error) -> Error {
    let path = path.to_owned();
    let why = source.to_string();
    if let rusqlite::Error::FromSqlConversionFailure(..) | rusqlite::Error::InvalidColumnType(..) =
        source
    {
        return Error::Damaged { path, why };
    }
    match source.sqlite_error() {
        Some(error) if error.code == ErrorCode::DiskFull => Error::Full { path, why },
        // Its shared memory beside the file cannot grow: on a full disk this comes before the file itself fails.
        Some(error) if error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE => {
            Error::Full { path, why }
        }
        Some(error)
            if [ErrorCode::DatabaseCorrupt, ErrorCode::NotADatabase].contains(&error.code) =>
        {
            Error::Damaged { path, why }
        }
        Some(error)
            if [ErrorCode::DatabaseBusy, ErrorCode::DatabaseLocked].contains(&error.code) =>
        {
            Error::Busy { path }
        }
        Some(_) | None => Error::Sqlite { path, source },
    }
}

#[cfg(test)]
mod tests;
