//! `POST /v1/messages`: the request.

use worker_protocol::{Generate, Prompt};

use super::chat;
use crate::{
    Error, Wish, constraint,
    read::{self, Object, Path},
    request, sampling,
};

/// A request for an answer in a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Name of the model.
    pub model: String,
    /// What is wanted of it.
    pub generate: Generate,
    /// Whether the answer is streamed.
    pub stream: bool,
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
    let stream = fields.bool("stream")?.unwrap_or(false);
    let wish = Wish::decode(&mut fields)?;
    let tokens_max = tokens_max(&mut fields)?;
    let stop = request::stop(&mut fields, "stop_sequences")?;
    let sampling = sampling::decode(&mut fields)?;
    let constraint = constraint::anthropic(&mut fields)?;
    let (chat, reasoning_tokens_max) = chat(&mut fields)?;
    let generate = Generate {
        sampling,
        tokens_max: Some(tokens_max),
        constraint,
        reasoning_tokens_max,
        adapters: None,
        stop,
        ..Generate::new(Prompt::Chat(chat))
    };
    Ok(Request { model, generate, stream, wish })
}

/// Anthropic's clients always say how long an answer may be.
fn tokens_max(fields: &mut Object<'_>) -> Result<u32, Error> {
    let path = fields.path("max_tokens");
    let tokens =
        fields.integer("max_tokens", 1..=u32::MAX.into())?.ok_or_else(|| path.missing())?;
    Ok(u32::try_from(tokens).unwrap_or(u32::MAX))
}
