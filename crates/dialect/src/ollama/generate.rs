//! `POST /api/generate`: the request.
//!
//! A prompt is a conversation of one message, rendered with the model's chat template, unless it is `raw`.
//! With a `suffix` the model fills in what stands between prompt and suffix.

use serde_json::{Map, Value};
use worker_protocol::{Chat, Infill, Message, Prompt, Role};

use super::{Request, images, refuse, text_of};
use crate::{Error, media::Intake, read::Object};

/// Other fields whose meaning would be lost.
const REFUSED: [(&str, &str); 2] = [
    ("template", "is not supported: the model's own chat template is used, or none with raw"),
    ("context", "is not supported: send the conversation as messages to /api/chat"),
];

/// Reads the body of a request. One without a prompt loads the model.
///
/// # Errors
/// Names the field that is wrong and what it should be.
pub fn decode(body: &[u8]) -> Result<Request, Error> {
    super::decode(body, prompt)
}

fn prompt(fields: &mut Object<'_>, variables: Map<String, Value>) -> Result<Option<Prompt>, Error> {
    refuse(fields, &REFUSED)?;
    let images_at = fields.path("images");
    let media = images(fields, Role::User, &mut Intake::default())?;
    let suffix = text_of(fields, "suffix")?;
    let says_something = suffix.is_some() || !media.is_empty();
    let Some(prompt) = text_of(fields, "prompt")?.or_else(|| says_something.then(String::new))
    else {
        return Ok(None);
    };
    let system_at = fields.path("system");
    let system = text_of(fields, "system")?;
    let is_raw = fields.bool("raw")?.unwrap_or(false);
    if !media.is_empty() && (is_raw || suffix.is_some()) {
        let other = if is_raw { "raw" } else { "suffix" };
        return Err(images_at
            .refuse(format_args!("cannot go together with {other}; leave one of them out")));
    }
    if let Some(after) = suffix {
        // Instructions have no place there, and Ollama's own templates for it leave them out.
        return Ok(Some(Prompt::Infill(Infill { before: prompt, after, ..Infill::default() })));
    }
    if is_raw {
        return match system {
            None => Ok(Some(Prompt::Text(prompt))),
            Some(_) => Err(system_at.refuse("cannot go together with raw; leave one of them out")),
        };
    }
    let system = system.map(|system| Message::text(Role::System, system));
    let said = Message { media, ..Message::text(Role::User, prompt) };
    let messages = system.into_iter().chain([said]).collect();
    Ok(Some(Prompt::Chat(Chat { messages, variables, ..Chat::default() })))
}
