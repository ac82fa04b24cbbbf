//! An index in files that are read where they lie.
//!
//! New passages are in memory until the next flush, which writes them into a file of their own: a segment
//! (`segment`, `writing`). A segment never changes; what of it is gone or was replaced is a list in the manifest
//! (`manifest`). Tidying joins segments of a size (`joining`), so that there are few of them and little in them is gone.
//!
//! A question by vector is compared with every passage, in a form of a byte a number (`vectors`), and the best of these
//! once more exactly. That is linear, and needs no graph: no memory and no time to make one, nothing that a filter can
//! cut into pieces, and nothing that is missed. `benches/scale.rs` measures what that takes. Terms have lists of the passages
//! that have them (`postings`).
//!
//! In memory are the numbers and labels of passages and one term in each 128. Files are read and not mapped: a mapped
//! file that is cut short ends the process, and a read one gives an error.

mod joining;
mod manifest;
mod postings;
mod segment;
mod vectors;
mod writing;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::best::Best;
use super::held::{Held, cosine, inverse_document_frequency};
use super::{Description, Embedder, Error, Filter, Hit, Index, Optimized, Point, files};
use crate::limits::{
    SCAN_ROWS, SCAN_THREADS_MAX, SEGMENT_HELD_MAX, VECTOR_OVERSAMPLING, VECTOR_ROUGH_MIN,
};
use crate::words::Sparse;
use manifest::{Gone, Manifest};
use segment::Segment;
use vectors::Rough;

/// See the module.
pub struct Segments {
    description: Description,
    folder: PathBuf,
    state: RwLock<State>,
    /// Held by whoever changes something. The number of the next segment.
    turn: Mutex<u64>,
    /// Held for as long as the index is open, so that no second process opens it.
    _lock: File,
}

/// What there is.
#[derive(Default)]
struct State {
    parts: Vec<Part>,
    held: Held,
}

/// A segment, and what of it is there no more.
#[derive(Clone)]
struct Part {
    segment: Arc<Segment>,
    gone: Gone,
}

/// Adds the best of some rows of a part.
type Look<'a> = &'a (dyn Fn(&Part, Range<usize>, &mut Best) -> Result<(), Error> + Sync);

impl Segments {
    /// What this form is called.
    pub const FORM: &str = "segments";

    /// The index in a folder, made if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Different`] if it was made for another embedder, [`Error::InUse`], [`Error::Damaged`], and those of
    /// the files.
    pub fn open(folder: &Path, embedder: Option<Embedder>) -> Result<Self, Error> {
        let description = Description::new(Self::FORM, embedder);
        fs::create_dir_all(folder)
            .map_err(|error| Error::file("make the folder", folder, error))?;
        let lock = files::lock(folder)?;
        description.keep(folder)?;
        let manifest = Manifest::read(folder)?;
        let mut parts = Vec::with_capacity(manifest.parts.len());
        for entry in &manifest.parts {
            let segment = Segment::open(folder, entry.number, description.dimension())?;
            let gone = Gone::of(segment.rows(), &entry.gone)
                .ok_or_else(|| segment.damaged("more is gone than there was"))?;
            parts.push(Part { segment: Arc::new(segment), gone });
        }
        manifest.remove_others(folder);
        let state = RwLock::new(State { parts, held: Held::default() });
        let turn = Mutex::new(manifest.next);
        Ok(Self { description, folder: folder.to_owned(), state, turn, _lock: lock })
    }

    fn turn(&self) -> MutexGuard<'_, u64> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        // A panic of another thread leaves at worst a passage half put in, which the store puts right.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what is in memory as a segment, and what is gone.
    fn flush_in_turn(&self, next: &mut u64) -> Result<(), Error> {
        // Only who has the turn changes the state, so that it stays as it is seen here.
        let mut parts = self.read().parts.clone();
        let written = {
            let state = self.read();
            let rows = writing::Rows::of_held(&state.held);
            (state.held.len() > 0).then(|| self.written(next, rows)).transpose()?
        };
        parts.extend(written);
        parts.retain(|part| part.live() > 0);
        self.note(*next, &parts)?;
        *self.write() = State { parts, held: Held::default() };
        Ok(())
    }

