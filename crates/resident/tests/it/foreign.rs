//! Real engines that are not ours: `mlx_lm.server`, started and guarded by the hub, and other hubs as
//! a pool of servers of which one dies.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::http::Request;
use crate::hub::{self, Hub};
use crate::process::Process;
use crate::python;

/// The packages of `mlx_lm.server`, whose processor build runs on Linux.
const MLX: &str = include_str!("requirements-mlx.txt");

fn chat(model: &str, tokens: u32) -> Value {
    json!({
        "model": model, "max_tokens": tokens, "temperature": 0,
        "messages": [{"role": "user", "content": "Hello there"}]
    })
}

/// A model of random weights in the form that mlx-lm loads.
fn tiny_mlx_model(python: &Path, folder: &Path) -> PathBuf {
    let model = folder.join("tiny");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/mlx_model.py");
    let tokenizer = hub::workspace().join("models/demo/tokenizer.json");
    let made = Command::new(python).arg(script).arg(tokenizer).arg(&model).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    model
}

/// The interpreter with MLX.
#[cfg(target_os = "linux")]
pub(crate) fn mlx() -> PathBuf {
    python::interpreter("test-venv-mlx", MLX)
}

#[test]
#[cfg(target_os = "linux")]
fn mlx_lm_serves_behind_the_hub() {
    let folder = tempfile::tempdir().unwrap();
    let python = mlx();
    let model = tiny_mlx_model(&python, folder.path());
    // Without such a folder it answers with nothing when asked for its models.
    fs::create_dir(folder.path().join("cache")).unwrap();
    let config = format!(
        "[models.tiny]\nengine = \"mlx_lm.server\"\nprogram = \"{}\"\nmodel = \"{}\"\n\
         memory = \"2GB\"\ncontext = 512\nenvironment = {{ HF_HUB_CACHE = \"{}\" }}\n",
        python.with_file_name("mlx_lm.server").display(),
        model.display(),
        folder.path().join("cache").display(),
    );
    let mut hub = Hub::configured(folder.path(), &config);
    let answer = hub.post("/v1/chat/completions", &chat("tiny", 6)).ok();
    assert_eq!(answer["usage"]["completion_tokens"], 6, "{answer}");
    assert_eq!(answer["choices"][0]["finish_reason"], "length", "{answer}");
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap();

    let mut body = chat("tiny", 6);
    body["stream"] = json!(true);
    let mut stream = hub.stream("/v1/chat/completions", &body);
    let mut streamed = String::new();
    while let Some(data) = stream.next_data().expect("the stream ends well") {
        let Ok(chunk) = serde_json::from_str::<Value>(&data) else { break };
        streamed += chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default();
    }
    assert_eq!(streamed, text, "whole and streamed");

    let resident = hub.resident();
    assert_eq!(resident["engine"], "command");
    let measured = resident["measured_bytes"].as_u64().unwrap();
    assert!(measured > 50_000_000, "its process tree was measured: {measured}");
    // Its guard, the server, and whatever that started.
    let mark = python.with_file_name("mlx_lm.server");
    let running = || Process::with_argument(&mark.display().to_string());
    assert!(!running().is_empty());
    hub.kill();
    let gone = hub::within(hub::PATIENCE, || running().is_empty().then_some(()));
    assert!(gone.is_some(), "{:?} outlive the hub", running());
}

/// Eight tokens of a story, by whom: the model's name as the answer has it.
#[track_caller]
fn story(hub: &Hub, model: &str) -> String {
    let body = json!({
        "model": model, "prompt": "Once upon a time", "max_tokens": 8, "temperature": 0
    });
    let answer = hub.post("/v1/completions", &body).ok();
    let text = answer["choices"][0]["text"].as_str().unwrap().to_owned();
    assert!(text.starts_with(", there"), "{text}");
    answer["model"].as_str().unwrap().to_owned()
}

