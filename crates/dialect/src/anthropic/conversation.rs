//! The conversation: messages of many blocks become messages of one text each.
//!
//! Neighbours of one role are one turn, as they are to Anthropic, since chat templates insist that roles
//! take turns. Results of tools become messages of their own before what the user says beside them.

use std::collections::BTreeMap;

use serde_json::Value;
use worker_protocol::{Message, Role, ToolCall};

use crate::{
    Error, billing,
    limits::MESSAGES_MAX,
    read::{Object, Path},
    request,
};

/// Takes the instructions and the messages out of a request.
pub(super) fn decode(fields: &mut Object<'_>) -> Result<Vec<Message>, Error> {
    let mut conversation = Conversation::default();
    conversation.instructions(fields)?;
    let path = fields.path("messages");
    let entries = fields.list("messages", MESSAGES_MAX)?.ok_or_else(|| path.missing())?;
    if entries.is_empty() {
        return Err(path.refuse("must hold at least one message"));
    }
    for (index, entry) in entries.into_iter().enumerate() {
        conversation.message(&Path::Index(&path, index), entry)?;
    }
    let mut messages = conversation.turns.into_iter().flat_map(Turn::messages).collect();
    billing::strip(&mut messages);
    Ok(messages)
}

#[derive(Default)]
struct Conversation {
    turns: Vec<Turn>,
    /// Names of the tools that were called so far, by the ids of their calls.
    called: BTreeMap<String, String>,
}

/// What one side says before the other one speaks.
struct Turn {
    role: Role,
    texts: Vec<String>,
    thoughts: Vec<String>,
    calls: Vec<ToolCall>,
    results: Vec<Message>,
}

impl Conversation {
    fn instructions(&mut self, fields: &mut Object<'_>) -> Result<(), Error> {
        let path = fields.path("system");
        let texts = match fields.take("system") {
            None => return Ok(()),
            Some(value) => texts(&path, value)?,
        };
        if texts.iter().any(|text| !text.is_empty()) {
            self.turn(Role::System).texts = texts;
        }
        Ok(())
    }

    fn message(&mut self, path: &Path<'_>, value: Value) -> Result<(), Error> {
        let mut fields = Object::new(path, value)?;
        let role = role(&mut fields)?;
        let at = fields.path("content");
        match fields.take("content") {
            Some(Value::String(text)) => self.turn(role).texts.push(text),
            Some(Value::Array(blocks)) => {
                // One without blocks takes its turn too.
                self.turn(role);
                for (index, block) in blocks.into_iter().enumerate() {
                    self.block(&Path::Index(&at, index), role, block)?;
                }
            }
            Some(ref other) => return Err(at.wrong("a string or a list of blocks", other)),
            None => return Err(at.missing()),
        }
        Ok(())
    }

    /// The turn of this role: the one that goes on, or a new one.
    fn turn(&mut self, role: Role) -> &mut Turn {
        if self.turns.last().is_none_or(|turn| turn.role != role) {
            self.turns.push(Turn::new(role));
        }
        let last = self.turns.len() - 1;
        &mut self.turns[last]
    }

    fn block(&mut self, path: &Path<'_>, role: Role, block: Value) -> Result<(), Error> {
        let mut fields = Object::new(path, block)?;
        let at = fields.path("type");
        let kind = fields.string("type")?.ok_or_else(|| at.missing())?;
        match (&*kind, role) {
            ("text", _) => {
                let text = required(&mut fields, "text")?;
                self.turn(role).texts.push(text);
            }
            ("thinking", Role::Assistant) => {
                let thought = required(&mut fields, "thinking")?;
                self.turn(role).thoughts.extend(Some(thought).filter(|text| !text.is_empty()));
            }
            // Only Anthropic can read it.
            ("redacted_thinking", Role::Assistant) => {}
            ("tool_use", Role::Assistant) => {
                let call = call(&mut fields)?;
                self.called.insert(call.id.clone(), call.name.clone());
                self.turn(role).calls.push(call);
            }
            ("tool_result", Role::User) => {
                let result = self.result(&mut fields)?;
                self.turn(role).results.push(result);
            }
            ("thinking" | "redacted_thinking" | "tool_use", _) => {
                return Err(at.refuse(format_args!("is {kind:?}, which only the assistant says")));
            }
            ("tool_result", _) => {
                return Err(at.refuse("is \"tool_result\", which only the user says"));
            }
            _ => return Err(not_text(&at, &kind)),
        }
        Ok(())
    }

