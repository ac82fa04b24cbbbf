//! How much is thought before the answer, as variables of chat templates: Qwen and its kin know
//! `enable_thinking`, GPT-OSS `reasoning_effort`.
//!
//! `thinking.budget_tokens` is left unread: what is thought counts towards `max_tokens`, which bounds it.

use serde_json::{Map, Value};

use crate::{Error, read::Object, request};

/// Takes what is said about thinking out of a request.
pub(super) fn decode(fields: &mut Object<'_>) -> Result<Map<String, Value>, Error> {
    let mut variables = Map::new();
    if let Some(thinks) = thinks(fields)? {
        variables.insert("enable_thinking".to_owned(), thinks.into());
    }
    if let Some(effort) = effort(fields)? {
        variables.insert("reasoning_effort".to_owned(), effort.into());
    }
    Ok(variables)
}

fn thinks(fields: &mut Object<'_>) -> Result<Option<bool>, Error> {
    let path = fields.path("thinking");
    let Some(thinking) = fields.take("thinking") else { return Ok(None) };
    let mut thinking = Object::new(&path, thinking)?;
    let at = thinking.path("type");
    let kind = thinking.string("type")?.ok_or_else(|| at.missing())?;
    match &*kind {
        "enabled" | "adaptive" => Ok(Some(true)),
        "disabled" => Ok(Some(false)),
        _ => Err(at.refuse(format_args!(
            "must be \"enabled\", \"adaptive\" or \"disabled\", but it is {kind:?}"
        ))),
    }
}

fn effort(fields: &mut Object<'_>) -> Result<Option<String>, Error> {
    let path = fields.path("output_config");
    let Some(config) = fields.take("output_config") else { return Ok(None) };
    let mut config = Object::new(&path, config)?;
    request::word(&mut config, "effort")
}
