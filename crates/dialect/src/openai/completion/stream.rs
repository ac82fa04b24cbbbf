//! A raw completion as a stream of chunks.

use std::time::Duration;

use serde::Serialize;
use worker_protocol::{Event, Piece, TokenLogprob};

use super::Request;
use crate::{
    CachedBy, Encode, Error,
    cached::Foretold,
    openai::answer::{CompletionLogprobs, Usage, UsageTotal, finish_reason},
    timings::Timings,
    write::to_json,
};

/// Turns events into the JSON payloads of a stream.
#[derive(Debug)]
pub struct StreamEncoder {
    id: String,
    created_unix_s: u64,
    model: String,
    include_usage: bool,
    choices: Vec<Progress>,
    usage: UsageTotal,
    foretold: Foretold,
    failed: bool,
}

#[derive(Debug)]
struct Progress {
    /// What is to be sent before anything else.
    echo: String,
    /// Characters sent so far.
    sent_chars: usize,
}

impl StreamEncoder {
    /// `id` names the answer; it is prefixed with `cmpl-`.
    #[must_use]
    pub fn new(request: &Request, id: &str, created_unix_s: u64, model: &str) -> Self {
        let progress = |choice| Progress { echo: request.echoed(choice).to_owned(), sent_chars: 0 };
        Self {
            id: format!("cmpl-{id}"),
            created_unix_s,
            model: model.to_owned(),
            include_usage: request.include_usage,
            choices: (0..request.generates.len()).map(progress).collect(),
            usage: UsageTotal::new(request.choices_per_prompt),
            foretold: Foretold::new(request.generates.len(), request.choices_per_prompt),
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
            // Raw text knows no tools: what a worker might parse out of it is not asked for here.
            Event::Progress { .. }
            | Event::Embedded { .. }
            | Event::Ranked { .. }
            | Event::ToolCall(_) => {}
            Event::Text(piece) | Event::Reasoning(piece) => {
                self.echo(choice, out);
                self.piece(choice, piece, out);
            }
            Event::Finished(finished) => {
                self.echo(choice, out);
                self.usage.add(choice, &finished.usage);
                let reason = Some(finish_reason(&finished.reason));
                let end = [Choice { finish_reason: reason, ..Choice::new(choice, "") }];
                let timings = Some(Timings::new(&finished.usage));
                out.push(to_json(&Chunk { timings, ..self.chunk(&end) }));
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
    fn echo(&mut self, choice: u32, out: &mut Vec<String>) {
        let Some(progress) = self.choices.get_mut(choice as usize) else { return };
        let echo = std::mem::take(&mut progress.echo);
        if !echo.is_empty() {
            progress.sent_chars += echo.chars().count();
            out.push(to_json(&self.chunk(&[Choice::new(choice, &echo)])));
        }
    }

    fn piece(&mut self, choice: u32, piece: &Piece, out: &mut Vec<String>) {
        let Some(progress) = self.choices.get_mut(choice as usize) else { return };
        let logprobs = logprobs(&piece.logprobs, progress.sent_chars);
        progress.sent_chars += piece.text.chars().count();
        let choice = Choice { logprobs, ..Choice::new(choice, &piece.text) };
        out.push(to_json(&self.chunk(&[choice])));
    }

    /// A chunk around these choices. When the usage comes at the end, the others say null.
    fn chunk<'a>(&'a self, choices: &'a [Choice<'a>]) -> Chunk<'a> {
        Chunk {
            id: &self.id,
            object: "text_completion",
            created: self.created_unix_s,
            model: &self.model,
            choices,
            usage: self.include_usage.then_some(None),
            timings: None,
        }
    }
}

fn logprobs(tokens: &[TokenLogprob], offset_chars: usize) -> Option<CompletionLogprobs> {
    if tokens.is_empty() {
        return None;
    }
    let mut logprobs = CompletionLogprobs::default();
    logprobs.extend(tokens, offset_chars);
    Some(logprobs)
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
    text: &'a str,
    index: u32,
    logprobs: Option<CompletionLogprobs>,
    finish_reason: Option<&'static str>,
}

impl<'a> Choice<'a> {
    fn new(index: u32, text: &'a str) -> Self {
        Self { text, index, logprobs: None, finish_reason: None }
    }
}
