//! Models of a library: what goes with them is in requests that do not say otherwise, in every dialect, and in
//! Ollama's lists.

use std::sync::Arc;

use gateway::Config;
use serde_json::{Value, json};
use supervisor::{Habits, Kept, Model, Roles};
use worker_protocol::{Message, Parameter, Role, Sampling};

use crate::client::Ask;
use crate::gguf;
use crate::library::Shelf;
use crate::site::{Site, WEIGHTS_BYTES, config, model};

const DIGEST: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn mario() -> Kept {
    let sampling = Sampling {
        temperature: 0.25,
        top_k: 3,
        said: vec![Parameter::Temperature, Parameter::TopK],
        ..Sampling::default()
    };
    let habits = Habits {
        system: Some("You are Mario.".to_owned()),
        messages: vec![Message::text(Role::User, "Who?"), Message::text(Role::Assistant, "Me.")],
        sampling,
        stop: vec!["END".to_owned()],
        tokens_max: Some(7),
    };
    Kept { digest: DIGEST.to_owned(), added_unix_s: 1_600_000_000, habits }
}

/// A hub with the model `hf.co/o/mario:Q4`, and the folder of its file.
async fn site() -> (Site, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mario.gguf");
    gguf::write(&path, WEIGHTS_BYTES);
    let mario = Model { kept: Some(Arc::new(mario())), ..model("hf.co/o/mario:Q4", &path, None) };
    let config = Config { library: Some(Arc::new(Shelf::default())), ..config() };
    (Site::with_engines(config, vec![mario], Roles::default()).await, folder)
}

/// What the worker is asked, of an answer whose text is this part of it.
async fn asked(site: &Site, path: &str, body: Value, text: &str) -> Value {
    let answer = Ask::post(path, &body).with("anthropic-version", "2023-06-01");
    let answer = answer.send(site.address).await.ok();
    let text = answer.pointer(text).and_then(Value::as_str).unwrap_or_else(|| panic!("{answer}"));
    serde_json::from_str(text).unwrap()
}

fn messages(asked: &Value) -> Vec<(&str, &str)> {
    let messages = asked["prompt"]["Chat"]["messages"].as_array().unwrap();
    messages
        .iter()
        .map(|one| (one["role"].as_str().unwrap(), one["content"].as_str().unwrap()))
        .collect()
}

#[tokio::test]
async fn what_goes_with_a_model_is_in_requests_of_every_dialect() {
    let (site, _folder) = site().await;
    let said = json!([{ "role": "user", "content": "repeats" }]);
    let model = "hf.co/o/mario:Q4";
    let own_system = json!([{ "role": "system", "content": "Be brief." }, said[0]]);
    for (path, messages_said, more, text) in [
        ("/v1/chat/completions", &said, json!({}), "/choices/0/message/content"),
        ("/api/chat", &said, json!({ "stream": false }), "/message/content"),
        ("/v1/messages", &said, json!({ "max_tokens": 50 }), "/content/0/text"),
    ] {
        let mut body = json!({ "model": model, "messages": messages_said });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let asked = asked(&site, path, body, text).await;
        assert_eq!(
            messages(&asked),
            [
                ("system", "You are Mario."),
                ("user", "Who?"),
                ("assistant", "Me."),
                ("user", "repeats")
            ],
            "{path}"
        );
        assert_eq!(asked["sampling"]["temperature"], 0.25, "{path}");
        assert_eq!(asked["sampling"]["top_k"], 3, "{path}");
        assert_eq!(asked["stop"], json!(["END"]), "{path}");
        let most = if path == "/v1/messages" { 50 } else { 7 };
        assert_eq!(asked["tokens_max"], most, "{path}");
    }
    let body = json!({
        "model": model, "messages": own_system, "stream": false,
        "options": { "temperature": 1.5, "stop": ["X"], "num_predict": -1 },
    });
    let asked = asked(&site, "/api/chat", body, "/message/content").await;
    assert_eq!(messages(&asked)[0], ("system", "Be brief."));
    assert_eq!(messages(&asked).len(), 4, "one system message");
    assert_eq!(
        (&asked["sampling"]["temperature"], &asked["sampling"]["top_k"]),
        (&json!(1.5), &json!(3))
    );
    assert_eq!((&asked["stop"], &asked["tokens_max"]), (&json!(["X"]), &Value::Null));
    site.ends().await;
}

#[tokio::test]
async fn lists_say_its_digest_and_when_it_came() {
    let (site, _folder) = site().await;
    let list = Ask::get("/api/tags").send(site.address).await.ok();
    let row = &list["models"][0];
    assert_eq!((&row["name"], &row["digest"]), (&json!("hf.co/o/mario:Q4"), &json!(DIGEST)));
    assert_eq!(row["modified_at"], "2020-09-13T12:26:40Z");
    let one = Ask::get("/v1/models/hf.co/o/mario:Q4").send(site.address).await.ok();
    assert_eq!(one["id"], "hf.co/o/mario:Q4");
    site.ends().await;
}

#[tokio::test]
async fn all_that_goes_with_it_is_shown() {
    let (site, _folder) = site().await;
    let body = json!({ "model": "hf.co/o/mario:Q4" });
    let shown = Ask::post("/api/show", &body).send(site.address).await.ok();
    assert_eq!(shown["system"], "You are Mario.");
    assert_eq!(shown["license"], "MIT\nApache");
    assert_eq!(shown["template"], "{{ .Prompt }}");
    assert_eq!(shown["modelfile"], "FROM x\n");
    assert_eq!(shown["parameters"], "temperature                    0.25");
    assert_eq!(shown["messages"], json!([{ "role": "user", "content": "Who?" }]));
    assert_eq!(shown["modified_at"], "2020-09-13T12:26:40Z");
    site.ends().await;
}
