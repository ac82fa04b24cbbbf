//! The beginning of one file on a web server, as much of it as its header takes.
//!
//! A server with ranges is asked for more and more; of one without, the whole file is let come and
//! the connection dropped behind the header.

use planner::gguf::{self, Header};
use reqwest::{
    Response, StatusCode, Url,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderName, RANGE},
};

use super::{Error, Reader};
use crate::{
    limits::STEP_BYTES_MAX,
    outside::{shown, with_password_of},
};

/// A header, and the length of the file that it is the header of.
pub(super) struct Read {
    pub(super) header: Header,
    pub(super) file_bytes: u64,
}

/// Reads the header of the file at `url`. `listed_bytes` is its length by another source.
pub(super) async fn header(
    reader: &mut Reader,
    name: &str,
    url: &Url,
    first_bytes: u64,
    listed_bytes: Option<u64>,
) -> Result<Read, Error> {
    let mut file = File {
        url: url.clone(),
        file_bytes: listed_bytes,
        prefix: Vec::new(),
        stream: None,
        is_whole: false,
    };
    let mut wanted_bytes = first_bytes;
    loop {
        file.fill(reader, wanted_bytes).await?;
        // As long as nobody says how long the file is, it may be as long as its header says.
        match gguf::parse(&file.prefix, file.file_bytes.unwrap_or(u64::MAX)) {
            Ok(header) => {
                let file_bytes = file.file_bytes.unwrap_or_else(|| end(&header));
                return Ok(Read { header, file_bytes });
            }
            Err(gguf::Error::Incomplete { needed_bytes }) => {
                wanted_bytes = file.next_wanted(reader, needed_bytes)?;
            }
            Err(error) => return Err(Error::Header { name: name.to_owned(), error }),
        }
    }
}

/// Where the data of the last tensor ends.
fn end(header: &Header) -> u64 {
    let ends = header.tensors.iter().map(|tensor| tensor.offset.saturating_add(tensor.bytes));
    header.data_offset.saturating_add(ends.max().unwrap_or(0))
}

/// A file of which the beginning is there.
struct File {
    /// Where it is, redirects followed.
    url: Url,
    /// Its length, once somebody said it.
    file_bytes: Option<u64>,
    prefix: Vec<u8>,
    /// The rest of it, when the server knows no ranges.
    stream: Option<Response>,
    /// Whether there is nothing behind the prefix.
    is_whole: bool,
}

impl File {
    /// Reads until `wanted_bytes` are there, the file ends, or the server has answered with less.
    async fn fill(&mut self, reader: &mut Reader, wanted_bytes: u64) -> Result<(), Error> {
        if self.stream.is_none() {
            self.ask(reader, wanted_bytes).await?;
        }
        self.read_stream(reader, wanted_bytes).await
    }

    fn len(&self) -> u64 {
        self.prefix.len() as u64
    }

    /// How much to have next, when the header goes on behind the prefix.
    fn next_wanted(&self, reader: &Reader, needed_bytes: u64) -> Result<u64, Error> {
        if self.is_whole {
            return Err(self.lengths(format!("it ends after {} bytes, in its header", self.len())));
        }
        let most_bytes = self.len().saturating_add(reader.budget.left_bytes());
        if needed_bytes > most_bytes {
            return Err(reader.budget.limit(&self.url));
        }
        let step_bytes = self.len().min(STEP_BYTES_MAX);
        Ok(needed_bytes.max(self.len().saturating_add(step_bytes)).min(most_bytes))
    }

    /// Asks for what lies between the prefix and `wanted_bytes`.
    async fn ask(&mut self, reader: &mut Reader, wanted_bytes: u64) -> Result<(), Error> {
        if reader.budget.left_bytes() == 0 {
            return Err(reader.budget.limit(&self.url));
        }
        let had_bytes = self.len();
        let range = format!("bytes={had_bytes}-{}", wanted_bytes.saturating_sub(1));
        let response = reader.access.outside().get(&self.url, &[(RANGE, &range)]).await?;
        // What follows comes from there directly.
        self.url = with_password_of(&self.url, response.url());
        if let Some(encoding) = text(response.headers(), &CONTENT_ENCODING)
            && encoding != "identity"
        {
            return Err(self.lengths(format!("it comes encoded as {encoding}, unasked")));
        }
        if response.status() == StatusCode::PARTIAL_CONTENT {
            return self.take_range(reader, response, wanted_bytes).await;
        }
        // No ranges: it begins at the beginning, whatever was asked for.
        self.prefix.clear();
        if let Some(bytes) = number(response.headers(), &CONTENT_LENGTH) {
            self.agree(bytes)?;
        }
        self.stream = Some(response);
        Ok(())
    }

