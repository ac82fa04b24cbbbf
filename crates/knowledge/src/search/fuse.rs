//! One order of several: weighted reciprocal ranks.

use std::collections::HashMap;

use crate::index::Hit;
use crate::limits::FUSION_RANK_OFFSET;

/// The hits of all legs, best first. A hit's score is the sum over the legs of `weight / (60 + rank)`, ranks from 1;
/// among equals the lower number comes first.
///
/// The scores of the legs do not count, as they are of different kinds; a leg of weight 0 is as none.
pub fn fuse(legs: &[(&[Hit], f32)]) -> Vec<Hit> {
    let mut scores: HashMap<u64, f32> = HashMap::new();
    for &(hits, weight) in legs.iter().filter(|&&(_, weight)| weight > 0.0) {
        for (rank, hit) in hits.iter().enumerate() {
            *scores.entry(hit.id).or_default() += weight / (FUSION_RANK_OFFSET + rank as f32 + 1.0);
        }
    }
    let mut fused: Vec<Hit> = scores.into_iter().map(|(id, score)| Hit { id, score }).collect();
    fused.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
    fused
}
