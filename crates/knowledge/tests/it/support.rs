//! What stands for parsers, a model and an index: plain, exact, and counted, so that a test or a process that is to be
//! killed knows how far it came.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Write},
    ops::Range,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use knowledge::{
    chunk::Tokens,
    document::{Document, Inside, Part, Place, Role},
    index::{
        Description, Embedder, Error, Filter, Form, Hit, Index, Optimized, Point, cluster::Server,
    },
    ingest::{Extract, Unread},
    search::{Embed, Failed, Purpose},
    words::Sparse,
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
    fn name(&self) -> &str {
        &self.name
    }

    fn dimension(&self) -> usize {
        self.dimension as usize
    }

    fn tokens_max(&self) -> usize {
        self.window as usize
    }

    fn count_tokens(&self, texts: &[&str]) -> Result<Vec<usize>, Failed> {
        Ok(self.count(texts)?.into_iter().map(|count| count as usize).collect())
    }

    fn embed(&self, texts: &[&str], _purpose: Purpose) -> Result<Vec<Vec<f32>>, Failed> {
        for text in texts {
            self.operations.did(&format!("embed {}", blake3::hash(text.as_bytes())));
        }
        Ok(texts.iter().map(|text| self.vector(text)).collect())
    }
}

/// An index that is a file with a line for each change. What was not flushed dies with its process. It finds nothing.
pub(crate) struct Lines {
    description: Description,
    operations: Arc<Operations>,
    state: Mutex<State>,
    /// Whether it keeps nothing but numbers, so that it takes no memory to speak of.
    of_numbers: bool,
}

struct State {
    file: File,
    unwritten: String,
    points: BTreeMap<u64, Option<Box<Point>>>,
}

impl Lines {
    pub(crate) fn open(path: &Path, operations: &Arc<Operations>) -> Lines {
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(path).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        let mut points = BTreeMap::new();
        let mut whole = 0;
        // A line without an end was being written when its process was killed.
        for line in
            bytes.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"))
        {
            let (id, point): (u64, Option<Point>) = serde_json::from_slice(line).unwrap();
            match point {
                Some(point) => points.insert(id, Some(Box::new(point))),
                None => points.remove(&id),
            };
            whole += line.len() as u64;
        }
        file.set_len(whole).unwrap();
        std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0)).unwrap();
        let state = Mutex::new(State { file, unwritten: String::new(), points });
        let embedder = Some(Embedder { name: "hashed".to_owned(), dimension: 16 });
        let description = Description { engine: "lines".to_owned(), words: 1, embedder };
        Lines { description, operations: Arc::clone(operations), state, of_numbers: false }
    }

    /// One that keeps nothing but numbers.
    pub(crate) fn of_numbers(path: &Path, operations: &Arc<Operations>) -> Lines {
        Lines { of_numbers: true, ..Lines::open(path, operations) }
    }

    pub(crate) fn points(&self) -> BTreeMap<u64, Point> {
        let state = self.state.lock().unwrap();
        state.points.iter().filter_map(|(id, point)| Some((*id, *point.clone()?))).collect()
    }

    fn change(&self, id: u64, point: Option<Point>) {
        let mut state = self.state.lock().unwrap();
        if !self.of_numbers {
            state.unwritten.push_str(&serde_json::json!((id, &point)).to_string());
            state.unwritten.push('\n');
        }
        match point {
            Some(point) => {
                let kept = (!self.of_numbers).then(|| Box::new(point));
                state.points.insert(id, kept)
            }
            None => state.points.remove(&id),
        };
    }
}

fn finds_nothing<T>() -> Result<T, Error> {
    Err(Error::Engine { what: "find", why: "it only keeps".to_owned() })
}

impl Index for Lines {
    fn description(&self) -> &Description {
        &self.description
    }

    fn upsert(&self, points: Vec<Point>) -> Result<(), Error> {
        self.operations.did("upsert");
        points.into_iter().for_each(|point| self.change(point.id, Some(point)));
        Ok(())
    }

    fn remove(&self, passages: &[u64]) -> Result<(), Error> {
        self.operations.did("remove");
        passages.iter().for_each(|id| self.change(*id, None));
        Ok(())
    }

    fn remove_files(&self, files: &[u64]) -> Result<(), Error> {
        let of_them = |(_, point): &(u64, Point)| files.contains(&point.labels.file);
        self.points().into_iter().filter(of_them).for_each(|(id, _)| self.change(id, None));
        Ok(())
    }

