//! Tells reasoning and tool calls from text, in the form of the model's family ([`Markup`]).
//!
//! One state machine for all families: text up to the next marker, then what the marker opens. Whatever
//! only looks like a marker is text, and what is given in pieces reads as it does in one.

mod block;
mod header;
mod json;
mod literal;
mod whole;

use super::markup::{Begins, Calls, Markup, Reads, Thinks};
use super::undecided_bytes;
use block::{Block, Count, Next, Out};
use header::Announced;
pub(crate) use json::is_name;

/// A part of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    Reasoning(String),
    /// A piece of a call, the name in its first.
    Call {
        index: u32,
        name: Option<String>,
        arguments: String,
    },
}

/// What comes behind reasoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Answer,
    Call,
}

/// Whether an answer is in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Calling {
    No,
    /// It may be in what becomes one.
    Maybe,
    Yes,
}

#[derive(Debug, Clone)]
enum Mode {
    /// Nothing but white space came so far; only here can reasoning begin.
    Start,
    /// Behind that; only here can a call begin that no marker opens.
    Opening,
    Text,
    Reasoning,
    /// In the words that say what follows, behind the marker that begins them.
    Header(&'static str),
    Block(Box<Block>),
}

/// Stands between the first two characters of what only looks like a mark, as long as it is read: no text
/// holds this character, which is none.
const APART: char = '\u{fdd0}';

/// Reads one answer.
#[derive(Debug, Clone)]
pub(super) struct Parser {
    markup: Markup,
    mode: Mode,
    /// Text that is not decided.
    held: String,
    count: Count,
    /// White space that follows a marker is not part of the text.
    skip_space: bool,
    /// The last character, if it was text.
    last: Option<char>,
}

impl Parser {
    pub(super) fn new(markup: Markup) -> Self {
        let mode = match (markup.family.thinks, markup.begins) {
            _ if markup.in_header => Mode::Header(""),
            (Some(_), Begins::Inside) => Mode::Reasoning,
            (Some(_), Begins::Open | Begins::Behind) => Mode::Start,
            (None, _) => Mode::Opening,
        };
        let skip_space = matches!(mode, Mode::Reasoning);
        let (held, count) = (String::new(), Count::default());
        Self { markup, mode, held, count, skip_space, last: None }
    }

    /// The same answer, behind whose reasoning everything is text.
    pub(super) fn plain(&self) -> Self {
        let mut plain = self.clone();
        plain.markup.reads = Reads::Text;
        plain
    }

    /// Whether this special token marks something for this parser, so that it is to be given as text.
    pub(super) fn reads(&self, special: &str) -> bool {
        let thinks = self.markup.family.thinks.map(Thinks::markers);
        let is_thought =
            thinks.is_some_and(|(open, close)| special == close || open.starts_with(special));
        let form = self.markup.family.calls.filter(|form| form.has_headers());
        let form = self.markup.calls().or(form);
        is_thought || form.is_some_and(|form| marks(form).contains(&special))
    }

    /// Whether the answer called a tool with whole arguments.
    pub(super) fn called(&self) -> bool {
        self.count.whole > 0
    }

    /// Whether what comes next is reasoning, may be, or says what will be.
    pub(super) fn is_reasoning(&self) -> bool {
        match self.mode {
            Mode::Start => self.markup.begins == Begins::Open,
            Mode::Reasoning | Mode::Header(_) => true,
            Mode::Opening | Mode::Text | Mode::Block(_) => false,
        }
    }

    /// Whether what comes next is reasoning for sure.
    pub(super) fn thinks(&self) -> bool {
        matches!(self.mode, Mode::Reasoning)
    }

    /// Whether what comes next is in a call.
    pub(super) fn calling(&self) -> Calling {
        match &self.mode {
            Mode::Reasoning => Calling::No,
            Mode::Start | Mode::Opening | Mode::Text if self.held.trim().is_empty() => Calling::No,
            Mode::Start | Mode::Opening | Mode::Text => Calling::Maybe,
            Mode::Header(_) => match self.markup.calls() {
                Some(form) => header::calling(form, &self.held),
                None => Calling::No,
            },
            Mode::Block(block) => block.calling(),
        }
    }

