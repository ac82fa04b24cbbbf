//! What dialects cost: reading a request, and writing one token of a stream.
//!
//! Run with `cargo bench -p dialect`. Not here: HTTP around it (`resident bench` measures it whole).

use std::hint::black_box;

use dialect::{
    Encode, anthropic,
    llama_server::infill,
    ollama::{self, Form},
    openai::{chat, completion, responses},
};
use divan::{
    Bencher,
    counter::{BytesCount, ItemsCount},
};
use worker_protocol::{Event, Piece};

fn main() {
    divan::main();
}

/// Characters of one message of the conversation.
const MESSAGE_CHARACTERS: usize = 400;

/// A conversation of about so many bytes.
#[divan::bench(args = [1 << 10, 1 << 20])]
fn chat_decode(bencher: Bencher, bytes: usize) {
    let body = chat_body(bytes);
    bencher
        .counter(BytesCount::of_slice(&body))
        .bench_local(|| chat::decode(black_box(&body)).expect("a good request"));
}

/// A prompt of so many token ids, as benches and evaluation harnesses send it.
#[divan::bench(args = [512, 131_072])]
fn completion_decode_tokens(bencher: Bencher, tokens: u32) {
    let ids: Vec<String> = (0..tokens).map(|id| id.to_string()).collect();
    let body = format!(r#"{{"model":"m","prompt":[{}]}}"#, ids.join(",")).into_bytes();
    bencher
        .counter(BytesCount::of_slice(&body))
        .bench_local(|| completion::decode(black_box(&body)).expect("a good request"));
}

/// The same as items, of which each becomes a message or a part of one.
#[divan::bench(args = [1 << 10, 1 << 20])]
fn responses_decode(bencher: Bencher, bytes: usize) {
    let body = responses_body(bytes);
    bencher
        .counter(BytesCount::of_slice(&body))
        .bench_local(|| responses::decode(black_box(&body), &()).expect("a good request"));
}

#[divan::bench]
fn chat_encode_token(bencher: Bencher) {
    let request = chat::decode(&chat_body(1 << 10)).expect("a good request");
    encode_token(bencher, chat::StreamEncoder::new(&request, "chatcmpl-1", 1, "m"));
}

#[divan::bench]
fn responses_encode_token(bencher: Bencher) {
    let request = responses::decode(&responses_body(1 << 10), &()).expect("a good request");
    let beginning = responses::Beginning::new(request.told, "1", 1, "m");
    encode_token(bencher, responses::StreamEncoder::new(beginning));
}

#[divan::bench]
fn completion_encode_token(bencher: Bencher) {
    let body = br#"{"model":"m","prompt":"Say","stream":true}"#;
    let request = completion::decode(body).expect("a good request");
    encode_token(bencher, completion::StreamEncoder::new(&request, "cmpl-1", 1, "m"));
}

#[divan::bench]
fn anthropic_encode_token(bencher: Bencher) {
    encode_token(bencher, anthropic::StreamEncoder::new("1", "m"));
}

#[divan::bench]
fn ollama_encode_token(bencher: Bencher) {
    let encoder = ollama::StreamEncoder::new(Form::Chat, "1", "2023-11-14T22:13:20Z", "m");
    encode_token(bencher, encoder);
}

#[divan::bench]
fn infill_encode_token(bencher: Bencher) {
    encode_token(bencher, infill::StreamEncoder::new("m", infill::Told::default()));
}

/// One token a time, as a stream is written.
fn encode_token(bencher: Bencher, mut encoder: impl Encode) {
    let event = token();
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        let mut payloads = Vec::new();
        encoder.event(0, black_box(&event), &mut payloads);
        payloads
    });
}

fn token() -> Event {
    Event::Text(Piece { text: " resident".to_owned(), logprobs: Vec::new() })
}

fn chat_body(bytes: usize) -> Vec<u8> {
    let messages = messages(bytes);
    format!(r#"{{"model":"m","stream":true,"messages":[{messages}]}}"#).into_bytes()
}

fn responses_body(bytes: usize) -> Vec<u8> {
    let items = messages(bytes);
    format!(r#"{{"model":"m","stream":true,"store":false,"input":[{items}]}}"#).into_bytes()
}

fn messages(bytes: usize) -> String {
    let mut messages = Vec::new();
    for index in 0..(bytes / MESSAGE_CHARACTERS).max(1) {
        let role = if index % 2 == 0 { "user" } else { "assistant" };
        let content = "Tell me \\\"more\\\" of it. ".repeat(MESSAGE_CHARACTERS / 24);
        messages.push(format!(r#"{{"role":"{role}","content":"{content}"}}"#));
    }
    messages.join(",")
}
