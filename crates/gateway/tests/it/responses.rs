//! OpenAI's responses: events with names and numbers, answers that are kept, and what goes on from them.

use serde_json::{Value, json};

use crate::client::{Answer, Ask, time_flies};
use crate::roles::role;
use crate::site::{BUDGET_BYTES, Site, config};

/// An input of one text, which tells the fixture what to do.
fn create(said: &str, more: Value) -> Ask {
    ask("/v1/responses", said, more)
}

fn ask(path: &str, said: &str, more: Value) -> Ask {
    let mut body = json!({ "model": "m", "input": said });
    let Value::Object(more) = more else { panic!("{more} is no object") };
    body.as_object_mut().unwrap().extend(more);
    Ask::post(path, &body)
}

/// The data of all events, after checking that each is named by its type and numbered by its place. Comments
/// are left out.
#[track_caller]
fn events(text: &str) -> Vec<Value> {
    assert!(text.ends_with("\n\n"), "{text}");
    let event = |(number, event): (usize, &str)| {
        let (name, data) = event.split_once('\n').unwrap();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(name.strip_prefix("event: "), data["type"].as_str(), "{event}");
        assert_eq!(data["sequence_number"], number, "{event}");
        data
    };
    text.split_terminator("\n\n").enumerate().map(event).collect()
}

#[track_caller]
fn streamed(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    events(&answer.text)
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

fn text(response: &Value) -> &str {
    response["output"][0]["content"][0]["text"].as_str().unwrap()
}

#[tokio::test]
async fn an_answer_comes_whole() {
    let site = Site::new().await;
    let answer = create("say 3", json!({})).send(site.address).await;
    assert_eq!(answer.headers["x-resident-cache"], "none");
    let answer = answer.ok();
    assert!(answer["id"].as_str().unwrap().starts_with("resp_"), "{answer}");
    for (key, expected) in [
        ("object", json!("response")),
        ("status", json!("completed")),
        ("model", json!("m")),
        ("error", Value::Null),
        ("tools", json!([])),
        ("store", json!(true)),
    ] {
        assert_eq!(answer[key], expected, "{key}");
    }
    assert_eq!(text(&answer), "0 1 2 ");
    // Of nine tokens six were found.
    let answer = create("say 7", json!({})).send(site.address).await;
    assert_eq!(answer.headers["x-resident-cache"], "live=1, ram=2, ssd=3");
    let usage = json!({
        "input_tokens": 9,
        "input_tokens_details": { "cached_tokens": 6 },
        "output_tokens": 7,
        "output_tokens_details": { "reasoning_tokens": 0 },
        "total_tokens": 16,
    });
    assert_eq!(answer.ok()["usage"], usage);
    site.ends().await;
}

#[tokio::test]
async fn an_answer_streams_and_is_kept_before_its_end_is_told() {
    let site = Site::new().await;
    let answer = create("say 7", json!({ "stream": true })).send(site.address).await;
    assert_eq!(answer.headers["x-resident-cache"], "live=1, ram=2, ssd=3");
    let events = streamed(&answer);
    let texts = ["response.output_text.delta"; 7];
    let expected = [
        &[
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
        ][..],
        &texts,
        &[
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ],
    ]
    .concat();
    assert_eq!(names(&events), expected);
    let said: String = events.iter().filter_map(|event| event["delta"].as_str()).collect();
    let last = &events.last().unwrap()["response"];
    assert_eq!((&*said, text(last)), ("0 1 2 3 4 5 6 ", "0 1 2 3 4 5 6 "));
    let id = last["id"].as_str().unwrap();
    let kept = Ask::get(&format!("/v1/responses/{id}")).send(site.address).await.ok();
    assert_eq!(kept, *last);
    site.ends().await;
}

#[tokio::test]
async fn a_conversation_goes_on_from_what_is_kept() {
    let site = Site::new().await;
    let address = site.address;
    let first = create("say 2", json!({ "instructions": "Be brief." })).send(address).await.ok();
    let id = first["id"].as_str().unwrap();
    let more = json!({ "previous_response_id": id });
    let second = create("say 3", more.clone()).send(address).await.ok();
    assert_eq!((&second["previous_response_id"], text(&second)), (&json!(id), "0 1 2 "));
    let id = second["id"].as_str().unwrap();
    let items = Ask::get(&format!("/v1/responses/{id}/input_items?order=asc&limit=2"));
    let items = items.send(address).await.ok();
    assert_eq!(items["has_more"], true);
    let said: Vec<&Value> =
        items["data"].as_array().unwrap().iter().map(|item| &item["content"][0]["text"]).collect();
    assert_eq!(said, ["say 2", "0 1 "]);
    // How long the prompt is, is asked like the answer. The fixture counts what was said last.
    let counted = ask("/v1/responses/input_tokens", "say 3", more).send(address).await.ok();
    assert_eq!(counted, json!({ "object": "response.input_tokens", "input_tokens": 5 }));
    site.ends().await;
}

#[tokio::test]
async fn what_is_not_kept_is_not_there() {
    let site = Site::new().await;
    let address = site.address;
    let id_of = |answer: Value| answer["id"].as_str().unwrap().to_owned();
    let unkept = id_of(create("say 1", json!({ "store": false })).send(address).await.ok());
    let deleted = id_of(create("say 1", json!({})).send(address).await.ok());
    let delete = Ask::new("DELETE", &format!("/v1/responses/{deleted}"));
    let told = json!({ "id": deleted, "object": "response", "deleted": true });
    assert_eq!(delete.send(address).await.ok(), told);
    delete.send(address).await.error(404);
    for id in [&*unkept, &deleted, "resp_never", "../x"] {
        let path = format!("/v1/responses/{id}");
        let error = Ask::get(&path).send(address).await.error(404);
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(&format!("'{id}' not found")), "{message}");
        Ask::get(&format!("{path}/input_items")).send(address).await.error(404);
        let more = json!({ "previous_response_id": id });
        let error = create("say 1", more).send(address).await.error(400);
        assert_eq!(error["code"], "previous_response_not_found");
    }
    let reference = json!({ "input": [{ "type": "item_reference", "id": "msg_gone" }] });
    assert_eq!(create("", reference).send(address).await.error(404)["param"], "input[0]");
    let error = Ask::get("/v1/responses/x?stream=true").send(address).await.error(400);
    assert_eq!(error["param"], "stream");
    let cancel = Ask::post("/v1/responses/x/cancel", &json!({})).send(address).await;
    assert_eq!(cancel.headers["allow"], "GET, DELETE");
    cancel.error(405);
    // One that breaks off is not kept either.
    let dies = create("abort-mid-answer 2", json!({ "stream": true })).send(address).await;
    let id = streamed(&dies)[0]["response"]["id"].as_str().unwrap().to_owned();
    Ask::get(&format!("/v1/responses/{id}")).send(address).await.error(404);
    site.ends().await;
}

