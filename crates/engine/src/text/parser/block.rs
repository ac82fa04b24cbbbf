//! A stretch of an answer that should be calls, from the marker that opened it to its end.
//!
//! JSON is passed on as it comes once the name of the function is known; everything else when it is
//! whole. What turns out to be no call is given back and is text.

use super::json::{Depth, Head, Nesting, head, is_name, is_of_name, is_whole, read_call};
use super::literal::Call;
use super::{Calling, Part, whole};
use crate::limits::CALL_HEAD_BYTES_MAX;
use crate::text::markup::{Calls, Tools};

pub(super) const TOOL_CALL: &str = "<tool_call>";
pub(super) const TOOL_CALL_END: &str = "</tool_call>";
const CALLS_BEGIN: &str = "<｜tool▁calls▁begin｜>";
const CALLS_END: &str = "<｜tool▁calls▁end｜>";
const CALL_BEGIN: &str = "<｜tool▁call▁begin｜>";
const CALL_SEPARATOR: &str = "<｜tool▁sep｜>";
const CALL_END: &str = "<｜tool▁call▁end｜>";
const CALL_ID: &str = "[CALL_ID]";
const ARGUMENTS: &str = "[ARGS]";

/// The special tokens inside of such blocks.
pub(super) const MARKS: &[&str] =
    &[CALL_BEGIN, CALL_SEPARATOR, CALL_END, CALLS_END, CALL_ID, ARGUMENTS];

/// What opens calls of a form.
pub(super) fn opens(form: Calls) -> &'static [&'static str] {
    match form {
        Calls::Hermes | Calls::Glm => &[TOOL_CALL],
        // Qwen3-Coder forgets the outer mark at times.
        Calls::Xml => &[TOOL_CALL, whole::FUNCTION],
        Calls::Llama => &["<|python_tag|>"],
        Calls::Mistral => &["[TOOL_CALLS]"],
        Calls::DeepSeek => &[CALLS_BEGIN, CALL_BEGIN],
        Calls::Gemma => &["<|tool_call>"],
        Calls::List => &["<|tool_call|>", "functools"],
        Calls::Python => &["<|tool_call_start|>"],
        Calls::Function => &[whole::FUNCTION],
        // Headers say it.
        Calls::Recipient | Calls::Harmony => &[],
    }
}

/// What closes them, where anything does.
pub(super) fn close(form: Calls) -> Option<&'static str> {
    match form {
        Calls::Hermes | Calls::Glm | Calls::Xml => Some(TOOL_CALL_END),
        Calls::DeepSeek => Some(CALLS_END),
        Calls::Gemma => Some("<tool_call|>"),
        Calls::List => Some("<|/tool_call|>"),
        Calls::Python => Some("<|tool_call_end|>"),
        Calls::Function => Some(whole::FUNCTION_END),
        Calls::Llama | Calls::Mistral | Calls::Recipient | Calls::Harmony => None,
    }
}

/// The calls of an answer so far.
#[derive(Debug, Default, Clone)]
pub(super) struct Count {
    begun: u32,
    /// Calls whose arguments are whole.
    pub(super) whole: u32,
}

/// Where the calls of a block go.
pub(super) struct Out<'a> {
    pub(super) tools: &'a Tools,
    pub(super) count: &'a mut Count,
    pub(super) parts: &'a mut Vec<Part>,
}

/// What becomes of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It needs more text.
    More,
    /// It goes on at once.
    Again,
    /// It is over; what follows is text.
    Done,
    /// It is no call, from what was not told of yet.
    Broken,
}

#[derive(Debug, Clone)]
enum Step {
    /// Before the first call, or between two.
    Between,
    /// At a name.
    Named,
    /// Behind a name, at its arguments.
    Awaiting { name: String },
    /// At an object that holds name and arguments.
    Object,
    /// At such an object, which is read when it is whole; so many bytes of it were looked at.
    Kept { nesting: Nesting, seen: usize },
    /// In arguments, which are passed on.
    Arguments { nesting: Nesting, written: String, in_object: bool },
    /// The same, though their brackets do not match.
    Spoilt,
    /// Behind the arguments, in the object that holds them.
    Behind,
    /// In further members of that object.
    Members(Nesting),
    /// At what can only be read whole.
    Whole,
    /// Behind it, where a marker may stand that needs not.
    Closing(&'static str),
}

/// Such a stretch.
#[derive(Debug, Clone)]
pub(super) struct Block {
    form: Calls,
    step: Step,
    /// Only offered tools are called: nothing else tells these calls from text.
    is_bare: bool,
    /// What opened it, until a call came of it.
    opened: String,
    /// What was read behind that, or behind the last call.
    source: String,
    /// Its calls stand in a list.
    listed: bool,
    calls: u32,
}

impl Block {
    /// Behind a marker that opens calls.
    pub(super) fn opened(form: Calls, marker: &str) -> Self {
        let step = match form {
            Calls::Xml | Calls::Glm | Calls::Gemma | Calls::Python => Step::Whole,
            Calls::Function => Step::Named,
            Calls::DeepSeek if marker == CALL_BEGIN => Step::Named,
            Calls::Hermes
            | Calls::Llama
            | Calls::Mistral
            | Calls::DeepSeek
            | Calls::List
            | Calls::Recipient
            | Calls::Harmony => Step::Between,
        };
        Self::new(form, step, marker)
    }

