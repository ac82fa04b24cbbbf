//! The blocks that an answer consists of: thoughts, texts and calls, one after the other.

use serde::Serialize;
use serde_json::{Map, Value};
use worker_protocol::{Event, ToolCallPiece};

use crate::write::tool_call_hash;

/// What stands in the place of Anthropic's signature of a thought. Nothing is signed here, and whoever
/// sends a thought back is believed. It is not empty, because to some clients a thought without one is
/// broken off, and they leave it out of their next request, whose prompt is then another one.
const SIGNATURE: &str = "resident";

/// A block of an answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Block {
    Text { text: String },
    Thinking { thinking: String, signature: String },
    ToolUse { id: String, name: String, input: Value },
}

/// What happens to the blocks of an answer, in Anthropic's words. Blocks are numbered from zero, one is
/// open at a time, and each ends before the next begins.
#[derive(Debug, PartialEq, Serialize)]
#[serde(tag = "type")]
pub(super) enum Change<'a> {
    #[serde(rename = "content_block_start")]
    Begins { index: u32, content_block: Block },
    #[serde(rename = "content_block_delta")]
    Grows { index: u32, delta: Delta<'a> },
    #[serde(rename = "content_block_stop")]
    Ends { index: u32 },
}

/// What is added to a block.
#[derive(Debug, PartialEq, Serialize)]
#[serde(tag = "type")]
pub(super) enum Delta<'a> {
    #[serde(rename = "text_delta")]
    Text { text: &'a str },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: &'a str },
    #[serde(rename = "signature_delta")]
    Signature { signature: &'a str },
    #[serde(rename = "input_json_delta")]
    Input { partial_json: &'a str },
}

impl Change<'_> {
    /// What the event of a stream is called that tells it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Begins { .. } => "content_block_start",
            Self::Grows { .. } => "content_block_delta",
            Self::Ends { .. } => "content_block_stop",
        }
    }
}

/// Tells from the events of an answer which blocks begin, grow and end.
#[derive(Debug)]
pub(super) struct Blocks {
    /// Ids of calls derive from it.
    answer: String,
    begun: u32,
    open: Option<Kind>,
    calls_begun: u32,
    /// The last call that began, as the worker numbers it.
    last_call: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking,
    ToolUse,
}

impl Blocks {
    pub(super) fn new(answer: &str) -> Self {
        Self { answer: answer.to_owned(), begun: 0, open: None, calls_begun: 0, last_call: None }
    }

    /// Adds what an event changes.
    pub(super) fn event<'a>(&mut self, event: &'a Event, out: &mut Vec<Change<'a>>) {
        match event {
            Event::Text(piece) => self.text(&piece.text, out),
            Event::Reasoning(piece) => self.thought(&piece.text, out),
            Event::ToolCall(piece) => self.call(piece, out),
            Event::Finished(_) => self.end(out),
            Event::Progress { .. }
            | Event::Embedded { .. }
            | Event::Ranked { .. }
            | Event::Failed(_) => {}
        }
    }

    fn text<'a>(&mut self, text: &'a str, out: &mut Vec<Change<'a>>) {
        if text.is_empty() {
            return;
        }
        if self.open != Some(Kind::Text) {
            self.begin(Kind::Text, Block::Text { text: String::new() }, out);
        }
        self.grow(Delta::Text { text }, out);
    }

    fn thought<'a>(&mut self, thinking: &'a str, out: &mut Vec<Change<'a>>) {
        if thinking.is_empty() {
            return;
        }
        if self.open != Some(Kind::Thinking) {
            let block = Block::Thinking { thinking: String::new(), signature: String::new() };
            self.begin(Kind::Thinking, block, out);
        }
        self.grow(Delta::Thinking { thinking }, out);
    }

    /// Parts of a call come one after the other. A part of one that has ended already would be the
    /// worker's mistake, and has no block any more.
    fn call<'a>(&mut self, piece: &'a ToolCallPiece, out: &mut Vec<Change<'a>>) {
        let goes_on = self.open == Some(Kind::ToolUse) && self.last_call == Some(piece.index);
        if !goes_on {
            if self.last_call.is_some_and(|last| piece.index <= last) {
                return;
            }
            let hash = tool_call_hash(&self.answer, 0, self.calls_begun);
            let name = piece.name.clone().unwrap_or_default();
            let input = Value::Object(Map::new());
            let block = Block::ToolUse { id: format!("toolu_{hash:016x}"), name, input };
            self.begin(Kind::ToolUse, block, out);
            self.calls_begun += 1;
            self.last_call = Some(piece.index);
        }
        if !piece.arguments.is_empty() {
            self.grow(Delta::Input { partial_json: &piece.arguments }, out);
        }
    }

    fn begin<'a>(&mut self, kind: Kind, content_block: Block, out: &mut Vec<Change<'a>>) {
        self.end(out);
        out.push(Change::Begins { index: self.begun, content_block });
        self.begun += 1;
        self.open = Some(kind);
    }

    fn grow<'a>(&self, delta: Delta<'a>, out: &mut Vec<Change<'a>>) {
        out.push(Change::Grows { index: self.last(), delta });
    }

    /// Ends the block that is open, if one is.
    fn end(&mut self, out: &mut Vec<Change<'_>>) {
        let Some(kind) = self.open.take() else { return };
        if kind == Kind::Thinking {
            self.grow(Delta::Signature { signature: SIGNATURE }, out);
        }
        out.push(Change::Ends { index: self.last() });
    }

    /// The block that began last.
    fn last(&self) -> u32 {
        self.begun.saturating_sub(1)
    }
}
