//! Reads headers of models' files before llama.cpp does.
//!
//! Not here: what they say (`planner::gguf`), headers of models that are not loaded (`supervisor`).

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use planner::gguf::{self, HEADER_BYTES_MAX, Header, split};

use crate::limits::HEADER_BYTES_FIRST;

/// The header of this file; of a split model, that of its first part. `None` where it cannot be read:
/// loading will say why.
pub(crate) fn read(path: &Path) -> Option<Header> {
    read_one(path).ok().map(|(header, _)| header)
}

/// A model's file, all parts of a split one.
pub(crate) struct Whole {
    /// The file that llama.cpp is to be given: the first part.
    pub(crate) first: PathBuf,
    /// One header for all parts.
    pub(crate) header: Header,
    /// Length of all parts.
    pub(crate) file_bytes: u64,
}

/// Reads the headers of the model's file and, where its name says that it is a part, of all parts.
///
/// # Errors
/// A message that names the file, the problem and the way out.
pub(crate) fn read_whole(path: &Path) -> Result<Whole, String> {
    let shown = path.display();
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| format!("{shown} has no name in Unicode; rename the file"))?;
    let names = split::names(name).map_err(|error| format!("{shown}: {error}"))?;
    let mut parts = Vec::new();
    let mut file_bytes: u64 = 0;
    for name in &names {
        let (header, bytes) = read_one(&path.with_file_name(name))?;
        parts.push(header);
        file_bytes = file_bytes.saturating_add(bytes);
    }
    let header = split::join(parts).map_err(|error| format!("{shown}: {error}"))?;
    let first = names.first().map_or_else(|| path.to_owned(), |first| path.with_file_name(first));
    Ok(Whole { first, header, file_bytes })
}

/// The header of one file, and the file's length.
fn read_one(path: &Path) -> Result<(Header, u64), String> {
    let unreadable = |error: io::Error| format!("{} cannot be read: {error}", path.display());
    // Before it is opened: to open a named pipe is to wait for whoever writes to it.
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(format!("{} is not a file", path.display()));
    }
    let file_bytes = metadata.len();
    let mut file = File::open(path).map_err(unreadable)?;
    let mut prefix = Vec::new();
    let mut wanted_bytes = HEADER_BYTES_FIRST;
    loop {
        let had_bytes = prefix.len() as u64;
        let more_bytes = wanted_bytes.saturating_sub(had_bytes);
        (&mut file).take(more_bytes).read_to_end(&mut prefix).map_err(unreadable)?;
        let error = match gguf::parse(&prefix, file_bytes) {
            Ok(header) => return Ok((header, file_bytes)),
            Err(error) => error,
        };
        let has_grown = prefix.len() as u64 > had_bytes;
        if let gguf::Error::Incomplete { needed_bytes } = error
            && has_grown
            && had_bytes < HEADER_BYTES_MAX
        {
            wanted_bytes = needed_bytes.max(wanted_bytes * 2).min(HEADER_BYTES_MAX);
        } else {
            return Err(format!("{}: {error}", path.display()));
        }
    }
}