    /// At an object without a marker, behind this white space.
    pub(super) fn bare(form: Calls, space: &str) -> Self {
        Self { is_bare: true, ..Self::new(form, Step::Object, space) }
    }

    /// Behind a header that named the function.
    pub(super) fn named(form: Calls, header: &str, name: String) -> Self {
        Self::new(form, Step::Awaiting { name }, header)
    }

    fn new(form: Calls, step: Step, opened: &str) -> Self {
        Self {
            form,
            step,
            is_bare: false,
            opened: opened.to_owned(),
            source: String::new(),
            listed: false,
            calls: 0,
        }
    }

    /// What stood before it and is text, and what of it is to be read again.
    pub(super) fn given_back(self) -> (String, String) {
        (self.opened, self.source)
    }

    /// Whether it is in a call. An object that no marker opens is one when its name is there.
    pub(super) fn calling(&self) -> Calling {
        if self.is_bare && self.calls == 0 { Calling::Maybe } else { Calling::Yes }
    }

    /// What it has read, as long as no call came of it.
    pub(super) fn read_so_far(&self) -> Option<String> {
        (self.calls == 0).then(|| format!("{}{}", self.opened, self.source))
    }

    /// Handles what is held, one step.
    pub(super) fn advance(&mut self, held: &mut String, out: &mut Out<'_>) -> Next {
        match std::mem::replace(&mut self.step, Step::Between) {
            Step::Between => self.between(held),
            Step::Named => self.name(held),
            Step::Awaiting { name } => self.awaiting(held, name, out),
            Step::Object => self.object(held, out),
            Step::Kept { nesting, seen } => self.kept(held, nesting, seen, out),
            Step::Arguments { nesting, written, in_object } => {
                self.arguments(held, nesting, written, in_object, out)
            }
            Step::Spoilt => self.spoilt(held, out),
            Step::Behind => self.behind(held),
            Step::Members(nesting) => self.members(held, nesting),
            Step::Whole => self.whole(held, out),
            Step::Closing(marker) => self.closing(held, marker),
        }
    }

    /// The answer is over.
    pub(super) fn finish(&mut self, held: &mut String, out: &mut Out<'_>) -> Next {
        match &self.step {
            Step::Whole if self.may_be_whole(held) => {
                let body = self.body(held);
                let body = &body[..body.len() - self.cut_bytes(&body)];
                let calls = whole::read(self.form, body, out.tools).unwrap_or_default();
                if calls.is_empty() {
                    return Next::Broken;
                }
                self.tell_all(calls, out);
                held.clear();
                Next::Done
            }
            // What was cut in its closing mark is no text.
            Step::Between | Step::Closing(_)
                if self.calls > 0 && self.cut_bytes(held) == held.len() =>
            {
                held.clear();
                Next::Done
            }
            Step::Spoilt => {
                out.pass_on(held);
                held.clear();
                Next::Done
            }
            Step::Arguments { .. } | Step::Behind => Next::Done,
            Step::Between
            | Step::Members(_)
            | Step::Closing(_)
            | Step::Whole
            | Step::Named
            | Step::Awaiting { .. }
            | Step::Object
            | Step::Kept { .. } => Next::Broken,
        }
    }

    /// Whether the end of the answer may be the end of a call that is read whole. GLM's calls do not say
    /// themselves that they are over, but for the beginning of their closing mark.
    fn may_be_whole(&self, held: &str) -> bool {
        self.form != Calls::Glm || self.cut_bytes(held) > "<".len()
    }

    /// Bytes at the end of a text that are the beginning of a mark that closes calls.
    fn cut_bytes(&self, text: &str) -> usize {
        let inner = (self.form == Calls::DeepSeek).then_some(CALL_END);
        super::undecided_bytes(text, close(self.form).into_iter().chain(inner))
    }

