//! Requests for roles, and what requests may wish beside their answer.

use std::{collections::BTreeMap, fs, time::Instant};

use gateway::control::{self, RoleRow};
use planner::roles::{Candidate, Role, check};
use serde_json::{Value, json};
use supervisor::{ResidentState, Roles};

use crate::client::{Ask, DEADLINE, time_flies, within};
use crate::site::{BUDGET_BYTES, Site, WEIGHTS_BYTES, config};

/// One role of this name.
pub(crate) fn role(name: &str, models: &[&str]) -> Roles {
    let candidates = models.iter().map(|model| Candidate::new(*model)).collect();
    let role = Role { candidates, prefer_resident: None };
    check(BTreeMap::from([(name.to_owned(), role)]), models).unwrap()
}

/// A site whose role `daily` has these models in this order.
async fn site(models: &[(&str, u32)]) -> Site {
    let names: Vec<&str> = models.iter().map(|(name, _)| *name).collect();
    Site::with_models(config(), models, role("daily", &names), BUDGET_BYTES).await
}

fn ask(model: &str, prompt: &str, more: Value) -> Ask {
    let mut body = json!({ "model": model, "prompt": prompt });
    let Value::Object(more) = more else { panic!("{more} is no object") };
    body.as_object_mut().unwrap().extend(more);
    Ask::post("/v1/completions", &body)
}

impl Site {
    /// Waits until a model is being loaded and has said how far it is.
    async fn until_loading(&self) {
        let deadline = Instant::now() + DEADLINE;
        let is_loading = |state: &ResidentState| match state {
            ResidentState::Loading { fraction } => *fraction > 0.0,
            ResidentState::Ready | ResidentState::Stopping => false,
        };
        while !self.hub.residents().await.iter().any(|resident| is_loading(&resident.state)) {
            assert!(Instant::now() < deadline, "nothing is being loaded");
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    }
}

#[tokio::test]
async fn the_next_of_a_role_serves_when_the_first_cannot_be_loaded() {
    let site = site(&[("load-fails", 2048), ("m", 2048)]).await;
    let answer = ask("daily", "say 3", json!({})).send(site.address).await.ok();
    assert_eq!((&answer["model"], &answer["choices"][0]["text"]), (&json!("m"), &json!("0 1 2 ")));
    let stream = ask("daily", "say 1", json!({ "stream": true })).send(site.address).await;
    assert_eq!(stream.status, 200);
    for event in stream.text.split_terminator("\n\n").filter(|event| *event != "data: [DONE]") {
        let event: Value = serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(event["model"], "m");
    }
    // A model is asked for by its name as before.
    let answer = ask("m", "say 1", json!({})).send(site.address).await.ok();
    assert_eq!(answer["model"], "m");
    ask("load-fails", "say 1", json!({})).send(site.address).await.error(500);
    site.ends().await;
}

#[tokio::test]
async fn when_all_of_a_role_fail_one_error_has_every_reason() {
    let site = site(&[("load-fails", 2048), ("aborts-while-loading", 2048)]).await;
    for more in [json!({}), json!({ "stream": true })] {
        let error = ask("daily", "say 1", more).send(site.address).await.error(500);
        assert_eq!(error["code"], "model_load_failed");
        let message = error["message"].as_str().unwrap();
        for words in ["'daily'", "the vocabulary is empty", "tensor 7 is odd"] {
            assert!(message.contains(words), "no {words} in: {message}");
        }
    }
    site.ends().await;
}

#[tokio::test]
async fn a_prompt_that_is_too_long_for_one_model_goes_to_the_next() {
    let site = site(&[("short", 4096), ("long", 32_768)]).await;
    let answer = ask("daily", "say 3", json!({})).send(site.address).await.ok();
    assert_eq!(answer["model"], "short");
    let long = format!("say {}", "word ".repeat(15_000));
    let answer = ask("daily", &long, json!({})).send(site.address).await.ok();
    assert_eq!(answer["model"], "long");
    // Nobody takes this one.
    let longer = format!("say {}", "word ".repeat(150_000));
    let error = ask("daily", &longer, json!({})).send(site.address).await.error(400);
    assert_eq!(error["code"], "context_length_exceeded");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("'short'") && message.contains("'long'"), "{message}");
    site.ends().await;
}

