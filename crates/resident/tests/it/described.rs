//! The document that the hub serves, held against the hub itself by `schemathesis`: for each operation it asks what
//! the document allows and what it does not, and looks whether the answer is one that the document names. What it
//! is told of this hub is in `described.py` and `described.toml`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::http::Request;
use crate::hub::{Hub, demo, shared, stories, workspace};
use crate::{made, python};

/// Requests drawn for each operation, beside those that stand at a bound. They are the same each time.
const DRAWN_MAX: &str = "12";

/// Something that speaks, something that listens, something that draws, and something by its name, so that every
/// operation has a success to show.
const TOOLS: &str = r#"
[tools.parrot]
command = ["cat"]
serves = "speak"
content_type = "audio/wav"
memory = "10MB"

[tools.ear]
command = ["wc", "-c"]
serves = "listen"
content_type = "text/plain"
memory = "10MB"

[tools.hand]
command = ["cat"]
serves = "draw"
content_type = "image/png"
memory = "10MB"

[tools.copy]
command = ["cat"]
memory = "10MB"
"#;

/// The interpreter with schemathesis.
pub(crate) fn python_packages() -> PathBuf {
    python::interpreter("described-venv", include_str!("requirements-described.txt"))
}

/// Panics with all that was said unless it went well.
fn run(command: &mut Command, hub: Option<&Hub>) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{said}");
    let complained = String::from_utf8_lossy(&output.stderr);
    let log = hub.map(Hub::log).unwrap_or_default();
    assert!(output.status.success(), "{said}{complained}\nthe hub's log:\n{log}");
}

#[test]
fn the_document_is_valid_openapi() {
    let document = workspace().join("docs/openapi.json");
    run(Command::new(python_packages()).args(["-m", "openapi_spec_validator"]).arg(document), None);
}

#[test]
fn the_hub_does_what_its_document_says() {
    let Some((stories, minilm)) = stories().zip(shared("models/minilm-q8_0.gguf")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let code = ["--arch", "qwen3", "--like", "tiny", "--quant", "f16", "--infill"];
    let ranks = ["--arch", "bert", "--like", "tiny-reranker", "--quant", "q8_0"];
    let named = [
        ("stories", stories),
        ("minilm", minilm),
        ("demo", demo()),
        ("code", made::model("qwen3-tiny-f16-infill-1", &code)),
        ("ranks", made::model("bert-tiny-reranker-q8_0", &ranks)),
    ];
    let hub = Hub::configured_with(folder.path(), TOOLS, |command| {
        for (name, path) in named {
            command.args(["--model", &format!("{name}={}", path.display())]);
        }
        // What it draws must not become questions to servers elsewhere.
        command.env("RESIDENT_OFFLINE", "1");
    });
    let answer = || {
        let asked = json!({ "model": "demo", "input": "Hi", "max_output_tokens": 2 });
        hub.post("/v1/responses", &asked).ok()["id"].as_str().unwrap().to_owned()
    };
    let files = folder.path().join("files");
    std::fs::create_dir(&files).unwrap();
    std::fs::write(files.join("a.md"), "Once upon a time.").unwrap();
    let token = format!("Bearer {}", hub.token());
    for collection in ["described", "thrown-away"] {
        let new = json!({ "collection": collection, "paths": [files] });
        hub.send(&Request::post("/api/knowledge", &new).header("authorization", &token)).ok();
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let mut schemathesis = Command::new(python_packages().with_file_name("schemathesis"));
    schemathesis
        .arg("--config-file")
        .arg(here.join("described.toml"))
        .args(["run", "--no-color", "--max-examples", DRAWN_MAX])
        .args(["--header", &format!("Authorization: {token}")])
        .arg(format!("http://{}/openapi.json", hub.address))
        .env("SCHEMATHESIS_HOOKS", here.join("described.py"))
        .env("DESCRIBED_KEPT", answer())
        .env("DESCRIBED_THROWN_AWAY", answer())
        .env("DESCRIBED_FILES", files)
        // What it keeps of a failure is gone with the folder.
        .current_dir(folder.path());
    run(&mut schemathesis, Some(&hub));
    hub.get("/health").ok_status();
}
