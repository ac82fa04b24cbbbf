//! Ollama's lists and embeddings: what its clients read before they ask.

use serde_json::{Value, json};

use crate::client::Ask;
use crate::roles::role;
use crate::site::{BUDGET_BYTES, Site, config};

/// No type, as the lines that people copy.
async fn post(site: &Site, path: &str, body: Value) -> Value {
    Ask::new("POST", path).body(body.to_string()).send(site.address).await.ok()
}

async fn get(site: &Site, path: &str) -> Value {
    Ask::get(path).send(site.address).await.ok()
}

/// Two models and a role of both.
async fn site() -> Site {
    let models = [("m", 2048), ("other:7b", 512)];
    Site::with_models(config(), &models, role("daily", &["other:7b", "m"]), BUDGET_BYTES).await
}

fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    let models = list["models"].as_array().unwrap();
    models.iter().find(|model| model["name"] == name).unwrap_or_else(|| panic!("{name}: {list}"))
}

#[tokio::test]
async fn a_head_is_answered_like_a_get_without_the_body() {
    let site = site().await;
    for path in ["/", "/api/version", "/api/tags", "/api/ps", "/api/status"] {
        let got = Ask::get(path).send(site.address).await;
        let head = Ask::new("HEAD", path).send(site.address).await;
        assert_eq!((head.status, &*head.text), (got.status, ""), "{path}");
        assert_eq!(head.headers["content-type"], got.headers["content-type"], "{path}");
        assert_eq!(head.headers["content-length"], got.text.len().to_string(), "{path}");
    }
    let head = Ask::new("HEAD", "/api/chat").send(site.address).await;
    assert_eq!((head.status.as_u16(), &head.headers["allow"]), (405, &"POST".parse().unwrap()));
    site.ends().await;
}

#[tokio::test]
async fn there_is_no_cloud() {
    let site = site().await;
    let status = get(&site, "/api/status").await;
    assert_eq!(status, json!({ "cloud": { "disabled": true, "source": "config" } }));
    site.ends().await;
}

