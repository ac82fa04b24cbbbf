//! Answers held to a schema: from a model with random weights, which would never find to JSON by itself,
//! and from one that chats, in every form that clients ask for it, streamed and whole.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::hub::{self, Hub};
use crate::made;

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";
const OLLAMA_CHAT: &str = "/api/chat";
const OLLAMA_GENERATE: &str = "/api/generate";

/// A hub with the demo model and one that says anything at all.
fn start() -> Hub {
    let demo = format!("demo={}", hub::demo().display());
    let random = format!("random={}", random().display());
    Hub::start(&["--model", &demo, "--model", &random, "--context", "4096"])
}

fn random() -> PathBuf {
    made::model(
        "llama-tiny-q8_0",
        &["--arch", "llama", "--like", "tiny", "--quant", "q8_0", "--seed", "1"],
    )
}

/// As long as noise can be in the schema: white space of 64 characters may stand in each of its 22 gaps.
const ANSWER_TOKENS: u32 = 2000;

/// Bounded, so that noise comes to its end.
fn person() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": { "type": "string", "maxLength": 20 },
            "age": { "type": "integer", "minimum": 0, "maximum": 150 },
            "kind": { "enum": ["friend", "colleague", "陌生人"] },
            "scores": { "type": "array", "items": { "type": "boolean" }, "minItems": 1, "maxItems": 3 },
        },
        "required": ["name", "age", "kind", "scores"],
        "additionalProperties": false,
    })
}

#[track_caller]
fn check_person(text: &str) {
    let value: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text:?}"));
    let fields = value.as_object().unwrap();
    assert_eq!(fields.len(), 4, "{text}");
    assert!(value["name"].as_str().is_some_and(|name| name.chars().count() <= 20), "{text}");
    assert!(value["age"].as_u64().is_some_and(|age| age <= 150), "{text}");
    let kinds = ["friend", "colleague", "陌生人"];
    assert!(value["kind"].as_str().is_some_and(|kind| kinds.contains(&kind)), "{text}");
    let scores = value["scores"].as_array().unwrap();
    assert!((1..=3).contains(&scores.len()) && scores.iter().all(Value::is_boolean), "{text}");
}

fn with(mut body: Value, changes: &Value) -> Value {
    for (key, value) in changes.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

fn asked(model: &str) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": "Who is it?" }] })
}

fn openai_format() -> Value {
    json!({ "type": "json_schema", "json_schema": { "name": "person", "schema": person() } })
}

#[test]
fn openais_clients_get_what_the_schema_says() {
    let hub = start();
    for temperature in [0.0, 1.5] {
        let changes = json!({
            "response_format": openai_format(), "temperature": temperature, "max_tokens": ANSWER_TOKENS,
        });
        let body = with(asked("demo"), &changes);
        let answer = hub.post(CHAT, &body).ok();
        let choice = &answer["choices"][0];
        check_person(choice["message"]["content"].as_str().unwrap());
        assert_eq!(choice["finish_reason"], "stop");

        let events = hub.stream(CHAT, &with(body, &json!({ "stream": true }))).events();
        let pieces = events.iter().filter_map(|e| e["choices"][0]["delta"]["content"].as_str());
        check_person(&pieces.collect::<String>());
    }
}

#[test]
fn a_model_of_noise_keeps_to_a_schema_in_each_of_several_choices() {
    let hub = start();
    let body = json!({
        "model": "random", "prompt": "Who is it?", "json_schema": person(), "n": 6, "seed": 1,
        "temperature": 2.0, "top_k": 0, "top_p": 1, "min_p": 0, "max_tokens": ANSWER_TOKENS,
    });
    let answer = hub.post(COMPLETIONS, &body).ok();
    let texts: Vec<&str> =
        answer["choices"].as_array().unwrap().iter().filter_map(|c| c["text"].as_str()).collect();
    assert_eq!(texts.len(), 6);
    texts.iter().for_each(|text| check_person(text));
    assert!(texts.iter().any(|text| *text != texts[0]), "it is drawn: {texts:?}");
}

/// Each sampler takes what is forbidden for what it is.
#[test]
fn every_sampler_keeps_to_the_schema() {
    let hub = start();
    for sampler in [
        json!({ "temperature": 0 }),
        json!({ "top_k": 1 }),
        json!({ "top_k": 0, "min_p": 0.5 }),
        json!({ "typical_p": 0.5 }),
        json!({ "mirostat": 1 }),
        json!({ "mirostat": 2 }),
        json!({ "xtc_probability": 1, "xtc_threshold": 0.05 }),
        json!({ "repeat_penalty": 1.5, "presence_penalty": 2, "dry_multiplier": 1 }),
        json!({ "logit_bias": { "5": 100, "300": 100, "1000": 100 } }),
    ] {
        let body = json!({
            "model": "random", "prompt": "Who?", "json_schema": person(), "max_tokens": ANSWER_TOKENS,
            "seed": 3,
        });
        let answer = hub.post(COMPLETIONS, &with(body, &sampler)).ok();
        check_person(answer["choices"][0]["text"].as_str().unwrap());
    }
}

