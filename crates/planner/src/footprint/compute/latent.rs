//! The graph of DeepSeek's latent attention, which keeps one compressed vector for each token.
//!
//! Source: llama.cpp's `src/models/deepseek2.cpp`.

use super::{
    super::{
        layers::{self, Attention},
        product,
    },
    decoder,
    graph::{Graph, Tensor},
    step::{Heads, Network, Step},
};

/// Widths inside latent attention.
#[derive(Debug, Clone, Copy)]
struct Widths {
    heads: u64,
    /// The compressed vector.
    rank: u64,
    /// Numbers of a key that turn with the position.
    turned: u64,
    /// Numbers of a key, and of a value, of one head when they are not compressed.
    key: u64,
    value: u64,
    /// The rank of the compressed queries; zero when they are not.
    query_rank: u64,
}

/// Whether a graph is made here for this architecture.
pub(super) fn is_known(architecture: &str) -> bool {
    architecture == "deepseek2"
}

/// The graph of one step.
pub(super) fn graph(mut step: Step) -> Graph {
    let mut stream = step.embeddings(false);
    let layers = step.layers();
    for layer in 0..layers {
        let normed = step.norm(stream, false);
        let mut given = if layers::is_latent(step.header) {
            compressed(&mut step, normed, layer)
        } else {
            uncompressed(&mut step, normed, layer)
        };
        if layer + 1 == layers {
            given = step.wanted_rows(given);
            stream = step.wanted_rows(stream);
        }
        let residual = step.graph.in_place(&[given, stream]);
        let normed = step.norm(residual, false);
        let given = decoder::feed_forward(&mut step, normed, layer, Network::Gated);
        stream = step.graph.in_place(&[given, residual]);
    }
    decoder::finish(&mut step, stream, false, false, false);
    step.graph
}

impl Widths {
    fn of(step: &Step, layer: u64) -> Self {
        let shape = step.shape(layer);
        let number = |suffix: &str| step.header.arch_u64(suffix);
        Self {
            heads: shape.heads,
            rank: number("attention.kv_lora_rank").unwrap_or(0),
            turned: number("rope.dimension_count").unwrap_or(0),
            key: number("attention.key_length_mla").unwrap_or(shape.key_width),
            value: number("attention.value_length_mla").unwrap_or(shape.value_width),
            query_rank: number("attention.q_lora_rank").unwrap_or(0),
        }
    }
}

/// Queries of all heads, and the two parts of the compressed vector: normed, and turned.
fn queries_and_latent(step: &mut Step, of: Tensor, widths: &Widths) -> (Tensor, Tensor, Tensor) {
    let Widths { heads, rank, turned, key, query_rank, .. } = *widths;
    let tokens = step.tokens;
    let mut source = of;
    if query_rank > 0 {
        source = step.project(of, query_rank);
        source = step.norm(source, false);
    }
    let queries = step.project(source, product(&[key, heads]));
    let queries = step.graph.view(queries, &[key, heads, tokens]);
    let both = step.project(of, rank.saturating_add(turned));
    let latent = step.graph.view(both, &[rank, tokens]);
    let place = step.graph.view(both, &[turned, 1, tokens]);
    let place = step.rotated(place);
    let latent = step.norm(latent, false);
    (queries, latent, place)
}

fn compressed(step: &mut Step, of: Tensor, layer: u64) -> Tensor {
    let widths = Widths::of(step, layer);
    let Widths { heads, rank, turned, key, value, .. } = widths;
    let tokens = step.tokens;
    let (queries, latent, place) = queries_and_latent(step, of, &widths);
    let still = key.saturating_sub(turned);
    let graph = &mut step.graph;
    let plain = graph.view(queries, &[still, heads, tokens]);
    let plain = graph.view(plain, &[still, tokens, heads]);
    let absorbed = graph.fresh(&[rank, tokens, heads], &[plain]);
    let absorbed = graph.view(absorbed, &[rank, heads, tokens]);
    let placed = graph.view(queries, &[turned, heads, tokens]);
    let placed = step.rotated(placed);
    let wide = rank.saturating_add(turned);
    let graph = &mut step.graph;
    let queries = graph.fresh(&[wide, heads, tokens], &[absorbed, placed]);
    graph.fix(queries);
    let latent = graph.view(latent, &[rank, 1, tokens]);
    let keys = graph.fresh(&[wide, 1, tokens], &[latent, place]);
    graph.fix(keys);
    let shape = Attention { heads, heads_kv: 1, key_width: wide, value_width: rank };
    let heads = Heads { decode: Some(value), ..Heads::plain(queries, shape) };
    let given = step.attend(&heads, Some((keys, latent)));
    step.project(given, step.width)
}

fn uncompressed(step: &mut Step, of: Tensor, layer: u64) -> Tensor {
    let widths = Widths::of(step, layer);
    let Widths { heads, turned, key, value, .. } = widths;
    let tokens = step.tokens;
    let (queries, latent, place) = queries_and_latent(step, of, &widths);
    let still = key.saturating_sub(turned);
    let both = product(&[heads, still.saturating_add(value)]);
    let both = step.project(latent, both);
    let graph = &mut step.graph;
    let values = graph.view(both, &[value, heads, tokens]);
    let values = graph.fresh(&[value, heads, tokens], &[values]);
    let still = graph.view(both, &[still, heads, tokens]);
    let queries = step.rotated(queries);
    let graph = &mut step.graph;
    let place = graph.fresh(&[turned, heads, tokens], &[place]);
    let keys = graph.fresh(&[key, heads, tokens], &[still, place]);
    graph.fix(keys);
    let shape = Attention { heads, heads_kv: heads, key_width: key, value_width: value };
    let fresh = Some((keys, values));
    let given = step.attend(&Heads::plain(queries, shape), fresh);
    step.project(given, step.width)
}
