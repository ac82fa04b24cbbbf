//! Answers: a stream of lines, or one object.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};
use worker_protocol::{Event, FinishReason, Finished, ToolCallPiece, Usage};

use super::error_body;
use crate::{
    CachedBy, Encode, Error,
    cached::Foretold,
    outcome::Outcome,
    write::{Token, to_json, tool_call_id},
};

/// Which route is answered: both say the same in other places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `/api/chat`: a message.
    Chat,
    /// `/api/generate`: a text.
    Generate,
}

/// What every object of an answer says.
#[derive(Debug)]
struct Head {
    form: Form,
    /// Ids of tool calls derive from it.
    id: String,
    model: String,
    created_at: String,
    /// How long the model was waited for.
    load: Duration,
}

/// Turns events into the lines of a stream. How lines end is the caller's.
#[derive(Debug)]
pub struct StreamEncoder {
    head: Head,
    calls: Calls,
    foretold: Foretold,
}

/// Collects events into one answer.
#[derive(Debug)]
pub struct WholeEncoder {
    head: Head,
    calls: Calls,
    said: Said,
    outcome: Outcome,
}

impl StreamEncoder {
    /// `id` names the answer; `created_at` is a time as RFC 3339 writes it.
    #[must_use]
    pub fn new(form: Form, id: &str, created_at: &str, model: &str) -> Self {
        Self {
            head: Head::new(form, id, created_at, model),
            calls: Calls::default(),
            foretold: Foretold::new(1, 1),
        }
    }

    /// A line that says nothing: it keeps a silent stream alive.
    #[must_use]
    pub fn nothing(&self) -> String {
        self.head.line(Said::default())
    }
}

impl Encode for StreamEncoder {
    fn begun(&mut self, model: Option<&str>, waited: Duration) {
        self.head.served_by(model, waited);
    }

    /// Ollama's requests have one choice.
    fn event(&mut self, _choice: u32, event: &Event, out: &mut Vec<String>) {
        self.foretold.hear(0, event);
        match event {
            Event::Progress { .. } | Event::Embedded { .. } | Event::Ranked { .. } => {}
            Event::Text(piece) => out.push(self.head.line(Said {
                text: piece.text.clone(),
                logprobs: piece.logprobs.iter().map(Token::chosen).collect(),
                ..Said::default()
            })),
            Event::Reasoning(piece) => out.push(self.head.line(Said {
                thinking: piece.text.clone(),
                logprobs: piece.logprobs.iter().map(Token::chosen).collect(),
                ..Said::default()
            })),
            Event::ToolCall(piece) => self.calls.add(piece),
            Event::Finished(finished) => {
                let tool_calls = std::mem::take(&mut self.calls).whole(&self.head.id);
                if !tool_calls.is_empty() {
                    out.push(self.head.line(Said { tool_calls, ..Said::default() }));
                }
                out.push(self.head.end(Said::default(), finished));
            }
            Event::Failed(failure) => out.push(error_body(&Error::from(failure))),
        }
    }

    /// The last line says so itself.
    fn finish(&mut self, _out: &mut Vec<String>) {}

    fn cached(&self) -> Option<CachedBy> {
        self.foretold.cached()
    }
}

impl WholeEncoder {
    /// `id` names the answer; `created_at` is a time as RFC 3339 writes it.
    #[must_use]
    pub fn new(form: Form, id: &str, created_at: &str, model: &str) -> Self {
        Self {
            head: Head::new(form, id, created_at, model),
            calls: Calls::default(),
            said: Said::default(),
            outcome: Outcome::default(),
        }
    }

    /// The model that serves, where another name was asked for, and how long it was waited for.
    pub fn served_by(&mut self, model: Option<&str>, load: Duration) {
        self.head.served_by(model, load);
    }

    /// Takes in one event.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Progress { .. } | Event::Embedded { .. } | Event::Ranked { .. } => {}
            Event::Text(piece) => {
                self.said.text.push_str(&piece.text);
                self.said.logprobs.extend(piece.logprobs.iter().map(Token::chosen));
            }
            Event::Reasoning(piece) => {
                self.said.thinking.push_str(&piece.text);
                self.said.logprobs.extend(piece.logprobs.iter().map(Token::chosen));
            }
            Event::ToolCall(piece) => self.calls.add(piece),
            Event::Finished(_) | Event::Failed(_) => self.outcome.hear(event),
        }
    }

    /// Where cached tokens were found, once it has ended.
    #[must_use]
    pub fn cached(&self) -> CachedBy {
        self.outcome.cached()
    }

    /// The answer.
    ///
    /// # Errors
    /// It failed, or did not end.
    pub fn finish(self) -> Result<String, Error> {
        let end = self.outcome.finished()?;
        let tool_calls = self.calls.whole(&self.head.id);
        Ok(self.head.end(Said { tool_calls, ..self.said }, &end))
    }
}

/// The answer to a request that loaded a model, or unloaded it.
#[must_use]
pub fn loaded(form: Form, created_at: &str, model: &str, is_unloaded: bool) -> String {
    let reason = if is_unloaded { "unload" } else { "load" };
    let head = Head::new(form, "", created_at, model);
    to_json(&head.object(Said::default(), Some(End { done_reason: reason, times: None })))
}

