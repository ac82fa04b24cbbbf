//! `POST /api/chat`: the request.

use serde_json::{Map, Value};
use worker_protocol::{Chat, Message, Prompt, Role, ToolCall};

use super::{Request, images, text_of};
use crate::{
    Error, billing,
    limits::{MESSAGES_MAX, TOOLS_MAX},
    media::Intake,
    read::{Object, Path},
    request, tools,
};

/// Reads the body of a request. One without messages loads the model.
///
/// # Errors
/// Names the field that is wrong and what it should be.
pub fn decode(body: &[u8]) -> Result<Request, Error> {
    super::decode(body, prompt)
}

fn prompt(fields: &mut Object<'_>, variables: Map<String, Value>) -> Result<Option<Prompt>, Error> {
    let messages = messages(fields)?;
    if messages.is_empty() {
        return Ok(None);
    }
    let tools = tools::decode(fields)?;
    let continues = request::can_continue(&messages);
    // Ollama cuts unasked; what is left out silently is what the person asked about.
    let shortens = fields.bool("truncate")?.unwrap_or(false);
    let chat = Chat { messages, tools, variables, continues, shortens, ..Chat::default() };
    Ok(Some(Prompt::Chat(chat)))
}

fn messages(fields: &mut Object<'_>) -> Result<Vec<Message>, Error> {
    let path = fields.path("messages");
    let entries = fields.list("messages", MESSAGES_MAX)?.unwrap_or_default();
    let mut intake = Intake::default();
    let message = |(index, entry)| message(&Path::Index(&path, index), entry, &mut intake);
    let mut messages = entries.into_iter().enumerate().map(message).collect::<Result<_, _>>()?;
    billing::strip(&mut messages);
    Ok(messages)
}

fn message(path: &Path<'_>, value: Value, intake: &mut Intake) -> Result<Message, Error> {
    let mut fields = Object::new(path, value)?;
    let role = role(&mut fields)?;
    let media = images(&mut fields, role, intake)?;
    let calls = tool_calls(&mut fields)?;
    let content = fields.string("content")?;
    Ok(Message {
        role,
        // Only who calls tools may have said nothing.
        content: content.or_else(|| calls.is_empty().then(String::new)),
        reasoning: text_of(&mut fields, "thinking")?,
        tool_calls: calls,
        tool_call_id: text_of(&mut fields, "tool_call_id")?,
        name: text_of(&mut fields, "tool_name")?,
        media,
    })
}

fn role(fields: &mut Object<'_>) -> Result<Role, Error> {
    let path = fields.path("role");
    let role = fields.string("role")?.ok_or_else(|| path.missing())?;
    match &*role.to_lowercase() {
        "system" => Ok(Role::System),
        "user" => Ok(Role::User),
        "assistant" => Ok(Role::Assistant),
        "tool" => Ok(Role::Tool),
        _ => Err(path
            .refuse(format_args!("must be system, user, assistant or tool, but it is {role:?}"))),
    }
}

fn tool_calls(fields: &mut Object<'_>) -> Result<Vec<ToolCall>, Error> {
    let path = fields.path("tool_calls");
    let entries = fields.list("tool_calls", TOOLS_MAX)?.unwrap_or_default();
    let call = |(index, entry)| tool_call(&Path::Index(&path, index), entry, index);
    entries.into_iter().enumerate().map(call).collect()
}

fn tool_call(path: &Path<'_>, value: Value, index: usize) -> Result<ToolCall, Error> {
    let mut fields = Object::new(path, value)?;
    // Ids tie results to calls; older clients know none and go by order.
    let id = text_of(&mut fields, "id")?.unwrap_or_else(|| format!("call_{index}"));
    let at = fields.path("function");
    let function = fields.take("function").ok_or_else(|| at.missing())?;
    let mut function = Object::new(&at, function)?;
    let name_at = function.path("name");
    let name = function.string("name")?.ok_or_else(|| name_at.missing())?;
    let arguments = function.object("arguments")?.unwrap_or_default();
    Ok(ToolCall { id, name, arguments: Value::Object(arguments) })
}
