//! A store in a folder of its own, and a disk that ends the process at a chosen operation.

mod behaviour;
mod ends;

use std::{io, path::Path, sync::Mutex};

use super::{Store, disk::Reach};
use crate::{
    digest::{Hasher, Sha256},
    manifest::{File, Manifest, Role, Settings},
    name::Name,
};

/// Where the process ends: before operation number `at`, or in its middle.
#[derive(Debug)]
pub(super) struct End(Mutex<Plan>);

#[derive(Debug)]
struct Plan {
    left: u64,
    in_the_middle: bool,
    is_dead: bool,
}

impl End {
    fn new(at: u64, in_the_middle: bool) -> Self {
        Self(Mutex::new(Plan { left: at, in_the_middle, is_dead: false }))
    }

    fn never() -> Self {
        Self::new(u64::MAX, false)
    }

    fn was_reached(&self) -> bool {
        self.0.lock().unwrap().is_dead
    }

    pub(super) fn begin(&self) -> io::Result<Reach> {
        let mut plan = self.0.lock().unwrap();
        if plan.is_dead {
            return Err(ended());
        }
        if plan.left > 0 {
            plan.left -= 1;
            return Ok(Reach::Whole);
        }
        plan.is_dead = true;
        if plan.in_the_middle { Ok(Reach::Half) } else { Err(ended()) }
    }
}

/// What an operation says that the process did not live through.
pub(super) fn ended() -> io::Error {
    io::Error::other("the process has ended")
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn digest_of(content: &[u8]) -> Sha256 {
    let mut hasher = Hasher::new();
    hasher.update(content);
    hasher.finish()
}

/// A file of a model with this content, which the store gets.
fn stored(store: &Store, role: Role, name: &str, content: &[u8]) -> File {
    let digest = digest_of(content);
    store.add(&mut &content[..], &digest).unwrap();
    File::new(role, name, digest, content.len() as u64)
}

fn manifest(called: &str, files: Vec<File>) -> Manifest {
    Manifest {
        name: name(called),
        source: "test".to_owned(),
        revision: None,
        added_unix_s: 1,
        quantization: None,
        files,
        settings: Settings::default(),
    }
}

/// Names of files and folders below a folder, with slashes.
fn all_below(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let below = path.strip_prefix(folder).unwrap().to_str().unwrap();
            found.push(below.replace('\\', "/"));
            if path.is_dir() {
                open.push(path);
            }
        }
    }
    found.sort();
    found
}
