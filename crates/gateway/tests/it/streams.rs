//! Streams: their form, their ends, and clients that vanish.

use serde_json::{Value, json};

use crate::client::{Answer, Ask, Open, time_flies, within};
use crate::site::Site;

fn stream(prompt: &str) -> Ask {
    Ask::completion(prompt, json!({ "stream": true }))
}

/// The JSON of every event, after checking the framing and the one end.
#[track_caller]
fn events(text: &str) -> Vec<Value> {
    let mut events: Vec<&str> = text.split_terminator("\n\n").collect();
    assert_eq!(events.pop(), Some("data: [DONE]"), "{text}");
    let payload = |event: &str| {
        let payload = event.strip_prefix("data: ").unwrap_or_else(|| panic!("{event}"));
        serde_json::from_str(payload).unwrap_or_else(|error| panic!("{error}: {payload}"))
    };
    events.into_iter().map(payload).collect()
}

fn text_of(events: &[Value], choice: u32) -> String {
    let choices = events.iter().filter_map(|event| event["choices"].get(0));
    let own = choices.filter(|seen| seen["index"] == choice);
    own.map(|seen| seen["text"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_stream_has_its_headers_its_pieces_and_one_end() {
    let site = Site::new().await;
    let answer: Answer = stream("say 3").send(site.address).await;
    assert_eq!(answer.status, 200);
    for (header, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache"),
        ("x-accel-buffering", "no"),
    ] {
        assert_eq!(answer.headers[header], value);
    }
    let events = events(&answer.text);
    assert_eq!(events.len(), 4, "three texts and the end: {}", answer.text);
    assert_eq!(text_of(&events, 0), "0 1 2 ");
    assert_eq!(events[3]["choices"][0]["finish_reason"], "stop");
    site.ends().await;
}

#[tokio::test]
async fn choices_share_a_stream_and_the_usage_ends_it() {
    let site = Site::new().await;
    let more = json!({ "stream": true, "n": 3, "stream_options": { "include_usage": true } });
    let answer = Ask::completion("say 100", more).send(site.address).await;
    let events = events(&answer.text);
    let whole: String = (0..100).map(|number| format!("{number} ")).collect();
    for choice in 0..3 {
        assert_eq!(text_of(&events, choice), whole);
    }
    let (last, others) = events.split_last().unwrap();
    assert_eq!(last["usage"]["completion_tokens"], 300);
    assert_eq!(last["choices"], json!([]));
    assert!(others.iter().all(|event| event.get("usage") == Some(&Value::Null)));
    site.ends().await;
}

#[tokio::test]
async fn what_fails_before_the_first_byte_has_a_real_status() {
    let site = Site::new().await;
    let unknown = json!({ "model": "mm", "prompt": "x", "stream": true });
    Ask::post("/v1/completions", &unknown).send(site.address).await.error(404);
    stream("abort-before-answer").send(site.address).await.error(500);
    Ask::completion("abort-mid-answer 2", json!({})).send(site.address).await.error(500);
    site.ends().await;
}

#[tokio::test]
async fn a_worker_that_dies_mid_stream_ends_it_with_an_error_and_is_replaced() {
    let site = Site::new().await;
    let answer = stream("abort-mid-answer 2").send(site.address).await;
    let seen = events(&answer.text);
    assert_eq!(text_of(&seen, 0), "0 1 ");
    let error = &seen.last().unwrap()["error"];
    assert_eq!((&error["type"], &error["code"]), (&json!("server_error"), &json!("engine_failed")));
    // With several choices too there is one error and one end.
    let many = json!({ "stream": true, "n": 2 });
    let answer = Ask::completion("abort-mid-answer 2", many).send(site.address).await;
    let errors = events(&answer.text).iter().filter(|event| event.get("error").is_some()).count();
    assert_eq!(errors, 1);
    let answer = stream("say 1").send(site.address).await;
    assert_eq!(text_of(&events(&answer.text), 0), "0 ");
    site.ends().await;
}

#[tokio::test]
async fn a_client_that_vanishes_mid_stream_is_cancelled() {
    let site = Site::new().await;
    let mut open: Open = stream("endless").open(site.address).await;
    assert!(open.piece().await.unwrap().starts_with("data: {"));
    site.until_leased(1).await;
    drop(open);
    site.until_leased(0).await;
    site.ends().await;
}

#[tokio::test]
async fn a_client_that_vanishes_before_any_answer_is_cancelled() {
    let site = Site::new().await;
    for ask in [stream("silence"), Ask::completion("silence", json!({ "n": 2 }))] {
        let address = site.address;
        let waiting = tokio::spawn(async move { ask.send(address).await });
        site.until_leased(1).await;
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
        site.until_leased(0).await;
    }
    site.ends().await;
}

#[tokio::test]
async fn one_who_does_not_read_holds_up_nobody() {
    let site = Site::new().await;
    let lazy = stream("endless").open(site.address).await;
    let answer = within(Ask::completion("say 50", json!({})).send(site.address)).await;
    assert_eq!(answer.ok()["usage"]["completion_tokens"], 50);
    drop(lazy);
    site.until_leased(0).await;
    site.ends().await;
}

#[tokio::test]
async fn silence_is_filled_with_comments() {
    let site = Site::new().await;
    let address = site.address;
    let opening = tokio::spawn(async move { stream("silence").open(address).await });
    site.until_leased(1).await;
    let mut open = time_flies(opening).await.unwrap();
    assert_eq!(open.response.status(), 200);
    for _ in 0..3 {
        assert_eq!(time_flies(open.piece()).await.as_deref(), Some(": ping\n"));
    }
    drop(open);
    site.until_leased(0).await;
    site.ends().await;
}

#[tokio::test]
async fn the_operators_stop_ends_a_stream_with_an_error() {
    let site = Site::new().await;
    let mut open = stream("endless").open(site.address).await;
    open.piece().await.unwrap();
    let hub = site.hub.clone();
    let stopping = tokio::spawn(async move { hub.stop("m").await });
    let mut text = String::new();
    while let Some(piece) = open.piece().await {
        text = piece;
    }
    assert!(text.contains("\"error\"") && text.ends_with("data: [DONE]\n\n"), "{text}");
    within(stopping).await.unwrap().unwrap();
    site.ends().await;
}
