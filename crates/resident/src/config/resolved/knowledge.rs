//! How a person's files are read and found.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use hyper::Uri;
use supervisor::{Input, Tool};

use super::{
    super::{
        Machine, raw,
        secret::{self, Found},
    },
    Error,
    served::{Served, in_table},
};
use crate::limits::{OCR_PAGE_BYTES_MAX, PREFIX_BYTES_MAX};

/// How a person's files are read and found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Knowledge {
    /// What models are given before what they embed, of those for which the file says something.
    pub(crate) prefixes: BTreeMap<String, Prefixes>,
    /// What reads pages that are pictures of text: a PDF and the number of a page in, its text out.
    pub(crate) ocr: Option<Arc<Tool>>,
    /// The server that has the indexes; nothing where they are files of this machine.
    pub(crate) qdrant: Option<Qdrant>,
}

/// A server that has the indexes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Qdrant {
    /// Where it is.
    pub(crate) url: String,
    /// What it asks for.
    pub(crate) key: Option<String>,
}

/// All of it; `served` has the tools that it names, and takes notes.
///
/// # Errors
/// [`Error::Table`].
pub(super) fn read(
    raw: raw::Knowledge,
    prefixes: BTreeMap<String, Prefixes>,
    served: &mut Served,
    machine: &Machine,
    from_file: impl Fn(PathBuf) -> PathBuf,
) -> Result<Knowledge, Error> {
    let ocr = ocr(raw.ocr, &served.tools)?;
    let qdrant = qdrant(raw.qdrant, machine, from_file, &mut served.notes)?;
    Ok(Knowledge { prefixes, ocr, qdrant })
}

/// The server that `[knowledge.qdrant]` names. What is missing of its key is said and stops nothing.
///
/// # Errors
/// [`Error::Table`].
fn qdrant(
    raw: Option<raw::Qdrant>,
    machine: &Machine,
    from_file: impl Fn(PathBuf) -> PathBuf,
    notes: &mut Vec<String>,
) -> Result<Option<Qdrant>, Error> {
    let Some(raw) = raw else { return Ok(None) };
    let refused = |why: String| Error::Table(format!("[knowledge.qdrant] {why}"));
    let Some(url) = raw.url else {
        return Err(refused(
            "url is missing; write for example url = \"http://127.0.0.1:6334\"".to_owned(),
        ));
    };
    check_address(&url).map_err(refused)?;
    let (variable, file) = (raw.key_variable.as_deref(), raw.key_file.map(from_file));
    let found = secret::find(machine, raw.key.is_some(), variable, file.as_deref());
    let key = match found.map_err(refused)? {
        Found::Key(key) => Some(key),
        Found::Nowhere => None,
        Found::Missing(why) => {
            notes.push(format!("the Qdrant at {url} is asked without a key: {why}"));
            None
        }
    };
    Ok(Some(Qdrant { url, key }))
}

/// What a model is given before what it embeds; what is not said here is as is known of the model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Prefixes {
    /// Before a question.
    pub(crate) query: Option<String>,
    /// Before a passage.
    pub(crate) passage: Option<String>,
}

/// What the tables of models say of it.
///
/// # Errors
/// [`Error::Table`].
pub(super) fn prefixes(
    models: &BTreeMap<String, raw::Model>,
) -> Result<BTreeMap<String, Prefixes>, Error> {
    let mut prefixes = BTreeMap::new();
    for (name, model) in models {
        let (query, passage) = (model.query_prefix.clone(), model.passage_prefix.clone());
        for (key, prefix) in [("query_prefix", &query), ("passage_prefix", &passage)] {
            let bytes = prefix.as_ref().map_or(0, String::len);
            if bytes > PREFIX_BYTES_MAX {
                return Err(in_table("models", name)(format!(
                    "{key} has {bytes} bytes; it stands before each text, and may have {PREFIX_BYTES_MAX}"
                )));
            }
        }
        if query.is_some() || passage.is_some() {
            prefixes.insert(name.clone(), Prefixes { query, passage });
        }
    }
    Ok(prefixes)
}

/// Refuses what is no `http://HOST:PORT`.
fn check_address(url: &str) -> Result<(), String> {
    if url.contains('@') {
        return Err(
            "url has a name or password in front of the host, and this file is no place for one; \
                    name a key with key_variable or key_file"
                .to_owned(),
        );
    }
    let uri: Option<Uri> = url.parse().ok();
    let is_address = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && matches!(uri.path(), "" | "/")
    });
    if is_address {
        return Ok(());
    }
    Err(format!(
        "url '{url}' is no address; write http://HOST:PORT, for example http://127.0.0.1:6334"
    ))
}

/// The tool that `[knowledge]` names for pages that are pictures of text.
///
/// # Errors
/// [`Error::Table`].
fn ocr(name: Option<String>, tools: &BTreeMap<String, Tool>) -> Result<Option<Arc<Tool>>, Error> {
    let Some(name) = name else { return Ok(None) };
    let refused = |why: String| Error::Table(format!("[knowledge] ocr: {why}"));
    let Some(tool) = tools.get(&name) else {
        return Err(refused(format!("there is no tool '{name}'; make one: [tools.{name}]")));
    };
    if !matches!(&tool.input, Input::File { extension } if extension == "pdf") {
        let why = format!(
            "tool '{name}' takes no PDF; add {{input}} to its command, and input = \"pdf\""
        );
        return Err(refused(why));
    }
    if !tool.places().contains("page") {
        let why =
            format!("tool '{name}' does not say which page it reads; add {{page}} to its command");
        return Err(refused(why));
    }
    let mut tool = tool.clone();
    tool.output_bytes_max = tool.output_bytes_max.min(OCR_PAGE_BYTES_MAX);
    Ok(Some(Arc::new(tool)))
}