/// A hub at a certain address, with the model that tells stories.
fn stories_at(address: SocketAddr, model: &Path) -> Hub {
    let folder = tempfile::tempdir().unwrap();
    let mut command = hub::serve(&hub::binary("resident"), folder.path(), address);
    command.args(["--context", "1024", "--model", &format!("stories={}", model.display())]);
    Hub::spawn(&mut command, folder, address)
}

fn names(models: &Value) -> Vec<&str> {
    models["data"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect()
}

#[test]
fn a_pool_of_two_hubs_survives_the_death_of_one_and_takes_it_back() {
    let Some(model) = hub::stories() else { return };
    let mut first = stories_at(hub::free_address(), &model);
    let mut second = stories_at(hub::free_address(), &model);
    let folder = tempfile::tempdir().unwrap();
    let front = Hub::configured(
        folder.path(),
        &format!(
            "[upstreams.lab]\nkind = \"resident\"\nservers = [\"http://{}\", \"http://{}\"]\n\
             models = [\"stories\"]\n",
            first.address, second.address
        ),
    );
    // Both take their turn, so each has loaded the model in the end.
    for _ in 0..4 {
        story(&front, "lab/stories");
    }
    assert!(!first.resident().is_null() && !second.resident().is_null());
    let resident = front.resident();
    assert_eq!((&resident["engine"], &resident["booked_bytes"]), (&json!("upstream"), &json!(0)));
    assert_eq!(resident["pinned"], false, "nothing is won by keeping it");
    first.kill();
    for _ in 0..6 {
        story(&front, "lab/stories");
    }
    // It is back before the other goes, and nobody has told the hub in front.
    let first = stories_at(first.address, &model);
    second.kill();
    for _ in 0..6 {
        story(&front, "lab/stories");
    }
    assert!(!first.resident().is_null());
    // With both gone the model is gone too, and the client hears why.
    drop(first);
    let body = json!({ "model": "lab/stories", "prompt": "x", "max_tokens": 1 });
    let refused = front.post("/v1/completions", &body);
    assert!(refused.status >= 500, "{}", refused.text());
    front.wait_for("the model to be gone", || front.resident().is_null().then_some(()));
    let _second = stories_at(second.address, &model);
    story(&front, "lab/stories");
}

#[test]
fn a_role_falls_to_its_local_model_when_the_servers_of_the_other_die() {
    let Some(model) = hub::stories() else { return };
    let mut far = stories_at(hub::free_address(), &model);
    let folder = tempfile::tempdir().unwrap();
    let front = Hub::configured(
        folder.path(),
        &format!(
            "[models.near]\npath = \"{}\"\ncontext = 1024\n\
             [upstreams.lab]\nkind = \"resident\"\nservers = [\"http://{}\"]\n\
             models = [\"stories\"]\n\
             [roles]\ndaily = [\"lab/stories\", \"near\"]\n",
            model.display(),
            far.address,
        ),
    );
    assert_eq!(story(&front, "daily"), "lab/stories");
    far.kill();
    for _ in 0..3 {
        assert_eq!(story(&front, "daily"), "near", "the first request after its death, too");
    }
    let body = json!({ "model": "daily", "prompt": "Once", "max_tokens": 4, "stream": true });
    let mut stream = front.stream("/v1/completions", &body);
    let first = stream.next_data().expect("the stream ends well").unwrap_or_default();
    let first: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(first["model"], "near");
}

#[test]
fn an_open_pool_lists_the_models_of_another_hub_and_no_others_are_asked_for() {
    let Some(model) = hub::stories() else { return };
    let mut far = stories_at(hub::free_address(), &model);
    let folder = tempfile::tempdir().unwrap();
    let front = Hub::configured(
        folder.path(),
        &format!("[upstreams.lab]\nkind = \"resident\"\nservers = [\"http://{}\"]\n", far.address),
    );
    assert_eq!(names(&front.get("/v1/models").ok()), ["lab/stories"]);
    let mut ls = Command::new(hub::binary("resident"));
    let ls = ls.args(["ls", "--json", "--config"]).arg(folder.path().join("config.toml"));
    let listed = ls.arg("--data-dir").arg(folder.path()).output().unwrap();
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["models"][0]["name"], "lab/stories", "{listed}");
    let one = front.get("/v1/models/lab%2Fstories").ok();
    assert_eq!(one["id"], "lab/stories");
    story(&front, "lab/stories");
    let body = json!({ "model": "lab/storeys", "prompt": "x" });
    let refused = front.post("/v1/completions", &body);
    assert_eq!(refused.status, 404, "{}", refused.text());
    assert!(refused.text().contains("did you mean 'lab/stories'?"), "{}", refused.text());
    assert_eq!(front.resident()["name"], "lab/stories");
    // What was listed is remembered while nobody can be asked.
    far.kill();
    assert_eq!(names(&front.get("/v1/models").ok()), ["lab/stories"]);
}

