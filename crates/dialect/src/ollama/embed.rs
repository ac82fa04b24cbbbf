//! `POST /api/embed` and the older `POST /api/embeddings`: requests and answers.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use worker_protocol::{Embed, EmbedInput, Event};

use crate::{
    Error, Wish,
    limits::{DIMENSIONS_MAX, EMBED_INPUTS_MAX},
    read::{self, Object, Path},
    request,
    vectors::{Embedded, Vectors},
    write::to_json,
};

/// Which route is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `/api/embed`: a vector for each text, and what they took.
    Embed,
    /// `/api/embeddings`: one vector.
    Embeddings,
}

/// A request for embeddings. One without texts loads the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Name of the model.
    pub model: String,
    /// What to embed.
    pub embed: Embed,
    /// Cut vectors to this width and make them length 1 again; `None` leaves them whole.
    pub dimensions: Option<u32>,
    /// What it wishes beside the answer.
    pub wish: Wish,
}

/// Reads the body of a request.
///
/// # Errors
/// Names the field that is wrong and what it should be.
pub fn decode(form: Form, body: &[u8]) -> Result<Request, Error> {
    let mut fields = Object::new(&Path::Root, read::body(body)?)?;
    let dimensions = fields.integer("dimensions", 0..=DIMENSIONS_MAX.into())?;
    Ok(Request {
        model: request::model(&mut fields)?,
        wish: Wish::decode(&mut fields)?,
        // Clients of Go send a zero for what was not set.
        dimensions: dimensions.and_then(|width| u32::try_from(width).ok()).filter(|&n| n > 0),
        embed: Embed {
            truncate: fields.bool("truncate")?.unwrap_or(true),
            inputs: match form {
                Form::Embed => inputs(&mut fields)?,
                Form::Embeddings => prompt(&mut fields)?,
            },
        },
    })
}

/// No text, or one that is empty, is how clients load a model; in a list an empty one is a text.
fn inputs(fields: &mut Object<'_>) -> Result<Vec<EmbedInput>, Error> {
    let path = fields.path("input");
    let entries = match fields.take("input") {
        None => return Ok(Vec::new()),
        Some(Value::String(text)) if text.is_empty() => return Ok(Vec::new()),
        Some(Value::String(text)) => return Ok(vec![EmbedInput::Text(text)]),
        Some(Value::Array(entries)) => entries,
        Some(ref other) => return Err(path.wrong("a string or a list of strings", other)),
    };
    path.at_most(entries.len(), EMBED_INPUTS_MAX)?;
    let text = |(index, entry)| Path::Index(&path, index).string(entry).map(EmbedInput::Text);
    entries.into_iter().enumerate().map(text).collect()
}

fn prompt(fields: &mut Object<'_>) -> Result<Vec<EmbedInput>, Error> {
    Ok(super::text_of(fields, "prompt")?.map(EmbedInput::Text).into_iter().collect())
}

/// Collects vectors into one answer.
#[derive(Debug)]
pub struct WholeEncoder {
    form: Form,
    vectors: Vectors,
    load: Duration,
}

impl WholeEncoder {
    /// An answer with a place for each input.
    #[must_use]
    pub fn new(form: Form, request: &Request, model: &str) -> Self {
        let vectors = Vectors::new(request.embed.inputs.len(), request.dimensions, model);
        Self { form, vectors, load: Duration::ZERO }
    }

    /// The model that serves, where another name was asked for, and how long it was waited for.
    pub fn served_by(&mut self, model: Option<&str>, load: Duration) {
        if let Some(model) = model {
            self.vectors.served_by(model);
        }
        self.load = load;
    }

    /// Takes in one event.
    pub fn event(&mut self, event: &Event) {
        self.vectors.event(event);
    }

    /// The answer.
    ///
    /// # Errors
    /// The request failed or broke off, or `dimensions` is more than the model has.
    pub fn finish(self) -> Result<String, Error> {
        let Embedded { model, vectors, usage } = self.vectors.finish()?;
        let times = super::answer::Times::new(self.load, &usage);
        Ok(match self.form {
            Form::Embed => to_json(&Whole {
                model: &model,
                embeddings: &vectors,
                total_duration: times.total_duration,
                load_duration: times.load_duration,
                prompt_eval_count: times.prompt_eval_count,
            }),
            Form::Embeddings => one(vectors.first().map_or(&[], Vec::as_slice)),
        })
    }
}

/// The answer to a request without texts, which loaded the model.
#[must_use]
pub fn loaded(form: Form, model: &str, load: Duration) -> String {
    let load_duration = u64::try_from(load.as_nanos()).unwrap_or(u64::MAX);
    match form {
        Form::Embed => to_json(&Whole {
            model,
            embeddings: &[],
            total_duration: load_duration,
            load_duration,
            prompt_eval_count: 0,
        }),
        Form::Embeddings => one(&[]),
    }
}

fn one(embedding: &[f32]) -> String {
    to_json(&One { embedding })
}

#[derive(Serialize)]
struct Whole<'a> {
    model: &'a str,
    embeddings: &'a [Vec<f32>],
    total_duration: u64,
    load_duration: u64,
    prompt_eval_count: u32,
}

#[derive(Serialize)]
struct One<'a> {
    embedding: &'a [f32],
}
