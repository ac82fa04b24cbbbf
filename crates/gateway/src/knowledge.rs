//! The wall to whoever keeps a person's own files: collections of them, what is found in them, and what an answer
//! cites. The routes are below it; `consult` lets a model answer from what is found.
//!
//! Not here: how files are read, kept and found (`knowledge`, which the gateway does not know).

pub(crate) mod consult;
pub(crate) mod export;
mod reading;
pub(crate) mod vector_stores;

use std::fmt;
use std::io::Write;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use dialect::Error;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer;
use crate::control::parse;
use crate::routes::Site;
pub use reading::{Read, Reading, Stretch};

/// `GET /api/knowledge`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Collections {
    /// By name.
    pub collections: Vec<Collection>,
}

/// Files that are searched together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Collection {
    /// What it is called.
    pub name: String,
    /// The folders and files that it is made of.
    pub sources: Vec<String>,
    /// The embedding model that its passages are found by; null where they are found by their words alone.
    pub embedder: Option<String>,
    /// Files that were read.
    pub files: u64,
    /// Files that were not, with a reason each.
    pub skipped: u64,
    /// Files of which something could not be read, such as pages that are pictures of text.
    pub with_gaps: u64,
    /// Bytes of the files that were read.
    pub bytes: u64,
    /// Passages that can be found.
    pub passages: u64,
    /// `waiting`, `running`, `paused`, `stopped`, `failed` or `done`.
    pub state: String,
    /// Why it failed.
    pub error: Option<String>,
    /// While it is brought in step with the disk: files to read.
    pub files_to_read: u64,
    /// Files of them that are done with.
    pub files_done: u64,
    /// Bytes to read.
    pub bytes_to_read: u64,
    /// Bytes of them that are done with.
    pub bytes_done: u64,
    /// Bytes a second.
    pub bytes_per_s: u64,
    /// Seconds that the rest takes at that rate.
    pub left_s: Option<u64>,
    /// The file that was read last.
    pub current: Option<String>,
}

/// `GET /api/knowledge/NAME`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Standing {
    /// The collection.
    pub collection: Collection,
    /// How many numbers each of its vectors has; null where it has none.
    pub dimension: Option<u32>,
    /// The embedding model that is here now; null where there is none.
    pub embedder_here: Option<String>,
    /// The form of its index, such as `segments`.
    pub index: String,
    /// Bytes that its index has on the disk.
    pub index_bytes: u64,
    /// Files that were not read, or not all of them, the first 1,000.
    pub unread: Vec<Unread>,
}

/// A file that was not read, or not all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Unread {
    /// The file.
    pub path: String,
    /// Whether nothing of it was read.
    pub skipped: bool,
    /// What of it, and why, such as `page 3 needs OCR`.
    pub reasons: Vec<String>,
}

/// Body of `POST /api/knowledge`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSources {
    /// The collection; it is made if there is none of this name.
    pub collection: String,
    /// Folders and files of this machine, as absolute paths.
    #[serde(default)]
    pub paths: Vec<String>,
    /// What stands in no file, such as what came by standard input.
    #[serde(default)]
    pub texts: Vec<NewText>,
    /// Which files of a folder, as in `**/*.md`; all where none is given.
    #[serde(default)]
    pub include: Vec<String>,
    /// Which files of a folder are left out.
    #[serde(default)]
    pub exclude: Vec<String>,
}

/// What stands in no file. It has either `text` or `base64`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewText {
    /// What it is called in the collection, where it takes the place of what had that name. Its ending says what it is,
    /// as in `minutes.md`.
    pub name: String,
    /// It.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// It, where it is no text but, say, a PDF.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
}

/// Body of `POST /api/knowledge/NAME/forget`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Forgotten {
    /// Sources of the collection, as it lists them.
    pub paths: Vec<String>,
}