    fn go(&mut self, step: Step) -> Next {
        self.step = step;
        Next::Again
    }

    fn wait(&mut self, step: Step) -> Next {
        self.step = step;
        Next::More
    }

    /// Reads over this many bytes.
    fn pass(&mut self, held: &mut String, bytes: usize) {
        self.source.extend(held.drain(..bytes));
    }

    fn pass_space(&mut self, held: &mut String) {
        let bytes = held.len() - held.trim_start().len();
        self.pass(held, bytes);
    }

    /// Whether a marker stands here; `None` when that cannot be said yet.
    fn pass_marker(&mut self, held: &mut String, marker: &str) -> Option<bool> {
        if held.starts_with(marker) {
            self.pass(held, marker.len());
            return Some(true);
        }
        if marker.starts_with(&**held) { None } else { Some(false) }
    }

    fn between(&mut self, held: &mut String) -> Next {
        self.pass_space(held);
        let Some(first) = held.chars().next() else { return self.wait(Step::Between) };
        let has_objects =
            matches!(self.form, Calls::Hermes | Calls::Llama | Calls::Mistral | Calls::List);
        match first {
            '{' if has_objects => return self.go(Step::Object),
            '[' if has_objects && !self.listed && self.calls == 0 => {
                self.listed = true;
                self.pass(held, 1);
                return self.go(Step::Between);
            }
            ']' if self.listed => {
                self.listed = false;
                self.pass(held, 1);
                if self.calls > 0 {
                    // It belongs to them, whatever follows.
                    self.source.clear();
                }
                return self.go(Step::Between);
            }
            // A bracket too many is forgiven, as are marks between calls and a fence behind them.
            ',' | ';' | '}' | ']' | '`' if self.calls > 0 => {
                self.pass(held, 1);
                return self.go(Step::Between);
            }
            _ => {}
        }
        self.between_markers(held, first)
    }

    fn between_markers(&mut self, held: &mut String, first: char) -> Next {
        if let Some(close) = close(self.form) {
            match self.pass_marker(held, close) {
                None => return self.wait(Step::Between),
                Some(true) if self.calls > 0 => return Next::Done,
                Some(true) => return Next::Broken,
                Some(false) => {}
            }
        }
        if self.form == Calls::DeepSeek {
            for (marker, step) in [(CALL_END, Step::Between), (CALL_BEGIN, Step::Named)] {
                match self.pass_marker(held, marker) {
                    None => return self.wait(Step::Between),
                    Some(true) => {
                        if marker == CALL_END {
                            self.source.clear();
                        }
                        return self.go(step);
                    }
                    Some(false) => {}
                }
            }
        }
        if self.calls > 0 {
            // What was taken for marks between calls is text before this.
            let is_text = !self.source.trim().is_empty();
            return if is_text { Next::Broken } else { Next::Done };
        }
        // DeepSeek's distilled models forget the inner mark at times.
        if matches!(self.form, Calls::Mistral | Calls::DeepSeek) && is_of_name(first) {
            return self.go(Step::Named);
        }
        Next::Broken
    }

    /// A name, and what stands between it and the arguments.
    fn name(&mut self, held: &mut String) -> Next {
        let name_bytes = held.find(|c| !is_of_name(c)).unwrap_or(held.len());
        let (name, rest) = held.split_at(name_bytes);
        let found = match self.form {
            _ if rest.is_empty() && name_bytes <= CALL_HEAD_BYTES_MAX => Found::More,
            Calls::Mistral => behind_mistral_name(rest),
            Calls::DeepSeek => return self.deepseek_name(held, name_bytes),
            Calls::Function => behind_marker(rest, ">"),
            Calls::Hermes
            | Calls::Xml
            | Calls::Glm
            | Calls::Llama
            | Calls::Gemma
            | Calls::List
            | Calls::Python
            | Calls::Recipient
            | Calls::Harmony => Found::Else,
        };
        match found {
            Found::More => self.wait(Step::Named),
            Found::At(bytes) if !name.is_empty() => {
                let name = name.to_owned();
                self.pass(held, name_bytes + bytes);
                self.go(Step::Awaiting { name })
            }
            Found::At(_) | Found::Else => Next::Broken,
        }
    }

