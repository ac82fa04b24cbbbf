//! Ollama's routes: lines for a stream, its words for errors, and what its clients do without saying.

use serde_json::{Value, json};

use crate::client::{Answer, Ask};
use crate::roles::role;
use crate::site::{BUDGET_BYTES, Site, config};

/// A raw prompt, which tells the fixture what to do.
fn generate(prompt: &str, more: Value) -> Ask {
    ask("/api/generate", json!({ "model": "m", "prompt": prompt, "raw": true }), more)
}

fn ask(path: &str, mut body: Value, more: Value) -> Ask {
    let Value::Object(more) = more else { panic!("{more} is no object") };
    body.as_object_mut().unwrap().extend(more);
    // No type, as the lines that people copy.
    Ask::new("POST", path).body(body.to_string())
}

fn lines(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.headers["content-type"], "application/x-ndjson");
    assert!(answer.text.ends_with('\n') && !answer.text.contains("\n\n"), "{}", answer.text);
    answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn it_is_found_as_one() {
    let site = Site::new().await;
    for method in ["GET", "HEAD"] {
        let answer = Ask::new(method, "/").send(site.address).await;
        let expected = if method == "GET" { "Ollama is running" } else { "" };
        assert_eq!((answer.status.as_u16(), &*answer.text), (200, expected));
    }
    let version = Ask::get("/api/version").send(site.address).await.ok();
    let parts: Vec<&str> = version["version"].as_str().unwrap().split('.').collect();
    assert!(parts.len() == 3 && parts.iter().all(|part| part.parse::<u32>().is_ok()), "{version}");
    site.ends().await;
}

#[tokio::test]
async fn an_answer_streams_as_lines_unless_that_is_not_wanted() {
    let site = Site::new().await;
    let seen = lines(&generate("say 3", json!({})).send(site.address).await);
    let (last, texts) = seen.split_last().unwrap();
    let text: String = texts.iter().map(|line| line["response"].as_str().unwrap()).collect();
    assert_eq!(text, "0 1 2 ");
    assert!(texts.iter().all(|line| line["done"] == false && line["model"] == "m"));
    assert_eq!((&last["done"], &last["done_reason"]), (&json!(true), &json!("stop")));
    assert_eq!(last["eval_count"], 3);
    assert!(last["total_duration"].as_u64().unwrap() >= last["load_duration"].as_u64().unwrap());

    let whole = generate("say 3", json!({ "stream": false })).send(site.address).await;
    assert!(whole.headers.contains_key("x-resident-cache"));
    let whole = whole.ok();
    assert_eq!((&whole["response"], &whole["eval_count"]), (&json!("0 1 2 "), &json!(3)));

    let messages = json!({ "model": "m", "messages": [{ "role": "user", "content": "say 2" }] });
    let seen = lines(&ask("/api/chat", messages.clone(), json!({})).send(site.address).await);
    let message = json!({ "role": "assistant", "content": "0 " });
    assert_eq!(seen[0]["message"], message);
    let whole =
        ask("/api/chat", messages, json!({ "stream": false })).send(site.address).await.ok();
    assert_eq!(whole["message"]["content"], "0 1 ");
    site.ends().await;
}

#[tokio::test]
async fn names_may_have_the_tag_that_means_none() {
    let site = Site::new().await;
    let tagged = json!({ "model": "m:latest", "stream": false });
    let answer = generate("say 1", tagged).send(site.address).await.ok();
    assert_eq!((&answer["model"], &answer["response"]), (&json!("m:latest"), &json!("0 ")));
    for unknown in ["m:7b", "x:latest", ":latest"] {
        let answer = generate("say 1", json!({ "model": unknown })).send(site.address).await;
        let error = answer.error(404);
        let expected = format!("model '{unknown}' not found");
        assert!(error.as_str().unwrap().starts_with(&expected), "{error}");
    }
    site.ends().await;
}

#[tokio::test]
async fn without_a_prompt_a_model_comes_and_goes() {
    let site = Site::new().await;
    let load = |path, more| ask(path, json!({ "model": "m" }), more);
    let unloads = json!({ "keep_alive": 0 });
    // It is not loaded to be unloaded.
    let answer = load("/api/generate", unloads.clone()).send(site.address).await.ok();
    assert_eq!((&answer["done_reason"], &answer["response"]), (&json!("unload"), &json!("")));
    assert_eq!(site.hub.residents().await, []);
    let answer = load("/api/chat", json!({ "messages": [] })).send(site.address).await.ok();
    assert_eq!(answer["done_reason"], "load");
    assert_eq!(answer["message"], json!({ "role": "assistant", "content": "" }));
    assert_eq!(site.hub.residents().await.len(), 1);
    let answer = load("/api/generate", unloads).send(site.address).await.ok();
    assert_eq!(answer["done_reason"], "unload");
    site.until_empty().await;
    for more in [json!({ "model": "x" }), json!({ "model": "x", "keep_alive": 0 })] {
        load("/api/generate", more).send(site.address).await.error(404);
    }
    site.ends().await;
}

/// A role that was never loaded unloads nothing, and no other model.
#[tokio::test]
async fn of_a_role_what_is_in_memory_goes() {
    let models = [("m", 2048), ("other", 2048)];
    let site = Site::with_models(config(), &models, role("daily", &["m"]), BUDGET_BYTES).await;
    let load = |model: &str, more| ask("/api/generate", json!({ "model": model }), more);
    let reasons = [
        load("other", json!({})).send(site.address).await.ok()["done_reason"].clone(),
        load("daily", json!({ "keep_alive": 0 })).send(site.address).await.ok()["done_reason"]
            .clone(),
        load("daily:latest", json!({})).send(site.address).await.ok()["done_reason"].clone(),
    ];
    assert_eq!(reasons, ["load", "unload", "load"]);
    assert_eq!(site.hub.residents().await.len(), 2);
    load("daily", json!({ "keep_alive": 0 })).send(site.address).await.ok();
    load("other", json!({ "keep_alive": 0 })).send(site.address).await.ok();
    site.until_empty().await;
    site.ends().await;
}

#[tokio::test]
async fn what_goes_wrong_is_told_in_its_words() {
    let site = Site::new().await;
    let error = generate("say 1", json!({ "options": { "top_p": 2 } })).send(site.address).await;
    assert_eq!(error.error(400), "options.top_p must be from 0 to 1, but it is 2");
    Ask::get("/api/chat").send(site.address).await.error(405);
    Ask::get("/api/nothing").send(site.address).await.error(404);
    Ask::new("POST", "/api/chat").body("[").send(site.address).await.error(400);
    // Before the first line with a status, behind it as a line.
    generate("abort-before-answer", json!({})).send(site.address).await.error(500);
    let seen = lines(&generate("abort-mid-answer 2", json!({})).send(site.address).await);
    let (last, texts) = seen.split_last().unwrap();
    assert!(last["error"].as_str().unwrap().contains("'m'"), "{last}");
    assert_eq!(texts.len(), 2);
    site.ends().await;
}
