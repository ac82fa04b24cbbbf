//! The messages of a conversation, in all the forms that clients send.

use serde_json::{Map, Value};
use worker_protocol::{MediaKind, Message, Role, ToolCall};

use crate::{
    Error, billing,
    limits::{MESSAGES_MAX, TOOLS_MAX},
    media::{Content, File, Intake},
    read::{Object, Path},
    request,
};

/// Takes the messages out of a request.
pub(super) fn decode(fields: &mut Object<'_>) -> Result<Vec<Message>, Error> {
    let path = fields.path("messages");
    let entries = fields.list("messages", MESSAGES_MAX)?.ok_or_else(|| path.missing())?;
    if entries.is_empty() {
        return Err(path.refuse("must hold at least one message"));
    }
    let (mut messages, mut intake) = (Vec::with_capacity(entries.len()), Intake::default());
    for (index, entry) in entries.into_iter().enumerate() {
        messages.push(message(&Path::Index(&path, index), entry, &mut intake)?);
    }
    billing::strip(&mut messages);
    Ok(messages)
}

fn message(path: &Path<'_>, value: Value, intake: &mut Intake) -> Result<Message, Error> {
    let mut fields = Object::new(path, value)?;
    let role = role(&mut fields)?;
    let content = content(&mut fields, role, intake)?.map(Content::into_parts);
    let (content, media) = content.map_or((None, Vec::new()), |(text, media)| (Some(text), media));
    // OpenRouter and newer vLLM say `reasoning`, llama.cpp and older vLLM `reasoning_content`.
    let reasoning = fields.string("reasoning_content")?;
    let reasoning = fields.string("reasoning")?.or(reasoning).filter(|text| !text.is_empty());
    Ok(Message {
        role,
        content,
        reasoning,
        tool_calls: tool_calls(&mut fields, intake)?,
        tool_call_id: fields.string("tool_call_id")?,
        name: fields.string("name")?,
        media,
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

/// Text, or a list of parts. Only the model and tools may have said nothing.
fn content(
    fields: &mut Object<'_>,
    role: Role,
    intake: &mut Intake,
) -> Result<Option<Content>, Error> {
    let path = fields.path("content");
    match fields.take("content") {
        Some(Value::String(text)) => Ok(Some(Content::of(text))),
        Some(Value::Array(parts)) => {
            let mut content = Content::default();
            for (index, part) in parts.into_iter().enumerate() {
                self::part(&Path::Index(&path, index), part, role, intake, &mut content)?;
            }
            Ok(Some(content))
        }
        Some(ref other) => Err(path.wrong("a string or a list of parts", other)),
        None => match role {
            Role::Assistant => Ok(None),
            Role::Tool => Ok(Some(Content::default())),
            Role::System | Role::Developer | Role::User => Err(path.missing()),
        },
    }
}

fn part(
    path: &Path<'_>,
    part: Value,
    role: Role,
    intake: &mut Intake,
    content: &mut Content,
) -> Result<(), Error> {
    // Some clients put bare strings into the list.
    if let Value::String(text) = part {
        content.text(&text);
        return Ok(());
    }
    let mut fields = Object::new(path, part)?;
    let at = fields.path("type");
    let kind = fields.string("type")?.ok_or_else(|| at.missing())?;
    let key = match kind.as_str() {
        "text" | "input_text" | "output_text" => "text",
        "refusal" => "refusal",
        "image_url" | "input_image" => {
            refuse_unseen(&at, &kind, role)?;
            content.file(picture(&mut fields, intake)?);
            return Ok(());
        }
        "input_audio" => {
            refuse_unseen(&at, &kind, role)?;
            content.file(sound(&mut fields, intake)?);
            return Ok(());
        }
        _ => return Err(unread(&at, &kind)),
    };
    let at = fields.path(key);
    let text = fields.string(key)?.ok_or_else(|| at.missing())?;
    content.text(&text);
    Ok(())
}

/// Models are shown pictures by their users and tools, and chat templates have no place for others.
pub(in crate::openai) fn refuse_unseen(at: &Path<'_>, kind: &str, role: Role) -> Result<(), Error> {
    match role {
        Role::User | Role::Tool => Ok(()),
        Role::System | Role::Developer | Role::Assistant => Err(at.refuse(format_args!(
            "is {kind:?} in a message of the role \"{}\", which may hold text only; send it in a \
             user's message",
            role.as_str()
        ))),
    }
}

/// `{"image_url":{"url":"data:…"}}`, or the URL without an object around it, as newer APIs have it.
pub(in crate::openai) fn picture(
    fields: &mut Object<'_>,
    intake: &mut Intake,
) -> Result<File, Error> {
    let at = fields.path("image_url");
    let value = fields.take("image_url").ok_or_else(|| at.missing())?;
    if let Value::String(url) = value {
        return intake.uri(&at, &url, MediaKind::Image);
    }
    let mut inner = Object::new(&at, value)?;
    let at = inner.path("url");
    let url = inner.string("url")?.ok_or_else(|| at.missing())?;
    intake.uri(&at, &url, MediaKind::Image)
}

/// `{"input_audio":{"data":"…","format":"wav"}}`
pub(in crate::openai) fn sound(
    fields: &mut Object<'_>,
    intake: &mut Intake,
) -> Result<File, Error> {
    let at = fields.path("input_audio");
    let value = fields.take("input_audio").ok_or_else(|| at.missing())?;
    let mut inner = Object::new(&at, value)?;
    let format_at = inner.path("format");
    if let Some(format) = request::word(&mut inner, "format")?
        && !["wav", "mp3", "flac"].contains(&&*format)
    {
        return Err(format_at.unsupported(format_args!(
            "is {format:?}, which is not read here; send a sound as \"wav\", \"mp3\" or \"flac\""
        )));
    }
    let at = inner.path("data");
    let data = inner.string("data")?.ok_or_else(|| at.missing())?;
    intake.base64(&at, &data, Some(MediaKind::Audio))
}

/// The refusal of a part that nobody here reads; `at` is its type.
fn unread(at: &Path<'_>, kind: &str) -> Error {
    match kind {
        "image" => at.unsupported(
            "is \"image\"; send a picture as {\"type\":\"image_url\",\"image_url\":{\"url\":\
             \"data:image/png;base64,…\"}}",
        ),
        "audio" | "audio_url" => at.unsupported(format_args!(
            "is {kind:?}; send a sound as {{\"type\":\"input_audio\",\"input_audio\":{{\"data\":\
             \"…\",\"format\":\"wav\"}}}}"
        )),
        "file" | "input_file" => at.unsupported(format_args!(
            "is {kind:?}, and files are not read here; send their text, or their pages as pictures"
        )),
        _ => at.unsupported(format_args!(
            "is {kind:?}, and only parts of type \"text\", \"image_url\" and \"input_audio\" are \
             supported"
        )),
    }
}

fn tool_calls(fields: &mut Object<'_>, intake: &mut Intake) -> Result<Vec<ToolCall>, Error> {
    let path = fields.path("tool_calls");
    let entries = fields.list("tool_calls", TOOLS_MAX)?.unwrap_or_default();
    let mut calls = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        calls.push(tool_call(&Path::Index(&path, index), entry, index, intake)?);
    }
    Ok(calls)
}

fn tool_call(
    path: &Path<'_>,
    value: Value,
    index: usize,
    intake: &mut Intake,
) -> Result<ToolCall, Error> {
    let mut fields = Object::new(path, value)?;
    // Ids tie results to calls; a client with one call at a time may do without.
    let id = fields.string("id")?.unwrap_or_else(|| format!("call_{index}"));
    let at = fields.path("function");
    let function = fields.take("function").ok_or_else(|| at.missing())?;
    let mut function = Object::new(&at, function)?;
    let name_at = function.path("name");
    let name = function.string("name")?.ok_or_else(|| name_at.missing())?;
    Ok(ToolCall { id, name, arguments: arguments(&mut function, intake)? })
}

/// Arguments are JSON inside a string; some clients send the object.
fn arguments(function: &mut Object<'_>, intake: &mut Intake) -> Result<Value, Error> {
    let path = function.path("arguments");
    match function.take("arguments") {
        None => Ok(Value::Object(Map::new())),
        Some(Value::String(text)) => Ok(said_arguments(text, intake).into()),
        Some(object @ Value::Object(_)) => Ok(object),
        Some(ref other) => Err(path.wrong("a JSON object, as a string", other)),
    }
}

/// The object that templates want, out of the string that a model wrote. What is none comes back with the
/// tool's complaint about it, and is shown as it was; so is what would be too much.
pub(in crate::openai) fn said_arguments(text: String, intake: &mut Intake) -> Map<String, Value> {
    if text.trim().is_empty() {
        return Map::new();
    }
    let parsed = if intake.takes_json(&text) { serde_json::from_str(&text).ok() } else { None };
    parsed.unwrap_or_else(|| Map::from_iter([("raw".to_owned(), Value::String(text))]))
}
