//! The best of many hits, without keeping them all.

use std::cmp::Ordering;

use super::Hit;

/// See the module.
#[derive(Debug)]
pub(super) struct Best {
    limit: usize,
    /// At most twice as many as are wanted.
    hits: Vec<Hit>,
    /// What a hit must be better than, once there are enough.
    last: Option<Hit>,
}

impl Best {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, hits: Vec::new(), last: None }
    }

    pub(super) fn push(&mut self, hit: Hit) {
        if self.last.is_some_and(|last| order(&hit, &last) != Ordering::Less) {
            return;
        }
        self.hits.push(hit);
        if self.hits.len() >= 2 * self.limit.max(1) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if self.hits.len() > self.limit && self.limit > 0 {
            let (_, last, _) = self.hits.select_nth_unstable_by(self.limit - 1, order);
            self.last = Some(*last);
        }
        self.hits.truncate(self.limit);
    }

    /// They, the best first; among equals the one with the lower number, so that an answer is the same each time.
    pub(super) fn into_hits(mut self) -> Vec<Hit> {
        self.hits.sort_unstable_by(order);
        self.hits.truncate(self.limit);
        self.hits
    }
}

fn order(one: &Hit, other: &Hit) -> Ordering {
    other.score.total_cmp(&one.score).then(one.id.cmp(&other.id))
}
