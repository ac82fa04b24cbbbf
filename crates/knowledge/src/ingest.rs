//! Files into passages, passages into the index: the work that keeps a collection in step with the disk.
//!
//! What is done is done for good, in this order: the store has the passages, then their vectors; the index takes them
//! and says that they are on its disk; only then the store notes that it has them, and a file is told as indexed.
//! Whoever is killed in between finds in the store what is left, and neither reads nor embeds again what the store has.
//! Everything blocks; [`Control`] stops and pauses from another thread. Not here: when it is done, and by which model.

mod indexing;
mod pruning;
mod reading;

use std::{
    path::{Path, PathBuf},
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    chunk::{self, Sizes, Tokens},
    document::Document,
    extract::Extractor,
    index::{self, Index},
    limits::{SEEN_BATCH_FILES, WORDS_WINDOW_TOKENS},
    search::{Embed, Failed},
    source::{self, Walk},
    store::{self, Collection, Job, JobState, Kind, Seen, Source, Stat, Store},
};

/// Makes documents of files.
pub trait Extract: Sync {
    /// What the file at `path` says.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn extract(&self, path: &Path, stop: &AtomicBool) -> Result<Document, Unread>;
}

impl Extract for Extractor {
    fn extract(&self, path: &Path, stop: &AtomicBool) -> Result<Document, Unread> {
        match Extractor::extract(self, path, stop) {
            Ok(extracted) => Ok(extracted.document),
            Err(error) => Err(Unread { again: error.again(), reason: error.to_string() }),
        }
    }
}

/// Why a file was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// In words for a person.
    pub reason: String,
    /// Whether it may be another time although the file stays as it is.
    pub again: bool,
}

/// Counts in the tokens of who embeds, or as well as it goes without.
#[derive(Clone, Copy)]
struct Counter<'a>(Option<&'a (dyn Embed + 'a)>);

impl Tokens for Counter<'_> {
    fn count(&self, texts: &[&str]) -> Result<Vec<u32>, Failed> {
        match self.0 {
            Some(embed) => {
                let counts = embed.count_tokens(texts)?;
                Ok(counts
                    .into_iter()
                    .map(|count| u32::try_from(count).unwrap_or(u32::MAX))
                    .collect())
            }
            None => chunk::Estimate.count(texts),
        }
    }
}

/// Stops and pauses work from another thread.
#[derive(Debug, Default)]
pub struct Control {
    stop: AtomicBool,
    paused: Mutex<bool>,
    changed: Condvar,
}

impl Control {
    /// Ends the work after what it is at. It goes on from there another time.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.changed.notify_all();
    }

    /// Whether it is to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Holds the work, or lets it go on.
    pub fn pause(&self, paused: bool) {
        *self.paused.lock().unwrap_or_else(PoisonError::into_inner) = paused;
        self.changed.notify_all();
    }

    fn is_paused(&self) -> bool {
        *self.paused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while it is paused. Says whether the work is to go on.
    fn goes_on(&self) -> bool {
        let paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        let held = self.changed.wait_while(paused, |paused| *paused && !self.is_stopped());
        drop(held.unwrap_or_else(PoisonError::into_inner));
        !self.is_stopped()
    }
}

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All sources of the collection.
    Everything,
    /// What is at and below these paths.
    Paths(Vec<PathBuf>),
    /// No file: only what was begun is finished.
    Unfinished,
}

