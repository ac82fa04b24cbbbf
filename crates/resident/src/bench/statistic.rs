//! Percentiles and medians of a few samples. Not here: confidence intervals; all samples are in
//! the JSON for who wants them.

use serde::Serialize;

/// Where the middle and the tail of some samples lie.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// Half of the samples are at most this.
    pub(crate) p50: f64,
    /// 99 of 100 samples are at most this.
    pub(crate) p99: f64,
    /// How many samples there were.
    pub(crate) samples: usize,
}

/// The spread of `samples`; `None` without any.
pub(crate) fn spread(samples: &[f64]) -> Option<Spread> {
    let (p50, p99) = (percentile(samples, 50)?, percentile(samples, 99)?);
    Some(Spread { p50, p99, samples: samples.len() })
}

/// The middle of `samples`; `None` without any.
pub(crate) fn median(samples: &[f64]) -> Option<f64> {
    percentile(samples, 50)
}

/// The largest of `samples`; `None` without any.
pub(crate) fn best(samples: &[f64]) -> Option<f64> {
    percentile(samples, 100)
}

/// The smallest sample that `percent` of all are not above (nearest rank).
fn percentile(samples: &[f64], percent: usize) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_ranks() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(spread(&hundred), Some(Spread { p50: 50.0, p99: 99.0, samples: 100 }));
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(best(&[3.0, 1.0, 2.0]), Some(3.0));
        assert_eq!(spread(&[7.0]), Some(Spread { p50: 7.0, p99: 7.0, samples: 1 }));
        assert_eq!(spread(&[]), None);
        assert_eq!(best(&[]), None);
    }
}
