//! The input: items of many kinds become messages.
//!
//! Neighbours of one role are one turn, since chat templates insist that roles take turns: what the model
//! thought, said and called is one message of its, and instructions before the conversation are one. Later
//! instructions are told with the user's words, because many templates refuse or lose system messages that
//! do not come first.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value, json};
use worker_protocol::{Message, Role, ToolCall};

use super::{
    content,
    kept::{Background, Earlier, Turn},
    tools::{self, INPUT, Offered, known_name},
};
use crate::{
    Error, billing,
    limits::{CALLED_BYTES_MAX, MESSAGES_MAX, REFERRED_BYTES_MAX},
    media::{Content, Intake},
    openai::chat::message::said_arguments,
    read::{Object, Path},
    request,
};

/// What reasoning begins with that was told in `encrypted_content` here. Nothing is encrypted: it goes to
/// its own client and comes back.
pub(super) const SEAL: &str = "resident:";

/// Calls of what OpenAI's own machines run, which say with what they say only what those machines did.
const HOSTED: &[&str] = &[
    "code_interpreter_call",
    "file_search_call",
    "image_generation_call",
    "mcp_approval_request",
    "mcp_approval_response",
    "mcp_call",
    "mcp_list_tools",
    "web_search_call",
];

/// What the input comes to.
pub(super) struct Input {
    pub(super) messages: Vec<Message>,
    /// The request's tools, and those that items bring.
    pub(super) tools: Offered,
    /// What is kept beside the answer, where it is kept.
    pub(super) background: Option<Background>,
}

/// Takes instructions, input and tools out of a request.
pub(super) fn decode(
    fields: &mut Object<'_>,
    earlier: &dyn Earlier,
    keeps: bool,
) -> Result<Input, Error> {
    let mut conversation = Conversation::default();
    conversation.tools.add(fields)?;
    if let Some(instructions) = fields.string("instructions")?.filter(|text| !text.is_empty()) {
        conversation.instructions(vec![instructions]);
    }
    let turns = previous(fields, earlier)?;
    for entry in turns.iter().flat_map(|turn| turn.input.iter().chain(&turn.output)) {
        let item = serde_json::from_str(&entry.json)
            .map_err(|error| Error::new(500, format!("what was kept cannot be read: {error}")))?;
        conversation.item(&Path::Key(&Path::Root, "previous_response_id"), item)?;
    }
    let items = items(fields, !turns.is_empty())?;
    let path = fields.path("input");
    path.at_most(conversation.items + items.len(), MESSAGES_MAX)?;
    let mut kept = Vec::new();
    let mut referred_bytes = 0;
    for (index, item) in items.into_iter().enumerate() {
        let at = Path::Index(&path, index);
        let item = referred(&at, item, earlier, &mut referred_bytes)?;
        if keeps {
            kept.push(item.clone());
        }
        conversation.item(&at, item)?;
    }
    let mut messages: Vec<Message> = conversation.turns.into_iter().map(Spoken::message).collect();
    if messages.is_empty() {
        return Err(path.refuse("must hold at least one message"));
    }
    billing::strip(&mut messages);
    let background = keeps.then_some(Background { earlier: turns, input: kept });
    Ok(Input { messages, tools: conversation.tools, background })
}

/// What was said until the answer that this request goes on from.
fn previous(fields: &mut Object<'_>, earlier: &dyn Earlier) -> Result<Vec<Arc<Turn>>, Error> {
    let path = fields.path("previous_response_id");
    let Some(id) = request::word(fields, "previous_response_id")? else { return Ok(Vec::new()) };
    let answer = earlier.answer(&id).ok_or_else(|| {
        path.refuse(format_args!(
            "is {id:?}, and no such answer is kept here: answers are kept in memory only, the oldest go \
             first, and all go when the hub stops; send the whole conversation as input"
        ))
        .code("previous_response_not_found")
    })?;
    Ok(answer.turns.clone())
}

/// The items of the input; a text is the user's. `goes_on` says whether there need be none.
fn items(fields: &mut Object<'_>, goes_on: bool) -> Result<Vec<Value>, Error> {
    let path = fields.path("input");
    let items = match fields.take("input") {
        Some(Value::String(text)) => vec![json!({ "role": "user", "content": text })],
        Some(Value::Array(items)) => items,
        Some(ref other) => return Err(path.wrong("a string or a list of items", other)),
        None if goes_on => Vec::new(),
        None => return Err(path.missing()),
    };
    if items.is_empty() && !goes_on {
        return Err(path.refuse("must hold at least one item"));
    }
    Ok(items)
}

