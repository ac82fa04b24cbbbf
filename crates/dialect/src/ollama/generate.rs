//! `POST /api/generate`: the request.
//!
//! A prompt is a conversation of one message, rendered with the model's chat template, unless it is `raw`.

use serde_json::Map;
use worker_protocol::{Chat, Generate, Message, Prompt, Role};

use super::{
    Ask, FORMAT, IMAGES, Request, logprobs, only_without, options, refuse, text_of, think,
};
use crate::{
    Error, Wish,
    read::{self, Object, Path},
    request,
};

/// Other fields whose meaning would be lost.
const REFUSED: [(&str, &str); 5] = [
    FORMAT,
    IMAGES,
    ("suffix", "is not supported yet: no text can be put in before another; leave it out"),
    ("template", "is not supported: the model's own chat template is used, or none with raw"),
    ("context", "is not supported: send the conversation as messages to /api/chat"),
];

/// Reads the body of a request. One without a prompt loads the model.
///
/// # Errors
/// Names the field that is wrong and what it should be.
pub fn decode(body: &[u8]) -> Result<Request, Error> {
    let mut fields = Object::new(&Path::Root, read::body(body)?)?;
    let model = request::model(&mut fields)?;
    let stream = fields.bool("stream")?.unwrap_or(true);
    let wish = Wish::decode(&mut fields)?;
    refuse(&mut fields, &REFUSED)?;
    let Some(prompt) = text_of(&mut fields, "prompt")? else {
        return Ok(Request { model, ask: Ask::Load, stream, wish });
    };
    let options = options::decode(&mut fields)?;
    let generate = Generate {
        logprobs: logprobs(&mut fields)?,
        tokens_max: options.tokens_max,
        stop: options.stop,
        sampling: options.sampling,
        ignore_end: false,
        prompt: self::prompt(&mut fields, prompt)?,
    };
    Ok(Request { model, ask: Ask::Generate(Box::new(generate)), stream, wish })
}

fn prompt(fields: &mut Object<'_>, prompt: String) -> Result<Prompt, Error> {
    let is_raw = fields.bool("raw")?.unwrap_or(false);
    let system_at = fields.path("system");
    let system = text_of(fields, "system")?;
    if is_raw {
        return match system {
            None => Ok(Prompt::Text(prompt)),
            Some(_) => Err(only_without(&system_at, "raw")),
        };
    }
    let mut variables = Map::new();
    think(fields, &mut variables)?;
    let system = system.map(|system| Message::text(Role::System, system));
    let messages = system.into_iter().chain([Message::text(Role::User, prompt)]).collect();
    Ok(Prompt::Chat(Chat { messages, tools: Vec::new(), documents: Vec::new(), variables }))
}