    /// These passages as a new segment, which nobody knows of yet.
    fn written<'a>(
        &self,
        next: &mut u64,
        rows: impl Into<writing::Rows<'a>>,
    ) -> Result<Part, Error> {
        let number = *next;
        // Also where it fails: a name is never used twice.
        *next += 1;
        writing::write(&self.folder, number, self.description.dimension(), rows.into())?;
        let segment = Segment::open(&self.folder, number, self.description.dimension())?;
        let gone = Gone::none(segment.rows());
        Ok(Part { segment: Arc::new(segment), gone })
    }

    /// From now on these are the index, after a loss of power too.
    fn note(&self, next: u64, parts: &[Part]) -> Result<(), Error> {
        let manifest =
            Manifest::of(next, parts.iter().map(|part| (part.segment.number(), &part.gone)));
        manifest.write(&self.folder)?;
        manifest.remove_others(&self.folder);
        Ok(())
    }

    /// Looks at all passages in turn, on several threads where there are many, and gives the best of each.
    fn scan(state: &State, limit: usize, look: Look<'_>) -> Result<Vec<Hit>, Error> {
        let pieces: Vec<(&Part, Range<usize>)> = state
            .parts
            .iter()
            .flat_map(|part| {
                let rows = part.segment.rows();
                (0..rows)
                    .step_by(SCAN_ROWS)
                    .map(move |from| (part, from..rows.min(from + SCAN_ROWS)))
            })
            .collect();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let next = AtomicUsize::new(0);
        let work = || {
            let mut best = Best::new(limit);
            while let Some((part, rows)) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
                look(part, rows.clone(), &mut best)?;
            }
            Ok(best.into_hits())
        };
        let others = cores.min(SCAN_THREADS_MAX).min(pieces.len()).saturating_sub(1);
        let found: Vec<Result<Vec<Hit>, Error>> = std::thread::scope(|scope| {
            let spawned: Vec<_> = (0..others).map(|_| scope.spawn(work)).collect();
            let own = work();
            let joined = spawned.into_iter().map(|thread| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            std::iter::once(own).chain(joined).collect()
        });
        let mut best = Best::new(limit);
        for hits in found {
            hits?.into_iter().for_each(|hit| best.push(hit));
        }
        Ok(best.into_hits())
    }
}

impl State {
    /// All passages that are there.
    fn live(&self) -> usize {
        self.held.len() + self.parts.iter().map(Part::live).sum::<usize>()
    }

    /// Says of passages that they are gone from where they are.
    fn take(&mut self, id: u64) {
        self.held.take(id);
        for part in &mut self.parts {
            if let Some(row) = part.segment.row_of(id) {
                part.gone.insert(row);
            }
        }
    }

    /// Where a passage is that is in a file.
    fn find(&self, id: u64) -> Option<(&Part, usize)> {
        let at = |part| Part::row_of(part, id).map(|row| (part, row));
        self.parts.iter().find_map(at)
    }
}

impl Part {
    fn live(&self) -> usize {
        self.segment.rows() - self.gone.count()
    }

    /// Where a passage is that is not gone.
    fn row_of(&self, id: u64) -> Option<usize> {
        self.segment.row_of(id).filter(|row| !self.gone.contains(*row))
    }

    /// Which rows may be found: those that are not gone and that the filter lets through.
    fn admitted<'a>(&'a self, filter: &Filter) -> impl Fn(usize) -> bool + use<'a> {
        let labels = self.segment.admitted(filter);
        move |row| {
            let is_let = |labels: &Vec<bool>| labels[self.segment.label_of(row)];
            !self.gone.contains(row) && labels.as_ref().is_none_or(is_let)
        }
    }
}

impl Index for Segments {
    fn description(&self) -> &Description {
        &self.description
    }

    fn upsert(&self, points: Vec<Point>) -> Result<(), Error> {
        self.description.check_all(&points)?;
        let mut next = self.turn();
        for some in chunks(points) {
            let mut state = self.write();
            for point in some {
                state.take(point.id);
                state.held.put(point);
            }
            let is_full = state.held.len() >= SEGMENT_HELD_MAX;
            drop(state);
            if is_full {
                self.flush_in_turn(&mut next)?;
            }
        }
        Ok(())
    }

    fn remove(&self, ids: &[u64]) -> Result<(), Error> {
        let _turn = self.turn();
        let mut state = self.write();
        ids.iter().for_each(|&id| state.take(id));
        Ok(())
    }

