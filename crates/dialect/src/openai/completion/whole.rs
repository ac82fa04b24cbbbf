//! A raw completion in one piece.

use serde::Serialize;
use worker_protocol::{Event, Piece};

use super::Request;
use crate::{
    CachedBy, Error,
    openai::answer::{CompletionLogprobs, Usage, UsageTotal, finish_reason},
    timings::Timings,
    write::to_json,
};

/// Collects the events of all choices into one answer.
#[derive(Debug)]
pub struct WholeEncoder {
    id: String,
    created_unix_s: u64,
    model: String,
    choices: Vec<Collected>,
    usage: UsageTotal,
    failure: Option<Error>,
}

#[derive(Debug, Default)]
struct Collected {
    text: String,
    chars: usize,
    logprobs: Option<CompletionLogprobs>,
    finish_reason: Option<&'static str>,
    timings: Option<Timings>,
}

impl WholeEncoder {
    /// `id` names the answer; it is prefixed with `cmpl-`.
    #[must_use]
    pub fn new(request: &Request, id: &str, created_unix_s: u64, model: &str) -> Self {
        let collected = |choice| {
            let text = request.echoed(choice).to_owned();
            Collected { chars: text.chars().count(), text, ..Collected::default() }
        };
        Self {
            id: format!("cmpl-{id}"),
            created_unix_s,
            model: model.to_owned(),
            choices: (0..request.generates.len()).map(collected).collect(),
            usage: UsageTotal::new(request.choices_per_prompt),
            failure: None,
        }
    }

    /// The model that serves, where another name was asked for.
    pub fn served_by(&mut self, model: &str) {
        model.clone_into(&mut self.model);
    }

    /// Takes in one event of one choice.
    pub fn event(&mut self, choice: u32, event: &Event) {
        let Some(collected) = self.choices.get_mut(choice as usize) else { return };
        match event {
            // Raw text knows no tools: what a worker might parse out of it is not asked for here.
            Event::Progress { .. }
            | Event::Embedded { .. }
            | Event::Ranked { .. }
            | Event::ToolCall(_) => {}
            Event::Text(piece) | Event::Reasoning(piece) => collected.add(piece),
            Event::Finished(finished) => {
                collected.finish_reason = Some(finish_reason(&finished.reason));
                collected.timings = Some(Timings::new(&finished.usage));
                self.usage.add(choice, &finished.usage);
            }
            Event::Failed(failure) => self.failure = Some(Error::from(failure)),
        }
    }

    /// Where the cached tokens of what has ended were found.
    #[must_use]
    pub fn cached(&self) -> CachedBy {
        self.usage.cached()
    }

    /// The answer.
    ///
    /// # Errors
    /// Any choice failed, or did not end.
    pub fn finish(self) -> Result<String, Error> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        let mut choices = Vec::with_capacity(self.choices.len());
        for (index, collected) in (0..).zip(&self.choices) {
            choices.push(Choice {
                text: &collected.text,
                index,
                logprobs: collected.logprobs.as_ref(),
                finish_reason: collected.finish_reason.ok_or_else(Error::unfinished)?,
            });
        }
        Ok(to_json(&Whole {
            id: &self.id,
            object: "text_completion",
            created: self.created_unix_s,
            model: &self.model,
            choices,
            usage: self.usage.usage(),
            // Times of several choices overlap; a sum would mean nothing.
            timings: match &*self.choices {
                [only] => only.timings,
                _ => None,
            },
        }))
    }
}

impl Collected {
    fn add(&mut self, piece: &Piece) {
        if !piece.logprobs.is_empty() {
            self.logprobs.get_or_insert_default().extend(&piece.logprobs, self.chars);
        }
        self.chars += piece.text.chars().count();
        self.text.push_str(&piece.text);
    }
}

#[derive(Serialize)]
struct Whole<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<Choice<'a>>,
    usage: Usage,
    #[serde(skip_serializing_if = "Option::is_none")]
    timings: Option<Timings>,
}

#[derive(Serialize)]
struct Choice<'a> {
    text: &'a str,
    index: u32,
    logprobs: Option<&'a CompletionLogprobs>,
    finish_reason: &'static str,
}
