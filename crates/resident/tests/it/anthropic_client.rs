//! The official Anthropic client for Python against a hub with the demo model. The checks are in
//! `anthropic_client.py`.

use std::path::Path;
use std::process::Command;

use crate::hub::{self, Hub};
use crate::python;

#[test]
fn the_anthropic_client_is_content() {
    let demo = format!("demo={}", hub::demo().display());
    let hub = Hub::start(&["--model", &demo]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/anthropic_client.py");
    let output = Command::new(python::clients())
        .arg(script)
        .arg(format!("http://{}", hub.address))
        // Whoever runs the tests may have a key for Anthropic itself, which is nobody else's business.
        .env_remove("ANTHROPIC_AUTH_TOKEN")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complained}\nthe hub's log:\n{}", hub.log());
}
