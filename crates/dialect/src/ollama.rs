//! Ollama's dialect: chat, generate, embeddings, its lists of models, and what changes them.
//!
//! Its streams are lines of JSON, its errors `{"error":"…"}`, its times whole nanoseconds. Requests stream
//! unless they say that they do not. A request without anything to answer loads the model, or unloads
//! it where it is to be kept for no time.
//!
//! Not here: what the lists say, which only the hub knows.

mod answer;
pub mod chat;
pub mod embed;
pub mod generate;
pub mod library;
pub mod model;
mod options;
pub mod progress;

pub use answer::{Form, StreamEncoder, WholeEncoder, loaded};
pub use options::{Parameters, parameters};

use serde_json::{Map, Value, json};
use worker_protocol::{Generate, Media, Prompt, Role};

use crate::{
    Error, Wish, constraint,
    limits::{LOGPROBS_MAX, MEDIA_MAX},
    media::{File, Intake},
    read::{self, Object, Path},
    reasoning::Reasoning,
    request, write,
};

/// A request for text.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Name of the model.
    pub model: String,
    /// What to do with it.
    pub ask: Ask,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// What it wishes beside the answer.
    pub wish: Wish,
}

/// What a request is for.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// Text.
    Generate(Box<Generate>),
    /// That the model is in memory, or is not where it is to be kept for no time.
    Load,
}

/// Reads what is to be answered, if anything is, with these variables for the chat template.
type ReadPrompt = fn(&mut Object<'_>, Map<String, Value>) -> Result<Option<Prompt>, Error>;

/// Reads the body of a request, of which this reads what is to be answered, if anything is.
fn decode(body: &[u8], prompt: ReadPrompt) -> Result<Request, Error> {
    let mut fields = Object::new(&Path::Root, read::body(body)?)?;
    let model = request::model(&mut fields)?;
    let stream = fields.bool("stream")?.unwrap_or(true);
    let wish = Wish::decode(&mut fields)?;
    let reasoning = Reasoning::ollama(&mut fields)?;
    let Some(prompt) = prompt(&mut fields, reasoning.variables)? else {
        return Ok(Request { model, ask: Ask::Load, stream, wish });
    };
    let options = options::decode(&mut fields)?;
    let generate = Generate {
        constraint: constraint::ollama(&mut fields)?,
        logprobs: logprobs(&mut fields)?,
        tokens_max: options.tokens_max,
        stop: options.stop,
        sampling: options.sampling,
        ignore_end: false,
        reasoning_tokens_max: reasoning.tokens_max,
        adapters: None,
        prompt,
    };
    Ok(Request { model, ask: Ask::Generate(Box::new(generate)), stream, wish })
}

/// The body of an error; in a stream a line of it.
#[must_use]
pub fn error_body(error: &Error) -> String {
    write::to_json(&json!({ "error": error.message }))
}

/// Fields that ask for what this program does not do yet, and would change the answer. Empty values ask
/// for nothing.
fn refuse(fields: &mut Object<'_>, refused: &[(&str, &str)]) -> Result<(), Error> {
    for (key, why) in refused {
        let path = fields.path(key);
        if fields.take(key).is_some_and(|value| !is_empty(&value)) {
            return Err(path.unsupported(why));
        }
    }
    Ok(())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(entries) => entries.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

/// Pictures and sounds of a message, each in base64. They stand in front of its text, where Ollama puts
/// them.
fn images(fields: &mut Object<'_>, role: Role, intake: &mut Intake) -> Result<Vec<Media>, Error> {
    let path = fields.path("images");
    let entries = fields.list("images", MEDIA_MAX)?.unwrap_or_default();
    if !entries.is_empty() && !matches!(role, Role::User | Role::Tool) {
        return Err(path.refuse(format_args!(
            "is in a message of the role \"{}\", which may hold text only; send it in a user's message",
            role.as_str()
        )));
    }
    let one = |(index, entry)| {
        let at = Path::Index(&path, index);
        let File { kind, bytes } = intake.base64(&at, &at.string(entry)?, None)?;
        Ok(Media { at: 0, kind, bytes })
    };
    entries.into_iter().enumerate().map(one).collect()
}

/// Log-probabilities of the chosen tokens, and how many alternatives to each.
fn logprobs(fields: &mut Object<'_>) -> Result<Option<u8>, Error> {
    let wanted = fields.bool("logprobs")?.unwrap_or(false);
    let most = i64::from(LOGPROBS_MAX);
    let alternatives = fields.integer("top_logprobs", 0..=most)?.unwrap_or(0);
    Ok(wanted.then(|| u8::try_from(alternatives).unwrap_or(0)))
}

/// An optional text at the root of a body.
fn text_of(fields: &mut Object<'_>, key: &str) -> Result<Option<String>, Error> {
    Ok(fields.string(key)?.filter(|text| !text.is_empty()))
}
