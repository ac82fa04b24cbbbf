//! A Node with the packages that tests compare with, in folders below `target`.
//!
//! Node itself comes as a package of Python's, so that all machines have the same. Packages are installed once, from
//! a `package-lock.json` that pins every file by its hash, and again when that changes. None of them runs a script of
//! its own when it is installed.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::python::{interpreter, made_once, run};

/// The folder with `node` and `npm`.
pub(crate) fn programs() -> PathBuf {
    let python = interpreter("test-venv-node", include_str!("requirements-node.txt"));
    python.parent().expect("it lies beside its scripts").to_owned()
}

/// The folder `name` below `target` with the packages of a manifest and its lock file.
pub(crate) fn packages(name: &str, manifest: &str, lock: &str) -> PathBuf {
    made_once(name, lock, |folder| {
        fs::create_dir_all(folder).expect("target can be written");
        for (name, text) in [("package.json", manifest), ("package-lock.json", lock)] {
            fs::write(folder.join(name), text).expect("target can be written");
        }
        let quiet = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
        run(with_node(Command::new(programs().join("npm"))).args(quiet).current_dir(folder));
    })
}

/// `command` as it finds Node first.
fn with_node(mut command: Command) -> Command {
    let before = std::env::var_os("PATH").unwrap_or_default();
    let path = [programs()].into_iter().chain(std::env::split_paths(&before));
    command.env("PATH", std::env::join_paths(path).expect("folders without colons"));
    command
}
