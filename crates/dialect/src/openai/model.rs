//! The list of models.

use serde::Serialize;

use crate::write::to_json;

/// A model, as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The name that requests use.
    pub id: String,
    /// When it came to be, in seconds since 1970; the time of its file.
    pub created_unix_s: u64,
}

/// The answer to `GET /v1/models`.
#[must_use]
pub fn list(models: &[Model]) -> String {
    #[derive(Serialize)]
    struct List<'a> {
        object: &'static str,
        data: Vec<Entry<'a>>,
    }
    to_json(&List { object: "list", data: models.iter().map(Entry::new).collect() })
}

/// The answer to `GET /v1/models/{id}`.
#[must_use]
pub fn one(model: &Model) -> String {
    to_json(&Entry::new(model))
}

#[derive(Serialize)]
struct Entry<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
}

impl<'a> Entry<'a> {
    fn new(model: &'a Model) -> Self {
        Self { id: &model.id, object: "model", created: model.created_unix_s, owned_by: "resident" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_openais_shape() {
        let model = Model { id: "qwen".to_owned(), created_unix_s: 7 };
        assert_eq!(
            list(&[model]),
            r#"{"object":"list","data":[{"id":"qwen","object":"model","created":7,"owned_by":"resident"}]}"#
        );
    }
}
