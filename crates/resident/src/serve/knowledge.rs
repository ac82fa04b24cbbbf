//! A person's files as clients of the hub reach them: what they ask, carried out on the collections.
//!
//! `work` keeps collections in step with the disk on a thread of its own, `embedder` has the fleet embed and `reranker`
//! rank, `text` takes what stands in no file, `rows` says what is found in the gateway's words. Not here: HTTP and what a
//! model is told (`gateway`), and how files are read, kept and found (`knowledge`).

mod embedder;
mod prefix;
mod reader;
mod reranker;
mod rows;
mod text;
mod work;

use std::{
    fmt,
    io::Write,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use dialect::Error;
use gateway::{
    Citation, Collection, CollectionChange, Found, NewSources, Passage, Read, Reading, Search,
    Standing,
};
use knowledge::{
    base::{Base, Question, Which, Work},
    extract::Extractor,
    index::{Form, cluster::Server},
    ingest::Scope,
    search::{Embed, Rerank},
    source, store,
};
use supervisor::{Handle, Priority};
use tokio::runtime;

use crate::{
    config::{self, Settings},
    limits::{
        FOUND_DEFAULT, FOUND_MAX, FOUND_NEIGHBOURS_MAX, READ_DEFAULT, READ_MAX, UNREAD_LISTED_MAX,
    },
};
use embedder::Embedder;
use reader::Reader;
use reranker::Reranker;
use work::{Finds, Worker};

/// The folder of the collections, in the data folder.
const FOLDER: &str = "knowledge";

/// The first argument of this program when it is to read one file. Nobody else uses it.
pub(crate) const EXTRACT_WORD: &str = "extract-file";

/// The collections of a hub.
pub(super) struct Knowledge {
    base: Arc<Base>,
    worker: Worker,
    hub: Handle,
    runtime: runtime::Handle,
    configured: Configured,
}

/// What the configuration says; another one when it was changed.
#[derive(Clone)]
struct Configured(Arc<RwLock<Arc<config::Knowledge>>>);

impl Configured {
    fn now(&self) -> Arc<config::Knowledge> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Knowledge {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Knowledge").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Knowledge {
    /// The collections of these settings. They are brought in step with the disk from now on.
    ///
    /// # Errors
    /// When their folder or its store cannot be used.
    pub(super) fn open(settings: &Settings, hub: Handle) -> anyhow::Result<Arc<Self>> {
        let base = Arc::new(Base::open(&settings.data_dir.join(FOLDER), form(settings)?)?);
        let extractor = Extractor {
            program: std::env::current_exe()?,
            arguments: vec![EXTRACT_WORD.into()],
            limits: knowledge::extract::Limits::default(),
        };
        let runtime = runtime::Handle::current();
        let configured = Configured(Arc::new(RwLock::new(Arc::new(settings.knowledge.clone()))));
        base.pages_are_read_by(&says_ocr(&settings.knowledge))?;
        let (asked, blocking, says) = (hub.clone(), runtime.clone(), configured.clone());
        let reader = (hub.clone(), runtime.clone(), configured.clone());
        let read = move || Reader {
            extractor: extractor.clone(),
            hub: reader.0.clone(),
            runtime: reader.1.clone(),
            ocr: reader.2.now().ocr.clone(),
        };
        let embed =
            move || Embedder::find(&asked, &blocking, Priority::Background, &says.now().prefixes);
        let means = Finds { read: Box::new(read), embed: Box::new(embed) };
        let worker = Worker::start(Arc::clone(&base), means)?;
        Ok(Arc::new(Self { base, worker, hub, runtime, configured }))
    }

    /// The configuration says this from now on.
    pub(super) fn configure(&self, settings: &Settings) {
        let mut holds = self.configured.0.write().unwrap_or_else(PoisonError::into_inner);
        *holds = Arc::new(settings.knowledge.clone());
        drop(holds);
        match self.base.pages_are_read_by(&says_ocr(&settings.knowledge)) {
            Ok(collections) => {
                for collection in collections {
                    self.worker.wants(&collection, Work::Scan(Scope::Everything));
                }
            }
            Err(error) => tracing::warn!("pages are read by what reads them now later: {error}"),
        }
    }

    /// Stops what goes on, so that it goes on the next time.
    pub(super) fn close(&self) {
        self.worker.close();
    }

    fn collection(&self, name: &str) -> Result<Collection, Error> {
        let status = self.base.collection(name).map_err(|error| of_base(&error))?;
        Ok(rows::collection(status, self.worker.at(name)))
    }
}

impl gateway::Knowledge for Knowledge {
    fn collections(&self) -> Result<Vec<Collection>, Error> {
        let all = self.base.collections().map_err(|error| of_base(&error))?;
        let row = |status: knowledge::base::Status| {
            let at = self.worker.at(&status.collection.name);
            rows::collection(status, at)
        };
        Ok(all.into_iter().map(row).collect())
    }

    fn standing(&self, collection: &str) -> Result<Standing, Error> {
        let status = self.base.collection(collection).map_err(|error| of_base(&error))?;
        let unread = self.base.store().files_unread(status.collection.id, UNREAD_LISTED_MAX);
        let index = self.base.index_size(collection).map_err(|error| of_base(&error))?;
        Ok(Standing {
            dimension: status.collection.embedder.as_ref().map(|(_, dimension)| *dimension),
            collection: rows::collection(status, self.worker.at(collection)),
            embedder_here: embedder::name(&self.hub, &self.configured.now().prefixes),
            index: index.form.to_owned(),
            index_bytes: index.disk_bytes,
            unread: unread
                .map_err(|error| of_store(&error))?
                .into_iter()
                .map(rows::unread)
                .collect(),
        })
    }

    fn export(&self, collection: &str, out: &mut dyn Write) -> Result<(), Error> {
        self.base.export(collection, out).map_err(|error| of_base(&error))
    }

    fn add(&self, new: &NewSources) -> Result<Collection, Error> {
        let parsed = |path: &String| {
            let path = Path::new(path);
            if !path.is_absolute() {
                let message = format!(
                    "'{}' is no absolute path, and the hub has no folder of its own",
                    path.display()
                );
                return Err(Error::invalid(message).at("paths"));
            }
            source::parse(path, &new.include, &new.exclude, false)
                .map_err(|error| Error::invalid(error.to_string()).at("paths"))
        };
        // All of them or none.
        let sources = new.paths.iter().map(parsed).collect::<Result<Vec<_>, _>>()?;
        let texts = new.texts.iter().map(text::content).collect::<Result<Vec<_>, _>>()?;
        if sources.is_empty() && texts.is_empty() {
            let message = "there is nothing to add; name paths, or give texts";
            return Err(Error::invalid(message).at("paths"));
        }
        let store = self.base.store();
        let collection =
            store.collection_or_new(&new.collection).map_err(|error| of_store(&error))?;
        for source in &sources {
            store.add_source(&collection, source).map_err(|error| of_store(&error))?;
        }
        for (name, content) in &texts {
            let added = store.add_text(&collection, Path::new(name), content, text::now_ns());
            added.map_err(|error| of_store(&error))?;
        }
        self.worker.sources_changed();
        self.worker.wants(&new.collection, Work::Scan(Scope::Everything));
        self.collection(&new.collection)
    }

    fn remove(&self, collection: &str) -> Result<(), Error> {
        self.base.store().collection(collection).map_err(|error| of_store(&error))?;
        self.worker.forget(collection);
        self.base.remove(collection).map_err(|error| of_base(&error))?;
        self.worker.sources_changed();
        Ok(())
    }

    fn forget(&self, collection: &str, paths: &[String]) -> Result<Collection, Error> {
        let store = self.base.store();
        let found = store.collection(collection).map_err(|error| of_store(&error))?;
        let sources = store.sources(found.id).map_err(|error| of_store(&error))?;
        let known: Vec<String> =
            sources.iter().map(|source| source.path.display().to_string()).collect();
        let number = |path: &String| {
            let at = known.iter().position(|known| known == path);
            let message = || {
                let known = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
                format!("{collection} is not made of '{path}', but of {known}")
            };
            at.map(|at| sources[at].id).ok_or_else(|| Error::new(404, message()).at("paths"))
        };
        // All of them or none.
        let numbers = paths.iter().map(number).collect::<Result<Vec<_>, _>>()?;
        if numbers.is_empty() {
            return self.collection(collection);
        }
        self.worker.interrupt(collection);
        for number in numbers {
            store.remove_source(number).map_err(|error| of_store(&error))?;
        }
        self.worker.sources_changed();
        self.worker.wants(collection, Work::Scan(Scope::Everything));
        self.collection(collection)
    }

    fn change(&self, collection: &str, change: CollectionChange) -> Result<Collection, Error> {
        self.base.store().collection(collection).map_err(|error| of_store(&error))?;
        match change {
            CollectionChange::Scan => self.worker.wants(collection, Work::Scan(Scope::Everything)),
            CollectionChange::Rebuild => self.worker.wants(collection, Work::Rebuild),
            CollectionChange::Pause => self.worker.pause(collection, true),
            CollectionChange::Resume => self.worker.pause(collection, false),
        }
        self.collection(collection)
    }

    fn search(&self, search: &Search) -> Result<Found, Error> {
        let question = question(search)?;
        let (hub, runtime, said) = (&self.hub, &self.runtime, self.configured.now());
        let embedder = Embedder::find(hub, runtime, Priority::Interactive, &said.prefixes);
        let (embedder, missing) = match embedder {
            Ok(embedder) => (embedder, None),
            Err(failed) => (None, Some(failed.to_string())),
        };
        let embed = embedder.as_ref().map(|embedder| embedder as &dyn Embed);
        let reranker =
            search.rerank.unwrap_or(true).then(|| Reranker::find(&self.hub, &self.runtime));
        let reranker = reranker.flatten();
        let rerank = reranker.as_ref().map(|reranker| reranker as &dyn Rerank);
        let answer = self.base.search(&question, embed, rerank).map_err(|error| of_base(&error))?;
        let notes = missing.into_iter().chain(answer.notes).collect();
        Ok(Found { passages: answer.found.into_iter().map(rows::passage).collect(), notes })
    }

    fn read(&self, read: &Read) -> Result<Reading, Error> {
        let reading = self.base.read(which(read)?).map_err(|error| of_base(&error))?;
        Ok(rows::reading(reading))
    }

    fn cite(&self, question: &str, answer: &str, passages: &[Passage]) -> Vec<Citation> {
        let ids: Vec<u64> = passages.iter().map(|passage| passage.id).collect();
        match self.base.cite(question, answer, &ids) {
            Ok(citations) => citations.into_iter().map(rows::citation).collect(),
            Err(error) => {
                tracing::warn!(%error, "an answer's sources cannot be read");
                Vec::new()
            }
        }
    }
}

/// What reads pages that are pictures of text, told from others; nothing where nobody does.
fn says_ocr(knowledge: &config::Knowledge) -> String {
    knowledge.ocr.as_ref().map(|tool| tool.argv.join("\n")).unwrap_or_default()
}

/// A question as it is asked of collections.
fn question(search: &Search) -> Result<Question<'_>, Error> {
    let limit = search.limit.unwrap_or(FOUND_DEFAULT);
    if search.query.trim().is_empty() {
        return Err(Error::invalid("query is empty; ask something, or name words").at("query"));
    }
    let modified_s = match (search.changed_from, search.changed_before) {
        (None, None) => None,
        (from, before) => Some(from.unwrap_or(i64::MIN)..before.unwrap_or(i64::MAX)),
    };
    Ok(Question {
        text: &search.query,
        collections: &search.collections,
        folders: &search.folders,
        glob: search.glob.as_deref(),
        kinds: &search.kinds,
        modified_s,
        limit: within("limit", limit, FOUND_MAX)? as usize,
        neighbours: within("neighbours", search.neighbours, FOUND_NEIGHBOURS_MAX)?,
    })
}

fn within(name: &'static str, value: u32, most: u32) -> Result<u32, Error> {
    let message = format!("{name} is {value}; at most {most} are given");
    if value <= most { Ok(value) } else { Err(Error::invalid(message).at(name)) }
}

/// What is to be read, as it is asked of collections.
fn which(read: &Read) -> Result<Which<'_>, Error> {
    let with = |other: &'static str| {
        let message =
            format!("{other} belongs to the other way of reading; name a passage, or a path");
        Err(Error::invalid(message).at(other))
    };
    match (read.passage, read.path.as_deref()) {
        (Some(_), Some(_)) => with("path"),
        (None, None) => {
            let message = "neither passage nor path is there; name the passage or the file that is to be read";
            Err(Error::invalid(message).at("passage"))
        }
        (Some(_), None) if read.collection.is_some() => with("collection"),
        (Some(_), None) if read.from.is_some() => with("from"),
        (Some(_), None) if read.limit.is_some() => with("limit"),
        (Some(passage), None) => {
            let neighbours = read.neighbours.unwrap_or(0);
            let neighbours = within("neighbours", neighbours, FOUND_NEIGHBOURS_MAX)?;
            Ok(Which::Around { passage, neighbours })
        }
        (None, Some(_)) if read.neighbours.is_some() => with("neighbours"),
        (None, Some(path)) => {
            let limit = within("limit", read.limit.unwrap_or(READ_DEFAULT), READ_MAX)?;
            let (Some(first), 1..) = (read.from.unwrap_or(1).checked_sub(1), limit) else {
                let message = "from and limit are counted from 1";
                return Err(Error::invalid(message).at(if limit == 0 { "limit" } else { "from" }));
            };
            let collection = read.collection.as_deref();
            Ok(Which::File { collection, path: Path::new(path), first, limit })
        }
    }
}