/// As much of whisper.cpp's server as its preset needs.
const WHISPER: &str = r#"#!/usr/bin/env python3
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
option = lambda name: sys.argv[sys.argv.index(name) + 1]
class Whisper(BaseHTTPRequestHandler):
    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.answer(200, b"{}")
    def do_POST(self):
        form = self.rfile.read(int(self.headers["Content-Length"]))
        known = self.path == option("--inference-path") and option("--model") == "large"
        self.answer(200 if known else 404, b'{"text":" %d times la."}' % form.count(b"la "))
HTTPServer((option("--host"), int(option("--port"))), Whisper).serve_forever()
"#;

/// A form with a file and perhaps a model.
fn transcription(model: Option<&str>, sound: &str) -> Request {
    let part = |name: &str, value: &str| {
        format!("--limit\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let model = model.map(|model| part("model", model)).unwrap_or_default();
    let form = format!("{model}{}--limit--\r\n", part("file", sound));
    Request::post_bytes("/v1/audio/transcriptions", form.into_bytes())
        .header("content-type", "multipart/form-data; boundary=limit")
}

#[test]
#[cfg(unix)]
fn speech_is_had_from_a_whisper_server_and_from_another_hub() {
    use std::os::unix::fs::PermissionsExt;

    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let whisper = folders[0].path().join("whisper-server");
    fs::write(&whisper, WHISPER).unwrap();
    fs::set_permissions(&whisper, fs::Permissions::from_mode(0o700)).unwrap();
    let back = Hub::configured(
        folders[0].path(),
        &format!(
            "[models.whisper]\nengine = \"whisper-server\"\nmodel = \"large\"\nprogram = \"{}\"\n\
             [tools.parrot]\ncommand = [\"cat\"]\nserves = \"speak\"\n\
             content_type = \"audio/wav\"\nmemory = \"10MB\"\n",
            whisper.display()
        ),
    );
    let front = Hub::configured(
        folders[1].path(),
        &format!(
            "[upstreams.lab]\nkind = \"resident\"\nservers = [\"http://{}\"]\n\
             models = [\"whisper\", \"parrot\"]\n\
             [roles]\nlisten = [\"lab/whisper\"]\nspeak = [\"lab/parrot\"]\n",
            back.address
        ),
    );
    let sound = "la ".repeat(100_000);
    for (hub, model) in
        [(&back, None), (&back, Some("whisper")), (&front, None), (&front, Some("lab/whisper"))]
    {
        let heard = transcription(model, &sound).send(hub.address).unwrap().ok();
        assert_eq!(heard["text"], " 100000 times la.", "{model:?}");
    }
    assert_eq!(back.resident()["engine"], "command");
    let said = front.post("/v1/audio/speech", &json!({ "input": "Hi." }));
    said.ok_status();
    assert_eq!(said.text(), "Hi.");
}