    /// What was said of a call as long as nothing was told of it, or of what may become one.
    pub(super) fn begun_call(&self) -> Option<String> {
        let before = match &self.mode {
            Mode::Start | Mode::Opening | Mode::Text | Mode::Reasoning => String::new(),
            Mode::Header(marker) => header::shown(self.markup.family.calls?, marker).to_owned(),
            Mode::Block(block) => block.read_so_far()?,
        };
        let said = joined(before + &self.held);
        // The mark of an answer's first header is the prompt's.
        let said = if self.markup.in_header { said.trim_start_matches(">>>") } else { &*said };
        Some(said.trim_start().to_owned())
    }

    /// What is missing of the mark that opens reasoning where that has begun, and what closes it at once.
    pub(super) fn shutting(&self) -> Option<String> {
        let thinks = self.markup.family.thinks?;
        let (open, close) = thinks.markers();
        let begun = self.held.trim_start();
        let has_begun = matches!(self.mode, Mode::Start) && !begun.is_empty();
        let missing = open.strip_prefix(begun).filter(|_| has_begun && self.is_reasoning())?;
        let (before, behind) = thinks.breaks();
        Some(format!("{missing}{before}{close}{behind}"))
    }

    /// What closes the reasoning that it is in, as far as that was not said yet. With `then` it was closed
    /// before and opened anew, and what comes next is said too, where the model says such things.
    pub(super) fn closing(&self, then: Option<Then>) -> Option<String> {
        if !self.thinks() {
            return None;
        }
        let Some(thinks) = self.markup.family.thinks else {
            return self.markup.family.calls.and_then(|form| header::closing(form, then));
        };
        let (_, close) = thinks.markers();
        let said = undecided_bytes(&self.held, [close]);
        let (before, behind) = thinks.breaks();
        let before = if said == 0 { before } else { "" };
        Some(format!("{before}{}{behind}", &close[said..]))
    }

    /// The constrained answer begins with what comes next. White space that came before it is none of it;
    /// with `trims` neither is white space that comes in one token with its beginning. `false` where no
    /// answer can begin: in reasoning, or behind what else was said.
    pub(super) fn begin_answer(&mut self, trims: bool) -> bool {
        match self.mode {
            Mode::Start if self.held.trim_start().is_empty() => {
                self.held.clear();
                self.mode = Mode::Opening;
                self.skip_space = trims;
            }
            Mode::Opening | Mode::Text => self.skip_space = trims,
            Mode::Start | Mode::Reasoning | Mode::Header(_) | Mode::Block(_) => return false,
        }
        true
    }

    /// Adds text, or a control token that marks something.
    pub(super) fn push(&mut self, text: &str, is_special: bool, parts: &mut Vec<Part>) {
        if is_special {
            self.last = None;
            self.held.push_str(text);
        } else {
            self.hold_apart(text);
        }
        while self.advance(parts) {}
    }

    /// Takes text in so that it cannot be taken for a mark that is a control token.
    fn hold_apart(&mut self, text: &str) {
        for character in text.chars() {
            let begins_so = |mark: &&str| {
                let mut begin = mark.chars();
                begin.next() == self.last && begin.next() == Some(character)
            };
            if self.last.is_some() && self.markup.control.keys().any(begins_so) {
                self.held.push(APART);
            }
            let is_apart = character == APART;
            self.held.push(if is_apart { char::REPLACEMENT_CHARACTER } else { character });
            self.last = Some(character);
        }
    }

    /// No more text comes: whatever is held is what it looks like.
    pub(super) fn finish(&mut self, parts: &mut Vec<Part>) {
        while let Mode::Block(block) = &mut self.mode {
            let (tools, count) = (&*self.markup.tools, &mut self.count);
            let next = block.finish(&mut self.held, &mut Out { tools, count, parts });
            self.follow(next, parts);
            while self.advance(parts) {}
        }
        let rest = std::mem::take(&mut self.held);
        match self.mode {
            Mode::Header(marker) => {
                if let Some(form) = self.markup.family.calls {
                    self.text(header::remains(form, marker, &rest), parts);
                }
            }
            Mode::Start | Mode::Opening | Mode::Text | Mode::Block(_) => self.text(rest, parts),
            Mode::Reasoning => self.reasoning(rest, parts),
        }
    }

