//! What decisions cost: a step of the batch planner, an event of the fleet, a header of a real
//! model's size, and the plan of one.
//!
//! Run with `cargo bench -p planner`. Not here: whether the decisions are right (tests), and what a
//! whole request costs (`resident bench`).

use std::{collections::BTreeSet, hint::black_box, time::Duration};

use divan::Bencher;
use planner::{
    batch::{Batch, Rates, Shape},
    catalogue, fit,
    fleet::{Action, Event, Fleet, Model, Policy, Priority, RequestId, Terms, When, WorkerId},
    footprint::{self, Layout},
    gguf::{self, Array, ElementType, Value},
    machine, speed,
};

fn main() {
    divan::main();
}

/// Tokens of each stream before the measured steps.
const PROMPT_TOKENS: u32 = 128;

/// One step of so many running streams, the sampled tokens included. A step of the engine takes
/// milliseconds; this must be a small part of one.
#[divan::bench(args = [8, 64])]
fn batch_step(bencher: Bencher, streams: u32) {
    bencher.with_inputs(|| running(streams)).bench_local_refs(|batch| {
        let step = batch.step(black_box(None));
        for row in step.rows.iter().filter(|row| row.output) {
            black_box(batch.accept(row.key, row.token));
        }
        step
    });
}

/// Admission of one request beside so many running streams whose prompts it does not share.
#[divan::bench(args = [7, 63])]
fn batch_admit(bencher: Bencher, streams: u32) {
    let waiting = || {
        let mut batch = with_room(streams + 1, streams);
        let submitted = batch.submit(u64::MAX, prompt(u32::MAX / PROMPT_TOKENS));
        assert_eq!(submitted, Ok(()));
        batch
    };
    bencher.with_inputs(waiting).bench_local_refs(|batch| {
        let admissions = batch.admit(Rates::default(), &mut |_, _, _| None);
        assert_eq!(admissions.len(), 1, "there is room for it");
        admissions
    });
}

/// A request for a model that is ready comes and goes: what the fleet costs each answer.
#[divan::bench(args = [1, 16])]
fn fleet_request(bencher: Bencher, models: u64) {
    let mut fleet = fleet(models);
    let mut request = models;
    let mut actions = Vec::new();
    bencher.bench_local(|| {
        request += 1;
        actions.clear();
        fleet.handle(NOW, wanted(request, request % models), &mut actions);
        let released = Event::Released { request: RequestId(request) };
        fleet.handle(NOW, black_box(released), &mut actions);
        assert_eq!(actions.len(), 1, "it is granted at once");
    });
}

/// What would become of a request for a model that is ready: what a role asks of each of its models
/// before each request.
#[divan::bench(args = [1, 16])]
fn fleet_verdict(bencher: Bencher, models: u64) {
    let fleet = fleet(models);
    let (model, terms) = (model(0), terms());
    bencher.bench_local(|| fleet.verdict(NOW, black_box(&model), &terms));
}

/// The same with all that a person is told about it, which is tried on a copy of the fleet.
#[divan::bench(args = [1, 16])]
fn fleet_what_if(bencher: Bencher, models: u64) {
    let fleet = fleet(models);
    let (model, terms) = (model(0), terms());
    bencher.bench_local(|| fleet.what_if(NOW, black_box(&model), &terms));
}

const NOW: When = When(Duration::from_secs(1));

/// So many models, all ready and none in use.
fn fleet(models: u64) -> Fleet {
    let (budget_bytes, idle_unload) = (models, Duration::MAX);
    let mut fleet = Fleet::new(Policy { budget_bytes, idle_unload, exclusive: BTreeSet::new() });
    let mut actions = Vec::new();
    for model in 0..models {
        fleet.handle(NOW, wanted(model, model), &mut actions);
    }
    let started = actions.iter().filter_map(|action| match action {
        Action::Start { worker, .. } => Some(*worker),
        Action::Stop { .. }
        | Action::Grant { .. }
        | Action::Refuse { .. }
        | Action::Trim { .. } => None,
    });
    let started: Vec<WorkerId> = started.collect();
    assert_eq!(started.len() as u64, models);
    for worker in started {
        fleet.handle(NOW, Event::Ready { worker, measured_bytes: 1 }, &mut actions);
    }
    for model in 0..models {
        fleet.handle(NOW, Event::Released { request: RequestId(model) }, &mut actions);
    }
    fleet
}

fn wanted(request: u64, number: u64) -> Event {
    let (model, terms) = (model(number), terms());
    let (request, priority) = (RequestId(request), Priority::Interactive);
    Event::Wanted { request, model, terms, priority, keep_alive: None }
}

fn model(number: u64) -> Model {
    Model { name: format!("model{number}").into(), version: 1 }
}

fn terms() -> Terms {
    Terms {
        bytes: 1,
        group: None,
        pinned: false,
        idle_unload: None,
        load_time: Duration::ZERO,
        once: false,
    }
}

/// A header with a vocabulary of 150,000 tokens, its types and its merges, and 400 tensors.
#[divan::bench]
fn gguf_parse_150k_vocabulary(bencher: Bencher) {
    let (header, file_bytes) = header();
    bencher
        .counter(divan::counter::BytesCount::of_slice(&header))
        .bench_local(|| gguf::parse(black_box(&header), file_bytes).expect("a whole header"));
}

