//! What is asked of the store: passages for a search, files for a person, everything for an export.

use std::{io::Write, path::PathBuf};

use rusqlite::{OptionalExtension, Row, params, types::Type};

use super::{Error, Store, paths, write::pieces};
use crate::{
    chunk::Piece,
    document::{Gap, Place},
    limits::STORE_PAGE_ROWS,
    search,
};

/// A passage with its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its number.
    pub id: u64,
    /// The collection's name.
    pub collection: String,
    /// The file's number.
    pub file: u64,
    /// Where the file is.
    pub path: PathBuf,
    /// What the file is, such as `pdf`.
    pub kind: String,
    /// When the file was changed, in nanoseconds since 1970.
    pub modified_ns: i64,
    /// What the document calls itself.
    pub title: Option<String>,
    /// Which passage of the file, from 0.
    pub ordinal: u32,
    /// What it says.
    pub text: String,
    /// What is embedded before it.
    pub context: String,
    /// The headings that it stands below.
    pub headings: Vec<String>,
    /// Where its text came from.
    pub pieces: Vec<Piece>,
    /// Tokens of what is embedded.
    pub tokens: u32,
}

impl Found {
    /// The exact places of a range of bytes of the text.
    pub fn places(&self, span: std::ops::Range<usize>) -> Vec<Place> {
        crate::chunk::places(&self.pieces, span)
    }
}

/// A file as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its number.
    pub id: u64,
    /// Where it is.
    pub path: PathBuf,
    /// What it is, such as `pdf`.
    pub kind: String,
    /// Bytes.
    pub size: u64,
    /// When it was changed, in nanoseconds since 1970; none where it will be tried again.
    pub modified_ns: Option<i64>,
    /// What it held when it was read.
    pub hash: Option<[u8; 32]>,
    /// How it stands.
    pub state: State,
    /// What could not be read of it.
    pub gaps: Vec<Gap>,
    /// What it calls itself.
    pub title: Option<String>,
    /// How many passages it has.
    pub passages: u32,
}

/// How a file stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It was read; the index does not have all of it yet.
    Stored,
    /// The index has it for good.
    Indexed,
    /// It was not read, for this reason.
    Skipped(String),
}

/// A collection in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Files that were read.
    pub files: u64,
    /// Those of them that the index has for good.
    pub indexed: u64,
    /// Files that were not read.
    pub skipped: u64,
    /// Files of which something could not be read.
    pub with_gaps: u64,
    /// Bytes of the files that were read.
    pub bytes: u64,
    /// Passages.
    pub passages: u64,
    /// Passages that the index has yet to take.
    pub due: u64,
}

const FOUND: &str = "SELECT passages.id, collections.name, files.id, files.path, files.kind, files.modified_ns,
        files.title, passages.ordinal, passages.text, passages.context, passages.headings, passages.pieces,
        passages.tokens
    FROM passages JOIN files ON files.id = passages.file JOIN collections ON collections.id = passages.collection";

const FILE: &str = "SELECT id, path, kind, size, modified_ns, hash, state, reason, gaps, title,
        (SELECT count(*) FROM passages WHERE file = files.id)
    FROM files";

