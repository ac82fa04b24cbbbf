//! Bodies of `/v1/vector_stores/{id}/search`: each gives a search within its bounds, or an error that the client can read.

use dialect::limits::{FILTERS_MAX, FOUND_MAX, SEARCHES_MAX};
use dialect::openai::vector_store;

use crate::openai::{json, refused};

/// A body of a search.
pub fn vector_store(body: &[u8]) {
    let search = match vector_store::decode(body) {
        Ok(search) => search,
        Err(error) => return refused(&error),
    };
    assert!((1..=SEARCHES_MAX).contains(&search.queries.len()));
    assert!(search.queries.iter().all(|query| !query.trim().is_empty()));
    assert!((1..=FOUND_MAX).contains(&search.limit));
    // An "or" joins as many lists as a list has entries.
    let most = FILTERS_MAX * body.len().max(1);
    assert!(search.filter.paths.len() <= most && search.filter.kinds.len() <= most);
    assert!(search.filter.paths.iter().chain(&search.filter.kinds).all(|text| !text.is_empty()));
    json(&vector_store::found(&search.queries, Vec::new(), &[]));
}
