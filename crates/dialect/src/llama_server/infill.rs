//! `POST /infill`: what stands between two texts, with parts of other files beside them.
//!
//! How the answer is bounded in time (`t_max_predict_ms`, `t_max_prompt_ms`, `n_indent`), which cache it
//! goes to (`cache_prompt`, `id_slot`) and in which order samplers run (`samplers`) is the hub's business and
//! left unread.

mod answer;

use serde_json::Value;
use worker_protocol::{Generate, Infill, Prompt, Snippet};

pub use answer::{StreamEncoder, WholeEncoder};

use crate::{
    Error, Wish, constraint,
    limits::{RESPONSE_FIELDS_MAX, SNIPPETS_MAX},
    read::{self, Object, Path},
    request, sampling,
};

/// A request to fill in.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Name of the model; plugins that know one server with one model name none.
    pub model: Option<String>,
    /// What is wanted.
    pub generate: Generate,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// What it wishes beside the answer.
    pub wish: Wish,
    /// What of the answer is told.
    pub told: Told,
}

/// What of an answer is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// Nothing of the text: the prompt is only to be computed, so that the next one is answered sooner.
    pub nothing: bool,
    /// Only these fields of the last object, each a path such as `timings/prompt_n`; all when empty.
    pub fields: Vec<String>,
}

/// Reads the body of a request.
///
/// # Errors
/// Names the field that is wrong and what it should be.
pub fn decode(body: &[u8]) -> Result<Request, Error> {
    let mut fields = Object::new(&Path::Root, read::body(body)?)?;
    let model = request::word(&mut fields, "model")?;
    let stream = fields.bool("stream")?.unwrap_or(false);
    let wish = Wish::decode(&mut fields)?;
    let adapters = request::adapters(&mut fields)?;
    let tokens = fields.integer("n_predict", -1..=u32::MAX.into())?;
    let told = Told { nothing: tokens == Some(0), fields: response_fields(&mut fields)? };
    let generate = Generate {
        constraint: constraint::openai(&mut fields, false)?,
        logprobs: None,
        // A prompt is computed for the sake of a token.
        tokens_max: tokens
            .and_then(|tokens| u32::try_from(tokens).ok())
            .map(|tokens| tokens.max(1)),
        stop: request::stop(&mut fields, "stop")?,
        sampling: sampling::decode(&mut fields)?,
        ignore_end: fields.bool("ignore_eos")?.unwrap_or(false),
        adapters,
        reasoning_tokens_max: None,
        prompt: Prompt::Infill(infill(&mut fields)?),
    };
    Ok(Request { model, generate, stream, wish, told })
}

fn response_fields(fields: &mut Object<'_>) -> Result<Vec<String>, Error> {
    let path = fields.path("response_fields");
    let entries = fields.list("response_fields", RESPONSE_FIELDS_MAX)?.unwrap_or_default();
    let text = |(index, entry)| Path::Index(&path, index).string(entry);
    entries.into_iter().enumerate().map(text).collect()
}

fn infill(fields: &mut Object<'_>) -> Result<Infill, Error> {
    let (before_at, after_at) = (fields.path("input_prefix"), fields.path("input_suffix"));
    let path = fields.path("input_extra");
    let snippets = fields.list("input_extra", SNIPPETS_MAX)?.unwrap_or_default();
    let snippet = |(index, value)| snippet(&Path::Index(&path, index), value);
    Ok(Infill {
        before: fields.string("input_prefix")?.ok_or_else(|| before_at.missing())?,
        after: fields.string("input_suffix")?.ok_or_else(|| after_at.missing())?,
        begun: fields.string("prompt")?.unwrap_or_default(),
        snippets: snippets.into_iter().enumerate().map(snippet).collect::<Result<_, _>>()?,
    })
}

fn snippet(path: &Path<'_>, value: Value) -> Result<Snippet, Error> {
    let mut fields = Object::new(path, value)?;
    let text_at = fields.path("text");
    Ok(Snippet {
        file: request::word(&mut fields, "filename")?.unwrap_or_else(|| "file".to_owned()),
        text: fields.string("text")?.ok_or_else(|| text_at.missing())?,
    })
}
