//! The graph of an encoder: no cache, a text at once, one vector for each text behind it.
//!
//! Source: llama.cpp's `src/models/bert.cpp` and `gemma-embedding.cpp`, and `build_pooling` in `llama-graph.cpp`.

use super::{
    decoder,
    graph::{Graph, Tensor},
    step::{Heads, Network, Step},
};

/// Architectures whose graph is made here.
const ARCHITECTURES: [&str; 4] = ["bert", "gemma-embedding", "jina-bert-v3", "nomic-bert"];

/// Pooling by one token, as files write it (`pooling_type`); anything else is a mean.
const POOLING_FIRST: u64 = 2;
const POOLING_LAST: u64 = 3;
const POOLING_RANK: u64 = 4;

/// Whether `graph` knows this architecture.
pub(super) fn is_known(architecture: &str) -> bool {
    ARCHITECTURES.contains(&architecture)
}

/// The graph of one step.
pub(super) fn graph(step: Step) -> Graph {
    if step.header.architecture() == "gemma-embedding" { gemma(step) } else { bert(step) }
}

fn bert(mut step: Step) -> Graph {
    let architecture = step.header.architecture().to_owned();
    let mut stream = step.embeddings(false);
    stream = step.graph.in_place(&[stream]);
    if architecture == "bert" {
        let places = step.graph.fresh(&[step.width, step.tokens], &[step.positions]);
        stream = step.graph.in_place(&[places, stream]);
    }
    stream = step.norm(stream, true);
    let mask = step.uncached_mask();
    let layers = step.layers();
    for layer in 0..layers {
        stream = encoder_layer(&mut step, stream, layer, mask, layer + 1 == layers);
    }
    step.graph.keep(stream);
    step.graph.expand(stream);
    pooled(&mut step, stream);
    step.graph
}

fn encoder_layer(
    step: &mut Step,
    input: Tensor,
    layer: u64,
    mask: Tensor,
    is_last: bool,
) -> Tensor {
    let shape = step.shape(layer);
    let architecture = step.header.architecture();
    let (mut queries, mut keys, values) = if architecture == "bert" {
        decoder::projections_biased(step, input, &shape)
    } else {
        decoder::projections_in_one(step, input, &shape)
    };
    if matches!(architecture, "nomic-bert" | "jina-bert-v3") {
        queries = step.rotated(queries);
        keys = step.rotated(keys);
    }
    let heads = Heads::plain(queries, shape);
    let given = step.attend_uncached(&heads, (keys, values), mask);
    let given = step.project(given, step.width);
    let mut given = step.graph.in_place(&[given]);
    let mut input = input;
    if is_last {
        given = step.wanted_rows(given);
        input = step.wanted_rows(input);
    }
    let stream = step.graph.in_place(&[given, input]);
    let stream = step.norm(stream, true);
    let inner = step.inner(layer);
    let network = match step.header.architecture() {
        "bert" | "jina-bert-v3" => Network::Plain,
        _ => Network::Gated,
    };
    let given = step.network(stream, inner, network);
    let stream = step.graph.in_place(&[given, stream]);
    step.norm(stream, true)
}

fn gemma(mut step: Step) -> Graph {
    let mut stream = step.embeddings(true);
    let masks = [step.uncached_mask(), step.uncached_mask()];
    let layers = step.layers();
    for layer in 0..layers {
        let slides = step.slides(layer);
        let shape = step.shape(layer);
        let normed = step.norm(stream, false);
        let (queries, keys, values) = decoder::projections(&mut step, normed, &shape);
        let queries = step.norm(queries, false);
        let queries = step.rotated(queries);
        let queries = step.graph.in_place(&[queries]);
        let keys = step.norm(keys, false);
        let keys = step.rotated(keys);
        let heads = Heads::plain(queries, shape);
        let mask = masks[usize::from(slides)];
        let given = step.attend_uncached(&heads, (keys, values), mask);
        let mut given = step.project(given, step.width);
        if layer + 1 == layers {
            given = step.wanted_rows(given);
            stream = step.wanted_rows(stream);
        }
        let given = step.norm(given, false);
        let attended = step.graph.in_place(&[given, stream]);
        let normed = step.norm(attended, false);
        let inner = step.inner(layer);
        let given = step.network(normed, inner, Network::Gated);
        let given = step.norm(given, false);
        stream = step.graph.in_place(&[given, attended]);
    }
    let normed = step.norm(stream, false);
    step.graph.keep(normed);
    step.graph.expand(normed);
    pooled(&mut step, normed);
    step.graph
}

/// One vector for each text.
fn pooled(step: &mut Step, of: Tensor) {
    let texts = u64::from(step.layout.sequences_max.max(1));
    let kind = step.header.arch_u64("pooling_type").unwrap_or(0);
    let width = step.width;
    let pooled = if matches!(kind, POOLING_FIRST | POOLING_LAST | POOLING_RANK) {
        let ids = step.graph.input(4, &[texts]);
        step.graph.fresh(&[width, texts], &[of, ids])
    } else {
        let rows = step.rows;
        let shares = step.graph.input(super::super::FLOAT_BYTES, &[step.tokens, texts]);
        let turned = step.graph.view(of, &[rows, width]);
        let turned = step.graph.fresh(&[rows, width], &[turned]);
        step.graph.fresh(&[width, texts], &[turned, shares])
    };
    step.graph.keep(pooled);
    step.graph.expand(pooled);
}
