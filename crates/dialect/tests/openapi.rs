//! The document and the golden cases say the same: what a decoder takes the document allows, and what an
//! encoder writes is described, to the last field.
//!
//! The cases are those of `golden.rs`, whose expected outcomes are read here again. Each folder of them has a row
//! in [`ROUTES`].

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use dialect::openapi::{Api, operations};
use jsonschema::Validator;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::openapi::Info;

/// A folder of cases, and how the document calls its request, its answer in one piece, and its errors.
struct Route {
    folder: &'static str,
    request: &'static str,
    whole: &'static str,
    /// What a stream consists of.
    chunk: &'static str,
    error: &'static str,
}

const fn route(
    folder: &'static str,
    request: &'static str,
    whole: &'static str,
    chunk: &'static str,
    error: &'static str,
) -> Route {
    Route { folder, request, whole, chunk, error }
}

const ROUTES: &[Route] = &[
    route("chat", "ChatRequest", "ChatAnswer", "ChatChunk", "OpenAiError"),
    route("responses", "ResponsesRequest", "Response", "ResponseEvent", "OpenAiError"),
    route("completion", "CompletionRequest", "CompletionAnswer", "CompletionChunk", "OpenAiError"),
    route("embedding", "EmbeddingRequest", "EmbeddingAnswer", "", "OpenAiError"),
    route("infill", "InfillRequest", "InfillAnswer", "InfillPart", "OpenAiError"),
    route("speech", "SpeechRequest", "", "", "OpenAiError"),
    route("vector_store", "VectorStoreSearch", "VectorStoreSearchAnswer", "", "OpenAiError"),
    route("image", "ImageRequest", "ImageAnswer", "", "OpenAiError"),
    route(
        "anthropic_messages",
        "AnthropicRequest",
        "AnthropicMessage",
        "AnthropicEvent",
        "AnthropicError",
    ),
    route("anthropic_count", "AnthropicCountRequest", "AnthropicCount", "", "AnthropicError"),
    route(
        "ollama_chat",
        "OllamaChatRequest",
        "OllamaChatAnswer",
        "OllamaChatAnswer",
        "OllamaError",
    ),
    route(
        "ollama_generate",
        "OllamaGenerateRequest",
        "OllamaGenerateAnswer",
        "OllamaGenerateAnswer",
        "OllamaError",
    ),
    route("ollama_embed", "OllamaEmbedRequest", "OllamaEmbedAnswer", "", "OllamaError"),
    route(
        "ollama_embeddings",
        "OllamaEmbeddingsRequest",
        "OllamaEmbeddingsAnswer",
        "",
        "OllamaError",
    ),
    // Its cases are asked of two routes each, with an outcome for either: `check_rank_case`.
    route("rerank", V1_RANK, "", "", "OpenAiError"),
    route("ollama_show", "OllamaShowRequest", "", "", "OllamaError"),
    route("ollama_pull", "OllamaPullRequest", "", "", "OllamaError"),
    route("ollama_create", "OllamaCreateRequest", "", "", "OllamaError"),
    route("ollama_copy", "OllamaCopyRequest", "", "", "OllamaError"),
    route("ollama_delete", "OllamaDeleteRequest", "", "", "OllamaError"),
];

/// Where the document has what the routes for ranking take and answer, which may be in either of two forms.
const V1_RANK: &str = "/paths/~1v1~1rerank/post";
const V2_RANK: &str = "/paths/~1v2~1rerank/post";

/// Behind a request or an answer.
const JSON: &str = "content/application~1json/schema";

