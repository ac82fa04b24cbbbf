//! The file system as the store uses it: a few whole operations, so that tests can fail, tear or
//! cut off each of them. What an operation means for the cache is not known here.

#[cfg(not(unix))]
#[path = "disk/other.rs"]
mod system;
#[cfg(unix)]
#[path = "disk/unix.rs"]
mod system;

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::limits::READ_PART_BYTES;

/// One thing in a folder.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) is_folder: bool,
    pub(crate) bytes: u64,
    pub(crate) modified: SystemTime,
}

/// The beginning of a file, and how long the whole file is.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) head: Vec<u8>,
    pub(crate) bytes: u64,
}

/// What tells whether a file is still the one it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    pub(crate) bytes: u64,
    pub(crate) modified_ns: u64,
}

/// Files, folders and a clock.
pub(crate) trait Disk: Send + Sync {
    /// The time that new files get.
    fn now(&self) -> SystemTime;
    /// Makes a folder with all above it, for its owner alone.
    fn make_folder(&self, path: &Path) -> io::Result<()>;
    /// What is in a folder, in no order.
    fn list(&self, path: &Path) -> io::Result<Vec<Listed>>;
    /// The first `head_bytes` (or fewer) of a file.
    fn read(&self, path: &Path, head_bytes: usize) -> io::Result<Head> {
        let mut file = self.open(path)?;
        let head = file.read(0, head_bytes as u64, Vec::new(), &mut |_| {})?;
        Ok(Head { head, bytes: file.bytes()? })
    }
    /// A file to read from.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Opened>>;
    /// Writes a new file for its owner alone; one that exists is an error.
    fn write_new(&self, path: &Path, parts: &[&[u8]], modified: SystemTime) -> io::Result<()>;
    /// Gives a file another name, in place of what has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder that is empty.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;
    /// Sets the time of the last use.
    fn touch(&self, path: &Path, time: SystemTime) -> io::Result<()>;
    /// Bytes that may still be written where this folder is.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
    /// Whether nobody but its owner may read the file.
    fn is_private(&self, path: &Path) -> io::Result<bool>;
    /// Length and time of a file.
    fn stamp(&self, path: &Path) -> io::Result<Stamp>;
    /// Asks the system to read a file before it is needed.
    fn read_ahead(&self, path: &Path) -> io::Result<()>;
    /// The lock in this file, which is made when it does not exist; none while somebody else has it.
    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Locked>>>;
}

/// Bytes that may still be written where this folder is; also for who writes other files than this crate.
///
/// # Errors
/// When there is no such folder, or the system does not say.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    system::free_bytes(folder)
}

/// A file that is being read.
pub(crate) trait Opened {
    /// Its length.
    fn bytes(&self) -> io::Result<u64>;
    /// So many bytes from there on (or fewer), in this buffer, whose content does not matter: memory that
    /// was used before costs less than new. `seen` gets them part by part, as they are read, while they
    /// are in the processor's caches.
    fn read(
        &mut self,
        at: u64,
        bytes: u64,
        buffer: Vec<u8>,
        seen: &mut dyn FnMut(&[u8]),
    ) -> io::Result<Vec<u8>>;
}

/// A lock that is held until this is dropped, and the small file it lies in.
pub(crate) trait Locked {
    /// The file's content, at most so many bytes.
    fn read(&mut self, bytes_max: u64) -> io::Result<Vec<u8>>;
    /// Overwrites a part of the file.
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;
}

/// The real one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct System;

impl Disk for System {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        system::folder_builder().recursive(true).create(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        let mut listed = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // What vanishes meanwhile is not there.
            let Ok(metadata) = entry.metadata() else { continue };
            // Our names are plain; a name that is no text is none of ours.
            let Ok(name) = entry.file_name().into_string() else { continue };
            listed.push(Listed {
                name,
                is_folder: metadata.is_dir(),
                bytes: metadata.len(),
                modified: metadata.modified()?,
            });
        }
        Ok(listed)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Opened>> {
        Ok(Box::new(File::open(path)?))
    }

    fn write_new(&self, path: &Path, parts: &[&[u8]], modified: SystemTime) -> io::Result<()> {
        let mut file = system::private_options().write(true).create_new(true).open(path)?;
        parts.iter().try_for_each(|part| file.write_all(part))?;
        file.set_modified(modified)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn touch(&self, path: &Path, time: SystemTime) -> io::Result<()> {
        File::options().write(true).open(path)?.set_modified(time)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        system::free_bytes(path)
    }

    fn is_private(&self, path: &Path) -> io::Result<bool> {
        system::is_private(path)
    }

    fn stamp(&self, path: &Path) -> io::Result<Stamp> {
        let metadata = fs::metadata(path)?;
        let since = metadata.modified()?.duration_since(SystemTime::UNIX_EPOCH);
        let modified_ns = since.map_or(0, |since| since.as_nanos() as u64);
        Ok(Stamp { bytes: metadata.len(), modified_ns })
    }

    fn read_ahead(&self, path: &Path) -> io::Result<()> {
        system::read_ahead(path)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Locked>>> {
        let mut options = system::private_options();
        let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Opened for File {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read(
        &mut self,
        at: u64,
        bytes: u64,
        buffer: Vec<u8>,
        seen: &mut dyn FnMut(&[u8]),
    ) -> io::Result<Vec<u8>> {
        self.seek(SeekFrom::Start(at))?;
        let bytes = usize::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut read = buffer;
        if read.capacity() < bytes {
            // Most often the system gives it filled with zeros, and it is not written twice.
            read = vec![0; bytes];
        }
        read.resize(bytes, 0);
        let mut end = 0;
        while end < bytes {
            let part = end..bytes.min(end + READ_PART_BYTES);
            match io::Read::read(self, &mut read[part]) {
                // The end, or somebody has cut the file meanwhile.
                Ok(0) => break,
                Ok(count) => {
                    seen(&read[end..end + count]);
                    end += count;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        read.truncate(end);
        Ok(read)
    }
}

impl Locked for File {
    fn read(&mut self, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.seek(SeekFrom::Start(0))?;
        self.take(bytes_max).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.seek(SeekFrom::Start(at))?;
        self.write_all(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::READ_PART_BYTES;

    #[test]
    fn a_buffer_that_was_used_gives_what_the_file_holds_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let held: Vec<u8> = (0..READ_PART_BYTES * 2 + 7).map(|at| at as u8).collect();
        System.write_new(&path, &[&held], SystemTime::now()).unwrap();
        let mut file = System.open(&path).unwrap();
        for (at, asked, capacity) in [
            (0, held.len(), 0),
            (0, held.len() + 9, held.len() * 2),
            (5, 3, held.len()),
            (READ_PART_BYTES, held.len(), 10),
            (held.len(), 4, 4),
            (0, 0, 0),
        ] {
            let expected = &held[at..held.len().min(at + asked)];
            let mut seen: Vec<u8> = Vec::new();
            let buffer = vec![0xff; capacity];
            let read = file.read(at as u64, asked as u64, buffer, &mut |part| seen.extend(part));
            let read = read.unwrap();
            assert!(read == expected && seen == expected, "{asked} bytes from {at} on");
        }
    }
}
