//! What a frame costs on either side of the pipe: a token's text, the most frequent of all.
//!
//! Run with `cargo bench -p worker-protocol`. Not here: the pipe itself.

use std::hint::black_box;

use divan::Bencher;
use worker_protocol::{
    Event, Generate, Piece, Prompt, Report, RequestId,
    frame::{Decoder, encode},
};

fn main() {
    divan::main();
}

#[divan::bench]
fn encode_text(bencher: Bencher) {
    let report = text(7);
    bencher.bench_local(|| encode(black_box(&report)).expect("a frame"));
}

#[divan::bench]
fn decode_text(bencher: Bencher) {
    let frame = encode(&text(7)).expect("a frame");
    let mut decoder = Decoder::default();
    bencher.bench_local(|| {
        decoder.push(black_box(&frame));
        decoder.take::<Report>().expect("a report")
    });
}

/// What a reader finds in the pipe after a step of so many streams.
#[divan::bench(args = [8, 64])]
fn decode_step(bencher: Bencher, streams: u64) {
    let frames: Vec<u8> = (0..streams).flat_map(|id| encode(&text(id)).expect("a frame")).collect();
    let mut decoder = Decoder::default();
    bencher.counter(divan::counter::ItemsCount::new(streams)).bench_local(|| {
        decoder.push(black_box(&frames));
        let mut events = 0;
        while let Some(report) = decoder.take::<Report>().expect("a report") {
            black_box(report);
            events += 1;
        }
        events
    });
}

/// A prompt of so many tokens, as the hub sends it.
#[divan::bench(args = [512, 131_072])]
fn encode_prompt(bencher: Bencher, tokens: u32) {
    let generate = Generate::new(Prompt::Tokens((0..tokens).collect()));
    bencher.bench_local(|| encode(black_box(&generate)).expect("a frame"));
}

fn text(request: u64) -> Report {
    let piece = Piece { text: " resident".to_owned(), logprobs: Vec::new() };
    Report::Event { request: RequestId(request), event: Event::Text(piece) }
}
