//! `resident mcp` as agents start it: line by line, and with the official client for Python, whose checks are in
//! `mcp_client.py`.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::{Value, json};

use crate::hub::{Hub, PATIENCE, binary};
use crate::{knowledge, python};

/// The interpreter with the client.
pub(crate) fn python_packages() -> PathBuf {
    python::interpreter("test-venv-mcp", include_str!("requirements-mcp.txt"))
}

/// `resident mcp` for a hub, without anything that the caller's environment would set.
fn command(hub: &Hub) -> Command {
    let mut command = Command::new(binary("resident"));
    command.args(arguments(hub));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RESIDENT_") {
            command.env_remove(name);
        }
    }
    command
}

fn arguments(hub: &Hub) -> Vec<String> {
    let folder = hub.data_dir().display().to_string();
    let listen = hub.address.to_string();
    ["mcp", "--data-dir", &folder, "--listen", &listen].map(str::to_owned).into()
}

/// Somebody who speaks the protocol to a process of its own.
struct Agent {
    process: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    asked: u64,
}

impl Agent {
    fn start(hub: &Hub) -> Self {
        let mut command = command(hub);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in output.lines() {
                let Ok(()) = sender.send(line.unwrap()) else { return };
            }
        });
        let mut agent = Self { process, input, lines, asked: 0 };
        let hello = json!({
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": { "name": "test", "version": "1" },
        });
        let answer = agent.ask("initialize", &hello);
        assert_eq!(answer["result"]["serverInfo"]["name"], "resident", "{answer}");
        assert!(answer["result"]["capabilities"]["tools"].is_object(), "{answer}");
        agent.say(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        agent
    }

    fn say(&mut self, message: &Value) {
        let input = self.input.as_mut().unwrap();
        input.write_all(format!("{message}\n").as_bytes()).unwrap();
        input.flush().unwrap();
    }

    /// The answer to a request. Whatever else comes must be of the protocol.
    fn ask(&mut self, method: &str, parameters: &Value) -> Value {
        self.asked += 1;
        let request =
            json!({ "jsonrpc": "2.0", "id": self.asked, "method": method, "params": parameters });
        self.say(&request);
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("an answer");
            let message: Value = serde_json::from_str(&line).expect("nothing but the protocol");
            assert_eq!(message["jsonrpc"], "2.0", "{message}");
            if message["id"] == self.asked {
                return message;
            }
        }
    }

    /// What a tool gives, and whether it is an error.
    fn call(&mut self, tool: &str, arguments: &Value) -> (Value, bool) {
        let answer = self.ask("tools/call", &json!({ "name": tool, "arguments": arguments }));
        let result = &answer["result"];
        assert!(result.is_object(), "{answer}");
        let text = result["content"][0]["text"].as_str().unwrap();
        if result["isError"] == true {
            return (Value::from(text), true);
        }
        let told: Value = serde_json::from_str(text).unwrap();
        assert_eq!(told, result["structuredContent"], "both say the same");
        (told, false)
    }

    #[track_caller]
    fn gives(&mut self, tool: &str, arguments: &Value) -> Value {
        let (given, is_error) = self.call(tool, arguments);
        assert!(!is_error, "{arguments}: {given}");
        given
    }

    #[track_caller]
    fn refuses(&mut self, tool: &str, arguments: &Value, words: &[&str]) {
        let (said, is_error) = self.call(tool, arguments);
        let said = said.as_str().unwrap_or_default();
        assert!(is_error && words.iter().all(|word| said.contains(word)), "{arguments}: {said}");
    }

    /// Ends as agents end it; gives what was said to a person.
    fn end(mut self) -> String {
        drop(self.input.take());
        assert_eq!(self.lines.recv_timeout(PATIENCE).ok(), None, "nothing is left to say");
        assert!(self.process.wait().unwrap().success());
        let mut said = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        said
    }
}

