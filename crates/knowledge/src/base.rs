//! All collections behind one handle: where they are kept, the work on each, and questions to several at once.
//!
//! A folder has the store and, for each collection, an index, which is thrown away and made again from the store
//! whenever it is damaged or was made for another embedder. Everything blocks. Not here: when work is done and by which
//! models, which the caller decides and supplies.

mod read;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    cite,
    document::Place,
    index::{self, Embedder, Filter, Form, Index},
    ingest::{self, Control, Event, Extract, Ingest, Outcome, Scope},
    limits::{FOUND_PER_FILE_MAX, READERS, RERANKED_MAX},
    search::{
        self, Embed, Failed, Known, Leg, Request, Rerank, Searcher, Trusted, rerank::Untrusted,
    },
    store::{self, Collection, Counts, Job, JobState, Source, Store},
};

pub use read::{Reading, Which};

/// The file of the store.
const STORE: &str = "knowledge.sqlite";
/// The file that says what read pages that are pictures of text.
const PAGES_READ_BY: &str = "pages-read-by";
/// The file that says on which collections nobody is to work, a line each.
const PAUSED: &str = "paused";
/// The folder of the indexes.
const INDEX: &str = "index";

/// A person's collections. Any number of threads may ask; one at a time works on a collection.
pub struct Base {
    folder: PathBuf,
    form: Form,
    store: Store,
    open: Mutex<BTreeMap<u64, Opened>>,
    /// What embedders were seen to understand, by their names.
    known: Mutex<BTreeMap<String, Known>>,
    /// Whether rerankers were seen to rank well, by their names; those that do not with what they did.
    examined: Mutex<BTreeMap<String, Result<(), Untrusted>>>,
}

/// An index that is open, and the collection's generation that it was made for.
struct Opened {
    generation: u64,
    index: Arc<dyn Index>,
}

/// Who reads, embeds and ranks. Nobody embeds where passages are found by their words alone.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// Makes documents of files.
    pub extract: &'a dyn Extract,
    /// Makes vectors.
    pub embed: Option<&'a dyn Embed>,
}

/// What is done for a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// It is brought in step with the disk, as far as this goes.
    Scan(Scope),
    /// It is cut and embedded anew, for the embedder that there is now.
    Rebuild,
}

/// A question to collections. What is empty or absent does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question<'a> {
    /// The question, or words.
    pub text: &'a str,
    /// The collections.
    pub collections: &'a [String],
    /// Folders, or files.
    pub folders: &'a [String],
    /// Which paths, as in `**/*.md`.
    pub glob: Option<&'a str>,
    /// Kinds of files.
    pub kinds: &'a [String],
    /// When files were changed: from, and before, in seconds since 1970.
    pub modified_s: Option<Range<i64>>,
    /// How many passages are wanted.
    pub limit: usize,
    /// How many passages before and after each are given with it.
    pub neighbours: u32,
}

/// Passages, best first, and what a person should know of how they were found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// The passages.
    pub found: Vec<Found>,
    /// Whole sentences, each once.
    pub notes: Vec<String>,
}

/// A passage that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The passage, with its file.
    pub passage: store::Found,
    /// What the order is by.
    pub score: f32,
    /// What stands around it, in the order of the file.
    pub neighbours: Vec<String>,
}

/// What a statement of an answer rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Citation {
    /// The number that the answer names it by, from 1.
    pub number: usize,
    /// The passage.
    pub passage: u64,
    /// The file.
    pub path: PathBuf,
    /// Where the quote stands; several places where it goes over parts of the document.
    pub places: Vec<Place>,
    /// The file's own words.
    pub quote: String,
}

/// A collection as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// The collection.
    pub collection: Collection,
    /// Where its files come from.
    pub sources: Vec<Source>,
    /// It in numbers.
    pub counts: Counts,
    /// The work on it, as it was last noted.
    pub job: Job,
}

