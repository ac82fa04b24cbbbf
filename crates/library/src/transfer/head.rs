//! What the head of an answer says of a file and of the range that follows, and whether that can be.

use std::{ops::Range, time::Duration};

use reqwest::{
    StatusCode, Url,
    header::{
        CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, LAST_MODIFIED,
        RETRY_AFTER, TRANSFER_ENCODING,
    },
};

use super::{Wanted, journal::Identity};
use crate::{
    outside::after,
    remote::range::{ContentRange, number, text},
    wanted::hashed,
};

/// What follows the head of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    /// Where the body begins in the file.
    pub(super) start: u64,
    /// Where it ends, if that is said.
    pub(super) end: Option<u64>,
    /// Length of the file, if that is said.
    pub(super) whole: Option<u64>,
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
}

/// Why nothing useful follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Not now.
    Later { status: u16, after: Option<Duration> },
    /// Not here, or not any more.
    No { status: u16 },
    /// Whole or not at all.
    NoRanges,
    /// What cannot be.
    Lie(String),
}

/// Reads the head of an answer to a question for `asked`, or for everything.
pub(super) fn read(
    asked: Option<&Range<u64>>,
    status: StatusCode,
    headers: &HeaderMap,
) -> Result<Facts, Refusal> {
    let said = |name| text(headers, name).map(str::to_owned);
    let facts = |start, end, whole| Facts {
        start,
        end,
        whole,
        etag: said(&ETAG),
        last_modified: said(&LAST_MODIFIED),
    };
    if status.is_success()
        && let Some(encoding) = text(headers, &CONTENT_ENCODING)
        && encoding != "identity"
    {
        return Err(Refusal::Lie(format!("it comes encoded as {encoding}, unasked")));
    }
    let said_bytes = number(headers, &CONTENT_LENGTH);
    match (status.as_u16(), asked) {
        (206, Some(asked)) => {
            let range = part(asked, said_bytes, headers)?;
            Ok(facts(range.first, Some(range.last + 1), range.file_bytes))
        }
        // All of it is no more than what was asked for.
        (200, Some(asked))
            if asked.start == 0 && said_bytes.is_some_and(|all| all <= asked.end) =>
        {
            Ok(facts(0, said_bytes, said_bytes))
        }
        (200, Some(_)) => Err(Refusal::NoRanges),
        (200, None) => {
            let is_bounded = said_bytes.is_some() || headers.contains_key(TRANSFER_ENCODING);
            let what = "it does not say how long the file is";
            is_bounded
                .then(|| facts(0, said_bytes, said_bytes))
                .ok_or(Refusal::Lie(what.to_owned()))
        }
        (416, Some(_)) => match unsatisfied(headers) {
            Some(whole) => Ok(facts(0, Some(0), Some(whole))),
            None => Err(Refusal::NoRanges),
        },
        (408 | 425 | 429 | 500.., _) => {
            let after = text(headers, &RETRY_AFTER).and_then(after);
            Err(Refusal::Later { status: status.as_u16(), after })
        }
        (206 | 416 | 201..=299, _) => Err(Refusal::Lie(format!(
            "it answers {}, with neither the file nor a part of it",
            status.as_u16()
        ))),
        (other, _) => Err(Refusal::No { status: other }),
    }
}

fn part(
    asked: &Range<u64>,
    said_bytes: Option<u64>,
    headers: &HeaderMap,
) -> Result<ContentRange, Refusal> {
    let lie = |what: String| Err(Refusal::Lie(what));
    let Some(range) = text(headers, &CONTENT_RANGE).and_then(ContentRange::parse) else {
        return lie("it sends a part and does not say which".to_owned());
    };
    let ContentRange { first, last, .. } = range;
    if first != asked.start || last >= asked.end {
        let last_asked = asked.end - 1;
        return lie(format!(
            "asked for bytes {} to {last_asked}, it sends {first} to {last}",
            asked.start
        ));
    }
    if let Some(said) = said_bytes.filter(|said| *said != last - first + 1) {
        return lie(format!("it says {said} bytes and {first} to {last} at once"));
    }
    Ok(range)
}

/// The length that a server names when a range lies beyond it.
fn unsatisfied(headers: &HeaderMap) -> Option<u64> {
    text(headers, &CONTENT_RANGE)?
        .trim()
        .strip_prefix("bytes")?
        .trim()
        .strip_prefix("*/")?
        .parse()
        .ok()
}

/// How an answer fits what is known of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Met {
    /// The first word of it.
    New(Identity),
    /// It is the same file.
    Same,
    /// It is another file than before.
    Changed(Identity),
    /// It is not the wanted file.
    Wrong(String),
}

