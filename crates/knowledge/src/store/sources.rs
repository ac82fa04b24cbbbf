//! Collections, where their files come from, and how their work stands.

use std::path::{Path, PathBuf};

use rusqlite::{OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use super::{Error, Store, paths};
use crate::limits::COLLECTION_NAME_CHARACTERS_MAX;

/// A named set of files that are searched together and embedded by one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Name and dimension of the embedder; none as long as passages are found by their words alone.
    pub embedder: Option<(String, u32)>,
    /// Changes whenever the embedder does.
    pub generation: u64,
}

/// Where files of a collection come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its number.
    pub id: u64,
    /// What it is.
    pub kind: Kind,
    /// The folder, the file, or the name of what came by standard input.
    pub path: PathBuf,
    /// Files must match one of these globs, if there are any.
    pub include: Vec<String>,
    /// Files and folders that match one of these globs are left out.
    pub exclude: Vec<String>,
    /// Whether names that begin with a dot are read too.
    pub hidden: bool,
}

/// What a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A folder and all below it.
    Folder,
    /// One file.
    File,
    /// What came by standard input, kept in the store.
    Text,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Folder => "folder",
            Kind::File => "file",
            Kind::Text => "text",
        }
    }
}

/// What is being done for a collection, or was done last.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Job {
    /// How it stands.
    pub state: JobState,
    /// Files that were to be read.
    pub files: u64,
    /// Files that are done with.
    pub files_done: u64,
    /// Bytes of the files that were to be read.
    pub bytes: u64,
    /// Bytes of the files that are done with.
    pub bytes_done: u64,
    /// Passages that have reached the index.
    pub passages: u64,
    /// Why it ended, if not because it was done.
    pub error: Option<String>,
}

/// How a job stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Nothing was ever done.
    #[default]
    Idle,
    /// It runs, or its process ended without a word.
    Running,
    /// Somebody holds it.
    Paused,
    /// It was stopped, and goes on from there.
    Stopped,
    /// Everything is in step.
    Done,
    /// It ended with an error.
    Failed,
}

impl Store {
    /// The collection `name`; makes an empty one where there is none.
    ///
    /// # Errors
    /// When it cannot be written, or a collection cannot be called so.
    pub fn collection_or_new(&self, name: &str) -> Result<Collection, Error> {
        check_name(name)?;
        self.write(|transaction| {
            transaction.execute(
                "INSERT INTO collections (name) VALUES (?) ON CONFLICT DO NOTHING",
                [name],
            )?;
            transaction.query_row(&format!("{COLLECTION} WHERE name = ?"), [name], collection)
        })
    }

    /// The collection `name`.
    ///
    /// # Errors
    /// When there is none.
    pub fn collection(&self, name: &str) -> Result<Collection, Error> {
        let found = self.read(|reader| {
            reader.query_row(&format!("{COLLECTION} WHERE name = ?"), [name], collection).optional()
        })?;
        match found {
            Some(found) => Ok(found),
            None => {
                let known: Vec<String> =
                    self.collections()?.into_iter().map(|collection| collection.name).collect();
                let known = if known.is_empty() { "none yet".to_owned() } else { known.join(", ") };
                Err(Error::NoCollection { name: name.to_owned(), known })
            }
        }
    }

