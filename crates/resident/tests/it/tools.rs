//! One-shot tools of a configuration file: asked by the official OpenAI client for Python (the checks
//! are in `tools_client.py`), and gone with the hub.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::http::Request;
use crate::hub::{Hub, within};
use crate::process::Process;
use crate::python;

/// Within this time after the hub's death nothing of a tool is left.
const ORPHANS_GONE_WITHIN: Duration = Duration::from_secs(2);

const TOOLS: &str = r#"
[tools.parrot]
command = ["sh", "-c", "printf '%s|%s|' \"$1\" \"$2\"; cat", "sh", "{voice}", "{words_per_minute}"]
serves = "speak"
content_type = "audio/wav"
memory = "10MB"
voices = { alloy = "own-alloy" }

[tools.ear]
command = ["sh", "-c", "printf '%s|' \"$1\"; wc -c | tr -d ' '", "sh", "{language}"]
serves = "listen"
content_type = "text/plain"
memory = "10MB"
defaults = { language = "auto" }

[tools.hand]
command = ["sh", "-c", "printf '%s %s' \"$1\" \"$2\" >\"$3\"", "sh", "{prompt}", "{size}", "{output}"]
serves = "draw"
output = "png"
content_type = "image/png"
memory = "10MB"
"#;

#[test]
fn the_openai_client_is_content_with_tools() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::configured(folder.path(), TOOLS);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/tools_client.py");
    let base_url = format!("http://{}/v1", hub.address);
    let client = Command::new(python::clients()).arg(script).arg(base_url).output().unwrap();
    let said = String::from_utf8_lossy(&client.stdout).into_owned();
    println!("{said}");
    assert!(
        client.status.success(),
        "{said}{}\nthe hub's log:\n{}",
        String::from_utf8_lossy(&client.stderr),
        hub.log()
    );
}

#[test]
fn a_killed_hub_leaves_nothing_of_a_tool() {
    let folder = tempfile::tempdir().unwrap();
    let told = folder.path().join("told");
    File::create(&told).unwrap();
    // Ignores what can be ignored, and has a child that hides in a session of its own where it can.
    let script = "trap '' TERM INT HUP; own=$(command -v setsid); $own sleep 600 & \
                  echo $$ $! \"$PWD\" >\"$1\"; wait; sleep 600";
    let config = json!({ "tools": { "stay": {
        "command": ["sh", "-c", script, "sh", told.to_str().unwrap()], "memory": "10MB",
    } } });
    let mut hub = Hub::configured(folder.path(), &toml::to_string(&config).unwrap());
    let address = hub.address;
    let asking =
        std::thread::spawn(move || Request::post("/api/tools/stay", &json!({})).send(address));
    let seen = hub.wait_for("the tool's words", || {
        fs::read_to_string(&told).ok().filter(|text| text.ends_with('\n'))
    });
    let seen: Vec<&str> = seen.trim().splitn(3, ' ').collect();
    let pids = [seen[0], seen[1]].map(|pid| Process::of(pid.parse().unwrap()).expect("it runs"));
    let run = PathBuf::from(seen[2]);
    assert!(run.is_dir());
    hub.kill();
    let gone = || (pids.iter().all(|pid| !pid.is_alive()) && !run.exists()).then_some(());
    assert!(within(ORPHANS_GONE_WITHIN, gone).is_some(), "{pids:?} or {} is left", run.display());
    drop(asking.join());
}