/// Compares an answer from `address` with what is known. With a digest only the length counts: the same file has
/// another ETag on each mirror.
pub(super) fn meet(known: &Identity, wanted: &Wanted, address: &Url, facts: &Facts) -> Met {
    if let Some((said, expected)) = facts.whole.zip(wanted.bytes)
        && said != expected
    {
        return Met::Wrong(format!(
            "the file has {said} bytes there, and {expected} by its source"
        ));
    }
    let identity = Identity {
        bytes: facts.whole.or(wanted.bytes),
        address: hashed(address.as_str()),
        etag: facts.etag.clone(),
        last_modified: facts.last_modified.clone(),
    };
    if known.address.is_empty() {
        return Met::New(identity);
    }
    let is_as_long = known.bytes.is_none() || facts.whole.is_none() || known.bytes == facts.whole;
    let is_same = is_as_long && (wanted.digest.is_some() || has_same_marks(known, &identity));
    if is_same { Met::Same } else { Met::Changed(identity) }
}

/// Whether a mark that was known is there again. Where none was known, nothing can tell.
fn has_same_marks(known: &Identity, met: &Identity) -> bool {
    let same = |known: &Option<String>, met: &Option<String>| {
        known.as_ref().zip(met.as_ref()).map(|(known, met)| known == met)
    };
    let by_marks = same(&known.etag, &met.etag);
    let by_time = same(&known.last_modified, &met.last_modified);
    known.address == met.address && by_marks.or(by_time).unwrap_or(!known.has_mark())
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(text: &str) -> HeaderMap {
        let line = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            Some((name, HeaderValue::from_str(value).ok()?))
        };
        text.split('\n').filter_map(line).collect()
    }

    #[track_caller]
    fn check(status: u16, head: &str, expected: Result<(u64, Option<u64>, Option<u64>), &str>) {
        let found = read(Some(&(10..20)), StatusCode::from_u16(status).unwrap(), &headers(head));
        match (found, expected) {
            (Ok(found), Ok(expected)) => {
                assert_eq!((found.start, found.end, found.whole), expected, "{status} {head}");
            }
            (Err(found), Err(part)) => assert!(format!("{found:?}").contains(part), "{found:?}"),
            (found, _) => panic!("{status} {head}: {found:?}"),
        }
    }

    #[test]
    fn heads_that_servers_send() {
        check(206, "content-range: bytes 10-19/100", Ok((10, Some(20), Some(100))));
        check(206, "content-range: bytes 10-14/*", Ok((10, Some(15), None)));
        check(206, "content-range: bytes 0-9/100", Err("it sends 0 to 9"));
        check(206, "content-range: bytes 10-20/100", Err("it sends 10 to 20"));
        check(206, "content-range: bytes 10-19/100\ncontent-length: 11", Err("says 11 bytes"));
        check(206, "content-type: multipart/byteranges", Err("does not say which"));
        check(206, "content-range: bytes 10-19/100\ncontent-encoding: gzip", Err("as gzip"));
        check(200, "content-length: 100", Err("NoRanges"));
        check(416, "content-range: bytes */7", Ok((0, Some(0), Some(7))));
        check(416, "", Err("NoRanges"));
        check(429, "retry-after: 7", Err("after: Some(7s)"));
        check(503, "retry-after: Wed, 21 Oct 2015 07:28:00 GMT", Err("after: Some(0ns)"));
        check(503, "retry-after: soon", Err("after: None"));
        check(403, "", Err("No { status: 403 }"));
        check(302, "", Err("No { status: 302 }"));
        check(204, "", Err("it answers 204"));
    }

    #[test]
    fn the_same_file_or_another() {
        let address = Url::parse("https://h/a").unwrap();
        let mut wanted = Wanted {
            addresses: vec![address.clone()],
            bytes: None,
            digest: None,
            name: String::new(),
        };
        let facts = |whole, etag: Option<&str>, last_modified: Option<&str>| Facts {
            start: 0,
            end: None,
            whole,
            etag: etag.map(str::to_owned),
            last_modified: last_modified.map(str::to_owned),
        };
        let first = facts(Some(9), Some("a"), Some("monday"));
        let Met::New(known) = meet(&Identity::default(), &wanted, &address, &first) else {
            panic!()
        };
        for (met, is_same) in [
            (facts(Some(9), Some("a"), Some("monday")), true),
            (facts(Some(9), Some("a"), Some("tuesday")), true),
            (facts(Some(9), Some("b"), Some("monday")), false),
            (facts(Some(9), None, Some("monday")), true),
            (facts(Some(9), None, Some("tuesday")), false),
            (facts(Some(9), None, None), false),
            (facts(Some(8), Some("a"), None), false),
            (facts(None, Some("a"), None), true),
        ] {
            assert_eq!(meet(&known, &wanted, &address, &met) == Met::Same, is_same, "{met:?}");
        }
        let mirror = Url::parse("https://mirror/a").unwrap();
        let other = facts(Some(9), Some("b"), None);
        assert!(matches!(meet(&known, &wanted, &mirror, &other), Met::Changed(_)));
        wanted.digest = Some(crate::digest::Sha256::of([0; 32]));
        assert_eq!(meet(&known, &wanted, &mirror, &other), Met::Same);
        wanted.bytes = Some(8);
        assert!(matches!(meet(&known, &wanted, &mirror, &other), Met::Wrong(_)));
    }
}