/// The item, or the one that it refers to. `bytes` counts what was referred to so far: a reference is short,
/// and what it stands for need not be.
fn referred(
    path: &Path<'_>,
    item: Value,
    earlier: &dyn Earlier,
    bytes: &mut usize,
) -> Result<Value, Error> {
    let Some(id) = reference(&item) else { return Ok(item) };
    let unknown = || {
        let why = format_args!(
            "refers to the item {id:?}, and no such item is kept here: answers are kept in memory only, \
             the oldest go first, and those with store set to false are not; send the item itself"
        );
        Error { status: 404, ..path.refuse(why) }
    };
    let json = earlier.item(id).ok_or_else(unknown)?;
    *bytes += json.len();
    if *bytes > REFERRED_BYTES_MAX {
        return Err(path.refuse(format_args!(
            "refers, with those before it, to more than {REFERRED_BYTES_MAX} bytes; refer to less at once"
        )));
    }
    serde_json::from_str(&json).map_err(|_| unknown())
}

/// What an item refers to, if it stands for another. One that has nothing but an id does too.
fn reference(item: &Value) -> Option<&str> {
    let fields = item.as_object()?;
    let is_reference = match fields.get("type") {
        None | Some(Value::Null) => fields.len() <= 2 && !fields.contains_key("role"),
        Some(kind) => kind == "item_reference",
    };
    fields.get("id").filter(|_| is_reference)?.as_str()
}

#[derive(Default)]
struct Conversation {
    turns: Vec<Spoken>,
    tools: Offered,
    items: usize,
    intake: Intake,
    /// Names by which the model knows the tools that were called so far, by the ids of their calls.
    called: BTreeMap<String, String>,
}

/// What one side says before the other one speaks.
struct Spoken {
    role: Role,
    content: Content,
    thoughts: Vec<String>,
    calls: Vec<ToolCall>,
    /// The call that a tool's result answers, and the tool's name, if that is one.
    answers: Option<(String, Option<String>)>,
}

impl Conversation {
    fn item(&mut self, path: &Path<'_>, item: Value) -> Result<(), Error> {
        self.items += 1;
        let mut fields = Object::new(path, item)?;
        let at = fields.path("type");
        let kind = match request::word(&mut fields, "type")? {
            Some(kind) => kind,
            None if fields.peek("role").is_some() => "message".to_owned(),
            None => return Err(at.missing()),
        };
        match &*kind {
            "message" | "agent_message" => self.message(&mut fields)?,
            "reasoning" => self.reasoning(&mut fields)?,
            "function_call" | "custom_tool_call" | "local_shell_call" => {
                self.call(&kind, &mut fields)?;
            }
            "function_call_output" | "custom_tool_call_output" | "local_shell_call_output" => {
                self.result(&mut fields)?;
            }
            "additional_tools" => self.tools.add(&mut fields)?,
            "compaction" | "compaction_summary" | "context_compaction" => {
                return Err(at.unsupported(format_args!(
                    "is {kind:?}, a conversation that only OpenAI can read; begin a new one, or send \
                     what was said as messages"
                )));
            }
            _ => pass_over(&at, &kind, &fields)?,
        }
        Ok(())
    }

    fn message(&mut self, fields: &mut Object<'_>) -> Result<(), Error> {
        let at = fields.path("role");
        let role = match fields.string("role")?.as_deref() {
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            Some("system" | "developer") => Role::System,
            Some(role) => {
                return Err(at.refuse(format_args!(
                    "must be system, developer, user or assistant, but it is {role:?}"
                )));
            }
            // What another agent says has an author.
            None if fields.peek("author").is_some() => Role::User,
            None => return Err(at.missing()),
        };
        let at = fields.path("content");
        let said = fields.take("content").ok_or_else(|| at.missing())?;
        match role {
            Role::System => self.instructions(content::texts(&at, said)?),
            Role::Developer | Role::User | Role::Assistant | Role::Tool => {
                let last = self.turn(role);
                let (turn, intake) = (&mut self.turns[last], &mut self.intake);
                content::add(&at, said, role, intake, &mut turn.content)?;
            }
        }
        Ok(())
    }

    fn instructions(&mut self, texts: Vec<String>) {
        let has_begun = self.turns.iter().any(|turn| turn.role != Role::System);
        let role = if has_begun { Role::User } else { Role::System };
        let turn = self.turn(role);
        texts.iter().for_each(|text| self.turns[turn].content.text(text));
    }

    /// Where the turn of this role is: the one that goes on, or a new one.
    fn turn(&mut self, role: Role) -> usize {
        if self.turns.last().is_none_or(|turn| turn.role != role) {
            self.turns.push(Spoken::new(role));
        }
        self.turns.len() - 1
    }

