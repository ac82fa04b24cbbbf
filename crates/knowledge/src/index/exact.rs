//! An index in memory that compares everything with everything: what [`super::segments`] is measured against, and what
//! tests use.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::best::Best;
use super::held::{Held, inverse_document_frequency};
use super::{Description, Embedder, Error, Filter, Hit, Index, Optimized, Point};
use crate::words::Sparse;

/// See the module.
pub struct Exact {
    description: Description,
    held: RwLock<Held>,
}

impl Exact {
    /// An index that ends with this value.
    pub fn in_memory(embedder: Option<Embedder>) -> Self {
        Exact { description: Description::new("exact", embedder), held: RwLock::default() }
    }

    fn read(&self) -> RwLockReadGuard<'_, Held> {
        // A panic of another thread leaves at worst a point half removed, which the store puts right.
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Held> {
        self.held.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index for Exact {
    fn description(&self) -> &Description {
        &self.description
    }

    fn upsert(&self, points: Vec<Point>) -> Result<(), Error> {
        self.description.check_all(&points)?;
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
        self.write().take_files(files);
        Ok(())
    }

    fn flush(&self) -> Result<(), Error> {
        Ok(())
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
        let mut best = Best::new(limit);
        self.read().nearest(vector, filter, &mut best);
        Ok(best.into_hits())
    }

    fn lexical(&self, query: &Sparse, filter: &Filter, limit: usize) -> Result<Vec<Hit>, Error> {
        let held = self.read();
        let mut scores: HashMap<u64, f32> = HashMap::new();
        for &(term, count) in &query.terms {
            let having = held.having(term);
            let factor = count * inverse_document_frequency(held.len(), having.len());
            for (id, weight) in having {
                *scores.entry(id).or_default() += weight * factor;
            }
        }
        let mut best = Best::new(limit);
        for (id, score) in scores {
            if held.admits(id, filter) {
                best.push(Hit { id, score });
            }
        }
        Ok(best.into_hits())
    }

    fn count(&self, filter: &Filter) -> Result<u64, Error> {
        Ok(self.read().count(filter) as u64)
    }

    fn ids(&self, after: Option<u64>, limit: usize) -> Result<Vec<u64>, Error> {
        Ok(self.read().ids(after).take(limit).collect())
    }
}
