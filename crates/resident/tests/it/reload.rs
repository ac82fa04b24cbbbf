//! Another configuration while the hub runs: taken whole or refused whole, and no stream ends early.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::http::{Answer, Request};
use crate::hub::{Hub, binary, demo, stories};

fn config(stories: &Path, rest: &str) -> String {
    format!("context = 1024\n{rest}\n[models.stories]\npath = \"{}\"\n", stories.display())
}

/// A hub, and the file that it was started with.
struct Configured {
    hub: Hub,
    folder: tempfile::TempDir,
}

impl Configured {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { hub: Hub::configured(folder.path(), text), folder }
    }

    fn write(&self, text: &str) {
        fs::write(self.folder.path().join("config.toml"), text).unwrap();
    }

    fn reload(&self) -> Output {
        let mut command = Command::new(binary("resident"));
        command.arg("reload").env("RESIDENT_LISTEN", self.hub.address.to_string());
        command.env("RESIDENT_DATA_DIR", self.hub.data_dir()).output().unwrap()
    }

    /// What the route answers, which knows nothing but the hub's own reading of the file.
    fn asked_to_reload(&self) -> Answer {
        let token = format!("Bearer {}", self.hub.token());
        let request = Request::post("/resident/v1/reload", &json!({}));
        self.hub.send(&request.header("authorization", &token))
    }

    fn complete(&self, model: &str) -> Answer {
        let body = json!({
            "model": model, "prompt": "Once upon a time", "max_tokens": 8, "temperature": 0
        });
        self.hub.post("/v1/completions", &body)
    }

    #[track_caller]
    fn is_refused(&self, text: &str, parts: &[&str]) {
        self.write(text);
        let refused = self.asked_to_reload().error(400).to_string();
        for part in parts {
            assert!(refused.contains(part), "no '{part}' in: {refused}");
        }
    }
}

#[test]
fn a_changed_file_is_taken_while_a_stream_goes_on_or_refused_whole() {
    let Some(stories) = stories() else { return };
    let before = Configured::new(&config(&stories, "roles.daily = [\"stories\"]"));
    let body = json!({
        "model": "daily", "prompt": "Once upon a time", "max_tokens": 800, "temperature": 0,
        "stream": true, "logprobs": 5
    });
    let mut stream = before.hub.stream("/v1/completions", &body);
    let mut pieces = vec![stream.next_data().unwrap().expect("a first piece")];

    // Too little for what runs, and other names for all that there is.
    let after = format!(
        "roles.daily = [\"tales\"]\nroles.short = [\"stories\"]\nbudget = \"900MB\"\n\
         [models.tales]\npath = \"{}\"",
        demo().display()
    );
    let after = config(&stories, &after);
    before.write(&after);
    let taken = before.reload();
    let said = String::from_utf8_lossy(&taken.stderr).into_owned();
    assert!(taken.status.success(), "{said}\n{}", before.hub.log());
    assert!(said.contains("is taken"), "{said}");
    assert_eq!(before.hub.control("/resident/v1/ps")["budget_bytes"], 900_000_000);

    while let Some(data) = stream.next_data().expect("the stream goes on") {
        pieces.push(data);
    }
    assert_eq!(pieces.pop().as_deref(), Some("[DONE]"));
    let last: Vec<Value> =
        pieces.iter().map(|piece| serde_json::from_str(piece).unwrap()).collect();
    let ends = last.iter().filter(|piece| piece["choices"][0]["finish_reason"].is_string());
    assert_eq!(ends.count(), 1, "it ended by itself");

    // What is new holds, and what is gone is gone.
    assert_eq!(before.complete("daily").ok()["model"], "tales");
    assert_eq!(before.complete("short").ok()["model"], "stories");

    // Nothing of a file that makes no sense holds, not even what would.
    let rest = "roles.daily = [\"stories\"]\nroles.short = [\"nobody\"]";
    before.is_refused(&config(&stories, rest), &["[roles]", "nobody", "config.toml"]);
    let pinned = format!("budget = \"1MB\"\n{}pin = true\n", config(&stories, ""));
    before.is_refused(&pinned, &["the pinned models do not fit: stories", "budget is 976.6 KiB"]);
    before.is_refused("allow_lan = maybe", &["config.toml", "line 1"]);
    assert_eq!(before.complete("daily").ok()["model"], "tales");
    assert_eq!(before.complete("short").ok()["model"], "stories");
    assert_eq!(before.hub.control("/resident/v1/ps")["budget_bytes"], 900_000_000);
}

#[test]
fn a_model_of_other_settings_is_loaded_anew_and_keys_count_at_once() {
    let Some(stories) = stories() else { return };
    let before = Configured::new(&config(&stories, ""));
    before.complete("stories").ok();
    assert_eq!(before.hub.resident()["context_tokens"], 1024);
    let [old] = before.hub.workers()[..] else { panic!("one worker") };
    before.write(&config(&stories, "key = \"s3cret\"").replace("1024", "512"));
    before.asked_to_reload().ok();
    before.hub.wait_for("the old worker to leave", || (!old.is_alive()).then_some(()));
    before.complete("stories").error(401);
    let body = json!({ "model": "stories", "prompt": "Once", "max_tokens": 1 });
    let request = Request::post("/v1/completions", &body);
    before.hub.send(&request.header("authorization", "Bearer s3cret")).ok();
    assert_eq!(before.hub.resident()["context_tokens"], 512);
}

#[test]
fn a_signal_has_the_file_read_again() {
    let Some(stories) = stories() else { return };
    let before = Configured::new(&config(&stories, ""));
    before.write(&config(&stories, "roles.daily = [\"nobody\"]"));
    before.hub.hang_up();
    before.hub.wait_for("the refusal", || {
        let log = before.hub.log();
        (log.contains("is refused, and the one before still holds") && log.contains("nobody"))
            .then_some(())
    });
    before.write(&config(&stories, "roles.daily = [\"stories\"]"));
    before.hub.hang_up();
    before.hub.wait_for("the change", || before.hub.log().contains("and is taken").then_some(()));
    assert_eq!(before.complete("daily").ok()["model"], "stories");
}
