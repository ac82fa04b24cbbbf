//! Anthropic's dialect: messages, how many tokens they are, and lists of models.
//!
//! Its streams are events with names, its errors `{"type":"error","error":{"type","message"}}`. Tokens of
//! a prompt are told in two figures: those that were computed, and beside them those that were found in
//! the cache.
//!
//! Documents are refused for now, and pictures that are not sent whole. What Anthropic runs itself (`web_search` and other tools without a
//! schema) is not offered to the model; betas and what caches are told to do are left unread.

mod answer;
mod blocks;
mod conversation;
pub mod count;
pub mod messages;
pub mod model;
mod stream;
mod tools;
mod whole;

pub use stream::{PING, StreamEncoder, error_event};
pub use whole::WholeEncoder;

use serde::Serialize;
use worker_protocol::{Chat, Role};

use crate::{Error, read::Object, reasoning::Reasoning, request, tools::Offered, write};

/// The body of an error. `request_id` is what a person can ask about; in a stream there is none.
#[must_use]
pub fn error_body(error: &Error, request_id: Option<&str>) -> String {
    let message = match error.code.as_deref() {
        // By these words clients know that a conversation has to be made shorter.
        Some("context_length_exceeded") => format!("prompt is too long: {}", error.message),
        Some(_) | None => error.message.clone(),
    };
    let error = Inner { r#type: kind(error.status), message: &message };
    write::to_json(&Outer { r#type: "error", error, request_id })
}

#[derive(Serialize)]
struct Outer<'a> {
    r#type: &'static str,
    error: Inner<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Inner<'a> {
    r#type: &'static str,
    message: &'a str,
}

/// Anthropic's word for a class of errors.
fn kind(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        408 | 504 => "timeout_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        // Anthropic says 529; both are tried again.
        503 | 529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

/// What both requests have in common: the conversation, what its template may refer to, and how many
/// tokens may be thought before the answer. The assistant's words at the end are the beginning of its
/// answer.
fn chat(fields: &mut Object<'_>) -> Result<(Chat, Option<u32>), Error> {
    let path = fields.path("messages");
    let messages = conversation::decode(fields)?;
    let continues = request::can_continue(&messages);
    if messages.last().is_some_and(|last| !continues && last.role == Role::Assistant) {
        return Err(path.refuse(
            "ends with an assistant's message without text to go on from, or with calls that nothing \
             answers; end with the user's message or a tool_result",
        ));
    }
    let Offered { tools, choice: tool_choice, one_call } = tools::decode(fields)?;
    let Reasoning { variables, tokens_max } = Reasoning::anthropic(fields)?;
    let chat =
        Chat { messages, tools, variables, tool_choice, one_call, continues, ..Chat::default() };
    Ok((chat, tokens_max))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_error_has_the_word_of_its_status() {
        for (status, expected) in [
            (400, "invalid_request_error"),
            (401, "authentication_error"),
            (403, "permission_error"),
            (404, "not_found_error"),
            (405, "invalid_request_error"),
            (408, "timeout_error"),
            (413, "request_too_large"),
            (415, "invalid_request_error"),
            (429, "rate_limit_error"),
            (500, "api_error"),
            (502, "api_error"),
            (503, "overloaded_error"),
        ] {
            let error = Error::new(status, "no").retry_after(Some(Duration::ZERO));
            let expected = format!(
                r#"{{"type":"error","error":{{"type":"{expected}","message":"no"}},"request_id":"req_1"}}"#
            );
            assert_eq!(error_body(&error, Some("req_1")), expected);
        }
    }

    #[test]
    fn a_prompt_over_the_context_is_told_in_the_words_that_clients_know() {
        let error = Error::invalid("it has 9 tokens").code("context_length_exceeded");
        assert_eq!(
            error_body(&error, None),
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: it has 9 tokens"}}"#
        );
    }
}
