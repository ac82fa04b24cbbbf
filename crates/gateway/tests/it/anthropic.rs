//! Anthropic's routes: events with names for a stream, its words for errors, and counting.

use gateway::Config;
use serde_json::{Value, json};

use crate::client::{Answer, Ask, time_flies};
use crate::roles::role;
use crate::site::{BUDGET_BYTES, Site, config};

/// A conversation of one message, which tells the fixture what to do.
fn messages(said: &str, more: Value) -> Ask {
    let body = json!({ "model": "m", "max_tokens": 64, "messages": conversation(said) });
    // As Claude Code asks.
    ask("/v1/messages?beta=true", body, more)
        .with("anthropic-version", "2023-06-01")
        .with("anthropic-beta", "some-beta-2099-01-01,another")
}

fn count(said: &str, more: Value) -> Ask {
    let body = json!({ "model": "m", "messages": conversation(said) });
    ask("/v1/messages/count_tokens", body, more)
}

fn conversation(said: &str) -> Value {
    json!([{ "role": "user", "content": [{ "type": "text", "text": said }] }])
}

fn ask(path: &str, mut body: Value, more: Value) -> Ask {
    let Value::Object(more) = more else { panic!("{more} is no object") };
    body.as_object_mut().unwrap().extend(more);
    Ask::post(path, &body)
}

