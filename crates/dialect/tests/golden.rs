//! Golden tests: what clients send, what it becomes, and what they hear, one file per case.
//!
//! `fixtures/<route>/<case>.json` holds a request body (or `raw` text that is no JSON) and the
//! events that a worker answers with; `<case>.txt` beside it is the expected outcome. After a
//! wanted change run with `UPDATE_EXPECT=1` and read the difference.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::{fmt::Write, fs, path::Path, sync::Arc, time::Duration};

use dialect::{
    Encode, Error,
    anthropic::{self, count, messages},
    llama_server::infill,
    ollama::{self, Ask, Form, embed},
    openai::{chat, completion, embedding, image, responses, speech, vector_store},
    rerank::{self, Route},
};
use expect_test::expect_file;
use serde::Deserialize;
use serde_json::{Value, json};
use worker_protocol::{Event, Generate, Sampling};

const ID: &str = "0123456789abcdef";
const CREATED_UNIX_S: u64 = 1_700_000_000;
const CREATED_AT: &str = "2023-11-14T22:13:20Z";
const LOAD: Duration = Duration::from_millis(3);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    /// The request as JSON, …
    body: Option<Value>,
    /// … or as it stands.
    raw: Option<String>,
    /// Choice and event, in order.
    #[serde(default)]
    events: Vec<(u32, Event)>,
}

impl Fixture {
    fn bytes(&self) -> Vec<u8> {
        match (&self.body, &self.raw) {
            (Some(body), None) => body.to_string().into_bytes(),
            (None, Some(raw)) => raw.clone().into_bytes(),
            (Some(_), Some(_)) | (None, None) => panic!("a fixture has either body or raw"),
        }
    }
}

#[track_caller]
fn check_all(route: &str, cases_min: usize, outcome: impl Fn(&Fixture, &mut String)) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(route);
    let mut cases = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let fixture: Fixture = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut seen = String::new();
        outcome(&fixture, &mut seen);
        expect_file![path.with_extension("txt")].assert_eq(&seen);
        cases += 1;
    }
    assert!(cases >= cases_min, "only {cases} cases in {}", folder.display());
}

#[test]
fn chat() {
    check_all("chat", 30, |fixture, out| match chat::decode(&fixture.bytes()) {
        Err(error) => refused(&error, out),
        Ok(request) => {
            let chat::Request { model, generates, stream, include_usage, .. } = &request;
            writeln!(out, "model {model}, stream {stream}, include_usage {include_usage}").unwrap();
            show_generates(generates, out);
            let mut encoder = chat::StreamEncoder::new(&request, ID, CREATED_UNIX_S, model);
            let (mut payloads, mut whole) =
                (Vec::new(), chat::WholeEncoder::new(&request, ID, CREATED_UNIX_S, model));
            for (choice, event) in &fixture.events {
                encoder.event(*choice, event, &mut payloads);
                whole.event(*choice, event);
            }
            encoder.finish(&mut payloads);
            show_answers(fixture, &payloads, whole.finish(), out);
        }
    });
}

#[test]
fn responses() {
    check_all("responses", 60, |fixture, out| {
        match responses::decode(&fixture.bytes(), &OneAnswer) {
            Err(error) => refused(&error, out),
            Ok(request) => responded(request, fixture, out),
        }
    });
}

/// What is kept of one earlier answer.
struct OneAnswer;

impl OneAnswer {
    fn turn() -> responses::Turn {
        let entry = |(id, item): (&str, Value)| responses::Entry {
            id: id.to_owned(),
            json: item.to_string(),
        };
        let said =
            json!({ "type": "message", "role": "user", "content": "Is it cold?", "id": "msg_in" });
        let output = [
            (
                "rs_1",
                json!({ "type": "reasoning", "id": "rs_1", "summary": [],
                             "content": [{ "type": "reasoning_text", "text": "I look." }] }),
            ),
            (
                "fc_1",
                json!({ "type": "function_call", "id": "fc_1", "call_id": "call_1",
                             "name": "look", "arguments": "{\"at\":\"door\"}" }),
            ),
        ];
        responses::Turn {
            answer: "resp_earlier".to_owned(),
            input: vec![entry(("msg_in", said))],
            output: output.map(entry).into(),
        }
    }
}

