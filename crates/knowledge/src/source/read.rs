//! What is in a file, as a hash: the one thing here that reads more than names.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use super::{special, stat};
use crate::{limits::HASH_BUFFER_BYTES, store::Stat};

/// What the file at `path` is like, itself and not what it links to.
///
/// # Errors
/// What the file system says.
pub fn stat_of(path: &Path) -> io::Result<Stat> {
    Ok(stat(&path.symlink_metadata()?))
}

/// The BLAKE3 of a file, and what it was like when it was opened. Links, pipes and devices that took its place since
/// somebody looked are refused and not waited for.
///
/// # Errors
/// What the file system says, and [`io::ErrorKind::Interrupted`] once `stop` is set.
pub fn hash(path: &Path, stop: &AtomicBool) -> io::Result<([u8; 32], Stat)> {
    let mut file = open(path)?;
    let found = file.metadata()?;
    if let Some(what) = special(found.file_type()) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("it is {what}, not a file"),
        ));
    }
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; HASH_BUFFER_BYTES];
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match file.read(&mut buffer) {
            Ok(0) => return Ok((*hasher.finalize().as_bytes(), stat(&found))),
            Ok(length) => hasher.update(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
    }
}

#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;

    use rustix::fs::OFlags;
    // Without the first a pipe would be waited for, without the second a link would be followed.
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits();
    OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path)
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).open(path)
}
