//! Tells reasoning and tool calls from text, in the form that Qwen, Hermes and many after them use:
//! `<think>…</think>` and `<tool_call>{"name":…,"arguments":…}</tool_call>`.
//!
//! Other families' forms are passed on as the text they are.

use serde_json::Value;

use super::undecided_bytes;

const THINK: &str = "<think>";
const THINK_END: &str = "</think>";
const CALL: &str = "<tool_call>";
const CALL_END: &str = "</tool_call>";

/// What to look for in an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Markup {
    /// The model may think before it answers.
    pub(crate) reasoning: bool,
    /// The prompt ended inside the reasoning, so that the answer begins there.
    pub(crate) begins_reasoning: bool,
    /// Tools were offered.
    pub(crate) tools: bool,
}

/// A part of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    Reasoning(String),
    Call { index: u32, name: String, arguments: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Nothing but white space came so far; only here can reasoning begin.
    Start,
    Text,
    Reasoning,
    Call,
}

#[derive(Debug, Clone)]
pub(super) struct Parser {
    markup: Markup,
    mode: Mode,
    /// Text that is not decided, and in a call everything since its begin.
    held: String,
    calls: u32,
    /// White space that follows a marker is not part of the text.
    skip_space: bool,
}

impl Parser {
    pub(super) fn new(markup: Markup) -> Self {
        let mode = if markup.begins_reasoning {
            Mode::Reasoning
        } else if markup.reasoning {
            Mode::Start
        } else {
            Mode::Text
        };
        let skip_space = markup.begins_reasoning;
        Self { markup, mode, held: String::new(), calls: 0, skip_space }
    }

    pub(super) fn reads_markup(&self) -> bool {
        self.markup != Markup::default()
    }

    pub(super) fn is_reasoning(&self) -> bool {
        match self.mode {
            Mode::Start | Mode::Reasoning => true,
            Mode::Text | Mode::Call => false,
        }
    }

    pub(super) fn calls(&self) -> u32 {
        self.calls
    }

    pub(super) fn push(&mut self, text: &str, parts: &mut Vec<Part>) {
        self.held.push_str(text);
        while self.advance(parts) {}
    }

    /// No more text comes: whatever is held is what it looks like.
    pub(super) fn finish(&mut self, parts: &mut Vec<Part>) {
        let rest = std::mem::take(&mut self.held);
        match self.mode {
            Mode::Call => self.call(&rest, "", parts),
            Mode::Start | Mode::Text => self.text(rest, parts),
            Mode::Reasoning => self.reasoning(rest, parts),
        }
    }

    /// Handles what is held up to the next marker. `false` when more text is needed.
    fn advance(&mut self, parts: &mut Vec<Part>) -> bool {
        match self.mode {
            Mode::Start => self.leave_start(),
            Mode::Text if !self.markup.tools => {
                let text = std::mem::take(&mut self.held);
                self.text(text, parts);
                false
            }
            Mode::Text => {
                let (before, found) = self.take_until(CALL);
                self.text(before, parts);
                if found {
                    self.mode = Mode::Call;
                }
                found
            }
            Mode::Reasoning => {
                let (before, found) = self.take_until(THINK_END);
                self.reasoning(before, parts);
                if found {
                    self.mode = Mode::Text;
                    self.skip_space = true;
                }
                found
            }
            Mode::Call => {
                let Some(end) = self.held.find(CALL_END) else { return false };
                let rest = self.held.split_off(end + CALL_END.len());
                let held = std::mem::replace(&mut self.held, rest);
                self.call(&held[..end], CALL_END, parts);
                self.mode = Mode::Text;
                true
            }
        }
    }

    /// Decides whether the answer begins with reasoning.
    fn leave_start(&mut self) -> bool {
        let begin = self.held.trim_start();
        if let Some(rest) = begin.strip_prefix(THINK) {
            self.held = rest.to_owned();
            self.mode = Mode::Reasoning;
            self.skip_space = true;
            return true;
        }
        if THINK.starts_with(begin) {
            return false;
        }
        self.mode = Mode::Text;
        true
    }

    /// What is held up to `marker`, or up to what could become it, and whether it was found.
    fn take_until(&mut self, marker: &str) -> (String, bool) {
        if let Some(at) = self.held.find(marker) {
            let rest = self.held.split_off(at + marker.len());
            let mut before = std::mem::replace(&mut self.held, rest);
            before.truncate(at);
            return (before, true);
        }
        let undecided = undecided_bytes(&self.held, [marker]);
        let rest = self.held.split_off(self.held.len() - undecided);
        (std::mem::replace(&mut self.held, rest), false)
    }

