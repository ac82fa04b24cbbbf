//! The document that the hub serves, held against the hub itself by `schemathesis`: for each operation it asks what
//! the document allows and what it does not, and looks whether the answer is one that the document names. What it
//! is told of this hub is in `described.py`.

use std::path::Path;
use std::process::Command;

use crate::hub::{Hub, shared, stories};
use crate::python;

/// The requests are the same each time.
const SEED: &str = "20260822";

/// Requests drawn for each operation, beside those that stand at a bound.
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

#[test]
fn the_hub_does_what_its_document_says() {
    let Some(models) = stories().zip(shared("models/minilm-q8_0.gguf")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let named = [("stories", models.0), ("minilm", models.1)];
    let named = named.map(|(name, path)| format!("{name}={}", path.display()));
    let hub = Hub::configured_with(folder.path(), TOOLS, |command| {
        named.iter().for_each(|model| {
            command.args(["--model", model]);
        });
    });
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let python = python::interpreter("described-venv", include_str!("requirements-described.txt"));
    let report = folder.path().join("report");
    let output = Command::new(python.with_file_name("schemathesis"))
        .arg("--config-file")
        .arg(here.join("described.toml"))
        .arg("run")
        .arg(format!("http://{}/openapi.json", hub.address))
        .args(["--seed", SEED, "--max-examples", DRAWN_MAX, "--no-color", "--report-dir"])
        .arg(&report)
        .args(["--header", &format!("Authorization: Bearer {}", hub.token())])
        .env("SCHEMATHESIS_HOOKS", here.join("described.py"))
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{said}");
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complained}\nthe hub's log:\n{}", hub.log());
    hub.get("/health").ok_status();
}
