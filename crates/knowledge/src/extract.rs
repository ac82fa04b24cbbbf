//! What one file says, read in a process of its own: [`Extractor`] is the parent's side, [`child`] the other one.
//!
//! Files are strangers'. Limits inside the readers of formats are not enough (a megabyte of PDF can end a process by its
//! stack alone), so every file is read by a short-lived child of the same program, with bounds on processor time,
//! memory, time and output, and whatever happens to it costs this one file. Text keeps its place: for formats in which
//! text is stored as such every part says which bytes of the file hold it ([`crate::document::Place`]), and
//! [`Extractor::locate`] reads the file again and proves a quote. Not here: which files there are, and passages.

mod archive;
mod child;
mod code;
mod collect;
mod csv;
mod decode;
mod epub;
mod html;
mod kind;
mod locate;
mod mail;
mod markdown;
mod ocr;
mod open;
mod parent;
mod pdf;
mod plain;
mod presentation;
mod read;
mod rows;
mod sheet;
mod spelled;
mod subtitles;
mod word;
mod xml;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::{
    child::child,
    kind::Kind,
    locate::Located,
    ocr::{Ocr, fill_gaps},
    parent::{Extracted, Extractor},
    read::{extract, locate},
};
use crate::limits;

/// What reading one file may cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory of the reading process, in bytes: of its address space where the system can bound that, and of what is
    /// resident everywhere.
    pub memory_bytes: u64,
    /// Its processor time, in seconds.
    pub cpu_seconds: u64,
    /// Its time on the clock.
    pub wall: Duration,
    /// Text that is kept of a file, in bytes; what is longer becomes a gap.
    pub text_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: limits::CHILD_MEMORY_BYTES,
            cpu_seconds: limits::CHILD_CPU_SECONDS,
            wall: limits::CHILD_WALL,
            text_bytes: limits::DOCUMENT_TEXT_BYTES,
        }
    }
}

/// Why a file was not read. The words are for a person and do not name the file, which the caller knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Error {
    /// It is gone, or was never there.
    #[error("the file is not there any more")]
    Vanished,
    /// Something wrote to it while it was read.
    #[error("the file changed while it was read; it is read again later")]
    Changed,
    /// The caller's flag.
    #[error("stopped before the file was read")]
    Stopped,
    /// A folder, symbolic link, pipe, socket or device.
    #[error("{0}, and only regular files are read")]
    NotRegular(String),
    /// It holds no text that can be read; the words say what it is.
    #[error("not text: {0}")]
    NotText(String),
    /// Larger than what is read of its kind.
    #[error("{bytes} bytes are more than the {bytes_max} that are read of a {kind} file")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The most of its kind.
        bytes_max: u64,
        /// Its kind, such as `pdf`.
        kind: String,
    },
    /// It asks for a password.
    #[error("it is encrypted; save a copy without a password")]
    Encrypted,
    /// Its own structure does not hold together.
    #[error("damaged: {0}")]
    Damaged(String),
    /// It is made so that reading it costs far more than its size, whether meant so or not.
    #[error("refused: {0}")]
    Bomb(String),
    /// The reading process took more memory than it may.
    #[error("reading it takes more than {bytes_max} bytes of memory")]
    Memory {
        /// What it may take.
        bytes_max: u64,
    },
    /// The reading process took longer than it may.
    #[error("reading it takes more than {seconds_max} seconds{of}")]
    Time {
        /// What it may take.
        seconds_max: u64,
        /// ` of processor time`, or nothing for time on the clock.
        of: String,
    },
    /// The reading process ended by itself, and not well.
    #[error("its reader crashed: {0}")]
    Crashed(String),
    /// The reading process wrote more than it may, or what is no answer.
    #[error("its reader gave no answer: {0}")]
    NoAnswer(String),
    /// The quote is not at the place. The file has changed since, or the quote was never there.
    #[error("the quote is not at its place in the file")]
    NotThere,
    /// The quote is empty or longer than what is looked for.
    #[error("a quote of {bytes} bytes cannot be looked for; it may have 1 to {bytes_max}")]
    Quote {
        /// Its size.
        bytes: usize,
        /// The most.
        bytes_max: usize,
    },
    /// The system refused; with its words.
    #[error("cannot {doing}: {error}")]
    System {
        /// What was tried, such as `open the file`.
        doing: String,
        /// What the system said.
        error: String,
    },
}

impl Error {
    /// Whether the same file may be read another time without having changed first.
    #[must_use]
    pub fn again(&self) -> bool {
        match self {
            Self::Vanished | Self::Changed | Self::Stopped | Self::System { .. } => true,
            Self::NotRegular(_)
            | Self::NotText(_)
            | Self::TooLarge { .. }
            | Self::Encrypted
            | Self::Damaged(_)
            | Self::Bomb(_)
            | Self::Memory { .. }
            | Self::Time { .. }
            | Self::Crashed(_)
            | Self::NoAnswer(_)
            | Self::NotThere
            | Self::Quote { .. } => false,
        }
    }

    fn system(doing: &str, error: &std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::OutOfMemory {
            // How much it was is known where the limits are.
            return Self::Memory { bytes_max: 0 };
        }
        Self::System { doing: doing.to_owned(), error: error.to_string() }
    }
}
