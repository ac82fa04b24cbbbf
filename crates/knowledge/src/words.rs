//! Text as the terms by which it is found, and terms as sparse vectors: the lexical leg of a search.
//!
//! Both sides of a search, passages and questions, go through [`terms`]. Nothing in it needs a dictionary: Chinese,
//! Japanese and Korean become single characters and pairs of neighbours, other words lose their endings, and numbers
//! and identifiers stay whole as well as in parts (`scan` says how). [`passage`] weighs terms as BM25 does, but for
//! the inverse document frequency, which an index knows and multiplies at the time of the question.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use crate::limits::{
    BM25_B, BM25_K1, PASSAGE_TERMS_MEAN_PAIRED, PASSAGE_TERMS_MEAN_SPACED, TERM_BYTES_MAX,
};

mod fold;
mod scan;
mod stop;

#[cfg(test)]
mod tests;

/// The version of this module's output. An index holds the terms of one version; with another one it must be made
/// anew, since the same words would be looked for under other numbers.
pub const WORDS_VERSION: u32 = 1;

/// Terms with their weights, as an index of sparse vectors takes them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sparse {
    /// Number of a term (see [`term_id`]) and its weight, by ascending number, each number once.
    pub terms: Vec<(u32, f32)>,
}

impl Sparse {
    /// Whether it has no term at all, so that nothing can be found by it.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }
}

/// How a term came to be, which decides what is a usual number of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A word, number or identifier of a script that writes spaces.
    Spaced,
    /// A character, or a pair of them, of a script that does not.
    Paired,
}

/// The terms of a text in their order, each as often as it occurs.
pub fn terms(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    scan::scan(text, &mut |term, _| found.push(term.to_owned()));
    found
}

/// How BM25 weighs a passage's terms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weighing {
    /// How soon repeating a term stops counting.
    pub k1: f32,
    /// How much length counts against a passage, from 0 to 1.
    pub b: f32,
    /// How many terms of a script with spaces make a passage of usual length.
    pub mean_spaced: f32,
    /// The same for terms of a script without.
    pub mean_paired: f32,
}

impl Default for Weighing {
    fn default() -> Self {
        Weighing {
            k1: BM25_K1,
            b: BM25_B,
            mean_spaced: PASSAGE_TERMS_MEAN_SPACED,
            mean_paired: PASSAGE_TERMS_MEAN_PAIRED,
        }
    }
}

/// A passage as its index holds it: each term with the part of BM25 that depends on the passage alone,
/// `tf * (k1 + 1) / (tf + k1 * (1 - b + b * length))`, where a length of 1 is usual.
///
/// What is usual is told for each kind of script, since a text in Chinese has several times as many terms as the same
/// text in English, and one collection may hold both.
pub fn passage(text: &str) -> Sparse {
    passage_weighed(text, &Weighing::default())
}

/// [`passage`] with other weights than the usual ones, to measure what they are worth.
pub fn passage_weighed(text: &str, weighing: &Weighing) -> Sparse {
    let mut counts: HashMap<u32, f32> = HashMap::new();
    let (mut spaced, mut paired) = (0_f32, 0_f32);
    scan::scan(text, &mut |term, kind| {
        match kind {
            Kind::Spaced => spaced += 1.0,
            Kind::Paired => paired += 1.0,
        }
        *counts.entry(term_id(term)).or_default() += 1.0;
    });
    let &Weighing { k1, b, mean_spaced, mean_paired } = weighing;
    let slack = k1 * (1.0 - b + b * (spaced / mean_spaced + paired / mean_paired));
    sorted(counts, |count| count * (k1 + 1.0) / (count + slack))
}

/// A question: each of its terms with how often it occurs, to be multiplied by the index with the inverse document
/// frequency.
pub fn query(text: &str) -> Sparse {
    let mut counts: HashMap<u32, f32> = HashMap::new();
    scan::scan(text, &mut |term, _| *counts.entry(term_id(term)).or_default() += 1.0);
    sorted(counts, |count| count)
}

/// The number of a term: the lower half of its XXH3 hash, the same on every machine and for ever.
///
/// Two terms of a vocabulary of a million share a number with a chance of one in 4,300 for each of them (some 120
/// pairs in all). What that costs is that a passage with the one is offered for a question with the other, with the
/// weight of a term that is as frequent as both; it does not make a passage unfindable.
pub fn term_id(term: &str) -> u32 {
    const HALF: u64 = u32::MAX as u64;
    u32::try_from(XxHash3_64::oneshot(term.as_bytes()) & HALF).unwrap_or(u32::MAX)
}

fn sorted(counts: HashMap<u32, f32>, weigh: impl Fn(f32) -> f32) -> Sparse {
    let mut terms: Vec<(u32, f32)> =
        counts.into_iter().map(|(term, count)| (term, weigh(count))).collect();
    terms.sort_unstable_by_key(|&(term, _)| term);
    Sparse { terms }
}
