//! Models that are pulled, made, copied, deleted and imported, and what is served of them then. The checks of Ollama's
//! client are in `library_client.py`.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::http::Request;
use crate::hub::{Hub, binary, demo};
use crate::peer;
use crate::python;
use crate::registry::{Image, digest};

/// Tokens of an answer of the model in the registry, unless somebody asks for more.
const TOKENS_MAX: u32 = 4;

/// A hub that pulls from a registry with the demo model in it, called `brief`.
fn site() -> (Hub, Image) {
    let image = Image::of(&demo(), TOKENS_MAX);
    let registry = image.clone().serve("brief");
    let hub = Hub::start_with(|command| {
        command.env("RESIDENT_OLLAMA_ENDPOINT", format!("http://{registry}"));
    });
    (hub, image)
}

fn question(model: &str) -> Value {
    json!({
        "model": model, "stream": false,
        "messages": [{ "role": "user", "content": "What is Resident?" }],
    })
}

#[test]
fn the_ollama_client_pulls_makes_copies_and_deletes() {
    let (hub, image) = site();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/library_client.py");
    let output = Command::new(python::clients())
        .arg(script)
        .args([format!("http://{}", hub.address), image.weights()])
        .arg(demo())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complained}\nthe hub's log:\n{}", hub.log());
}

#[test]
fn a_pulled_model_answers_in_every_dialect_as_its_registry_says() {
    let (hub, _) = site();
    let pulled = hub.post("/api/pull", &json!({ "model": "brief", "stream": false })).ok();
    assert_eq!(pulled, json!({ "status": "success" }));
    let answer = hub.post("/api/chat", &question("brief")).ok();
    assert_eq!(
        (&answer["done_reason"], &answer["eval_count"]),
        (&json!("length"), &json!(TOKENS_MAX))
    );
    let answer = hub.post("/v1/chat/completions", &question("brief:latest")).ok();
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    assert_eq!(answer["usage"]["completion_tokens"], TOKENS_MAX);
    // A request's own word wins.
    let mut longer = question("brief");
    longer["max_tokens"] = json!(7);
    let answer = hub.post("/v1/chat/completions", &longer).ok();
    assert_eq!(answer["usage"]["completion_tokens"], 7);
}

#[test]
fn a_model_of_a_real_container_registry_is_pulled_and_served() {
    let Some(registry) = peer::registry() else { return };
    let weights = std::fs::read(demo()).unwrap();
    let parameters = format!(r#"{{"num_predict":{TOKENS_MAX},"temperature":0}}"#);
    registry.push(
        ("team/brief", "8b"),
        &[
            ("application/vnd.ollama.image.model", &weights),
            ("application/vnd.ollama.image.params", parameters.as_bytes()),
        ],
        |content| digest(content).to_string(),
    );
    let hub = Hub::start_with(|_| {});
    let model = format!("{}/team/brief:8b", registry.address);
    let pulled = hub.post("/api/pull", &json!({ "model": model, "stream": false })).ok();
    assert_eq!(pulled, json!({ "status": "success" }));
    let answer = hub.post("/api/chat", &question(&model)).ok();
    assert_eq!(answer["eval_count"], TOKENS_MAX);
}

#[test]
fn a_deleted_model_is_gone_at_once_and_leaves_memory_with_its_last_user() {
    let (hub, _) = site();
    hub.post("/api/pull", &json!({ "model": "brief", "stream": false })).ok();
    hub.post("/api/chat", &question("brief")).ok();
    assert_eq!(hub.resident()["name"], "brief");
    hub.send(&Request::delete("/api/delete", &json!({ "model": "brief" }))).ok_status();
    let list = hub.get("/api/tags").ok();
    assert_eq!(list["models"], json!([]));
    hub.wait_for("the model to leave", || hub.resident().is_null().then_some(()));
    assert_eq!(hub.post("/api/chat", &question("brief")).status, 404);
}

#[test]
fn a_pull_of_the_hubs_own_goes_on_whoever_looks() {
    let (hub, _) = site();
    let token = format!("Bearer {}", hub.token());
    let begin =
        Request::post("/resident/v1/pulls", &json!({ "source": "ollama:brief", "name": "mine" }));
    let begun = hub.send(&begin.header("authorization", &token)).ok();
    let path = format!("/resident/v1/pulls/{}", begun["id"]);
    let done = hub.wait_for("the pull", || {
        let pull = hub.control(&path);
        assert_ne!(pull["state"], "failed", "{pull}");
        (pull["state"] == "done").then_some(pull)
    });
    assert_eq!((&done["name"], &done["done_bytes"]), (&json!("mine"), &done["whole_bytes"]));
    hub.post("/api/chat", &question("mine")).ok();
}

/// That it takes no disk is `library`'s to prove, which knows what its file system can.
#[test]
fn ollamas_own_store_is_imported_and_served() {
    let image = Image::of(&demo(), TOKENS_MAX);
    let theirs = tempfile::tempdir().unwrap();
    image.lay_out(theirs.path(), "brief");
    let ours = tempfile::tempdir().unwrap();
    let output = Command::new(binary("resident"))
        .args(["import", "--from", "ollama", "--data-dir"])
        .arg(ours.path())
        .env("OLLAMA_MODELS", theirs.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let hub = Hub::start_with(|command| {
        command.arg("--models-dir").arg(ours.path().join("models"));
    });
    let shown = hub.post("/api/show", &json!({ "model": "brief" })).ok();
    assert_eq!(shown["system"], "You are brief.");
    let answer = hub.post("/api/chat", &question("brief")).ok();
    assert_eq!(answer["eval_count"], TOKENS_MAX);
}
