//! Pictures from clients of each dialect to llama.cpp: what is in them changes what is said, what was seen is
//! found again, over restarts too, and what cannot be seen is the client's error.
//!
//! Models and projectors have random weights. That they compute what they should is tested beside mtmd's own
//! loop (`llama-worker/src/exact/seen.rs`).

use std::path::Path;

use serde_json::{Value, json};

use crate::hub::{Hub, PATIENCE};
use crate::kept::until_kept;
use crate::made;

const CHAT: &str = "/v1/chat/completions";

/// A hub with a model that sees, started anew in the same folders each time.
fn start(folder: &Path) -> Hub {
    let model = made::model(
        "gemma3-tiny-q8_0-seeing",
        &["--arch", "gemma3", "--like", "tiny", "--quant", "q8_0"],
    );
    let projector = made::model(
        "projector-gemma3-tiny",
        &["--arch", "gemma3", "--like", "tiny", "--quant", "f32", "--projector", "gemma3"],
    );
    let kept = folder.join("kv");
    let text = format!(
        "[kv]\nfolder = {:?}\n[models.seeing]\npath = {:?}\nprojector = {:?}\ncontext = 2048\n",
        kept.display().to_string(),
        model.display().to_string(),
        projector.display().to_string(),
    );
    Hub::configured_with(folder, &text, |_| {})
}

/// A picture without compression, another one for each seed.
fn picture(seed: u32) -> Vec<u8> {
    const SIDE: u32 = 64;
    let bytes = SIDE * SIDE * 3;
    let mut file = b"BM".to_vec();
    for number in [54 + bytes, 0, 54, 40, SIDE, SIDE, 1 | 24 << 16, 0, bytes, 2835, 2835, 0, 0] {
        file.extend(number.to_le_bytes());
    }
    let pixel = |at: u32| (((at / 3 % SIDE) * (seed + 1)) ^ ((at / 3 / SIDE) * 5 * seed)) as u8;
    file.extend((0..bytes).map(pixel));
    file
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits =
            (0..3).fold(0, |bits, at| bits << 8 | three.get(at).copied().unwrap_or(0) as usize);
        for at in 0..4 {
            let letter = LETTERS[bits >> (18 - 6 * at) & 63] as char;
            text.push(if at <= three.len() { letter } else { '=' });
        }
    }
    text
}

fn url(file: &[u8]) -> Value {
    let data = format!("data:image/bmp;base64,{}", base64(file));
    json!({ "type": "image_url", "image_url": { "url": data } })
}

fn asked(content: &[Value]) -> Value {
    json!({
        "model": "seeing", "temperature": 0, "max_tokens": 12,
        "messages": [{ "role": "user", "content": content }],
    })
}

fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

fn said(answer: &Value) -> String {
    answer["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
}

fn cached(answer: &Value) -> u64 {
    answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap_or(0)
}

#[test]
fn what_is_in_a_picture_changes_what_is_said_and_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path());
    let ask = |file: &[u8]| asked(&[text("look: "), url(file), text("what is it?")]);
    let one = hub.post(CHAT, &ask(&picture(1))).ok();
    let prompt_tokens = one["usage"]["prompt_tokens"].as_u64().unwrap();
    assert_eq!(cached(&one), 0);
    let two = hub.post(CHAT, &ask(&picture(2))).ok();
    assert_ne!(said(&one), said(&two));
    assert!(cached(&two) < prompt_tokens - 16, "another picture is not the same prefix");
    let again = hub.post(CHAT, &ask(&picture(1))).ok();
    assert_eq!(cached(&again), prompt_tokens - 1);
    assert_eq!(again["usage"]["prompt_tokens"], prompt_tokens);

    let mut streamed = ask(&picture(2));
    streamed["stream"] = json!(true);
    let events = hub.stream(CHAT, &streamed).events();
    let pieces = events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str());
    assert!(!pieces.collect::<String>().is_empty());
}

#[test]
fn a_picture_is_kept_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let ask = asked(&[url(&picture(1)), text(&"and then? ".repeat(20))]);
    let mut hub = start(folder.path());
    let first = hub.post(CHAT, &ask).ok();
    until_kept(folder.path(), 1);
    hub.terminate();
    assert!(hub.ended_within(PATIENCE).is_some());
    let hub = start(folder.path());
    let second = hub.post(CHAT, &ask).ok();
    let prompt_tokens = first["usage"]["prompt_tokens"].as_u64().unwrap();
    assert_eq!(cached(&second), prompt_tokens - 1);
}

#[test]
fn ollamas_and_anthropics_clients_show_pictures_too() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path());
    let ollama = |file: &[u8]| {
        let message = json!({ "role": "user", "content": "what is it?", "images": [base64(file)] });
        let options = json!({ "temperature": 0, "num_predict": 12 });
        let body = json!({ "model": "seeing", "messages": [message], "options": options, "stream": false });
        hub.post("/api/chat", &body).ok()["message"]["content"].as_str().unwrap().to_owned()
    };
    assert_ne!(ollama(&picture(1)), ollama(&picture(2)));
    let anthropic = |file: &[u8]| {
        let source = json!({ "type": "base64", "media_type": "image/bmp", "data": base64(file) });
        let content = json!([{ "type": "image", "source": source }, text("what is it?")]);
        let body = json!({
            "model": "seeing", "max_tokens": 12, "temperature": 0,
            "messages": [{ "role": "user", "content": content }],
        });
        hub.post("/v1/messages", &body).ok()["content"][0]["text"].as_str().unwrap().to_owned()
    };
    assert_ne!(anthropic(&picture(1)), anthropic(&picture(2)));
    let openai = hub.post(CHAT, &asked(&[url(&picture(1)), text("what is it?")])).ok();
    assert_eq!(anthropic(&picture(1)), said(&openai));
}

#[test]
fn a_picture_that_cannot_be_seen_is_the_clients_error_and_the_worker_stays() {
    let folder = tempfile::tempdir().unwrap();
    let hub = start(folder.path());
    let whole = picture(1);
    let ask = |file: &[u8]| hub.post(CHAT, &asked(&[url(file), text("?")]));
    let before = said(&ask(&whole).ok());
    let workers: Vec<u32> = hub.workers().iter().map(|worker| worker.pid()).collect();
    // Its head is whole, so that only reading it shows what is wrong.
    let message = ask(&whole[..whole.len() / 2]).error(400)["message"].to_string();
    assert!(message.contains("file 1") && message.contains("broken or cut"), "{message}");
    assert_eq!(said(&ask(&whole).ok()), before);
    let after: Vec<u32> = hub.workers().iter().map(|worker| worker.pid()).collect();
    assert_eq!(after, workers);
}
