//! Which segments an index has, and what of them is gone.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::{Error, files};

const FILE_NAME: &str = "manifest";
/// What the names of segments end with.
const EXTENSION: &str = "segment";

/// See the module.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// The number of the next segment. None is used twice.
    pub(super) next: u64,
    pub(super) parts: Vec<Entry>,
}

/// A segment.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) number: u64,
    /// Rows, ascending.
    pub(super) gone: Vec<u32>,
}

impl Manifest {
    pub(super) fn of<'a>(next: u64, parts: impl Iterator<Item = (u64, &'a Gone)>) -> Self {
        let parts = parts.map(|(number, gone)| Entry { number, gone: gone.rows() });
        Self { next, parts: parts.collect() }
    }

    /// That of an index; an empty one where there is none.
    pub(super) fn read(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(FILE_NAME);
        match fs::read(&path) {
            Ok(bytes) => rmp_serde::from_slice(&bytes).map_err(|error| Error::Damaged {
                path: folder.to_owned(),
                why: format!("its manifest cannot be read: {error}"),
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Error::file("read", &path, error)),
        }
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), Error> {
        let bytes = rmp_serde::to_vec(self)
            .map_err(|error| Error::Engine { what: "write itself", why: error.to_string() })?;
        files::write_whole(&folder.join(FILE_NAME), &bytes)
    }

    /// Removes segments that are no part of it: those that were joined, and those of a process that ended before it
    /// noted them. What cannot be removed now is the next time.
    pub(super) fn remove_others(&self, folder: &Path) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let is_segment = path.extension().is_some_and(|extension| extension == EXTENSION);
            let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
            let is_part = |number| self.parts.iter().any(|entry| entry.number == number);
            let is_beside = path.extension().is_some_and(|extension| extension == "new");
            if is_beside || (is_segment && !number.is_some_and(is_part)) {
                drop(fs::remove_file(&path));
            }
        }
    }
}

/// What a segment's file is called.
pub(super) fn file_name(number: u64) -> String {
    format!("{number}.{EXTENSION}")
}

/// Rows of a segment that are there no more.
#[derive(Debug, Clone, Default)]
pub(super) struct Gone {
    /// A bit for each row.
    words: Vec<u64>,
    count: usize,
}

impl Gone {
    pub(super) fn none(rows: usize) -> Self {
        Self { words: vec![0; rows.div_ceil(64)], count: 0 }
    }

    /// These of so many rows, or nothing where one is not among them.
    pub(super) fn of(rows: usize, gone: &[u32]) -> Option<Self> {
        let mut all = Self::none(rows);
        gone.iter().all(|row| (*row as usize) < rows).then(|| {
            gone.iter().for_each(|row| all.insert(*row as usize));
            all
        })
    }

    pub(super) fn insert(&mut self, row: usize) {
        let bit = 1 << (row % 64);
        self.count += usize::from(self.words[row / 64] & bit == 0);
        self.words[row / 64] |= bit;
    }

    pub(super) fn contains(&self, row: usize) -> bool {
        self.words[row / 64] & (1 << (row % 64)) != 0
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// They, ascending.
    fn rows(&self) -> Vec<u32> {
        let rows = 0..u32::try_from(self.words.len() * 64).unwrap_or(u32::MAX);
        rows.filter(|row| self.contains(*row as usize)).collect()
    }
}
