//! Passages in memory, compared one by one.

use std::collections::{BTreeMap, HashMap};

use super::{Filter, Hit, Point, best::Best};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Held {
    points: BTreeMap<u64, Point>,
    /// Which passages have a term, and with which weight.
    postings: HashMap<u32, BTreeMap<u64, f32>>,
}

impl Held {
    /// Puts a passage in, or in the place of the one with its number.
    pub(super) fn put(&mut self, point: Point) {
        self.take(point.id);
        for &(term, weight) in &point.sparse.terms {
            self.postings.entry(term).or_default().insert(point.id, weight);
        }
        self.points.insert(point.id, point);
    }

    /// Takes a passage out, if it is there.
    pub(super) fn take(&mut self, id: u64) {
        let Some(point) = self.points.remove(&id) else { return };
        for (term, _) in point.sparse.terms {
            if let Some(passages) = self.postings.get_mut(&term) {
                passages.remove(&id);
                if passages.is_empty() {
                    self.postings.remove(&term);
                }
            }
        }
    }

    /// Takes all passages of these files out.
    pub(super) fn take_files(&mut self, files: &[u64]) {
        let of_files = |point: &&Point| files.contains(&point.labels.file);
        let ids: Vec<u64> = self.points.values().filter(of_files).map(|point| point.id).collect();
        ids.into_iter().for_each(|id| self.take(id));
    }

    pub(super) fn len(&self) -> usize {
        self.points.len()
    }

    /// By ascending number.
    pub(super) fn points(&self) -> impl Iterator<Item = &Point> {
        self.points.values()
    }

    /// Those with a term, and its weight in each.
    pub(super) fn having(&self, term: u32) -> impl ExactSizeIterator<Item = (u64, f32)> {
        static NONE: BTreeMap<u64, f32> = BTreeMap::new();
        self.postings.get(&term).unwrap_or(&NONE).iter().map(|(&id, &weight)| (id, weight))
    }

    pub(super) fn admits(&self, id: u64, filter: &Filter) -> bool {
        self.points.get(&id).is_some_and(|point| filter.admits(&point.labels))
    }

    pub(super) fn count(&self, filter: &Filter) -> usize {
        self.points().filter(|point| filter.admits(&point.labels)).count()
    }

    /// Numbers above `after`, ascending.
    pub(super) fn ids(&self, after: Option<u64>) -> impl Iterator<Item = u64> {
        let from = after.unwrap_or(0);
        self.points
            .range(from..)
            .map(|(&id, _)| id)
            .filter(move |id| after.is_none_or(|after| *id > after))
    }

    /// Adds the passages that are nearest by cosine.
    pub(super) fn nearest(&self, vector: &[f32], filter: &Filter, best: &mut Best) {
        for point in self.points().filter(|point| filter.admits(&point.labels)) {
            if let Some(dense) = &point.dense {
                best.push(Hit { id: point.id, score: cosine(dense, vector) });
            }
        }
    }
}

/// How much a term tells of a passage: the more, the fewer have it. The same formula as Qdrant's.
pub(super) fn inverse_document_frequency(passages: usize, having: usize) -> f32 {
    let (passages, having) = (passages as f32, having as f32);
    (1.0 + (passages - having + 0.5) / (having + 0.5)).ln()
}

/// The cosine of the angle between two vectors; 0 where one of them is nothing.
pub(super) fn cosine(one: &[f32], other: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let lengths = (dot(one, one) * dot(other, other)).sqrt();
    if lengths > 0.0 { dot(one, other) / lengths } else { 0.0 }
}
