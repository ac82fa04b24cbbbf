//! The sampling parameters: OpenAI's, and the ones that llama.cpp, Ollama and vLLM clients add.
//!
//! What a client does not say keeps the default of [`Sampling`].

use serde_json::Value;
use worker_protocol::{Dry, Mirostat, MirostatVersion, Parameter, Sampling, Xtc};

use crate::{
    Error,
    limits::{DRY_BREAKER_BYTES_MAX, DRY_BREAKERS_MAX, LOGIT_BIAS_MAX},
    read::{Object, Path},
};

/// Takes every sampling parameter out of a request.
pub(crate) fn decode(fields: &mut Object<'_>) -> Result<Sampling, Error> {
    let default = Sampling::default();
    let mut said = Said::default();
    let sampling = Sampling {
        temperature: said.or(
            default.temperature,
            fields.number("temperature", 0.0..=10.0)?,
            Parameter::Temperature,
        ),
        top_k: said.or(default.top_k, top_k(fields)?, Parameter::TopK),
        top_p: said.or(default.top_p, fields.number("top_p", 0.0..=1.0)?, Parameter::TopP),
        min_p: said.or(default.min_p, fields.number("min_p", 0.0..=1.0)?, Parameter::MinP),
        typical_p: said.or(
            default.typical_p,
            fields.number("typical_p", 0.0..=1.0)?,
            Parameter::TypicalP,
        ),
        repeat_penalty: said.or(
            default.repeat_penalty,
            repeat_penalty(fields)?,
            Parameter::RepeatPenalty,
        ),
        penalty_last_tokens: said.or(
            default.penalty_last_tokens,
            last_tokens(fields, "repeat_last_n")?,
            Parameter::PenaltyLastTokens,
        ),
        presence_penalty: said.or(
            default.presence_penalty,
            fields.number("presence_penalty", -2.0..=2.0)?,
            Parameter::PresencePenalty,
        ),
        frequency_penalty: said.or(
            default.frequency_penalty,
            fields.number("frequency_penalty", -2.0..=2.0)?,
            Parameter::FrequencyPenalty,
        ),
        dry: dry(fields)?,
        xtc: xtc(fields)?,
        mirostat: mirostat(fields)?,
        logit_bias: logit_bias(fields)?,
        seed: said.or(None, seed(fields)?.map(Some), Parameter::Seed),
        said: Vec::new(),
    };
    Ok(Sampling { said: said.0, ..sampling })
}

/// What a request says itself.
#[derive(Default)]
struct Said(Vec<Parameter>);

impl Said {
    fn or<T>(&mut self, otherwise: T, value: Option<T>, parameter: Parameter) -> T {
        match value {
            Some(value) => {
                self.0.push(parameter);
                value
            }
            None => otherwise,
        }
    }
}

/// -1 is how vLLM's clients say "all", which is 0 here.
fn top_k(fields: &mut Object<'_>) -> Result<Option<u32>, Error> {
    let k = fields.integer("top_k", -1..=i32::MAX.into())?;
    Ok(k.map(|k| u32::try_from(k).unwrap_or(0)))
}

/// llama.cpp and Ollama say `repeat_penalty`, vLLM and others `repetition_penalty`.
fn repeat_penalty(fields: &mut Object<'_>) -> Result<Option<f32>, Error> {
    let range = 0.1..=10.0;
    let vllm = fields.number("repetition_penalty", range.clone())?;
    Ok(fields.number("repeat_penalty", range)?.or(vllm))
}

fn last_tokens(fields: &mut Object<'_>, key: &str) -> Result<Option<i32>, Error> {
    let tokens = fields.integer(key, -1..=i32::MAX.into())?;
    Ok(tokens.map(|tokens| i32::try_from(tokens).unwrap_or(i32::MAX)))
}

