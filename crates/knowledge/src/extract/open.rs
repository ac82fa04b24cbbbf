//! Opens a file that a stranger may have put there: a regular one or none.

use std::{
    fs::{File, Metadata},
    io::ErrorKind,
    path::Path,
    time::SystemTime,
};

use super::Error;

/// An open file, and what it was like then.
pub(crate) struct Opened {
    pub(crate) file: File,
    pub(crate) bytes: u64,
    modified: Option<SystemTime>,
}

impl Opened {
    /// Opens it without following a link at the last step and without waiting for whoever is at the other end.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        // Opening alone does something to some devices, so they are told apart before; after it only what is open counts.
        let before = std::fs::symlink_metadata(path).map_err(|error| refused(&error))?;
        check(&before)?;
        let file = open_without_waiting(path).map_err(|error| refused(&error))?;
        let metadata = file.metadata().map_err(|error| refused(&error))?;
        check(&metadata)?;
        Ok(Self { bytes: metadata.len(), modified: metadata.modified().ok(), file })
    }

    /// Whether it still has the size and the time that it had when it was opened. Its name may be another's by now.
    pub(crate) fn is_unchanged(&self) -> bool {
        let now = self.file.metadata();
        now.is_ok_and(|now| now.len() == self.bytes && now.modified().ok() == self.modified)
    }
}

#[cfg(unix)]
fn open_without_waiting(path: &Path) -> std::io::Result<File> {
    use rustix::fs::{Mode, OFlags, open};
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    Ok(File::from(open(path, flags, Mode::empty())?))
}

#[cfg(not(unix))]
fn open_without_waiting(path: &Path) -> std::io::Result<File> {
    File::open(path)
}

fn check(metadata: &Metadata) -> Result<(), Error> {
    if metadata.is_file() { Ok(()) } else { Err(Error::NotRegular(what_else(metadata).to_owned())) }
}

fn what_else(metadata: &Metadata) -> &'static str {
    if metadata.is_dir() {
        return "it is a folder";
    }
    if metadata.is_symlink() {
        return "it is a symbolic link";
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        let kind = metadata.file_type();
        if kind.is_fifo() {
            return "it is a pipe";
        }
        if kind.is_socket() {
            return "it is a socket";
        }
        if kind.is_block_device() || kind.is_char_device() {
            return "it is a device";
        }
    }
    "it is a special file"
}

fn refused(error: &std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Error::Vanished,
        // Links in a circle, or one that took the file's place between the two looks.
        #[cfg(unix)]
        _ if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            Error::NotRegular("it is a symbolic link".to_owned())
        }
        _ => Error::system("open the file", error),
    }
}
