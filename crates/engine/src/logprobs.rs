//! Log-probabilities of tokens from raw logits, before any sampler.

/// The log-probability of `chosen` and the `count` likeliest tokens with theirs, best first.
#[must_use]
pub fn read(logits: &[f32], chosen: u32, count: usize) -> (f32, Vec<(u32, f32)>) {
    let normalizer = log_sum_exp(logits);
    let logprob = |token: u32| {
        logits.get(token as usize).map_or(f32::NEG_INFINITY, |logit| logit - normalizer)
    };
    let top = largest(logits, count).into_iter().map(|token| (token, logprob(token))).collect();
    (logprob(chosen), top)
}

/// Logarithm of the sum of exponentials, in double precision because a vocabulary has 150,000
/// terms.
fn log_sum_exp(logits: &[f32]) -> f32 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - max).exp()).sum();
    #[expect(clippy::cast_possible_truncation, reason = "the result is of the logits' size")]
    let log = sum.ln() as f32;
    max + log
}

/// Indices of the `count` largest values, best first; equal values in the order of their index.
fn largest(logits: &[f32], count: usize) -> Vec<u32> {
    let mut best: Vec<(f32, u32)> = Vec::with_capacity(count + 1);
    if count == 0 {
        return Vec::new();
    }
    for (token, logit) in (0_u32..).zip(logits.iter().copied()) {
        if best.len() == count && best.last().is_some_and(|(worst, _)| logit <= *worst) {
            continue;
        }
        let place = best.partition_point(|(better, _)| *better >= logit);
        best.insert(place, (logit, token));
        best.truncate(count);
    }
    best.into_iter().map(|(_, token)| token).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_sum_to_one_and_come_best_first() {
        let logits = [1.0, 3.0, 2.0, -1.0, 3.0];
        let (chosen, top) = read(&logits, 2, 5);
        let order: Vec<u32> = top.iter().map(|(token, _)| *token).collect();
        assert_eq!(order, [1, 4, 2, 0, 3]);
        let sum: f32 = top.iter().map(|(_, logprob)| logprob.exp()).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
        assert_eq!(chosen, top[2].1);
    }

    #[test]
    fn huge_logits_do_not_overflow() {
        let (chosen, _) = read(&[10_000.0, 9_999.0], 0, 0);
        assert!((chosen - (-0.313_261_7)).abs() < 1e-3, "{chosen}");
    }

    #[test]
    fn a_token_outside_the_vocabulary_is_impossible_and_no_panic() {
        assert_eq!(read(&[0.0], 7, 3).0, f32::NEG_INFINITY);
    }
}