#[test]
fn ollamas_clients_get_what_the_schema_says() {
    let hub = start();
    let options = json!({ "options": { "temperature": 0.9, "num_predict": ANSWER_TOKENS }, "format": person() });
    let whole = json!({ "stream": false });
    let body = with(asked("demo"), &options);
    let answer = hub.post(OLLAMA_CHAT, &with(body.clone(), &whole)).ok();
    check_person(answer["message"]["content"].as_str().unwrap());
    assert_eq!(answer["done_reason"], "stop");

    let lines = hub.post(OLLAMA_CHAT, &body).text();
    let piece = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["message"]["content"].as_str().unwrap_or_default().to_owned()
    };
    check_person(&lines.lines().map(piece).collect::<String>());

    let body = with(json!({ "model": "random", "prompt": "Who?", "raw": true }), &options);
    let answer = hub.post(OLLAMA_GENERATE, &with(body, &whole)).ok();
    check_person(answer["response"].as_str().unwrap());
}

#[test]
fn any_object_is_json_too() {
    let hub = start();
    let body = with(
        asked("demo"),
        &json!({ "response_format": { "type": "json_object" }, "temperature": 0, "max_tokens": 400 }),
    );
    let answer = hub.post(CHAT, &body).ok();
    let choice = &answer["choices"][0];
    let text = choice["message"]["content"].as_str().unwrap();
    assert!(text.starts_with('{'), "{text:?}");
    if choice["finish_reason"] == "stop" {
        let value: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text:?}"));
        assert!(value.is_object());
    }
}

#[test]
fn what_cannot_be_enforced_is_refused_by_field_and_reason_and_costs_nobody_anything() {
    let hub = start();
    let format = |schema: Value| json!({ "response_format": { "type": "json_schema", "json_schema": { "schema": schema } } });
    for stream in [false, true] {
        let changes = format(json!({ "type": "object", "not": { "required": ["a"] } }));
        let body = with(with(asked("demo"), &changes), &json!({ "stream": stream }));
        let error = hub.post(CHAT, &body).error(400);
        assert_eq!(error["param"], "response_format.json_schema.schema");
        assert!(error["message"].as_str().unwrap().contains("not"), "{error}");
    }
    let mut deep = json!({ "type": "string" });
    for _ in 0..50 {
        deep = json!({ "items": deep });
    }
    let error = hub.post(CHAT, &with(asked("demo"), &format(deep))).error(400);
    assert!(error["message"].as_str().unwrap().contains("levels"), "{error}");
    let huge =
        json!({ "type": "array", "minItems": 1_000_000_000, "items": { "multipleOf": 9_999_991 } });
    hub.post(CHAT, &with(asked("demo"), &format(huge))).error(400);

    let error =
        hub.post(CHAT, &with(asked("demo"), &json!({ "grammar": "start: \"a\"" }))).error(400);
    assert_eq!(error["param"], "grammar");
    let answer = hub.post(OLLAMA_CHAT, &with(asked("demo"), &json!({ "format": "xml" })));
    assert_eq!(answer.status, 400);
    assert!(answer.json()["error"].as_str().unwrap().contains("format"));

    let body = with(
        asked("demo"),
        &json!({ "response_format": openai_format(), "max_tokens": ANSWER_TOKENS }),
    );
    let answer = hub.post(CHAT, &body).ok();
    check_person(answer["choices"][0]["message"]["content"].as_str().unwrap());
}

#[cfg(unix)]
#[test]
fn a_grammar_is_taken_where_the_configuration_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("raw_grammars = true\n[models.random]\npath = '{}'\n", random().display());
    let hub = Hub::configured(folder.path(), &text);
    let body = json!({ "model": "random", "prompt": "?", "grammar": "start: \"yes\" | \"no\"" });
    let answer = hub.post(COMPLETIONS, &body).ok();
    let text = answer["choices"][0]["text"].as_str().unwrap();
    assert!(["yes", "no"].contains(&text), "{text:?}");
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    let gbnf = with(body, &json!({ "grammar": "root ::= \"yes\"" }));
    let error = hub.post(COMPLETIONS, &gbnf).error(400);
    assert!(error["message"].as_str().unwrap().contains("GBNF"), "{error}");
}
