//! A person's files by other makers' clients: OpenAI's vector stores with its own client, and the retrievers of
//! `examples` in LangChain and LlamaIndex. The checks are in `vector_stores.py` and `clients/retrievers.py`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::http::Request;
use crate::hub::{Hub, workspace};
use crate::{knowledge, libraries, python};

const KEY: &str = "open-sesame";

/// A hub that wants a key, with the collections `mail` and `notes`, and a file of `notes`.
fn site(folder: &Path) -> (Hub, PathBuf) {
    let hub = Hub::start(&["--key", KEY]);
    let notes = knowledge::files(folder);
    let mail = folder.join("mail");
    fs::create_dir(&mail).unwrap();
    fs::write(mail.join("letter.txt"), "The Vasa is a ship, writes a friend.").unwrap();
    let token = format!("Bearer {}", hub.token());
    for (collection, path) in [("notes", &notes), ("mail", &mail)] {
        let new = json!({ "collection": collection, "paths": [path] });
        hub.send(&Request::post("/api/knowledge", &new).header("authorization", &token)).ok();
    }
    let key = format!("Bearer {KEY}");
    hub.wait_for("both collections", || {
        let all = hub.send(&Request::get("/api/knowledge").header("authorization", &key)).ok();
        let all = all["collections"].as_array().unwrap().clone();
        all.iter().all(|one| one["state"] == "done").then_some(())
    });
    (hub, notes.join("ships.md").canonicalize().unwrap())
}

fn is_content(client: &mut Command, hub: &Hub) {
    let output = client.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\nthe hub's log:\n{}", hub.log());
}

#[test]
fn the_openai_client_searches_vector_stores() {
    let folder = tempfile::tempdir().unwrap();
    let (hub, ships) = site(folder.path());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/vector_stores.py");
    let mut client = Command::new(python::clients());
    let url = format!("http://{}/v1", hub.address);
    is_content(client.arg(script).args([&*url, KEY]).arg(ships), &hub);
}

#[test]
fn the_retrievers_of_the_examples_find_and_cite() {
    let folder = tempfile::tempdir().unwrap();
    let (hub, ships) = site(folder.path());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients/retrievers.py");
    let mut client = Command::new(libraries::python_packages());
    // What Python compiles would lie beside the examples.
    client.env("PYTHONDONTWRITEBYTECODE", "1");
    let url = format!("http://{}", hub.address);
    let examples = workspace().join("examples");
    is_content(client.arg(script).arg(examples).args([&*url, KEY]).arg(ships), &hub);
}
