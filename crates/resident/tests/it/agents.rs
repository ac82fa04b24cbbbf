//! Real coding agents against a hub with a play: each writes a file with its own tool and ends with a word.
//!
//! They are connected by `resident connect`, in a home of their own, and without the internet: whatever goes
//! elsewhere than to this machine is sent to a port where nobody listens. What they send is among the cases of
//! `dialect`'s golden tests.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::hub::{self, Hub};
use crate::node;
use crate::play::{ACTOR, Stage};

/// An agent starts a runtime of its own, prepares its home and speaks a few times; a busy machine takes a minute.
const AGENT_PATIENCE: Duration = Duration::from_secs(240);

/// What is in the file, and comes through several layers of quoting.
const GREETING: &str = "Grüße aus der Datei: \"常驻\"\n";

const CLOSING: &str = "The greeting is written.";

/// An agent and what it needs to work by itself.
struct Agent {
    /// As `resident connect` calls it.
    client: &'static str,
    /// Its program in the folder of packages, and whether Node runs it.
    program: fn(&Path) -> (PathBuf, bool),
    /// Arguments by which it reads its task from its input, does it and ends.
    arguments: &'static [&'static str],
    variables: &'static [(&'static str, &'static str)],
    /// The call of its own tool that writes a text into a file.
    write: fn(&Path, &str) -> Value,
}

#[test]
fn claude_code_does_its_task() {
    does_its_task(&Agent {
        client: "claude-code",
        program: |packages| {
            (packages.join("node_modules/@anthropic-ai/claude-code/cli-wrapper.cjs"), true)
        },
        arguments: &["--print", "--allowedTools=Write"],
        variables: &[("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")],
        write: |file, text| json!(["Write", { "file_path": file, "content": text }]),
    });
}

#[test]
fn opencode_does_its_task() {
    does_its_task(&Agent {
        client: "opencode",
        program: |packages| (packages.join("node_modules/opencode-linux-x64/bin/opencode"), false),
        arguments: &["run"],
        variables: &[
            ("OPENCODE_DISABLE_AUTOUPDATE", "1"),
            ("OPENCODE_DISABLE_LSP_DOWNLOAD", "1"),
            ("OPENCODE_DISABLE_MODELS_FETCH", "1"),
        ],
        write: |file, text| json!(["write", { "filePath": file, "content": text }]),
    });
}

#[test]
fn codex_does_its_task() {
    does_its_task(&Agent {
        client: "codex",
        program: |packages| (packages.join("node_modules/@openai/codex/bin/codex.js"), true),
        // Its sandbox needs more of the system than a container may give, and what it runs is ours.
        arguments: &["exec", "--skip-git-repo-check", "--sandbox=danger-full-access", "-"],
        variables: &[],
        write: |file, text| json!(["exec_command", { "cmd": format!("printf %s '{text}' >'{}'", file.display()) }]),
    });
}

/// The folder with the agents.
pub(crate) fn node_packages() -> PathBuf {
    node::packages(
        "test-npm-agents",
        include_str!("clients/agents/package.json"),
        include_str!("clients/agents/package-lock.json"),
    )
}

fn does_its_task(agent: &Agent) {
    let packages = node_packages();
    let (program, is_script) = (agent.program)(&packages);
    if !program.exists() {
        return println!("skipped: {} is not among the packages for this system", agent.client);
    }
    let stage = Stage::open();
    let home = tempfile::tempdir().unwrap();
    let desk = home.path().join("desk");
    fs::create_dir(&desk).unwrap();
    let hub = Hub::configured(home.path(), &stage.table());
    connect(agent.client, &hub, home.path());

    let file = desk.join("hello.txt");
    let play = json!([{ "call": [(agent.write)(&file, GREETING)] }, { "say": CLOSING }]);
    let mut command = if is_script {
        let mut node = in_home(&node::programs().join("node"), home.path());
        node.arg(program);
        node
    } else {
        in_home(&program, home.path())
    };
    // Some repeat their task before they begin; the last word is not to be found in it.
    let play = play.to_string().replace(CLOSING, &CLOSING.replace(' ', "\\u0020"));
    let task = home.path().join("task.txt");
    fs::write(&task, format!("Write hello.txt. PLAY {play}")).unwrap();
    command.args(agent.arguments).envs(agent.variables.iter().copied());
    command.current_dir(&desk).stdin(File::open(&task).unwrap());
    let said = run(&mut command, home.path(), &hub);

    assert_eq!(fs::read_to_string(&file).ok().as_deref(), Some(GREETING), "{said}");
    assert!(said.contains(CLOSING), "{said}");
    let asked = stage.asked();
    let is_result = |message: &Value| message["role"] == "tool";
    let mut conversations = asked.iter().filter_map(|asked| asked["messages"].as_array());
    assert!(
        conversations.any(|messages| messages.iter().any(is_result)),
        "no result of a tool came back: {asked:#?}"
    );
}

/// Lets the client's own files name the hub, as a person would.
fn connect(client: &str, hub: &Hub, home: &Path) {
    let output = in_home(&hub::binary("resident"), home)
        .args(["connect", client, "--write", "--model", ACTOR])
        .args(["--listen", &hub.address.to_string()])
        .arg("--data-dir")
        .arg(hub.data_dir())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A program that knows nothing of whoever runs the tests, and reaches this machine only.
fn in_home(program: &Path, home: &Path) -> Command {
    const NOBODY: &str = "http://127.0.0.1:9";
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .env("HOME", home)
        .env("TMPDIR", home)
        .envs(["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"].map(|name| (name, NOBODY)))
        .envs(["NO_PROXY", "no_proxy"].map(|name| (name, "127.0.0.1,localhost")))
        .env("DO_NOT_TRACK", "1");
    command
}

/// What the agent says until it ends, which must be well and in time.
fn run(command: &mut Command, home: &Path, hub: &Hub) -> String {
    let words = home.join("words-of-the-agent.txt");
    let output = File::create(&words).unwrap();
    command.stdout(output.try_clone().unwrap()).stderr(output);
    let mut agent = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let status = hub::within(AGENT_PATIENCE, || agent.try_wait().unwrap());
    if status.is_none() {
        agent.kill().unwrap();
        agent.wait().unwrap();
    }
    let said = fs::read_to_string(&words).unwrap();
    assert!(status.is_some_and(|status| status.success()), "{status:?}: {said}\n{}", hub.log());
    said
}
