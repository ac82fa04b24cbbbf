//! `POST /v1/responses/input_tokens`: how many tokens a prompt has, without an answer to it. The request is
//! that of an answer.

use serde_json::json;
use worker_protocol::Event;

use crate::{Error, write::to_json};

/// The answer, by the one event that a worker answers with.
///
/// # Errors
/// It failed, or did not end.
pub fn counted(event: &Event) -> Result<String, Error> {
    match event {
        Event::Finished(finished) => Ok(to_json(&json!({
            "object": "response.input_tokens",
            "input_tokens": finished.usage.prompt_tokens,
        }))),
        Event::Failed(failure) => Err(Error::from(failure)),
        Event::Progress { .. }
        | Event::Text(_)
        | Event::Reasoning(_)
        | Event::ToolCall(_)
        | Event::Embedded { .. }
        | Event::Ranked { .. } => Err(Error::unfinished()),
    }
}
