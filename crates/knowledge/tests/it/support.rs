//! What stands for parsers, a model and an index: plain, exact, and counted, so that a test or a process that is to be
//! killed knows how far it came.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use knowledge::{
    chunk::{Failed, Tokens},
    document::{Document, Inside, Part, Place, Role},
    ingest::{Embed, Entry, Extract, Index, Purpose, Unread},
};

/// Counts what is done, and can be asked to act at a certain moment.
pub(crate) struct Operations {
    count: AtomicU64,
    each: Box<Each>,
}

type Each = dyn Fn(u64, &str) + Send + Sync;

impl Operations {
    pub(crate) fn new(each: impl Fn(u64, &str) + Send + Sync + 'static) -> Arc<Operations> {
        Arc::new(Operations { count: AtomicU64::new(0), each: Box::new(each) })
    }

    fn did(&self, what: &str) {
        (self.each)(self.count.fetch_add(1, Ordering::SeqCst) + 1, what);
    }
}

/// Reads plain formats. What it says of places is checked against the file by the tests.
pub(crate) struct Plain {
    pub(crate) operations: Arc<Operations>,
}

impl Extract for Plain {
    fn extract(&self, path: &Path, _stop: &AtomicBool) -> Result<Document, Unread> {
        self.operations.did(&format!("extract {}", path.display()));
        let again = |reason: std::io::Error| Unread { reason: reason.to_string(), again: true };
        let bytes = std::fs::read(path).map_err(again)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Unread { reason: "it is no text".to_owned(), again: false })?;
        Ok(document(path, &text))
    }
}

fn document(path: &Path, text: &str) -> Document {
    let kind = path.extension().unwrap_or_default().to_string_lossy().into_owned();
    let blocks = match kind.as_str() {
        "csv" => lines(text),
        _ => paragraphs(text),
    };
    let part = |range: Range<usize>| {
        let words = text[range.clone()].to_owned();
        let role = match kind.as_str() {
            "csv" => Role::Row,
            "rs" | "py" => Role::Code,
            "md" => match words.bytes().take_while(|byte| *byte == b'#').count() {
                0 => Role::Paragraph,
                level => Role::Heading(level as u8),
            },
            _ => Role::Paragraph,
        };
        let bytes = Some(range.start as u64..range.end as u64);
        Part { text: words, role, place: Place { inside: Inside::Whole, bytes } }
    };
    Document { title: None, parts: blocks.into_iter().map(part).collect(), gaps: Vec::new() }
}

fn lines(text: &str) -> Vec<Range<usize>> {
    let mut at = 0;
    let ranges = text.split_inclusive('\n').map(|line| {
        at += line.len();
        at - line.len()..at - line.len() + line.trim_end().len()
    });
    ranges.filter(|range| !range.is_empty()).collect()
}

fn paragraphs(text: &str) -> Vec<Range<usize>> {
    let mut at = 0;
    let ranges = text.split_inclusive("\n\n").map(|block| {
        at += block.len();
        at - block.len()..at - block.len() + block.trim_end().len()
    });
    ranges.filter(|range| !range.is_empty()).collect()
}

/// An embedder whose vectors depend on every letter.
pub(crate) struct Hashed {
    pub(crate) operations: Arc<Operations>,
    pub(crate) name: String,
    pub(crate) dimension: u32,
    pub(crate) window: u32,
}

impl Hashed {
    pub(crate) fn new(operations: &Arc<Operations>) -> Hashed {
        Hashed {
            operations: Arc::clone(operations),
            name: "hashed".to_owned(),
            dimension: 16,
            window: 128,
        }
    }

    pub(crate) fn vector(&self, text: &str) -> Vec<f32> {
        let mut bytes = vec![0; self.dimension as usize];
        blake3::Hasher::new().update(text.as_bytes()).finalize_xof().fill(&mut bytes);
        bytes.iter().map(|byte| f32::from(*byte) / 255.0 - 0.5).collect()
    }
}

impl Tokens for Hashed {
    fn count(&self, texts: &[&str]) -> Result<Vec<u32>, Failed> {
        self.operations.did("count");
        let weight = |letter: char| if letter.is_ascii() { 1 } else { 4 };
        Ok(texts.iter().map(|text| 2 + text.chars().map(weight).sum::<u32>().div_ceil(4)).collect())
    }
}