/// Body of `POST /api/knowledge/search`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// A question, or words.
    pub query: String,
    /// The collections that are searched; all where none is given.
    #[serde(default)]
    pub collections: Vec<String>,
    /// How many passages are wanted; 8 unless it is said.
    #[serde(default)]
    pub limit: Option<u32>,
    /// Only files in one of these folders, or these files.
    #[serde(default)]
    pub folders: Vec<String>,
    /// Only files whose path is like this.
    #[serde(default)]
    pub glob: Option<String>,
    /// Only files of these kinds, such as `pdf`.
    #[serde(default)]
    pub kinds: Vec<String>,
    /// Only files that were changed at or after this moment, in seconds since 1970.
    #[serde(default)]
    pub changed_from: Option<i64>,
    /// Only files that were changed before this moment, in seconds since 1970.
    #[serde(default)]
    pub changed_before: Option<i64>,
    /// How many passages before and after each are given with it.
    #[serde(default)]
    pub neighbours: u32,
    /// Whether a model that ranks reads what was found and orders it, where one is here; it does unless this is false.
    #[serde(default)]
    pub rerank: Option<bool>,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Found {
    /// The passages, best first.
    pub passages: Vec<Passage>,
    /// What a person should know of how they were found, such as an embedding model that could not be asked.
    pub notes: Vec<String>,
}

/// A passage of a file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Passage {
    /// Its number; it changes when its file does.
    pub id: u64,
    /// Its collection.
    pub collection: String,
    /// Its file.
    pub path: String,
    /// The file's number.
    pub file: u64,
    /// What the file is, such as `pdf`.
    pub kind: String,
    /// When the file was changed, in seconds since 1970.
    pub changed: i64,
    /// The headings that it stands below, the highest first.
    pub headings: Vec<String>,
    /// What it says.
    pub text: String,
    /// Where it begins.
    pub place: Place,
    /// How well it fits, to be compared within one answer only.
    pub score: f32,
    /// What stands before and after it, if that was asked for.
    pub neighbours: Vec<String>,
}

/// Where something stands in a file, as far as its format has such a place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Place {
    /// For a person, such as `page 3`.
    pub said: String,
    /// The page, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<u32>,
    /// The slide, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slide: Option<u32>,
    /// The paragraph of a text document, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paragraph: Option<u32>,
    /// The sheet of a spreadsheet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sheet: Option<String>,
    /// The row of a sheet, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<u32>,
    /// A file within the file, such as a chapter of a book.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// Milliseconds from the beginning, for subtitles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_ms: Option<u64>,
    /// The first byte, in the file or the entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_byte: Option<u64>,
    /// The byte behind the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_byte: Option<u64>,
}

/// What an answer rests on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Citation {
    /// The number that the answer names it by.
    pub number: u32,
    /// The file.
    pub path: String,
    /// Where the quote stands.
    pub place: Place,
    /// What the file says there, word for word.
    pub quote: String,
}

/// What becomes of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CollectionChange {
    /// It is brought in step with the disk, now.
    Scan,
    /// The work on it waits.
    Pause,
    /// It goes on.
    Resume,
    /// Everything is cut and embedded anew, by the embedding model that is configured now.
    Rebuild,
}

/// Who keeps a person's files. All of it may touch the disk and models, so it is asked where blocking is allowed.
/// Errors are those that the client hears.
pub trait Knowledge: Send + Sync + fmt::Debug {
    /// The collections and how they stand, by name.
    ///
    /// # Errors
    /// They cannot be read.
    fn collections(&self) -> Result<Vec<Collection>, Error>;

    /// One collection, and what a person asks who wants to know why something is not found.
    ///
    /// # Errors
    /// There is none of this name.
    fn standing(&self, collection: &str) -> Result<Standing, Error>;

    /// Writes a collection's files and passages as lines of JSON.
    ///
    /// # Errors
    /// There is none of this name, before anything is written; it cannot be read, or `out` takes no more.
    fn export(&self, collection: &str, out: &mut dyn Write) -> Result<(), Error>;

    /// Adds folders and files to a collection, and begins to read them.
    ///
    /// # Errors
    /// A path is none, or the collection cannot have that name.
    fn add(&self, new: &NewSources) -> Result<Collection, Error>;

    /// Forgets a collection. The files stay where they are.
    ///
    /// # Errors
    /// There is none of this name.
    fn remove(&self, collection: &str) -> Result<(), Error>;

    /// Forgets some of what a collection is made of. The files stay where they are.
    ///
    /// # Errors
    /// There is no such collection, or it is not made of that.
    fn forget(&self, collection: &str, paths: &[String]) -> Result<Collection, Error>;

    /// Changes what becomes of a collection.
    ///
    /// # Errors
    /// There is none of this name.
    fn change(&self, collection: &str, change: CollectionChange) -> Result<Collection, Error>;

    /// Finds passages.
    ///
    /// # Errors
    /// A collection or a filter makes no sense, or the index cannot be read.
    fn search(&self, search: &Search) -> Result<Found, Error>;