impl responses::Earlier for OneAnswer {
    fn answer(&self, id: &str) -> Option<Arc<responses::Kept>> {
        let turns = vec![Arc::new(Self::turn())];
        let kept = responses::Kept { id: id.to_owned(), response: "{}".to_owned(), turns };
        (id == "resp_earlier").then(|| Arc::new(kept))
    }

    fn item(&self, id: &str) -> Option<String> {
        let mut output = Self::turn().output.into_iter();
        output.find(|entry| entry.id == id).map(|entry| entry.json)
    }
}

fn responded(request: responses::Request, fixture: &Fixture, out: &mut String) {
    let responses::Request { model, generate, stream, wish, told } = request;
    let dialect::Wish { background, keep_alive, knowledge } = wish;
    writeln!(out, "model {model}, stream {stream}").unwrap();
    writeln!(out, "background {background}, keep_alive {keep_alive:?}, knowledge {knowledge:?}")
        .unwrap();
    show_generates(&[generate], out);
    let beginning = responses::Beginning::new(told, ID, CREATED_UNIX_S, &model);
    let mut encoder = responses::StreamEncoder::new(beginning.clone());
    let (mut events, mut whole) = (Vec::new(), responses::WholeEncoder::new(beginning));
    encoder.begun(None, LOAD);
    whole.served_by("served");
    for (choice, event) in &fixture.events {
        encoder.event(*choice, event, &mut events);
        whole.event(event);
    }
    let kept = encoder.kept();
    assert!(kept.is_none() || encoder.kept().is_none(), "it is kept once");
    encoder.finish(&mut events);
    let data: Vec<String> = events.iter().map(|event| data_of(event)).collect();
    let (whole, kept_too) = match whole.finish() {
        Ok((whole, kept)) => (Ok(whole), kept),
        Err(error) => (Err(error), None),
    };
    show_answers(fixture, &data, whole, out);
    assert_eq!(kept.is_some(), kept_too.is_some());
    if let Some(kept) = kept {
        let page = responses::Page::decode([("order", "asc")].into_iter()).unwrap();
        writeln!(out, "kept {} after {}", kept.id, kept.input_items(&page).unwrap()).unwrap();
    }
}

#[test]
fn completion() {
    check_all("completion", 10, |fixture, out| match completion::decode(&fixture.bytes()) {
        Err(error) => refused(&error, out),
        Ok(request) => {
            let model = &request.model;
            let completion::Request { choices_per_prompt, echo, stream, include_usage, .. } =
                &request;
            writeln!(out, "model {model}, stream {stream}, include_usage {include_usage}").unwrap();
            writeln!(out, "choices_per_prompt {choices_per_prompt}, echo {echo}").unwrap();
            show_generates(&request.generates, out);
            let mut encoder = completion::StreamEncoder::new(&request, ID, CREATED_UNIX_S, model);
            let (mut payloads, mut whole) =
                (Vec::new(), completion::WholeEncoder::new(&request, ID, CREATED_UNIX_S, model));
            for (choice, event) in &fixture.events {
                encoder.event(*choice, event, &mut payloads);
                whole.event(*choice, event);
            }
            encoder.finish(&mut payloads);
            show_answers(fixture, &payloads, whole.finish(), out);
        }
    });
}

#[test]
fn infill() {
    check_all("infill", 10, |fixture, out| match infill::decode(&fixture.bytes()) {
        Err(error) => refused(&error, out),
        Ok(request) => {
            let infill::Request { model, generate, stream, told, .. } = &request;
            writeln!(out, "model {model:?}, stream {stream}").unwrap();
            show_generates(std::slice::from_ref(generate), out);
            let mut encoder = infill::StreamEncoder::new("m", told.clone());
            let mut whole = infill::WholeEncoder::new("m", told.clone());
            whole.served_by("served");
            let mut payloads = Vec::new();
            for (_, event) in &fixture.events {
                encoder.event(0, event, &mut payloads);
                whole.event(event);
            }
            show_answers(fixture, &payloads, whole.finish(), out);
        }
    });
}

