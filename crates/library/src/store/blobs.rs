//! Contents: how they come in whole or not at all.

use std::{
    fs::{self, File},
    io::{self, Read, Write as _},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

use super::{BLOBS, Error, Store, error};
use crate::{
    digest::{Hasher, Sha256},
    limits::PIECE_BYTES,
};

/// What the names of unfinished files begin with.
pub(super) const NEW: &str = "new-";

/// Files that this process has begun.
static BEGUN: AtomicU64 = AtomicU64::new(0);

/// A name for an unfinished file, which nothing else has.
pub(super) fn new_name() -> String {
    format!("{NEW}{}-{}", process::id(), BEGUN.fetch_add(1, Ordering::Relaxed))
}

impl Store {
    /// Whether this content is here.
    #[must_use]
    pub fn has(&self, digest: &Sha256) -> bool {
        self.blob(digest).is_file()
    }

    /// Takes a whole file, which has this digest and lies on the disk to its last byte; it is gone from where it
    /// was. What the store has already is not kept twice, but for a blob of another length, which is damaged and
    /// gives way. A file of another file system is copied.
    ///
    /// # Errors
    /// When the disk refuses; the file is where it was then.
    pub fn adopt(&self, path: &Path, digest: &Sha256) -> Result<(), Error> {
        if self.rename_in(path, digest)? {
            return Ok(());
        }
        // Without the lock, since it may take minutes.
        let mut content = File::open(path).map_err(error::io("read", path))?;
        self.add(&mut content, digest)?;
        self.disk.remove(path).map_err(error::io("remove", path))
    }

    /// Whether a file could be renamed to a blob, which it cannot from another file system.
    fn rename_in(&self, path: &Path, digest: &Sha256) -> Result<bool, Error> {
        let _lock = self.lock()?;
        self.made(BLOBS)?;
        let blob = self.blob(digest);
        // Its grace begins now, however old it is.
        self.disk.touch(path).map_err(error::io("use", path))?;
        if has_length_of(&blob, path) {
            // It may be another program's as well, which alone may touch it.
            let _old = self.disk.touch(&blob);
            self.disk.remove(path).map_err(error::io("remove", path))?;
            return Ok(true);
        }
        match self.disk.rename(path, &blob) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => return Ok(false),
            result => result.map_err(error::io("rename", path))?,
        }
        self.sync(BLOBS)?;
        Ok(true)
    }

    /// Takes content as it comes. Nothing stays of it when it is not what `digest` says.
    ///
    /// # Errors
    /// When it has another digest, cannot be read, or the disk refuses.
    pub fn add(&self, content: &mut dyn Read, digest: &Sha256) -> Result<(), Error> {
        let mut hasher = Hasher::new();
        self.made(BLOBS)?;
        let unfinished = self.unfinished(|file| {
            let mut piece = vec![0; PIECE_BYTES];
            loop {
                let count = match content.read(&mut piece) {
                    Ok(0) => return Ok(()),
                    Ok(count) => count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error),
                };
                hasher.update(&piece[..count]);
                file.write_all(&piece[..count])?;
            }
        })?;
        let found = hasher.finish();
        if found != *digest {
            let _garbage = self.disk.remove(&unfinished);
            return Err(Error::Digest { expected: *digest, found });
        }
        let placed = self.rename_in(&unfinished, digest).inspect_err(|_| {
            let _garbage = self.disk.remove(&unfinished);
        });
        placed.map(|_| ())
    }

    /// A file beside the blobs that `write` has filled, on the disk to its last byte.
    fn unfinished(
        &self,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<PathBuf, Error> {
        let path = self.folder.join(BLOBS).join(new_name());
        let mut file = self.disk.create_new(&path).map_err(error::io("write", &path))?;
        let written = write(&mut file).and_then(|()| self.disk.sync(&file));
        drop(file);
        written.map_err(|error| {
            let _garbage = self.disk.remove(&path);
            error::io("write", &path)(error)
        })?;
        Ok(path)
    }
}

/// Whether a file is there that is as long as the other one.
pub(super) fn has_length_of(path: &Path, other: &Path) -> bool {
    let length = |path| fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|it| it.len());
    length(path).is_some() && length(path) == length(other)
}

/// The digest of a file, with the bytes that are done after each piece; `None` when `goes_on` says no.
///
/// # Errors
/// When it cannot be read.
pub(super) fn digest_of(
    path: &Path,
    mut goes_on: impl FnMut(u64) -> bool,
) -> io::Result<Option<Sha256>> {
    let mut file = File::open(path)?;
    let mut hasher = Hasher::new();
    let mut piece = vec![0; PIECE_BYTES];
    let mut done_bytes = 0;
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(Some(hasher.finish())),
            Ok(count) => {
                hasher.update(&piece[..count]);
                done_bytes += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if !goes_on(done_bytes) {
            return Ok(None);
        }
    }
}

/// Whether a file was last changed so long ago; one of the future was changed just now.
pub(super) fn is_older(metadata: &fs::Metadata, than: std::time::Duration) -> bool {
    let age = metadata.modified().ok().and_then(|modified| modified.elapsed().ok());
    age.is_some_and(|age| age >= than)
}
