//! Warm, pin, explain, what if, replay: the commands beside a real hub with real workers.

use std::process::{Command, Output};

use serde_json::Value;

use crate::hub::{Hub, binary, demo, stories};

/// A hub with room for either model and not for both.
struct Narrow {
    hub: Hub,
    /// Where its configuration lies.
    _folder: tempfile::TempDir,
}

impl Narrow {
    fn new() -> Option<Self> {
        let models = [("stories", stories()?), ("demo", demo())];
        let models = models.map(|(name, path)| format!("{name}={}", path.display()));
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.toml");
        std::fs::write(&config, "roles.daily = [\"demo\", \"stories\"]").unwrap();
        let arguments = |budget: &str| {
            let mut arguments = vec!["--context", "1024", "--budget", budget];
            arguments.extend(["--config", config.to_str().unwrap()]);
            arguments.extend(models.iter().flat_map(|model| ["--model", model]));
            arguments.into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        let start = |budget: &str| {
            let arguments = arguments(budget);
            Hub::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let listed = start("1TiB").control("/resident/v1/models");
        let needed = listed["models"].as_array().unwrap().iter();
        let needed: Vec<u64> =
            needed.map(|row| row["facts"]["needed_bytes"].as_u64().unwrap()).collect();
        let largest = needed.iter().max().unwrap();
        Some(Self { hub: start(&(largest + 1).to_string()), _folder: folder })
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(binary("resident"));
        let address = self.hub.address.to_string();
        command.args(arguments).env("RESIDENT_LISTEN", address);
        command.env("RESIDENT_DATA_DIR", self.hub.data_dir());
        command.output().unwrap()
    }

    /// What it prints when it does as told.
    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let noted = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {noted}\n{}", self.hub.log());
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn refused(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[arguments, &["--json"]].concat())).unwrap()
    }
}

#[track_caller]
fn has(text: &str, part: &str) {
    assert!(text.contains(part), "no '{part}' in:\n{text}");
}

#[test]
fn what_the_hub_did_and_would_do_can_be_asked() {
    let Some(narrow) = Narrow::new() else { return };
    has(
        &narrow.ok(&["explain", "demo"]),
        "demo is not loaded: nobody has asked this hub for it yet.",
    );
    narrow.ok(&["warm", "stories", "--keep-alive", "1h"]);
    let ps = narrow.json(&["ps"]);
    assert_eq!(ps["residents"][0]["name"], "stories");
    assert!(ps["residents"][0]["unload_in_s"].as_u64().unwrap() > 3_000, "{ps}");
    assert_eq!(ps["requests"], Value::Array(Vec::new()));

    narrow.ok(&["pin", "stories"]);
    has(&narrow.ok(&["ps"]), "pinned");
    let pinned = narrow.ok(&["explain", "demo"]);
    has(&pinned, "If it were asked for now: it would be refused.");
    has(&pinned, "stay: it is pinned");
    // Those in the way are named where the load is refused, too.
    narrow.refused(&["warm", "demo"], 1);
    narrow.ok(&["unpin", "stories"]);

    has(&narrow.ok(&["explain", "demo"]), "stories would leave");
    let what_if = narrow.ok(&["plan", "qwen3-8b", "--what-if"]);
    has(&what_if, "If it were asked for now: it would be refused.");
    narrow.ok(&["warm", "demo"]);
    has(&narrow.ok(&["explain", "stories"]), "because demo needed its memory.");
    assert_eq!(narrow.json(&["explain", "demo"])["model"], "demo");

    has(&narrow.refused(&["explain", "nobody"], 4), "no model is named 'nobody'");
    has(&narrow.refused(&["explain", "#99"], 1), "no request #99 is open");
}

#[test]
fn a_role_is_no_model_and_yet_can_be_warmed_and_explained() {
    let Some(narrow) = Narrow::new() else { return };
    let explained = narrow.ok(&["explain", "daily"]);
    has(&explained, "daily is a role. A short request to generate text would go to demo.");
    has(&explained, "first that can take the request");
    let refused = narrow.refused(&["pin", "daily"], 1);
    has(&refused, "'daily' is a role, and only models are pinned");
    has(&refused, "pin one of its models: demo, stories");
    narrow.ok(&["warm", "daily"]);
    assert_eq!(narrow.hub.resident()["name"], "demo");
    assert_eq!(narrow.json(&["explain", "daily"])["candidates"][0]["tried"], true);

    // The last word on a pin is the operator's, until it is taken back.
    let pinned = || narrow.hub.resident()["pinned"].as_bool().unwrap();
    narrow.ok(&["pin", "demo"]);
    assert!(pinned());
    narrow.ok(&["unpin", "demo"]);
    assert!(!pinned());
    narrow.ok(&["pin", "--as-configured", "demo"]);
    assert!(!pinned());
}

#[test]
fn what_the_hub_decided_is_decided_once_more() {
    let Some(narrow) = Narrow::new() else { return };
    narrow.ok(&["warm", "stories"]);
    narrow.ok(&["warm", "demo"]);
    let story = narrow.ok(&["replay"]);
    has(&story, "stop stories, because another model needs its memory");
    has(&story, "Decided once more: the same");
    assert_eq!(narrow.json(&["replay"])["verdict"], "same");

    // A journal in which the hub had forgotten to stop anything.
    let folder = narrow.hub.data_dir().join("journal");
    let journal = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let lines = std::fs::read_to_string(&journal).unwrap();
    let forged = folder.join("forged");
    let forget = |line: &str| {
        let mut entry: Value = serde_json::from_str(line).unwrap();
        let actions = entry.get_mut("told").and_then(|told| told.get_mut("actions"));
        if let Some(actions) = actions.and_then(Value::as_array_mut) {
            actions.retain(|action| action.get("Stop").is_none());
        }
        entry.to_string()
    };
    let forgotten: Vec<String> = lines.lines().map(forget).collect();
    std::fs::write(&forged, forgotten.join("\n")).unwrap();
    let noted = narrow.refused(&["replay", forged.to_str().unwrap()], 1);
    has(&noted, "is decided otherwise now");
    has(&narrow.refused(&["replay", "/no/such/journal"], 1), "cannot read the journal");
    std::fs::write(&forged, "no journal").unwrap();
    has(&narrow.refused(&["replay", forged.to_str().unwrap()], 1), "is no journal of a hub");
}
