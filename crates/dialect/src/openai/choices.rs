//! Choices per prompt, and how their answers are streamed.

use worker_protocol::Generate;

use crate::{
    Error,
    limits::{CHOICES_BYTES_MAX, CHOICES_MAX, CHOICES_PER_PROMPT_MAX},
    read::Object,
};

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
pub(super) fn count(fields: &mut Object<'_>) -> Result<u32, Error> {
    let choices = fields.integer("n", 1..=CHOICES_PER_PROMPT_MAX.into())?.unwrap_or(1);
    Ok(u32::try_from(choices).unwrap_or(1))
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
