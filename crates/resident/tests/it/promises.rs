//! What a worker really takes beside what the plan said: after loading, with a full context, and after an answer that
//! was held to a schema, for which the plan has the vocabulary once more.
//!
//! `cargo test -p resident --test it promises -- --nocapture` prints the figures. The models have
//! random weights in real shapes, a few layers of them by default so that this takes seconds;
//! RESIDENT_PROMISES=whole runs whole models, which takes minutes and gigabytes.
//!
//! Compute buffers are reserved for steps of 512 tokens. The worker takes as many tokens in a step
//! as keep it short, on a slow machine fewer, and pages that no step has touched are not in memory.
//! Neither are rows of the input layer's table that no token has used, where the output has a table
//! of its own. So a worker may take less than the plan by as much as these two.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;

use planner::footprint::{self, CacheType, Footprint, Layout};
use planner::gguf;
use serde_json::{Value, json};

use crate::hub::Hub;
use crate::made;

/// How far the plan may be off.
const TOLERANCE: f64 = 0.05;

const CONTEXT_TOKENS: u32 = 1024;

/// A conversation grows by this much, so that no answer takes long on a busy machine.
const TURN_TOKENS: u32 = 256;
const PARALLEL: u32 = 2;

/// A sequence of the worker's own, beside those for requests.
const INTERNAL_SEQUENCES: u32 = 1;

/// Architecture, shape, quantization, and how many layers are enough to be large beside what every
/// process has.
const MODELS: [[&str; 4]; 4] = [
    ["qwen3", "qwen3-0.6b", "q8_0", "28"],
    ["llama", "llama-3.2-1b", "q8_0", "12"],
    ["gemma3", "gemma-3-1b", "q4_0", "26"],
    ["qwen3", "qwen3-4b", "q4_0", "8"],
];

/// The same with keys and values in fewer bits, of the first model, whose cache is the largest part.
const QUANTIZED: CacheType = CacheType::Q8_0;

/// One that guesses for itself: with its own layer, and states that can be taken back.
const GUESSING: [&str; 4] = ["qwen35", "qwen3.5-0.8b-mtp", "q8_0", "8"];

/// Guesses of each of its steps.
const GUESSES: u32 = 3;

/// Nearly all weights, as on machines that are planned for; too large for every run.
const LARGE: [&str; 4] = ["qwen3", "qwen3-8b", "q8_0", "36"];

#[test]
fn a_worker_takes_what_the_plan_said() {
    let whole = std::env::var("RESIDENT_PROMISES").is_ok_and(|value| value == "whole");
    let mut broken = Vec::new();
    let large = whole.then_some(LARGE);
    let halves = MODELS.into_iter().chain(large).map(|model| (model, CacheType::F16));
    for (model, kv_type) in halves.chain([(MODELS[0], QUANTIZED), (GUESSING, CacheType::F16)]) {
        let guesses = model == GUESSING;
        let [architecture, shape, quantization, layers] = model;
        let layers: &[&str] = if whole { &[] } else { &["--layers", layers] };
        let name = format!("{shape}-{}-layers-{quantization}", layers.last().unwrap_or(&"all"));
        let arguments = ["--arch", architecture, "--like", shape, "--quant", quantization];
        let path = made::model(&name, &[&arguments[..], layers, &["--seed", "1"]].concat());
        let (planned, by_row) = planned(&path, kv_type, guesses);
        let [loaded, filled, held] = taken_bytes(&path, kv_type, guesses);
        let not_yet = planned.bytes_of(footprint::CONSTRAINED);
        for (when, taken, not_yet) in [
            ("loaded", loaded, not_yet),
            ("filled", filled, not_yet),
            ("held to a schema", held, 0),
        ] {
            let mebibytes = |bytes: u64| bytes / (1024 * 1024);
            let most = planned.total_bytes() - not_yet;
            let compute = compute_bytes(&planned);
            let line = format!(
                "{name} {} {when}: planned {} MiB, {} of it compute buffers and {} read by row; takes {} \
                 MiB, {:+.1} % of the plan",
                kv_type.name(),
                mebibytes(most),
                mebibytes(compute),
                mebibytes(by_row),
                mebibytes(taken),
                100.0 * (taken as f64 / most as f64 - 1.0)
            );
            println!("{line}");
            let least = most - compute - by_row;
            let taken = taken as f64;
            if taken > most as f64 * (1.0 + TOLERANCE) || taken < least as f64 * (1.0 - TOLERANCE) {
                broken.push(line);
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The plan, and what of it is read row by row.
fn planned(path: &Path, kv_type: CacheType, guesses: bool) -> (Footprint, u64) {
    let bytes = fs::read(path).unwrap();
    let header = gguf::parse(&bytes, bytes.len() as u64).unwrap();
    let layout = Layout::new(CONTEXT_TOKENS, PARALLEL + INTERNAL_SEQUENCES);
    let mut layout = Layout { keys: kv_type, values: kv_type, ..layout };
    if guesses {
        layout = Layout { own_head: true, taken_back_max: GUESSES, ..layout };
    }
    (footprint::predict(&header, &layout), footprint::weights(&header).by_row_bytes())
}

/// Buffers that steps compute in, of the model and of its own layer that guesses.
fn compute_bytes(planned: &Footprint) -> u64 {
    let of_head = |item: &&footprint::Item| {
        item.what == footprint::HEAD && item.why.starts_with(footprint::COMPUTE)
    };
    let of_head = planned.items.iter().filter(of_head).map(|item| item.bytes);
    planned.bytes_of(footprint::COMPUTE) + of_head.sum::<u64>()
}

/// What the model's worker holds after its first answer, after a conversation that fills its context, and after an
/// answer that was held to a schema.
fn taken_bytes(path: &Path, kv_type: CacheType, guesses: bool) -> [u64; 3] {
    let folder = tempfile::tempdir().unwrap();
    let guesses = if guesses {
        format!("speculation = 'mtp'\ndraft_tokens = {GUESSES}")
    } else {
        "speculation = 'off'".to_owned()
    };
    let text = format!("[models.made]\npath = '{}'\n{guesses}\n", path.display());
    let hub = Hub::configured_with(folder.path(), &text, |serve| {
        serve.args(["--context", &CONTEXT_TOKENS.to_string()]);
        // The plan is about the model itself; what is kept beside it is booked apart.
        serve.args(["--kv-cache", "off", "--kv-type", kv_type.name()]);
        serve.args(["--parallel", &PARALLEL.to_string()]);
    });
    let ask = |prompt_tokens: u32, tokens: u32, format: Value| {
        let prompt: Vec<u32> = (0..prompt_tokens).map(|index| 1000 + index * 7 % 50_000).collect();
        hub.post(
            "/v1/completions",
            &json!({
                "model": "made", "prompt": prompt, "max_tokens": tokens,
                "temperature": 0, "ignore_eos": format.is_null(), "response_format": format
            }),
        )
        .ok();
    };
    let taken = || {
        let [worker] = hub.workers()[..] else { panic!("not one worker: {:?}", hub.workers()) };
        worker.proportional_bytes().expect("a running worker")
    };
    ask(1, 1, Value::Null);
    let loaded = taken();
    for turn in 1..CONTEXT_TOKENS / TURN_TOKENS {
        ask(turn * TURN_TOKENS, 1, Value::Null);
    }
    ask(CONTEXT_TOKENS - 16, 8, Value::Null);
    let filled = taken();
    ask(1, 8, json!({ "type": "json_object" }));
    [loaded, filled, taken()]
}