/// What happens, as it happens.
#[derive(Debug)]
pub enum Event<'a> {
    /// All files were looked at.
    Walked(&'a Progress),
    /// The store has what a file says.
    Stored(&'a Path),
    /// The index has what a file says, for good.
    Indexed(&'a Path),
    /// A file was not read.
    Skipped(&'a Path, &'a str),
    /// A file is elsewhere now.
    Moved(&'a Path, &'a Path),
    /// A file is gone, or left out by the rules now.
    Removed(&'a Path),
    /// A file was not met, but nothing proves that it is gone.
    Kept(&'a Path, &'a str),
    /// How far the work is.
    Progress(&'a Progress),
}

/// How far the work is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// Files to read.
    pub files: u64,
    /// Files that are done with.
    pub files_done: u64,
    /// Bytes of the files to read.
    pub bytes: u64,
    /// Bytes of the files that are done with.
    pub bytes_done: u64,
    /// Files that could not be read.
    pub skipped: u64,
    /// Files that were only elsewhere, or only touched.
    pub unchanged: u64,
    /// Files that are gone.
    pub removed: u64,
    /// Files of which nothing proves that they are gone.
    pub kept: u64,
    /// Passages that have reached the index.
    pub passages: u64,
    /// Of them, those that had to be embedded.
    pub embedded: u64,
    /// How long the work has been going on, pauses left out.
    pub took: Duration,
    /// The file that was read last.
    pub current: Option<PathBuf>,
}

impl Progress {
    /// Bytes of files that are done with in a second.
    pub fn bytes_per_second(&self) -> f64 {
        self.bytes_done as f64 / self.took.as_secs_f64().max(1e-3)
    }

    /// How long the rest takes at the rate so far; none before there is a rate.
    pub fn left(&self) -> Option<Duration> {
        let rate = self.bytes_per_second();
        let rest = self.bytes.saturating_sub(self.bytes_done) as f64;
        (self.bytes_done > 0).then(|| Duration::try_from_secs_f64(rest / rate).ok()).flatten()
    }
}

/// How work ended that did not fail.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Whether everything is in step; otherwise it was stopped.
    pub is_done: bool,
    /// What was done.
    pub progress: Progress,
    /// Folders that could not be read, and why.
    pub unreadable: Vec<(PathBuf, String)>,
}

/// Why work ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A source.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// Passages could not be sized.
    #[error(transparent)]
    Chunk(#[from] chunk::Error),
    /// The embedder failed.
    #[error(
        "cannot embed: {0}; what was embedded is kept, start again when the embedding model runs"
    )]
    Embed(#[source] Failed),
    /// The embedder gave something else than it promised.
    #[error(
        "{embedder} gave {got} where {wanted} were due; this is a fault in it, use another embedding model"
    )]
    Shape {
        /// The model.
        embedder: String,
        /// What came.
        got: String,
        /// What was to come.
        wanted: String,
    },
    /// The index failed.
    #[error("the index failed: {0}; nothing is lost, it is made again from the store")]
    Index(#[source] index::Error),
    /// Somebody is at it already.
    #[error(
        "the collection {collection:?} is being brought in step already; wait for that, or stop it"
    )]
    Running {
        /// The collection.
        collection: String,
    },
    /// A temporary file could not be written.
    #[error("cannot write a temporary file: {0}; make room in the folder for temporary files")]
    Temporary(#[source] std::io::Error),
}

/// The work of one collection.
#[derive(Clone, Copy)]
pub struct Ingest<'a> {
    /// The truth.
    pub store: &'a Store,
    /// The collection's name.
    pub collection: &'a str,
    /// Who reads files.
    pub extract: &'a dyn Extract,
    /// Who embeds; nobody where passages are found by their words alone.
    pub embed: Option<&'a (dyn Embed + 'a)>,
    /// Where passages are found.
    pub index: &'a dyn Index,
    /// How many files are read at once.
    pub readers: usize,
}

/// What one run keeps in mind.
struct Run<'a, 'tell> {
    ingest: Ingest<'a>,
    collection: Collection,
    control: &'a Control,
    tell: &'tell mut dyn FnMut(&Event<'_>),
    progress: Progress,
    since: Instant,
    /// Passages that the index took since it was last put in order.
    untidy: u64,
}

/// A source as it was walked.
struct Walked {
    source: Source,
    scopes: Option<Vec<PathBuf>>,
    walk: Walk,
    renamed: Vec<(u64, u64)>,
}

