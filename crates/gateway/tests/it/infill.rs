//! Filling in between two texts: llama-server's route for editors, and the fields of the others.

use serde_json::{Value, json};

use crate::client::Ask;
use crate::site::Site;

#[tokio::test]
async fn editors_are_answered_whole_or_as_a_stream() {
    let site = Site::new().await;
    let body = |stream: bool| {
        json!({ "model": "m", "input_prefix": "say 3", "input_suffix": ")", "prompt": "x",
                "input_extra": [{ "filename": "b.rs", "text": "fn b()" }], "stream": stream })
    };
    let whole = Ask::post("/infill", &body(false)).send(site.address).await;
    assert!(whole.headers.contains_key("x-resident-cache"));
    let whole = whole.ok();
    assert_eq!((&whole["content"], &whole["stop"]), (&json!("0 1 2 "), &json!(true)));
    assert_eq!((&whole["stop_type"], &whole["tokens_predicted"]), (&json!("eos"), &json!(3)));
    assert!(whole["timings"]["predicted_per_second"].is_f64(), "{whole}");

    let stream = Ask::post("/infill", &body(true)).send(site.address).await;
    assert_eq!(stream.headers["content-type"], "text/event-stream");
    let parts: Vec<Value> = stream
        .text
        .split_terminator("\n\n")
        .map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap())
        .collect();
    let text: String = parts.iter().map(|part| part["content"].as_str().unwrap()).collect();
    assert_eq!(text, "0 1 2 ");
    let stops: Vec<bool> = parts.iter().map(|part| part["stop"].as_bool().unwrap()).collect();
    assert_eq!(stops, [false, false, false, true]);
    site.ends().await;
}

#[tokio::test]
async fn a_suffix_is_heeded_in_the_other_dialects() {
    let site = Site::new().await;
    let body = json!({ "model": "m", "prompt": "say 2", "suffix": ")", "stream": false });
    let answer = Ask::post("/v1/completions", &body).send(site.address).await.ok();
    assert_eq!(answer["choices"][0]["text"], "0 1 ");
    let answer = Ask::post("/api/generate", &body).send(site.address).await.ok();
    assert_eq!(answer["response"], "0 1 ");
    // No model here says that it can.
    let unnamed = json!({ "input_prefix": "say 1", "input_suffix": ")" });
    let error = Ask::post("/infill", &unnamed).send(site.address).await.error(400);
    assert_eq!(error["param"], "model");
    let raw = json!({ "model": "m", "input_prefix": "a", "input_suffix": "b", "grammar": "start: \"x\"" });
    Ask::post("/infill", &raw).send(site.address).await.error(400);
    let error = Ask::post("/infill", &json!({ "model": "m" })).send(site.address).await.error(400);
    assert_eq!(error["param"], "input_prefix");
    site.ends().await;
}
