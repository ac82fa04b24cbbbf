//! The conversation: messages of many blocks become messages of one text each.
//!
//! Neighbours of one role are one turn, as they are to Anthropic, since chat templates insist that roles
//! take turns. Results of tools become messages of their own before what the user says beside them.

use std::collections::BTreeMap;

use serde_json::Value;
use worker_protocol::{MediaKind, Message, Role, ToolCall};

use crate::{
    Error, billing,
    limits::MESSAGES_MAX,
    media::{self, Content, File, Intake},
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
    intake: Intake,
}

/// What one side says before the other one speaks.
struct Turn {
    role: Role,
    content: Content,
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
            let content = &mut self.turn(Role::System).content;
            texts.iter().for_each(|text| content.text(text));
        }
        Ok(())
    }

    fn message(&mut self, path: &Path<'_>, value: Value) -> Result<(), Error> {
        let mut fields = Object::new(path, value)?;
        let role = role(&mut fields)?;
        let at = fields.path("content");
        match fields.take("content") {
            Some(Value::String(text)) => self.turn(role).content.text(&text),
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
                self.turn(role).content.text(&text);
            }
            ("image", Role::User) => {
                let picture = picture(&mut fields, &mut self.intake)?;
                self.turn(role).content.file(picture);
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
            ("tool_result" | "image", _) => {
                return Err(at.refuse(format_args!("is {kind:?}, which only the user says")));
            }
            _ => return Err(unread(&at, &kind)),
        }
        Ok(())
    }

    fn result(&mut self, fields: &mut Object<'_>) -> Result<Message, Error> {
        let at = fields.path("tool_use_id");
        let id = request::word(fields, "tool_use_id")?.ok_or_else(|| at.missing())?;
        let Some(name) = self.called.get(&id) else {
            return Err(at.refuse(format_args!(
                "is {id:?}, and no tool_use before it has this id; send the message that called too"
            )));
        };
        let name = Some(name.clone());
        let at = fields.path("content");
        let mut content = match fields.take("content") {
            None => Content::default(),
            Some(value) => seen(&at, value, &mut self.intake)?,
        };
        if fields.bool("is_error")?.unwrap_or(false) {
            failed(&mut content);
        }
        let (text, media) = content.into_parts();
        Ok(Message { tool_call_id: Some(id), name, media, ..Message::text(Role::Tool, text) })
    }
}

impl Turn {
    fn new(role: Role) -> Self {
        let (content, thoughts) = (Content::default(), Vec::new());
        Self { role, content, thoughts, calls: Vec::new(), results: Vec::new() }
    }

    fn messages(self) -> impl Iterator<Item = Message> {
        let Self { role, content, thoughts, calls, results } = self;
        let is_silent = content.is_empty();
        let (text, media) = content.into_parts();
        let said = (!is_silent || results.is_empty()).then(|| Message {
            // Only who calls tools may have said nothing.
            content: (!is_silent || calls.is_empty()).then_some(text),
            media,
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
fn failed(content: &mut Content) {
    match content.as_text() {
        "" => content.put_first("Error"),
        said if said.starts_with("Error") => {}
        _ => content.put_first("Error: "),
    }
}

/// What a tool gives back: a string, or a list of blocks that are text or pictures.
fn seen(path: &Path<'_>, value: Value, intake: &mut Intake) -> Result<Content, Error> {
    if let Value::String(text) = value {
        return Ok(Content::of(text));
    }
    let Value::Array(blocks) = value else {
        return Err(path.wrong("a string or a list of blocks", &value));
    };
    let mut content = Content::default();
    for (index, block) in blocks.into_iter().enumerate() {
        let path = Path::Index(path, index);
        let mut fields = Object::new(&path, block)?;
        let at = fields.path("type");
        let kind = fields.string("type")?.ok_or_else(|| at.missing())?;
        match &*kind {
            "text" => content.text(&required(&mut fields, "text")?),
            "image" => content.file(picture(&mut fields, intake)?),
            _ => return Err(unread(&at, &kind)),
        }
    }
    Ok(content)
}

/// `{"source":{"type":"base64","media_type":"image/png","data":"…"}}`
fn picture(fields: &mut Object<'_>, intake: &mut Intake) -> Result<File, Error> {
    let at = fields.path("source");
    let source = fields.take("source").ok_or_else(|| at.missing())?;
    let mut source = Object::new(&at, source)?;
    let at = source.path("type");
    match source.string("type")?.as_deref() {
        Some("base64") => {}
        Some("url") => {
            return Err(at.unsupported(
                "is \"url\": this hub fetches nothing from addresses; send the picture itself, as type \
                 \"base64\"",
            ));
        }
        Some("file") => {
            return Err(at.unsupported(
                "is \"file\", and this hub keeps no files; send the picture itself, as type \"base64\"",
            ));
        }
        Some(other) => {
            return Err(at.refuse(format_args!("must be \"base64\", but it is {other:?}")));
        }
        None => return Err(at.missing()),
    }
    let at = source.path("media_type");
    if let Some(named) = request::word(&mut source, "media_type")? {
        media::check_type(&at, &named, MediaKind::Image)?;
    }
    let at = source.path("data");
    let data = required(&mut source, "data")?;
    intake.base64(&at, &data, Some(MediaKind::Image))
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
        match &*kind {
            "text" => required(&mut fields, "text"),
            "image" => Err(at.refuse("is \"image\", which only the user says")),
            _ => Err(unread(&at, &kind)),
        }
    };
    blocks.into_iter().enumerate().map(one).collect()
}

fn required(fields: &mut Object<'_>, key: &str) -> Result<String, Error> {
    fields.string(key)?.ok_or_else(|| fields.path(key).missing())
}

/// The refusal of a block that nobody here reads; `at` is its type.
fn unread(at: &Path<'_>, kind: &str) -> Error {
    match kind {
        "document" => at.unsupported(
            "is a document, and documents are not read yet; send its text, or its pages as pictures",
        ),
        _ => at.unsupported(format_args!(
            "is {kind:?}, and only text, image, thinking, tool_use and tool_result are supported, each \
             in its place"
        )),
    }
}