impl Store {
    /// The passages with these numbers, in the order asked; those that are gone are left out.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn passages(&self, ids: &[u64]) -> Result<Vec<Found>, Error> {
        self.read(|reader| {
            let mut query = reader.prepare_cached(&format!("{FOUND} WHERE passages.id = ?"))?;
            let one = |id: &u64| query.query_row([id], found).optional().transpose();
            ids.iter().filter_map(one).collect()
        })
    }

    /// The passages of the same file from `before` ahead of this one to `after` behind it, itself included.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn neighbours(&self, passage: u64, before: u32, after: u32) -> Result<Vec<Found>, Error> {
        self.read(|reader| {
            let mut query = reader.prepare_cached(&format!(
                "{FOUND} JOIN passages AS this ON this.file = passages.file WHERE this.id = ?
                     AND passages.ordinal BETWEEN this.ordinal - ? AND this.ordinal + ? ORDER BY passages.ordinal"
            ))?;
            query.query_map(params![passage, before, after], found)?.collect()
        })
    }

    /// All passages of a file, in order.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn passages_of(&self, file: u64) -> Result<Vec<Found>, Error> {
        self.read(|reader| {
            let mut query = reader.prepare_cached(&format!(
                "{FOUND} WHERE passages.file = ? ORDER BY passages.ordinal"
            ))?;
            query.query_map([file], found)?.collect()
        })
    }

    /// So many passages of a file from this one on, counted from 0, in order.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn passages_in(&self, file: u64, first: u32, limit: u32) -> Result<Vec<Found>, Error> {
        self.read(|reader| {
            let mut query = reader.prepare_cached(&format!(
                "{FOUND} WHERE passages.file = ? AND passages.ordinal >= ? ORDER BY passages.ordinal LIMIT ?"
            ))?;
            query.query_map(params![file, first, limit], found)?.collect()
        })
    }

    /// How many passages a file has.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn passages_count(&self, file: u64) -> Result<u32, Error> {
        self.read(|reader| {
            reader
                .query_row("SELECT count(*) FROM passages WHERE file = ?", [file], |row| row.get(0))
        })
    }

    /// Files of a collection, by number, after this one; as many as one page holds.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn files(&self, collection: u64, after: u64) -> Result<Vec<File>, Error> {
        self.read(|reader| {
            let mut query = reader.prepare_cached(&format!(
                "{FILE} WHERE collection = ? AND id > ? ORDER BY id LIMIT ?"
            ))?;
            query.query_map(params![collection, after, STORE_PAGE_ROWS], file)?.collect()
        })
    }

    /// Files of a collection that were not read, or not all of them, by number, at most `limit`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn files_unread(&self, collection: u64, limit: usize) -> Result<Vec<File>, Error> {
        self.read(|reader| {
            let mut query = reader.prepare_cached(&format!(
                "{FILE} WHERE collection = ? AND (state = 'skipped' OR gaps IS NOT NULL) ORDER BY id LIMIT ?"
            ))?;
            query.query_map(params![collection, limit], file)?.collect()
        })
    }

    /// The file at `path` in a collection.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn file_at(&self, collection: u64, path: &std::path::Path) -> Result<Option<File>, Error> {
        self.read(|reader| {
            let mut query =
                reader.prepare_cached(&format!("{FILE} WHERE collection = ? AND path = ?"))?;
            query.query_row(params![collection, paths::bytes(path)], file).optional()
        })
    }

    /// A collection in numbers.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn counts(&self, collection: u64) -> Result<Counts, Error> {
        self.read(|reader| {
            let files = "SELECT count(*) FILTER (WHERE state <> 'skipped'), count(*) FILTER (WHERE state = 'indexed'),
                    count(*) FILTER (WHERE state = 'skipped'), count(gaps),
                    coalesce(sum(size) FILTER (WHERE state <> 'skipped'), 0)
                FROM files WHERE collection = ?";
            let counts = reader.query_row(files, [collection], |row| {
                Ok(Counts {
                    files: row.get(0)?,
                    indexed: row.get(1)?,
                    skipped: row.get(2)?,
                    with_gaps: row.get(3)?,
                    bytes: row.get(4)?,
                    ..Counts::default()
                })
            })?;
            let passages = "SELECT count(*) FROM passages WHERE collection = ?";
            let due = "SELECT count(*) FROM passages WHERE due = 1 AND collection = ?";
            let number = |query| reader.query_row(query, [collection], |row| row.get(0));
            Ok(Counts { passages: number(passages)?, due: number(due)?, ..counts })
        })
    }

    /// The numbers of passages of a collection that the index is said to have, ascending, above `after`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn indexed_ids(
        &self,
        collection: u64,
        after: u64,
        limit: usize,
    ) -> Result<Vec<u64>, Error> {
        self.read(|reader| {
            let mut query = reader.prepare_cached(
                "SELECT id FROM passages WHERE collection = ? AND due = 0 AND id > ? ORDER BY id LIMIT ?",
            )?;
            query.query_map(params![collection, after, limit], |row| row.get(0))?.collect()
        })
    }

    /// Those of these numbers of passages that the store does not have, of any collection.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn unknown_ids(&self, ids: &[u64]) -> Result<Vec<u64>, Error> {
        self.read(|reader| {
            let mut query =
                reader.prepare_cached("SELECT EXISTS (SELECT 1 FROM passages WHERE id = ?)")?;
            let mut unknown = Vec::new();
            for id in ids {
                if !query.query_row([id], |row| row.get::<_, bool>(0))? {
                    unknown.push(*id);
                }
            }
            Ok(unknown)
        })
    }

    /// Writes a collection as lines of JSON: each file, and after it its passages with the exact places they came from.
    /// Says how many lines there are.
    ///
    /// # Errors
    /// When it cannot be read, or `out` takes no more.
    pub fn export(&self, collection: u64, out: &mut dyn Write) -> Result<u64, Error> {
        let mut lines = 0;
        let mut after = 0;
        loop {
            let files = self.files(collection, after)?;
            let Some(last) = files.last() else { return Ok(lines) };
            after = last.id;
            for file in &files {
                let line = file_line(file);
                writeln!(out, "{line}").map_err(Error::Export)?;
                lines += 1;
                for passage in self.passages_of(file.id)? {
                    let line = passage_line(&passage);
                    writeln!(out, "{line}").map_err(Error::Export)?;
                    lines += 1;
                }
            }
        }
    }
}

