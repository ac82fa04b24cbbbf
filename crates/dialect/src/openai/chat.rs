//! `POST /v1/chat/completions`: the request.
//!
//! Messages and tools are read in `message`, answers written in `stream` and `whole`.
//!
//! Refused for now, because the engine cannot hold a model to it yet: `tool_choice` that demands
//! a call. Images and audio are refused as well.

mod message;
mod stream;
mod tools;
mod whole;

use serde_json::{Map, Value};
use worker_protocol::{Chat, Generate, Prompt};

pub use stream::StreamEncoder;
pub use whole::WholeEncoder;

use super::choices::{self, Streaming};
use crate::{
    Error, Wish, constraint,
    limits::{DOCUMENTS_MAX, LOGPROBS_MAX},
    read::{self, Object, Path},
    request, sampling,
};

/// A request for an answer in a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Name of the model.
    pub model: String,
    /// One per choice (`n`), equal but for the seed.
    pub generates: Vec<Generate>,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Whether the stream ends with a chunk that holds the usage.
    pub include_usage: bool,
    /// Whether the stream tells as reasoning how far the model is loaded.
    pub include_progress: bool,
    /// What it wishes beside the answer.
    pub wish: Wish,
}

/// Reads the body of a request.
///
/// # Errors
/// Names the field that is wrong and what it should be.
pub fn decode(body: &[u8]) -> Result<Request, Error> {
    let mut fields = Object::new(&Path::Root, read::body(body)?)?;
    let model = request::model(&mut fields)?;
    let Streaming { stream, include_usage, include_progress } = choices::streaming(&mut fields)?;
    let wish = Wish::decode(&mut fields)?;
    let choices = choices::count(&mut fields)?;
    refuse_modalities(&mut fields)?;
    request::refuse_adapters(&mut fields)?;
    let chat = chat(&mut fields)?;
    let generate = Generate {
        constraint: constraint::openai(&mut fields, !chat.tools.is_empty())?,
        logprobs: logprobs(&mut fields)?,
        tokens_max: tokens_max(&mut fields)?,
        stop: request::stop(&mut fields, "stop")?,
        sampling: sampling::decode(&mut fields)?,
        ignore_end: fields.bool("ignore_eos")?.unwrap_or(false),
        prompt: Prompt::Chat(chat),
    };
    let generates = choices::multiply(vec![generate], choices, body.len())?;
    Ok(Request { model, generates, stream, include_usage, include_progress, wish })
}

fn chat(fields: &mut Object<'_>) -> Result<Chat, Error> {
    Ok(Chat {
        messages: message::decode(fields)?,
        tools: tools::decode(fields)?,
        documents: documents(fields)?,
        variables: variables(fields)?,
    })
}

/// The newer of the two names wins when both are there.
fn tokens_max(fields: &mut Object<'_>) -> Result<Option<u32>, Error> {
    let old = request::tokens_max(fields, "max_tokens")?;
    let new = request::tokens_max(fields, "max_completion_tokens")?;
    Ok(new.or(old).and_then(request::TokensMax::tokens))
}

fn logprobs(fields: &mut Object<'_>) -> Result<Option<u8>, Error> {
    let wanted = fields.bool("logprobs")?.unwrap_or(false);
    let path = fields.path("top_logprobs");
    let alternatives = fields.integer("top_logprobs", 0..=LOGPROBS_MAX.into())?;
    match alternatives {
        Some(1..) if !wanted => Err(path.refuse("needs `logprobs` to be true")),
        Some(alternatives) if wanted => Ok(u8::try_from(alternatives).ok()),
        Some(_) | None => Ok(wanted.then_some(0)),
    }
}

fn documents(fields: &mut Object<'_>) -> Result<Vec<Value>, Error> {
    let path = fields.path("documents");
    let documents = fields.list("documents", DOCUMENTS_MAX)?.unwrap_or_default();
    for (index, document) in documents.iter().enumerate() {
        if !document.is_object() && !document.is_string() {
            return Err(Path::Index(&path, index).wrong("an object or a string", document));
        }
    }
    Ok(documents)
}

/// Variables of the chat template. Some templates know OpenAI's `reasoning_effort` by that name.
fn variables(fields: &mut Object<'_>) -> Result<Map<String, Value>, Error> {
    let mut variables = fields.object("chat_template_kwargs")?.unwrap_or_default();
    if let Some(effort) = fields.string("reasoning_effort")? {
        variables.entry("reasoning_effort").or_insert(Value::String(effort));
    }
    Ok(variables)
}

fn refuse_modalities(fields: &mut Object<'_>) -> Result<(), Error> {
    let path = fields.path("modalities");
    if let Some(Value::Array(modalities)) = fields.take("modalities")
        && modalities.iter().any(|modality| modality.as_str() != Some("text"))
    {
        return Err(path.unsupported("may only name \"text\": this hub does not speak yet"));
    }
    Ok(())
}