    fn text(&mut self, text: String, parts: &mut Vec<Part>) {
        if let Some(text) = self.without_skipped_space(text) {
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

    /// A call that cannot be read is shown as the text it is, rather than lost.
    fn call(&mut self, json: &str, end: &str, parts: &mut Vec<Part>) {
        if let Some((name, arguments)) = read_call(json) {
            parts.push(Part::Call { index: self.calls, name, arguments });
            self.calls += 1;
            self.skip_space = true;
        } else {
            self.text(format!("{CALL}{json}{end}"), parts);
        }
    }
}

fn read_call(json: &str) -> Option<(String, String)> {
    let mut call: Value = serde_json::from_str(json.trim()).ok()?;
    let name = call.get("name")?.as_str()?.to_owned();
    let arguments = match call.get_mut("arguments").map(Value::take) {
        Some(Value::String(text)) => text,
        Some(value) => value.to_string(),
        None => "{}".to_owned(),
    };
    Some((name, arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Markup = Markup { reasoning: true, begins_reasoning: false, tools: true };

    /// Pushes the text whole and character by character; both must give the same parts.
    #[track_caller]
    fn check(markup: Markup, text: &str, expected: &[Part]) {
        let mut whole = Parser::new(markup);
        let mut parts = Vec::new();
        whole.push(text, &mut parts);
        whole.finish(&mut parts);
        assert_eq!(joined(parts), expected, "whole");

        let mut slow = Parser::new(markup);
        let mut parts = Vec::new();
        for character in text.chars() {
            slow.push(&character.to_string(), &mut parts);
        }
        slow.finish(&mut parts);
        assert_eq!(joined(parts), expected, "by character");
    }

    fn joined(parts: Vec<Part>) -> Vec<Part> {
        let mut joined: Vec<Part> = Vec::new();
        for part in parts {
            match (joined.last_mut(), part) {
                (Some(Part::Text(last)), Part::Text(text))
                | (Some(Part::Reasoning(last)), Part::Reasoning(text)) => last.push_str(&text),
                (_, part) => joined.push(part),
            }
        }
        joined
    }

    fn text(text: &str) -> Part {
        Part::Text(text.to_owned())
    }

    fn thought(text: &str) -> Part {
        Part::Reasoning(text.to_owned())
    }

    fn call(index: u32, name: &str, arguments: &str) -> Part {
        Part::Call { index, name: name.to_owned(), arguments: arguments.to_owned() }
    }

    #[test]
    fn plain_text_passes() {
        check(ALL, "a < b and <i>c</i>", &[text("a < b and <i>c</i>")]);
        check(Markup::default(), "<think>x</think>", &[text("<think>x</think>")]);
        check(ALL, "", &[]);
    }

    #[test]
    fn reasoning_comes_first_or_not_at_all() {
        check(ALL, "\n<think>\nhm\n</think>\n\nyes", &[thought("hm\n"), text("yes")]);
        check(ALL, "so <think> is a tag", &[text("so <think> is a tag")]);
        check(ALL, "<think>cut off", &[thought("cut off")]);
        let begun = Markup { begins_reasoning: true, ..ALL };
        check(begun, "hm</think>yes", &[thought("hm"), text("yes")]);
    }

    #[test]
    fn tool_calls_are_numbered_and_keep_their_arguments() {
        check(
            ALL,
            "Look:\n<tool_call>\n{\"name\": \"add\", \"arguments\": {\"b\": 1, \"a\": 2}}\n</tool_call>\n\
             <tool_call>{\"name\":\"now\"}</tool_call>",
            &[text("Look:\n"), call(0, "add", "{\"b\":1,\"a\":2}"), call(1, "now", "{}")],
        );
    }

    #[test]
    fn a_call_without_its_end_marker_counts_when_it_is_whole() {
        check(ALL, "<tool_call>{\"name\":\"now\",\"arguments\":{}}", &[call(0, "now", "{}")]);
    }

    #[test]
    fn a_broken_call_is_shown_and_not_lost() {
        check(ALL, "<tool_call>{oops</tool_call>!", &[text("<tool_call>{oops</tool_call>!")]);
        check(ALL, "<tool_call>{\"na", &[text("<tool_call>{\"na")]);
    }
}
