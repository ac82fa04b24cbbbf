//! Every bound of what is read from elsewhere, with its reason.

use std::time::Duration;

/// Everything that one question may download, lists and headers together. A vocabulary of 260,000
/// tokens with its merges makes a header of some 12 MB; nothing honest needs more than this.
pub const DOWNLOAD_BYTES_MAX: u64 = 20_000_000;

/// What is asked for first of a file with a vocabulary. Headers have 1 to 12 MB, so that less would
/// cost most models another round trip.
pub const FIRST_BYTES: u64 = 1 << 20;

/// What is asked for first of the further parts of a split model, which hold a table of some hundred
/// tensors at a hundred bytes each, and no vocabulary.
pub const FIRST_BYTES_OF_FURTHER_PARTS: u64 = 64 << 10;

/// A request asks for as much again as is there, but for no more than this: so much may be read in
/// vain behind the end of the header.
pub const STEP_BYTES_MAX: u64 = 4 << 20;

/// To connect, with the TLS handshake. A server on the other side of the world takes a second.
pub const CONNECT_WAIT_MAX: Duration = Duration::from_secs(10);

/// Silence of a server before it counts as stalled. Busy ones take some seconds to their first byte.
pub const SILENCE_MAX: Duration = Duration::from_secs(30);

/// For one question in all. A server that sends a byte now and then is never silent, so silence
/// alone bounds nothing; a line of 1 Mbit/s takes under three minutes for the most there is to read.
pub const WHOLE_WAIT_MAX: Duration = Duration::from_secs(300);

/// Redirects of one request. Hugging Face needs one, for the server that has the file.
pub const REDIRECTS_MAX: usize = 5;

/// Pages of a list of files, each of a thousand; repositories of models have under a hundred files.
pub const LIST_PAGES_MAX: usize = 4;

/// Bytes of one page of such a list; a thousand files make about 400 kB.
pub const LIST_BYTES_MAX: u64 = 4 << 20;

/// Characters of a model's name. Ollama allows 350 for a server and 80 for each further part; a file's name has
/// room for 255, in which a slash takes three.
pub const NAME_CHARACTERS_MAX: usize = 200;

/// Bytes of a manifest. Licences are its greatest part, some tens of kilobytes each; what was said before the
/// first request may be a document.
pub const MANIFEST_BYTES_MAX: u64 = 16 << 20;

/// Models of one library. The folder is listed whenever somebody asks for them.
pub const MANIFESTS_MAX: usize = 10_000;

/// Files of one model. The greatest open models come in some two hundred parts.
pub const FILES_MAX: usize = 4096;

/// Bytes of a file's name on every system that matters.
pub const FILE_NAME_BYTES_MAX: usize = 255;

/// What is read or written of a file at once: enough that the system is not asked for every page.
pub const PIECE_BYTES: usize = 1 << 20;

/// How long a blob that no model names is kept: a client that uploads one makes the model of it within hours,
/// and a pull has its manifest within a second of its last file.
pub const GRACE: Duration = Duration::from_secs(24 * 60 * 60);
