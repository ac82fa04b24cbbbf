//! `options`: how tokens are chosen, and where the text ends.
//!
//! What belongs to loading a model (`num_ctx`, `num_gpu`, `num_thread` and others) is the hub's
//! business, which plans a model's context and memory before it loads it, and is left unread. So is
//! what nobody knows, as Ollama does. A model's own parameters have the same names, and there the
//! context counts.

use serde_json::{Map, Value};
use worker_protocol::{Parameter, Sampling};

use crate::{
    Error,
    read::{Object, Path},
    request, sampling,
};

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
    read(Object::new(&path, options)?)
}

fn read(mut options: Object<'_>) -> Result<Options, Error> {
    let predict = options.integer("num_predict", i64::from(i32::MIN)..=u32::MAX.into())?;
    let stop = request::stop(&mut options, "stop")?;
    let mut sampling = sampling(options)?;
    if predict.is_some() {
        sampling.said.push(Parameter::TokensMax);
    }
    Ok(Options { tokens_max: predict.and_then(bound), stop, sampling })
}

/// What a model's own parameters say, for requests that do not.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parameters {
    /// How tokens are chosen; [`Sampling::said`] names what is said.
    pub sampling: Sampling,
    /// Where the text ends.
    pub stop: Vec<String>,
    /// Tokens to generate at most.
    pub tokens_max: Option<u32>,
    /// Context to load the model with.
    pub context_tokens: Option<u32>,
}

/// Reads a model's own parameters, by Ollama's names. Those that nobody knows are passed over.
///
/// # Errors
/// Names the parameter that is wrong and what it should be.
pub fn parameters(parameters: &Map<String, Value>) -> Result<Parameters, Error> {
    let path = Path::Key(&Path::Root, "parameters");
    let mut fields = Object::new(&path, Value::Object(parameters.clone()))?;
    let context = fields.integer("num_ctx", 0..=i32::MAX.into())?;
    let Options { sampling, stop, tokens_max } = read(fields)?;
    let context_tokens = context.and_then(|tokens| u32::try_from(tokens).ok());
    let context_tokens = context_tokens.filter(|tokens| *tokens > 0);
    Ok(Parameters { sampling, stop, tokens_max, context_tokens })
}

/// Zero and less mean that only the model ends the text.
fn bound(tokens: i64) -> Option<u32> {
    u32::try_from(tokens).ok().filter(|tokens| *tokens > 0)
}

/// As everybody's, but for a seed below zero, which asks for a fresh one.
fn sampling(mut options: Object<'_>) -> Result<Sampling, Error> {
    let is_seeded = options.peek("seed").and_then(Value::as_i64).is_none_or(|seed| seed >= 0);
    let sampling = sampling::decode(&mut options)?;
    Ok(Sampling { seed: sampling.seed.filter(|_| is_seeded), ..sampling })
}
