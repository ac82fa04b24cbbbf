//! What requests of all dialects have in common: model, plain texts, length, stop strings, and
//! whether an answer goes on from its beginning.

use serde_json::Value;
use worker_protocol::{
    ChosenAdapter, Message, Role, Scale, WhichAdapter,
    limits::{ADAPTER_SCALE_MAX, ADAPTERS_MAX},
};

use crate::{
    Error,
    error::ADAPTERS_FIELD,
    limits::{MODEL_NAME_BYTES_MAX, SHORT_VALUE_BYTES_MAX, STOP_BYTES_MAX, STOP_STRINGS_MAX},
    read::{Object, Path},
};

/// The model's name.
pub(crate) fn model(fields: &mut Object<'_>) -> Result<String, Error> {
    model_if_named(fields)?.ok_or_else(|| fields.path("model").missing())
}

/// The model's name, where a route can do without it.
pub(crate) fn model_if_named(fields: &mut Object<'_>) -> Result<Option<String>, Error> {
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

/// Whether a conversation ends with words of the assistant that its answer can go on from.
pub(crate) fn can_continue(messages: &[Message]) -> bool {
    let last = messages.last().filter(|message| message.role == Role::Assistant);
    last.is_some_and(|message| {
        let has_text = message.content.as_ref().is_some_and(|text| !text.is_empty());
        message.tool_calls.is_empty() && has_text
    })
}

/// A text that must be there and say something.
pub(crate) fn text(fields: &mut Object<'_>, key: &str, bytes_max: usize) -> Result<String, Error> {
    let text = fields.string(key)?.ok_or_else(|| fields.path(key).missing())?;
    if text.is_empty() {
        return Err(fields.path(key).refuse("must not be an empty string"));
    }
    fields.path(key).bytes_at_most(text.len(), bytes_max)?;
    Ok(text)
}

/// A name or a word that may be missing; an empty one counts as that.
pub(crate) fn word(fields: &mut Object<'_>, key: &str) -> Result<Option<String>, Error> {
    let Some(text) = fields.string(key)?.filter(|text| !text.is_empty()) else { return Ok(None) };
    fields.path(key).bytes_at_most(text.len(), SHORT_VALUE_BYTES_MAX)?;
    Ok(Some(text))
}

/// A bound on generated tokens. -1 means none, as llama.cpp's clients say it.
pub(crate) fn tokens_max(fields: &mut Object<'_>, key: &str) -> Result<Option<TokensMax>, Error> {
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
pub(crate) enum TokensMax {
    Bound(u32),
    Unbounded,
}

impl TokensMax {
    pub(crate) fn tokens(self) -> Option<u32> {
        match self {
            Self::Bound(tokens) => Some(tokens),
            Self::Unbounded => None,
        }
    }
}

/// How strongly the model's adapters act, as llama-server's clients say it: a list of adapters, each by its
/// place among the model's or by its name, with a scale. One that is not listed does not act. An empty list
/// leaves all as they are configured, as it does there.
pub(crate) fn adapters(fields: &mut Object<'_>) -> Result<Option<Vec<ChosenAdapter>>, Error> {
    let path = fields.path(ADAPTERS_FIELD);
    let entries = fields.list(ADAPTERS_FIELD, ADAPTERS_MAX)?.unwrap_or_default();
    let entries = entries.into_iter().enumerate();
    let chosen: Vec<ChosenAdapter> = entries
        .map(|(index, entry)| adapter(&Path::Index(&path, index), entry))
        .collect::<Result<_, _>>()?;
    Ok((!chosen.is_empty()).then_some(chosen))
}

fn adapter(path: &Path<'_>, entry: Value) -> Result<ChosenAdapter, Error> {
    let mut fields = Object::new(path, entry)?;
    let (id_at, scale_at) = (fields.path("id"), fields.path("scale"));
    let id = fields.take("id").ok_or_else(|| id_at.missing())?;
    let adapter = if let Value::String(name) = id {
        id_at.bytes_at_most(name.len(), SHORT_VALUE_BYTES_MAX)?;
        WhichAdapter::Name(name)
    } else {
        let place = id_at.integer(&id, 0..=u32::MAX.into())?;
        WhichAdapter::Place(u32::try_from(place).unwrap_or(u32::MAX))
    };
    let most = f64::from(ADAPTER_SCALE_MAX);
    let scale = fields.number("scale", -most..=most)?.ok_or_else(|| scale_at.missing())?;
    Ok(ChosenAdapter { adapter, scale: Scale(scale) })
}

/// Stop strings: one, several or none. Empty ones are dropped; they would match everywhere.
pub(crate) fn stop(fields: &mut Object<'_>, key: &str) -> Result<Vec<String>, Error> {
    let path = fields.path(key);
    let entries = match fields.take(key) {
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