    /// Handles what is held up to the next marker. `false` when more text is needed.
    fn advance(&mut self, parts: &mut Vec<Part>) -> bool {
        match &mut self.mode {
            Mode::Start => self.leave_start(),
            Mode::Opening => self.leave_opening(),
            Mode::Text => {
                let (before, marker) = self.take_until(self.text_markers());
                self.text(before, parts);
                self.enter(marker)
            }
            Mode::Reasoning => {
                let (before, marker) = match self.markup.family.thinks {
                    Some(thinks) => self.take_until(&[thinks.markers().1]),
                    None => self.take_until(self.headed_markers()),
                };
                self.reasoning(before, parts);
                self.enter(marker)
            }
            Mode::Header(marker) => {
                let marker = *marker;
                self.leave_header(marker, parts)
            }
            Mode::Block(block) => {
                let (tools, count) = (&*self.markup.tools, &mut self.count);
                let next = block.advance(&mut self.held, &mut Out { tools, count, parts });
                self.follow(next, parts)
            }
        }
    }

    /// Decides whether the answer begins with reasoning.
    fn leave_start(&mut self) -> bool {
        let begin = self.held.trim_start();
        let (open, _) = self.markup.family.thinks.map_or(("", ""), Thinks::markers);
        if let Some(rest) = begin.strip_prefix(open) {
            self.held = rest.to_owned();
            self.mode = Mode::Reasoning;
            self.skip_space = true;
            return true;
        }
        // A control token is there at once.
        let is_token = |mark: &&str| open.starts_with(mark) && !begin.starts_with(mark);
        let may_come = begin.is_empty() || !self.markup.control.keys().any(is_token);
        if open.starts_with(begin) && may_come {
            return false;
        }
        self.mode = Mode::Opening;
        true
    }

    /// Decides whether the answer proper begins with a call that no marker opens.
    fn leave_opening(&mut self) -> bool {
        let space_bytes = self.held.len() - self.held.trim_start().len();
        let form = self.markup.calls().filter(|form| *form == Calls::Llama);
        let form = form.filter(|_| self.markup.reads != Reads::Text);
        match (form, self.held[space_bytes..].chars().next()) {
            (Some(_), None) => return false,
            (Some(form), Some('{')) => {
                let rest = self.held.split_off(space_bytes);
                let space = std::mem::replace(&mut self.held, rest);
                self.mode = Mode::Block(Box::new(Block::bare(form, &space)));
            }
            (Some(_) | None, _) => self.mode = Mode::Text,
        }
        true
    }

    fn leave_header(&mut self, marker: &'static str, parts: &mut Vec<Part>) -> bool {
        let Some(form) = self.markup.family.calls else { return false };
        let tools = self.markup.calls().map(|_| &*self.markup.tools);
        match header::read(form, &self.held, tools) {
            Announced::More => return false,
            Announced::Text { bytes } => {
                self.held.drain(..bytes);
                self.mode = Mode::Text;
                self.skip_space = false;
            }
            Announced::Reasoning { bytes } => {
                self.held.drain(..bytes);
                self.mode = Mode::Reasoning;
            }
            Announced::Call { bytes, name } => {
                let rest = self.held.split_off(bytes);
                let words = std::mem::replace(&mut self.held, rest);
                let header = format!("{}{words}", header::shown(form, marker));
                self.mode = Mode::Block(Box::new(Block::named(form, &header, name)));
            }
            Announced::Nothing => {
                self.text(header::shown(form, marker).to_owned(), parts);
                self.held = header::without_mark(form, &self.held).to_owned();
                self.mode = Mode::Text;
            }
        }
        true
    }

