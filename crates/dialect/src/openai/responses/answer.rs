//! The answer as a whole: what it repeats of its request, how it ended, and what it took.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};
use worker_protocol::{Event, FinishReason, Finished};

use super::{
    Told,
    change::{Change, Teller},
    item::Item,
    kept::{ANSWER_PREFIX, Entry, Kept, Turn, shown},
    output::Output,
};
use crate::{CachedBy, Error, timings::Timings, write::to_json};

/// What is known of an answer before anything is said.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// Without what all ids of answers begin with.
    answer: String,
    created_unix_s: u64,
    model: String,
    told: Arc<Told>,
}

impl Beginning {
    /// `id` names the answer (it is prefixed with `resp_`); ids of items and calls derive from it.
    #[must_use]
    pub fn new(told: Told, id: &str, created_unix_s: u64, model: &str) -> Self {
        let (answer, model) = (id.to_owned(), model.to_owned());
        Self { answer, created_unix_s, model, told: Arc::new(told) }
    }

    /// The events of a stream that fails before it has begun.
    #[must_use]
    pub fn failed(&self, error: &Error) -> Vec<String> {
        let (mut answer, mut teller) = (Answer::new(self.clone()), Teller::new(true));
        let mut out = Vec::new();
        answer.begin(&mut teller, &mut out);
        answer.fail(error.clone(), &mut teller, &mut out);
        out
    }

    fn id(&self) -> String {
        format!("{ANSWER_PREFIX}{}", self.answer)
    }
}

/// An answer that is being written.
#[derive(Debug)]
pub(super) struct Answer {
    beginning: Beginning,
    id: String,
    output: Output,
    end: Option<Result<Finished, Error>>,
}

impl Answer {
    pub(super) fn new(beginning: Beginning) -> Self {
        let output = Output::new(&beginning.answer, Arc::clone(&beginning.told));
        Self { id: beginning.id(), output, beginning, end: None }
    }

    pub(super) fn served_by(&mut self, model: &str) {
        model.clone_into(&mut self.beginning.model);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Tells that there is an answer.
    pub(super) fn begin(&self, teller: &mut Teller, out: &mut Vec<String>) {
        teller.tell(&Change::Created { response: self.response() }, out);
        teller.tell(&Change::InProgress { response: self.response() }, out);
    }

    /// Takes in an event, the last one included.
    pub(super) fn event(&mut self, event: &Event, teller: &mut Teller, out: &mut Vec<String>) {
        self.output.event(event, teller, out);
        match event {
            Event::Finished(finished) => {
                self.end = Some(Ok(finished.clone()));
                let response = self.response();
                let change = match finished.reason {
                    FinishReason::Length => Change::Incomplete { response },
                    FinishReason::End
                    | FinishReason::StopString(_)
                    | FinishReason::ToolCalls
                    | FinishReason::Cancelled => Change::Completed { response },
                };
                teller.tell(&change, out);
            }
            Event::Failed(failure) => self.fail(Error::from(failure), teller, out),
            Event::Progress { .. }
            | Event::Text(_)
            | Event::Reasoning(_)
            | Event::ToolCall(_)
            | Event::Embedded { .. }
            | Event::Ranked { .. } => {}
        }
    }

    pub(super) fn fail(&mut self, error: Error, teller: &mut Teller, out: &mut Vec<String>) {
        self.output.cut();
        self.end = Some(Err(error));
        teller.tell(&Change::Failed { response: self.response() }, out);
    }

    /// Where cached tokens were found, once it has ended.
    pub(super) fn cached(&self) -> CachedBy {
        match &self.end {
            Some(Ok(finished)) => CachedBy::new(&finished.usage),
            Some(Err(_)) | None => CachedBy::default(),
        }
    }

    /// The whole answer, and what is kept of it.
    ///
    /// # Errors
    /// It failed, or did not end.
    pub(super) fn whole(&self) -> Result<(String, Option<Kept>), Error> {
        match &self.end {
            Some(Ok(_)) => Ok((to_json(&self.response()), self.kept())),
            Some(Err(error)) => Err(error.clone()),
            None => Err(Error::unfinished()),
        }
    }

    /// What is kept of it, if it has ended well and is to be kept.
    pub(super) fn kept(&self) -> Option<Kept> {
        let background = self.beginning.told.background.as_ref()?;
        let Some(Ok(_)) = &self.end else { return None };
        let answer = &self.beginning.answer;
        let input = background.input.iter().enumerate();
        let input = input.map(|(index, item)| shown(answer, index, item.clone())).collect();
        let output = self.output.items().iter();
        let output =
            output.map(|item| Entry { id: item.id().to_owned(), json: to_json(item) }).collect();
        let own = Arc::new(Turn { answer: self.id.clone(), input, output });
        let turns = background.earlier.iter().cloned().chain([own]).collect();
        Some(Kept { id: self.id.clone(), response: to_json(&self.response()), turns })
    }

    fn response(&self) -> Response<'_> {
        let (finished, error) = match &self.end {
            None => (None, None),
            Some(Ok(finished)) => (Some(finished), None),
            Some(Err(error)) => (None, Some(error)),
        };
        let is_cut = finished.is_some_and(|end| end.reason == FinishReason::Length);
        let status = match (finished, error) {
            (_, Some(_)) => "failed",
            (Some(_), _) if is_cut => "incomplete",
            (Some(_), _) => "completed",
            (None, None) => "in_progress",
        };
        Response {
            id: &self.id,
            object: "response",
            created_at: self.beginning.created_unix_s,
            status,
            background: false,
            error: error.map(|error| Failure {
                code: error.code.as_deref().unwrap_or("server_error"),
                message: &error.message,
            }),
            incomplete_details: is_cut.then_some(Cut { reason: "max_output_tokens" }),
            model: &self.beginning.model,
            output: self.output.items(),
            usage: finished.map(Usage::new),
            timings: finished.map(|end| Timings::new(&end.usage)),
            echo: &self.beginning.told.echo,
        }
    }
}

/// An answer; of a stream its beginning, which says nothing yet.
#[derive(Serialize)]
pub(super) struct Response<'a> {
    id: &'a str,
    object: &'static str,
    created_at: u64,
    status: &'static str,
    background: bool,
    error: Option<Failure<'a>>,
    incomplete_details: Option<Cut>,
    model: &'a str,
    output: &'a [Item],
    usage: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timings: Option<Timings>,
    #[serde(flatten)]
    echo: &'a Map<String, Value>,
}

#[derive(Serialize)]
struct Failure<'a> {
    code: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct Cut {
    reason: &'static str,
}

#[derive(Serialize)]
struct Usage {
    input_tokens: u32,
    input_tokens_details: InputDetails,
    output_tokens: u32,
    output_tokens_details: OutputDetails,
    total_tokens: u64,
}

#[derive(Serialize)]
struct InputDetails {
    cached_tokens: u32,
}

#[derive(Serialize)]
struct OutputDetails {
    reasoning_tokens: u32,
}

impl Usage {
    fn new(finished: &Finished) -> Self {
        let usage = &finished.usage;
        let reasoning_tokens = usage.reasoning_tokens;
        Self {
            input_tokens: usage.prompt_tokens,
            input_tokens_details: InputDetails { cached_tokens: usage.cached_tokens },
            output_tokens: usage.completion_tokens,
            output_tokens_details: OutputDetails { reasoning_tokens },
            total_tokens: u64::from(usage.prompt_tokens) + u64::from(usage.completion_tokens),
        }
    }
}
