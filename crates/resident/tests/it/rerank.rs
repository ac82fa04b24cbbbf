//! Documents by how well they answer a query: the scores are llama.cpp's own, alone and in batches, of a
//! model that reads a text as a whole (BERT) and of one that reads from left to right (Qwen3).
//!
//! A score of many documents at once differs from that of one by how matrices are multiplied, as texts do
//! (see `equality`): with weights of 32 bits in the last bits, with 8 bits, which round what they are
//! multiplied with, visibly. The models have random weights.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::hub::{Hub, binary, shared};
use crate::made;

const QUERY: &str = "what do bananas cost today";

/// Each model with the largest difference of a score that rounding explains. The scores differ from document to
/// document by some tenths. Fused attention adds up in 16 bits, in another order for another step; through the
/// cells of Qwen's less depends on it.
const MODELS: [(&str, &str, f64); 4] = [
    ("bert", "f32", 5e-3),
    ("bert", "q8_0", 5e-2),
    ("qwen3", "f32", 1e-3),
    ("qwen3", "q8_0", 1e-2),
];

fn model(architecture: &str, quantization: &str) -> PathBuf {
    let arguments = ["--arch", architecture, "--like", "tiny-reranker", "--quant", quantization];
    made::model(&format!("{architecture}-tiny-reranker-{quantization}"), &arguments)
}

fn start(model: &Path) -> Hub {
    Hub::start(&["--model", &format!("ranks={}", model.display())])
}

/// Documents of very different lengths, none of more tokens than either model takes.
fn documents() -> Vec<String> {
    let words = ["banana", "cost", "today", "tomato", "mice", "a", "lemon", "zebra", "robo"];
    let text = |number: usize| {
        let word = |at: usize| words[(at * at + number * 7) % words.len()];
        (0..(number * number) % 90).map(word).collect::<Vec<_>>().join(" ")
    };
    (0..40).map(text).collect()
}

/// The scores in the order of the documents.
fn scores(answer: &Value, documents: usize) -> Vec<f64> {
    let mut scores = vec![f64::NAN; documents];
    let mut before = f64::INFINITY;
    for result in answer["results"].as_array().unwrap() {
        let score = result["relevance_score"].as_f64().unwrap();
        assert!(score <= before, "the best come first");
        before = score;
        scores[result["index"].as_u64().unwrap() as usize] = score;
    }
    scores
}

fn ranked(hub: &Hub, documents: &[String]) -> Vec<f64> {
    let body = json!({ "model": "ranks", "query": QUERY, "documents": documents });
    scores(&hub.post("/v1/rerank", &body).ok(), documents.len())
}