    async fn take_range(
        &mut self,
        reader: &mut Reader,
        mut response: Response,
        wanted_bytes: u64,
    ) -> Result<(), Error> {
        let had_bytes = self.len();
        let Some(range) = ContentRange::of(&response) else {
            return Err(self.lengths("it sends a part and does not say which".to_owned()));
        };
        let ContentRange { first, last, file_bytes } = range;
        if first != had_bytes || last >= wanted_bytes {
            let asked = format!("{had_bytes} to {}", wanted_bytes.saturating_sub(1));
            return Err(
                self.lengths(format!("asked for bytes {asked}, it sends {first} to {last}"))
            );
        }
        if let Some(bytes) = file_bytes {
            self.agree(bytes)?;
        }
        let expected_bytes = last - first + 1;
        let said_bytes = number(response.headers(), &CONTENT_LENGTH);
        if said_bytes.is_some_and(|bytes| bytes != expected_bytes) {
            let said = said_bytes.unwrap_or_default();
            return Err(self.lengths(format!("it says {said} bytes and {first} to {last} at once")));
        }
        while let Some(chunk) =
            reader.budget.chunk(reader.access.outside(), &self.url, &mut response).await?
        {
            self.prefix.extend_from_slice(&chunk);
            if self.len() - had_bytes > expected_bytes {
                return Err(self.lengths(format!("it sends more than bytes {first} to {last}")));
            }
        }
        if self.len() - had_bytes < expected_bytes {
            let got_bytes = self.len() - had_bytes;
            return Err(self.lengths(format!("of bytes {first} to {last} it sends {got_bytes}")));
        }
        self.is_whole = self.file_bytes == Some(self.len());
        Ok(())
    }

    async fn read_stream(&mut self, reader: &mut Reader, wanted_bytes: u64) -> Result<(), Error> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        while (self.prefix.len() as u64) < wanted_bytes {
            if reader.budget.left_bytes() == 0 {
                return Err(reader.budget.limit(&self.url));
            }
            let Some(chunk) =
                reader.budget.chunk(reader.access.outside(), &self.url, stream).await?
            else {
                self.is_whole = true;
                break;
            };
            self.prefix.extend_from_slice(&chunk);
        }
        if self.is_whole {
            self.agree(self.len())?;
        }
        Ok(())
    }

    /// Takes note of the file's length, which must be the one that was said before.
    fn agree(&mut self, bytes: u64) -> Result<(), Error> {
        match self.file_bytes {
            Some(known) if known != bytes => {
                Err(self.lengths(format!("the file has {known} bytes and then {bytes}")))
            }
            Some(_) | None => {
                self.file_bytes = Some(bytes);
                Ok(())
            }
        }
    }

    fn lengths(&self, what: String) -> Error {
        Error::Lengths { url: shown(&self.url), what }
    }
}

/// `Content-Range: bytes FIRST-LAST/WHOLE`. Source: RFC 9110, section 14.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ContentRange {
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// Length of the file; the server may not know it.
    pub(crate) file_bytes: Option<u64>,
}

impl ContentRange {
    /// What an answer says of itself.
    pub(crate) fn of(response: &Response) -> Option<Self> {
        Self::parse(text(response.headers(), &CONTENT_RANGE)?)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (unit, range) = text.trim().split_once(' ')?;
        let (places, whole) = range.trim().split_once('/')?;
        let (first, last) = places.split_once('-')?;
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        let file_bytes = match whole {
            "*" => None,
            number => Some(number.parse().ok()?),
        };
        let makes_sense = first <= last && file_bytes.is_none_or(|bytes| last < bytes);
        (unit.eq_ignore_ascii_case("bytes") && makes_sense).then_some(Self {
            first,
            last,
            file_bytes,
        })
    }
}

pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

pub(crate) fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    text(headers, name)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_servers_send() {
        let range = |first, last, file_bytes| Some(ContentRange { first, last, file_bytes });
        for (text, expected) in [
            ("bytes 0-99/200", range(0, 99, Some(200))),
            ("Bytes 5-5/6", range(5, 5, Some(6))),
            ("bytes 0-99/*", range(0, 99, None)),
            ("bytes 9-3/20", None),
            ("bytes 0-99/99", None),
            ("bytes */200", None),
            ("bytes -5-3/200", None),
            ("bytes 0-18446744073709551616/*", None),
            ("lines 0-1/2", None),
            ("", None),
        ] {
            assert_eq!(ContentRange::parse(text), expected, "{text}");
        }
    }
}
