//! A chat answer as a stream of chunks.

use std::time::Duration;

use serde::Serialize;
use worker_protocol::{Event, Finished, Piece, ToolCallPiece};

use super::Request;
use crate::{
    CachedBy, Encode, Error,
    cached::Foretold,
    openai::answer::{ChatLogprobs, Usage, UsageTotal, finish_reason},
    timings::Timings,
    write::{to_json, tool_call_id},
};

/// Turns events into the JSON payloads of a stream.
#[derive(Debug)]
pub struct StreamEncoder {
    id: String,
    created_unix_s: u64,
    model: String,
    include_usage: bool,
    /// Which choices have had their first chunk.
    begun: Vec<bool>,
    usage: UsageTotal,
    foretold: Foretold,
    failed: bool,
}

impl StreamEncoder {
    /// `id` names the answer (it is prefixed with `chatcmpl-`); ids of tool calls derive from it.
    #[must_use]
    pub fn new(request: &Request, id: &str, created_unix_s: u64, model: &str) -> Self {
        let choices = request.generates.len();
        Self {
            id: format!("chatcmpl-{id}"),
            created_unix_s,
            model: model.to_owned(),
            include_usage: request.include_usage,
            begun: vec![false; choices],
            usage: UsageTotal::new(u32::try_from(choices).unwrap_or(u32::MAX)),
            foretold: Foretold::new(choices, u32::try_from(choices).unwrap_or(u32::MAX)),
            failed: false,
        }
    }
}

impl Encode for StreamEncoder {
    fn begun(&mut self, model: Option<&str>, _waited: Duration) {
        if let Some(model) = model {
            model.clone_into(&mut self.model);
        }
    }

    fn event(&mut self, choice: u32, event: &Event, out: &mut Vec<String>) {
        self.foretold.hear(choice, event);
        match event {
            Event::Progress { .. } | Event::Embedded { .. } | Event::Ranked { .. } => {}
            Event::Text(piece) => {
                self.begin(choice, out);
                let delta = Delta { content: Some(&piece.text), ..Delta::default() };
                out.push(self.piece(choice, delta, piece));
            }
            Event::Reasoning(piece) => {
                self.begin(choice, out);
                // Clients read one or the other name.
                let text = Some(&*piece.text);
                let delta = Delta { reasoning_content: text, reasoning: text, ..Delta::default() };
                out.push(self.piece(choice, delta, piece));
            }
            Event::ToolCall(piece) => {
                self.begin(choice, out);
                out.push(self.tool_call(choice, piece));
            }
            Event::Finished(finished) => {
                self.begin(choice, out);
                out.push(self.end(choice, finished));
            }
            Event::Failed(failure) => {
                self.failed = true;
                out.push(Error::from(failure).to_json());
            }
        }
    }

    /// The usage, if it was asked for.
    fn finish(&mut self, out: &mut Vec<String>) {
        if self.include_usage && !self.failed {
            out.push(to_json(&Chunk { usage: Some(Some(self.usage.usage())), ..self.chunk(&[]) }));
        }
    }

    fn cached(&self) -> Option<CachedBy> {
        self.foretold.cached()
    }
}

impl StreamEncoder {
    /// The first chunk of a choice says who speaks.
    fn begin(&mut self, choice: u32, out: &mut Vec<String>) {
        let Some(begun) = self.begun.get_mut(choice as usize) else { return };
        if !std::mem::replace(begun, true) {
            let delta = Delta { role: Some("assistant"), content: Some(""), ..Delta::default() };
            out.push(to_json(&self.chunk(&[Choice::new(choice, delta)])));
        }
    }

    fn piece(&self, choice: u32, delta: Delta<'_>, piece: &Piece) -> String {
        let logprobs = (!piece.logprobs.is_empty()).then(|| ChatLogprobs::new(&piece.logprobs));
        to_json(&self.chunk(&[Choice { logprobs, ..Choice::new(choice, delta) }]))
    }

    /// The first part of a call brings its id, type and name; later parts only the position.
    fn tool_call(&self, choice: u32, piece: &ToolCallPiece) -> String {
        let is_first = piece.name.is_some();
        let call = ToolCallDelta {
            index: piece.index,
            id: is_first.then(|| tool_call_id(&self.id, choice, piece.index)),
            r#type: is_first.then_some("function"),
            function: FunctionDelta { name: piece.name.as_deref(), arguments: &piece.arguments },
        };
        let delta = Delta { tool_calls: Some([call]), ..Delta::default() };
        to_json(&self.chunk(&[Choice::new(choice, delta)]))
    }

    fn end(&mut self, choice: u32, finished: &Finished) -> String {
        self.usage.add(choice, &finished.usage);
        let reason = Some(finish_reason(&finished.reason));
        let end = Choice { finish_reason: reason, ..Choice::new(choice, Delta::default()) };
        to_json(&Chunk { timings: Some(Timings::new(&finished.usage)), ..self.chunk(&[end]) })
    }

    /// A chunk around these choices. When the usage comes at the end, the others say null.
    fn chunk<'a>(&'a self, choices: &'a [Choice<'a>]) -> Chunk<'a> {
        Chunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.created_unix_s,
            model: &self.model,
            choices,
            usage: self.include_usage.then_some(None),
            timings: None,
        }
    }
}

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: &'a [Choice<'a>],
    /// Absent, null or there: clients tell the three apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Usage>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timings: Option<Timings>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    delta: Delta<'a>,
    logprobs: Option<ChatLogprobs>,
    finish_reason: Option<&'static str>,
}

impl<'a> Choice<'a> {
    fn new(index: u32, delta: Delta<'a>) -> Self {
        Self { index, delta, logprobs: None, finish_reason: None }
    }
}

#[derive(Default, Serialize)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[ToolCallDelta<'a>; 1]>,
}

#[derive(Serialize)]
struct ToolCallDelta<'a> {
    index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    function: FunctionDelta<'a>,
}

#[derive(Serialize)]
struct FunctionDelta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: &'a str,
}
