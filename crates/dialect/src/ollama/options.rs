//! `options`: how tokens are chosen, and where the text ends.
//!
//! What belongs to loading a model (`num_ctx`, `num_gpu`, `num_thread` and others) is the hub's
//! business, which plans a model's context and memory before it loads it, and is left unread. So is
//! what nobody knows, as Ollama does.

use serde_json::Value;
use worker_protocol::Sampling;

use crate::{Error, read::Object, request, sampling};

/// What the options say.
#[derive(Debug, Default)]
pub(super) struct Options {
    pub(super) sampling: Sampling,
    pub(super) stop: Vec<String>,
    pub(super) tokens_max: Option<u32>,
}

/// Takes the options out of a request.
pub(super) fn decode(fields: &mut Object<'_>) -> Result<Options, Error> {
    let path = fields.path("options");
    let Some(options) = fields.take("options") else { return Ok(Options::default()) };
    let mut options = Object::new(&path, options)?;
    let at = options.path("num_predict");
    Ok(Options {
        tokens_max: options
            .take("num_predict")
            .map(|tokens| at.integer(&tokens, i64::from(i32::MIN)..=u32::MAX.into()))
            .transpose()?
            .and_then(bound),
        stop: request::stop(&mut options, "stop")?,
        sampling: sampling(options)?,
    })
}

/// Zero and less mean that only the model ends the text.
fn bound(tokens: i64) -> Option<u32> {
    u32::try_from(tokens).ok().filter(|tokens| *tokens > 0)
}

/// As everybody's, but for a seed below zero, which is none.
fn sampling(mut options: Object<'_>) -> Result<Sampling, Error> {
    let is_seeded = options.peek("seed").and_then(Value::as_i64).is_none_or(|seed| seed >= 0);
    let sampling = sampling::decode(&mut options)?;
    Ok(Sampling { seed: sampling.seed.filter(|_| is_seeded), ..sampling })
}
