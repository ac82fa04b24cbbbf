//! The official OpenAI client for Python against a hub with the demo model and a real embedding
//! model. The checks are in `openai_client.py`.

use std::path::Path;
use std::process::Command;

use crate::hub::{self, Hub, shared};
use crate::python;

const KEY: &str = "open-sesame";

#[test]
fn the_openai_client_is_content() {
    let demo = format!("demo={}", hub::demo().display());
    let Some(minilm) = shared("models/minilm-q8_0.gguf") else { return };
    let minilm = format!("minilm={}", minilm.display());
    let hub = Hub::start(&["--model", &demo, "--model", &minilm]);
    let keyed = Hub::start(&["--model", &demo, "--key", KEY]);

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/openai_client.py");
    let output = Command::new(python::clients())
        .arg(script)
        .args([&hub, &keyed].map(|hub| format!("http://{}/v1", hub.address)))
        .arg(KEY)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{said}");
    assert!(
        output.status.success(),
        "{said}{}\nthe hub's log:\n{}",
        String::from_utf8_lossy(&output.stderr),
        hub.log()
    );
    // The last check left its stream in the middle.
    hub.wait_for("the stream that was left to end", || {
        let busy = hub.control("/resident/v1/ps")["residents"]
            .as_array()
            .unwrap()
            .iter()
            .any(|resident| resident["leased"] != 0);
        (!busy).then_some(())
    });
}
