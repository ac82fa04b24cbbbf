//! `POST /v1/completions`: the request.
//!
//! Several prompts give several choices: those of the first prompt, then those of the second, ….
//! A request that does not say how long the text may be gets 16 tokens, OpenAI's documented default
//! for this route.
//!
//! With a `suffix` the model fills in what stands between prompt and suffix.
//!
//! Refused: `best_of` over `n`, and `echo` with token ids or logprobs, which would need the worker to
//! give a prompt's text and probabilities back.

mod stream;
mod whole;

use worker_protocol::{Generate, Infill, Prompt};

pub use stream::StreamEncoder;
pub use whole::WholeEncoder;

use super::choices::{self, Streaming};
use crate::{
    Error, Wish, constraint,
    limits::{CHOICES_MAX, COMPLETION_TOKENS_DEFAULT, LOGPROBS_MAX},
    read::{self, Object, Path},
    request, sampling,
};

/// A request for the continuation of raw text.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Name of the model.
    pub model: String,
    /// One per choice: `choices_per_prompt` for the first prompt, then for the second, ….
    pub generates: Vec<Generate>,
    /// Choices per prompt (`n`).
    pub choices_per_prompt: u32,
    /// Whether each choice begins with its prompt.
    pub echo: bool,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Whether the stream ends with a chunk that holds the usage.
    pub include_usage: bool,
    /// What it wishes beside the answer.
    pub wish: Wish,
}

impl Request {
    /// What a choice begins with: its prompt, when it is to be echoed.
    fn echoed(&self, choice: usize) -> &str {
        match self.generates.get(choice).map(|generate| &generate.prompt) {
            Some(Prompt::Text(text)) if self.echo => text,
            Some(Prompt::Infill(infill)) if self.echo => &infill.before,
            Some(Prompt::Text(_) | Prompt::Tokens(_) | Prompt::Infill(_) | Prompt::Chat(_))
            | None => "",
        }
    }
}

/// Reads the body of a request.
///
/// # Errors
/// Names the field that is wrong and what it should be.
pub fn decode(body: &[u8]) -> Result<Request, Error> {
    let mut fields = Object::new(&Path::Root, read::body(body)?)?;
    let model = request::model(&mut fields)?;
    // Raw text has no place for anything but the text.
    let Streaming { stream, include_usage, include_progress: _ } = choices::streaming(&mut fields)?;
    let wish = Wish::decode(&mut fields)?;
    let choices_per_prompt = choices::count(&mut fields)?;
    let echo = fields.bool("echo")?.unwrap_or(false);
    let logprobs = fields.integer("logprobs", 0..=LOGPROBS_MAX.into())?;
    refuse_unsupported(&mut fields, choices_per_prompt)?;
    let adapters = request::adapters(&mut fields)?;
    let template = Generate {
        constraint: constraint::openai(&mut fields, false)?,
        logprobs: logprobs.and_then(|alternatives| u8::try_from(alternatives).ok()),
        tokens_max: request::tokens_max(&mut fields, "max_tokens")?
            .map_or(Some(COMPLETION_TOKENS_DEFAULT), request::TokensMax::tokens),
        stop: request::stop(&mut fields, "stop")?,
        sampling: sampling::decode(&mut fields)?,
        ignore_end: fields.bool("ignore_eos")?.unwrap_or(false),
        adapters,
        reasoning_tokens_max: None,
        prompt: Prompt::Tokens(Vec::new()),
    };
    let prompts = prompts(&mut fields)?;
    let prompts = with_suffix(&mut fields, prompts)?;
    if echo {
        check_echo(&fields.path("echo"), &prompts, logprobs.is_some())?;
    }
    let generates =
        prompts.into_iter().map(|prompt| Generate { prompt, ..template.clone() }).collect();
    let generates = choices::multiply(generates, choices_per_prompt, body.len())?;
    Ok(Request { model, generates, choices_per_prompt, echo, stream, include_usage, wish })
}

fn refuse_unsupported(fields: &mut Object<'_>, choices: u32) -> Result<(), Error> {
    let path = fields.path("best_of");
    match fields.integer("best_of", 0..=i64::MAX)? {
        Some(best_of) if best_of > choices.into() => Err(path.unsupported(format_args!(
            "is {best_of}, and only as many texts as n={choices} are made; leave it out"
        ))),
        Some(_) | None => Ok(()),
    }
}

fn check_echo(path: &Path<'_>, prompts: &[Prompt], logprobs: bool) -> Result<(), Error> {
    if logprobs {
        return Err(path.unsupported("cannot be combined with logprobs; send one of the two"));
    }
    if prompts.iter().any(|prompt| matches!(prompt, Prompt::Tokens(_))) {
        return Err(path.unsupported("needs a prompt that is text, not token ids"));
    }
    Ok(())
}

fn prompts(fields: &mut Object<'_>) -> Result<Vec<Prompt>, Error> {
    let path = fields.path("prompt");
    let value = fields.take("prompt").ok_or_else(|| path.missing())?;
    let texts = read::texts(&path, value, CHOICES_MAX)?;
    Ok(texts
        .into_iter()
        .map(|text| match text {
            read::Text::Text(text) => Prompt::Text(text),
            read::Text::Tokens(tokens) => Prompt::Tokens(tokens),
        })
        .collect())
}

/// Prompts that are followed by a suffix, if there is one.
fn with_suffix(fields: &mut Object<'_>, prompts: Vec<Prompt>) -> Result<Vec<Prompt>, Error> {
    let path = fields.path("suffix");
    let Some(after) = fields.string("suffix")?.filter(|suffix| !suffix.is_empty()) else {
        return Ok(prompts);
    };
    let fill = |prompt| match prompt {
        Prompt::Text(before) => {
            Ok(Prompt::Infill(Infill { before, after: after.clone(), ..Infill::default() }))
        }
        Prompt::Tokens(_) | Prompt::Infill(_) | Prompt::Chat(_) => {
            Err(path.unsupported("needs a prompt that is text, not token ids"))
        }
    };
    prompts.into_iter().map(fill).collect()
}
