//! Whether a file without a digest that came whole earlier still is what its address has.

use reqwest::header::{ACCEPT_ENCODING, RANGE};

use super::{
    Error, Pace, Wanted,
    head::{self, Met},
    journal::Identity,
};
use crate::outside::Outside;

/// Asks the first address, and holds its answer against what was `known` when the file came. One of which nothing
/// was known but its length is not believed.
///
/// # Errors
/// When it cannot be asked, in which case the file stays.
pub(super) async fn is_same(
    outside: &Outside,
    wanted: &Wanted,
    known: &Identity,
    pace: &Pace,
) -> Result<bool, Error> {
    let Some(url) = wanted.addresses.first().filter(|_| known.has_mark()) else {
        return Ok(false);
    };
    let headers = [(ACCEPT_ENCODING, "identity"), (RANGE, "bytes=0-0")];
    let response = pace.patiently(|_| {}, || outside.get(url, &headers)).await?;
    let (status, head) = (response.status(), response.headers());
    // One that knows no ranges says the same of all of it.
    let facts = head::read(Some(&(0..1)), status, head).or_else(|_| head::read(None, status, head));
    Ok(facts.is_ok_and(|facts| head::meet(known, wanted, url, &facts) == Met::Same))
}
