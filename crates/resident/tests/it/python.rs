//! A Python with the packages that tests compare with, in virtual environments below `target`.
//!
//! Each is made once and used again until its pinned versions change. Two crates' tests include this
//! file, and cargo may run them at once: a lock lets one of them make it while the others wait.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The packages that clients and templates are compared with.
pub(crate) fn clients() -> PathBuf {
    interpreter("test-venv", include_str!("requirements.txt"))
}

/// The interpreter of the virtual environment `name` with the packages of `requirements`, which is
/// made first if need be. Panics with the reason when it cannot be.
pub(crate) fn interpreter(name: &str, requirements: &str) -> PathBuf {
    let folder = made_once(name, requirements, |folder| {
        let wanted = folder.with_file_name(format!("{name}-requirements.txt"));
        fs::write(&wanted, requirements).expect("target can be written");
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder));
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
        run(Command::new(python_in(folder)).args(pip).arg(&wanted));
    });
    python_in(&folder)
}

fn python_in(folder: &Path) -> PathBuf {
    folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" })
}

/// The folder `name` below `target` as `make` makes it from `source`. It is made again when that changes.
pub(crate) fn made_once(name: &str, source: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a folder in target");
    let folder = target.join(name);
    let lock = File::create(target.join(format!("{name}.lock"))).expect("target can be written");
    lock.lock().expect("the lock of the folder");
    // Written last, so what is half made is made again.
    let done = folder.join("made-from.txt");
    if !fs::read_to_string(&done).is_ok_and(|text| text == source) {
        make(&folder);
        fs::write(&done, source).expect("target can be written");
    }
    folder
}

pub(crate) fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}; ./x setup installs it"));
    assert!(
        output.status.success(),
        "{command:?} failed ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}
