//! Scores of a server: the request, and what it says of each document. Jina's form, which llama-server,
//! vLLM and infinity take, and that of Text Embeddings Inference (TEI).

use serde_json::Value;

use super::{BadPayload, Fields, count};

/// How a server is asked.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// The name that the server knows.
    pub model: &'a str,
    /// Fields that are left out.
    pub drops: &'a [String],
    /// Whether documents are called `texts`, as TEI calls them.
    pub texts: bool,
}

/// What is asked besides the documents.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// What is asked.
    pub query: &'a str,
    /// Whether documents that are too long are cut.
    pub truncate: bool,
    /// Tokens of a document that are read at most.
    pub document_tokens_max: Option<u32>,
}

/// The body that asks for the scores of these documents.
#[must_use]
pub fn rank(question: &Question<'_>, documents: &[String], asking: &Asking<'_>) -> Vec<u8> {
    let mut fields = Fields::new(asking.drops);
    fields.set("model", asking.model);
    fields.set("query", question.query);
    fields.set(if asking.texts { "texts" } else { "documents" }, documents);
    if asking.texts {
        // Else they are squeezed between 0 and 1.
        fields.set("raw_scores", true);
    } else {
        // Some tell of the best few alone unless told how many.
        fields.set("top_n", documents.len());
    }
    if question.truncate {
        fields.set("truncate", true);
    }
    if let Some(tokens) = question.document_tokens_max {
        fields.set("max_tokens_per_doc", tokens);
    }
    fields.into_body()
}

/// What a server computed.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// In the order of the documents.
    pub scores: Vec<f32>,
    /// Tokens of all of them, with the query; 0 where the server does not say.
    pub prompt_tokens: u32,
}

/// The scores in the answer to a request with so many documents.
///
/// # Errors
/// One is missing, or is no number.
pub fn scores(body: &[u8], documents: usize) -> Result<Scores, BadPayload> {
    let bad = |what: &str| BadPayload::new(what, body);
    let answer: Value = serde_json::from_slice(body)
        .map_err(|error| bad(&format!("what is not JSON ({error})")))?;
    let entries = answer.as_array().or_else(|| answer.get("results")?.as_array());
    let entries = entries.ok_or_else(|| bad("an answer without results"))?;
    let mut scores = vec![None; documents];
    for entry in entries {
        let index = entry.get("index").and_then(Value::as_u64);
        let place = index.and_then(|index| scores.get_mut(usize::try_from(index).ok()?));
        let place = place.ok_or_else(|| bad("a score of a document that nobody sent"))?;
        *place = Some(score(entry).ok_or_else(|| bad("what is no score"))?);
    }
    let scores: Option<Vec<f32>> = scores.into_iter().collect();
    let scores = scores.ok_or_else(|| bad("fewer scores than were asked for"))?;
    Ok(Scores { scores, prompt_tokens: tokens(&answer) })
}

fn score(entry: &Value) -> Option<f32> {
    let score = entry.get("relevance_score").or_else(|| entry.get("score"))?.as_f64()?;
    #[expect(clippy::cast_possible_truncation, reason = "scores are f32 here")]
    let score = score as f32;
    score.is_finite().then_some(score)
}

/// OpenAI's count, or Cohere's, which some call by the one name and some by the other.
fn tokens(answer: &Value) -> u32 {
    let places = ["/usage/prompt_tokens", "/usage/total_tokens", "/meta/tokens/input_tokens"];
    places.iter().find_map(|place| answer.pointer(place)).map_or(0, count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rerank::{self, Form, Route};

    const DOCUMENTS: usize = 2;

    fn body(asking: &Asking<'_>) -> Vec<u8> {
        let documents = ["a".to_owned(), "b".to_owned()];
        let question = Question { query: "q", truncate: true, document_tokens_max: Some(7) };
        rank(&question, &documents, asking)
    }

    #[test]
    fn another_hub_understands_the_request_in_both_forms() {
        for (texts, form) in [(false, Form::Jina), (true, Form::Tei)] {
            let asking = Asking { model: "m", drops: &[], texts };
            let read = rerank::decode(Route::V1, &body(&asking)).unwrap();
            assert_eq!((read.model.as_deref(), read.form), (Some("m"), form));
            assert_eq!((read.rank.query.as_str(), read.rank.truncate), ("q", true));
            assert_eq!(read.rank.documents, ["a", "b"]);
            assert_eq!(read.rank.document_tokens_max, Some(7));
        }
        let drops = ["top_n", "truncate", "max_tokens_per_doc"].map(str::to_owned);
        let bare = body(&Asking { model: "m", drops: &drops, texts: false });
        assert_eq!(bare, br#"{"model":"m","query":"q","documents":["a","b"]}"#);
    }

    #[test]
    fn scores_are_put_in_the_order_of_the_documents() {
        for (body, prompt_tokens) in [
            (
                r#"{"results":[{"index":1,"relevance_score":2},{"index":0,"relevance_score":-0.5}],
                    "usage":{"total_tokens":9}}"#,
                9,
            ),
            (r#"[{"index":1,"score":2},{"index":0,"score":-0.5}]"#, 0),
            (
                r#"{"results":[{"index":0,"relevance_score":-0.5},{"index":1,"relevance_score":2}],
                    "meta":{"tokens":{"input_tokens":4}}}"#,
                4,
            ),
        ] {
            let read = scores(body.as_bytes(), DOCUMENTS).unwrap();
            assert_eq!(read, Scores { scores: vec![-0.5, 2.0], prompt_tokens }, "{body}");
        }
    }

    #[test]
    fn an_answer_that_lacks_something_is_bad() {
        for (body, what) in [
            ("", "what is not JSON"),
            ("{}", "an answer without results"),
            ("[]", "fewer scores"),
            (r#"[{"index":0,"score":1}]"#, "fewer scores"),
            (r#"[{"index":2,"score":1}]"#, "a score of a document that nobody sent"),
            (r#"[{"score":1}]"#, "a score of a document that nobody sent"),
            (r#"[{"index":0,"score":"1"}]"#, "what is no score"),
            (r#"[{"index":0,"score":1e300}]"#, "what is no score"),
            (r#"[{"index":0}]"#, "what is no score"),
        ] {
            let error = scores(body.as_bytes(), DOCUMENTS).unwrap_err().to_string();
            assert!(error.starts_with(&format!("sent {what}")), "{body}: {error}");
        }
    }
}
