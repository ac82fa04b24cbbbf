//! From token bytes to events: whole UTF-8, stop strings held back, reasoning and tool calls told
//! from text, log-probabilities kept beside the text they belong to.
//!
//! Not here: choosing tokens (`generation`), and the other direction, from messages to a prompt
//! ([`template`]).

mod markup;
mod parser;
mod stops;
pub(crate) mod template;
mod utf8;

use std::collections::VecDeque;
use std::ops::Range;

use worker_protocol::{Event, Piece, TokenLogprob, ToolCallPiece};

pub use markup::{Calls, Family, Markup, Thinks};
pub(crate) use markup::{Kind, Reads, kind};
pub(crate) use parser::{Calling, Then, is_name};
use parser::{Parser, Part, joined};
use stops::Stops;
use utf8::Utf8;

/// Turns the tokens of one answer into events.
#[derive(Debug)]
pub struct Text {
    utf8: Utf8,
    stops: Stops,
    parser: Parser,
    specials: Specials,
    /// Log-probabilities of tokens whose text was not given out yet, with the length that the whole
    /// text must reach before they are.
    held_logprobs: VecDeque<(usize, TokenLogprob)>,
    /// Bytes of text that came out of `utf8`.
    produced_bytes: usize,
    /// Bytes of those that came out of `stops`.
    passed_bytes: usize,
}

impl Text {
    /// An answer that ends at any of `stops` and is read with `markup`.
    #[must_use]
    pub fn new(stops: Vec<String>, markup: Markup) -> Self {
        Self {
            utf8: Utf8::default(),
            stops: Stops::new(stops),
            parser: Parser::new(markup),
            specials: Specials::default(),
            held_logprobs: VecDeque::new(),
            produced_bytes: 0,
            passed_bytes: 0,
        }
    }

    /// Adds a token, which `is_special` if it is a control token that [`Self::reads`]. Returns the stop
    /// string that ended the text, if one did.
    pub fn push(
        &mut self,
        bytes: &[u8],
        is_special: bool,
        logprob: Option<TokenLogprob>,
        events: &mut Vec<Event>,
    ) -> Option<String> {
        let text = self.utf8.push(bytes);
        self.produced_bytes += text.len();
        if is_special {
            self.specials.add(self.produced_bytes, bytes.len());
        }
        if let Some(logprob) = logprob {
            let due = self.produced_bytes + usize::from(self.utf8.is_mid_character());
            self.held_logprobs.push_back((due, logprob));
        }
        let passed = self.stops.push(&text);
        self.pass(&passed.text, events);
        if passed.stop.is_some() {
            // What could have become a marker will not.
            self.end(events);
        }
        passed.stop
    }

    /// What stands behind the reasoning once this token was added, where nothing stood there before: text,
    /// and calls as they are written. Nothing is held back for a stop string or the rest of a character.
    pub(crate) fn preview(&self, bytes: &[u8], is_special: bool) -> String {
        let mut utf8 = self.utf8.clone();
        let new = [utf8.push(bytes), utf8.finish()].concat();
        let (mut parser, mut parts) = (self.parser.plain(), Vec::new());
        self.specials.clone().feed(&mut parser, self.stops.held(), &mut parts);
        parser.push(&new, is_special, &mut parts);
        let text_of = |part| match part {
            Part::Text(text) => Some(joined(text)),
            Part::Reasoning(_) | Part::Call { .. } => None,
        };
        parts.into_iter().filter_map(text_of).collect()
    }

    /// Whether what comes next is in a call.
    pub(crate) fn calling(&self) -> Calling {
        self.parser.calling()
    }

    /// The same once this token was added, and what was said of the call as long as nothing was told of it.
    /// Half a character says nothing.
    pub(crate) fn calling_after(
        &self,
        bytes: &[u8],
        is_special: bool,
    ) -> (Calling, Option<String>) {
        let mut utf8 = self.utf8.clone();
        let new = utf8.push(bytes);
        let (mut parser, mut parts) = (self.parser.clone(), Vec::new());
        self.specials.clone().feed(&mut parser, self.stops.held(), &mut parts);
        parser.push(&new, is_special, &mut parts);
        let said = if utf8.is_mid_character() { None } else { parser.begun_call() };
        (parser.calling(), said)
    }

    /// The constrained answer begins with the next token. White space before it is none of it, and with
    /// `trims` neither is what the token itself begins with. `false` where no answer can begin.
    pub(crate) fn begin_answer(&mut self, trims: bool, events: &mut Vec<Event>) -> bool {
        if self.stops.held().trim_start().is_empty() {
            let held = self.stops.finish();
            self.pass(&held, events);
        }
        self.parser.begin_answer(trims)
    }

    /// Whether the last token ended inside of a character.
    pub(crate) fn is_mid_character(&self) -> bool {
        self.utf8.is_mid_character()
    }

    /// Whether what comes next is reasoning for sure.
    pub(crate) fn thinks(&self) -> bool {
        self.parser.thinks()
    }

