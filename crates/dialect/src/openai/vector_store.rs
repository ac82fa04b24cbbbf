//! Vector stores as OpenAI's clients know them: which there are, and passages that answer a query.
//!
//! A store is a collection of a person's own files, by its name. Files come to it from folders and leave with them, so
//! nothing is made, filled or deleted here; [`refused`] says how that is done.

mod filter;
mod page;

use serde::Serialize;
use serde_json::{Map, Value};

pub use filter::Filter;
pub use page::{Page, list};

use crate::{
    Error,
    limits::{FOUND_MAX, SEARCH_BYTES_MAX, SEARCHES_MAX},
    read::{self, Object, Path},
    write::to_json,
};

/// Passages that OpenAI gives where nobody says how many.
const FOUND_DEFAULT: u32 = 10;

/// Names of OpenAI's rankers, any of which leaves it to the hub.
const RANKERS: [&str; 4] = ["auto", "none", "default-2024-11-15", "default_2024_08_21"];

/// A collection, as a client sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Store {
    /// The name that requests use.
    pub id: String,
    /// Bytes of its files.
    pub bytes: u64,
    /// Files that can be found.
    pub files_done: u64,
    /// Files that could not be read.
    pub files_failed: u64,
    /// Files that are yet to be read.
    pub files_waiting: u64,
    /// Whether it is in step with the disk.
    pub is_in_step: bool,
    /// What else there is to say.
    pub metadata: Vec<(&'static str, String)>,
}

/// What is searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// Questions or words; a passage may answer any of them.
    pub queries: Vec<String>,
    /// How many passages are wanted.
    pub limit: u32,
    /// Which files they may be of.
    pub filter: Filter,
}

/// A passage that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The number of its file.
    pub file: u64,
    /// What its file is called.
    pub filename: String,
    /// How well it fits, to be compared within one answer only.
    pub score: f32,
    /// What else is known of it: texts, numbers and truths.
    pub attributes: Map<String, Value>,
    /// What it says.
    pub text: String,
}

/// Reads the body of `POST /v1/vector_stores/{id}/search`.
///
/// # Errors
/// Names the field that is wrong and what it should be, or that asks for what a hub cannot do.
pub fn decode(body: &[u8]) -> Result<Search, Error> {
    let mut fields = Object::new(&Path::Root, read::body(body)?)?;
    if fields.bool("rewrite_query")? == Some(true) {
        let why =
            "is true, and nobody rewrites queries here; leave it out, or have a model rewrite it";
        return Err(fields.path("rewrite_query").unsupported(why));
    }
    check_ranking(&mut fields)?;
    let limit = fields.integer("max_num_results", 1..=FOUND_MAX.into())?;
    let path = fields.path("filters");
    Ok(Search {
        limit: limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(FOUND_DEFAULT),
        filter: match fields.take("filters") {
            Some(filter) => Filter::decode(&path, filter)?,
            None => Filter::default(),
        },
        queries: queries(&mut fields)?,
    })
}

fn queries(fields: &mut Object<'_>) -> Result<Vec<String>, Error> {
    let path = fields.path("query");
    let one = |path: &Path<'_>, value| {
        let text = path.string(value)?;
        if text.trim().is_empty() {
            return Err(path.refuse("is empty; ask something, or name words"));
        }
        path.bytes_at_most(text.len(), SEARCH_BYTES_MAX)?;
        Ok(text)
    };
    match fields.take("query").ok_or_else(|| path.missing())? {
        Value::Array(list) if list.is_empty() => Err(path.refuse("must not be empty")),
        Value::Array(list) => {
            path.at_most(list.len(), SEARCHES_MAX)?;
            let entry = |(index, value)| one(&Path::Index(&path, index), value);
            list.into_iter().enumerate().map(entry).collect()
        }
        value @ Value::String(_) => Ok(vec![one(&path, value)?]),
        value @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => {
            Err(path.wrong("a string or a list of strings", &value))
        }
    }
}

