//! Chat templates of many model families: rendered here and by Python's jinja2, word for word; and what
//! they write of reasoning and tool calls is read back.
//!
//! The templates are test data outside the repository. `templates/conversations.json` has the
//! conversations, `templates/render.py` the other renderer.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "../../resident/tests/it/python.rs"]
mod python;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use engine::{Calls, Family, Template, Text, Thinks};
use serde_json::{Map, Value, json};
use worker_protocol::{Chat, Event, Message, Role, ToolCall};

const BEGIN: &str = "<s>";
const END: &str = "</s>";

const SKIPPED: &str =
    "skipped: chat-templates is not in the test data folder (RESIDENT_SHARED_DIR)";

/// What Python makes of one template and one conversation.
type Answer = Result<String, String>;

#[test]
fn templates_render_as_in_python() {
    let Some(templates) = templates() else { return println!("{SKIPPED}") };
    let conversations: Vec<Value> =
        serde_json::from_str(include_str!("templates/conversations.json")).unwrap();
    let mut differences = compare(&templates, &conversations);
    if !differences.is_empty() {
        // Templates print the date, and midnight may have passed between the two renderers.
        differences = compare(&templates, &conversations);
    }
    let count = templates.len() * conversations.len();
    println!("{count} renderings compared, {} differ", differences.len());
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

/// Where a picture stands, a mark of letters and digits is put into the text before.
#[test]
fn marks_in_texts_come_through_every_template_once() {
    let Some(templates) = templates() else { return println!("{SKIPPED}") };
    for (name, source) in &templates {
        let template = Template::new(source, BEGIN.to_owned(), END.to_owned()).unwrap();
        let marks = ["residentmedia0x0.", "residentmedia0x1.", "residentmedia0x2."];
        let messages = vec![
            Message::text(Role::User, format!("{} what?", marks[0])),
            Message::text(Role::Assistant, "That."),
            Message::text(Role::User, format!("And {}{}", marks[1], marks[2])),
        ];
        let text = template.render(&Chat { messages, ..Chat::default() }).unwrap();
        for mark in marks {
            assert_eq!(text.matches(mark).count(), 1, "{name}: {mark} in {text}");
        }
    }
}

fn compare(templates: &BTreeMap<String, String>, conversations: &[Value]) -> Vec<String> {
    let expected = in_python(templates, conversations);
    let mut differences = Vec::new();
    for (name, source) in templates {
        let template = Template::new(source, BEGIN.to_owned(), END.to_owned());
        for (conversation, expected) in conversations.iter().zip(&expected[name]) {
            let ours: Answer = match &template {
                Ok(template) => {
                    template.render(&chat(conversation)).map_err(|error| error.to_string())
                }
                Err(error) => Err(error.to_string()),
            };
            if !same(&ours, expected) {
                let what = &conversation["what"];
                differences
                    .push(format!("{name}, {what}:\n  ours:   {ours:?}\n  Python: {expected:?}"));
            }
        }
    }
    differences
}

fn same(ours: &Answer, expected: &Answer) -> bool {
    match (ours, expected) {
        (Ok(ours), Ok(expected)) => ours == expected,
        (Err(_), Err(_)) => true,
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
    }
}

/// Each template's source by its name.
fn templates() -> Option<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(shared().join("chat-templates")).ok()? {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "jinja") {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            found.insert(name, fs::read_to_string(path).unwrap());
        }
    }
    assert!(found.len() >= 22, "only {} templates: {:?}", found.len(), found.keys());
    Some(found)
}

