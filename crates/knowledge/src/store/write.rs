//! What is written while files are read: files with their passages, vectors, and what the index still has to do.

use std::path::{Path, PathBuf};

use half::f16;
use rusqlite::{OptionalExtension, Params, Row, Transaction, params, types::Type};

use super::{Error, Stat, Store, paths};
use crate::{
    chunk::{Passage, Piece, embedded},
    document::Gap,
    limits::SAME_CONTENT_MAX,
};

/// By what a vector is known: embedder, dimension and text.
pub type VectorKey = [u8; 16];

/// The key of the vector that `embedder` makes of `text`.
pub fn vector_key(embedder: &str, dimension: u32, text: &str) -> VectorKey {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(embedder.len() as u64).to_le_bytes());
    hasher.update(embedder.as_bytes());
    hasher.update(&dimension.to_le_bytes());
    hasher.update(text.as_bytes());
    let mut key = VectorKey::default();
    key.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    key
}

/// A file that was read, or was not.
#[derive(Debug, Clone)]
pub struct Read {
    /// Where.
    pub path: PathBuf,
    /// What it is like.
    pub stat: Stat,
    /// What it held; none where it was not read.
    pub hash: Option<[u8; 32]>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of reading a file.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Passages, perhaps none.
    Passages {
        /// What the document calls itself.
        title: Option<String>,
        /// What could not be read of it.
        gaps: Vec<Gap>,
        /// Its passages in order.
        passages: Vec<Passage>,
    },
    /// Nothing.
    Skipped {
        /// Why, in words for a person.
        reason: String,
        /// Whether it is tried again even if the file stays as it is.
        again: bool,
    },
}

/// A passage that the index has yet to take.
#[derive(Debug, Clone, PartialEq)]
pub struct Due {
    /// Its number.
    pub id: u64,
    /// Its file's number.
    pub file: u64,
    /// Where the file is.
    pub path: PathBuf,
    /// What the file is, such as `pdf`.
    pub kind: String,
    /// When the file was changed, in nanoseconds since 1970.
    pub modified_ns: i64,
    /// What is quoted.
    pub text: String,
    /// What is embedded before it.
    pub context: String,
    /// The key of its vector; none without an embedder.
    pub key: Option<VectorKey>,
    /// Its vector, if it was embedded already.
    pub vector: Option<Vec<f32>>,
}

impl Due {
    /// What an embedder is given.
    pub fn embedded(&self) -> String {
        embedded(&self.context, &self.text)
    }
}

/// A file that was cut for an earlier embedder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale {
    /// Its number.
    pub file: u64,
    /// What the document calls itself.
    pub title: Option<String>,
    /// Texts and pieces of its passages.
    pub passages: Vec<(String, Vec<Piece>)>,
}

/// Of which collection and source files are, and who embeds their passages.
#[derive(Debug, Clone, Copy)]
struct Owner<'a> {
    collection: u64,
    generation: u64,
    embedder: Option<(&'a str, u32)>,
}

impl<'a> Owner<'a> {
    fn of(collection: &'a super::Collection) -> Owner<'a> {
        let embedder =
            collection.embedder.as_ref().map(|(name, dimension)| (name.as_str(), *dimension));
        Owner { collection: collection.id, generation: collection.generation, embedder }
    }
}

impl Store {
    /// Puts files in, or in the place of what was known of them, all or none. Their passages are due.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn put_files(
        &self,
        collection: &super::Collection,
        source: u64,
        files: &[Read],
    ) -> Result<(), Error> {
        let owner = Owner::of(collection);
        self.write(|transaction| {
            let mut keys = Vec::new();
            for file in files {
                keys.extend(put_file(transaction, owner, source, file)?);
            }
            // Only now: what leaves one file may have come to another.
            drop_unused(transaction, &keys)?;
            Ok(())
        })
    }

