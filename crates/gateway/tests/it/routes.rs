//! What the routes answer when all is well, and when a request makes no sense.

use gateway::Config;
use gateway::control::{Models, Residents};
use serde_json::{Value, json};

use crate::client::{Answer, Ask};
use crate::site::{Site, TOKEN, config};

async fn control(site: &Site, ask: Ask) -> Answer {
    ask.with("authorization", &format!("Bearer {TOKEN}")).send(site.address).await
}

#[tokio::test]
async fn health_and_models_answer_without_any_worker() {
    let site = Site::new().await;
    assert_eq!(Ask::get("/health").send(site.address).await.ok(), json!({ "status": "ok" }));
    let head = Ask::new("HEAD", "/health").send(site.address).await;
    assert_eq!((head.status.as_u16(), &*head.text), (200, ""));
    let list = Ask::get("/v1/models").send(site.address).await.ok();
    let names: Vec<&Value> = list["data"].as_array().unwrap().iter().map(|m| &m["id"]).collect();
    assert_eq!(names, ["m", "m 二"]);
    // Names are decoded once, and never become paths.
    let one = Ask::get("/v1/models/m%20%E4%BA%8C").send(site.address).await.ok();
    assert_eq!(one, list["data"][1]);
    for strange in ["x", "..%2Fm", "m%00", "%2e%2e/m.gguf"] {
        let answer = Ask::get(&format!("/v1/models/{strange}")).send(site.address).await;
        assert_eq!(answer.error(404)["code"], "model_not_found");
    }
    assert_eq!(site.hub.residents().await, []);
    site.ends().await;
}

#[tokio::test]
async fn the_document_is_open_to_whoever_may_reach_the_hub() {
    let site = Site::with(Config { key: Some("s3cret".to_owned()), ..config() }).await;
    let document = Ask::get("/openapi.json").send(site.address).await.ok();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["paths"]["/v1/chat/completions"]["post"].is_object());
    Ask::get("/v1/models").send(site.address).await.error(401);
    site.ends().await;
}

#[tokio::test]
async fn what_nothing_here_does_is_refused_with_its_reason() {
    let site = Site::new().await;
    let asked = Ask::post("/v1/moderations", &json!({ "input": "I like you." }));
    let error = asked.send(site.address).await.error(404);
    assert_eq!(error["code"], "unsupported_endpoint");
    assert!(error["message"].as_str().unwrap().contains("turn moderation off"), "{error}");
    site.ends().await;
}

#[tokio::test]
async fn a_whole_completion_and_its_control() {
    let site = Site::new().await;
    let none: Residents =
        serde_json::from_value(control(&site, Ask::get("/resident/v1/ps")).await.ok()).unwrap();
    assert_eq!(none.residents, []);

    let answer = Ask::completion("say 3", json!({ "max_tokens": 9 })).send(site.address).await.ok();
    assert_eq!(answer["choices"][0]["text"], "0 1 2 ");
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert_eq!(answer["usage"]["completion_tokens"], 3);

    let ps = control(&site, Ask::get("/resident/v1/ps")).await.ok();
    let ps: Residents = serde_json::from_value(ps).unwrap();
    let [resident] = &*ps.residents else { panic!("{ps:?}") };
    assert_eq!((&*resident.name, &*resident.state), ("m", "ready"));
    assert!(ps.booked_bytes >= 50_000_000 && ps.booked_bytes < ps.budget_bytes);

    let models = control(&site, Ask::get("/resident/v1/models")).await.ok();
    let models: Models = serde_json::from_value(models).unwrap();
    assert_eq!(models.models[0].facts.as_ref().unwrap().architecture.as_deref(), Some("llama"));

    let stop = Ask::post("/resident/v1/stop", &json!({ "model": "m" }));
    control(&site, stop.clone()).await.ok();
    control(&site, Ask::post("/resident/v1/stop", &json!({ "name": "m" }))).await.error(400);
    control(&site, Ask::post("/resident/v1/stop", &json!({ "model": "x" }))).await.error(404);
    site.ends().await;
}

#[tokio::test]
async fn several_choices_come_whole_and_in_their_places() {
    let site = Site::new().await;
    let body = json!({ "model": "m", "prompt": ["say 2", "say 4"], "n": 2 });
    let answer = Ask::post("/v1/completions", &body).send(site.address).await.ok();
    let choices = answer["choices"].as_array().unwrap();
    let texts: Vec<&Value> = choices.iter().map(|choice| &choice["text"]).collect();
    assert_eq!(texts, ["0 1 ", "0 1 ", "0 1 2 3 ", "0 1 2 3 "]);
    assert_eq!(answer["usage"]["completion_tokens"], 12);
    site.ends().await;
}