/// What OpenAI lets a client say of the order. It is the hub's own here.
fn check_ranking(fields: &mut Object<'_>) -> Result<(), Error> {
    let path = fields.path("ranking_options");
    let Some(options) = fields.take("ranking_options") else { return Ok(()) };
    let mut options = Object::new(&path, options)?;
    let ranker = options.path("ranker");
    if let Some(name) = options.string("ranker")?
        && !RANKERS.contains(&&*name)
    {
        return Err(ranker.refuse(format_args!(
            "is {name:?}, and there is none of this name here; leave it out, or write \"auto\""
        )));
    }
    let threshold = options.path("score_threshold");
    if options.number("score_threshold", 0.0..=1.0)?.is_some_and(|least| least > 0.0) {
        return Err(threshold.unsupported(
            "is above 0, but scores here are to be compared within one answer only; leave it out, and take fewer with \
             max_num_results",
        ));
    }
    let weights = options.path("hybrid_search");
    match options.take("hybrid_search") {
        Some(_) => Err(weights.unsupported(
            "is there, but meaning and words are weighed by the hub, which knows its embedding model; leave it out",
        )),
        None => Ok(()),
    }
}

/// The answer to `GET /v1/vector_stores/{id}`.
#[must_use]
pub fn one(store: &Store) -> String {
    to_json(&Entry::new(store))
}

/// The answer to `POST /v1/vector_stores/{id}/search`. `notes` say how it was searched, where there is something to say.
#[must_use]
pub fn found(queries: &[String], hits: Vec<Hit>, notes: &[String]) -> String {
    #[derive(Serialize)]
    struct Answer<'a> {
        object: &'static str,
        search_query: &'a [String],
        data: Vec<Row>,
        has_more: bool,
        next_page: Option<()>,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        notes: &'a [String],
    }
    #[derive(Serialize)]
    struct Row {
        file_id: String,
        filename: String,
        score: f32,
        attributes: Map<String, Value>,
        content: [Content; 1],
    }
    #[derive(Serialize)]
    struct Content {
        r#type: &'static str,
        text: String,
    }
    let row = |hit: Hit| Row {
        file_id: format!("file-{}", hit.file),
        filename: hit.filename,
        score: hit.score,
        attributes: hit.attributes,
        content: [Content { r#type: "text", text: hit.text }],
    };
    to_json(&Answer {
        object: "vector_store.search_results.page",
        search_query: queries,
        data: hits.into_iter().map(row).collect(),
        has_more: false,
        next_page: None,
        notes,
    })
}

/// The error of whatever would make, fill, change or delete a store.
#[must_use]
pub fn refused() -> Error {
    let message = "vector stores here are collections of this machine's own files, kept in step with their folders; add \
                   files with: resident kb add, forget a collection with: resident kb rm, and read files with \
                   POST /api/knowledge/read";
    Error::new(404, message).code("unsupported_endpoint")
}

/// The error for a store that is not there.
#[must_use]
pub fn not_found(id: &str) -> Error {
    let message = format!(
        "no vector store is called {id:?}; GET /v1/vector_stores lists them, and resident kb add makes one"
    );
    Error::new(404, message).code("not_found")
}

/// A store as OpenAI tells of it.
#[derive(Serialize)]
struct Entry<'a> {
    id: &'a str,
    object: &'static str,
    created_at: u64,
    name: &'a str,
    usage_bytes: u64,
    file_counts: Counts,
    status: &'static str,
    expires_after: Option<()>,
    expires_at: Option<()>,
    last_active_at: Option<()>,
    metadata: Map<String, Value>,
}

#[derive(Serialize)]
struct Counts {
    in_progress: u64,
    completed: u64,
    failed: u64,
    cancelled: u64,
    total: u64,
}

impl<'a> Entry<'a> {
    fn new(store: &'a Store) -> Self {
        let Store { files_done, files_failed, files_waiting, .. } = *store;
        let pair = |(key, value): &(&str, String)| ((*key).to_owned(), Value::from(&**value));
        Self {
            id: &store.id,
            object: "vector_store",
            // Nobody notes when a collection was made.
            created_at: 0,
            name: &store.id,
            usage_bytes: store.bytes,
            file_counts: Counts {
                in_progress: files_waiting,
                completed: files_done,
                failed: files_failed,
                cancelled: 0,
                total: files_done.saturating_add(files_failed).saturating_add(files_waiting),
            },
            status: if store.is_in_step { "completed" } else { "in_progress" },
            expires_after: None,
            expires_at: None,
            last_active_at: None,
            metadata: store.metadata.iter().map(pair).collect(),
        }
    }
}