    fn flush(&self) -> Result<(), Error> {
        self.operations.did("flush");
        let mut state = self.state.lock().unwrap();
        let unwritten = std::mem::take(&mut state.unwritten);
        state.file.write_all(unwritten.as_bytes()).unwrap();
        drop(state);
        self.operations.did("flushed");
        Ok(())
    }

    fn optimize(&self, _stop: &AtomicBool) -> Result<Optimized, Error> {
        self.operations.did("optimize");
        Ok(Optimized::Whole)
    }

    fn nearest(&self, _vector: &[f32], _filter: &Filter, _limit: usize) -> Result<Vec<Hit>, Error> {
        finds_nothing()
    }

    fn nearest_exact(
        &self,
        _vector: &[f32],
        _filter: &Filter,
        _limit: usize,
    ) -> Result<Vec<Hit>, Error> {
        finds_nothing()
    }

    fn lexical(&self, _query: &Sparse, _filter: &Filter, _limit: usize) -> Result<Vec<Hit>, Error> {
        finds_nothing()
    }

    fn count(&self, filter: &Filter) -> Result<u64, Error> {
        let points = self.points();
        Ok(points.values().filter(|point| filter.admits(&point.labels)).count() as u64)
    }

    fn ids(&self, after: Option<u64>, limit: usize) -> Result<Vec<u64>, Error> {
        let from = after.map_or(0, |after| after + 1);
        Ok(self.state.lock().unwrap().points.range(from..).take(limit).map(|(id, _)| *id).collect())
    }
}

/// An index as it ships, of which each step is counted.
pub(crate) struct Watched {
    index: Arc<dyn Index>,
    operations: Arc<Operations>,
}

impl Watched {
    pub(crate) fn open(form: &Form, folder: &Path, operations: &Arc<Operations>) -> Watched {
        let embedder = Embedder { name: "hashed".to_owned(), dimension: 16 };
        let index = form.open(folder, Some(embedder)).unwrap();
        Watched { index, operations: Arc::clone(operations) }
    }
}

/// The address of a Qdrant that tests may fill, or nothing, said aloud, where the environment names none.
#[expect(clippy::print_stderr, reason = "whoever reads the log must see what was not tested")]
pub(crate) fn qdrant() -> Option<String> {
    let url = std::env::var("KNOWLEDGE_QDRANT").ok().filter(|url| !url.is_empty());
    if url.is_none() {
        eprintln!("skipped: KNOWLEDGE_QDRANT names no Qdrant, such as http://127.0.0.1:6334");
    }
    url
}

/// The form with this name: `segments`, or the address of a Qdrant.
pub(crate) fn form(name: &str) -> Form {
    match name {
        "segments" => Form::Segments,
        url => Form::Cluster(Arc::new(Server::new(url, None).unwrap())),
    }
}

impl Index for Watched {
    fn description(&self) -> &Description {
        self.index.description()
    }

    fn upsert(&self, points: Vec<Point>) -> Result<(), Error> {
        self.operations.did("upsert");
        self.index.upsert(points)
    }

    fn remove(&self, passages: &[u64]) -> Result<(), Error> {
        self.operations.did("remove");
        self.index.remove(passages)
    }

    fn remove_files(&self, files: &[u64]) -> Result<(), Error> {
        self.index.remove_files(files)
    }

    fn flush(&self) -> Result<(), Error> {
        self.operations.did("flush");
        self.index.flush()?;
        self.operations.did("flushed");
        Ok(())
    }

    fn optimize(&self, stop: &AtomicBool) -> Result<Optimized, Error> {
        self.operations.did("optimize");
        self.index.optimize(stop)
    }

    fn nearest(&self, vector: &[f32], filter: &Filter, limit: usize) -> Result<Vec<Hit>, Error> {
        self.index.nearest(vector, filter, limit)
    }

    fn nearest_exact(
        &self,
        vector: &[f32],
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<Hit>, Error> {
        self.index.nearest_exact(vector, filter, limit)
    }

    fn lexical(&self, query: &Sparse, filter: &Filter, limit: usize) -> Result<Vec<Hit>, Error> {
        self.index.lexical(query, filter, limit)
    }

    fn count(&self, filter: &Filter) -> Result<u64, Error> {
        self.index.count(filter)
    }

    fn ids(&self, after: Option<u64>, limit: usize) -> Result<Vec<u64>, Error> {
        self.index.ids(after, limit)
    }
}
