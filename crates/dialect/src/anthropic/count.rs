//! `POST /v1/messages/count_tokens`: how many tokens a prompt has, without an answer to it.

use serde_json::json;
use worker_protocol::{Event, Prompt};

use super::chat;
use crate::{
    Error, Wish,
    read::{self, Object, Path},
    request, write,
};

/// A request for the length of a prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Name of the model, whose tokens are counted.
    pub model: String,
    /// What is counted.
    pub prompt: Prompt,
    /// What it wishes beside the answer.
    pub wish: Wish,
}

/// Reads the body of a request: that of a message, without what is about its answer.
///
/// # Errors
/// Names the field that is wrong and what it should be.
pub fn decode(body: &[u8]) -> Result<Request, Error> {
    let mut fields = Object::new(&Path::Root, read::body(body)?)?;
    let model = request::model(&mut fields)?;
    let wish = Wish::decode(&mut fields)?;
    let (chat, _) = chat(&mut fields)?;
    Ok(Request { model, prompt: Prompt::Chat(chat), wish })
}

/// The answer, by the one event that a worker answers with.
///
/// # Errors
/// It failed, or did not end.
pub fn answer(event: &Event) -> Result<String, Error> {
    match event {
        Event::Finished(finished) => {
            Ok(write::to_json(&json!({ "input_tokens": finished.usage.prompt_tokens })))
        }
        Event::Failed(failure) => Err(Error::from(failure)),
        Event::Progress { .. }
        | Event::Text(_)
        | Event::Reasoning(_)
        | Event::ToolCall(_)
        | Event::Embedded { .. }
        | Event::Ranked { .. } => Err(Error::unfinished()),
    }
}
