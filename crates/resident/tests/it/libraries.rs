//! Libraries for programs against a hub with the demo model, a real embedding model and a play: LangChain,
//! LiteLLM and LlamaIndex for Python, the vendors' own and the AI SDK for JavaScript. The checks are in `clients/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::hub::{self, Hub, shared};
use crate::node;
use crate::play::Stage;
use crate::python;

#[test]
fn langchain_is_content() {
    is_content_in_python("langchain_client.py");
}

#[test]
fn litellm_is_content() {
    is_content_in_python("litellm_client.py");
}

#[test]
fn llamaindex_is_content() {
    is_content_in_python("llamaindex_client.py");
}

/// The interpreter with the libraries for Python.
pub(crate) fn python_packages() -> PathBuf {
    python::interpreter("test-venv-libraries", include_str!("requirements-libraries.txt"))
}

/// The folder with the libraries for JavaScript.
pub(crate) fn node_packages() -> PathBuf {
    node::packages(
        "test-npm-libraries",
        include_str!("clients/libraries/package.json"),
        include_str!("clients/libraries/package-lock.json"),
    )
}

fn is_content_in_python(script: &str) {
    let mut command = Command::new(python_packages());
    is_content(command.arg(clients().join(script)));
}

#[test]
fn the_openai_library_for_javascript_is_content() {
    is_content_in_javascript("openai_client.mjs");
}

#[test]
fn the_anthropic_library_for_javascript_is_content() {
    is_content_in_javascript("anthropic_client.mjs");
}

#[test]
fn the_ollama_library_for_javascript_is_content() {
    is_content_in_javascript("ollama_client.mjs");
}

#[test]
fn the_ai_sdk_is_content() {
    is_content_in_javascript("ai_sdk_client.mjs");
}

fn is_content_in_javascript(script: &str) {
    let folder = node_packages();
    // Packages are looked for where the script is.
    for name in ["stage.mjs", script] {
        let text = fs::read(clients().join(name)).unwrap();
        replace(&folder, name, &text);
    }
    is_content(Command::new(node::programs().join("node")).arg(folder.join(script)));
}

/// Several tests may put the same file there at once, so it is never seen half written.
fn replace(folder: &Path, name: &str, text: &[u8]) {
    let new = tempfile::NamedTempFile::new_in(folder).unwrap();
    fs::write(&new, text).unwrap();
    new.persist(folder.join(name)).unwrap();
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients")
}

/// Runs a client, which is told the address of a hub and fails where that disappoints it.
fn is_content(client: &mut Command) {
    /// Whoever runs the tests may have keys and settings for others, which are nobody's business here.
    const KEPT: [&str; 3] = ["PATH", "HOME", "TMPDIR"];

    let Some(minilm) = shared("models/minilm-q8_0.gguf") else { return };
    let folder = tempfile::tempdir().unwrap();
    let models = format!(
        "[models]\ndemo = {{ path = \"{}\" }}\nminilm = {{ path = \"{}\" }}\n",
        hub::demo().display(),
        minilm.display()
    );
    let hub = Hub::configured(folder.path(), &(models + &Stage::open().table()));
    let output = client
        .arg(format!("http://{}", hub.address))
        .env_clear()
        .envs(KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{said}");
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complained}\nthe hub's log:\n{}", hub.log());
}