    /// What the model thought: as it was told here, or else as its client shows it. What another machine
    /// encrypted only that can read.
    fn reasoning(&mut self, fields: &mut Object<'_>) -> Result<(), Error> {
        let sealed = fields.string("encrypted_content")?;
        let mut thoughts: Vec<String> =
            sealed.iter().filter_map(|text| text.strip_prefix(SEAL)).map(str::to_owned).collect();
        for key in ["content", "summary"] {
            let at = fields.path(key);
            let said = fields.take(key).map_or(Ok(Vec::new()), |said| content::texts(&at, said))?;
            if thoughts.is_empty() {
                thoughts = said;
            }
        }
        thoughts.retain(|thought| !thought.is_empty());
        if !thoughts.is_empty() {
            let turn = self.turn(Role::Assistant);
            self.turns[turn].thoughts.extend(thoughts);
        }
        Ok(())
    }

    fn call(&mut self, kind: &str, fields: &mut Object<'_>) -> Result<(), Error> {
        let at = fields.path("call_id");
        let own = request::word(fields, "id")?.filter(|_| kind == "local_shell_call");
        let id = request::word(fields, "call_id")?.or(own).ok_or_else(|| at.missing())?;
        let (name, arguments) = if kind == "local_shell_call" {
            ("local_shell".to_owned(), fields.object("action")?.unwrap_or_default())
        } else {
            let at = fields.path("name");
            // A model may have called anything, and its call comes back.
            let name = fields.string("name")?.ok_or_else(|| at.missing())?;
            let namespace = tools::namespace(fields, "namespace")?;
            let arguments = match kind {
                "custom_tool_call" => {
                    let input = fields.string("input")?.unwrap_or_default();
                    Map::from_iter([(INPUT.to_owned(), Value::String(input))])
                }
                _ => said_arguments(
                    fields.string("arguments")?.unwrap_or_default(),
                    &mut self.intake,
                ),
            };
            (known_name(namespace.as_deref(), &name), arguments)
        };
        self.called.insert(id.clone(), name.clone());
        let call = ToolCall { id, name, arguments: arguments.into() };
        let turn = self.turn(Role::Assistant);
        self.turns[turn].calls.push(call);
        Ok(())
    }

    fn result(&mut self, fields: &mut Object<'_>) -> Result<(), Error> {
        let at = fields.path("call_id");
        let own = request::word(fields, "id")?;
        let id = request::word(fields, "call_id")?.or(own).ok_or_else(|| at.missing())?;
        let Some(name) = self.called.get(&id).cloned() else {
            return Err(at.refuse(format_args!(
                "is {id:?}, and no call before it has this id; send the item that called too, or the \
                 previous_response_id of the answer that did"
            )));
        };
        let at = fields.path("output");
        let mut content = Content::default();
        if let Some(output) = fields.take("output") {
            content::add(&at, output, Role::Tool, &mut self.intake, &mut content)?;
        }
        // Each result repeats it.
        let name = Some(name).filter(|name| name.len() <= CALLED_BYTES_MAX);
        let answers = Some((id, name));
        self.turns.push(Spoken { content, answers, ..Spoken::new(Role::Tool) });
        Ok(())
    }
}

impl Spoken {
    fn new(role: Role) -> Self {
        let (content, thoughts) = (Content::default(), Vec::new());
        Self { role, content, thoughts, calls: Vec::new(), answers: None }
    }

    fn message(self) -> Message {
        let Self { role, content, thoughts, calls, answers } = self;
        // Only who calls tools may have said nothing.
        let is_said = !content.is_empty() || calls.is_empty();
        let (text, media) = content.into_parts();
        let (tool_call_id, name) = answers.unzip();
        Message {
            content: is_said.then_some(text),
            media,
            reasoning: (!thoughts.is_empty()).then(|| thoughts.join("\n")),
            tool_calls: calls,
            tool_call_id,
            name: name.flatten(),
            ..Message::text(role, "")
        }
    }
}

/// What OpenAI's own machines did and noted means nothing to a model here, and a conversation goes on
/// without it. Words would be lost, though.
fn pass_over(at: &Path<'_>, kind: &str, fields: &Object<'_>) -> Result<(), Error> {
    let says = |key: &&str| fields.peek(key).is_some();
    if HOSTED.contains(&kind) || !["content", "output", "text"].iter().any(says) {
        return Ok(());
    }
    Err(at.unsupported(format_args!(
        "is {kind:?}, an item with content that is not known here; send what it says as a message"
    )))
}