fn shared() -> PathBuf {
    std::env::var_os("RESIDENT_SHARED_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    )
}

/// What Python renders, with what [`Template`] promises to try where a template refuses.
fn in_python(
    templates: &BTreeMap<String, String>,
    conversations: &[Value],
) -> BTreeMap<String, Vec<Answer>> {
    let job = templates.iter().map(|(name, source)| {
        let cases: Vec<_> = conversations.iter().map(|one| tries(one, source)).collect();
        json!({"name": name, "source": source, "cases": cases})
    });
    let answers = ask(&job.collect());
    let answers: BTreeMap<String, Vec<Value>> = serde_json::from_str(&answers).unwrap();
    answers.into_iter().map(|(name, list)| (name, list.iter().map(answer).collect())).collect()
}

/// The conversation as it stands; then with what the system says in the middle said by the user, for templates
/// that refuse it there or leave it out; then with the system's message before the first question, for models
/// that know no system; then with an empty list of tools, for templates that loop over it without asking
/// whether there is one.
fn tries(conversation: &Value, source: &str) -> [Value; 4] {
    let messages = &conversation["messages"];
    let plain = variables(conversation, messages, source);
    let mut no_tools = plain.clone();
    if no_tools["tools"].is_null() {
        no_tools["tools"] = json!([]);
    }
    let late = late(messages);
    let merged = variables(conversation, &merged(&late), source);
    [plain, variables(conversation, &late, source), merged, no_tools]
}

fn answer(value: &Value) -> Answer {
    match value["text"].as_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(value["raises"].to_string()),
    }
}

