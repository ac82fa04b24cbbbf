//! Real engines that are not ours: `mlx_lm.server`, started and guarded by the hub, and other hubs as
//! a pool of servers of which one dies.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

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

#[test]
#[cfg(target_os = "linux")]
fn mlx_lm_serves_behind_the_hub() {
    let folder = tempfile::tempdir().unwrap();
    let python = python::interpreter("test-venv-mlx", MLX);
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

#[test]
fn a_pool_of_two_hubs_survives_the_death_of_one() {
    let Some(mut first) = Hub::with_stories(&["--context", "1024"]) else { return };
    let Some(second) = Hub::with_stories(&["--context", "1024"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let front = Hub::configured(
        folder.path(),
        &format!(
            "[upstreams.lab]\nkind = \"resident\"\nservers = [\"http://{}\", \"http://{}\"]\n\
             models = [\"stories\"]\n",
            first.address, second.address
        ),
    );
    let ask = || {
        let body = json!({
            "model": "lab/stories", "prompt": "Once upon a time", "max_tokens": 8,
            "temperature": 0
        });
        let answer = front.post("/v1/completions", &body).ok();
        let text = answer["choices"][0]["text"].as_str().unwrap().to_owned();
        assert!(text.starts_with(", there"), "{text}");
    };
    // Both take their turn, so each has loaded the model in the end.
    for _ in 0..4 {
        ask();
    }
    assert!(!first.resident().is_null() && !second.resident().is_null());
    let resident = front.resident();
    assert_eq!((&resident["engine"], &resident["booked_bytes"]), (&json!("upstream"), &json!(0)));
    first.kill();
    for _ in 0..6 {
        ask();
    }
}