    /// Notes that a file was touched but holds what it held.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn touched(&self, file: u64, stat: Stat) -> Result<(), Error> {
        self.write_lightly(|transaction| {
            let modified = "SELECT modified_ns FROM files WHERE id = ?";
            let before: Option<i64> =
                transaction.query_row(modified, [file], |row| row.get(0)).optional()?;
            transaction.execute(
                "UPDATE files SET size = ?2, modified_ns = ?3, device = ?4, inode = ?5 WHERE id = ?1",
                params![
                    file,
                    stat.size,
                    stat.modified_ns,
                    stat.device.cast_signed(),
                    stat.inode.cast_signed()
                ],
            )?;
            // The index can choose by the time of change. Some disks give files other numbers each day, which is
            // nothing to it.
            if before == Some(stat.modified_ns) { Ok(()) } else { due_again(transaction, file) }
        })
    }

    /// Notes that a file is elsewhere now. Its passages and vectors stay; the index is told the new path.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn moved(&self, file: u64, source: u64, to: &Path, stat: Stat) -> Result<(), Error> {
        self.write_lightly(|transaction| {
            // Something that was skipped at that path makes room.
            let path = paths::bytes(to);
            remove_where(transaction, "source = ?1 AND path = ?2 AND id <> ?3", params![source, path, file])?;
            transaction.execute(
                "UPDATE files SET source = ?2, path = ?3, size = ?4, modified_ns = ?5, device = ?6, inode = ?7
                 WHERE id = ?1",
                params![
                    file,
                    source,
                    path,
                    stat.size,
                    stat.modified_ns,
                    stat.device.cast_signed(),
                    stat.inode.cast_signed()
                ],
            )?;
            due_again(transaction, file)
        })
    }

    /// Has files with pages that are pictures of text read again the next time, though they stay as they are. Says how
    /// many there are.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn read_pictures_again(&self, collection: u64) -> Result<usize, Error> {
        self.write(|transaction| {
            transaction.execute(
                "UPDATE files SET modified_ns = ?, hash = NULL WHERE collection = ? AND gaps LIKE '%\"needs_ocr\"%'",
                params![i64::MIN, collection],
            )
        })
    }

    /// Some files of a collection that hold what has this hash and were read as the same kind.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn files_with(
        &self,
        collection: u64,
        hash: &[u8; 32],
        kind: &str,
    ) -> Result<Vec<super::Vanished>, Error> {
        self.read(|reader| {
            let mut query = reader.prepare_cached(
                "SELECT id, path, device FROM files
                 WHERE collection = ? AND hash = ? AND kind = ? AND state <> 'skipped' ORDER BY id LIMIT ?",
            )?;
            let file = |row: &Row<'_>| {
                let device: i64 = row.get(2)?;
                let path = paths::path(row.get(1)?);
                Ok(super::Vanished { file: row.get(0)?, path, device: device.cast_unsigned() })
            };
            query.query_map(params![collection, hash, kind, SAME_CONTENT_MAX], file)?.collect()
        })
    }

    /// Removes files with all that was read of them.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn remove_files(&self, files: &[u64]) -> Result<(), Error> {
        self.write(|transaction| {
            for file in files {
                remove_where(transaction, "id = ?1", params![file])?;
            }
            Ok(())
        })
    }

    /// Keeps vectors.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn put_vectors(&self, vectors: &[(VectorKey, Vec<f32>)]) -> Result<(), Error> {
        self.write_lightly(|transaction| {
            let mut insert =
                transaction.prepare_cached("INSERT OR REPLACE INTO vectors VALUES (?, ?)")?;
            for (key, vector) in vectors {
                let bytes: Vec<u8> =
                    vector.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect();
                insert.execute(params![key, bytes])?;
            }
            Ok(())
        })
    }

    /// Passages of a collection that the index has yet to take, after this number, with what is known of their vectors.
    /// Those that were cut for an earlier embedder are not among them.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn due(
        &self,
        collection: &super::Collection,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Due>, Error> {
        self.read(|reader| {
            let mut query = reader.prepare_cached(
                "SELECT passages.id, files.id, files.path, files.kind, files.modified_ns, passages.text,
                     passages.context, passages.vector, vectors.value
                 FROM passages JOIN files ON files.id = passages.file
                 LEFT JOIN vectors ON vectors.key = passages.vector
                 WHERE passages.due = 1 AND passages.collection = ? AND passages.id > ? AND files.generation = ?
                 ORDER BY passages.id LIMIT ?",
            )?;
            query.query_map(params![collection.id, after, collection.generation, limit], due)?.collect()
        })
    }

    /// How many passages of a collection the index has yet to take.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn due_count(&self, collection: u64) -> Result<u64, Error> {
        self.read(|reader| {
            let query = "SELECT count(*) FROM passages WHERE due = 1 AND collection = ?";
            reader.query_row(query, [collection], |row| row.get(0))
        })
    }

    /// Notes that the index has these passages for good. Says which files it has wholly by that.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn indexed(&self, passages: &[u64]) -> Result<Vec<PathBuf>, Error> {
        self.write(|transaction| {
            let mut mark = transaction
                .prepare_cached("UPDATE passages SET due = 0 WHERE id = ? RETURNING file")?;
            let mut files: Vec<u64> = Vec::new();
            for passage in passages {
                files.extend(mark.query_row([passage], |row| row.get::<_, u64>(0)).optional()?);
            }
            files.sort_unstable();
            files.dedup();
            let mut whole = transaction.prepare_cached(
                "UPDATE files SET state = 'indexed' WHERE id = ?1 AND state = 'stored'
                     AND NOT EXISTS (SELECT 1 FROM passages WHERE file = ?1 AND due)
                 RETURNING path",
            )?;
            let mut paths = Vec::new();
            for file in files {
                paths
                    .extend(whole.query_row([file], |row| row.get(0)).optional()?.map(paths::path));
            }
            Ok(paths)
        })
    }

    /// Notes that the index does not have these passages after all; without a list, none of the collection.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn not_indexed(&self, collection: u64, passages: Option<&[u64]>) -> Result<(), Error> {
        self.write(|transaction| {
            match passages {
                None => {
                    transaction.execute(
                        "UPDATE passages SET due = 1 WHERE collection = ?",
                        [collection],
                    )?;
                }
                Some(passages) => {
                    let mut mark =
                        transaction.prepare_cached("UPDATE passages SET due = 1 WHERE id = ?")?;
                    for passage in passages {
                        mark.execute([passage])?;
                    }
                }
            }
            transaction.execute(
                "UPDATE files SET state = 'stored' WHERE collection = ? AND state = 'indexed'
                     AND EXISTS (SELECT 1 FROM passages WHERE file = files.id AND due)",
                [collection],
            )?;
            Ok(())
        })
    }

    /// Numbers of passages that are gone and that the index may still have. Those of collections that are gone too are
    /// among them.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn gone(&self, collection: u64, limit: usize) -> Result<Vec<u64>, Error> {
        self.read(|reader| {
            let mut query = reader.prepare_cached(
                "SELECT passage FROM gone WHERE collection = ?
                     OR NOT EXISTS (SELECT 1 FROM collections WHERE id = gone.collection) LIMIT ?",
            )?;
            query.query_map(params![collection, limit], |row| row.get(0))?.collect()
        })
    }

    /// Notes that the index has forgotten them.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn forget_gone(&self, passages: &[u64]) -> Result<(), Error> {
        self.write_lightly(|transaction| {
            let mut delete = transaction.prepare_cached("DELETE FROM gone WHERE passage = ?")?;
            for passage in passages {
                delete.execute([passage])?;
            }
            Ok(())
        })
    }

    /// The next file of a collection that was cut for an earlier embedder.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn stale(&self, collection: &super::Collection) -> Result<Option<Stale>, Error> {
        self.read(|reader| {
            let mut query = reader.prepare_cached(
                "SELECT id, title FROM files WHERE collection = ? AND generation < ? AND state <> 'skipped' LIMIT 1",
            )?;
            let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
            let found = query.query_row(params![collection.id, collection.generation], row).optional()?;
            let Some((file, title)) = found else { return Ok(None) };
            let mut query =
                reader.prepare_cached("SELECT text, pieces FROM passages WHERE file = ? ORDER BY ordinal")?;
            let passage = |row: &Row<'_>| Ok((row.get(0)?, pieces(row, 1)?));
            let passages = query.query_map([file], passage)?.collect::<rusqlite::Result<_>>()?;
            Ok(Some(Stale { file, title, passages }))
        })
    }

    /// Puts other passages in the place of those of a file, cut for the collection's embedder.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn recut(
        &self,
        collection: &super::Collection,
        file: u64,
        passages: &[Passage],
    ) -> Result<(), Error> {
        let owner = Owner::of(collection);
        self.write(|transaction| {
            let keys = remove_passages(transaction, file)?;
            put_passages(transaction, owner, file, passages)?;
            drop_unused(transaction, &keys)?;
            let state = if passages.is_empty() { "indexed" } else { "stored" };
            transaction.execute(
                "UPDATE files SET generation = ?2, state = ?3 WHERE id = ?1",
                params![file, owner.generation, state],
            )?;
            Ok(())
        })
    }
}

