//! Server-sent events as servers of models write them, taken apart: bytes in pieces of any size
//! become events.
//!
//! Comments and fields without a meaning here are passed over, all three line ends are known, and
//! what is kept of an event that never ends is bounded. Not here: what the data says.

use crate::limits::UPSTREAM_EVENT_BYTES_MAX;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Whether the server calls it an error, with `event: error` or in the old manner of
    /// llama-server, whose field name is `error` itself.
    pub is_error: bool,
    /// The data lines, joined.
    pub data: String,
}

/// Why the stream cannot be followed any further. The message is a fragment that goes on after the
/// server's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// One event is larger than any honest one.
    #[error("sent an event of more than {UPSTREAM_EVENT_BYTES_MAX} bytes")]
    TooLong,
    /// The bytes are no text.
    #[error("sent an event that is not UTF-8")]
    NotText,
}

/// Puts events together.
#[derive(Debug, Default)]
pub struct Parser {
    /// The line that has not ended yet.
    line: Vec<u8>,
    /// The `data` lines of the event that has not ended yet.
    data: Option<String>,
    /// Whether that event is an error.
    is_error: bool,
    /// The last byte was a carriage return, so that a line feed belongs to it.
    after_return: bool,
}

impl Parser {
    /// Adds the events that `bytes` completes.
    ///
    /// # Errors
    /// [`Error`]; the stream cannot be followed after the events that were added before it.
    pub fn push(&mut self, mut bytes: &[u8], events: &mut Vec<Event>) -> Result<(), Error> {
        while let Some(first) = bytes.first() {
            if std::mem::take(&mut self.after_return) && *first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let (text, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            let held = self.line.len() + self.data.as_ref().map_or(0, String::len);
            if held + text.len() > UPSTREAM_EVENT_BYTES_MAX {
                return Err(Error::TooLong);
            }
            self.line.extend_from_slice(text);
            bytes = rest;
            if let Some((line_end, rest)) = rest.split_first() {
                self.after_return = *line_end == b'\r';
                events.extend(self.end_line()?);
                bytes = rest;
            }
        }
        Ok(())
    }

    /// The stream has ended: the event that lacks only its empty line. A line that was cut is not
    /// given.
    pub fn end(self) -> Option<Event> {
        let Self { line, data, is_error, after_return: _ } = self;
        data.filter(|_| line.is_empty()).map(|data| Event { is_error, data })
    }

    /// Takes in the line that ended; an empty one ends the event.
    fn end_line(&mut self) -> Result<Option<Event>, Error> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            let is_error = std::mem::take(&mut self.is_error);
            return Ok(self.data.take().map(|data| Event { is_error, data }));
        }
        let line = str::from_utf8(&line).map_err(|_| Error::NotText)?;
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => self.add(value),
            "error" => {
                self.is_error = true;
                self.add(value);
            }
            "event" => self.is_error |= value == "error",
            _ => {}
        }
        Ok(None)
    }

    fn add(&mut self, value: &str) {
        match &mut self.data {
            Some(data) => {
                data.push('\n');
                data.push_str(value);
            }
            None => self.data = Some(value.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every way to cut the stream in two gives the same events; an error is marked by `!`.
    #[track_caller]
    fn check(stream: &str, events: &[&str]) {
        for cut in 0..=stream.len() {
            let mut parser = Parser::default();
            let (head, tail) = stream.as_bytes().split_at(cut);
            let mut seen = Vec::new();
            parser.push(head, &mut seen).unwrap();
            parser.push(tail, &mut seen).unwrap();
            seen.extend(parser.end());
            let seen: Vec<String> = seen
                .into_iter()
                .map(|event| format!("{}{}", if event.is_error { "!" } else { "" }, event.data))
                .collect();
            assert_eq!(seen, events, "cut at {cut}");
        }
    }

    #[test]
    fn events_come_out_whole_however_they_are_cut() {
        check("data: {\"a\":1}\n\ndata: 常驻 🏠\n\n", &["{\"a\":1}", "常驻 🏠"]);
        check("data: a\r\n\r\ndata: b\r\rdata: c\n\n", &["a", "b", "c"]);
    }

    #[test]
    fn comments_and_other_fields_are_passed_over() {
        check(": keepalive 1/2\n\n:\n\nid: 7\nretry\ndata:a\ndata:  b\n\n", &["a\n b"]);
    }

    #[test]
    fn both_ways_to_say_error_are_heard() {
        check("error: {\"code\":500}\n\ndata: x\n\n", &["!{\"code\":500}", "x"]);
        check("event: error\ndata: y\n\nevent: chunk\ndata: z\n\n", &["!y", "z"]);
    }

    #[test]
    fn a_last_event_may_lack_its_empty_line_and_a_cut_line_is_none() {
        check("data: a\n\ndata: [DONE]\n", &["a", "[DONE]"]);
        check("data: a\n\ndata: {\"choi", &["a"]);
    }

    #[test]
    fn an_event_that_never_ends_is_refused() {
        let endless = |piece: &[u8]| {
            let mut parser = Parser::default();
            let mut pieces = 0..=UPSTREAM_EVENT_BYTES_MAX / piece.len() * 2;
            pieces.find_map(|_| parser.push(piece, &mut Vec::new()).err())
        };
        assert_eq!(endless(&[b'x'; 1 << 16]), Some(Error::TooLong));
        assert_eq!(
            endless(&[b"data: ".as_slice(), &[b'x'; 1 << 16], b"\n"].concat()),
            Some(Error::TooLong)
        );
    }

    #[test]
    fn what_came_before_a_fault_is_not_lost() {
        let mut events = Vec::new();
        let fault = Parser::default().push(b"data: a\n\ndata: \xff\n", &mut events);
        assert_eq!(fault, Err(Error::NotText));
        assert_eq!(events, [Event { is_error: false, data: "a".to_owned() }]);
    }

    proptest! {
        #[test]
        fn any_bytes_give_events_or_an_error(bytes: Vec<u8>) {
            let _fault = Parser::default().push(&bytes, &mut Vec::new());
        }
    }
}