#[test]
fn embedding() {
    check_all("embedding", 8, |fixture, out| match embedding::decode(&fixture.bytes()) {
        Err(error) => refused(&error, out),
        Ok(request) => {
            writeln!(out, "{request:?}").unwrap();
            let mut whole = embedding::WholeEncoder::new(&request, &request.model);
            for (_, event) in &fixture.events {
                whole.event(event);
            }
            show_answers(fixture, &[], whole.finish(), out);
        }
    });
}

#[test]
fn rerank() {
    check_all("rerank", 20, |fixture, out| {
        for route in [Route::V1, Route::V2] {
            writeln!(out, "{route:?}").unwrap();
            match rerank::decode(route, &fixture.bytes()) {
                Err(error) => {
                    refused(&error, out);
                    writeln!(out, "as Cohere's {}", rerank::cohere_error(&error)).unwrap();
                }
                Ok(request) => {
                    writeln!(out, "{request:?}").unwrap();
                    let mut whole = rerank::WholeEncoder::new(&request, ID, "asked");
                    whole.served_by("served");
                    for (_, event) in &fixture.events {
                        whole.event(event);
                    }
                    show_answers(fixture, &[], whole.finish(), out);
                }
            }
        }
    });
}

#[test]
fn speech() {
    check_all("speech", 8, |fixture, out| match speech::decode(&fixture.bytes()) {
        Err(error) => refused(&error, out),
        Ok(request) => writeln!(out, "{request:?}").unwrap(),
    });
}

#[test]
fn image() {
    check_all("image", 8, |fixture, out| match image::decode(&fixture.bytes()) {
        Err(error) => refused(&error, out),
        Ok(request) => {
            writeln!(out, "{request:?}").unwrap();
            let pictures = vec![b"\x89PNG".to_vec(); request.images as usize];
            writeln!(out, "whole {}", image::answer(CREATED_UNIX_S, &pictures)).unwrap();
        }
    });
}

#[test]
fn vector_store() {
    check_all("vector_store", 20, |fixture, out| match vector_store::decode(&fixture.bytes()) {
        Err(error) => refused(&error, out),
        Ok(search) => {
            writeln!(out, "{search:?}").unwrap();
            let attributes =
                json!({ "path": "/notes/ships.md", "modified": 1_700_000_000, "page": 3 });
            let hit = vector_store::Hit {
                file: 7,
                filename: "ships.md".to_owned(),
                score: 0.5,
                attributes: attributes.as_object().unwrap().clone(),
                text: "The Vasa sank in 1628.".to_owned(),
            };
            let notes = ["only words count".to_owned()];
            writeln!(out, "whole {}", vector_store::found(&search.queries, vec![hit], &notes))
                .unwrap();
        }
    });
}

#[test]
fn ollama_chat() {
    check_all("ollama_chat", 30, |fixture, out| {
        ollama_answer(Form::Chat, ollama::chat::decode(&fixture.bytes()), fixture, out);
    });
}

#[test]
fn ollama_generate() {
    check_all("ollama_generate", 15, |fixture, out| {
        ollama_answer(Form::Generate, ollama::generate::decode(&fixture.bytes()), fixture, out);
    });
}

#[test]
fn ollama_embed() {
    check_all("ollama_embed", 10, |fixture, out| {
        ollama_vectors(embed::Form::Embed, fixture, out);
    });
}

#[test]
fn ollama_embeddings() {
    check_all("ollama_embeddings", 3, |fixture, out| {
        ollama_vectors(embed::Form::Embeddings, fixture, out);
    });
}