/// Runs the other renderer.
fn ask(job: &Value) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/templates/render.py");
    let mut child = Command::new(python::clients())
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(job.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "render.py: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// What Hugging Face's tokenizers pass to the template.
fn variables(conversation: &Value, messages: &Value, source: &str) -> Value {
    let mut messages = messages.clone();
    for message in messages.as_array_mut().unwrap() {
        // GPT-OSS has another name for what was thought.
        let has_text = message["content"].as_str().is_some_and(|text| !text.is_empty());
        if !message["reasoning_content"].is_null()
            && !has_text
            && source.contains("message.thinking")
        {
            message["thinking"] = message["reasoning_content"].clone();
        }
        // A template that knows no developers is told of a system instead.
        if message["role"] == "developer" && !source.contains("developer") {
            message["role"] = json!("system");
        }
    }
    let mut variables = conversation["variables"].as_object().cloned().unwrap_or_default();
    variables.insert("messages".to_owned(), messages);
    variables.insert("tools".to_owned(), conversation["tools"].clone());
    variables.insert("documents".to_owned(), conversation["documents"].clone());
    variables.insert("add_generation_prompt".to_owned(), json!(true));
    variables.insert("bos_token".to_owned(), json!(BEGIN));
    variables.insert("eos_token".to_owned(), json!(END));
    Value::Object(variables)
}

/// The messages with the system's that stands before a later question in that question.
fn late(messages: &Value) -> Value {
    let mut messages = messages.as_array().unwrap().clone();
    for at in (1..messages.len().saturating_sub(1)).rev() {
        if messages[at]["role"] == "system" && messages[at + 1]["role"] == "user" {
            let system = messages.remove(at);
            let text = |message: &Value| message["content"].as_str().unwrap().to_owned();
            messages[at]["content"] =
                json!(format!("{}\n\n{}", text(&system), text(&messages[at])));
        }
    }
    json!(messages)
}

/// The messages with the system's before the first user's text. What does not begin with one stays
/// as it is, and is refused again.
fn merged(messages: &Value) -> Value {
    let mut messages = messages.as_array().unwrap().clone();
    if messages[0]["role"] == "system" || messages[0]["role"] == "developer" {
        let system = messages.remove(0);
        let user = messages.iter_mut().find(|message| message["role"] == "user").unwrap();
        let text = |message: &Value| message["content"].as_str().unwrap().to_owned();
        user["content"] = json!(format!("{}\n\n{}", text(&system), text(user)));
    }
    json!(messages)
}

/// The same conversation in the canonical words.
fn chat(conversation: &Value) -> Chat {
    let list = |key: &str| conversation[key].as_array().cloned().unwrap_or_default();
    Chat {
        messages: list("messages").iter().map(message).collect(),
        tools: list("tools"),
        documents: list("documents"),
        variables: conversation["variables"].as_object().cloned().unwrap_or_else(Map::new),
        ..Chat::default()
    }
}

fn message(value: &Value) -> Message {
    let text = |key: &str| value[key].as_str().map(str::to_owned);
    let call = |call: &Value| ToolCall {
        id: call["id"].as_str().unwrap().to_owned(),
        name: call["function"]["name"].as_str().unwrap().to_owned(),
        arguments: call["function"]["arguments"].clone(),
    };
    let role: Role = serde_json::from_value(value["role"].clone()).unwrap();
    Message {
        role,
        content: text("content"),
        reasoning: text("reasoning_content"),
        tool_calls: value["tool_calls"].as_array().into_iter().flatten().map(call).collect(),
        tool_call_id: text("tool_call_id"),
        name: text("name"),
        media: Vec::new(),
    }
}

/// What each template says of its model's answers.
const FAMILIES: &[(&str, Option<Thinks>, Option<Calls>)] = &[
    ("GLM-4.6", Some(Thinks::Tag), Some(Calls::Glm)),
    ("HuggingFaceTB-SmolLM3-3B", Some(Thinks::Tag), None),
    ("LFM2.5-Instruct", Some(Thinks::Tag), Some(Calls::Python)),
    ("Mistral-Small-3.2-24B-Instruct-2506", None, Some(Calls::Mistral)),
    ("NousResearch-Hermes-3-Llama-3.1-8B-tool_use", None, Some(Calls::Hermes)),
    ("Qwen-QwQ-32B", Some(Thinks::Tag), Some(Calls::Hermes)),
    ("Qwen-Qwen2.5-7B-Instruct", None, Some(Calls::Hermes)),
    ("Qwen-Qwen3-0.6B", Some(Thinks::Tag), Some(Calls::Hermes)),
    ("Qwen3-Coder", None, Some(Calls::Xml)),
    ("Qwen3.5-4B", Some(Thinks::Tag), Some(Calls::Xml)),
    ("deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", Some(Thinks::Tag), Some(Calls::DeepSeek)),
    ("deepseek-ai-DeepSeek-V3.1", Some(Thinks::Tag), Some(Calls::DeepSeek)),
    ("google-gemma-2-2b-it", None, None),
    ("google-gemma-4-31B-it", Some(Thinks::Channel), Some(Calls::Gemma)),
    ("ibm-granite-granite-3.3-2B-Instruct", Some(Thinks::Tag), Some(Calls::List)),
    ("meetkai-functionary-medium-v3.2", None, Some(Calls::Recipient)),
    ("meta-llama-Llama-3.1-8B-Instruct", None, Some(Calls::Llama)),
    ("meta-llama-Llama-3.2-3B-Instruct", None, Some(Calls::Llama)),
    ("microsoft-Phi-3.5-mini-instruct", None, None),
    ("mistralai-Mistral-Nemo-Instruct-2407", None, Some(Calls::Mistral)),
    ("openai-gpt-oss-120b", None, Some(Calls::Harmony)),
    ("unsloth-mistral-Devstral-Small-2507", None, Some(Calls::Mistral)),
];

#[test]
fn the_family_is_found_in_the_template() {
    let Some(templates) = templates() else { return println!("{SKIPPED}") };
    for (name, thinks, calls) in FAMILIES {
        let source = &templates[*name];
        assert_eq!(Family::of(source), Family { thinks: *thinks, calls: *calls }, "{name}");
    }
}

/// These templates print the text of a message and nothing of its calls, so that there is nothing to read.
const SILENT: &[&str] = &[
    "HuggingFaceTB-SmolLM3-3B",
    "LFM2.5-Instruct",
    "google-gemma-2-2b-it",
    "ibm-granite-granite-3.3-2B-Instruct",
    "microsoft-Phi-3.5-mini-instruct",
];

/// These take one call at a time.
const SINGLE: &[&str] = &[
    "meta-llama-Llama-3.1-8B-Instruct",
    "meta-llama-Llama-3.2-3B-Instruct",
    "openai-gpt-oss-120b",
];

#[test]
fn a_call_that_the_template_wrote_is_read_back() {
    let Some(templates) = templates() else { return println!("{SKIPPED}") };
    let arguments = json!({
        "city": "Zürich \"北京\"\n🦀 42", "days": 2, "share": 1.5, "detailed": true, "code": "007",
        "list": ["a", 1], "near": {"x": [true, null, {"y": ""}]},
    });
    for (name, source) in &templates {
        if SILENT.contains(&name.as_str()) {
            continue;
        }
        let mut calls = vec![("get_weather", arguments.clone()), ("now", json!({}))];
        calls.truncate(if SINGLE.contains(&name.as_str()) { 1 } else { 2 });
        for calls in [&calls[..1], &calls[..]] {
            let answer = written(source, calls, None);
            let said = answer.read();
            let call = |(name, json): &(&str, Value)| ((*name).to_owned(), json.clone());
            let expected: Vec<_> = calls.iter().map(call).collect();
            assert_eq!(said.calls, expected, "{name}: {answer:?}");
            assert_eq!((said.text.trim(), said.called), ("", true), "{name}: {answer:?}");
        }
    }
}

#[test]
fn reasoning_that_the_template_wrote_is_read_back() {
    let Some(templates) = templates() else { return println!("{SKIPPED}") };
    for name in
        ["GLM-4.6", "Qwen-Qwen3-0.6B", "Qwen3.5-4B", "google-gemma-4-31B-it", "openai-gpt-oss-120b"]
    {
        let calls = [("now", json!({}))];
        let answer = written(&templates[name], &calls, Some("I must look."));
        let said = answer.read();
        assert_eq!(said.reasoning.trim(), "I must look.", "{name}: {answer:?}");
        assert_eq!(said.calls, [("now".to_owned(), json!({}))], "{name}: {answer:?}");
    }
}

/// Where thinking is turned off the answer does not begin in it, and where the prompt opens it, it does.
#[test]
fn an_answer_begins_where_the_prompt_ended() {
    let Some(templates) = templates() else { return println!("{SKIPPED}") };
    let begins = |name: &str, thinks: Option<bool>| {
        let template = Template::new(&templates[name], BEGIN.to_owned(), END.to_owned()).unwrap();
        let mut chat = Chat { messages: vec![Message::text(Role::User, "Hi")], ..Chat::default() };
        if let Some(thinks) = thinks {
            chat.variables.insert("enable_thinking".to_owned(), json!(thinks));
        }
        let markup = template.render_for_answer(&chat).unwrap().markup;
        let mut text = Text::new(Vec::new(), markup);
        let mut events = Vec::new();
        let may_think = text.is_reasoning();
        text.push(b"Yes", false, None, &mut events);
        text.finish(&mut events);
        (may_think, matches!(events[..], [Event::Reasoning(_)]))
    };
    let (nothing, open, inside) = ((false, false), (true, false), (true, true));
    for (name, unsaid, on, off) in [
        ("Qwen3.5-4B", inside, inside, nothing),
        ("Qwen-Qwen3-0.6B", open, open, nothing),
        ("HuggingFaceTB-SmolLM3-3B", open, open, nothing),
        ("GLM-4.6", open, open, nothing),
        ("deepseek-ai-DeepSeek-V3.1", nothing, inside, nothing),
        ("google-gemma-4-31B-it", nothing, open, nothing),
        ("Qwen-QwQ-32B", nothing, inside, nothing),
        ("Qwen-Qwen2.5-7B-Instruct", nothing, nothing, nothing),
    ] {
        let seen = [None, Some(true), Some(false)].map(|thinks| begins(name, thinks));
        assert_eq!(seen, [unsaid, on, off], "{name}");
    }
}

/// How much it may think is said to GPT-OSS in its system message.
#[test]
fn the_effort_reaches_the_prompt() {
    let Some(templates) = templates() else { return println!("{SKIPPED}") };
    let source = &templates["openai-gpt-oss-120b"];
    let template = Template::new(source, BEGIN.to_owned(), END.to_owned()).unwrap();
    let mut chat = Chat { messages: vec![Message::text(Role::User, "Hi")], ..Chat::default() };
    chat.variables.insert("reasoning_effort".to_owned(), json!("low"));
    assert!(template.render(&chat).unwrap().contains("Reasoning: low\n"));
}

/// What a template wrote of an assistant's turn, and how it is to be read.
#[derive(Debug)]
struct Written {
    turn: String,
    markup: engine::Markup,
}

/// What an answer said.
#[derive(Debug, Default)]
struct Said {
    text: String,
    reasoning: String,
    calls: Vec<(String, Value)>,
    called: bool,
}

impl Written {
    /// Reads the turn as tokens bring it.
    fn read(&self) -> Said {
        let mut text = Text::new(Vec::new(), self.markup.clone());
        let mut events = Vec::new();
        for bytes in self.turn.as_bytes().chunks(3) {
            text.push(bytes, false, None, &mut events);
        }
        text.finish(&mut events);
        let mut said = Said { called: text.called_tools(), ..Said::default() };
        let mut calls: Vec<(String, String)> = Vec::new();
        for event in events {
            match event {
                Event::Text(piece) => said.text.push_str(&piece.text),
                Event::Reasoning(piece) => said.reasoning.push_str(&piece.text),
                Event::ToolCall(piece) => {
                    calls.extend(piece.name.map(|name| (name, String::new())));
                    calls[piece.index as usize].1.push_str(&piece.arguments);
                }
                Event::Progress { .. }
                | Event::Embedded { .. }
                | Event::Ranked { .. }
                | Event::Finished(_)
                | Event::Failed(_) => {}
            }
        }
        let value = |json: &str| serde_json::from_str(json).unwrap();
        said.calls = calls.into_iter().map(|(name, json)| (name, value(&json))).collect();
        said
    }
}

/// The turn in which the assistant called these functions.
fn written(source: &str, calls: &[(&str, Value)], reasoning: Option<&str>) -> Written {
    let template = Template::new(source, BEGIN.to_owned(), END.to_owned()).unwrap();
    let mut asked = Chat {
        messages: vec![Message::text(Role::User, "What is it like?")],
        tools: tools(),
        ..Chat::default()
    };
    asked.variables.insert("enable_thinking".to_owned(), json!(true));
    let mut answered = asked.clone();
    let mut answer = Message::text(Role::Assistant, "");
    answer.content = None;
    answer.reasoning = reasoning.map(str::to_owned);
    for (index, (name, arguments)) in calls.iter().enumerate() {
        let (id, name) = (format!("call0000{index}"), (*name).to_owned());
        answer.tool_calls.push(ToolCall { id: id.clone(), name, arguments: arguments.clone() });
        let mut result = Message::text(Role::Tool, "sunny");
        result.tool_call_id = Some(id);
        answered.messages.push(result);
    }
    answered.messages.insert(1, answer);
    let (before, after) = (template.render(&asked).unwrap(), template.render(&answered).unwrap());
    let (prompt, turn) = parted(&before, &after);
    let markup = engine::Markup::new(Family::of(source), prompt, &asked.tools);
    Written { turn: turn.to_owned(), markup }
}

fn tools() -> Vec<Value> {
    let properties = json!({
        "city": {"type": "string", "description": "City"},
        "code": {"type": "string", "description": "Code"},
        "days": {"type": "integer", "description": "Days"},
        "share": {"type": "number", "description": "Share"},
        "detailed": {"type": "boolean", "description": "More"},
        "list": {"type": "array", "description": "List"},
        "near": {"type": "object", "description": "Near"},
    });
    let tool = |name: &str, properties: Value| {
        let parameters = json!({"type": "object", "properties": properties, "required": []});
        let function = json!({"name": name, "description": "It", "parameters": parameters});
        json!({"type": "function", "function": function})
    };
    vec![tool("get_weather", properties), tool("now", json!({}))]
}

/// What a model ends its turn with.
const TURN_ENDS: &[&str] = &[
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<｜end▁of▁sentence｜>",
    "<|call|>",
    "<|tool_response>",
    "<|observation|>",
    END,
];

/// The prompt that both begin with, and the assistant's turn behind it in `after`.
fn parted<'a>(before: &str, after: &'a str) -> (&'a str, &'a str) {
    let same = before.bytes().zip(after.bytes()).take_while(|(a, b)| a == b).count();
    // A marker begins alike in both and goes on otherwise.
    let split = after.as_bytes()[..same].iter().rposition(|byte| b"\n>]".contains(byte)).unwrap();
    let (prompt, rest) = after.split_at(split + 1);
    let end = TURN_ENDS.iter().filter_map(|end| rest.find(end)).min().unwrap();
    (prompt, &rest[..end])
}