/// What a file is by its name, such as `pdf`; the same bytes are read another way under another kind.
pub(crate) fn kind_of(path: &Path) -> String {
    path.extension().map(|kind| kind.to_string_lossy().to_lowercase()).unwrap_or_default()
}

/// Says which vectors the file had before.
fn put_file(
    transaction: &Transaction<'_>,
    owner: Owner<'_>,
    source: u64,
    file: &Read,
) -> rusqlite::Result<Vec<VectorKey>> {
    let path = paths::bytes(&file.path);
    let mut stat = file.stat;
    let (state, reason, title, gaps, passages) = match &file.outcome {
        Outcome::Passages { title, gaps, passages } => {
            let state = if passages.is_empty() { "indexed" } else { "stored" };
            (state, None, title.as_deref(), (!gaps.is_empty()).then_some(gaps), passages.as_slice())
        }
        Outcome::Skipped { reason, again } => {
            if *again {
                // Nothing was ever changed at that time, so that the next walk finds the file changed.
                stat.modified_ns = i64::MIN;
            }
            ("skipped", Some(reason), None, None, [].as_slice())
        }
    };
    let gaps = gaps.map(|gaps| serde_json::json!(gaps).to_string());
    let mut put = transaction.prepare_cached(
        "INSERT INTO files (collection, source, path, kind, size, modified_ns, device, inode, hash, state, reason,
             title, gaps, generation)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET size = excluded.size, modified_ns = excluded.modified_ns,
             device = excluded.device, inode = excluded.inode, hash = excluded.hash, state = excluded.state,
             reason = excluded.reason, title = excluded.title, gaps = excluded.gaps,
             generation = excluded.generation
         RETURNING id",
    )?;
    let id: u64 = put.query_row(
        params![
            owner.collection,
            source,
            path,
            kind_of(&file.path),
            stat.size,
            stat.modified_ns,
            stat.device.cast_signed(),
            stat.inode.cast_signed(),
            file.hash,
            state,
            reason,
            title,
            gaps,
            owner.generation,
        ],
        |row| row.get(0),
    )?;
    let keys = remove_passages(transaction, id)?;
    put_passages(transaction, owner, id, passages)?;
    Ok(keys)
}