/// From the bytes of a real model's header to its footprint, verdict and speed: what planning one
/// local file costs beside reading it. It must stay under 5 ms.
#[divan::bench(args = ["qwen3-8b", "qwen3-30b-a3b", "qwen3.6-27b"])]
fn plan_from_header(bencher: Bencher, name: &str) {
    let (bytes, file_bytes) = real_header(name);
    let machine = machine::known("m4-16gb").expect("a known machine");
    let budget = machine::budget(&machine, &machine::Reserve::default());
    let layout = Layout { place: machine.place(), ..Layout::new(16_384, 9) };
    bencher.bench_local(|| {
        let header = gguf::parse(black_box(&bytes), file_bytes).expect("a whole header");
        let judgement = fit::judge(&footprint::predict(&header, &layout), &budget);
        (judgement, speed::estimate(&header, &machine, &layout, 0))
    });
}

/// The header of a model of the catalogue with as large a vocabulary as its files have, and the
/// length of its file.
fn real_header(name: &str) -> (Vec<u8>, u64) {
    let entry = catalogue::builtin().find(name).expect("a model of the catalogue");
    let mut header = entry.header("Q4_K_M").expect("a recipe of llama.cpp");
    let tokens = header.vocabulary_tokens();
    for (key, word) in [("tokens", "token"), ("merges", "to ken")] {
        let kept: Vec<Value> = (0..tokens).map(|id| Value::String(format!("{word}{id}"))).collect();
        let element = ElementType::String;
        let words = Array { element, len: tokens, place: 0..0, kept: Some(kept) };
        header.metadata.insert(format!("tokenizer.ggml.{key}"), Value::Array(words));
    }
    let bytes = gguf::write::write(&header).expect("nothing was left out");
    let file_bytes = bytes.len() as u64 + header.tensor_bytes();
    (bytes, file_bytes)
}

fn running(streams: u32) -> Batch {
    with_room(streams, streams)
}

/// A batch of `sequences` in which `streams` are past their prompts.
fn with_room(sequences: u32, streams: u32) -> Batch {
    let shape = Shape {
        cells: sequences * 1024,
        sequences,
        step_tokens_max: 512,
        trims: true,
        keeps_states: false,
        outputs_max: 64,
        takes_back_max: u32::MAX,
    };
    let mut batch = Batch::new(shape);
    for stream in 0..streams {
        assert_eq!(batch.submit(stream.into(), prompt(stream)), Ok(()));
    }
    loop {
        assert!(batch.admit(Rates::default(), &mut |_, _, _| None).len() <= sequences as usize);
        let step = batch.step(None);
        let is_in_prompts = step.prefill_rows > 0;
        for row in step.rows.iter().filter(|row| row.output) {
            let _continues = batch.accept(row.key, row.token);
        }
        if !is_in_prompts {
            return batch;
        }
    }
}

/// A prompt that no other stream's begins like.
fn prompt(stream: u32) -> Vec<u32> {
    (0..PROMPT_TOKENS).map(|position| stream.wrapping_mul(PROMPT_TOKENS) + position).collect()
}

const TOKENS: u32 = 150_000;
const TENSORS: u64 = 400;
const TENSOR_FLOATS: u64 = 8;
const STRING: u32 = 8;
const INTEGER: u32 = 5;
const ARRAY: u32 = 9;

/// A header and the length of its file.
fn header() -> (Vec<u8>, u64) {
    let tokens: Vec<u8> = (0..TOKENS).flat_map(|id| text(&format!("token{id}"))).collect();
    let types: Vec<u8> = (0..TOKENS).flat_map(|_| 1_u32.to_le_bytes()).collect();
    let merges: Vec<u8> = (0..TOKENS).flat_map(|id| text(&format!("to ken{id}"))).collect();
    let architecture = [STRING.to_le_bytes().to_vec(), text("llama")].concat();
    let pairs = [
        ("general.architecture", architecture),
        ("llama.block_count", whole(32)),
        ("llama.context_length", whole(32768)),
        ("llama.embedding_length", whole(4096)),
        ("llama.attention.head_count", whole(32)),
        ("tokenizer.ggml.tokens", array(STRING, &tokens)),
        ("tokenizer.ggml.token_type", array(INTEGER, &types)),
        ("tokenizer.ggml.merges", array(STRING, &merges)),
    ];
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3_u32.to_le_bytes());
    bytes.extend(TENSORS.to_le_bytes());
    bytes.extend((pairs.len() as u64).to_le_bytes());
    for (key, value) in pairs {
        bytes.extend(text(key));
        bytes.extend(value);
    }
    let tensor_bytes = TENSOR_FLOATS * 4;
    for index in 0..TENSORS {
        bytes.extend(text(&format!("blk.{index}.weight")));
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend(TENSOR_FLOATS.to_le_bytes());
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend((index * tensor_bytes).to_le_bytes());
    }
    let file_bytes = (bytes.len() as u64).next_multiple_of(32) + TENSORS * tensor_bytes;
    (bytes, file_bytes)
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

fn whole(value: u32) -> Vec<u8> {
    [4_u32.to_le_bytes(), value.to_le_bytes()].concat()
}

fn array(element: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = ARRAY.to_le_bytes().to_vec();
    bytes.extend(element.to_le_bytes());
    bytes.extend(u64::from(TOKENS).to_le_bytes());
    bytes.extend(content);
    bytes
}