fn ollama_vectors(form: embed::Form, fixture: &Fixture, out: &mut String) {
    let request = match embed::decode(form, &fixture.bytes()) {
        Ok(request) => request,
        Err(error) => {
            writeln!(out, "refused {}: {}", error.status, ollama::error_body(&error)).unwrap();
            return;
        }
    };
    writeln!(out, "{request:?}").unwrap();
    if request.embed.inputs.is_empty() {
        writeln!(out, "whole {}", embed::loaded(form, &request.model, LOAD)).unwrap();
        return;
    }
    let mut whole = embed::WholeEncoder::new(form, &request, &request.model);
    whole.served_by(Some("served"), LOAD);
    for (_, event) in &fixture.events {
        whole.event(event);
    }
    show_answers(fixture, &[], whole.finish(), out);
}

#[test]
fn ollama_show() {
    check_all("ollama_show", 6, |fixture, out| {
        match ollama::model::decode_show(&fixture.bytes()) {
            Err(error) => {
                writeln!(out, "refused {}: {}", error.status, ollama::error_body(&error)).unwrap();
            }
            Ok(show) => writeln!(out, "{show:?}").unwrap(),
        }
    });
}

#[test]
fn ollama_pull() {
    check_all("ollama_pull", 8, |fixture, out| {
        bare(ollama::library::decode_pull(&fixture.bytes()), out);
    });
}

#[test]
fn ollama_create() {
    check_all("ollama_create", 20, |fixture, out| {
        bare(ollama::library::decode_create(&fixture.bytes()), out);
    });
}

#[test]
fn ollama_copy() {
    check_all("ollama_copy", 4, |fixture, out| {
        bare(ollama::library::decode_copy(&fixture.bytes()), out);
    });
}

#[test]
fn ollama_delete() {
    check_all("ollama_delete", 4, |fixture, out| {
        bare(ollama::library::decode_delete(&fixture.bytes()), out);
    });
}

/// What was read, of a route that no model answers.
fn bare(request: Result<impl std::fmt::Debug, Error>, out: &mut String) {
    match request {
        Err(error) => {
            writeln!(out, "refused {}: {}", error.status, ollama::error_body(&error)).unwrap();
        }
        Ok(request) => writeln!(out, "{request:#?}").unwrap(),
    }
}

fn ollama_answer(
    form: Form,
    request: Result<ollama::Request, Error>,
    fixture: &Fixture,
    out: &mut String,
) {
    let request = match request {
        Ok(request) => request,
        Err(error) => {
            writeln!(out, "refused {}: {}", error.status, ollama::error_body(&error)).unwrap();
            return;
        }
    };
    let ollama::Request { model, ask, stream, wish } = &request;
    writeln!(out, "model {model}, stream {stream}, keep_alive {:?}", wish.keep_alive).unwrap();
    let Ask::Generate(generate) = ask else {
        let is_unloaded = wish.keep_alive == Some(Duration::ZERO);
        let answer = ollama::loaded(form, CREATED_AT, model, is_unloaded);
        writeln!(out, "whole {answer}").unwrap();
        return;
    };
    show_generates(&[(**generate).clone()], out);
    let mut encoder = ollama::StreamEncoder::new(form, ID, CREATED_AT, model);
    let mut whole = ollama::WholeEncoder::new(form, ID, CREATED_AT, model);
    encoder.begun(None, LOAD);
    whole.served_by(Some("served"), LOAD);
    let mut lines = vec![encoder.nothing()];
    for (_, event) in &fixture.events {
        encoder.event(0, event, &mut lines);
        whole.event(event);
    }
    show_answers(fixture, &lines, whole.finish(), out);
}

