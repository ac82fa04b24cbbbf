//! The store as a whole, on a disk that can be made to fail.

mod behaviour;
mod damage;
mod faults;
mod prefixes;
mod rigged;
mod room;
mod sealed;
mod sharing;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::*;
use rigged::Rigged;

/// Bytes of the file of a full block that `keep` puts: header, tokens, three parts, four bytes for each
/// token.
const BLOCK_FILE_BYTES: u64 = 2_296;

/// Tokens of a part of an entry.
const PART_TOKENS: usize = 96;

/// Longer than any test takes; nothing waits so long unless it is broken.
const LONG: Duration = Duration::from_secs(120);

/// A folder for a store, and a model's file beside it.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("model.gguf"), b"weights").unwrap();
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("kv")
    }

    /// Everything is allowed, and files are used.
    fn settings(&self) -> Settings {
        Settings {
            mode: Mode::Ssd,
            folder: self.path(),
            ram_bytes: 64 << 20,
            ssd_bytes: 64 << 20,
            model_ssd_bytes: None,
            free_floor_bytes: 0,
            day_write_bytes: u64::MAX,
            compress: false,
            encryption_key: None,
        }
    }

    fn identity(&self, need: Need) -> Identity {
        self.model("model", need)
    }

    /// A model of that name, with a file of its own.
    fn model(&self, name: &str, need: Need) -> Identity {
        let path = self.folder.path().join(format!("{name}.gguf"));
        if !path.exists() {
            std::fs::write(&path, name).unwrap();
        }
        let root = Fingerprint::default().with("name", name).root();
        Identity { root, model: name.to_owned(), path, need }
    }

    fn open(&self, need: Need) -> Tiers {
        self.open_with(self.settings(), need)
    }

    fn open_with(&self, settings: Settings, need: Need) -> Tiers {
        let tiers = Tiers::open(settings, self.identity(need));
        tiers.flush(LONG);
        tiers
    }

    fn open_on(&self, disk: &Arc<Rigged>, settings: Settings, identity: Identity) -> Tiers {
        let tiers = Tiers::open_on(Arc::clone(disk) as Arc<dyn disk::Disk>, settings, identity);
        tiers.flush(LONG);
        tiers
    }

    /// All entries' files, whosever they are.
    fn files(&self) -> Vec<PathBuf> {
        entry_files(&self.path())
    }

    fn file_bytes(&self) -> u64 {
        self.files().iter().map(|file| std::fs::metadata(file).map_or(0, |m| m.len())).sum()
    }
}

/// Entries and half-made entries below a folder.
fn entry_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "kv" || end == "tmp") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// The state after a prefix, as an engine that never errs would give it: a few bytes for each token
/// of the entry, all of them made from the whole prefix.
fn state_of(kind: Kind, prefix: &[u32]) -> Vec<u8> {
    let own = prefix.len() - kind.blocks_before(prefix.len()) * BLOCK_TOKENS;
    let mut hasher = blake3::Hasher::new();
    hasher.update(format!("{kind:?}").as_bytes());
    hasher.update(&key::token_bytes(prefix));
    let mut bytes = vec![
        0;
        match kind {
            Kind::Cells => own * 4,
            Kind::State => 200,
        }
    ];
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

/// A run of tokens in which each of these numbers stands so often.
fn run(parts: &[(u32, usize)]) -> Vec<u32> {
    parts.iter().flat_map(|(token, count)| std::iter::repeat_n(*token, *count)).collect()
}

/// The same of cells, in parts.
fn cells_of(prefix: &[u32]) -> Payload {
    let bytes = state_of(Kind::Cells, prefix);
    let cuts = bytes.chunks(4 * PART_TOKENS).map(|part| part.len() as u32);
    let cuts = cuts.map(|bytes| Cut { tokens: bytes / 4, bytes }).collect();
    Payload { bytes, cuts }
}

/// What an engine does after a request: keeps all blocks that are missing.
fn keep(tiers: &Tiers, tokens: &[u32]) {
    for range in tiers.missing(tokens) {
        let prefix = &tokens[..range.end];
        if tiers.put(Kind::Cells, prefix, cells_of(prefix)) == Put::Full {
            return;
        }
    }
    if tiers.need() != Need::Cells {
        tiers.put(Kind::State, tokens, state_of(Kind::State, tokens));
    }
}

/// Restores what is there of these tokens, checks each piece, and says how many tokens came back.
/// `known` are all prefixes that were ever put.
fn restore(tiers: &Tiers, tokens: &[u32], known: &Known) -> Result<usize, String> {
    let found = tiers.find(tokens);
    let promised = found.tokens;
    assert!(promised <= tokens.len());
    let mut has_state = found.pieces.iter().any(|piece| piece.kind == Kind::State);
    let mut fetch = tiers.fetch(found, Box::new(|| {}));
    let mut cells = 0;
    loop {
        match fetch.wait() {
            Step::Ready(piece, bytes) => {
                let prefix = known.0.get(bytes.as_slice()).expect("bytes that nobody put");
                assert_eq!((prefix.0, prefix.1.len()), (piece.kind, piece.range.end));
                let end = piece.range.start + piece.usable;
                assert_eq!(prefix.1[..end], tokens[..end]);
                match piece.kind {
                    Kind::Cells => {
                        assert_eq!(piece.range.start, cells);
                        cells = end;
                    }
                    Kind::State => {
                        assert_eq!(end, promised);
                        assert_eq!(end, piece.range.end);
                        assert!(std::mem::take(&mut has_state), "it comes once");
                    }
                }
            }
            Step::Failed(reason) => return Err(reason),
            Step::Done => break,
            Step::Pending => panic!("a call that waits does not wait"),
        }
    }
    assert!(!has_state);
    match tiers.need() {
        Need::Cells | Need::CellsAndState => assert_eq!(cells, promised),
        Need::State => assert_eq!(cells, 0),
    }
    Ok(promised)
}

/// Everything that was ever put, by its bytes.
#[derive(Default)]
struct Known(HashMap<Vec<u8>, (Kind, Vec<u32>)>);

impl Known {
    fn of(runs: &[&[u32]]) -> Self {
        let mut known = Self::default();
        for tokens in runs {
            known.add_all(tokens);
        }
        known
    }

    fn add(&mut self, kind: Kind, prefix: &[u32]) -> Vec<u8> {
        let bytes = state_of(kind, prefix);
        self.0.insert(bytes.clone(), (kind, prefix.to_vec()));
        if kind == Kind::Cells {
            let begin = kind.blocks_before(prefix.len()) * BLOCK_TOKENS;
            for (number, part) in bytes.chunks(4 * PART_TOKENS).enumerate() {
                let end = begin + number * PART_TOKENS + part.len() / 4;
                self.0.insert(part.to_vec(), (kind, prefix[..end].to_vec()));
            }
        }
        bytes
    }

    /// What `keep` puts.
    fn add_all(&mut self, tokens: &[u32]) {
        for end in (BLOCK_TOKENS..tokens.len()).step_by(BLOCK_TOKENS).chain([tokens.len()]) {
            self.add(Kind::Cells, &tokens[..end]);
        }
        self.add(Kind::State, tokens);
    }
}
