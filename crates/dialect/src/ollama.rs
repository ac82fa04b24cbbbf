//! Ollama's dialect: chat and generate.
//!
//! Its streams are lines of JSON, its errors `{"error":"…"}`, its times whole nanoseconds. Requests stream
//! unless they say that they do not. A request without anything to answer loads the model, or unloads
//! it where it is to be kept for no time.
//!
//! Not here: lists of models and what changes them, which need what only the hub knows.

mod answer;
pub mod chat;
pub mod generate;
mod options;

pub use answer::{Form, StreamEncoder, WholeEncoder, loaded};

use worker_protocol::Generate;

use crate::{
    Error, Wish,
    read::{Object, Path},
    write,
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

/// The body of an error; in a stream a line of it.
#[must_use]
pub fn error_body(error: &Error) -> String {
    write::to_json(&serde_json::json!({ "error": error.message }))
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

fn is_empty(value: &serde_json::Value) -> bool {
    use serde_json::Value::{Array, Bool, Null, Number, Object, String};
    match value {
        Null => true,
        String(text) => text.is_empty(),
        Array(entries) => entries.is_empty(),
        Bool(_) | Number(_) | Object(_) => false,
    }
}

const IMAGES: (&str, &str) =
    ("images", "holds images, and images are not supported yet; send text");

const FORMAT: (&str, &str) =
    ("format", "is not supported yet; ask for JSON in the prompt instead, and leave it out");

/// How much is thought before the answer, as variables of chat templates: Qwen and its kin know
/// `enable_thinking`, GPT-OSS `reasoning_effort`.
fn think(
    fields: &mut Object<'_>,
    variables: &mut serde_json::Map<String, serde_json::Value>,
) -> Result<(), Error> {
    use serde_json::Value;
    let path = fields.path("think");
    match fields.take("think") {
        None => {}
        Some(Value::Bool(thinks)) => {
            variables.insert("enable_thinking".to_owned(), thinks.into());
        }
        Some(Value::String(effort)) if ["low", "medium", "high", "max"].contains(&&*effort) => {
            variables.insert("enable_thinking".to_owned(), true.into());
            variables.insert("reasoning_effort".to_owned(), effort.into());
        }
        Some(ref other) => {
            return Err(path.wrong("true, false, \"low\", \"medium\", \"high\" or \"max\"", other));
        }
    }
    Ok(())
}

/// Log-probabilities of the chosen tokens, and how many alternatives to each.
fn logprobs(fields: &mut Object<'_>) -> Result<Option<u8>, Error> {
    let wanted = fields.bool("logprobs")?.unwrap_or(false);
    let most = i64::from(crate::limits::LOGPROBS_MAX);
    let alternatives = fields.integer("top_logprobs", 0..=most)?.unwrap_or(0);
    Ok(wanted.then(|| u8::try_from(alternatives).unwrap_or(0)))
}

/// An optional text at the root of a body.
fn text_of(fields: &mut Object<'_>, key: &str) -> Result<Option<String>, Error> {
    Ok(fields.string(key)?.filter(|text| !text.is_empty()))
}

/// What a message or a request may not hold together with another field.
fn only_without(path: &Path<'_>, other: &str) -> Error {
    path.refuse(format_args!("cannot go together with {other}; leave one of them out"))
}
