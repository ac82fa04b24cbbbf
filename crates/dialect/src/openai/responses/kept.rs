//! What is kept of answers, so that requests can go on from them and look at them.
//!
//! All of it is text: it takes as much memory as it has bytes, and turns are shared by the answers that
//! follow them. Not here: keeping it.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use crate::{Error, limits::INPUT_ITEMS_MAX, write::to_json};

/// What the id of an answer begins with.
pub(super) const ANSWER_PREFIX: &str = "resp_";

/// Looks up what was kept of earlier answers.
pub trait Earlier {
    /// The answer of this id.
    fn answer(&self, id: &str) -> Option<Arc<Kept>>;

    /// The item of this id, of any answer or its input, as JSON.
    fn item(&self, id: &str) -> Option<String>;
}

/// Nothing is kept.
impl Earlier for () {
    fn answer(&self, _id: &str) -> Option<Arc<Kept>> {
        None
    }

    fn item(&self, _id: &str) -> Option<String> {
        None
    }
}

/// An answer that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its id.
    pub id: String,
    /// All of it, as JSON.
    pub response: String,
    /// The conversation up to its end, oldest first. The last turn is its own.
    pub turns: Vec<Arc<Turn>>,
}

/// What was said to a model, and what it answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Id of the answer.
    pub answer: String,
    /// What was said.
    pub input: Vec<Entry>,
    /// What was answered.
    pub output: Vec<Entry>,
}

/// An item that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub id: String,
    /// All of it, as JSON.
    pub json: String,
}

/// What of a request is kept beside its answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Background {
    pub(super) earlier: Vec<Arc<Turn>>,
    pub(super) input: Vec<Value>,
}

impl Turn {
    /// The items whose ids were made here. Those derive from the answer's, which nobody knows before it is given.
    pub fn made(&self) -> impl Iterator<Item = &Entry> {
        let answer = self.answer.trim_start_matches(ANSWER_PREFIX);
        self.input.iter().chain(&self.output).filter(move |entry| entry.id.contains(answer))
    }

    /// About as many bytes as it takes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let entry = |entry: &Entry| size_of::<Entry>() + entry.id.len() + entry.json.len();
        let entries = self.input.iter().chain(&self.output).map(entry);
        size_of::<Self>() + self.answer.len() + entries.sum::<usize>()
    }
}

impl Kept {
    /// About as many bytes as it takes in memory, without what its turns say.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let turns = self.turns.len() * size_of::<Arc<Turn>>();
        size_of::<Self>() + self.id.len() + self.response.len() + turns
    }

    /// Everything that was said to the model before this answer, a page of it.
    ///
    /// # Errors
    /// The page begins behind an item that is not there.
    pub fn input_items(&self, page: &Page) -> Result<String, Error> {
        let own = self.turns.last().into_iter().flat_map(|turn| &turn.input);
        let before = self.turns.len().saturating_sub(1);
        let before = self.turns.iter().take(before);
        let before = before.flat_map(|turn| turn.input.iter().chain(&turn.output));
        let mut items: Vec<&Entry> = before.chain(own).collect();
        if !page.is_ascending {
            items.reverse();
        }
        if let Some(after) = &page.after {
            let at = items.iter().position(|item| item.id == *after).ok_or_else(|| {
                let message = format!("after is {after:?}, and the answer has no such input item");
                Error::invalid(message).at("after").code("invalid_value")
            })?;
            items.drain(..=at);
        }
        let has_more = items.len() > page.limit;
        items.truncate(page.limit);
        let data: Vec<&str> = items.iter().map(|item| &*item.json).collect();
        let edge = |item: Option<&&Entry>| to_json(&item.map(|item| &item.id));
        Ok(format!(
            r#"{{"object":"list","data":[{}],"first_id":{},"last_id":{},"has_more":{has_more}}}"#,
            data.join(","),
            edge(items.first()),
            edge(items.last()),
        ))
    }
}

/// Which of many items are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    limit: usize,
    is_ascending: bool,
    after: Option<String>,
}

impl Page {
    /// Reads the query of a request that looks at an answer.
    ///
    /// # Errors
    /// Names the field that is wrong and what it should be, or that asks for what is not kept.
    pub fn decode<'q>(query: impl Iterator<Item = (&'q str, &'q str)>) -> Result<Self, Error> {
        let mut page = Self { limit: 20, is_ascending: false, after: None };
        for (key, value) in query {
            let refuse = |why: &str| {
                let message = format!("{key} {why}, but it is {value:?}");
                Error::invalid(message).at(key).code("invalid_value")
            };
            match key {
                "limit" => {
                    let limit = value.parse().ok();
                    let limit = limit.filter(|limit| (1..=INPUT_ITEMS_MAX).contains(limit));
                    page.limit = limit.ok_or_else(|| {
                        refuse(&format!("must be a number from 1 to {INPUT_ITEMS_MAX}"))
                    })?;
                }
                "order" => {
                    page.is_ascending = match value {
                        "asc" => true,
                        "desc" => false,
                        _ => return Err(refuse("must be \"asc\" or \"desc\"")),
                    };
                }
                "after" => page.after = Some(value.to_owned()),
                "stream" if value == "true" => {
                    let message = "stream is true, and streams are not kept; leave it out to get the whole \
                                   answer";
                    return Err(Error::invalid(message).at(key).code("unsupported_value"));
                }
                _ => {}
            }
        }
        Ok(page)
    }
}

/// The error for an answer that is not kept (any more).
#[must_use]
pub fn not_found(id: &str) -> Error {
    Error::new(
        404,
        format!(
            "Response with id '{id}' not found. Answers are kept in memory only, the oldest go first, all go \
             when the hub stops, and those with store set to false are not kept at all"
        ),
    )
}

/// The answer to who had an answer thrown away.
#[must_use]
pub fn deleted(id: &str) -> String {
    #[derive(Serialize)]
    struct Deleted<'a> {
        id: &'a str,
        object: &'static str,
        deleted: bool,
    }
    to_json(&Deleted { id, object: "response", deleted: true })
}

/// An item of the input as it is shown: with its type and an id, and what is said as parts.
pub(super) fn shown(answer: &str, index: usize, item: Value) -> Entry {
    let Value::Object(mut fields) = item else {
        unreachable!("every item that was read is an object, but this is {item}");
    };
    let kind = match fields.get("type").and_then(Value::as_str) {
        Some(kind) => kind.to_owned(),
        None => "message".to_owned(),
    };
    fields.insert("type".to_owned(), kind.clone().into());
    if kind == "message"
        && let Some(Value::String(text)) = fields.get("content")
    {
        let said = fields.get("role").is_some_and(|role| role == "assistant");
        let part = match said {
            true => json!({ "type": "output_text", "text": text, "annotations": [] }),
            false => json!({ "type": "input_text", "text": text }),
        };
        fields.insert("content".to_owned(), Value::Array(vec![part]));
    }
    let id = match fields.get("id").and_then(Value::as_str).filter(|id| !id.is_empty()) {
        Some(id) => id.to_owned(),
        None => format!("{}_{answer}i{index}", prefix(&kind)),
    };
    fields.insert("id".to_owned(), id.clone().into());
    Entry { id, json: Value::Object(fields).to_string() }
}

/// What the ids of a kind of items begin with.
fn prefix(kind: &str) -> &'static str {
    match kind {
        "message" => "msg",
        "reasoning" => "rs",
        "function_call" => "fc",
        "function_call_output" => "fco",
        "custom_tool_call" => "ctc",
        "custom_tool_call_output" => "ctco",
        _ => "item",
    }
}