#[tokio::test]
async fn the_model_that_serves_a_role_is_named() {
    let models = [("m", 2048), ("chats", 2048)];
    let roles = role("daily", &["m", "chats"]);
    let site = Site::with_models(config(), &models, roles, BUDGET_BYTES).await;
    let answer = create("say 1", json!({ "model": "daily" })).send(site.address).await.ok();
    assert_eq!(answer["model"], "chats");
    let streamed_ask = create("say 1", json!({ "model": "daily", "stream": true }));
    let answer = streamed_ask.send(site.address).await;
    assert_eq!(streamed(&answer)[0]["response"]["model"], "chats");
    site.ends().await;
}

#[tokio::test]
async fn what_goes_wrong_is_a_status_or_the_last_event() {
    let site = Site::new().await;
    let address = site.address;
    let missing = Ask::post("/v1/responses", &json!({ "model": "m" }));
    assert_eq!(missing.send(address).await.error(400)["param"], "input");
    for stream in [false, true] {
        let unknown = create("say 1", json!({ "model": "mm", "stream": stream }));
        assert_eq!(unknown.send(address).await.error(404)["code"], "model_not_found");
    }
    let dies = create("abort-before-answer", json!({ "stream": true }));
    assert_eq!(dies.send(address).await.error(500)["type"], "server_error");
    let dies = create("abort-mid-answer 2", json!({ "stream": true })).send(address).await;
    let seen = streamed(&dies);
    let expected = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.failed",
    ];
    assert_eq!(names(&seen), expected);
    let response = &seen[6]["response"];
    assert_eq!(response["status"], "failed");
    assert_eq!((text(response), &response["output"][0]["status"]), ("0 1 ", &json!("incomplete")));
    let message = response["error"]["message"].as_str().unwrap();
    assert!(message.contains("'m'"), "{message}");
    site.ends().await;
}

#[tokio::test]
async fn silence_is_filled_with_comments_and_what_fails_behind_them_is_an_answer_that_failed() {
    let site = Site::new().await;
    let address = site.address;
    let silent = create("silence", json!({ "stream": true }));
    let opening = tokio::spawn(async move { silent.open(address).await });
    site.until_leased(1).await;
    let mut open = time_flies(opening).await.unwrap();
    assert_eq!(open.response.status(), 200);
    for _ in 0..3 {
        let comment = time_flies(open.piece()).await.unwrap();
        assert!(comment.starts_with(": ") && comment.ends_with('\n'), "{comment:?}");
    }
    let hub = site.hub.clone();
    let stopping = tokio::spawn(async move { hub.stop("m").await });
    let mut rest = String::new();
    while let Some(piece) = open.piece().await {
        rest.push_str(&piece);
    }
    let seen = events(&rest);
    let expected = ["response.created", "response.in_progress", "response.failed"];
    assert_eq!(names(&seen), expected);
    assert_eq!(seen[2]["response"]["output"], json!([]));
    stopping.await.unwrap().unwrap();
    site.ends().await;
}
