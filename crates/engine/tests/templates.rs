//! Chat templates of many model families, rendered here and by Python's jinja2, word for word.
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

use engine::Template;
use serde_json::{Map, Value, json};
use worker_protocol::{Chat, Message, Role, ToolCall};

const BEGIN: &str = "<s>";
const END: &str = "</s>";

/// What Python makes of one template and one conversation.
type Answer = Result<String, String>;

#[test]
fn templates_render_as_in_python() {
    let Some(templates) = templates() else {
        println!("skipped: chat-templates is not in the test data folder (RESIDENT_SHARED_DIR)");
        return;
    };
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

/// The conversation as it stands; then with the system's message before the first question, for
/// models that know no system; then with an empty list of tools, for templates that loop over it
/// without asking whether there is one.
fn tries(conversation: &Value, source: &str) -> [Value; 3] {
    let messages = &conversation["messages"];
    let plain = variables(conversation, messages, source);
    let mut no_tools = plain.clone();
    if no_tools["tools"].is_null() {
        no_tools["tools"] = json!([]);
    }
    [plain, variables(conversation, &merged(messages), source), no_tools]
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
    }
}
