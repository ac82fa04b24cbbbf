//! What a request says beside its input and its tools, and what of it the answer repeats.

use serde_json::{Map, Value, json};
use worker_protocol::Constraint;

use crate::{
    Error, constraint,
    limits::{INCLUDES_MAX, LOGPROBS_MAX},
    read::{Object, Path},
    reasoning::Reasoning,
    request,
};

/// What asks for log-probabilities.
const INCLUDE_LOGPROBS: &str = "message.output_text.logprobs";
/// What asks for reasoning in a form that the client sends back.
const INCLUDE_SEALED: &str = "reasoning.encrypted_content";

/// How reasoning is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Thoughts {
    /// As a summary, because the client asked for one and shows nothing else.
    pub(super) summarizes: bool,
    /// Also in `encrypted_content`, which comes back where `content` does not.
    pub(super) seals: bool,
}

pub(super) struct Settings {
    pub(super) keeps: bool,
    pub(super) logprobs: Option<u8>,
    pub(super) thoughts: Thoughts,
    pub(super) reasoning: Reasoning,
}

/// Refuses what only OpenAI's own machines can do.
pub(super) fn refuse_what_is_elsewhere(fields: &mut Object<'_>) -> Result<(), Error> {
    let path = fields.path("background");
    if fields.bool("background")?.unwrap_or(false) {
        return Err(path.unsupported(
            "asks for an answer that goes on without its client, and answers end with their clients \
             here; leave it out and read the answer as a stream",
        ));
    }
    let path = fields.path("conversation");
    if fields.take("conversation").is_some() {
        return Err(path.unsupported(
            "refers to OpenAI's conversations, which are not here; use previous_response_id, or send \
             the whole conversation as input",
        ));
    }
    let path = fields.path("prompt");
    if fields.take("prompt").is_some() {
        return Err(path.unsupported(
            "refers to a prompt that is kept at OpenAI; send its text as instructions and input",
        ));
    }
    Ok(())
}

/// What the answer repeats as it was said, and what it says where nothing was.
pub(super) fn echo(fields: &mut Object<'_>) -> Result<Map<String, Value>, Error> {
    let mut echo = Map::new();
    for (key, default) in [
        ("instructions", Value::Null),
        ("max_output_tokens", Value::Null),
        ("max_tool_calls", Value::Null),
        ("metadata", json!({})),
        ("parallel_tool_calls", json!(true)),
        ("previous_response_id", Value::Null),
        ("prompt_cache_key", Value::Null),
        ("reasoning", json!({})),
        ("safety_identifier", Value::Null),
        ("service_tier", json!("default")),
        ("store", json!(true)),
        ("temperature", Value::Null),
        ("text", json!({})),
        ("tool_choice", json!("auto")),
        ("top_logprobs", json!(0)),
        ("top_p", Value::Null),
        ("user", Value::Null),
        ("truncation", json!("disabled")),
    ] {
        let said = fields.peek(key).filter(|value| !value.is_null());
        echo.insert(key.to_owned(), said.cloned().unwrap_or(default));
    }
    complete(&mut echo, "reasoning", [("effort", Value::Null), ("summary", Value::Null)]);
    complete(
        &mut echo,
        "text",
        [("format", json!({ "type": "text" })), ("verbosity", json!("medium"))],
    );
    // Nothing else looks at these.
    fields.object("metadata")?;
    for key in ["prompt_cache_key", "safety_identifier", "user"] {
        fields.string(key)?;
    }
    fields.integer("max_tool_calls", 0..=u32::MAX.into())?;
    Ok(echo)
}

/// Adds to an object that is repeated what was not said in it.
fn complete(echo: &mut Map<String, Value>, key: &str, parts: [(&str, Value); 2]) {
    let Some(Value::Object(said)) = echo.get_mut(key) else { return };
    for (part, default) in parts {
        if said.get(part).is_none_or(Value::is_null) {
            said.insert(part.to_owned(), default);
        }
    }
}

/// Whether a conversation that is too long is shortened.
pub(super) fn shortens(fields: &mut Object<'_>) -> Result<bool, Error> {
    let path = fields.path("truncation");
    match request::word(fields, "truncation")?.as_deref() {
        None | Some("disabled") => Ok(false),
        Some("auto") => Ok(true),
        Some(other) => {
            Err(path.refuse(format_args!("must be \"auto\" or \"disabled\", but it is {other:?}")))
        }
    }
}

pub(super) fn decode(fields: &mut Object<'_>) -> Result<Settings, Error> {
    let includes = includes(fields)?;
    let includes = |wanted: &str| includes.iter().any(|included| included == wanted);
    let top = fields.integer("top_logprobs", 0..=LOGPROBS_MAX.into())?.unwrap_or(0);
    let keeps = fields.bool("store")?.unwrap_or(true);
    // Whoever keeps the conversation alone sends it back, and Codex does not say that it wants to.
    let seals = !keeps || includes(INCLUDE_SEALED);
    let mut thoughts = Thoughts { seals, ..Thoughts::default() };
    Ok(Settings {
        keeps,
        logprobs: u8::try_from(top).ok().filter(|_| includes(INCLUDE_LOGPROBS)),
        reasoning: reasoning(fields, &mut thoughts)?,
        thoughts,
    })
}

/// What the answer should hold beside itself. What is not known is left out of it.
fn includes(fields: &mut Object<'_>) -> Result<Vec<String>, Error> {
    let path = fields.path("include");
    let entries = fields.list("include", INCLUDES_MAX)?.unwrap_or_default();
    let one = |(index, entry)| Path::Index(&path, index).string(entry);
    entries.into_iter().enumerate().map(one).collect()
}

/// How much is thought, and whether it is told as a summary.
fn reasoning(fields: &mut Object<'_>, thoughts: &mut Thoughts) -> Result<Reasoning, Error> {
    let said = |key: &str| fields.peek("reasoning")?.get(key)?.as_str();
    // The second is what it was called first.
    let summary = said("summary").or(said("generate_summary"));
    thoughts.summarizes = summary.is_some_and(|summary| summary != "none");
    let variables = fields.object("chat_template_kwargs")?.unwrap_or_default();
    Reasoning::openai(fields, variables)
}

/// What the answer must look like. How much is said is left to the model.
pub(super) fn constraint(fields: &mut Object<'_>) -> Result<Option<Constraint>, Error> {
    let path = fields.path("text");
    let Some(text) = fields.take("text") else { return Ok(None) };
    let mut text = Object::new(&path, text)?;
    request::word(&mut text, "verbosity")?;
    constraint::responses(&mut text)
}