    /// The name alone, or behind a type, before a line break and a fence.
    fn deepseek_name(&mut self, held: &mut String, first_bytes: usize) -> Next {
        let (first, rest) = held.split_at(first_bytes);
        let Some(rest) = rest.strip_prefix(CALL_SEPARATOR) else {
            let more = CALL_SEPARATOR.starts_with(rest);
            return if more { self.wait(Step::Named) } else { Next::Broken };
        };
        let Some(brace) = rest.find(['{', '<']) else {
            let more = rest.len() <= CALL_HEAD_BYTES_MAX;
            return if more { self.wait(Step::Named) } else { Next::Broken };
        };
        let mut lines = rest[..brace].trim().lines();
        let name = lines.next().map_or(first, str::trim).to_owned();
        let is_fenced = lines.all(|line| line.trim_end() == "```json" || line.trim().is_empty());
        if !is_fenced || !is_name(&name) {
            return Next::Broken;
        }
        let bytes = held.len() - rest.len() + brace;
        self.pass(held, bytes);
        self.go(Step::Awaiting { name })
    }

    fn awaiting(&mut self, held: &mut String, name: String, out: &mut Out<'_>) -> Next {
        self.pass_space(held);
        match held.chars().next() {
            None => self.wait(Step::Awaiting { name }),
            Some('{') => {
                self.begin(name, out);
                self.go(Step::Arguments {
                    nesting: Nesting::default(),
                    written: String::new(),
                    in_object: false,
                })
            }
            Some(_) => Next::Broken,
        }
    }

    fn object(&mut self, held: &mut String, out: &mut Out<'_>) -> Next {
        match head(held, self.is_bare.then_some(out.tools)) {
            Head::More => self.wait(Step::Object),
            Head::Other => self.go(Step::Kept { nesting: Nesting::default(), seen: 0 }),
            Head::NoCall => Next::Broken,
            Head::Arguments { name, at } => {
                self.pass(held, at);
                self.begin(name, out);
                self.go(Step::Arguments {
                    nesting: Nesting::default(),
                    written: String::new(),
                    in_object: true,
                })
            }
        }
    }

    fn kept(
        &mut self,
        held: &mut String,
        mut nesting: Nesting,
        seen: usize,
        out: &mut Out<'_>,
    ) -> Next {
        for (at, character) in held[seen..].char_indices() {
            match nesting.push(character) {
                Depth::Inside => {}
                Depth::Broken => return Next::Broken,
                Depth::Ended => {
                    let end = seen + at + character.len_utf8();
                    let call = read_call(&held[..end]);
                    let call = call.filter(|(name, _)| !self.is_bare || out.tools.has(name));
                    let Some(call) = call else { return Next::Broken };
                    self.pass(held, end);
                    self.tell_all(vec![call], out);
                    return self.go(Step::Between);
                }
            }
        }
        self.wait(Step::Kept { nesting, seen: held.len() })
    }

    fn arguments(
        &mut self,
        held: &mut String,
        mut nesting: Nesting,
        mut written: String,
        in_object: bool,
        out: &mut Out<'_>,
    ) -> Next {
        let from = written.len();
        let mut ended = None;
        for (at, character) in held.char_indices() {
            let depth = nesting.push(character);
            nesting.write(character, &mut written);
            if depth != Depth::Inside {
                ended = Some((at + character.len_utf8(), depth));
                break;
            }
        }
        let bytes = ended.map_or(held.len(), |(bytes, _)| bytes);
        held.drain(..bytes);
        out.pass_on(&written[from..]);
        match ended {
            None => self.wait(Step::Arguments { nesting, written, in_object }),
            Some((_, Depth::Ended)) => {
                out.count.whole += u32::from(is_whole(&written));
                self.go(if in_object { Step::Behind } else { Step::Between })
            }
            Some((_, Depth::Broken | Depth::Inside)) => self.go(Step::Spoilt),
        }
    }

    /// What the client has seen the beginning of cannot become text any more: it gets the rest as well,
    /// and the finding that this is no JSON.
    fn spoilt(&mut self, held: &mut String, out: &mut Out<'_>) -> Next {
        let ends = [close(self.form), Some(CALL_END)].into_iter().flatten();
        let ends: Vec<&str> = ends.chain(super::interruptions(self.form).iter().copied()).collect();
        if let Some((at, _)) = super::earliest(held, &ends) {
            out.pass_on(&held[..at]);
            held.drain(..at);
            return self.go(Step::Between);
        }
        let sure = held.len() - super::undecided_bytes(held, ends);
        out.pass_on(&held[..sure]);
        held.drain(..sure);
        self.wait(Step::Spoilt)
    }