impl Embed for Hashed {
    fn embed(&self, texts: &[String], _purpose: Purpose) -> Result<Vec<Vec<f32>>, Failed> {
        for text in texts {
            self.operations.did(&format!("embed {}", blake3::hash(text.as_bytes())));
        }
        Ok(texts.iter().map(|text| self.vector(text)).collect())
    }

    fn dimension(&self) -> u32 {
        self.dimension
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn window_tokens(&self) -> u32 {
        self.window
    }
}

/// An index that is a file with a line for each change. What was not flushed dies with its process.
pub(crate) struct Lines {
    operations: Arc<Operations>,
    state: Mutex<State>,
}

struct State {
    file: File,
    unwritten: String,
    entries: BTreeMap<u64, Entry>,
}

impl Lines {
    pub(crate) fn open(path: &Path, operations: &Arc<Operations>) -> Lines {
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(path).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        let mut entries = BTreeMap::new();
        let mut whole = 0;
        // A line without an end was being written when its process was killed.
        for line in
            bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"))
        {
            apply(&mut entries, &serde_json::from_slice(line).unwrap());
            whole += line.len() as u64;
        }
        file.set_len(whole).unwrap();
        std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0)).unwrap();
        let state = Mutex::new(State { file, unwritten: String::new(), entries });
        Lines { operations: Arc::clone(operations), state }
    }

    pub(crate) fn entries(&self) -> BTreeMap<u64, Entry> {
        self.state.lock().unwrap().entries.clone()
    }

    fn change(&self, change: &serde_json::Value) {
        let mut state = self.state.lock().unwrap();
        apply(&mut state.entries, change);
        state.unwritten.push_str(&change.to_string());
        state.unwritten.push('\n');
    }
}

fn apply(entries: &mut BTreeMap<u64, Entry>, change: &serde_json::Value) {
    let id = change["id"].as_u64().unwrap();
    if change["text"].is_null() {
        entries.remove(&id);
        return;
    }
    let text = |name: &str| change[name].as_str().unwrap().to_owned();
    let path: Vec<u8> = serde_json::from_value(change["path"].clone()).unwrap();
    let entry = Entry {
        id,
        vector: serde_json::from_value(change["vector"].clone()).unwrap(),
        text: text("text"),
        context: text("context"),
        collection: text("collection"),
        file: change["file"].as_u64().unwrap(),
        path: path_of(path),
        kind: text("kind"),
        modified_s: change["modified_s"].as_i64().unwrap(),
    };
    entries.insert(id, entry);
}

impl Index for Lines {
    fn upsert(&self, entries: Vec<Entry>) -> Result<(), Failed> {
        self.operations.did("upsert");
        for entry in entries {
            self.change(&serde_json::json!({
                "id": entry.id,
                "vector": entry.vector,
                "text": entry.text,
                "context": entry.context,
                "collection": entry.collection,
                "file": entry.file,
                "path": bytes_of(&entry.path),
                "kind": entry.kind,
                "modified_s": entry.modified_s,
            }));
        }
        Ok(())
    }

    fn remove(&self, passages: &[u64]) -> Result<(), Failed> {
        self.operations.did("remove");
        for id in passages {
            self.change(&serde_json::json!({ "id": id }));
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), Failed> {
        self.operations.did("flush");
        let mut state = self.state.lock().unwrap();
        let unwritten = std::mem::take(&mut state.unwritten);
        state.file.write_all(unwritten.as_bytes())?;
        drop(state);
        self.operations.did("flushed");
        Ok(())
    }

    fn optimize(&self, _stop: &AtomicBool) -> Result<(), Failed> {
        self.operations.did("optimize");
        Ok(())
    }

    fn ids(&self, after: Option<u64>, limit: usize) -> Result<Vec<u64>, Failed> {
        let from = after.map_or(0, |after| after + 1);
        Ok(self
            .state
            .lock()
            .unwrap()
            .entries
            .range(from..)
            .take(limit)
            .map(|(id, _)| *id)
            .collect())
    }
}

#[cfg(unix)]
fn bytes_of(path: &Path) -> Vec<u8> {
    std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()).to_vec()
}

#[cfg(unix)]
fn path_of(bytes: Vec<u8>) -> PathBuf {
    <std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes).into()
}

#[cfg(not(unix))]
fn bytes_of(path: &Path) -> Vec<u8> {
    path.to_string_lossy().into_owned().into_bytes()
}

#[cfg(not(unix))]
fn path_of(bytes: Vec<u8>) -> PathBuf {
    String::from_utf8(bytes).unwrap().into()
}