impl Head {
    fn new(form: Form, id: &str, created_at: &str, model: &str) -> Self {
        Self {
            form,
            id: id.to_owned(),
            model: model.to_owned(),
            created_at: created_at.to_owned(),
            load: Duration::ZERO,
        }
    }

    fn served_by(&mut self, model: Option<&str>, load: Duration) {
        if let Some(model) = model {
            model.clone_into(&mut self.model);
        }
        self.load = load;
    }

    fn line(&self, said: Said) -> String {
        to_json(&self.object(said, None))
    }

    fn end(&self, said: Said, finished: &Finished) -> String {
        let done_reason = match &finished.reason {
            // Nobody reads the end of what was cancelled.
            FinishReason::End
            | FinishReason::StopString(_)
            | FinishReason::ToolCalls
            | FinishReason::Cancelled => "stop",
            FinishReason::Length => "length",
        };
        let times = Some(Times::new(self.load, &finished.usage));
        to_json(&self.object(said, Some(End { done_reason, times })))
    }

    fn object(&self, said: Said, end: Option<End>) -> Object<'_> {
        let Said { text, thinking, tool_calls, logprobs } = said;
        let said = match self.form {
            Form::Chat => Saying::Message {
                message: Message { role: "assistant", content: text, thinking, tool_calls },
            },
            Form::Generate => Saying::Text { response: text, thinking, tool_calls },
        };
        let (model, created_at) = (&*self.model, &*self.created_at);
        Object { model, created_at, said, logprobs, done: end.is_some(), end }
    }
}

/// What a part of an answer says.
#[derive(Debug, Default)]
struct Said {
    text: String,
    thinking: String,
    tool_calls: Vec<Call>,
    logprobs: Vec<Token>,
}

#[derive(Serialize)]
struct Object<'a> {
    model: &'a str,
    created_at: &'a str,
    #[serde(flatten)]
    said: Saying,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logprobs: Vec<Token>,
    done: bool,
    #[serde(flatten)]
    end: Option<End>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Saying {
    Message {
        message: Message,
    },
    Text {
        response: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        thinking: String,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<Call>,
    },
}

#[derive(Serialize)]
struct Message {
    role: &'static str,
    content: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    thinking: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call>,
}

#[derive(Debug, Serialize)]
struct Call {
    id: String,
    function: Function,
}

#[derive(Debug, Serialize)]
struct Function {
    index: u32,
    name: String,
    /// An object; what the model wrote as a text where that is none.
    arguments: Value,
}

#[derive(Serialize)]
struct End {
    done_reason: &'static str,
    #[serde(flatten)]
    times: Option<Times>,
}

/// What an answer took, in nanoseconds.
#[derive(Serialize)]
pub(super) struct Times {
    pub(super) total_duration: u64,
    pub(super) load_duration: u64,
    /// All tokens of the prompt, those that were found in the cache too.
    pub(super) prompt_eval_count: u32,
    prompt_eval_duration: u64,
    eval_count: u32,
    eval_duration: u64,
}

impl Times {
    pub(super) fn new(load: Duration, usage: &Usage) -> Self {
        let nanoseconds = |us: u64| us.saturating_mul(1000);
        let load_duration = u64::try_from(load.as_nanos()).unwrap_or(u64::MAX);
        let worked_us = usage.queue_us.saturating_add(usage.prefill_us);
        let worked_us = worked_us.saturating_add(usage.decode_us);
        Self {
            total_duration: load_duration.saturating_add(nanoseconds(worked_us)),
            load_duration,
            prompt_eval_count: usage.prompt_tokens,
            prompt_eval_duration: nanoseconds(usage.prefill_us),
            eval_count: usage.completion_tokens,
            eval_duration: nanoseconds(usage.decode_us),
        }
    }
}

/// Tool calls whose arguments come in pieces; Ollama's clients take them whole.
#[derive(Debug, Default)]
struct Calls(Vec<(String, String)>);

impl Calls {
    fn add(&mut self, piece: &ToolCallPiece) {
        // Calls come in order; a position that jumps would be the worker's mistake, and it must
        // not make us reserve memory for it.
        let index = (piece.index as usize).min(self.0.len());
        if index == self.0.len() {
            self.0.push(Default::default());
        }
        let (name, arguments) = &mut self.0[index];
        if let Some(text) = &piece.name {
            text.clone_into(name);
        }
        arguments.push_str(&piece.arguments);
    }

    fn whole(self, answer: &str) -> Vec<Call> {
        let call = |(index, (name, arguments)): (u32, (String, String))| Call {
            id: tool_call_id(answer, 0, index),
            function: Function { index, name, arguments: object(arguments) },
        };
        (0..).zip(self.0).map(call).collect()
    }
}

fn object(arguments: String) -> Value {
    if arguments.trim().is_empty() {
        return Value::Object(Map::new());
    }
    serde_json::from_str(&arguments).unwrap_or(Value::String(arguments))
}