    /// All collections, by name.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn collections(&self) -> Result<Vec<Collection>, Error> {
        self.read(|reader| {
            let mut query = reader.prepare_cached(&format!("{COLLECTION} ORDER BY name"))?;
            query.query_map([], collection)?.collect()
        })
    }

    /// Removes a collection with all that was read for it. The numbers of its passages are kept until the index has
    /// forgotten them, if it outlives the collection.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn remove_collection(&self, collection: u64) -> Result<(), Error> {
        self.write(|transaction| {
            super::write::remove_where(transaction, "collection = ?1", params![collection])?;
            transaction.execute("DELETE FROM collections WHERE id = ?", [collection])?;
            Ok(())
        })
    }

    /// Who embeds the collection from now on, if nobody did.
    ///
    /// # Errors
    /// [`Error::OtherEmbedder`] when somebody else does.
    pub fn embedded_by(
        &self,
        collection: &Collection,
        embedder: Option<(&str, u32)>,
    ) -> Result<(), Error> {
        let asked = embedder.map(|(name, dimension)| (name.to_owned(), dimension));
        if collection.embedder == asked {
            return Ok(());
        }
        // A collection of which nothing was read yet takes any.
        let taken = self.write(|transaction| {
            transaction.execute(
                "UPDATE collections SET embedder = ?2, dimension = ?3
                 WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM passages WHERE collection = ?1)",
                params![
                    collection.id,
                    asked.as_ref().map(|(name, _)| name),
                    asked.as_ref().map(|(_, of)| of)
                ],
            )
        })?;
        if taken == 1 {
            return Ok(());
        }
        let shown = |embedder: &Option<(String, u32)>| match embedder {
            Some((name, dimension)) => format!("{name} ({dimension} dimensions)"),
            None => "nobody (words alone)".to_owned(),
        };
        Err(Error::OtherEmbedder {
            collection: collection.name.clone(),
            has: shown(&collection.embedder),
            asked: shown(&asked),
        })
    }

    /// Gives the collection another embedder, or the same once more: all its files count as cut for an earlier one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn embed_anew(&self, collection: u64, embedder: Option<(&str, u32)>) -> Result<(), Error> {
        self.write(|transaction| {
            transaction.execute(
                "UPDATE collections SET embedder = ?2, dimension = ?3, generation = generation + 1 WHERE id = ?1",
                params![collection, embedder.map(|(name, _)| name), embedder.map(|(_, dimension)| dimension)],
            )?;
            Ok(())
        })
    }

    /// Adds a folder or file, or changes its globs. A folder must not be inside another of the same collection.
    ///
    /// # Errors
    /// [`Error::Overlaps`], and when it cannot be written.
    pub fn add_source(&self, collection: &Collection, source: &Source) -> Result<u64, Error> {
        let same = |known: &Source| known.path == source.path;
        let overlaps = |known: &&Source| {
            !same(known)
                && known.kind != Kind::Text
                && source.kind != Kind::Text
                && (known.path.starts_with(&source.path) || source.path.starts_with(&known.path))
        };
        if let Some(other) = self.sources(collection.id)?.iter().find(overlaps) {
            return Err(Error::Overlaps {
                collection: collection.name.clone(),
                path: source.path.clone(),
                other: other.path.clone(),
            });
        }
        self.put_source(collection.id, source, None)
    }

    /// Keeps what came by standard input under a name, in place of what had that name.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add_text(
        &self,
        collection: &Collection,
        name: &Path,
        content: &[u8],
        added_ns: i64,
    ) -> Result<u64, Error> {
        let source = Source {
            id: 0,
            kind: Kind::Text,
            path: name.to_owned(),
            include: Vec::new(),
            exclude: Vec::new(),
            hidden: false,
        };
        self.put_source(collection.id, &source, Some((content, added_ns)))
    }

    fn put_source(
        &self,
        collection: u64,
        source: &Source,
        content: Option<(&[u8], i64)>,
    ) -> Result<u64, Error> {
        let list = |globs: &[String]| serde_json::json!(globs).to_string();
        self.write(|transaction| {
            transaction.query_row(
                "INSERT INTO sources (collection, kind, path, include, exclude, hidden, content,
                     added_ns)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)
                 ON CONFLICT DO UPDATE SET kind = excluded.kind, include = excluded.include,
                     exclude = excluded.exclude, hidden = excluded.hidden, content = excluded.content,
                     added_ns = excluded.added_ns
                 RETURNING id",
                params![
                    collection,
                    source.kind.word(),
                    paths::bytes(&source.path),
                    list(&source.include),
                    list(&source.exclude),
                    source.hidden,
                    content.map(|(content, _)| content),
                    content.map(|(_, added_ns)| added_ns),
                ],
                |row| row.get(0),
            )
        })
    }

    /// The sources of a collection, in the order in which they were added.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn sources(&self, collection: u64) -> Result<Vec<Source>, Error> {
        self.read(|reader| {
            let mut query = reader.prepare_cached(
                "SELECT id, kind, path, include, exclude, hidden FROM sources WHERE collection = ? ORDER BY id",
            )?;
            query.query_map([collection], source)?.collect()
        })
    }

    /// What came by standard input for this source, and when, in nanoseconds since 1970.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn text(&self, source: u64) -> Result<(Vec<u8>, i64), Error> {
        self.read(|reader| {
            let content =
                "SELECT coalesce(content, x''), coalesce(added_ns, 0) FROM sources WHERE id = ?";
            reader.query_row(content, [source], |row| Ok((row.get(0)?, row.get(1)?)))
        })
    }

    /// Removes a source with all that was read of it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn remove_source(&self, source: u64) -> Result<(), Error> {
        self.write(|transaction| {
            super::write::remove_where(transaction, "source = ?1", params![source])?;
            transaction.execute("DELETE FROM sources WHERE id = ?", [source])?;
            Ok(())
        })
    }

    /// How the work of a collection stands.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn job(&self, collection: u64) -> Result<Job, Error> {
        let text: String = self.read(|reader| {
            reader.query_row("SELECT job FROM collections WHERE id = ?", [collection], |row| {
                row.get(0)
            })
        })?;
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    /// Notes how the work of a collection stands.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_job(&self, collection: u64, job: &Job) -> Result<(), Error> {
        let text = serde_json::json!(job).to_string();
        self.write_lightly(|transaction| {
            transaction.execute(
                "UPDATE collections SET job = ? WHERE id = ?",
                params![text, collection],
            )?;
            Ok(())
        })
    }
}

/// A name goes into lists, addresses and names of models such as `daily+notes`.
fn check_name(name: &str) -> Result<(), Error> {
    let told = |why| Err(Error::Name { name: name.to_owned(), why });
    if name.trim().is_empty() {
        return told("it needs a letter or digit");
    }
    if name.chars().count() > COLLECTION_NAME_CHARACTERS_MAX {
        return told("at most 64 letters");
    }
    let allowed = |letter: char| letter.is_alphanumeric() || ['-', '_', '.'].contains(&letter);
    if !name.chars().all(allowed) || name.starts_with(['-', '.']) {
        return told(
            "letters of any script, digits, `-`, `_` and `.` only, and neither `-` nor `.` first",
        );
    }
    Ok(())
}

const COLLECTION: &str = "SELECT id, name, embedder, dimension, generation FROM collections";

fn collection(row: &Row<'_>) -> rusqlite::Result<Collection> {
    let embedder: Option<String> = row.get(2)?;
    let dimension: Option<u32> = row.get(3)?;
    Ok(Collection {
        id: row.get(0)?,
        name: row.get(1)?,
        embedder: embedder.zip(dimension),
        generation: row.get(4)?,
    })
}

fn source(row: &Row<'_>) -> rusqlite::Result<Source> {
    let list = |text: String| serde_json::from_str(&text).unwrap_or_default();
    let kind: String = row.get(1)?;
    let kind = match kind.as_str() {
        "folder" => Kind::Folder,
        "file" => Kind::File,
        _ => Kind::Text,
    };
    Ok(Source {
        id: row.get(0)?,
        kind,
        path: paths::path(row.get(2)?),
        include: list(row.get(3)?),
        exclude: list(row.get(4)?),
        hidden: row.get(5)?,
    })
}