#[tokio::test]
async fn models_and_roles_are_listed_with_what_they_are() {
    let site = site().await;
    let list = get(&site, "/api/tags").await;
    let m = named(&list, "m:latest");
    assert_eq!(
        (&m["model"], &m["modified_at"]),
        (&json!("m:latest"), &json!("2023-11-14T22:13:20Z"))
    );
    assert_eq!(m["capabilities"], json!(["completion"]));
    let details = &m["details"];
    assert_eq!((&details["format"], &details["family"]), (&json!("gguf"), &json!("llama")));
    assert_eq!(
        (&details["context_length"], &details["embedding_length"]),
        (&json!(2048), &json!(64))
    );
    let digest = m["digest"].as_str().unwrap();
    assert!(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{digest}");
    let daily = named(&list, "daily:latest");
    assert_eq!(daily["digest"], named(&list, "other:7b")["digest"], "the first of the role");
    assert_eq!(daily["details"]["context_length"], 512);
    // The role that picks by request is offered too, though nobody knows whom it picks.
    assert_eq!(named(&list, "auto:latest")["size"], 0);
    site.ends().await;
}

#[tokio::test]
async fn what_is_listed_can_be_asked_for_in_every_dialect() {
    let site = site().await;
    for name in ["m:latest", "other:7b", "daily:latest"] {
        let shown = post(&site, "/api/show", json!({ "model": name })).await;
        assert!(shown["model_info"]["llama.context_length"].is_u64(), "{shown}");
        let ask = json!({ "model": name, "prompt": "say 1" });
        let answer = Ask::post("/v1/completions", &ask).send(site.address).await.ok();
        assert_eq!(answer["choices"][0]["text"], "0 ", "{name}");
        get(&site, &format!("/v1/models/{name}")).await;
    }
    site.ends().await;
}

#[tokio::test]
async fn a_model_shows_what_its_file_says() {
    let site = site().await;
    let shown = post(&site, "/api/show", json!({ "model": "other:7b" })).await;
    let info = &shown["model_info"];
    assert_eq!(
        (&info["general.architecture"], &info["llama.block_count"]),
        (&json!("llama"), &json!(1))
    );
    assert_eq!(info["llama.context_length"], 512, "as it is served, not as it was trained");
    assert!(info["general.parameter_count"].as_u64().unwrap() > 0);
    assert_eq!((&shown["capabilities"], shown.get("tensors")), (&json!(["completion"]), None));
    let verbose = json!({ "name": "m", "model": "", "verbose": true });
    let tensors = post(&site, "/api/show", verbose).await["tensors"].clone();
    assert_eq!(
        (&tensors[0]["name"], &tensors[0]["type"]),
        (&json!("token_embd.weight"), &json!("F32"))
    );
    assert_eq!(tensors[0]["shape"][0], 64);
    // Copilot shows models by this.
    let ask = Ask::new("POST", "/api/show").body(r#"{"model":"other:7b"}"#);
    let shown = ask.with("user-agent", "GitHubCopilotChat/0.53").send(site.address).await.ok();
    assert_eq!(shown["model_info"]["general.basename"], "other:7b");
    let nobody =
        Ask::new("POST", "/api/show").body(r#"{"model":"nobody"}"#).send(site.address).await;
    let error = nobody.error(404);
    assert!(error.as_str().unwrap().starts_with("model 'nobody' not found"), "{error}");
    // One whose server alone knows it is shown as far as that goes.
    let shown = post(&site, "/api/show", json!({ "model": "auto" })).await;
    assert_eq!(
        (&shown["model_info"], &shown["capabilities"]),
        (&json!({}), &json!(["completion"]))
    );
    site.ends().await;
}

#[tokio::test]
async fn who_is_in_memory_is_listed_with_the_time_that_is_left() {
    let site = site().await;
    assert_eq!(get(&site, "/api/ps").await, json!({ "models": [] }));
    for (model, keep_alive) in [("m", json!("1h")), ("other:7b", json!(-1))] {
        post(&site, "/api/generate", json!({ "model": model, "keep_alive": keep_alive })).await;
    }
    let list = get(&site, "/api/ps").await;
    let names: Vec<&Value> =
        list["models"].as_array().unwrap().iter().map(|model| &model["name"]).collect();
    assert_eq!(names, ["other:7b", "m:latest"], "who stays longest comes first");
    let m = named(&list, "m:latest");
    let left = |model: &Value| {
        let until: jiff::Timestamp = model["expires_at"].as_str().unwrap().parse().unwrap();
        until.duration_since(jiff::Timestamp::now()).as_secs()
    };
    assert!((3_500..=3_600).contains(&left(m)), "{m}");
    assert!(left(named(&list, "other:7b")) > 20 * 366 * 24 * 3600, "clients show it as for ever");
    assert!(m["size"].as_u64().unwrap() > 0);
    assert_eq!((&m["size_vram"], &m["context_length"]), (&json!(0), &json!(2048)));
    assert_eq!(m["digest"], named(&get(&site, "/api/tags").await, "m:latest")["digest"]);
    site.ends().await;
}

#[tokio::test]
async fn texts_become_vectors_by_both_routes() {
    let site = site().await;
    let body = json!({ "model": "m", "input": ["a", "b"], "dimensions": 1 });
    let answer = post(&site, "/api/embed", body).await;
    assert_eq!((&answer["model"], &answer["embeddings"]), (&json!("m"), &json!([[1.0], [1.0]])));
    assert!(answer["total_duration"].as_u64() >= answer["load_duration"].as_u64(), "{answer}");
    assert!(answer["prompt_eval_count"].is_u64());
    let older = post(&site, "/api/embeddings", json!({ "model": "m", "prompt": "a" })).await;
    let numbers: Vec<f64> = serde_json::from_value(older["embedding"].clone()).unwrap();
    assert!((numbers[0] - 0.6).abs() < 1e-6 && (numbers[1] - 0.8).abs() < 1e-6, "{older}");
    // Without a text the model is loaded, or let go.
    let answer = post(&site, "/api/embed", json!({ "model": "m", "keep_alive": 0 })).await;
    assert_eq!(answer["embeddings"], json!([]));
    site.until_empty().await;
    for (path, beginning) in [
        ("/api/embed", "model 'x' not found"),
        ("/api/embeddings", "model \"x\" not found, try pulling it first"),
    ] {
        let body = r#"{"model":"x","input":"a","prompt":"a"}"#;
        let error = Ask::new("POST", path).body(body).send(site.address).await.error(404);
        assert!(error.as_str().unwrap().starts_with(beginning), "{error}");
    }
    site.ends().await;
}