/// What an index is, and what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexSize {
    /// Its form.
    pub form: &'static str,
    /// Bytes of its files on this machine.
    pub disk_bytes: u64,
}

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder.
    #[error("cannot use {path} for the knowledge base: {source}", path = path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// An index.
    #[error(transparent)]
    Index(#[from] index::Error),
    /// The work on a collection.
    #[error(transparent)]
    Ingest(#[from] ingest::Error),
    /// A question.
    #[error(transparent)]
    Search(#[from] search::Error),
    /// A passage that is to be read.
    #[error(
        "there is no passage {passage}: its file has changed or is gone; search again for its number"
    )]
    Gone {
        /// Its number.
        passage: u64,
    },
    /// A file that is to be read.
    #[error(
        "{within} has no file {path}; read one that a search names, or add it with: resident kb add",
        within = collection.as_deref().unwrap_or("the knowledge base"), path = path.display()
    )]
    NoFile {
        /// Where it was looked for.
        path: PathBuf,
        /// The collection, where one was named.
        collection: Option<String>,
    },
    /// A file of a collection of which nothing is known.
    #[error("{path} could not be read: {why}; resident kb scan tries again", path = path.display())]
    NotRead {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// A file that is to be read behind its end.
    #[error("{path} has {of} passages, none from {} on", first.saturating_add(1), path = path.display())]
    Behind {
        /// The file.
        path: PathBuf,
        /// Which passage was to be the first, from 0.
        first: u32,
        /// How many it has.
        of: u32,
    },
}

impl Base {
    /// The collections that are kept in a folder, which is made if there is none, with indexes of this form. Those of
    /// another form are made anew from the store.
    ///
    /// # Errors
    /// When the folder or its store cannot be used.
    pub fn open(folder: &Path, form: Form) -> Result<Self, Error> {
        fs::create_dir_all(folder)
            .map_err(|source| Error::Folder { path: folder.to_owned(), source })?;
        let store = Store::open(&folder.join(STORE))?;
        Ok(Self {
            folder: folder.to_owned(),
            form,
            store,
            open: Mutex::default(),
            known: Mutex::default(),
            examined: Mutex::default(),
        })
    }