#[tokio::test]
async fn embeddings_in_both_forms() {
    let site = Site::new().await;
    let ask = |more: Value| {
        let mut body = json!({ "model": "m", "input": ["a", "b"] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Ask::post("/v1/embeddings", &body)
    };
    let floats = ask(json!({})).send(site.address).await.ok();
    assert_eq!(floats["data"][1]["index"], 1);
    assert_eq!(floats["data"][1]["embedding"], json!([0.6, 0.8]));
    let base64 = ask(json!({ "encoding_format": "base64" })).send(site.address).await.ok();
    assert_eq!(base64["data"][0]["embedding"], "mpkZP83MTD8=");
    let error = ask(json!({ "dimensions": 3 })).send(site.address).await.error(400);
    assert_eq!(error["param"], "dimensions");
    site.ends().await;
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_in_openais_form() {
    let site = Site::new().await;
    let error = Ask::get("/v1/nothing").send(site.address).await.error(404);
    assert!(error["message"].as_str().unwrap().contains("/v1/nothing"));
    let wrong_method = Ask::get("/v1/completions").send(site.address).await;
    wrong_method.error(405);
    assert_eq!(wrong_method.headers["allow"], "POST");
    let error = Ask::completion("say 1", json!({ "n": "two" })).send(site.address).await.error(400);
    assert_eq!(error["param"], "n");
    let unknown = json!({ "model": "mm", "prompt": "say 1" });
    let error = Ask::post("/v1/completions", &unknown).send(site.address).await.error(404);
    assert_eq!(error["code"], "model_not_found");
    assert!(error["message"].as_str().unwrap().contains("did you mean 'm'"), "{error}");
    let half = Ask::post("/v1/completions", &json!({})).body("{\"model\": ");
    assert_eq!(half.send(site.address).await.error(400)["code"], "invalid_json");
    site.ends().await;
}

#[tokio::test]
async fn a_whole_answer_says_which_tier_had_its_prompt() {
    let site = Site::new().await;
    let answer = Ask::completion("say 3", json!({})).send(site.address).await;
    assert_eq!(answer.headers["x-resident-cache"], "none");
    assert_eq!(answer.ok()["timings"].get("cached_by"), None);
    let answer = Ask::completion("say 7", json!({})).send(site.address).await;
    assert_eq!(answer.headers["x-resident-cache"], "live=1, ram=2, ssd=3");
    let answer = answer.ok();
    assert_eq!(answer["usage"]["prompt_tokens_details"]["cached_tokens"], 6);
    assert_eq!(answer["timings"]["cached_by"], json!({ "live": 1, "ram": 2, "ssd": 3 }));
    site.ends().await;
}

#[tokio::test]
async fn a_stream_says_in_its_head_which_tier_had_its_prompt_where_that_is_known() {
    let site = Site::new().await;
    let more = json!({ "stream": true, "stream_options": { "include_usage": true } });
    let stream = Ask::completion("say 7", more).send(site.address).await;
    assert_eq!(stream.headers["x-resident-cache"], "live=1, ram=2, ssd=3");
    assert!(stream.text.contains(r#""cached_by":{"live":1,"ram":2,"ssd":3}"#), "{}", stream.text);
    assert!(stream.text.contains(r#""prompt_tokens_details":{"cached_tokens":6}"#));
    // Three choices share one prompt, which is said once.
    let three = json!({ "stream": true, "n": 3 });
    let stream = Ask::completion("say 7", three).send(site.address).await;
    if let Some(said) = stream.headers.get("x-resident-cache") {
        assert_eq!(said, "live=1, ram=2, ssd=3");
    }
    // An engine that says nothing before its text, as foreign ones do.
    let stream = Ask::completion("say 3", json!({ "stream": true })).send(site.address).await;
    assert_eq!(stream.headers.get("x-resident-cache"), None);
    site.ends().await;
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let site = Site::new().await;
    Ask::completion("say 3", json!({})).send(site.address).await.ok();
    Ask::get("/nowhere").send(site.address).await.error(404);
    let metrics = Ask::get("/metrics").send(site.address).await;
    assert_eq!(metrics.status, 200);
    for line in [
        "resident_requests_total{route=\"/v1/completions\",status=\"200\"} 1",
        "resident_requests_total{route=\"other\",status=\"404\"} 1",
        "resident_completion_tokens_total 3",
        "resident_request_seconds_bucket{le=\"300.0\"} 2",
        "resident_first_token_seconds_count 1",
        "resident_workers_started_total 1",
        "resident_requests_granted_total 1",
        "resident_memory_budget_bytes 1099511627776",
        "resident_model_running{model=\"m\"} 0",
        "# EOF",
    ] {
        assert!(metrics.text.lines().any(|seen| seen == line), "no {line} in:\n{}", metrics.text);
    }
    site.ends().await;
}
