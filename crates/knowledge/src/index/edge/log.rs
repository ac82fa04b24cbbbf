//! The engine's write-ahead log, which it writes, never cuts, and does not read when it is opened.
//!
//! It consists of files `closed-N`, where N is the number of the first change in it, and one that is written to. The
//! newest of the closed ones stays, since the engine counts its changes on from there, and would take changes with
//! lower numbers for old ones.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::index::Error;

/// How many bytes [`cut`] would free.
pub(super) fn cuttable_bytes(folder: &Path) -> u64 {
    let files = cuttable(folder).unwrap_or_default();
    files.iter().filter_map(|path| fs::metadata(path).ok()).map(|metadata| metadata.len()).sum()
}

/// Removes the closed files but for the newest. The engine must be closed.
pub(super) fn cut(folder: &Path) -> Result<(), Error> {
    for path in cuttable(folder)? {
        fs::remove_file(&path).map_err(|error| Error::file("remove", &path, error))?;
    }
    Ok(())
}

/// The closed files but for the newest, oldest first, so that what is left after a crash has no hole.
fn cuttable(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let wal = folder.join("wal");
    let entries = match fs::read_dir(&wal) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file("list", &wal, error)),
    };
    let mut closed = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| Error::file("list", &wal, error))?;
        let name = entry.file_name();
        let first = name
            .to_str()
            .and_then(|name| name.strip_prefix("closed-"))
            .and_then(|first| first.parse().ok());
        if let Some(first) = first {
            closed.push((first, entry.path()));
        }
    }
    closed.sort_unstable_by_key(|&(first, _): &(u64, PathBuf)| first);
    closed.pop();
    Ok(closed.into_iter().map(|(_, path)| path).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_the_newest_closed_file_go() {
        let folder = tempfile::tempdir().unwrap();
        let wal = folder.path().join("wal");
        assert_eq!(cuttable_bytes(folder.path()), 0, "nothing is there");
        fs::create_dir(&wal).unwrap();
        for name in ["closed-9", "closed-10", "closed-100", "open-3", "first-index"] {
            fs::write(wal.join(name), "12345678").unwrap();
        }
        assert_eq!(cuttable_bytes(folder.path()), 16);
        cut(folder.path()).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(&wal).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["closed-100", "first-index", "open-3"]);
    }
}
