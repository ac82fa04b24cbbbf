//! A half pulled file on disk: its bytes, its journal, and the lock that lets one at a time work on it.
//!
//! Each has a folder `pulls/KEY/` with `part` (the bytes, with holes), `journal`, and at the end the whole file under
//! its digest; `pulls/KEY.lock` beside it stays, since a lock that is deleted while somebody waits for it guards
//! nothing. A key is a digest and never a name.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _},
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use reqwest::Url;
use twox_hash::xxhash3_128;

use super::{
    Error, Key, Wanted,
    error::of_disk,
    head::{self, Facts, Met},
    journal::{self, Identity, Journal, Pieces},
    place,
    ranges::Ranges,
};
use crate::{digest::Sha256, limits, private};

/// The bytes that came.
const PART: &str = "part";
/// What is known of them.
const JOURNAL: &str = "journal";
/// What stands before the digits in the name of the whole file.
const WHOLE: &str = "sha256-";

/// The lock of one pull, as long as this lives. Its file says what the last who had it made of the pull: nothing, or
/// that the library has the file now.
pub(super) struct Lock {
    file: File,
}

impl Lock {
    /// From now on nothing is said of the file.
    pub(super) fn begin(&self) {
        // One who waits then believes what is no longer true, looks into the library, and begins anew.
        let _still_said = self.file.set_len(0);
    }

    /// Whoever waits for the lock hears that the library has the file, under this digest.
    pub(super) fn say_taken(&self, digest: &Sha256, bytes: u64) {
        self.begin();
        let text = format!("{} {bytes}", digest.hex());
        // One who waits then hears nothing, and fetches the file for itself.
        let _unsaid = place::write_at(&self.file, text.as_bytes(), 0);
    }

    /// What the last who had it said of the file: its digest and length in the library.
    pub(super) fn taken(&self) -> Option<(Sha256, u64)> {
        let mut text = String::new();
        let mut file = &self.file;
        file.rewind().ok()?;
        file.take(limits::LOCK_BYTES_MAX).read_to_string(&mut text).ok()?;
        let (digest, bytes) = text.split_once(' ')?;
        Some((digest.parse().ok()?, bytes.parse().ok()?))
    }
}

/// The lock for `key`, if nobody else has it.
pub(super) fn lock(pulls: &Path, key: &Key) -> Result<Option<Lock>, Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error: io::Error| of_disk(&path, &error)
    };
    private::folder(pulls).map_err(failed(pulls))?;
    let path = pulls.join(format!("{key}.lock"));
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(failed(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Lock { file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(of_disk(&path, &error)),
    }
}

/// The whole file, if it came earlier, nobody has taken it since, and it has the wanted digest and length. Without a
/// digest its [`identity`] tells whether it still is what its address has.
pub(super) fn finished(folder: &Path, wanted: &Wanted) -> Option<(PathBuf, Sha256, u64)> {
    for entry in std::fs::read_dir(folder).ok()?.flatten() {
        let name = entry.file_name();
        let found = name.to_str().and_then(|name| name.strip_prefix(WHOLE));
        let Some(found) = found.and_then(|digits| digits.parse::<Sha256>().ok()) else { continue };
        let bytes = entry.metadata().ok()?.len();
        if wanted.digest.is_none_or(|digest| digest == found)
            && wanted.bytes.is_none_or(|expected| expected == bytes)
        {
            return Some((entry.path(), found, bytes));
        }
    }
    None
}

/// Forgets files in `folder` that came whole and are not the wanted one.
pub(super) fn forget_whole(folder: &Path) -> Result<(), Error> {
    // Without the folder there is none.
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(WHOLE)) {
            std::fs::remove_file(entry.path()).map_err(|error| of_disk(&entry.path(), &error))?;
        }
    }
    Ok(())
}

/// What was known of the file in `folder`.
pub(super) fn identity(folder: &Path) -> Identity {
    journal::identity(&folder.join(JOURNAL))
}

/// How much is there in `folder`.
pub(super) fn bytes(folder: &Path) -> u64 {
    journal::bytes(&folder.join(JOURNAL))
}

/// An open half pulled file.
pub(super) struct Keep {
    folder: PathBuf,
    part_path: PathBuf,
    part: File,
    /// One connection writes at a time: a system lets one at a time write a file, and the others spin until then.
    turn: Mutex<()>,
    journal: Mutex<Journal>,
    /// Bytes are compared with what is there already, and only those that differ are written.
    is_comparing: AtomicBool,
    /// Held as long as anybody may write.
    lock: Lock,
}

/// What is being written by one connection: a piece that grows.
pub(super) struct Growing {
    start: u64,
    end: u64,
    sum: xxhash3_128::Hasher,
}

impl Growing {
    /// A piece that begins at `start`.
    pub(super) fn new(start: u64) -> Self {
        Self { start, end: start, sum: xxhash3_128::Hasher::new() }
    }

    /// Where the next byte goes.
    pub(super) fn end(&self) -> u64 {
        self.end
    }
}