#[test]
fn an_agent_searches_and_reads_the_files_and_nothing_else() {
    let (folder, mut hub) = knowledge::site("", &[]);
    let files = folder.path().join("files");
    // Long enough for several passages of one part, which overlap.
    let sentence = |number: usize| {
        format!("Sentence {number} says that the lighthouse keeper counts lamps in the evening.")
    };
    let long: Vec<String> = (0..100).map(sentence).collect();
    fs::write(files.join("long.txt"), long.join(" ")).unwrap();
    fs::write(folder.path().join("secret.txt"), "The password is swordfish.").unwrap();
    hub.wait_for("the long file", || {
        (knowledge::best(&hub, "lighthouse keeper").0 == "long.txt").then_some(())
    });

    let mut agent = Agent::start(&hub);
    let tools = agent.ask("tools/list", &json!({}))["result"]["tools"].clone();
    let names: Vec<&str> =
        tools.as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["read", "search"], "{tools}");

    let asked = json!({ "query": "When did the Vasa sink?", "collections": ["notes"], "limit": 2,
                        "changed_from": "2000-01-01" });
    let found = agent.gives("search", &asked);
    let best = &found["passages"][0];
    let ships = files.join("ships.md").canonicalize().unwrap();
    assert_eq!(best["path"], ships.to_str().unwrap(), "{found}");
    assert!(best["text"].as_str().unwrap().contains("1628"), "{found}");
    assert!(best["place"].as_str().unwrap().starts_with("bytes "), "{found}");
    assert!(best["score"].as_f64().unwrap() > 0.0, "{found}");
    let before = json!({ "query": "Vasa", "changed_before": "2000-01-01" });
    assert_eq!(agent.gives("search", &before)["passages"], json!([]));

    let around = agent.gives("read", &json!({ "passage": best["number"] }));
    assert_eq!((&around["text"], &around["path"]), (&best["text"], &best["path"]));
    reads_a_file_to_its_end(&mut agent, &files.join("long.txt"), &long.join(" "));

    agent.refuses("read", &json!({ "path": "/etc/passwd" }), &["/etc/passwd", "resident kb add"]);
    let secret = folder.path().join("secret.txt");
    agent.refuses("read", &json!({ "path": secret }), &["secret.txt", "resident kb add"]);
    agent.refuses("read", &json!({ "path": files.join("broken.pdf") }), &["could not be read"]);
    agent.refuses("read", &json!({ "passage": 999_999 }), &["999999", "search again"]);
    agent.refuses("read", &json!({}), &["neither passage nor path"]);
    agent.refuses("read", &json!({ "path": ships, "from": 0 }), &["counted from 1"]);
    agent.refuses("read", &json!({ "path": ships, "from": 99 }), &["none from 99 on"]);
    agent.refuses("read", &json!({ "path": ships, "limit": 65 }), &["65", "at most 64"]);
    agent.refuses("search", &json!({ "query": "x", "collections": ["nowhere"] }), &["notes"]);
    agent.refuses("search", &json!({ "query": "x", "changed_from": "soon" }), &["2024-05-01"]);
    agent.refuses("search", &json!({ "query": " " }), &["query is empty"]);
    agent.refuses("read", &json!({ "file": "/etc/passwd" }), &["unknown field `file`"]);
    // A tool that is none is an error of the protocol.
    let refused = agent.ask("tools/call", &json!({ "name": "write", "arguments": {} }));
    assert!(refused["error"]["code"].is_i64(), "{refused}");

    hub.kill();
    agent.refuses("search", &json!({ "query": "Vasa" }), &["no hub runs", "resident serve"]);
    // What is logged is for a person, and beside the protocol.
    let logged = agent.end();
    assert!(logged.lines().all(|line| line.contains("tool not found")), "{logged}");
}

/// Reads a file page by page. Together the pages say what the file does, and nothing twice.
fn reads_a_file_to_its_end(agent: &mut Agent, path: &Path, text: &str) {
    let (mut from, mut pages, mut numbers) = (json!(1), Vec::new(), Vec::new());
    while !from.is_null() {
        let asked = json!({ "path": path, "collection": "notes", "from": from, "limit": 2 });
        let page = agent.gives("read", &asked);
        assert_eq!(page["from"], from, "{page}");
        assert!(page["passages"].as_array().unwrap().len() <= 2, "{page}");
        numbers
            .extend(page["passages"].as_array().unwrap().iter().map(|one| one["number"].clone()));
        pages.push(page["text"].as_str().unwrap().to_owned());
        assert!(pages.len() < 100, "it ends");
        from = page["next"].clone();
    }
    assert!(pages.len() > 1, "{pages:?}");
    let whole = json!({ "path": path, "limit": 64 });
    let whole = agent.gives("read", &whole);
    assert_eq!(whole["text"], text);
    assert_eq!(whole["of"], numbers.len());
    // In the middle a page is what the whole says there.
    let middle = json!({ "passage": numbers[2], "neighbours": 1 });
    let middle = agent.gives("read", &middle)["text"].as_str().unwrap().to_owned();
    assert!(text.contains(&middle) && middle.len() < text.len(), "{middle}");
    for page in &pages {
        assert!(text.contains(page.as_str()), "{page}");
    }
}

#[test]
fn the_official_client_is_content() {
    let (_folder, hub) = knowledge::site("", &[]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/mcp_client.py");
    let output = Command::new(python_packages())
        .arg(script)
        .arg(binary("resident"))
        .args(arguments(&hub))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\nthe hub's log:\n{}", hub.log());
}
