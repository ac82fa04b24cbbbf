//! An index that compares everything with everything, in memory, and writes itself into one file.
//!
//! It is what the other forms are measured against, what tests use, and enough for some thousands of passages.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{Description, Embedder, Error, Filter, Hit, Index, Optimized, Point};
use crate::words::Sparse;

/// See the module.
pub struct Exact {
    description: Description,
    /// Where it is written, unless it lives in memory only.
    file: Option<PathBuf>,
    held: RwLock<Held>,
    /// Held for as long as the index is open, so that no second process writes the same file.
    _lock: Option<File>,
}

#[derive(Default)]
struct Held {
    points: BTreeMap<u64, Point>,
    /// Which passages have a term, and with which weight.
    postings: HashMap<u32, BTreeMap<u64, f32>>,
    /// What all of it takes, about.
    bytes: u64,
}

impl Exact {
    /// An index in memory, which ends with it.
    pub fn in_memory(embedder: Option<Embedder>) -> Self {
        let description = Description::new("exact", embedder);
        Exact { description, file: None, held: RwLock::default(), _lock: None }
    }

    /// The index in a folder, made if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Different`] if it was made for another embedder, [`Error::InUse`], [`Error::Damaged`], and those of
    /// the files.
    pub fn open(folder: &Path, embedder: Option<Embedder>) -> Result<Self, Error> {
        let description = Description::new("exact", embedder);
        fs::create_dir_all(folder)
            .map_err(|error| Error::file("make the folder", folder, error))?;
        let lock = lock(folder)?;
        description.keep(folder)?;
        let file = folder.join("points");
        let mut held = Held::default();
        match fs::read(&file) {
            Ok(bytes) => {
                let points: Vec<Point> = rmp_serde::from_slice(&bytes).map_err(|error| {
                    Error::Damaged { path: folder.to_owned(), why: error.to_string() }
                })?;
                points.into_iter().for_each(|point| held.put(point));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(Error::file("read", &file, error)),
        }
        Ok(Exact { description, file: Some(file), held: RwLock::new(held), _lock: Some(lock) })
    }

    fn read(&self) -> RwLockReadGuard<'_, Held> {
        // A panic of another thread leaves at worst a point half removed, which the store puts right.
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Held> {
        self.held.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of a passage's weight of a term: an entry of the passage, and of a tree whose nodes are two thirds full.
const POSTING_BYTES: u64 = 8 + 24;
/// Bytes of a term that some passage has: its place in the table, and the first node of its tree.
const TERM_BYTES: u64 = 48 + 144;

/// What a passage takes, about.
fn point_bytes(point: &Point) -> u64 {
    let Point { id: _, dense, sparse, labels } = point;
    let texts = labels.collection.len() + labels.kind.len() + labels.path.len();
    let numbers = dense.as_ref().map_or(0, Vec::len) * size_of::<f32>();
    (size_of::<Point>() + numbers + texts) as u64 + sparse.terms.len() as u64 * POSTING_BYTES
}

impl Held {
    fn put(&mut self, point: Point) {
        self.take(point.id);
        self.bytes += point_bytes(&point);
        for &(term, weight) in &point.sparse.terms {
            let passages = self.postings.entry(term).or_default();
            self.bytes += if passages.is_empty() { TERM_BYTES } else { 0 };
            passages.insert(point.id, weight);
        }
        self.points.insert(point.id, point);
    }

    fn take(&mut self, id: u64) {
        let Some(point) = self.points.remove(&id) else { return };
        self.bytes = self.bytes.saturating_sub(point_bytes(&point));
        for (term, _) in point.sparse.terms {
            if let Some(passages) = self.postings.get_mut(&term) {
                passages.remove(&id);
                if passages.is_empty() {
                    self.bytes = self.bytes.saturating_sub(TERM_BYTES);
                    self.postings.remove(&term);
                }
            }
        }
    }
}

impl Index for Exact {
    fn description(&self) -> &Description {
        &self.description
    }

    fn upsert(&self, points: Vec<Point>) -> Result<(), Error> {
        for vector in points.iter().filter_map(|point| point.dense.as_ref()) {
            self.description.check(vector)?;
        }
        let mut held = self.write();
        points.into_iter().for_each(|point| held.put(point));
        Ok(())
    }

    fn remove(&self, ids: &[u64]) -> Result<(), Error> {
        let mut held = self.write();
        ids.iter().for_each(|&id| held.take(id));
        Ok(())
    }

    fn remove_files(&self, files: &[u64]) -> Result<(), Error> {
        let mut held = self.write();
        let of_files = |point: &&Point| files.contains(&point.labels.file);
        let ids: Vec<u64> = held.points.values().filter(of_files).map(|point| point.id).collect();
        ids.into_iter().for_each(|id| held.take(id));
        Ok(())
    }

    fn flush(&self) -> Result<(), Error> {
        let Some(file) = &self.file else { return Ok(()) };
        // The write lock, so that two flushes do not write one file at a time.
        let held = self.write();
        let points: Vec<&Point> = held.points.values().collect();
        let bytes = rmp_serde::to_vec(&points)
            .map_err(|error| Error::Engine { what: "write itself", why: error.to_string() })?;
        write_whole(file, &bytes)
    }

    fn optimize(&self, _: &AtomicBool) -> Result<Optimized, Error> {
        Ok(Optimized::Whole)
    }

    fn nearest(&self, vector: &[f32], filter: &Filter, limit: usize) -> Result<Vec<Hit>, Error> {
        self.nearest_exact(vector, filter, limit)
    }

    fn nearest_exact(
        &self,
        vector: &[f32],
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<Hit>, Error> {
        self.description.check(vector)?;
        let held = self.read();
        let hits =
            held.points.values().filter(|point| filter.admits(&point.labels)).filter_map(|point| {
                let dense = point.dense.as_ref()?;
                Some(Hit { id: point.id, score: cosine(dense, vector) })
            });
        Ok(best(hits.collect(), limit))
    }

    fn lexical(&self, query: &Sparse, filter: &Filter, limit: usize) -> Result<Vec<Hit>, Error> {
        let held = self.read();
        let mut scores: HashMap<u64, f32> = HashMap::new();
        for &(term, count) in &query.terms {
            let Some(passages) = held.postings.get(&term) else { continue };
            let factor = count * inverse_document_frequency(held.points.len(), passages.len());
            for (&id, &weight) in passages {
                *scores.entry(id).or_default() += weight * factor;
            }
        }
        let admitted =
            |id: &u64| held.points.get(id).is_some_and(|point| filter.admits(&point.labels));
        let hits =
            scores.into_iter().filter(|(id, _)| admitted(id)).map(|(id, score)| Hit { id, score });
        Ok(best(hits.collect(), limit))
    }

    fn count(&self, filter: &Filter) -> Result<u64, Error> {
        let count =
            self.read().points.values().filter(|point| filter.admits(&point.labels)).count();
        Ok(count as u64)
    }

    fn memory_bytes(&self) -> u64 {
        self.read().bytes
    }

    fn ids(&self, after: Option<u64>, limit: usize) -> Result<Vec<u64>, Error> {
        let held = self.read();
        let above = |id: &u64| after.is_none_or(|after| *id > after);
        let from = after.unwrap_or(0);
        Ok(held.points.range(from..).map(|(&id, _)| id).filter(above).take(limit).collect())
    }
}

/// How much a term tells of a passage: the more, the fewer have it. The same formula as Qdrant's.
fn inverse_document_frequency(passages: usize, having: usize) -> f32 {
    let (passages, having) = (passages as f32, having as f32);
    (1.0 + (passages - having + 0.5) / (having + 0.5)).ln()
}

fn cosine(one: &[f32], other: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let lengths = (dot(one, one) * dot(other, other)).sqrt();
    if lengths > 0.0 { dot(one, other) / lengths } else { 0.0 }
}

/// The best hits first; among equals the one with the lower number, so that an answer is the same each time.
fn best(mut hits: Vec<Hit>, limit: usize) -> Vec<Hit> {
    hits.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
    hits.truncate(limit);
    hits
}

/// Takes the folder for this process, until the file is dropped.
pub(super) fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| Error::file("open", &path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(Error::InUse { path: folder.to_owned() }),
        Err(fs::TryLockError::Error(error)) => Err(Error::file("lock", &path, error)),
    }
}

/// Writes a file so that it has the old or the new content whenever the power goes.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside).map_err(|error| Error::file("write", &beside, error))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(|error| Error::file("write", &beside, error))?;
    fs::rename(&beside, path).map_err(|error| Error::file("rename", &beside, error))?;
    // Not every system opens folders, and the file is whole without it.
    if let Some(Ok(folder)) = path.parent().map(File::open) {
        drop(folder.sync_all());
    }
    Ok(())
}
