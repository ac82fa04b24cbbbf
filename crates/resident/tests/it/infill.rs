//! Filling in between two texts, by a model that knows how and by one that does not.

use serde_json::{Value, json};

use crate::hub::{self, Hub};
use crate::made;

/// Where the model's marks begin: before, after, middle, files, file.
const MARKS: u32 = 1024 - 8;

fn tokens(hub: &Hub, path: &str, body: &Value) -> Value {
    let mut body = body.clone();
    let asked = json!({ "model": "code", "temperature": 0, "stream": false, "n_predict": 12,
                        "max_tokens": 12, "options": { "temperature": 0, "num_predict": 12 } });
    body.as_object_mut().unwrap().extend(asked.as_object().unwrap().clone());
    hub.post(path, &body).ok()
}

/// GPT-2's order of bytes begins with those that stand for themselves.
fn bytes(text: &str) -> Vec<u32> {
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
    text.bytes().map(|byte| u32::from(byte - b'!')).collect()
}

#[test]
fn the_prompt_is_what_the_model_was_trained_on_in_every_dialect() {
    let shape = ["--arch", "qwen3", "--like", "tiny", "--quant", "f16", "--infill"];
    let code = made::model("qwen3-tiny-f16-infill-1", &shape);
    let demo = hub::demo();
    let models =
        [("code", &code), ("demo", &demo)].map(|(name, path)| format!("{name}={}", path.display()));
    let hub = Hub::start(&["--model", &models[0], "--model", &models[1]]);

    let (before, after) = ("(((", ")))");
    let mut prompt = vec![MARKS];
    prompt.extend(bytes(before));
    prompt.push(MARKS + 1);
    prompt.extend(bytes(after));
    prompt.push(MARKS + 2);
    let by_hand = tokens(&hub, "/v1/completions", &json!({ "prompt": prompt }));
    let expected = by_hand["choices"][0]["text"].as_str().unwrap();
    assert!(!expected.is_empty());

    let suffix = json!({ "prompt": before, "suffix": after });
    let completion = tokens(&hub, "/v1/completions", &suffix);
    assert_eq!(completion["choices"][0]["text"], expected);
    let usage = (&completion["usage"], &by_hand["usage"]);
    assert_eq!(usage.0["prompt_tokens"], usage.1["prompt_tokens"]);
    assert_eq!(tokens(&hub, "/api/generate", &suffix)["response"], expected);
    let infill = json!({ "input_prefix": before, "input_suffix": after });
    let answer = tokens(&hub, "/infill", &infill);
    assert_eq!((&answer["content"], &answer["stop"]), (&json!(expected), &json!(true)));

    // Another file comes first, and what the gap begins with last.
    let with_more = json!({ "input_prefix": before, "input_suffix": after, "prompt": "!",
                            "input_extra": [{ "filename": "a.c", "text": "{}" }] });
    let evaluated = tokens(&hub, "/infill", &with_more)["tokens_evaluated"].as_u64().unwrap();
    assert!(evaluated as usize > prompt.len() + 1, "{evaluated}");

    // Plugins name no model, warm a prompt up, and name the fields that they read.
    let asked = json!({ "input_prefix": before, "input_suffix": after, "n_predict": 0,
                        "response_fields": ["content", "tokens_evaluated"] });
    let warmed = hub.post("/infill", &asked).ok();
    assert_eq!(warmed, json!({ "content": "", "tokens_evaluated": prompt.len() }));

    let shown = hub.post("/api/show", &json!({ "model": "code" })).ok();
    assert!(shown["capabilities"].as_array().unwrap().contains(&json!("insert")), "{shown}");
    let refused =
        hub.post("/v1/completions", &json!({ "model": "demo", "prompt": "a", "suffix": "b" }));
    assert_eq!(refused.status, 400);
    assert!(refused.json()["error"]["message"].as_str().unwrap().contains("filling in"));
}
