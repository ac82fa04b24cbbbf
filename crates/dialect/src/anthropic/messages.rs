//! `POST /v1/messages`: the request.

use worker_protocol::{Generate, Message, Prompt, Role};

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
    let chat = chat(&mut fields)?;
    if let Some((key, _)) = constraint.as_ref().filter(|_| !chat.tools.is_empty()) {
        return Err(constraint::apart(&fields.path(key), "tools"));
    }
    refuse_prefill(&fields.path("messages"), &chat.messages)?;
    let generate = Generate {
        sampling,
        tokens_max: Some(tokens_max),
        constraint: constraint.map(|(_, constraint)| constraint),
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

/// To these clients the assistant's words at the end are the beginning of its answer; chat templates
/// would begin another one behind them.
fn refuse_prefill(path: &Path<'_>, messages: &[Message]) -> Result<(), Error> {
    let last = messages.last().map(|message| message.role);
    match last {
        Some(Role::Assistant) => Err(path.unsupported(
            "ends with the assistant's message, and an answer cannot go on from its own beginning \
             yet; end with a user's message that says how the answer begins",
        )),
        Some(Role::System | Role::Developer | Role::User | Role::Tool) | None => Ok(()),
    }
}