    /// What is missing of the mark that opens reasoning where that has begun, and what closes it at once.
    pub(crate) fn shutting(&self) -> Option<String> {
        self.parser.shutting().filter(|_| self.stops.held().is_empty())
    }

    /// What is missing of the mark that closes the reasoning, and `then` of what comes next.
    pub(crate) fn closing(&self, then: Option<Then>) -> Option<String> {
        self.parser.closing(then)
    }

    /// The answer ended without a stop string: what was held back is text after all.
    pub fn finish(&mut self, events: &mut Vec<Event>) {
        let mut rest = self.stops.finish();
        rest.push_str(&self.utf8.finish());
        // Whatever is still held belongs to the text that ends here.
        self.passed_bytes = usize::MAX - rest.len();
        self.pass(&rest, events);
        self.end(events);
    }

    /// Whether this special token is text for this answer: some models mark reasoning and calls with
    /// such. All others are not shown.
    #[must_use]
    pub fn reads(&self, special: &[u8]) -> bool {
        std::str::from_utf8(special).is_ok_and(|special| self.parser.reads(special))
    }

    /// Whether the answer called a tool, and said all that the tool needs.
    #[must_use]
    pub fn called_tools(&self) -> bool {
        self.parser.called()
    }

    /// Whether what comes next is reasoning, may yet be, or says which of both it will be.
    #[must_use]
    pub fn is_reasoning(&self) -> bool {
        self.parser.is_reasoning()
    }

    fn end(&mut self, events: &mut Vec<Event>) {
        let mut parts = Vec::new();
        self.parser.finish(&mut parts);
        self.emit(parts, events);
    }

    fn pass(&mut self, text: &str, events: &mut Vec<Event>) {
        self.passed_bytes += text.len();
        let mut parts = Vec::new();
        self.specials.feed(&mut self.parser, text, &mut parts);
        self.emit(parts, events);
    }

    fn emit(&mut self, parts: Vec<Part>, events: &mut Vec<Event>) {
        let mut logprobs = self.due_logprobs();
        for part in parts {
            events.push(match part {
                Part::Text(text) => Event::Text(Piece {
                    text: joined(text),
                    logprobs: std::mem::take(&mut logprobs),
                }),
                Part::Reasoning(text) => Event::Reasoning(Piece {
                    text: joined(text),
                    logprobs: std::mem::take(&mut logprobs),
                }),
                Part::Call { index, name, arguments } => Event::ToolCall(ToolCallPiece {
                    index,
                    name: name.map(joined),
                    arguments: joined(arguments),
                }),
            });
        }
        if !logprobs.is_empty() {
            events.push(Event::Text(Piece { text: String::new(), logprobs }));
        }
    }

    fn due_logprobs(&mut self) -> Vec<TokenLogprob> {
        let due = self.held_logprobs.iter().take_while(|(due, _)| *due <= self.passed_bytes);
        let due = due.count();
        self.held_logprobs.drain(..due).map(|(_, logprob)| logprob).collect()
    }
}

/// Where control tokens stand in the text on its way to the parser.
#[derive(Debug, Clone, Default)]
struct Specials {
    ranges: VecDeque<Range<usize>>,
    /// Bytes that the parser has.
    fed_bytes: usize,
}

impl Specials {
    /// A token of so many bytes ends here.
    fn add(&mut self, end: usize, bytes: usize) {
        self.ranges.push_back(end.saturating_sub(bytes)..end);
    }

    /// Gives the parser text, and tells it which of it are control tokens.
    fn feed(&mut self, parser: &mut Parser, text: &str, parts: &mut Vec<Part>) {
        let mut rest = text;
        while !rest.is_empty() {
            let at = self.fed_bytes;
            let (bytes, is_special) = match self.ranges.front() {
                Some(range) if range.start <= at => (range.end.saturating_sub(at), true),
                Some(range) => (range.start - at, false),
                None => (rest.len(), false),
            };
            let cut = match rest.floor_char_boundary(bytes) {
                0 => rest.len(),
                cut => cut,
            };
            let (now, later) = rest.split_at(cut);
            parser.push(now, is_special, parts);
            self.fed_bytes += now.len();
            rest = later;
            if self.ranges.front().is_some_and(|range| range.end <= self.fed_bytes) {
                self.ranges.pop_front();
            }
        }
    }
}

/// Length of the longest end of `text` that could be the beginning of one of `markers`, so it must
/// wait for more text.
fn undecided_bytes<'a>(text: &str, markers: impl IntoIterator<Item = &'a str>) -> usize {
    let undecided = |marker: &'a str| {
        let longest = text.len().min(marker.len().saturating_sub(1));
        (1..=longest)
            .rev()
            .find(|length| text.as_bytes()[text.len() - length..] == marker.as_bytes()[..*length])
    };
    markers.into_iter().filter_map(undecided).max().unwrap_or(0)
}

#[cfg(test)]
mod tests;