    /// What ends text.
    fn text_markers(&self) -> &'static [&'static str] {
        match (self.markup.reads, self.markup.calls()) {
            (Reads::Text, _) => &[],
            (Reads::Calls | Reads::CallsOrText, Some(form)) => interruptions(form),
            (Reads::Calls | Reads::CallsOrText, None) => self.headed_markers(),
        }
    }

    /// What ends a part, where the model says what each is.
    fn headed_markers(&self) -> &'static [&'static str] {
        let headed = self.markup.family.calls.filter(|form| form.has_headers());
        headed.map_or(&[], interruptions)
    }

    /// Behind a marker that ended text or reasoning. `false` when there was none.
    fn enter(&mut self, marker: Option<&'static str>) -> bool {
        let Some(marker) = marker else { return false };
        let has_thought = matches!(self.mode, Mode::Reasoning);
        self.mode = match self.markup.family.calls {
            _ if has_thought && self.markup.family.thinks.is_some() => {
                self.skip_space = true;
                Mode::Opening
            }
            Some(form) if form.has_headers() => {
                if header::is_part(marker) {
                    self.held.insert_str(0, marker);
                    Mode::Header("")
                } else {
                    Mode::Header(marker)
                }
            }
            Some(form) => Mode::Block(Box::new(Block::opened(form, marker))),
            None => Mode::Text,
        };
        true
    }

    /// What a block's step came to. `false` when more text is needed.
    fn follow(&mut self, next: Next, parts: &mut Vec<Part>) -> bool {
        match next {
            Next::More => return false,
            Next::Again => {}
            Next::Done => {
                self.mode = Mode::Text;
                self.skip_space = true;
            }
            Next::Broken => {
                if let Mode::Block(block) = std::mem::replace(&mut self.mode, Mode::Text) {
                    let (before, again) = block.given_back();
                    self.text(before, parts);
                    self.held.insert_str(0, &again);
                }
            }
        }
        true
    }

    /// What is held up to one of these markers, or up to what could become one, and which it was.
    fn take_until(&mut self, markers: &[&'static str]) -> (String, Option<&'static str>) {
        if let Some((at, marker)) = earliest(&self.held, markers) {
            let rest = self.held.split_off(at + marker.len());
            let mut before = std::mem::replace(&mut self.held, rest);
            before.truncate(at);
            return (before, Some(marker));
        }
        let undecided = undecided_bytes(&self.held, markers.iter().copied());
        let rest = self.held.split_off(self.held.len() - undecided);
        (std::mem::replace(&mut self.held, rest), None)
    }

    fn text(&mut self, text: String, parts: &mut Vec<Part>) {
        if let Some(text) = self.without_skipped_space(text) {
            if self.markup.reads == Reads::CallsOrText {
                self.markup.reads = Reads::Text;
            }
            parts.push(Part::Text(text));
        }
    }

    fn reasoning(&mut self, text: String, parts: &mut Vec<Part>) {
        if let Some(text) = self.without_skipped_space(text) {
            parts.push(Part::Reasoning(text));
        }
    }

    fn without_skipped_space(&mut self, text: String) -> Option<String> {
        let text = if self.skip_space { text.trim_start().to_owned() } else { text };
        if text.is_empty() {
            return None;
        }
        self.skip_space = false;
        Some(text)
    }
}

/// Puts what was held apart together again.
pub(super) fn joined(text: String) -> String {
    if text.contains(APART) { text.replace(APART, "") } else { text }
}

/// All that marks something in answers of such a form.
pub(super) fn marks(form: Calls) -> Vec<&'static str> {
    let mut marks = [interruptions(form), block::MARKS, whole::MARKS].concat();
    marks.extend(block::close(form));
    marks
}

/// What may stand in the middle of a text that is none of it.
fn interruptions(form: Calls) -> &'static [&'static str] {
    if form.has_headers() { header::ends(form) } else { block::opens(form) }
}

/// The first of these markers that stands in the text, and where.
fn earliest<'a>(text: &str, markers: &[&'a str]) -> Option<(usize, &'a str)> {
    let found = markers.iter().filter_map(|marker| Some((text.find(marker)?, *marker)));
    found.min_by_key(|(at, _)| *at)
}

#[cfg(test)]
mod tests;
