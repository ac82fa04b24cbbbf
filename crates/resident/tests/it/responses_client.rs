//! The official OpenAI client for Python, as it asks for responses, against a hub with the demo model. The
//! checks are in `responses_client.py`.

use std::path::Path;
use std::process::Command;

use crate::hub::{self, Hub};
use crate::python;

#[test]
fn whoever_asks_for_responses_is_content() {
    let demo = format!("demo={}", hub::demo().display());
    let hub = Hub::start(&["--model", &demo]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/responses_client.py");
    let output = Command::new(python::clients())
        .arg(script)
        .arg(format!("http://{}/v1", hub.address))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{said}");
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complained}\nthe hub's log:\n{}", hub.log());
}