    fn result(&self, fields: &mut Object<'_>) -> Result<Message, Error> {
        let at = fields.path("tool_use_id");
        let id = request::word(fields, "tool_use_id")?.ok_or_else(|| at.missing())?;
        let Some(name) = self.called.get(&id) else {
            return Err(at.refuse(format_args!(
                "is {id:?}, and no tool_use before it has this id; send the message that called too"
            )));
        };
        let at = fields.path("content");
        let texts = match fields.take("content") {
            None => Vec::new(),
            Some(value) => texts(&at, value)?,
        };
        let is_error = fields.bool("is_error")?.unwrap_or(false);
        let text = if is_error { failed(texts.join("\n")) } else { texts.join("\n") };
        Ok(Message {
            tool_call_id: Some(id),
            name: Some(name.clone()),
            ..Message::text(Role::Tool, text)
        })
    }
}

impl Turn {
    fn new(role: Role) -> Self {
        let (texts, thoughts) = (Vec::new(), Vec::new());
        Self { role, texts, thoughts, calls: Vec::new(), results: Vec::new() }
    }

    fn messages(self) -> impl Iterator<Item = Message> {
        let Self { role, texts, thoughts, calls, results } = self;
        // Blocks are paragraphs to their sender, so a line break goes between them. Only who calls tools
        // may have said nothing.
        let content = (!texts.is_empty() || calls.is_empty()).then(|| texts.join("\n"));
        let is_said = !texts.is_empty() || results.is_empty();
        let said = is_said.then(|| Message {
            content,
            reasoning: (!thoughts.is_empty()).then(|| thoughts.join("\n")),
            tool_calls: calls,
            ..Message::text(role, "")
        });
        results.into_iter().chain(said)
    }
}

/// Anthropic's roles are two; instructions in the middle of a conversation are newer.
fn role(fields: &mut Object<'_>) -> Result<Role, Error> {
    let path = fields.path("role");
    let role = fields.string("role")?.ok_or_else(|| path.missing())?;
    match &*role {
        "user" => Ok(Role::User),
        "assistant" => Ok(Role::Assistant),
        "system" => Ok(Role::System),
        _ => {
            Err(path.refuse(format_args!("must be user, assistant or system, but it is {role:?}")))
        }
    }
}

fn call(fields: &mut Object<'_>) -> Result<ToolCall, Error> {
    let (id_at, name_at) = (fields.path("id"), fields.path("name"));
    let id = request::word(fields, "id")?.ok_or_else(|| id_at.missing())?;
    let name = request::word(fields, "name")?.ok_or_else(|| name_at.missing())?;
    let arguments = fields.object("input")?.unwrap_or_default();
    Ok(ToolCall { id, name, arguments: Value::Object(arguments) })
}

/// What a tool says that failed. Chat templates have no other place for it.
fn failed(text: String) -> String {
    match &*text {
        "" => "Error".to_owned(),
        said if said.starts_with("Error") => text,
        said => format!("Error: {said}"),
    }
}

/// A string, or a list of blocks that are all text.
fn texts(path: &Path<'_>, value: Value) -> Result<Vec<String>, Error> {
    if let Value::String(text) = value {
        return Ok(vec![text]);
    }
    let Value::Array(blocks) = value else {
        return Err(path.wrong("a string or a list of blocks", &value));
    };
    let one = |(index, block)| {
        let path = Path::Index(path, index);
        let mut fields = Object::new(&path, block)?;
        let at = fields.path("type");
        let kind = fields.string("type")?.ok_or_else(|| at.missing())?;
        if kind == "text" { required(&mut fields, "text") } else { Err(not_text(&at, &kind)) }
    };
    blocks.into_iter().enumerate().map(one).collect()
}

fn required(fields: &mut Object<'_>, key: &str) -> Result<String, Error> {
    fields.string(key)?.ok_or_else(|| fields.path(key).missing())
}

/// The refusal of a block that is no text; `at` is its type.
fn not_text(at: &Path<'_>, kind: &str) -> Error {
    match kind {
        "image" => at.unsupported("is an image, and images are not supported yet; send text"),
        "document" => at.unsupported("is a document, and only text is read yet; send its text"),
        _ => at.unsupported(format_args!(
            "is {kind:?}, and only text, thinking, tool_use and tool_result are supported, each in its \
             place"
        )),
    }
}
