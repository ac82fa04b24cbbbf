//! The messages of a conversation, in all the forms that clients send.

use serde_json::{Map, Value};
use worker_protocol::{Message, Role, ToolCall};

use crate::{
    Error, billing,
    limits::{MESSAGES_MAX, TOOLS_MAX},
    read::{self, Object, Path},
};

/// Takes the messages out of a request.
pub(super) fn decode(fields: &mut Object<'_>) -> Result<Vec<Message>, Error> {
    let path = fields.path("messages");
    let entries = fields.list("messages", MESSAGES_MAX)?.ok_or_else(|| path.missing())?;
    if entries.is_empty() {
        return Err(path.refuse("must hold at least one message"));
    }
    let mut messages = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        messages.push(message(&Path::Index(&path, index), entry)?);
    }
    billing::strip(&mut messages);
    Ok(messages)
}

fn message(path: &Path<'_>, value: Value) -> Result<Message, Error> {
    let mut fields = Object::new(path, value)?;
    let role = role(&mut fields)?;
    let content = content(&mut fields, role)?;
    // OpenRouter and newer vLLM say `reasoning`, llama.cpp and older vLLM `reasoning_content`.
    let reasoning = fields.string("reasoning_content")?;
    let reasoning = fields.string("reasoning")?.or(reasoning).filter(|text| !text.is_empty());
    Ok(Message {
        role,
        content,
        reasoning,
        tool_calls: tool_calls(&mut fields)?,
        tool_call_id: fields.string("tool_call_id")?,
        name: fields.string("name")?,
        media: Vec::new(),
    })
}

fn role(fields: &mut Object<'_>) -> Result<Role, Error> {
    let path = fields.path("role");
    let role = fields.string("role")?.ok_or_else(|| path.missing())?;
    match role.as_str() {
        "system" => Ok(Role::System),
        "developer" => Ok(Role::Developer),
        "user" => Ok(Role::User),
        "assistant" => Ok(Role::Assistant),
        // What tools were called before they were called tools.
        "tool" | "function" => Ok(Role::Tool),
        _ => Err(path.refuse(format_args!(
            "must be system, developer, user, assistant or tool, but it is {role:?}"
        ))),
    }
}

/// Text, or a list of parts that are text. Only the model and tools may have said nothing.
fn content(fields: &mut Object<'_>, role: Role) -> Result<Option<String>, Error> {
    let path = fields.path("content");
    match fields.take("content") {
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Array(parts)) => parts_text(&path, parts).map(Some),
        Some(ref other) => Err(path.wrong("a string or a list of parts", other)),
        None => match role {
            Role::Assistant => Ok(None),
            Role::Tool => Ok(Some(String::new())),
            Role::System | Role::Developer | Role::User => Err(path.missing()),
        },
    }
}

/// The text of all parts. They are paragraphs to their sender, so a line break goes between them.
fn parts_text(path: &Path<'_>, parts: Vec<Value>) -> Result<String, Error> {
    let mut whole = String::new();
    for (index, part) in parts.into_iter().enumerate() {
        let text = part_text(&Path::Index(path, index), part)?;
        if index > 0 {
            whole.push('\n');
        }
        whole.push_str(&text);
    }
    Ok(whole)
}

fn part_text(path: &Path<'_>, part: Value) -> Result<String, Error> {
    // Some clients put bare strings into the list.
    if let Value::String(text) = part {
        return Ok(text);
    }
    let mut fields = Object::new(path, part)?;
    let at = fields.path("type");
    let kind = fields.string("type")?.ok_or_else(|| at.missing())?;
    let key = match kind.as_str() {
        "text" | "input_text" | "output_text" => "text",
        "refusal" => "refusal",
        "image_url" | "input_image" | "image" => {
            return Err(at.unsupported("is an image, and images are not supported yet; send text"));
        }
        "input_audio" | "audio_url" | "audio" => {
            return Err(at.unsupported("is audio, and audio is not supported yet; send text"));
        }
        _ => {
            return Err(at.unsupported(format_args!(
                "is {kind:?}, and only parts of type \"text\" are supported"
            )));
        }
    };
    let at = fields.path(key);
    fields.string(key)?.ok_or_else(|| at.missing())
}

fn tool_calls(fields: &mut Object<'_>) -> Result<Vec<ToolCall>, Error> {
    let path = fields.path("tool_calls");
    let entries = fields.list("tool_calls", TOOLS_MAX)?.unwrap_or_default();
    let mut calls = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        calls.push(tool_call(&Path::Index(&path, index), entry, index)?);
    }
    Ok(calls)
}

fn tool_call(path: &Path<'_>, value: Value, index: usize) -> Result<ToolCall, Error> {
    let mut fields = Object::new(path, value)?;
    // Ids tie results to calls; a client with one call at a time may do without.
    let id = fields.string("id")?.unwrap_or_else(|| format!("call_{index}"));
    let at = fields.path("function");
    let function = fields.take("function").ok_or_else(|| at.missing())?;
    let mut function = Object::new(&at, function)?;
    let name_at = function.path("name");
    let name = function.string("name")?.ok_or_else(|| name_at.missing())?;
    Ok(ToolCall { id, name, arguments: arguments(&mut function)? })
}

/// Arguments are JSON inside a string; templates want the object.
fn arguments(function: &mut Object<'_>) -> Result<Value, Error> {
    let path = function.path("arguments");
    let parsed = match function.take("arguments") {
        None => Value::Object(Map::new()),
        Some(Value::String(text)) if text.trim().is_empty() => Value::Object(Map::new()),
        Some(Value::String(text)) => {
            read::check_shape(text.as_bytes())
                .map_err(|_| path.refuse("is nested too deeply or holds too many values"))?;
            serde_json::from_str(&text)
                .map_err(|error| path.refuse(format_args!("must be JSON in a string: {error}")))?
        }
        Some(other) => other,
    };
    if !parsed.is_object() {
        return Err(path.wrong("a JSON object, as a string", &parsed));
    }
    Ok(parsed)
}
