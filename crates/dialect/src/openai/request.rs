//! What requests have in common: model, plain texts, choices, streaming, length, stop strings.

use serde_json::Value;
use worker_protocol::Generate;

use crate::{
    Error,
    limits::{
        CHOICES_BYTES_MAX, CHOICES_MAX, CHOICES_PER_PROMPT_MAX, MODEL_NAME_BYTES_MAX,
        SHORT_VALUE_BYTES_MAX, STOP_BYTES_MAX, STOP_STRINGS_MAX,
    },
    read::{Object, Path},
};

/// The model's name.
pub(super) fn model(fields: &mut Object<'_>) -> Result<String, Error> {
    model_if_named(fields)?.ok_or_else(|| fields.path("model").missing())
}

/// The model's name, where a route can do without it.
pub(super) fn model_if_named(fields: &mut Object<'_>) -> Result<Option<String>, Error> {
    let path = fields.path("model");
    let Some(name) = fields.string("model")? else { return Ok(None) };
    if name.is_empty() || name.len() > MODEL_NAME_BYTES_MAX {
        return Err(path.refuse(format_args!(
            "must be a name of 1 to {MODEL_NAME_BYTES_MAX} bytes, but it has {}",
            name.len()
        )));
    }
    Ok(Some(name))
}

/// A text that must be there and say something.
pub(super) fn text(fields: &mut Object<'_>, key: &str, bytes_max: usize) -> Result<String, Error> {
    let text = fields.string(key)?.ok_or_else(|| fields.path(key).missing())?;
    if text.is_empty() {
        return Err(fields.path(key).refuse("must not be an empty string"));
    }
    fields.path(key).bytes_at_most(text.len(), bytes_max)?;
    Ok(text)
}

/// A name or a word that may be missing; an empty one counts as that.
pub(super) fn word(fields: &mut Object<'_>, key: &str) -> Result<Option<String>, Error> {
    let Some(text) = fields.string(key)?.filter(|text| !text.is_empty()) else { return Ok(None) };
    fields.path(key).bytes_at_most(text.len(), SHORT_VALUE_BYTES_MAX)?;
    Ok(Some(text))
}

/// Whether to stream, and what the stream holds beside the text.
pub(super) struct Streaming {
    pub(super) stream: bool,
    /// It ends with the usage.
    pub(super) include_usage: bool,
    /// It says what is going on while the model is not there yet.
    pub(super) include_progress: bool,
}

/// How to stream, if at all.
pub(super) fn streaming(fields: &mut Object<'_>) -> Result<Streaming, Error> {
    let stream = fields.bool("stream")?.unwrap_or(false);
    let path = fields.path("stream_options");
    let (mut include_usage, mut include_progress) = (false, false);
    if let Some(options) = fields.take("stream_options") {
        let mut options = Object::new(&path, options)?;
        include_usage = stream && options.bool("include_usage")?.unwrap_or(false);
        include_progress = stream && options.bool("include_progress")?.unwrap_or(false);
    }
    Ok(Streaming { stream, include_usage, include_progress })
}

/// Choices per prompt.
pub(super) fn choices(fields: &mut Object<'_>) -> Result<u32, Error> {
    let choices = fields.integer("n", 1..=CHOICES_PER_PROMPT_MAX.into())?.unwrap_or(1);
    Ok(u32::try_from(choices).unwrap_or(1))
}

/// A bound on generated tokens. -1 means none, as llama.cpp's clients say it.
pub(super) fn tokens_max(fields: &mut Object<'_>, key: &str) -> Result<Option<TokensMax>, Error> {
    let path = fields.path(key);
    let Some(tokens) = fields.integer(key, -1..=u32::MAX.into())? else {
        return Ok(None);
    };
    match u32::try_from(tokens) {
        Ok(0) => Err(path.refuse("must be at least 1 (or -1 for no bound), but it is 0")),
        Ok(tokens) => Ok(Some(TokensMax::Bound(tokens))),
        Err(_) => Ok(Some(TokensMax::Unbounded)),
    }
}

/// What a client said about the length of the answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum TokensMax {
    Bound(u32),
    Unbounded,
}

impl TokensMax {
    pub(super) fn tokens(self) -> Option<u32> {
        match self {
            Self::Bound(tokens) => Some(tokens),
            Self::Unbounded => None,
        }
    }
}

/// Stop strings: one, several or none. Empty ones are dropped; they would match everywhere.
pub(super) fn stop(fields: &mut Object<'_>) -> Result<Vec<String>, Error> {
    let path = fields.path("stop");
    let entries = match fields.take("stop") {
        None => return Ok(Vec::new()),
        Some(Value::String(text)) => vec![Value::String(text)],
        Some(Value::Array(entries)) => entries,
        Some(ref other) => return Err(path.wrong("a string or a list of strings", other)),
    };
    path.at_most(entries.len(), STOP_STRINGS_MAX)?;
    let mut stop = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        let at = Path::Index(&path, index);
        let text = at.string(entry)?;
        at.bytes_at_most(text.len(), STOP_BYTES_MAX)?;
        if !text.is_empty() {
            stop.push(text);
        }
    }
    Ok(stop)
}

/// One copy of the request per choice. With a seed each choice draws from its own, so that the
/// choices differ and every one of them can be had again.
pub(super) fn multiply(
    prompts: Vec<Generate>,
    choices_per_prompt: u32,
    body_bytes: usize,
) -> Result<Vec<Generate>, Error> {
    let total = prompts.len().saturating_mul(choices_per_prompt as usize);
    if total > CHOICES_MAX {
        return Err(Error::invalid(format!(
            "{} prompts with n={choices_per_prompt} ask for {total} choices, and at most \
             {CHOICES_MAX} are allowed in one request",
            prompts.len()
        ))
        .at("n")
        .code("invalid_value"));
    }
    if body_bytes.saturating_mul(choices_per_prompt as usize) > CHOICES_BYTES_MAX {
        return Err(Error::invalid(format!(
            "a body of {body_bytes} bytes with n={choices_per_prompt} is too much: bytes times n \
             may be at most {CHOICES_BYTES_MAX}; send the choices as separate requests"
        ))
        .at("n")
        .code("invalid_value"));
    }
    let mut generates = Vec::with_capacity(total);
    for prompt in prompts {
        // The last copy is the original, so that the common case copies nothing.
        let copies = std::iter::repeat_n(prompt, choices_per_prompt as usize);
        for (choice, mut generate) in (0..choices_per_prompt).zip(copies) {
            generate.sampling.seed = generate.sampling.seed.map(|seed| seed.wrapping_add(choice));
            generates.push(generate);
        }
    }
    Ok(generates)
}
