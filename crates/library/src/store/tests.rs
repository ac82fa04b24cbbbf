//! A store in a folder of its own, and a disk that ends the process at a chosen operation.

mod behaviour;
mod ends;
mod upkeep;

use std::{
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Mutex,
};

use planner::gguf::{self, Tensor, TensorType, Value};

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
    /// A folder that is on another file system.
    elsewhere: Option<PathBuf>,
}

impl End {
    fn new(at: u64, in_the_middle: bool) -> Self {
        Self(Mutex::new(Plan { left: at, in_the_middle, is_dead: false, elsewhere: None }))
    }

    fn set_elsewhere(&self, folder: &Path) {
        self.0.lock().unwrap().elsewhere = Some(folder.to_owned());
    }

    pub(super) fn lies_elsewhere(&self, path: &Path) -> bool {
        let plan = self.0.lock().unwrap();
        plan.elsewhere.as_ref().is_some_and(|folder| path.starts_with(folder))
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

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) fn digest_of(content: &[u8]) -> Sha256 {
    let mut hasher = Hasher::new();
    hasher.update(content);
    hasher.finish()
}

/// A file of a model with this content, which the store gets.
pub(super) fn stored(store: &Store, role: Role, name: &str, content: &[u8]) -> File {
    let digest = digest_of(content);
    store.add(&mut &content[..], &digest).unwrap();
    File::new(role, name, digest, content.len() as u64)
}

pub(super) fn manifest(called: &str, files: Vec<File>) -> Manifest {
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
pub(super) fn all_below(folder: &Path) -> Vec<String> {
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

/// A GGUF file with one small tensor, whose data is `seed`; `keys` say what it is.
pub(super) fn gguf(keys: &[(&str, Value)], seed: u8) -> Vec<u8> {
    let tensor = Tensor {
        name: "output_norm.weight".to_owned(),
        dimensions: [1024, 1, 1, 1],
        kind: TensorType::F32,
        offset: 0,
        bytes: 4096,
    };
    let keys = keys.iter().map(|(key, value)| (*key, value));
    let mut bytes = gguf::write::ordered(3, keys, &[tensor], 32).unwrap();
    bytes.extend([seed; 4096]);
    bytes
}

/// A small model of its own kind.
pub(super) fn model(seed: u8) -> Vec<u8> {
    gguf(&model_keys(), seed)
}

/// Part `index` of two.
pub(super) fn part(index: u64, seed: u8) -> Vec<u8> {
    let mut keys = if index == 0 { model_keys() } else { Vec::new() };
    keys.push(("split.no", Value::Unsigned(index)));
    keys.push(("split.count", Value::Unsigned(2)));
    gguf(&keys, seed)
}

pub(super) fn projector(seed: u8) -> Vec<u8> {
    gguf(&[("general.architecture", Value::String("clip".to_owned()))], seed)
}

pub(super) fn adapter(seed: u8) -> Vec<u8> {
    let text = |text: &str| Value::String(text.to_owned());
    gguf(&[("general.architecture", text("llama")), ("general.type", text("adapter"))], seed)
}

fn model_keys() -> Vec<(&'static str, Value)> {
    vec![
        ("general.architecture", Value::String("llama".to_owned())),
        ("general.file_type", Value::Unsigned(15)),
        ("llama.block_count", Value::Unsigned(1)),
        ("llama.context_length", Value::Unsigned(512)),
        ("llama.embedding_length", Value::Unsigned(32)),
        ("llama.attention.head_count", Value::Unsigned(4)),
    ]
}

/// Goes on, whatever is told.
pub(super) fn goes_on(_: &super::Progress<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Bytes that a folder has on the disk: each file once, however many names it has.
#[cfg(unix)]
pub(super) fn allocated_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let paths = all_below(folder).into_iter().map(|name| folder.join(name));
    let files: std::collections::BTreeMap<_, _> = paths
        .map(|path| std::fs::symlink_metadata(path).unwrap())
        .filter(std::fs::Metadata::is_file)
        .map(|metadata| ((metadata.dev(), metadata.ino()), metadata.blocks() * 512))
        .collect();
    files.values().sum()
}