#[test]
fn anthropic_messages() {
    check_all("anthropic_messages", 30, |fixture, out| match messages::decode(&fixture.bytes()) {
        Err(error) => refused_by_anthropic(&error, out),
        Ok(messages::Request { model, generate, stream, wish }) => {
            let dialect::Wish { background, keep_alive, knowledge } = wish;
            writeln!(out, "model {model}, stream {stream}").unwrap();
            writeln!(
                out,
                "background {background}, keep_alive {keep_alive:?}, knowledge {knowledge:?}"
            )
            .unwrap();
            show_generates(&[generate], out);
            let mut encoder = anthropic::StreamEncoder::new(ID, &model);
            let (mut events, mut whole) = (Vec::new(), anthropic::WholeEncoder::new(ID, &model));
            encoder.begun(None, LOAD);
            whole.served_by("served");
            for (choice, event) in &fixture.events {
                encoder.event(*choice, event, &mut events);
                whole.event(event);
            }
            encoder.finish(&mut events);
            let data: Vec<String> = events.iter().map(|event| data_of(event)).collect();
            show_answers(fixture, &data, whole.finish(), out);
        }
    });
}

/// The data of an event, whose name is their type.
fn data_of(event: &str) -> String {
    let (name, data) = event.split_once("\ndata: ").unwrap();
    let value: Value = serde_json::from_str(data).unwrap();
    assert_eq!(name.strip_prefix("event: "), value["type"].as_str(), "{event}");
    assert!(!data.contains('\n'), "{event}");
    data.to_owned()
}

#[test]
fn anthropic_count() {
    check_all("anthropic_count", 8, |fixture, out| match count::decode(&fixture.bytes()) {
        Err(error) => refused_by_anthropic(&error, out),
        Ok(count::Request { model, prompt, wish }) => {
            writeln!(out, "model {model}, keep_alive {:?}", wish.keep_alive).unwrap();
            let mut shown = json!(prompt);
            shorten_media(&mut shown);
            writeln!(out, "prompt {shown:#}").unwrap();
            for (_, event) in &fixture.events {
                match count::answer(event) {
                    Ok(answer) => writeln!(out, "whole {answer}").unwrap(),
                    Err(error) => refused_by_anthropic(&error, out),
                }
            }
        }
    });
}

fn refused_by_anthropic(error: &Error, out: &mut String) {
    let body = anthropic::error_body(error, Some("req_1"));
    writeln!(out, "refused {} at {:?}: {body}", error.status, error.param).unwrap();
}

fn refused(error: &Error, out: &mut String) {
    writeln!(out, "refused {}: {}", error.status, error.to_json()).unwrap();
}

/// Each choice's request, without what has its default.
fn show_generates(generates: &[Generate], out: &mut String) {
    let default = json!(Sampling::default());
    for generate in generates {
        let mut shown = json!(generate);
        let sampling = shown["sampling"].as_object_mut().unwrap();
        sampling.retain(|key, value| *value != default[key]);
        shorten_media(&mut shown["prompt"]);
        writeln!(out, "generate {shown:#}").unwrap();
    }
}

/// What a file begins with, instead of its bytes as a list of numbers.
fn shorten_media(prompt: &mut Value) {
    let messages = prompt.pointer_mut("/Chat/messages").and_then(Value::as_array_mut);
    for message in messages.into_iter().flatten() {
        for media in message.get_mut("media").and_then(Value::as_array_mut).into_iter().flatten() {
            let bytes: Vec<u8> = serde_json::from_value(media["bytes"].take()).unwrap();
            let begin = bytes[..bytes.len().min(4)].escape_ascii();
            media["bytes"] = format!("{} bytes: {begin}", bytes.len()).into();
        }
    }
}

fn show_answers(
    fixture: &Fixture,
    payloads: &[String],
    whole: Result<String, Error>,
    out: &mut String,
) {
    if fixture.events.is_empty() {
        return;
    }
    for payload in payloads {
        let _: Value = serde_json::from_str(payload).unwrap();
        writeln!(out, "chunk {payload}").unwrap();
    }
    match whole {
        Ok(whole) => {
            let _: Value = serde_json::from_str(&whole).unwrap();
            writeln!(out, "whole {whole}").unwrap();
        }
        Err(error) => {
            writeln!(out, "whole fails with {}: {}", error.status, error.to_json()).unwrap()
        }
    }
}
