//! The folder of the KV cache from outside: its files, and what `resident cache stats` says of it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::hub::binary;

/// Files by path, with their bytes.
pub(crate) type Files = HashMap<PathBuf, u64>;

/// All files below a folder.
pub(crate) fn files(folder: &Path) -> Files {
    let mut found = Files::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    // What vanishes while it is looked at is not there.
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(_) => found.extend(entry.metadata().ok().map(|about| (entry.path(), about.len()))),
            Err(_) => {}
        }
    }
    found
}

/// The entries among them: how many, and their bytes.
pub(crate) fn entries(files: &Files) -> (u64, u64) {
    let bytes = files.iter().filter(|(path, _)| is_entry(path)).map(|(_, bytes)| bytes);
    (bytes.clone().count() as u64, bytes.sum())
}

pub(crate) fn is_entry(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "kv")
}

/// A file that somebody is writing, or was writing when he died.
#[cfg(target_os = "linux")]
pub(crate) fn is_half_made(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "tmp")
}

/// Entries and bytes by the word of `resident cache stats`, which must be what the folder holds.
#[track_caller]
pub(crate) fn assert_consistent(config: &Path, folder: &Path) -> (u64, u64) {
    let output = Command::new(binary("resident"))
        .args(["cache", "stats", "--json", "--config"])
        .arg(config)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let held = entries(&files(folder));
    assert_eq!((said["entries"].as_u64(), said["bytes"].as_u64()), (Some(held.0), Some(held.1)));
    held
}