#[tokio::test]
async fn the_built_in_role_takes_any_model_that_does_what_is_asked() {
    let site = site(&[("m", 2048)]).await;
    let answer = ask("auto", "say 1", json!({})).send(site.address).await.ok();
    assert_eq!(answer["model"], "m");
    let embed = json!({ "model": "auto", "input": "x" });
    let error = Ask::post("/v1/embeddings", &embed).send(site.address).await.error(400);
    assert_eq!(error["code"], "no_suitable_model");
    let embed = json!({ "model": "daily", "input": "x" });
    let error = Ask::post("/v1/embeddings", &embed).send(site.address).await.error(400);
    assert!(error["message"].as_str().unwrap().contains("does not embed"), "{error}");
    site.ends().await;
}

#[tokio::test]
async fn roles_are_listed_after_the_models() {
    let site = site(&[("m", 2048)]).await;
    let list = Ask::get("/v1/models").send(site.address).await.ok();
    let names: Vec<&Value> = list["data"].as_array().unwrap().iter().map(|m| &m["id"]).collect();
    assert_eq!(names, ["m", "daily", "auto"]);
    let one = Ask::get("/v1/models/daily").send(site.address).await.ok();
    assert_eq!(one, list["data"][1]);
    let row = |name: &str, models: &[&str]| RoleRow {
        name: name.to_owned(),
        models: models.iter().map(|model| (*model).to_owned()).collect(),
    };
    assert_eq!(control::roles(&site.hub), [row("daily", &["m"]), row("auto", &[])]);
    site.ends().await;
}

#[tokio::test]
async fn a_request_says_how_long_its_model_stays_and_who_comes_first() {
    let site = site(&[("m", 2048)]).await;
    let mut happenings = site.hub.happenings();
    let more = json!({ "keep_alive": 0, "service_tier": "flex" });
    ask("m", "say 1", more).send(site.address).await.ok();
    // It unloads at once, and nobody had to wait for its time of idleness.
    site.until_empty().await;
    let wanted = loop {
        let happening = format!("{:?}", within(happenings.recv()).await.unwrap());
        if happening.contains("Wanted") {
            break happening;
        }
    };
    assert!(wanted.contains("priority: Background"), "{wanted}");
    for (more, param) in [
        (json!({ "keep_alive": "soon" }), "keep_alive"),
        (json!({ "priority": "top" }), "priority"),
    ] {
        let error = ask("m", "say 1", more).send(site.address).await.error(400);
        assert_eq!(error["param"], param);
    }
    site.ends().await;
}

#[tokio::test]
async fn a_stream_says_how_far_its_model_is_loaded() {
    let site = site(&[("loads-until-told", 2048)]).await;
    let address = site.address;
    let streamed = ask("daily", "say 1", json!({ "stream": true }));
    let opening = tokio::spawn(async move { streamed.open(address).await });
    site.until_loading().await;
    let mut open = time_flies(opening).await.unwrap();
    for _ in 0..2 {
        let comment = time_flies(open.piece()).await.unwrap();
        assert_eq!(comment, ": loading loads-until-told 25 %\n");
    }
    fs::write(site.folder.path().join("loads-until-told.go"), "").unwrap();
    assert!(open.piece().await.unwrap().starts_with("data: {"));
    site.ends().await;
}

#[tokio::test]
async fn a_chat_that_wants_it_is_told_as_reasoning() {
    let site = site(&[("loads-until-told", 2048)]).await;
    let address = site.address;
    let chat = json!({
        "model": "loads-until-told",
        "messages": [{ "role": "user", "content": "hi" }],
        "stream": true,
        "stream_options": { "include_progress": true },
    });
    let chat = Ask::post("/v1/chat/completions", &chat);
    let opening = tokio::spawn(async move { chat.open(address).await });
    site.until_loading().await;
    let mut open = time_flies(opening).await.unwrap();
    let piece = open.piece().await.unwrap();
    assert!(piece.contains(r#""reasoning_content":"loading loads-until-told 25 %\n""#), "{piece}");
    drop(open);
    site.ends().await;
}

#[tokio::test]
async fn a_stream_says_who_comes_before_it() {
    // One of the two fits at a time.
    let models = [("one", 2048), ("other", 2048)];
    let budget = WEIGHTS_BYTES * 3 / 2;
    let site = Site::with_models(config(), &models, role("daily", &["one"]), budget).await;
    let mut first = ask("one", "endless", json!({ "stream": true })).open(site.address).await;
    first.piece().await.unwrap();
    let address = site.address;
    let second = ask("other", "say 1", json!({ "stream": true }));
    let opening = tokio::spawn(async move { second.open(address).await });
    let mut open = time_flies(opening).await.unwrap();
    assert_eq!(open.piece().await.unwrap(), ": waiting for other, place 1\n");
    drop((first, open));
    site.ends().await;
}