impl search::Passages for Store {
    fn load(&self, ids: &[u64]) -> Result<Vec<search::Passage>, search::Failed> {
        let found = self.passages(ids).map_err(failed)?;
        Ok(found.into_iter().map(searched).collect())
    }

    fn neighbours(
        &self,
        id: u64,
        before: u32,
        after: u32,
    ) -> Result<Vec<search::Passage>, search::Failed> {
        let found = Store::neighbours(self, id, before, after).map_err(failed)?;
        Ok(found.into_iter().filter(|found| found.id != id).map(searched).collect())
    }
}

fn failed(error: Error) -> search::Failed {
    search::Failed(error.to_string())
}

fn searched(found: Found) -> search::Passage {
    let text = crate::chunk::embedded(&found.context, &found.text);
    search::Passage { id: found.id, file: found.file, path: paths::label(&found.path), text }
}

fn file_line(file: &File) -> serde_json::Value {
    let (state, reason) = match &file.state {
        State::Stored => ("stored", None),
        State::Indexed => ("indexed", None),
        State::Skipped(reason) => ("skipped", Some(reason)),
    };
    // A name that is no text is told as text as far as it is, and exactly as bytes.
    let bytes = file.path.to_str().is_none().then(|| hexadecimal(&paths::bytes(&file.path)));
    serde_json::json!({
        "file": file.id,
        "path": file.path.to_string_lossy(),
        "path_bytes": bytes,
        "kind": file.kind,
        "size": file.size,
        "modified_ns": file.modified_ns,
        "blake3": file.hash.map(|hash| hexadecimal(&hash)),
        "state": state,
        "reason": reason,
        "title": file.title,
        "gaps": file.gaps,
        "passages": file.passages,
    })
}

fn passage_line(passage: &Found) -> serde_json::Value {
    serde_json::json!({
        "passage": passage.id,
        "file": passage.file,
        "ordinal": passage.ordinal,
        "headings": passage.headings,
        "text": passage.text,
        "tokens": passage.tokens,
        "pieces": passage.pieces,
    })
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn found(row: &Row<'_>) -> rusqlite::Result<Found> {
    Ok(Found {
        id: row.get(0)?,
        collection: row.get(1)?,
        file: row.get(2)?,
        path: paths::path(row.get(3)?),
        kind: row.get(4)?,
        modified_ns: row.get(5)?,
        title: row.get(6)?,
        ordinal: row.get(7)?,
        text: row.get(8)?,
        context: row.get(9)?,
        headings: json(row, 10)?,
        pieces: pieces(row, 11)?,
        tokens: row.get(12)?,
    })
}

fn file(row: &Row<'_>) -> rusqlite::Result<File> {
    let state: String = row.get(6)?;
    let reason: Option<String> = row.get(7)?;
    let state = match state.as_str() {
        "indexed" => State::Indexed,
        "skipped" => State::Skipped(reason.unwrap_or_default()),
        _ => State::Stored,
    };
    let modified_ns: i64 = row.get(4)?;
    let has_gaps = row.get::<_, Option<String>>(8)?.is_some();
    Ok(File {
        id: row.get(0)?,
        path: paths::path(row.get(1)?),
        kind: row.get(2)?,
        size: row.get(3)?,
        modified_ns: (modified_ns != i64::MIN).then_some(modified_ns),
        hash: row.get(5)?,
        state,
        gaps: if has_gaps { json(row, 8)? } else { Vec::new() },
        title: row.get(9)?,
        passages: row.get(10)?,
    })
}

fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
    })
}