    /// Reads of a file what was read into a collection, and of no other file anything.
    ///
    /// # Errors
    /// There is no such passage or file, or it cannot be read.
    fn read(&self, read: &Read) -> Result<Reading, Error>;

    /// What an answer to a question cites of `passages`, which the model knew by their order from 1.
    fn cite(&self, question: &str, answer: &str, passages: &[Passage]) -> Vec<Citation>;
}

/// Asks it where blocking is allowed.
async fn ask<T: Send + 'static>(
    site: &Site,
    question: impl FnOnce(&dyn Knowledge) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let knowledge = of(site)?;
    let asked = tokio::task::spawn_blocking(move || question(&*knowledge)).await;
    asked.unwrap_or_else(|error| Err(Error::new(500, error.to_string())))
}

fn of(site: &Site) -> Result<Arc<dyn Knowledge>, Error> {
    site.knowledge.clone().ok_or_else(|| {
        let message =
            "this hub knows no files; its log says why the knowledge base could not be opened";
        Error::new(503, message).code("no_knowledge")
    })
}

pub(crate) async fn list(site: &Site) -> Result<Response, Error> {
    let collections = ask(site, |knowledge| knowledge.collections()).await?;
    answer::serialized(&Collections { collections })
}

/// `rest` is the path behind `/api/knowledge/`: a collection, or one and `/export`.
pub(crate) async fn one(site: &Site, rest: &str) -> Result<Response, Error> {
    match rest.rsplit_once('/') {
        None => {
            let name = decoded(rest);
            answer::serialized(&ask(site, move |knowledge| knowledge.standing(&name)).await?)
        }
        Some((name, "export")) => export::export(site, decoded(name)).await,
        Some(_) => {
            let message = format!("'{rest}' is nothing of a collection; write NAME or NAME/export");
            Err(Error::new(404, message))
        }
    }
}

pub(crate) async fn add(site: &Site, body: Body) -> Result<Response, Error> {
    let body = answer::read_body(body).await?;
    let shape =
        r#"{"collection": NAME, "paths": [PATH]} or "texts": [{"name": NAME, "text": TEXT}]"#;
    let new: NewSources = parse(&body, shape)?;
    answer::serialized(&ask(site, move |knowledge| knowledge.add(&new)).await?)
}

/// `rest` is the path behind `/api/knowledge/`: a collection and what is to become of it.
pub(crate) async fn change(site: &Site, rest: &str, body: Body) -> Result<Response, Error> {
    let (name, change) = match rest.rsplit_once('/') {
        Some((name, "forget")) => return forget(site, decoded(name), body).await,
        Some((name, "scan")) => (name, CollectionChange::Scan),
        Some((name, "pause")) => (name, CollectionChange::Pause),
        Some((name, "resume")) => (name, CollectionChange::Resume),
        Some((name, "rebuild")) => (name, CollectionChange::Rebuild),
        Some(_) | None => {
            let message = format!(
                "'{rest}' is no collection and what becomes of it; write NAME/scan, NAME/pause, NAME/resume, \
                 NAME/rebuild or NAME/forget"
            );
            return Err(Error::new(404, message));
        }
    };
    let name = decoded(name);
    answer::serialized(&ask(site, move |knowledge| knowledge.change(&name, change)).await?)
}

async fn forget(site: &Site, name: String, body: Body) -> Result<Response, Error> {
    let body = answer::read_body(body).await?;
    let Forgotten { paths } = parse(&body, r#"{"paths": [PATH]}"#)?;
    answer::serialized(&ask(site, move |knowledge| knowledge.forget(&name, &paths)).await?)
}

pub(crate) async fn remove(site: &Site, rest: &str) -> Result<Response, Error> {
    let name = decoded(rest);
    ask(site, move |knowledge| knowledge.remove(&name)).await?;
    list(site).await
}

pub(crate) async fn search(site: &Site, body: Body) -> Result<Response, Error> {
    let body = answer::read_body(body).await?;
    let search: Search = parse(&body, r#"{"query": WORDS, "collections": [NAME]}"#)?;
    answer::serialized(&ask(site, move |knowledge| knowledge.search(&search)).await?)
}

pub(crate) async fn read(site: &Site, body: Body) -> Result<Response, Error> {
    let body = answer::read_body(body).await?;
    let read: Read = parse(&body, r#"{"passage": NUMBER} or {"path": PATH}"#)?;
    answer::serialized(&ask(site, move |knowledge| knowledge.read(&read)).await?)
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