    fn behind(&mut self, held: &mut String) -> Next {
        self.pass_space(held);
        match held.chars().next() {
            None => self.wait(Step::Behind),
            Some(',') => self.go(Step::Members(Nesting::in_object())),
            Some('}') => {
                self.pass(held, 1);
                self.source.clear();
                self.go(Step::Between)
            }
            Some(_) => self.go(Step::Between),
        }
    }

    /// They say nothing that a client could use: an id of the model's own, a type.
    fn members(&mut self, held: &mut String, mut nesting: Nesting) -> Next {
        let close = close(self.form);
        loop {
            let Some(character) = held.chars().next() else {
                return self.wait(Step::Members(nesting));
            };
            if let Some(close) = close.filter(|_| nesting.is_outermost()) {
                if held.starts_with(close) {
                    return self.go(Step::Between);
                }
                if close.starts_with(&**held) {
                    return self.wait(Step::Members(nesting));
                }
            }
            self.pass(held, character.len_utf8());
            match nesting.push(character) {
                Depth::Inside => {}
                Depth::Ended => {
                    self.source.clear();
                    return self.go(Step::Between);
                }
                Depth::Broken => return self.go(Step::Between),
            }
        }
    }

    fn whole(&mut self, held: &mut String, out: &mut Out<'_>) -> Next {
        let body = self.body(held);
        if !whole::may_be(self.form, &body) {
            return Next::Broken;
        }
        let without_outer = body.len() - held.len();
        let close = match close(self.form) {
            Some(_) if without_outer > 0 => whole::FUNCTION_END,
            Some(close) => close,
            None => return Next::Broken,
        };
        let Some(at) = whole::end(self.form, &body, close) else { return self.wait(Step::Whole) };
        let end = if without_outer > 0 { at + close.len() } else { at };
        let calls = whole::read(self.form, &body[..end], out.tools).unwrap_or_default();
        if calls.is_empty() {
            return Next::Broken;
        }
        held.drain(..at + close.len() - without_outer);
        self.tell_all(calls, out);
        if without_outer > 0 { self.go(Step::Closing(TOOL_CALL_END)) } else { Next::Done }
    }

    /// What is to be read as a whole: a function without its outer marker is a part of the call itself.
    fn body(&self, held: &str) -> String {
        let begin = if self.opened == whole::FUNCTION { whole::FUNCTION } else { "" };
        format!("{begin}{held}")
    }

    fn closing(&mut self, held: &mut String, marker: &'static str) -> Next {
        self.pass_space(held);
        match self.pass_marker(held, marker) {
            None => self.wait(Step::Closing(marker)),
            Some(_) => Next::Done,
        }
    }

    fn tell_all(&mut self, calls: Vec<Call>, out: &mut Out<'_>) {
        for (name, arguments) in calls {
            self.begin(name, out);
            out.pass_on(&arguments);
            out.count.whole += u32::from(is_whole(&arguments));
        }
    }

    fn begin(&mut self, name: String, out: &mut Out<'_>) {
        let (index, name) = (out.count.begun, Some(name));
        out.parts.push(Part::Call { index, name, arguments: String::new() });
        out.count.begun += 1;
        self.calls += 1;
        self.opened.clear();
        self.source.clear();
    }
}

impl Out<'_> {
    /// Adds to the arguments of the last call.
    fn pass_on(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        // The name and the first characters need no two events.
        if let Some(Part::Call { arguments, .. }) = self.parts.last_mut() {
            return arguments.push_str(text);
        }
        let index = self.count.begun.saturating_sub(1);
        self.parts.push(Part::Call { index, name: None, arguments: text.to_owned() });
    }
}

enum Found {
    /// Too little to say.
    More,
    /// So many bytes stand between name and arguments.
    At(usize),
    Else,
}

fn behind_marker(rest: &str, marker: &str) -> Found {
    if rest.starts_with(marker) {
        Found::At(marker.len())
    } else if marker.starts_with(rest) {
        Found::More
    } else {
        Found::Else
    }
}

/// The arguments follow at once, behind a marker, or behind an id and the marker.
fn behind_mistral_name(rest: &str) -> Found {
    if rest.starts_with('{') {
        return Found::At(0);
    }
    match behind_marker(rest, CALL_ID) {
        Found::At(id) => {
            let id = id + rest[id..].chars().take_while(char::is_ascii_alphanumeric).count();
            match behind_marker(&rest[id..], ARGUMENTS) {
                Found::At(bytes) => Found::At(id + bytes),
                found @ (Found::More | Found::Else) => found,
            }
        }
        Found::More => Found::More,
        Found::Else => behind_marker(rest, ARGUMENTS),
    }
}