/// What was asked. The events are not looked at: their bytes may be no text.
#[derive(Deserialize)]
struct Case {
    body: Option<Value>,
    #[serde(default)]
    raw: String,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn document() -> Value {
    let mut api = Api::default();
    api.extend(operations());
    serde_json::to_value(api.document(Info::new("test", "1"))).unwrap()
}

#[test]
fn the_document_is_true_to_every_golden_case() {
    let document = Document::new();
    for route in ROUTES {
        let mut cases = 0;
        for entry in fs::read_dir(fixtures().join(route.folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "json") {
                match route.request {
                    V1_RANK => document.check_rank_case(&path),
                    _ => document.check_case(route, &path),
                }
                cases += 1;
            }
        }
        assert!(cases > 0, "no cases of {}", route.folder);
    }
}

#[test]
fn every_folder_of_cases_is_held_against_the_document() {
    for entry in fs::read_dir(fixtures()).unwrap() {
        let folder = entry.unwrap().file_name().into_string().unwrap();
        assert!(ROUTES.iter().any(|route| route.folder == folder), "{folder} has no row in ROUTES");
    }
}

#[test]
fn all_references_lead_somewhere() {
    let document = document();
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    assert!(references.len() > 100, "only {} references", references.len());
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

fn collect_references(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            out.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| collect_references(value, out));
        }
        Value::Array(entries) => entries.iter().for_each(|value| collect_references(value, out)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Bounds that a description could get wrong in either direction.
#[test]
fn what_is_over_a_bound_is_over_it_in_the_document_too() {
    let document = Document::new();
    let chat = |more: Value| {
        let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "Hi" }] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let cases = [
        json!({}),
        json!({ "n": 16 }),
        json!({ "n": 17 }),
        json!({ "temperature": 10 }),
        json!({ "temperature": 10.5 }),
        json!({ "temperature": null }),
        json!({ "top_logprobs": 21, "logprobs": true }),
        json!({ "stop": vec!["x"; 16] }),
        json!({ "stop": vec!["x"; 17] }),
        json!({ "stop": "x".repeat(1025) }),
        json!({ "max_tokens": -1 }),
        json!({ "max_tokens": -2 }),
        json!({ "max_tokens": 0 }),
        json!({ "model": "" }),
        json!({ "model": "m".repeat(257) }),
        json!({ "messages": [] }),
        json!({ "tool_choice": "sometimes" }),
        json!({ "response_format": { "type": "xml" } }),
        json!({ "keep_alive": true }),
        json!({ "priority": "high" }),
        json!({ "logit_bias": { "5": 101 } }),
    ];
    for case in cases {
        let body = chat(case.clone());
        let taken = dialect::openai::chat::decode(body.to_string().as_bytes());
        let allowed = document.complaint("ChatRequest", &body, Closed::No);
        assert_eq!(taken.is_ok(), allowed.is_none(), "{case}: {taken:?}, {allowed:?}");
    }
}

/// Whether an object may have fields that are not described.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Closed {
    Yes,
    No,
}

struct Document {
    open: Value,
    closed: Value,
    /// Compiled once each.
    validators: RefCell<BTreeMap<(String, Closed), Validator>>,
}

impl Document {
    fn new() -> Self {
        let open = document();
        let mut closed = open.clone();
        close(&mut closed["components"]["schemas"]);
        Self { open, closed, validators: RefCell::default() }
    }

    fn check_case(&self, route: &Route, path: &Path) {
        let case: Case = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let outcome = fs::read_to_string(path.with_extension("txt")).unwrap();
        if let Some(refused) = outcome.strip_prefix("refused ") {
            let (_, error) = refused.split_once(": ").unwrap();
            return self.check(route.error, error, path);
        }
        let body = case.body.unwrap_or_else(|| serde_json::from_str(&case.raw).unwrap());
        let complaint = self.complaint(route.request, &body, Closed::No);
        assert_eq!(complaint, None, "{} is taken, but not by {}", path.display(), route.request);
        // A part of the answer, in a form that the request itself says.
        let is_partial = body.get("response_fields").is_some();
        for line in outcome.lines() {
            let is_object = |text: &&str| text.starts_with('{');
            if let Some(whole) = line.strip_prefix("whole ").filter(is_object) {
                if !is_partial {
                    self.check(route.whole, whole, path);
                }
            } else if let Some(chunk) = line.strip_prefix("chunk ").filter(is_object) {
                self.check_chunk(route, chunk, is_partial, path);
            } else if let Some(refused) = line.strip_prefix("refused ") {
                let (_, error) = refused.split_once(": ").unwrap();
                self.check(route.error, error, path);
            } else if let Some(failed) = line.strip_prefix("whole fails with ") {
                // In OpenAI's form, whoever asked.
                let (_, error) = failed.split_once(": ").unwrap();
                self.check("OpenAiError", error, path);
            }
        }
    }