/// Off unless a multiplier is given; the other defaults are llama.cpp's.
fn dry(fields: &mut Object<'_>) -> Result<Option<Dry>, Error> {
    let multiplier = fields.number("dry_multiplier", 0.0..=100.0)?.unwrap_or(0.0);
    let base = fields.number("dry_base", 1.0..=10.0)?.unwrap_or(1.75);
    let allowed_length = fields.integer("dry_allowed_length", 0..=1024)?.unwrap_or(2);
    let last_tokens = last_tokens(fields, "dry_penalty_last_n")?.unwrap_or(-1);
    let sequence_breakers =
        dry_breakers(fields)?.unwrap_or_else(|| ["\n", ":", "\"", "*"].map(str::to_owned).to_vec());
    Ok((multiplier > 0.0).then(|| Dry {
        multiplier,
        base,
        allowed_length: u32::try_from(allowed_length).unwrap_or(2),
        last_tokens,
        sequence_breakers,
    }))
}

fn dry_breakers(fields: &mut Object<'_>) -> Result<Option<Vec<String>>, Error> {
    let path = fields.path("dry_sequence_breakers");
    let Some(entries) = fields.list("dry_sequence_breakers", DRY_BREAKERS_MAX)? else {
        return Ok(None);
    };
    let mut breakers = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        let at = Path::Index(&path, index);
        let text = at.string(entry)?;
        if text.is_empty() || text.len() > DRY_BREAKER_BYTES_MAX {
            return Err(at.refuse(format_args!(
                "must have 1 to {DRY_BREAKER_BYTES_MAX} bytes, but it has {}",
                text.len()
            )));
        }
        breakers.push(text);
    }
    Ok(Some(breakers))
}

/// Off unless a probability is given.
fn xtc(fields: &mut Object<'_>) -> Result<Option<Xtc>, Error> {
    let probability = fields.number("xtc_probability", 0.0..=1.0)?.unwrap_or(0.0);
    let threshold = fields.number("xtc_threshold", 0.0..=1.0)?.unwrap_or(0.1);
    Ok((probability > 0.0).then_some(Xtc { probability, threshold }))
}

/// 0 is off, 1 and 2 are the two versions.
fn mirostat(fields: &mut Object<'_>) -> Result<Option<Mirostat>, Error> {
    let version = match fields.integer("mirostat", 0..=2)? {
        Some(1) => Some(MirostatVersion::One),
        Some(2) => Some(MirostatVersion::Two),
        Some(_) | None => None,
    };
    let tau = fields.number("mirostat_tau", 0.0..=100.0)?.unwrap_or(5.0);
    let eta = fields.number("mirostat_eta", 0.0..=1.0)?.unwrap_or(0.1);
    Ok(version.map(|version| Mirostat { version, tau, eta }))
}

/// An object of token id to bias, as OpenAI has it.
fn logit_bias(fields: &mut Object<'_>) -> Result<Vec<(u32, f32)>, Error> {
    let path = fields.path("logit_bias");
    let Some(entries) = fields.object("logit_bias")? else {
        return Ok(Vec::new());
    };
    path.at_most(entries.len(), LOGIT_BIAS_MAX)?;
    entries.into_iter().map(|(token, bias)| one_bias(&path, &token, &bias)).collect()
}

fn one_bias(path: &Path<'_>, token: &str, bias: &Value) -> Result<(u32, f32), Error> {
    let id: u32 = token.trim().parse().map_err(|_| {
        path.refuse(format_args!("must have token ids as keys, but one is {token:?}"))
    })?;
    Ok((id, Path::Key(path, token).number(bias, -100.0..=100.0)?))
}

/// Any 64-bit number is a seed. Numbers of 32 bits stay themselves; larger ones are folded.
#[expect(clippy::cast_possible_truncation, reason = "the halves are folded together")]
#[expect(clippy::cast_sign_loss, reason = "a seed is bits, not a quantity")]
fn seed(fields: &mut Object<'_>) -> Result<Option<u32>, Error> {
    let path = fields.path("seed");
    let Some(value) = fields.take("seed") else {
        return Ok(None);
    };
    let bits = match value.as_u64() {
        Some(bits) => bits,
        None => path.integer(&value, i64::MIN..=i64::MAX)? as u64,
    };
    Ok(Some((bits >> 32) as u32 ^ bits as u32))
}