/// The data of all events, after checking that each is named by its type.
#[track_caller]
fn events(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    let event = |event: &str| {
        let (name, data) = event.split_once('\n').unwrap();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(name.strip_prefix("event: "), data["type"].as_str(), "{event}");
        data
    };
    assert!(answer.text.ends_with("\n\n"), "{}", answer.text);
    answer.text.split_terminator("\n\n").map(event).collect()
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn its_clients_are_told_of_models_in_their_own_form() {
    let models = [("m", 2048), ("other", 512)];
    let site = Site::with_models(config(), &models, role("daily", &["m"]), BUDGET_BYTES).await;
    let ask = |path: &str| Ask::get(path).with("anthropic-version", "2023-06-01");
    let list = ask("/v1/models?limit=1000").send(site.address).await.ok();
    let ids: Vec<&Value> = list["data"].as_array().unwrap().iter().map(|m| &m["id"]).collect();
    assert_eq!(ids, ["m", "other", "daily", "auto"]);
    let m = json!({
        "type": "model", "id": "m", "display_name": "m", "created_at": "2023-11-14T22:13:20Z",
    });
    assert_eq!(list["data"][0], m);
    assert_eq!(
        (&list["has_more"], &list["first_id"], &list["last_id"]),
        (&json!(false), &json!("m"), &json!("auto"))
    );
    assert_eq!(ask("/v1/models/m").send(site.address).await.ok(), m);
    let error = ask("/v1/models/x").send(site.address).await.error(404);
    assert_eq!(error["type"], "not_found_error");
    // Everybody else hears what OpenAI would say.
    let list = Ask::get("/v1/models").send(site.address).await.ok();
    assert_eq!(list["data"][0]["object"], "model");
    site.ends().await;
}

#[tokio::test]
async fn an_answer_comes_whole() {
    let site = Site::new().await;
    let answer = messages("say 3", json!({})).send(site.address).await;
    assert_eq!(answer.headers["x-resident-cache"], "none");
    let answer = answer.ok();
    assert!(answer["id"].as_str().unwrap().starts_with("msg_"), "{answer}");
    for (key, expected) in [
        ("type", json!("message")),
        ("role", json!("assistant")),
        ("model", json!("m")),
        ("content", json!([{ "type": "text", "text": "0 1 2 " }])),
        ("stop_reason", json!("end_turn")),
        ("stop_sequence", Value::Null),
    ] {
        assert_eq!(answer[key], expected, "{key}");
    }
    assert_eq!(answer["usage"]["output_tokens"], 3);
    // Of nine tokens six were found, which are told beside the others.
    let answer = messages("say 7", json!({})).send(site.address).await;
    assert_eq!(answer.headers["x-resident-cache"], "live=1, ram=2, ssd=3");
    let usage = json!({
        "input_tokens": 3,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 6,
        "output_tokens": 7,
    });
    assert_eq!(answer.ok()["usage"], usage);
    site.ends().await;
}

#[tokio::test]
async fn an_answer_streams_as_events_with_names() {
    let site = Site::new().await;
    let answer = messages("say 7", json!({ "stream": true })).send(site.address).await;
    assert_eq!(answer.headers["x-resident-cache"], "live=1, ram=2, ssd=3");
    let events = events(&answer);
    let texts = ["content_block_delta"; 7];
    let expected = [
        &["message_start", "content_block_start"][..],
        &texts,
        &["content_block_stop", "message_delta", "message_stop"],
    ]
    .concat();
    assert_eq!(names(&events), expected);
    let begun = &events[0]["message"];
    assert_eq!((&begun["model"], &begun["content"]), (&json!("m"), &json!([])));
    let figures = |usage: &Value| {
        ["input_tokens", "cache_read_input_tokens", "output_tokens"]
            .map(|key| usage[key].as_u64().unwrap())
    };
    assert_eq!(figures(&begun["usage"]), [3, 6, 0]);
    let end = &events[events.len() - 2];
    assert_eq!(end["delta"], json!({ "stop_reason": "end_turn", "stop_sequence": null }));
    assert_eq!(figures(&end["usage"]), [3, 6, 7]);
    let text: String = events.iter().filter_map(|event| event["delta"]["text"].as_str()).collect();
    assert_eq!(text, "0 1 2 3 4 5 6 ");
    site.ends().await;
}

#[tokio::test]
async fn the_model_that_serves_a_role_is_named() {
    let models = [("m", 2048), ("chats", 2048)];
    let roles = role("daily", &["m", "chats"]);
    let site = Site::with_models(config(), &models, roles, BUDGET_BYTES).await;
    let asked = json!({ "model": "daily" });
    let answer = messages("say 1", asked.clone()).send(site.address).await.ok();
    assert_eq!(answer["model"], "chats");
    let streamed = json!({ "model": "daily", "stream": true });
    let answer = messages("say 1", streamed).send(site.address).await;
    assert_eq!(events(&answer)[0]["message"]["model"], "chats");
    let counted = count("say 1", asked).send(site.address).await.ok();
    assert_eq!(counted, json!({ "input_tokens": 5 }));
    site.ends().await;
}

#[tokio::test]
async fn tokens_are_counted_and_not_answered() {
    let site = Site::new().await;
    for said in ["endless", "abort-before-answer", "say 1000000"] {
        let counted = count(said, json!({ "system": "Be brief." })).send(site.address).await.ok();
        assert_eq!(counted, json!({ "input_tokens": said.len() }));
    }
    let metrics = Ask::get("/metrics").send(site.address).await.text;
    for line in [
        "resident_requests_total{route=\"/v1/messages/count_tokens\",status=\"200\"} 3",
        "resident_prompt_tokens_total 0",
    ] {
        assert!(metrics.lines().any(|seen| seen == line), "no {line} in:\n{metrics}");
    }
    let error = count("x", json!({ "model": "mm" })).send(site.address).await.error(404);
    assert_eq!(error["type"], "not_found_error");
    let error = count("x", json!({ "messages": [] })).send(site.address).await.error(400);
    assert_eq!(error["message"], "messages must hold at least one message");
    site.ends().await;
}

#[tokio::test]
async fn what_goes_wrong_is_told_in_its_words() {
    let site = Site::new().await;
    let kind = |answer: Answer, status| answer.error(status)["type"].clone();
    let address = site.address;
    let missing = Ask::post("/v1/messages", &json!({ "model": "m", "messages": [] }));
    let error = missing.send(address).await.error(400);
    assert_eq!(
        (&error["type"], &error["message"]),
        (&json!("invalid_request_error"), &json!("max_tokens is required"),)
    );
    let unknown = messages("say 1", json!({ "model": "mm", "stream": true }));
    assert_eq!(kind(unknown.send(address).await, 404), "not_found_error");
    let nothing = Ask::post("/v1/messages/batches", &json!({}));
    assert_eq!(kind(nothing.send(address).await, 404), "not_found_error");
    let method = Ask::get("/v1/messages").send(address).await;
    assert_eq!(method.headers["allow"], "POST");
    assert_eq!(kind(method, 405), "invalid_request_error");
    let foreign = messages("say 1", json!({})).with("host", "rebound.example");
    assert_eq!(kind(foreign.send(address).await, 421), "invalid_request_error");
    // Before the first event with a status, behind it as an event, which is the last.
    let dies = messages("abort-before-answer", json!({ "stream": true }));
    assert_eq!(kind(dies.send(address).await, 500), "api_error");
    let dies = messages("abort-mid-answer 2", json!({ "stream": true })).send(address).await;
    let seen = events(&dies);
    let expected = [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "error",
    ];
    assert_eq!(names(&seen), expected);
    let error = &seen[4]["error"];
    assert_eq!(error["type"], "api_error");
    assert!(error["message"].as_str().unwrap().contains("'m'"), "{error}");
    site.ends().await;
}

#[tokio::test]
async fn a_hub_that_is_full_says_when_to_try_again() {
    let models = [("m", 2048), ("other", 2048)];
    let site = Site::with_models(config(), &models, role("daily", &["m"]), 80_000_000).await;
    site.hub.pin("other", Some(true)).await.unwrap();
    Ask::completion("say 1", json!({ "model": "other" })).send(site.address).await.ok();
    for stream in [false, true] {
        let answer = messages("say 1", json!({ "stream": stream })).send(site.address).await;
        assert_eq!(answer.headers["retry-after"], "1");
        assert_eq!(answer.error(503)["type"], "overloaded_error");
    }
    site.ends().await;
}

#[tokio::test]
async fn a_key_is_taken_in_both_headers() {
    let site = Site::with(Config { key: Some("s3cret".to_owned()), ..config() }).await;
    let error = messages("say 1", json!({})).send(site.address).await.error(401);
    assert_eq!(error["type"], "authentication_error");
    for (header, value) in [("x-api-key", "s3cret"), ("authorization", "Bearer s3cret")] {
        messages("say 1", json!({})).with(header, value).send(site.address).await.ok();
    }
    site.ends().await;
}

#[tokio::test]
async fn silence_is_filled_with_pings() {
    let site = Site::new().await;
    let address = site.address;
    let silent = messages("silence", json!({ "stream": true }));
    let opening = tokio::spawn(async move { silent.open(address).await });
    site.until_leased(1).await;
    let mut open = time_flies(opening).await.unwrap();
    assert_eq!(open.response.status(), 200);
    for _ in 0..3 {
        let ping = "event: ping\ndata: {\"type\": \"ping\"}\n\n";
        assert_eq!(time_flies(open.piece()).await.as_deref(), Some(ping));
    }
    // What fails behind them is an event too.
    let hub = site.hub.clone();
    let stopping = tokio::spawn(async move { hub.stop("m").await });
    let mut text = String::new();
    while let Some(piece) = open.piece().await {
        text = piece;
    }
    assert!(text.starts_with("event: error\ndata: {\"type\":\"error\",") && text.ends_with("\n\n"));
    stopping.await.unwrap().unwrap();
    site.ends().await;
}
