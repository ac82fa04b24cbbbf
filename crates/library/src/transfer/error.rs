//! Why a file does not come, each with the way out.

use std::{io, path::Path};

use crate::{digest::Sha256, outside};

/// Why a file did not come. What came of it is kept, and the next pull goes on from there.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No address has it, or none could ever be reached.
    #[error(transparent)]
    Outside(#[from] outside::Error),
    /// Nobody says where it is.
    #[error("{name}: there is no address to get it from; check the source")]
    Nowhere {
        /// The file.
        name: String,
    },
    /// A server's answers contradict themselves or the source.
    #[error("{name}: {url}: {what}; get it from another source")]
    Lies {
        /// The file.
        name: String,
        /// The address.
        url: String,
        /// What cannot be.
        what: String,
    },
    /// The content is another one than the source says.
    #[error(
        "{name}: its content hashes to {found} and not to {expected}, also where each address was asked for all of it once more; get it from another source"
    )]
    Digest {
        /// The file.
        name: String,
        /// What the source says.
        expected: Sha256,
        /// What came.
        found: Sha256,
    },
    /// The file changes faster than it comes.
    #[error("{name}: it changed {times} times while it came; try again later")]
    Changing {
        /// The file.
        name: String,
        /// How often.
        times: u32,
    },
    /// There is no room for it.
    #[error(
        "{name}: it needs {needed_bytes} bytes more, and {folder} has {free_bytes} free; free some, or move models_dir"
    )]
    Space {
        /// The file.
        name: String,
        /// What is missing of it, with what stays free besides.
        needed_bytes: u64,
        /// What the disk has.
        free_bytes: u64,
        /// Where.
        folder: String,
    },
    /// The disk filled up meanwhile.
    #[error("{path}: the disk is full; free some space and pull again, which goes on from there")]
    Full {
        /// What was written.
        path: String,
    },
    /// The disk, or its permissions.
    #[error("{path}: {why}; check the disk and the permissions, and pull again")]
    Disk {
        /// What was read or written.
        path: String,
        /// What the system says.
        why: String,
    },
    /// Somebody else pulled it meanwhile, and the library has it.
    #[error("{name}: another pull of it has brought it into the library as {digest}")]
    Taken {
        /// The file.
        name: String,
        /// What it hashes to.
        digest: Sha256,
        /// Its length.
        bytes: u64,
    },
}

/// What a failed operation on `path` means.
pub(super) fn of_disk(path: &Path, error: &io::Error) -> Error {
    let path = path.display().to_string();
    let is_full = matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    );
    if is_full { Error::Full { path } } else { Error::Disk { path, why: error.to_string() } }
}
