//! The list of models, for Anthropic's clients.

use serde::Serialize;

use crate::write::to_json;

/// A model, as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The name that requests use.
    pub id: String,
    /// When it came to be, as RFC 3339 writes it; the time of its file.
    pub created_at: String,
}

/// The answer to `GET /v1/models`: all of them on one page.
#[must_use]
pub fn list(models: &[Model]) -> String {
    #[derive(Serialize)]
    struct List<'a> {
        data: Vec<Entry<'a>>,
        has_more: bool,
        first_id: Option<&'a str>,
        last_id: Option<&'a str>,
    }
    to_json(&List {
        data: models.iter().map(Entry::new).collect(),
        has_more: false,
        first_id: models.first().map(|model| &*model.id),
        last_id: models.last().map(|model| &*model.id),
    })
}

/// The answer to `GET /v1/models/{id}`.
#[must_use]
pub fn one(model: &Model) -> String {
    to_json(&Entry::new(model))
}

#[derive(Serialize)]
struct Entry<'a> {
    r#type: &'static str,
    id: &'a str,
    display_name: &'a str,
    created_at: &'a str,
}

impl<'a> Entry<'a> {
    fn new(model: &'a Model) -> Self {
        let Model { id, created_at } = model;
        Self { r#type: "model", id, display_name: id, created_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(id: &str) -> Model {
        Model { id: id.to_owned(), created_at: "2023-11-14T22:13:20Z".to_owned() }
    }

    #[test]
    fn the_list_has_anthropics_shape() {
        assert_eq!(
            list(&[model("qwen"), model("auto")]),
            concat!(
                r#"{"data":["#,
                r#"{"type":"model","id":"qwen","display_name":"qwen","created_at":"2023-11-14T22:13:20Z"},"#,
                r#"{"type":"model","id":"auto","display_name":"auto","created_at":"2023-11-14T22:13:20Z"}"#,
                r#"],"has_more":false,"first_id":"qwen","last_id":"auto"}"#,
            )
        );
        let nothing = r#"{"data":[],"has_more":false,"first_id":null,"last_id":null}"#;
        assert_eq!(list(&[]), nothing);
    }
}
