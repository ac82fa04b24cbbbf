//! The official Ollama client for Python against a hub with the demo model and a real embedding model. The checks are in
//! `ollama_client.py`.

use std::path::Path;
use std::process::Command;

use crate::hub::{self, Hub, shared};
use crate::python;

#[test]
fn the_ollama_client_is_content() {
    let demo = format!("demo={}", hub::demo().display());
    let Some(minilm) = shared("models/minilm-q8_0.gguf") else { return };
    let minilm = format!("minilm={}", minilm.display());
    let hub = Hub::start(&["--model", &demo, "--model", &minilm]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/ollama_client.py");
    let output = Command::new(python::clients())
        .arg(script)
        .arg(format!("http://{}", hub.address))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complained}\nthe hub's log:\n{}", hub.log());
    // The last check let the model go.
    hub.wait_for("the model to leave", || {
        let residents = hub.control("/resident/v1/ps")["residents"].clone();
        residents.as_array().unwrap().is_empty().then_some(())
    });
}
