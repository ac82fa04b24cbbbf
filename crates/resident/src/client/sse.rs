//! Server-sent events, taken apart: bytes in pieces of any size become the `data` of events.
//!
//! Only what a stream of answers needs: `data` lines are joined, comments and other fields are
//! passed over. Not here: what the data says.

use crate::limits::EVENT_BYTES_MAX;

/// Why the stream cannot be followed any further.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// One event is larger than any honest one.
    #[error("the hub sent an event of more than {EVENT_BYTES_MAX} bytes")]
    TooLong,
    /// The bytes are no text.
    #[error("the hub sent an event that is not UTF-8")]
    NotText,
}

/// Puts events together.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    /// The line that has not ended yet.
    line: Vec<u8>,
    /// The `data` lines of the event that has not ended yet.
    data: Option<String>,
    /// The last byte was a carriage return, so that a line feed belongs to it.
    after_return: bool,
}

impl Parser {
    /// The data of every event that `bytes` completes.
    ///
    /// # Errors
    /// [`Error`]; the stream cannot be followed after it.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, Error> {
        let mut events = Vec::new();
        for &byte in bytes {
            let completes_return = std::mem::replace(&mut self.after_return, byte == b'\r');
            match byte {
                b'\n' if completes_return => {}
                b'\n' | b'\r' => events.extend(self.end_line()?),
                _ => self.line.push(byte),
            }
            if self.line.len() + self.data.as_ref().map_or(0, String::len) > EVENT_BYTES_MAX {
                return Err(Error::TooLong);
            }
        }
        Ok(events)
    }

    /// Takes in the line that ended; an empty one ends the event.
    fn end_line(&mut self) -> Result<Option<String>, Error> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return Ok(self.data.take());
        }
        let line = std::str::from_utf8(&line).map_err(|_| Error::NotText)?;
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        if field == "data" {
            let value = value.strip_prefix(' ').unwrap_or(value);
            match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every way to cut the stream in two gives the same events.
    #[track_caller]
    fn check(stream: &str, events: &[&str]) {
        for cut in 0..=stream.len() {
            let mut parser = Parser::default();
            let (head, tail) = stream.as_bytes().split_at(cut);
            let mut seen = parser.push(head).unwrap();
            seen.extend(parser.push(tail).unwrap());
            assert_eq!(seen, events, "cut at {cut}");
        }
    }

    #[test]
    fn events_come_out_whole_however_they_are_cut() {
        check("data: {\"a\":1}\n\ndata: [DONE]\n\n", &["{\"a\":1}", "[DONE]"]);
        check("data: 常驻 🏠\n\n", &["常驻 🏠"]);
    }

    #[test]
    fn all_three_line_ends_end_lines() {
        check("data: a\r\n\r\ndata: b\r\rdata: c\n\n", &["a", "b", "c"]);
    }

    #[test]
    fn data_lines_are_joined_and_the_rest_passed_over() {
        let stream =
            ": ping\nevent: error\nid: 7\ndata:a\ndata:  b\ndata\n\n\n\n: only a comment\n\n";
        check(stream, &["a\n b\n"]);
    }

    #[test]
    fn an_event_that_never_ends_is_refused() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; 1 << 16];
        let refused = (0..=EVENT_BYTES_MAX >> 16).find_map(|_| parser.push(&piece).err());
        assert_eq!(refused, Some(Error::TooLong));
        assert_eq!(Parser::default().push(b"data: \xff\n"), Err(Error::NotText));
    }

    proptest! {
        #[test]
        fn any_bytes_give_events_or_an_error(bytes: Vec<u8>) {
            let _events = Parser::default().push(&bytes);
        }
    }
}