/// What llama.cpp says without the hub, each document by itself.
fn plain(model: &Path, documents: &[String]) -> Vec<f64> {
    let pairs: Vec<[&str; 2]> = documents.iter().map(|text| [QUERY, text]).collect();
    let job = json!({ "model": model, "pairs": pairs, "threads": 1 });
    let mut child = Command::new(binary("resident-llama"))
        .arg("scores")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(job.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn assert_near(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len());
    let apart = |(one, other): (&f64, &f64)| (one - other).abs();
    let worst = found.iter().zip(expected).map(apart).fold(0.0, |worst: f64, apart| {
        if apart.is_nan() { f64::INFINITY } else { worst.max(apart) }
    });
    println!("{what}: {worst:.1e} apart at most");
    assert!(worst < tolerance, "{what}: {worst} apart\n{found:?}\n{expected:?}");
}

#[test]
fn scores_are_those_of_llama_cpp_alone_and_together() {
    let documents = documents();
    for (architecture, quantization, tolerance) in MODELS {
        let model = model(architecture, quantization);
        let name = format!("{architecture} {quantization}");
        let expected = plain(&model, &documents);
        let spread = expected.iter().fold(f64::NEG_INFINITY, |most, score| most.max(*score))
            - expected.iter().fold(f64::INFINITY, |least, score| least.min(*score));
        assert!(spread > 4.0 * tolerance, "{name}: scores hardly differ: {expected:?}");
        let hub = start(&model);
        let together = ranked(&hub, &documents);
        assert_near(&together, &expected, tolerance, &format!("{name}, all at once"));
        let alone: Vec<f64> =
            documents.iter().flat_map(|text| ranked(&hub, std::slice::from_ref(text))).collect();
        assert_near(&alone, &expected, tolerance, &format!("{name}, one by one"));
        let again = ranked(&hub, &documents);
        assert_near(&again, &together, f64::EPSILON, &format!("{name}, again"));
    }
}

#[test]
fn the_best_are_told_in_every_form_and_nothing_else_is_done() {
    let hub = start(&model("bert", "q8_0"));
    let documents = documents();
    let all = ranked(&hub, &documents);
    let mut order: Vec<usize> = (0..documents.len()).collect();
    order.sort_by(|one, other| all[*other].total_cmp(&all[*one]));
    let body = json!({ "model": "ranks", "query": QUERY, "documents": documents, "top_n": 3,
                       "return_documents": true });
    for path in ["/v1/rerank", "/rerank", "/v1/reranking", "/reranking", "/v2/rerank"] {
        let answer = hub.post(path, &body).ok();
        let results = answer["results"].as_array().unwrap();
        assert_eq!(results.len(), 3, "{path}");
        for (result, index) in results.iter().zip(&order) {
            assert_eq!(result["index"], *index, "{path}");
            assert_eq!(result["document"]["text"], documents[*index], "{path}");
        }
        assert!(answer["meta"]["tokens"]["input_tokens"].as_u64().unwrap() > 500, "{answer}");
    }
    let chat = json!({ "model": "ranks", "messages": [{ "role": "user", "content": "hi" }] });
    let error = hub.post("/v1/chat/completions", &chat).error(400);
    assert!(error["message"].as_str().unwrap().contains("ranks texts"), "{error}");
    let error = hub.post("/v1/embeddings", &json!({ "model": "ranks", "input": "hi" })).error(400);
    assert!(error["message"].as_str().unwrap().contains("/v1/rerank"), "{error}");
}

#[test]
fn what_is_too_long_is_refused_or_cut() {
    for architecture in ["bert", "qwen3"] {
        let hub = start(&model(architecture, "q8_0"));
        // BERT's has 512 tokens, Qwen's 2,048.
        let long = "tomato ".repeat(4000);
        let body = |more: Value| {
            let mut body =
                json!({ "model": "ranks", "query": QUERY, "documents": ["banana", long] });
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            body
        };
        let error = hub.post("/v1/rerank", &body(json!({}))).error(400);
        assert_eq!(error["code"], "context_length_exceeded");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("document 1") && message.contains("truncate"), "{message}");
        let cut = hub.post("/v1/rerank", &body(json!({ "truncate": true }))).ok();
        let tokens = cut["usage"]["total_tokens"].as_u64().unwrap();
        let most = if architecture == "bert" { 512 } else { 2048 };
        assert!((most..most + 150).contains(&tokens), "{architecture}: {tokens}");
        // Cohere's clients have it cut unasked, and may say where.
        let few = hub.post("/v2/rerank", &body(json!({ "max_tokens_per_doc": 10 }))).ok();
        let tokens = few["meta"]["tokens"]["input_tokens"].as_u64().unwrap();
        assert!(tokens < 300, "{architecture}: {tokens}");
        let query = json!({ "model": "ranks", "query": "tomato ".repeat(4000), "documents": ["a"],
                            "truncate": true });
        let error = hub.post("/v1/rerank", &query).error(400);
        assert!(error["message"].as_str().unwrap().contains("shorten the query"), "{error}");
    }
}

#[test]
fn a_model_without_the_head_is_refused_with_the_way_out() {
    let Some(encoder) = shared("models/minilm-q8_0.gguf") else { return };
    let hub = Hub::start(&["--model", &format!("minilm={}", encoder.display())]);
    let body = json!({ "model": "minilm", "query": QUERY, "documents": ["a"] });
    let error = hub.post("/v1/rerank", &body).error(400);
    assert!(error["message"].as_str().unwrap().contains("name a reranker"), "{error}");
}