impl Keep {
    /// What is there of `wanted` in `folder`, which is made if needed.
    pub(super) fn open(folder: &Path, wanted: &Wanted, lock: Lock) -> Result<Self, Error> {
        let failed = |path: &Path, error: &io::Error| of_disk(path, error);
        std::fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
        let part_path = folder.join(PART);
        let part =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&part_path);
        let part = part.map_err(|error| failed(&part_path, &error))?;
        let journal_path = folder.join(JOURNAL);
        let journal =
            Journal::open(&journal_path).map_err(|error| failed(&journal_path, &error))?;
        let keep = Self {
            folder: folder.to_owned(),
            part_path,
            part,
            turn: Mutex::new(()),
            journal: Mutex::new(journal),
            is_comparing: AtomicBool::new(false),
            lock,
        };
        keep.believe(wanted)?;
        Ok(keep)
    }

    /// Forgets what cannot be of `wanted`, or is more than the file has.
    fn believe(&self, wanted: &Wanted) -> Result<(), Error> {
        let mut journal = self.journal();
        let identity = journal.identity().clone();
        let has_length = wanted.bytes.is_none() || identity.bytes == wanted.bytes;
        if !has_length || wanted.digest.is_none() && !identity.has_mark() {
            return journal.begin(Identity::default()).map_err(|error| self.journal_failed(&error));
        }
        let length = self.part.metadata().map_err(|error| self.part_failed(&error))?.len();
        let beyond: Vec<u64> = journal
            .pieces()
            .iter()
            .filter(|(_, piece)| piece.end > length)
            .map(|(start, _)| *start)
            .collect();
        for start in beyond {
            journal.remove(start).map_err(|error| self.journal_failed(&error))?;
        }
        Ok(())
    }

    pub(super) fn identity(&self) -> Identity {
        self.journal().identity().clone()
    }

    pub(super) fn pieces(&self) -> Pieces {
        self.journal().pieces().clone()
    }

    /// What is there.
    pub(super) fn done(&self) -> Ranges {
        let mut done = Ranges::default();
        for (start, piece) in self.journal().pieces() {
            done.insert(*start..piece.end);
        }
        done
    }

    /// Holds an answer from `address` against what is known; what nobody knows, it says.
    pub(super) fn meet(&self, wanted: &Wanted, address: &Url, facts: &Facts) -> Result<Met, Error> {
        let mut journal = self.journal();
        let met = head::meet(journal.identity(), wanted, address, facts);
        if let Met::New(identity) = &met {
            self.begin_in(&mut journal, identity.clone())?;
        }
        Ok(met)
    }

    /// Begins anew, with another file than before.
    pub(super) fn begin(&self, identity: Identity) -> Result<(), Error> {
        self.begin_in(&mut self.journal(), identity)
    }

    fn begin_in(&self, journal: &mut Journal, identity: Identity) -> Result<(), Error> {
        journal.begin(identity).map_err(|error| self.journal_failed(&error))?;
        if self.part.metadata().is_ok_and(|metadata| metadata.len() > 0) {
            self.part.set_len(0).map_err(|error| self.part_failed(&error))?;
        }
        Ok(())
    }

    /// From now on what comes is compared with what is there.
    pub(super) fn compare(&self) {
        self.is_comparing.store(true, Ordering::Relaxed);
    }

    /// Writes the next bytes of a piece and notes that they are there.
    pub(super) fn write(&self, growing: &mut Growing, chunks: &[Bytes]) -> Result<(), Error> {
        let is_comparing = self.is_comparing.load(Ordering::Relaxed);
        for chunk in chunks {
            if !(is_comparing && self.has(chunk, growing.end)) {
                let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
                place::write_at(&self.part, chunk, growing.end)
                    .map_err(|error| self.part_failed(&error))?;
            }
            growing.sum.write(chunk);
            growing.end += chunk.len() as u64;
        }
        if is_comparing {
            return Ok(());
        }
        let range = growing.start..growing.end;
        let added = self.journal().add(range, growing.sum.finish_128());
        added.map_err(|error| self.journal_failed(&error))?;
        if growing.end - growing.start >= limits::PIECE_BYTES_MAX {
            *growing = Growing::new(growing.end);
        }
        Ok(())
    }

    fn has(&self, bytes: &[u8], at: u64) -> bool {
        let mut there = vec![0; bytes.len()];
        self.read(&mut there, at).is_ok() && there == bytes
    }

    /// Fills `bytes` from `at` on.
    pub(super) fn read(&self, bytes: &mut [u8], at: u64) -> Result<(), Error> {
        place::read_at(&self.part, bytes, at).map_err(|error| self.part_failed(&error))
    }

    /// The piece that begins at `start` is damaged.
    pub(super) fn remove(&self, start: u64) -> Result<(), Error> {
        self.journal().remove(start).map_err(|error| self.journal_failed(&error))
    }

    /// Makes the bytes durable and gives the file its digest as a name.
    pub(super) fn finish(&self, digest: Sha256, bytes: u64) -> Result<PathBuf, Error> {
        let failed = |error: io::Error| self.part_failed(&error);
        if self.part.metadata().map_err(failed)?.len() != bytes {
            self.part.set_len(bytes).map_err(failed)?;
        }
        self.part.sync_all().map_err(failed)?;
        let whole = self.folder.join(format!("{WHOLE}{}", digest.hex()));
        std::fs::rename(&self.part_path, &whole).map_err(failed)?;
        sync_folder(&self.folder).map_err(|error| of_disk(&self.folder, &error))?;
        // Its pieces are no more; what it is stays beside it, for whoever finds it there.
        let mut journal = self.journal();
        let identity = Identity { bytes: Some(bytes), ..journal.identity().clone() };
        // What is not known there is not believed.
        let _unknown = journal.begin(identity);
        Ok(whole)
    }

    pub(super) fn lock(&self) -> &Lock {
        &self.lock
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn part_failed(&self, error: &io::Error) -> Error {
        of_disk(&self.part_path, error)
    }

    fn journal_failed(&self, error: &io::Error) -> Error {
        of_disk(&self.folder.join(JOURNAL), error)
    }
}

/// Makes a renaming durable.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Windows makes renamings durable with its own journal.
#[cfg(windows)]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}
