//! `POST /v1/rerank` and its like: how well documents answer a query, in the forms of Jina, Cohere and,
//! where the documents are called `texts`, of Text Embeddings Inference (TEI).
//!
//! llama-server and vLLM speak Jina's form and Cohere's first version is like it. Into how many chunks a
//! document is cut (`max_chunks_per_doc`) and whether scores are squeezed (`raw_scores`) is left unread:
//! documents are read as one, and scores are what the model's head says, as llama-server gives them.

mod answer;

use serde_json::{Value, json};
use worker_protocol::Rank;

pub use answer::WholeEncoder;

use crate::{
    Error, Wish,
    limits::{RANK_DOCUMENTS_MAX, RANK_QUERY_BYTES_MAX},
    read::{self, Object, Path},
    request,
};

/// Tokens of a document that Cohere's second version reads where nobody says how many.
const COHERE_DOCUMENT_TOKENS: u32 = 4096;

/// A request to rank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Name of the model; clients that know one server with one model name none.
    pub model: Option<String>,
    /// What is wanted.
    pub rank: Rank,
    /// Whose form the answer has.
    pub form: Form,
    /// Documents that are told of, the best ones; `None` tells of all.
    pub top_n: Option<usize>,
    /// Whether documents are told with their scores.
    pub return_documents: bool,
    /// What it wishes beside the answer.
    pub wish: Wish,
}

/// Whose form an answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Jina's, which llama-server, vLLM and Cohere's first version have too.
    Jina,
    /// Cohere's second version.
    Cohere,
    /// That of Text Embeddings Inference.
    Tei,
}

/// Which of the routes was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// `/v1/rerank`, and the names that llama-server has for it.
    V1,
    /// `/v2/rerank`, which is Cohere's.
    V2,
}

/// Reads the body of a request.
///
/// # Errors
/// Names the field that is wrong and what it should be.
pub fn decode(route: Route, body: &[u8]) -> Result<Request, Error> {
    let mut fields = Object::new(&Path::Root, read::body(body)?)?;
    let is_named =
        |fields: &Object<'_>, key| fields.peek(key).is_some_and(|value| !value.is_null());
    let form = match route {
        Route::V2 => Form::Cohere,
        Route::V1 if is_named(&fields, "texts") && !is_named(&fields, "documents") => Form::Tei,
        Route::V1 => Form::Jina,
    };
    let (documents, returns) = match form {
        Form::Jina | Form::Cohere => ("documents", "return_documents"),
        Form::Tei => ("texts", "return_text"),
    };
    Ok(Request {
        model: request::word(&mut fields, "model")?,
        form,
        top_n: top_n(&mut fields)?,
        return_documents: fields.bool(returns)?.unwrap_or(false),
        wish: Wish::decode(&mut fields)?,
        rank: Rank {
            truncate: truncate(&mut fields, form)?,
            document_tokens_max: document_tokens_max(&mut fields, form)?,
            query: query(&mut fields)?,
            documents: texts(&mut fields, documents)?,
        },
    })
}

/// An error in Cohere's form.
#[must_use]
pub fn cohere_error(error: &Error) -> String {
    json!({ "message": error.message }).to_string()
}

fn top_n(fields: &mut Object<'_>) -> Result<Option<usize>, Error> {
    let count = fields.integer("top_n", 1..=u32::MAX.into())?;
    Ok(count.and_then(|count| usize::try_from(count).ok()))
}

/// Cohere cuts what is too long unasked; the others are asked to, by TEI's word or Jina's.
fn truncate(fields: &mut Object<'_>, form: Form) -> Result<bool, Error> {
    let said = match fields.bool("truncate")? {
        Some(said) => Some(said),
        None => fields.bool("truncation")?,
    };
    Ok(said.unwrap_or(form == Form::Cohere))
}

fn document_tokens_max(fields: &mut Object<'_>, form: Form) -> Result<Option<u32>, Error> {
    let said = fields.integer("max_tokens_per_doc", 1..=u32::MAX.into())?;
    let said = said.and_then(|tokens| u32::try_from(tokens).ok());
    Ok(said.or((form == Form::Cohere).then_some(COHERE_DOCUMENT_TOKENS)))
}

fn query(fields: &mut Object<'_>) -> Result<String, Error> {
    let path = fields.path("query");
    let query = text(&path, fields.take("query").ok_or_else(|| path.missing())?)?;
    if query.is_empty() {
        return Err(path.refuse("must not be an empty string"));
    }
    path.bytes_at_most(query.len(), RANK_QUERY_BYTES_MAX)?;
    Ok(query)
}

fn texts(fields: &mut Object<'_>, key: &str) -> Result<Vec<String>, Error> {
    let path = fields.path(key);
    let entries = fields.list(key, RANK_DOCUMENTS_MAX)?.ok_or_else(|| path.missing())?;
    if entries.is_empty() {
        return Err(path.refuse("must not be empty"));
    }
    let text = |(index, entry)| text(&Path::Index(&path, index), entry);
    entries.into_iter().enumerate().map(text).collect()
}

/// A text, or an object that holds one.
fn text(path: &Path<'_>, value: Value) -> Result<String, Error> {
    match value {
        Value::String(text) => Ok(text),
        Value::Object(mut fields) => match fields.swap_remove("text") {
            Some(text) => Path::Key(path, "text").string(text),
            None => Err(path.unsupported(
                "has no `text`, and models here rank nothing else; write {\"text\": \"...\"}, or the text \
                 itself",
            )),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            Err(path.wrong("a string, or an object with `text`", &value))
        }
    }
}