/// Where indexes are.
fn form(settings: &Settings) -> anyhow::Result<Form> {
    let Some(config::Qdrant { url, key }) = &settings.knowledge.qdrant else {
        return Ok(Form::Segments);
    };
    Ok(Form::Cluster(Arc::new(Server::new(url, key.as_deref())?)))
}

fn of_base(error: &knowledge::base::Error) -> Error {
    use knowledge::base::Error as Base;
    match error {
        Base::Store(error) => of_store(error),
        Base::Search(knowledge::search::Error::Glob { .. }) => {
            Error::invalid(error.to_string()).at("glob")
        }
        Base::Gone { .. } => Error::new(404, error.to_string()).at("passage"),
        Base::NoFile { .. } | Base::NotRead { .. } => Error::new(404, error.to_string()).at("path"),
        Base::Behind { .. } => Error::new(404, error.to_string()).at("from"),
        Base::Folder { .. } | Base::Index(_) | Base::Ingest(_) | Base::Search(_) => {
            Error::new(500, error.to_string())
        }
    }
}

fn of_store(error: &store::Error) -> Error {
    let status = match error {
        store::Error::NoCollection { .. } => 404,
        store::Error::Name { .. } | store::Error::Overlaps { .. } => 400,
        store::Error::OtherEmbedder { .. } => 409,
        store::Error::Newer { .. }
        | store::Error::Foreign { .. }
        | store::Error::Damaged { .. }
        | store::Error::Full { .. }
        | store::Error::Busy { .. }
        | store::Error::Sqlite { .. }
        | store::Error::Export(_) => 500,
    };
    Error::new(status, error.to_string())
}