    /// The same of a case that is asked of two routes, of which the second one's errors are Cohere's.
    fn check_rank_case(&self, path: &Path) {
        let case: Case = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let outcomes = fs::read_to_string(path.with_extension("txt")).unwrap();
        let (first, second) = outcomes.strip_prefix("V1\n").unwrap().split_once("\nV2\n").unwrap();
        for (route, outcome) in [(V1_RANK, first), (V2_RANK, second)] {
            let mut is_refused = false;
            for line in outcome.lines() {
                let (word, rest) = line.split_once(' ').unwrap();
                let error = rest.split_once(": ").map(|(_, error)| error);
                match word {
                    "Request" => {}
                    "refused" => {
                        is_refused = true;
                        self.check("OpenAiError", error.unwrap(), path);
                    }
                    "as" => {
                        self.check("CohereError", rest.strip_prefix("Cohere's ").unwrap(), path)
                    }
                    "whole" if rest.starts_with("fails") => {
                        self.check("OpenAiError", error.unwrap(), path);
                    }
                    "whole" => self.check(&format!("{route}/responses/200/{JSON}"), rest, path),
                    _ => panic!("{}: {line}", path.display()),
                }
            }
            if !is_refused {
                let asked = format!("{route}/requestBody/{JSON}");
                let complaint = self.complaint(&asked, case.body.as_ref().unwrap(), Closed::No);
                assert_eq!(complaint, None, "{} is taken, but not by {route}", path.display());
            }
        }
    }

    fn check_chunk(&self, route: &Route, chunk: &str, is_partial: bool, path: &Path) {
        let value: Value = serde_json::from_str(chunk).unwrap();
        if value.get("error").is_some() {
            return self.check(route.error, chunk, path);
        }
        // llama-server's last part is the answer.
        let is_last = route.folder == "infill" && value.get("stop") != Some(&false.into());
        match (is_last, is_partial) {
            (true, true) => {}
            (true, false) => self.check(route.whole, chunk, path),
            (false, _) => self.check(route.chunk, chunk, path),
        }
    }

    /// What an encoder wrote is described, and nothing else is in it.
    #[track_caller]
    fn check(&self, name: &str, written: &str, path: &Path) {
        let value = serde_json::from_str(written).unwrap();
        let complaint = self.complaint(name, &value, Closed::Yes);
        assert_eq!(complaint, None, "{}: {written} is no {name}", path.display());
    }

    /// What is wrong with a value, by the name of its shape or by where the document has it.
    fn complaint(&self, name: &str, value: &Value, closed: Closed) -> Option<String> {
        let mut validators = self.validators.borrow_mut();
        let key = (name.to_owned(), closed);
        let validator = validators.entry(key).or_insert_with(|| self.validator(name, closed));
        validator.validate(value).err().map(|error| format!("{}: {error}", error.instance_path()))
    }

    fn validator(&self, name: &str, closed: Closed) -> Validator {
        let document = match closed {
            Closed::Yes => &self.closed,
            Closed::No => &self.open,
        };
        let pointer = match name.starts_with('/') {
            true => name.to_owned(),
            false => format!("/components/schemas/{name}"),
        };
        assert!(document.pointer(&pointer).is_some(), "the document has no {pointer}");
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$ref": format!("#{pointer}"),
            "components": document["components"],
            "paths": document["paths"],
        });
        jsonschema::validator_for(&schema).unwrap()
    }
}

/// Objects with described fields have no others.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.values_mut().for_each(close);
            if fields.contains_key("properties") && !fields.contains_key("additionalProperties") {
                fields.insert("additionalProperties".to_owned(), false.into());
            }
        }
        Value::Array(entries) => entries.iter_mut().for_each(close),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