impl Ingest<'_> {
    /// Brings the collection in step with the disk, as far as `scope` goes, and finishes what was begun before.
    ///
    /// # Errors
    /// When the store, the embedder or the index fail, and [`store::Error::OtherEmbedder`] before anything is done when
    /// the collection has another embedder. A file that cannot be read is no error.
    pub fn run(
        &self,
        scope: &Scope,
        control: &Control,
        tell: &mut dyn FnMut(&Event<'_>),
    ) -> Result<Outcome, Error> {
        let collection = self.store.collection(self.collection)?;
        let _held = self.hold(&collection)?;
        self.store.embedded_by(&collection, self.embedder())?;
        self.begun(scope, control, tell)
    }

    /// Cuts and embeds everything anew for the embedder that is there now, from what the store has; no file is read.
    ///
    /// # Errors
    /// As [`Ingest::run`]. If it ends before its end, `run` goes on with it.
    pub fn rebuild(
        &self,
        control: &Control,
        tell: &mut dyn FnMut(&Event<'_>),
    ) -> Result<Outcome, Error> {
        let collection = self.store.collection(self.collection)?;
        let _held = self.hold(&collection)?;
        self.store.embed_anew(collection.id, self.embedder())?;
        self.begun(&Scope::Unfinished, control, tell)
    }

    /// Gives the index everything again, from the store; nothing is read or embedded.
    ///
    /// # Errors
    /// As [`Ingest::run`].
    pub fn reindex(
        &self,
        control: &Control,
        tell: &mut dyn FnMut(&Event<'_>),
    ) -> Result<Outcome, Error> {
        let collection = self.store.collection(self.collection)?;
        let _held = self.hold(&collection)?;
        self.store.embedded_by(&collection, self.embedder())?;
        self.store.not_indexed(collection.id, None)?;
        self.begun(&Scope::Unfinished, control, tell)
    }

    /// Two at once would take each other's work away.
    fn hold(&self, collection: &Collection) -> Result<store::Held<'_>, Error> {
        let running = || Error::Running { collection: collection.name.clone() };
        self.store.hold(collection.id).ok_or_else(running)
    }

    fn embedder(&self) -> Option<(&str, u32)> {
        self.embed.map(|embed| (embed.name(), u32::try_from(embed.dimension()).unwrap_or(u32::MAX)))
    }

    /// How long passages are, and who counts them.
    fn sizes(&self) -> (Sizes, Counter<'_>) {
        let window = self.embed.map(|embed| u32::try_from(embed.tokens_max()).unwrap_or(u32::MAX));
        (Sizes::for_window(window.unwrap_or(WORDS_WINDOW_TOKENS)), Counter(self.embed))
    }

    fn begun(
        &self,
        scope: &Scope,
        control: &Control,
        tell: &mut dyn FnMut(&Event<'_>),
    ) -> Result<Outcome, Error> {
        // Read again: who embeds was perhaps noted just now.
        let collection = self.store.collection(self.collection)?;
        let progress = Progress::default();
        let mut run = Run {
            ingest: *self,
            collection,
            control,
            tell,
            progress,
            since: Instant::now(),
            untidy: 0,
        };
        run.note_job(JobState::Running, None)?;
        let ended = run.all(scope);
        let (state, error) = match &ended {
            Ok(outcome) if outcome.is_done => (JobState::Done, None),
            Ok(_) => (JobState::Stopped, None),
            Err(error) => (JobState::Failed, Some(error.to_string())),
        };
        match (ended, run.note_job(state, error)) {
            (Ok(outcome), noted) => noted.map(|()| outcome),
            // The first error is the one that says what went wrong.
            (Err(error), _) => Err(error),
        }
    }
}

impl<'a> Run<'a, '_> {
    fn all(&mut self, scope: &Scope) -> Result<Outcome, Error> {
        self.forget_gone()?;
        if matches!(scope, Scope::Everything | Scope::Unfinished) {
            self.compare_index()?;
        }
        let mut unreadable = Vec::new();
        let is_done = self.recut()? && self.index_due()? && self.files(scope, &mut unreadable)?;
        if is_done && self.untidy > 0 {
            self.ingest.index.optimize(&self.control.stop).map_err(Error::Index)?;
        }
        self.told_progress();
        Ok(Outcome {
            is_done: is_done && !self.control.is_stopped(),
            progress: self.progress.clone(),
            unreadable,
        })
    }

    /// Looks at files, reads those that changed, and removes those that are gone. Says whether it came to its end.
    fn files(
        &mut self,
        scope: &Scope,
        unreadable: &mut Vec<(PathBuf, String)>,
    ) -> Result<bool, Error> {
        let mut walked = Vec::new();
        for source in self.ingest.store.sources(self.collection.id)? {
            let Some(scopes) = within(&source, scope) else { continue };
            let walk = self.walk(&source, scopes.as_deref())?;
            if walk.stopped || !self.control.goes_on() {
                return Ok(false);
            }
            let (files, bytes) = self.ingest.store.changes_count(source.id)?;
            self.progress.files += files;
            self.progress.bytes += bytes;
            unreadable.extend(walk.unreadable.iter().cloned());
            let renamed = self.ingest.store.devices_renamed(source.id)?;
            walked.push(Walked { source, scopes, walk, renamed });
        }
        (self.tell)(&Event::Walked(&self.progress));
        self.since = Instant::now();
        if !self.read_changes(&walked)? {
            return Ok(false);
        }
        for walked in &walked {
            if !self.prune(walked)? {
                return Ok(false);
            }
            if !walked.renamed.is_empty() {
                self.ingest.store.note_devices(walked.source.id)?;
            }
        }
        self.forget_gone()?;
        for walked in walked {
            self.ingest.store.seen_nothing(walked.source.id)?;
        }
        Ok(true)
    }

    fn walk(&self, source: &Source, scopes: Option<&[PathBuf]>) -> Result<Walk, Error> {
        let store = self.ingest.store;
        store.seen_nothing(source.id)?;
        if source.kind == Kind::Text {
            let (content, added_ns) = store.text(source.id)?;
            let stat =
                Stat { size: content.len() as u64, modified_ns: added_ns, ..Stat::default() };
            store.seen(source.id, &[Seen { path: source.path.clone(), stat, refused: None }])?;
            return Ok(Walk::default());
        }
        self.look(source, scopes)
    }

    /// Notes all files of a source that are there.
    fn look(&self, source: &Source, scopes: Option<&[PathBuf]>) -> Result<Walk, Error> {
        let store = self.ingest.store;
        let mut batch = Vec::with_capacity(SEEN_BATCH_FILES);
        let walk = source::walk::<Error>(source, scopes, &self.control.stop, |seen| {
            batch.push(seen);
            if batch.len() >= SEEN_BATCH_FILES {
                store.seen(source.id, &batch)?;
                batch.clear();
            }
            Ok(())
        })?;
        store.seen(source.id, &batch)?;
        Ok(walk)
    }

    fn told_progress(&mut self) {
        self.progress.took = self.since.elapsed();
        (self.tell)(&Event::Progress(&self.progress));
    }

    /// Waits while the work is paused. Says whether it is to go on.
    fn goes_on(&mut self) -> Result<bool, Error> {
        if self.control.is_paused() && !self.control.is_stopped() {
            let paused = Instant::now();
            self.note_job(JobState::Paused, None)?;
            self.control.goes_on();
            self.note_job(JobState::Running, None)?;
            self.since += paused.elapsed();
        }
        Ok(!self.control.is_stopped())
    }

    fn note_job(&self, state: JobState, error: Option<String>) -> Result<(), Error> {
        let Progress { files, files_done, bytes, bytes_done, passages, .. } = self.progress;
        let job = Job { state, files, files_done, bytes, bytes_done, passages, error };
        Ok(self.ingest.store.set_job(self.collection.id, &job)?)
    }
}

/// Which part of a source is looked at: all of it, some paths, or nothing.
#[expect(clippy::option_option, reason = "nothing and everything are different parts")]
fn within(source: &Source, scope: &Scope) -> Option<Option<Vec<PathBuf>>> {
    match scope {
        Scope::Everything => Some(None),
        Scope::Unfinished => None,
        Scope::Paths(_) if source.kind == Kind::Text => None,
        // The folder itself, or one that it is in, came or went.
        Scope::Paths(paths) if paths.iter().any(|path| source.path.starts_with(path)) => Some(None),
        Scope::Paths(paths) => {
            let inside: Vec<PathBuf> =
                paths.iter().filter(|path| path.starts_with(&source.path)).cloned().collect();
            if inside.is_empty() { None } else { Some(Some(inside)) }
        }
    }
}