    fn remove_files(&self, files: &[u64]) -> Result<(), Error> {
        let _turn = self.turn();
        let mut state = self.write();
        state.held.take_files(files);
        for Part { segment, gone } in &mut state.parts {
            let of_files = segment.labels_where(|labels| files.contains(&labels.file));
            for row in 0..segment.rows() {
                if of_files[segment.label_of(row)] {
                    gone.insert(row);
                }
            }
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), Error> {
        self.flush_in_turn(&mut self.turn())
    }

    fn optimize(&self, stop: &AtomicBool) -> Result<Optimized, Error> {
        let mut next = self.turn();
        self.flush_in_turn(&mut next)?;
        loop {
            let parts = self.read().parts.clone();
            let (joined, mut rest) = joining::choose(parts);
            if joined.is_empty() {
                return Ok(Optimized::Whole);
            }
            if stop.load(Ordering::Relaxed) {
                return Ok(Optimized::Stopped);
            }
            // Questions go on meanwhile, with what there was.
            rest.push(self.written(&mut next, &joining::Joined::new(&joined)?)?);
            self.note(*next, &rest)?;
            self.write().parts = rest;
        }
    }

    fn nearest(&self, vector: &[f32], filter: &Filter, limit: usize) -> Result<Vec<Hit>, Error> {
        self.description.check(vector)?;
        let state = self.read();
        let rough = Rough::of(vector);
        let wanted = (limit * VECTOR_OVERSAMPLING).max(VECTOR_ROUGH_MIN);
        let near = Self::scan(&state, wanted, &|part, rows, best| {
            rough.scan(&part.segment, rows, &part.admitted(filter), best)
        })?;
        let mut best = Best::new(limit);
        for hit in near {
            if let Some((part, row)) = state.find(hit.id)
                && let Some(dense) = part.segment.vector(row)?
            {
                best.push(Hit { id: hit.id, score: cosine(&dense, vector) });
            }
        }
        state.held.nearest(vector, filter, &mut best);
        Ok(best.into_hits())
    }

    fn nearest_exact(
        &self,
        vector: &[f32],
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<Hit>, Error> {
        self.description.check(vector)?;
        let state = self.read();
        let found = Self::scan(&state, limit, &|part, rows, best| {
            let admits = part.admitted(filter);
            for row in rows.filter(|row| admits(*row)) {
                if let Some(dense) = part.segment.vector(row)? {
                    let score = cosine(&dense, vector);
                    best.push(Hit { id: part.segment.id(row), score });
                }
            }
            Ok(())
        })?;
        let mut best = Best::new(limit);
        found.into_iter().for_each(|hit| best.push(hit));
        state.held.nearest(vector, filter, &mut best);
        Ok(best.into_hits())
    }

    fn lexical(&self, query: &Sparse, filter: &Filter, limit: usize) -> Result<Vec<Hit>, Error> {
        let state = self.read();
        let passages = state.live();
        let mut scores: Vec<Vec<f32>> = vec![Vec::new(); state.parts.len()];
        let mut held_scores: HashMap<u64, f32> = HashMap::new();
        for &(term, count) in &query.terms {
            let list = |part: &Part| {
                let mut list = part.segment.postings(term)?;
                list.retain(|(row, _)| !part.gone.contains(*row as usize));
                Ok(list)
            };
            let lists = state.parts.iter().map(list).collect::<Result<Vec<_>, Error>>()?;
            let held = state.held.having(term);
            let having = held.len() + lists.iter().map(Vec::len).sum::<usize>();
            let factor = count * inverse_document_frequency(passages, having);
            for ((part, list), scores) in state.parts.iter().zip(lists).zip(&mut scores) {
                if !list.is_empty() {
                    scores.resize(part.segment.rows(), 0.0);
                }
                list.into_iter().for_each(|(row, weight)| scores[row as usize] += weight * factor);
            }
            held.for_each(|(id, weight)| *held_scores.entry(id).or_default() += weight * factor);
        }
        let mut best = Best::new(limit);
        for (part, scores) in state.parts.iter().zip(scores) {
            let admits = part.admitted(filter);
            for (row, score) in scores.into_iter().enumerate() {
                if score > 0.0 && admits(row) {
                    best.push(Hit { id: part.segment.id(row), score });
                }
            }
        }
        for (id, score) in held_scores {
            if state.held.admits(id, filter) {
                best.push(Hit { id, score });
            }
        }
        Ok(best.into_hits())
    }

    fn count(&self, filter: &Filter) -> Result<u64, Error> {
        let state = self.read();
        let of_part = |part: &Part| {
            let admits = part.admitted(filter);
            (0..part.segment.rows()).filter(|row| admits(*row)).count()
        };
        let in_files = state.parts.iter().map(of_part).sum::<usize>();
        Ok((in_files + state.held.count(filter)) as u64)
    }

    fn ids(&self, after: Option<u64>, limit: usize) -> Result<Vec<u64>, Error> {
        let state = self.read();
        let mut ids: Vec<u64> = state.held.ids(after).take(limit).collect();
        for part in &state.parts {
            ids.extend(part.segment.ids_after(after, |row| !part.gone.contains(row)).take(limit));
        }
        ids.sort_unstable();
        ids.truncate(limit);
        Ok(ids)
    }
}

/// Passages in as many at a time as memory may hold.
fn chunks(points: Vec<Point>) -> impl Iterator<Item = Vec<Point>> {
    let mut points = points.into_iter();
    std::iter::from_fn(move || {
        let some: Vec<Point> = points.by_ref().take(SEGMENT_HELD_MAX).collect();
        (!some.is_empty()).then_some(some)
    })
}
