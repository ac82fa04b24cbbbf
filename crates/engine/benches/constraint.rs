//! What a constraint costs each token: the likeliest of 150,000 logits alone, and of those that a schema
//! allows, at places where it allows little, much, and nearly everything; and what comes before the first.
//!
//! Run with `cargo bench -p engine`. Not here: the samplers of llama.cpp, which take several times as long
//! as the likeliest token does.

use std::sync::Arc;

use divan::Bencher;
use engine::constraint::{Guard, Vocabulary};
use serde_json::json;
use worker_protocol::Constraint;

fn main() {
    divan::main();
}

const TOKENS: u32 = 150_000;
const END: u32 = TOKENS - 1;

/// Bytes, then made words of two to four syllables, some behind a blank, as vocabularies have them.
fn bytes(token: u32) -> Vec<u8> {
    const SYLLABLES: [&str; 30] = [
        "ba", "co", "de", "fi", "gu", "ha", "in", "jo", "ka", "le", "mi", "no", "or", "pe", "qu",
        "ra", "st", "ta", "un", "ve", "wi", "xy", "ye", "zo", "能", "日", "é", ": ", "\"", ", ",
    ];
    if let Ok(byte) = u8::try_from(token) {
        return vec![byte];
    }
    if token == END {
        return Vec::new();
    }
    let mut rest = token as usize - 256;
    let mut word = if rest.is_multiple_of(2) { " ".to_owned() } else { String::new() };
    rest /= 2;
    while rest > 0 || word.len() < 2 {
        word.push_str(SYLLABLES[rest % SYLLABLES.len()]);
        rest /= SYLLABLES.len();
    }
    word.into_bytes()
}

fn vocabulary() -> Arc<Vocabulary> {
    Arc::new(Vocabulary::new(TOKENS, bytes, |token| token == END).expect("a vocabulary"))
}

fn person() -> Constraint {
    Constraint::JsonSchema(json!({
        "type": "object",
        "properties": {
            "name": { "type": "string" },
            "age": { "type": "integer", "minimum": 0, "maximum": 150 },
            "kind": { "enum": ["friend", "colleague", "stranger"] },
            "notes": { "type": "array", "items": { "type": "string" }, "maxItems": 5 },
        },
        "required": ["name", "age", "kind"],
    }))
}

fn logits() -> Vec<f32> {
    (0..TOKENS).map(|token| (token.wrapping_mul(2_654_435_761) >> 8) as f32 / 1e6).collect()
}

fn likeliest(logits: &[f32]) -> u32 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    logits.iter().position(|logit| *logit >= max).map_or(0, |place| place as u32)
}

#[divan::bench]
fn sample_alone(bencher: Bencher) {
    let logits = logits();
    bencher.bench_local(|| likeliest(divan::black_box(&logits)));
}

/// The next token of an answer that has come so far, and the step of the grammar behind it.
#[divan::bench(args = ["{", "{\"name\": \"ba", "{\"name\": \"ba\", \"age\": ", "{\"name\": \"ba\", \"age\": 7,"])]
fn mask_and_sample(bencher: Bencher, so_far: &str) {
    let vocabulary = vocabulary();
    let logits = logits();
    let mut masked = Vec::new();
    bencher
        .with_inputs(|| {
            let mut guard = Guard::new(Arc::clone(&vocabulary), &person()).expect("a schema");
            for byte in so_far.bytes() {
                guard.mask(&logits, &mut Vec::new()).expect("a mask");
                guard.accept(u32::from(byte)).expect("an allowed token");
            }
            guard
        })
        .bench_local_refs(|guard| {
            guard.mask(&logits, &mut masked).expect("a mask");
            let token = likeliest(&masked);
            guard.accept(token).expect("an allowed token");
        });
}

/// Once for a model.
#[divan::bench(sample_count = 3)]
fn read_vocabulary() -> Arc<Vocabulary> {
    vocabulary()
}

/// Once for a request.
#[divan::bench]
fn compile_schema(bencher: Bencher) {
    let vocabulary = vocabulary();
    bencher.bench_local(|| Guard::new(Arc::clone(&vocabulary), &person()).expect("a schema"));
}
