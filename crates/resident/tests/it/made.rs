//! Models with random weights in real shapes, made once and kept in the target folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::hub::workspace;

/// The model that `cargo xtask make-model` makes with these arguments; it is made if it is not
/// there. The name of the file says what it is.
pub(crate) fn model(name: &str, arguments: &[&str]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("test-models");
    let path = folder.join(format!("{name}.gguf"));
    if !path.is_file() {
        fs::create_dir_all(&folder).unwrap();
        let made = Command::new(env!("CARGO"))
            .current_dir(workspace())
            .args(["xtask", "make-model"])
            .args(arguments)
            .arg("--out")
            .arg(&path)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    path
}