    /// Removes indexes of collections that were forgotten while their indexes could not be removed. What still cannot be
    /// waits for the next time.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn remove_orphans(&self) -> Result<(), Error> {
        let known: BTreeSet<u64> = self.store.collections()?.iter().map(|one| one.id).collect();
        for entry in fs::read_dir(self.folder.join(INDEX)).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let of = name.to_str().and_then(|name| name.split_once('-')?.0.parse::<u64>().ok());
            if of.is_some_and(|of| !known.contains(&of)) {
                drop(self.form.remove(&entry.path()));
            }
        }
        Ok(())
    }

    /// The truth about files and passages.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// All collections as they stand, by name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn collections(&self) -> Result<Vec<Status>, Error> {
        self.store.collections()?.into_iter().map(|collection| self.status(collection)).collect()
    }

    /// One collection as it stands.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn collection(&self, name: &str) -> Result<Status, Error> {
        self.status(self.store.collection(name)?)
    }

    fn status(&self, collection: Collection) -> Result<Status, Error> {
        let sources = self.store.sources(collection.id)?;
        let (counts, job) = (self.store.counts(collection.id)?, self.store.job(collection.id)?);
        Ok(Status { collection, sources, counts, job })
    }

    /// What a collection's index is, and what it takes.
    ///
    /// # Errors
    /// When there is no such collection.
    pub fn index_size(&self, name: &str) -> Result<IndexSize, Error> {
        let folder = self.index_folder(&self.store.collection(name)?);
        Ok(IndexSize { form: self.form.name(), disk_bytes: folder_bytes(&folder) })
    }

    /// Says what reads pages that are pictures of text, and nothing where nobody does. Where that is another than before,
    /// files with such pages are read again the next time; these collections have some.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn pages_are_read_by(&self, reader: &str) -> Result<Vec<String>, Error> {
        let note = self.folder.join(PAGES_READ_BY);
        let before = fs::read_to_string(&note).unwrap_or_default();
        if reader.is_empty() || before == reader {
            return Ok(Vec::new());
        }
        let mut concerned = Vec::new();
        for collection in self.store.collections()? {
            if self.store.read_pictures_again(collection.id)? > 0 {
                concerned.push(collection.name);
            }
        }
        // Whoever is killed before this reads some files once more.
        fs::write(&note, reader).map_err(|source| Error::Folder { path: note, source })?;
        Ok(concerned)
    }

    /// Writes a collection as lines of JSON: what it is, then each file, and after it its passages with the exact
    /// places they came from.
    ///
    /// # Errors
    /// When there is none of this name, before anything is written; when it cannot be read, or `out` takes no more.
    pub fn export(&self, name: &str, out: &mut dyn Write) -> Result<(), Error> {
        let collection = self.store.collection(name)?;
        let line = serde_json::json!({
            "collection": collection.name,
            "embedder": collection.embedder.map(|(name, _)| name),
        });
        writeln!(out, "{line}").map_err(store::Error::Export)?;
        self.store.export(collection.id, out)?;
        Ok(())
    }

    /// Forgets a collection and its index; the files stay where they are. Nobody may be at work on it.
    ///
    /// # Errors
    /// When there is none of this name, or the store cannot be written.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        let collection = self.store.collection(name)?;
        self.store.remove_collection(collection.id)?;
        let mut open = self.opened();
        drop(open.remove(&collection.id));
        // It is forgotten; an index that cannot be removed now goes with the orphans.
        drop(self.remove_indexes_of(collection.id, None));
        Ok(())
    }

    /// Works on a collection until that is done or `control` stops it.
    ///
    /// # Errors
    /// When the store, the index or the embedder fail; [`store::Error::OtherEmbedder`] before anything is done when the
    /// collection has another embedder than `means`.
    pub fn work(
        &self,
        name: &str,
        work: &Work,
        means: Means<'_>,
        control: &Control,
        tell: &mut dyn FnMut(&Event<'_>),
    ) -> Result<Outcome, Error> {
        let collection = self.store.collection(name)?;
        let embedder = means.embed.map(|embed| {
            // No embedder has more numbers than that.
            (embed.name(), u32::try_from(embed.dimension()).unwrap_or(u32::MAX))
        });
        let scope = match work {
            Work::Scan(scope) => {
                self.store.embedded_by(&collection, embedder)?;
                scope
            }
            Work::Rebuild => {
                self.store.embed_anew(collection.id, embedder)?;
                &Scope::Unfinished
            }
        };
        // Read again: its embedder was noted just now.
        let index = self.index(&self.store.collection(name)?)?;
        let ingest = Ingest {
            store: &self.store,
            collection: name,
            extract: means.extract,
            embed: means.embed,
            index: &*index,
            readers: READERS,
        };
        Ok(ingest.run(scope, control, tell)?)
    }

    /// Notes that work on a collection has failed, wherever that was, so that nobody waits for it.
    ///
    /// # Errors
    /// When there is no such collection, or it cannot be noted.
    pub fn note_failed(&self, name: &str, why: &str) -> Result<(), Error> {
        let collection = self.store.collection(name)?;
        let job = self.store.job(collection.id)?;
        let failed = Job { state: JobState::Failed, error: Some(why.to_owned()), ..job };
        Ok(self.store.set_job(collection.id, &failed)?)
    }

    /// The collections on which nobody is to work for now, as they were noted last.
    pub fn paused(&self) -> BTreeSet<String> {
        let note = fs::read_to_string(self.folder.join(PAUSED)).unwrap_or_default();
        note.lines().map(str::to_owned).collect()
    }

    /// Notes on which collections nobody is to work for now.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn note_paused(&self, names: &BTreeSet<String>) -> Result<(), Error> {
        let (note, names) = (self.folder.join(PAUSED), Vec::from_iter(names.iter().cloned()));
        fs::write(&note, names.join("\n")).map_err(|source| Error::Folder { path: note, source })
    }

    /// Answers a question from one or several collections.
    ///
    /// # Errors
    /// When there is no such collection, the pattern for paths is none, or something cannot be read.
    pub fn search(
        &self,
        question: &Question<'_>,
        embed: Option<&dyn Embed>,
        rerank: Option<&dyn Rerank>,
    ) -> Result<Answer, Error> {
        let collections = match question.collections {
            [] => self.store.collections()?,
            names => {
                names.iter().map(|name| self.store.collection(name)).collect::<Result<_, _>>()?
            }
        };
        let mut answer = Answer::default();
        let trusted = rerank.and_then(|rerank| self.trusted(rerank, &mut answer));
        let mut hits = Vec::new();
        for collection in collections {
            let embed = self.embed_for(&collection, embed, &mut answer);
            let searcher = Searcher {
                index: &*self.index(&collection)?,
                passages: &self.store,
                embedder: embed.as_ref().map(|(embed, known)| (*embed, known)),
                // What was found in all of them is read together, so that scores are of one kind.
                reranker: None,
            };
            let found = searcher.search(&request(question, trusted.is_some()))?;
            answer.note_leg(&found.meaning);
            hits.extend(found.found.into_iter().map(|hit| (hit.passage, hit.score)));
        }
        // Ranks of one collection are as good as those of another.
        hits.sort_by(|a, b| b.1.total_cmp(&a.1));
        if let Some(trusted) = trusted
            && let Err(failed) = trusted.order(question.text, &mut hits, |passage| &passage.text)
        {
            answer.note(format!("the reranker did not take part: {failed}"));
        }
        hits.truncate(question.limit);
        let mut given: BTreeSet<u64> = hits.iter().map(|(passage, _)| passage.id).collect();
        for (hit, score) in hits {
            // It may have gone since it was found.
            let Some(passage) = self.store.passages(&[hit.id])?.pop() else { continue };
            let mut neighbours = Vec::new();
            if question.neighbours > 0 {
                let around = question.neighbours;
                neighbours = self.store.neighbours(hit.id, around, around)?;
                neighbours.retain(|neighbour| given.insert(neighbour.id));
            }
            let neighbours = neighbours.into_iter().map(|passage| passage.text).collect();
            answer.found.push(Found { passage, score, neighbours });
        }
        Ok(answer)
    }

    /// What an answer cites of the passages with these numbers, which the model knew by their order.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn cite(
        &self,
        question: &str,
        answer: &str,
        passages: &[u64],
    ) -> Result<Vec<Citation>, Error> {
        let found: BTreeMap<u64, store::Found> =
            self.store.passages(passages)?.into_iter().map(|found| (found.id, found)).collect();
        let text = |id: &u64| found.get(id).map_or("", |found| found.text.as_str());
        let texts: Vec<&str> = passages.iter().map(text).collect();
        let citation = |cited: cite::Cited| {
            let found = found.get(passages.get(cited.number - 1)?)?;
            Some(Citation {
                number: cited.number,
                passage: found.id,
                path: found.path.clone(),
                places: found.places(cited.span.clone()),
                quote: found.text[cited.span].to_owned(),
            })
        };
        Ok(cite::cited(question, answer, &texts).into_iter().filter_map(citation).collect())
    }

    /// The embedder, if it made this collection's vectors, with what it understands.
    fn embed_for<'a>(
        &self,
        collection: &Collection,
        embed: Option<&'a dyn Embed>,
        answer: &mut Answer,
    ) -> Option<(&'a dyn Embed, Known)> {
        let (made_by, _) = collection.embedder.as_ref()?;
        let name = &collection.name;
        let Some(embed) = embed else {
            answer.note(format!(
                "{name} was searched by words alone: its embedding model {made_by} is not there"
            ));
            return None;
        };
        if embed.name() != made_by {
            answer.note(format!(
                "{name} was searched by words alone: it was embedded by {made_by}, and the embedding model is \
                 {} now; rebuild the collection",
                embed.name()
            ));
            return None;
        }
        match self.known(embed) {
            Ok(known) => Some((embed, known)),
            Err(failed) => {
                answer.note(format!("{name} was searched by words alone: {failed}"));
                None
            }
        }
    }

    /// What an embedder understands, looked at once.
    fn known(&self, embed: &dyn Embed) -> Result<Known, Failed> {
        let all = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all().get(embed.name()) {
            return Ok(known.clone());
        }
        let known = Known::examine(embed)?;
        all().insert(embed.name().to_owned(), known.clone());
        Ok(known)
    }

    /// The reranker, if it was seen to rank well, which is looked at once.
    fn trusted<'a>(&self, rerank: &'a dyn Rerank, answer: &mut Answer) -> Option<Trusted<'a>> {
        let all = || self.examined.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all().get(rerank.name()).cloned();
        let seen = match before {
            Some(seen) => seen,
            None => {
                let seen = Trusted::examine(rerank).map(|_| ());
                // One that could not be asked is asked again another time.
                if !matches!(seen, Err(Untrusted::Failed { .. })) {
                    all().insert(rerank.name().to_owned(), seen.clone());
                }
                seen
            }
        };
        match seen {
            Ok(()) => Some(Trusted::known(rerank)),
            Err(untrusted) => {
                answer.note(untrusted.to_string());
                None
            }
        }
    }

    fn opened(&self) -> MutexGuard<'_, BTreeMap<u64, Opened>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The collection's index, opened or made.
    fn index(&self, collection: &Collection) -> Result<Arc<dyn Index>, Error> {
        let embedder = collection.embedder.as_ref().map(|(name, dimension)| Embedder {
            name: name.clone(),
            dimension: *dimension as usize,
        });
        let mut open = self.opened();
        // A collection that is empty changes its embedder and stays of its generation.
        if let Some(opened) = open.get(&collection.id)
            && opened.generation == collection.generation
            && opened.index.description().embedder == embedder
        {
            return Ok(Arc::clone(&opened.index));
        }
        drop(open.remove(&collection.id));
        let folder = self.index_folder(collection);
        self.remove_indexes_of(collection.id, Some(&folder))?;
        let index = match self.form.open(&folder, embedder.clone()) {
            // Nothing is lost: whoever works on the collection next finds that it is empty, and fills it from the store.
            Err(index::Error::Damaged { .. } | index::Error::Different { .. }) => {
                self.form.remove(&folder)?;
                self.form.open(&folder, embedder)?
            }
            other => other?,
        };
        let opened = Opened { generation: collection.generation, index: Arc::clone(&index) };
        open.insert(collection.id, opened);
        Ok(index)
    }

    fn index_folder(&self, collection: &Collection) -> PathBuf {
        let Collection { id, generation, .. } = collection;
        self.folder.join(INDEX).join(format!("{id}-{generation}"))
    }

    /// Removes what is left of a collection's indexes, but for one.
    fn remove_indexes_of(&self, collection: u64, but: Option<&Path>) -> Result<(), Error> {
        let beginning = format!("{collection}-");
        // Without the folder there is none.
        for entry in fs::read_dir(self.folder.join(INDEX)).into_iter().flatten().flatten() {
            let is_its =
                entry.file_name().to_str().is_some_and(|name| name.starts_with(&beginning));
            if is_its && but != Some(&entry.path()) {
                self.form.remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Base").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Answer {
    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    fn note_leg(&mut self, meaning: &Leg) {
        match meaning {
            Leg::Failed(failed) => {
                self.note(format!("the question was not embedded, so that only words count: {failed}"));
            }
            Leg::Foreign(script) => self.note(format!(
                "only words count: the embedding model was not seen to understand this script ({script:?})"
            )),
            Leg::Used | Leg::Absent => {}
        }
    }
}

/// What each collection is asked; more than is wanted where a reranker chooses among all of it.
fn request<'a>(question: &Question<'a>, is_reranked: bool) -> Request<'a> {
    Request {
        query: question.text,
        filter: Filter {
            folders: question.folders.to_vec(),
            kinds: question.kinds.to_vec(),
            modified_s: question.modified_s.clone(),
            ..Filter::default()
        },
        glob: question.glob,
        limit: question.limit.max(if is_reranked { RERANKED_MAX } else { 0 }),
        per_file_max: FOUND_PER_FILE_MAX,
        neighbours: 0,
    }
}

/// Bytes of the files below a folder; none where there is no such folder.
fn folder_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = entries.filter_map(|entry| {
        let found = entry.metadata().ok()?;
        Some(if found.is_dir() { folder_bytes(&entry.path()) } else { found.len() })
    });
    bytes.sum()
}

#[cfg(test)]
mod tests;
