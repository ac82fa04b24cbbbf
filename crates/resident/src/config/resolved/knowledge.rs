//! How a person's files are read and found.

use std::collections::BTreeMap;

use super::{super::raw, Error, served::in_table};
use crate::limits::PREFIX_BYTES_MAX;

/// How a person's files are read and found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Knowledge {
    /// What models are given before what they embed, of those for which the file says something.
    pub(crate) prefixes: BTreeMap<String, Prefixes>,
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
pub(super) fn read(models: &BTreeMap<String, raw::Model>) -> Result<Knowledge, Error> {
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
    Ok(Knowledge { prefixes })
}
