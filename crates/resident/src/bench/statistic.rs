//! Percentiles, medians and means of a few samples. All samples are in the JSON for who wants more.

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

/// A mean, and how far it may be off by chance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Mean {
    /// The mean.
    pub(crate) mean: f64,
    /// Its standard error; two means that differ by less than twice as much differ by chance.
    pub(crate) error: f64,
}

/// The mean of `samples`; `None` of fewer than two, which do not tell how far they are off.
pub(crate) fn mean(samples: &[f64]) -> Option<Mean> {
    let count = f64::from(u32::try_from(samples.len()).ok().filter(|count| *count > 1)?);
    let mean = samples.iter().sum::<f64>() / count;
    let squares: f64 = samples.iter().map(|sample| (sample - mean).powi(2)).sum();
    Some(Mean { mean, error: (squares / (count - 1.0) / count).sqrt() })
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

    #[test]
    fn means_and_their_errors() {
        // Deviations of 1, 0, 1: a variance of 1, of which a third remains.
        let found = mean(&[1.0, 2.0, 3.0]).unwrap();
        assert!(
            (found.mean - 2.0).abs() < 1e-12
                && (found.error - (1.0_f64 / 3.0).sqrt()).abs() < 1e-12
        );
        assert_eq!(mean(&[4.0, 4.0]), Some(Mean { mean: 4.0, error: 0.0 }));
        assert_eq!((mean(&[1.0]), mean(&[])), (None, None));
    }
}
