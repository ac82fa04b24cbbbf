//! An answer as a stream of named events.

use std::time::Duration;

use serde::Serialize;
use worker_protocol::{Event, Finished};

use super::{
    answer::{Ending, Message, Usage},
    blocks::Blocks,
    error_body,
};
use crate::{CachedBy, Encode, Error, cached::Foretold, write::to_json};

/// An event that says nothing: it keeps a silent stream alive.
pub const PING: &str = "event: ping\ndata: {\"type\": \"ping\"}";

/// Turns events into those of a stream, each with its name: two lines without a break behind them. The
/// last one is `message_stop` or an error, exactly once, and nothing comes behind it.
#[derive(Debug)]
pub struct StreamEncoder {
    id: String,
    model: String,
    blocks: Blocks,
    foretold: Foretold,
    /// What was said about the prompt before the answer began.
    prompt: Option<Usage>,
    stage: Stage,
}

/// How far a stream has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing of it is there, so that what fails now is a real status.
    Waiting,
    Begun,
    Ended,
}

impl StreamEncoder {
    /// `id` names the answer (it is prefixed with `msg_`); ids of tool calls derive from it.
    #[must_use]
    pub fn new(id: &str, model: &str) -> Self {
        let id = format!("msg_{id}");
        Self {
            blocks: Blocks::new(&id),
            id,
            model: model.to_owned(),
            foretold: Foretold::new(1, 1),
            prompt: None,
            stage: Stage::Waiting,
        }
    }

    fn content(&mut self, event: &Event, out: &mut Vec<String>) {
        let mut changes = Vec::new();
        self.blocks.event(event, &mut changes);
        if !changes.is_empty() {
            self.begin(out);
        }
        out.extend(changes.iter().map(|change| named(change.name(), change)));
    }

    /// The answer begins, unless it has begun.
    fn begin(&mut self, out: &mut Vec<String>) {
        if self.stage != Stage::Waiting {
            return;
        }
        self.stage = Stage::Begun;
        // An engine that says nothing of its prompt before the end says it there.
        let usage = self.prompt.unwrap_or_default();
        let message = Message::new(&self.id, &self.model, &[], Ending::default(), usage);
        out.push(named("message_start", &Told::Start { message }));
    }

    fn end(&mut self, event: &Event, finished: &Finished, out: &mut Vec<String>) {
        let usage = &finished.usage;
        self.prompt.get_or_insert(Usage::begun(usage.prompt_tokens, usage.cached_tokens));
        self.begin(out);
        self.content(event, out);
        let delta = Ending::new(&finished.reason);
        out.push(named("message_delta", &Told::Delta { delta, usage: Usage::of(finished) }));
        out.push(named("message_stop", &Told::Stop));
        self.stage = Stage::Ended;
    }

    fn fail(&mut self, error: &Error, out: &mut Vec<String>) {
        out.push(error_event(error));
        self.stage = Stage::Ended;
    }
}

impl Encode for StreamEncoder {
    fn begun(&mut self, model: Option<&str>, _waited: Duration) {
        if let Some(model) = model {
            model.clone_into(&mut self.model);
        }
    }

    /// Anthropic's requests have one choice.
    fn event(&mut self, _choice: u32, event: &Event, out: &mut Vec<String>) {
        if self.stage == Stage::Ended {
            return;
        }
        self.foretold.hear(0, event);
        match event {
            Event::Progress { total, cached, .. } => {
                self.prompt.get_or_insert(Usage::begun(*total, *cached));
            }
            Event::Embedded { .. } | Event::Ranked { .. } => {}
            Event::Text(_) | Event::Reasoning(_) | Event::ToolCall(_) => self.content(event, out),
            Event::Finished(finished) => self.end(event, finished, out),
            Event::Failed(failure) => self.fail(&Error::from(failure), out),
        }
    }

    /// Says that the answer broke off, if it did.
    fn finish(&mut self, out: &mut Vec<String>) {
        if self.stage != Stage::Ended {
            self.fail(&Error::unfinished(), out);
        }
    }

    fn cached(&self) -> Option<CachedBy> {
        self.foretold.cached()
    }
}

/// An error that ends a stream.
#[must_use]
pub fn error_event(error: &Error) -> String {
    lines("error", &error_body(error, None))
}

/// What is told about the answer as a whole.
#[derive(Serialize)]
#[serde(tag = "type")]
enum Told<'a> {
    #[serde(rename = "message_start")]
    Start { message: Message<'a> },
    #[serde(rename = "message_delta")]
    Delta { delta: Ending<'a>, usage: Usage },
    #[serde(rename = "message_stop")]
    Stop,
}

fn named(name: &str, data: &impl Serialize) -> String {
    lines(name, &to_json(data))
}

fn lines(name: &str, data: &str) -> String {
    format!("event: {name}\ndata: {data}")
}
