//! The answer: documents by their scores, the best first.

use serde::Serialize;
use worker_protocol::Event;

use super::{Form, Request};
use crate::{Error, outcome::Outcome, write::to_json};

/// Collects scores into one answer.
#[derive(Debug)]
pub struct WholeEncoder {
    form: Form,
    id: String,
    model: String,
    top_n: usize,
    /// What is told of each document beside its score.
    documents: Option<Vec<String>>,
    scores: Vec<Option<f32>>,
    outcome: Outcome,
}

impl WholeEncoder {
    /// An answer with a place for each document.
    #[must_use]
    pub fn new(request: &Request, id: &str, model: &str) -> Self {
        let documents = &request.rank.documents;
        Self {
            form: request.form,
            id: id.to_owned(),
            model: model.to_owned(),
            top_n: request.top_n.unwrap_or(usize::MAX),
            documents: request.return_documents.then(|| documents.clone()),
            scores: vec![None; documents.len()],
            outcome: Outcome::default(),
        }
    }

    /// The model that serves, where another name was asked for.
    pub fn served_by(&mut self, model: &str) {
        model.clone_into(&mut self.model);
    }

    /// Takes in one event.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Progress { .. }
            | Event::Text(_)
            | Event::Reasoning(_)
            | Event::ToolCall(_)
            | Event::Embedded { .. } => {}
            Event::Ranked { index, score } => {
                if let Some(place) = self.scores.get_mut(*index as usize) {
                    *place = Some(*score);
                }
            }
            Event::Finished(_) | Event::Failed(_) => self.outcome.hear(event),
        }
    }

    /// The answer.
    ///
    /// # Errors
    /// The request failed or broke off, or a score is no number.
    pub fn finish(mut self) -> Result<String, Error> {
        let tokens = self.outcome.finished()?.usage.prompt_tokens;
        let scores: Option<Vec<f32>> = self.scores.into_iter().collect();
        let scores = scores.ok_or_else(Error::unfinished)?;
        if scores.iter().any(|score| !score.is_finite()) {
            return Err(
                Error::new(500, "the model gave a score that is not finite").code("engine_failed")
            );
        }
        let mut ranked: Vec<(usize, f32)> = scores.into_iter().enumerate().collect();
        // Of equal ones the first that was sent stays the first.
        ranked.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        ranked.truncate(self.top_n);
        let mut text =
            |index: usize| Some(std::mem::take(self.documents.as_mut()?.get_mut(index)?));
        if self.form == Form::Tei {
            let row = |(index, score)| Scored { index, score, text: text(index) };
            return Ok(to_json(&ranked.into_iter().map(row).collect::<Vec<_>>()));
        }
        let row = |(index, relevance_score)| {
            let document = text(index).map(|text| Document { text });
            Relevant { index, relevance_score, document }
        };
        let results = ranked.into_iter().map(row).collect();
        let is_cohere = self.form == Form::Cohere;
        let usage = Tokens { prompt_tokens: tokens, total_tokens: tokens };
        Ok(to_json(&Whole {
            id: &self.id,
            object: (!is_cohere).then_some("list"),
            model: (!is_cohere).then_some(&self.model),
            results,
            usage: (!is_cohere).then_some(usage),
            meta: Meta {
                api_version: is_cohere.then_some(Version { version: "2" }),
                tokens: Read { input_tokens: tokens, output_tokens: 0 },
            },
        }))
    }
}

#[derive(Serialize)]
struct Whole<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    results: Vec<Relevant>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Tokens>,
    /// Where Cohere's clients look for tokens, of either version.
    meta: Meta,
}

#[derive(Serialize)]
struct Relevant {
    index: usize,
    relevance_score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<Document>,
}

#[derive(Serialize)]
struct Document {
    text: String,
}

#[derive(Serialize)]
struct Tokens {
    prompt_tokens: u32,
    total_tokens: u32,
}

#[derive(Serialize)]
struct Meta {
    #[serde(skip_serializing_if = "Option::is_none")]
    api_version: Option<Version>,
    tokens: Read,
}

#[derive(Serialize)]
struct Version {
    version: &'static str,
}

#[derive(Serialize)]
struct Read {
    input_tokens: u32,
    output_tokens: u32,
}

#[derive(Serialize)]
struct Scored {
    index: usize,
    score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}