fn put_passages(
    transaction: &Transaction<'_>,
    owner: Owner<'_>,
    file: u64,
    passages: &[Passage],
) -> rusqlite::Result<()> {
    let mut put = transaction.prepare_cached(
        "INSERT INTO passages (collection, file, ordinal, text, context, headings, pieces, tokens, vector, due)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1)",
    )?;
    for (ordinal, passage) in passages.iter().enumerate() {
        let key = owner
            .embedder
            .map(|(name, dimension)| vector_key(name, dimension, &passage.embedded()));
        let pieces = rmp_serde::to_vec(&passage.pieces)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        put.execute(params![
            owner.collection,
            file,
            ordinal,
            passage.text,
            passage.context,
            serde_json::json!(passage.headings).to_string(),
            pieces,
            passage.tokens,
            key,
        ])?;
    }
    Ok(())
}

/// Removes the passages of a file, and says which vectors they had.
fn remove_passages(transaction: &Transaction<'_>, file: u64) -> rusqlite::Result<Vec<VectorKey>> {
    transaction
        .prepare_cached(
            "INSERT OR IGNORE INTO gone SELECT id, collection FROM passages WHERE file = ?",
        )?
        .execute([file])?;
    let mut delete =
        transaction.prepare_cached("DELETE FROM passages WHERE file = ? RETURNING vector")?;
    let keys = delete.query_map([file], |row| row.get::<_, Option<VectorKey>>(0))?;
    keys.filter_map(Result::transpose).collect()
}

/// Removes those vectors that no passage has any more. After new passages were put in, so that what they share with
/// those before them is still there.
fn drop_unused(transaction: &Transaction<'_>, keys: &[VectorKey]) -> rusqlite::Result<()> {
    let mut delete = transaction.prepare_cached(
        "DELETE FROM vectors WHERE key = ?1 AND NOT EXISTS (SELECT 1 FROM passages WHERE vector = ?1)",
    )?;
    for key in keys {
        delete.execute([key])?;
    }
    Ok(())
}

/// Removes files that fit the condition, with all that belongs to them.
pub(super) fn remove_where(
    transaction: &Transaction<'_>,
    condition: &str,
    values: impl Params,
) -> rusqlite::Result<()> {
    let mut query =
        transaction.prepare_cached(&format!("SELECT id FROM files WHERE {condition}"))?;
    let files: Vec<u64> =
        query.query_map(values, |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for file in files {
        let keys = remove_passages(transaction, file)?;
        drop_unused(transaction, &keys)?;
        transaction.prepare_cached("DELETE FROM files WHERE id = ?")?.execute([file])?;
    }
    Ok(())
}

fn due_again(transaction: &Transaction<'_>, file: u64) -> rusqlite::Result<()> {
    let passages = transaction
        .prepare_cached("UPDATE passages SET due = 1 WHERE file = ?")?
        .execute([file])?;
    if passages > 0 {
        transaction
            .prepare_cached("UPDATE files SET state = 'stored' WHERE id = ? AND state = 'indexed'")?
            .execute([file])?;
    }
    Ok(())
}

fn due(row: &Row<'_>) -> rusqlite::Result<Due> {
    let vector: Option<Vec<u8>> = row.get(8)?;
    let floats = |bytes: Vec<u8>| {
        bytes.chunks_exact(2).map(|pair| f16::from_le_bytes([pair[0], pair[1]]).to_f32()).collect()
    };
    Ok(Due {
        id: row.get(0)?,
        file: row.get(1)?,
        path: paths::path(row.get(2)?),
        kind: row.get(3)?,
        modified_ns: row.get(4)?,
        text: row.get(5)?,
        context: row.get(6)?,
        key: row.get(7)?,
        vector: vector.map(floats),
    })
}

/// The pieces of a passage in this column.
pub(super) fn pieces(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<Piece>> {
    let bytes: Vec<u8> = row.get(column)?;
    rmp_serde::from_slice(&bytes).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, Box::new(error))
    })
}
