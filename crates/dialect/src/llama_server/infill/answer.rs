//! Answers: a stream of objects, or one.

use std::time::Duration;

use serde::Serialize;
use serde_json::Map;
use worker_protocol::{Event, FinishReason, Finished};

use super::Told;
use crate::{
    CachedBy, Encode, Error, cached::Foretold, outcome::Outcome, timings::Timings, write::to_json,
};

/// Turns events into the payloads of a stream.
#[derive(Debug)]
pub struct StreamEncoder {
    model: String,
    told: Told,
    foretold: Foretold,
}

/// Collects events into one answer.
#[derive(Debug)]
pub struct WholeEncoder {
    model: String,
    told: Told,
    content: String,
    outcome: Outcome,
}

impl StreamEncoder {
    /// An answer of this model.
    #[must_use]
    pub fn new(model: &str, told: Told) -> Self {
        Self { model: model.to_owned(), told, foretold: Foretold::new(1, 1) }
    }
}

impl Encode for StreamEncoder {
    fn begun(&mut self, model: Option<&str>, _waited: Duration) {
        if let Some(model) = model {
            model.clone_into(&mut self.model);
        }
    }

    /// Its requests have one choice.
    fn event(&mut self, _choice: u32, event: &Event, out: &mut Vec<String>) {
        self.foretold.hear(0, event);
        match event {
            Event::Progress { .. }
            | Event::Embedded { .. }
            | Event::Ranked { .. }
            | Event::ToolCall(_) => {}
            Event::Text(_) | Event::Reasoning(_) if self.told.nothing => {}
            Event::Text(piece) | Event::Reasoning(piece) => {
                let content = &piece.text;
                out.push(to_json(&Part { index: 0, content, stop: false }));
            }
            Event::Finished(finished) => {
                out.push(self.told.of(&Whole::new(&self.model, "", finished)));
            }
            Event::Failed(failure) => out.push(Error::from(failure).to_json()),
        }
    }

    /// The last part says so itself.
    fn finish(&mut self, _out: &mut Vec<String>) {}

    fn cached(&self) -> Option<CachedBy> {
        self.foretold.cached()
    }
}

impl WholeEncoder {
    /// An answer of this model.
    #[must_use]
    pub fn new(model: &str, told: Told) -> Self {
        Self { model: model.to_owned(), told, content: String::new(), outcome: Outcome::default() }
    }

    /// The model that serves, where another name was asked for.
    pub fn served_by(&mut self, model: &str) {
        model.clone_into(&mut self.model);
    }

    /// Takes in one event.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Progress { .. }
            | Event::Embedded { .. }
            | Event::Ranked { .. }
            | Event::ToolCall(_) => {}
            Event::Text(piece) | Event::Reasoning(piece) => self.content.push_str(&piece.text),
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
        let content = if self.told.nothing { "" } else { &self.content };
        Ok(self.told.of(&Whole::new(&self.model, content, &end)))
    }
}

impl Told {
    /// What of the last object is told; fields that it has not are left out.
    fn of(&self, whole: &Whole<'_>) -> String {
        if self.fields.is_empty() {
            return to_json(whole);
        }
        let whole = serde_json::to_value(whole).unwrap_or_default();
        let field =
            |path: &String| Some((path.clone(), whole.pointer(&format!("/{path}"))?.clone()));
        to_json(&self.fields.iter().filter_map(field).collect::<Map<_, _>>())
    }
}

#[derive(Serialize)]
struct Part<'a> {
    index: u32,
    content: &'a str,
    stop: bool,
}

#[derive(Serialize)]
struct Whole<'a> {
    index: u32,
    content: &'a str,
    model: &'a str,
    stop: bool,
    stop_type: &'static str,
    stopping_word: &'a str,
    /// A prompt that is too long is refused.
    truncated: bool,
    tokens_predicted: u32,
    tokens_evaluated: u32,
    tokens_cached: u32,
    timings: TimingsWithRates,
}

impl<'a> Whole<'a> {
    fn new(model: &'a str, content: &'a str, end: &'a Finished) -> Self {
        let (stop_type, stopping_word) = match &end.reason {
            FinishReason::End | FinishReason::ToolCalls => ("eos", ""),
            FinishReason::StopString(stop) => ("word", stop.as_str()),
            FinishReason::Length => ("limit", ""),
            FinishReason::Cancelled => ("none", ""),
        };
        let usage = &end.usage;
        Self {
            index: 0,
            content,
            model,
            stop: true,
            stop_type,
            stopping_word,
            truncated: false,
            tokens_predicted: usage.completion_tokens,
            tokens_evaluated: usage.prompt_tokens,
            tokens_cached: usage.cached_tokens,
            timings: TimingsWithRates {
                prompt_per_second: rate(
                    usage.prompt_tokens.saturating_sub(usage.cached_tokens),
                    usage.prefill_us,
                ),
                predicted_per_second: rate(usage.completion_tokens, usage.decode_us),
                timings: Timings::new(usage),
            },
        }
    }
}

/// Plugins show them.
#[derive(Serialize)]
struct TimingsWithRates {
    #[serde(flatten)]
    timings: Timings,
    prompt_per_second: f64,
    predicted_per_second: f64,
}

/// Tokens a second; 0 where no time passed.
#[expect(clippy::cast_precision_loss, reason = "2^53 microseconds are 285 years")]
fn rate(tokens: u32, us: u64) -> f64 {
    if us == 0 { 0.0 } else { f64::from(tokens) * 1e6 / us as f64 }
}
