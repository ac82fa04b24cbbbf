//! What can go wrong with models of this machine, each with the way out.

use std::{io, path::PathBuf};

use crate::{digest::Sha256, name::Name};

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system said no.
    #[error("cannot {what} {}: {error}", path.display())]
    Io {
        /// What was tried: `read`, `rename`.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// No model has this name.
    #[error(
        "there is no model '{name}' in the library; `resident ls` lists them, and `resident pull` gets one"
    )]
    NoModel {
        /// The name.
        name: Name,
    },
    /// A name that another one has but for its capitals.
    #[error(
        "'{name}' differs from the model '{other}' in capitals alone, which some file systems take for one; choose another name, or remove '{other}'"
    )]
    Capitals {
        /// The new name.
        name: Name,
        /// The one that is there.
        other: Name,
    },
    /// A manifest that cannot be.
    #[error("model '{name}': {why}")]
    Manifest {
        /// Its name.
        name: Name,
        /// What is wrong with it.
        why: String,
    },
    /// A file that the store should have.
    #[error(
        "model '{name}' needs {file} ({digest}), which is not in the library; pull or upload it again"
    )]
    NoBlob {
        /// The model.
        name: Name,
        /// What the file is called.
        file: String,
        /// Its content.
        digest: Sha256,
    },
    /// Nothing that a model could be made from.
    #[error(
        "FROM '{text}' is no file, and no model of this machine; get it first, as with `resident pull ollama:{text}`, or give the path of a GGUF file"
    )]
    From {
        /// What was written.
        text: String,
    },
    /// A file that a model cannot be made from.
    #[error("{}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and the way out.
        why: String,
    },
    /// Content that is not what it was said to be.
    #[error(
        "the content has the digest {found} and should have {expected}; it was damaged on its way, send it again"
    )]
    Digest {
        /// What was said.
        expected: Sha256,
        /// What came.
        found: Sha256,
    },
    /// Several parts that cannot be put side by side.
    #[error("model '{name}' has several parts, which must lie side by side, and {} knows neither hard nor symbolic links: {error}; move the models folder to another file system", path.display())]
    NoLinks {
        /// The model.
        name: Name,
        /// Where the link should be.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// [`Error::Io`] of what was tried with a path.
pub(super) fn io(what: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |error| Error::Io { what, path, error }
}
