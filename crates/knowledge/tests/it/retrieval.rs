//! How well passages are found by terms, held against what the design wants.

use knowledge::index::{Filter, Index};
use knowledge::words;

use crate::sets::{CUTOFF, Set};

/// How many questions of a set are asked here, spread over it, so that the test is quick.
const QUERIES_MAX: usize = 800;

/// What `cargo bench -p knowledge --bench retrieval` prints for all sets, held for one.
fn holds(name: &str, wanted: f64) {
    let Some(mut set) = Set::load(name) else { return };
    let step = set.queries.len().div_ceil(QUERIES_MAX);
    set.queries = set.queries.into_iter().step_by(step).collect();
    let index = set.indexed(None, None);
    let found = set.score(|_, query| {
        index.lexical(&words::query(&query.text), &Filter::default(), CUTOFF).unwrap()
    });
    assert!(found >= wanted, "{name}: nDCG@10 {found:.4}, wanted {wanted}");
}

#[test]
fn english_claims_find_their_abstracts() {
    holds("scifact", 0.68);
}

#[test]
fn questions_in_simplified_chinese_find_their_paragraphs() {
    holds("cmrc", 0.97);
}

#[test]
fn questions_in_traditional_chinese_find_their_paragraphs() {
    holds("drcd", 0.97);
}

#[test]
fn numbers_and_identifiers_are_found_every_time() {
    let set = Set::identifiers();
    let missed = set.missed(&set.indexed(None, None));
    assert!(
        missed.is_empty(),
        "{} of {} missed: {:?}",
        missed.len(),
        set.queries.len(),
        &missed[..missed.len().min(20)]
    );
}
