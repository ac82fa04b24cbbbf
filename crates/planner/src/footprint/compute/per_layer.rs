//! The graphs of Gemma 3n and Gemma 4, which look up further vectors of each token for each layer.
//!
//! Source: llama.cpp's `src/models/gemma3n.cpp` and `gemma4.cpp`.

use super::{
    super::{layers::Attention, product},
    decoder,
    graph::{Graph, Tensor},
    step::{Heads, Network, Step},
};

/// Streams that Gemma 3n predicts beside each other, and the width of its shortcut. Source:
/// `n_altup` and `laurel_rank` in `llama-hparams.h`.
const STREAMS: u64 = 4;
const SHORTCUT_WIDTH: u64 = 64;
/// Layers of Gemma 3n in which only the largest numbers of the network count. Source:
/// `n_layer_sparsity` in `models.h`.
const SPARSE_LAYERS: u64 = 10;

/// Whether a graph is made here for this architecture.
pub(super) fn is_known(architecture: &str) -> bool {
    matches!(architecture, "gemma3n" | "gemma4")
}

/// The graph of one step.
pub(super) fn graph(step: Step) -> Graph {
    if step.header.architecture() == "gemma3n" { gemma3n(step) } else { gemma4(step) }
}

/// The further vectors of all tokens, by layer; none when the model has none.
fn inputs_by_layer(step: &mut Step, stream: Tensor) -> Option<(Tensor, u64)> {
    let width =
        step.header.arch_u64("embedding_length_per_layer_input").filter(|&width| width > 0)?;
    let layers = step.layers();
    let tokens = step.tokens;
    let all = product(&[width, layers]);
    let graph = &mut step.graph;
    let ids = graph.input(4, &[tokens]);
    let looked_up = graph.fresh(&[all, tokens], &[ids]);
    graph.in_ram(looked_up);
    let shaped = graph.view(looked_up, &[width, layers, tokens]);
    let scaled = graph.in_place(&[shaped]);
    graph.expand(scaled);
    let projected = step.project(stream, all);
    let graph = &mut step.graph;
    let projected = graph.in_place(&[projected]);
    let projected = graph.view(projected, &[width, layers, tokens]);
    let projected = step.norm(projected, false);
    let graph = &mut step.graph;
    let sum = graph.in_place(&[projected, scaled]);
    let sum = graph.in_place(&[sum]);
    let turned = graph.view(sum, &[width, tokens, layers]);
    Some((graph.fresh(&[width, tokens, layers], &[turned]), width))
}

/// What a layer adds from its own vectors of the tokens.
fn own_input(step: &mut Step, of: Tensor, inputs: Tensor, width: u64) -> Tensor {
    let gate = step.project(of, width);
    let gate = step.graph.in_place(&[gate]);
    let own = step.graph.view(inputs, &[width, step.tokens]);
    let gated = step.graph.in_place(&[gate, own]);
    let given = step.project(gated, step.width);
    step.norm(given, false)
}

/// Attention with norms on queries, keys and values; layers that share a cache have queries only.
fn attention(step: &mut Step, of: Tensor, layer: u64) -> Tensor {
    let shape = step.shape(layer);
    let Attention { heads, heads_kv, key_width, value_width } = shape;
    let tokens = step.tokens;
    let queries = step.project(of, product(&[key_width, heads]));
    let queries = step.graph.view(queries, &[key_width, heads, tokens]);
    let queries = step.norm(queries, false);
    let queries = step.rotated(queries);
    let has_cache = step.caches(layer);
    let fresh = has_cache.then(|| {
        let [keys, values] = [key_width, value_width].map(|width| {
            let flat = step.project(of, width.saturating_mul(heads_kv));
            step.graph.view(flat, &[width, heads_kv, tokens])
        });
        let keys = step.norm(keys, false);
        let keys = step.rotated(keys);
        (keys, step.graph.in_place(&[values]))
    });
    let slides = step.slides(layer);
    let heads = Heads { slides, ..Heads::plain(queries, shape) };
    let given = step.attend(&heads, fresh);
    let given = step.project(given, step.width);
    step.norm(given, false)
}

fn gemma4(mut step: Step) -> Graph {
    let mut stream = step.embeddings(true);
    let inputs = inputs_by_layer(&mut step, stream);
    let layers = step.layers();
    for layer in 0..layers {
        let normed = step.norm(stream, false);
        let given = attention(&mut step, normed, layer);
        let attended = step.graph.in_place(&[given, stream]);
        let given = gemma4_network(&mut step, attended, layer);
        let given = step.norm(given, false);
        stream = step.graph.in_place(&[given, attended]);
        if let Some((inputs, width)) = inputs {
            let own = own_input(&mut step, stream, inputs, width);
            stream = step.graph.in_place(&[stream, own]);
        }
        stream = step.graph.in_place(&[stream]);
    }
    let normed = step.norm(stream, false);
    step.graph.keep(normed);
    let wanted = step.wanted_rows(normed);
    let squeezes = step.header.arch("final_logit_softcapping").is_some();
    decoder::logits(&mut step, wanted, squeezes);
    step.graph
}

/// A network, with experts beside it where the layer has them.
fn gemma4_network(step: &mut Step, of: Tensor, layer: u64) -> Tensor {
    let inner = step.inner(layer);
    let normed = step.norm(of, false);
    let given = step.network(normed, inner, Network::Gated);
    let Some(experts) = decoder::experts(step.header, layer) else {
        return given;
    };
    let given = step.norm(given, false);
    let normed = step.norm(of, false);
    let routed = step.experts(normed, &experts);
    let routed = step.norm(routed, false);
    step.graph.in_place(&[given, routed])
}

fn gemma3n(mut step: Step) -> Graph {
    let stream = step.embeddings(true);
    let inputs = inputs_by_layer(&mut step, stream);
    let (width, tokens) = (step.width, step.tokens);
    let target = magnitude(&mut step, stream);
    let graph = &mut step.graph;
    let others = [width, tokens, STREAMS - 1];
    let repeated = graph.fresh(&others, &[stream]);
    let projected = graph.fresh(&others, &[repeated]);
    let own = magnitude(&mut step, projected);
    let graph = &mut step.graph;
    let scaled = graph.in_place(&[projected, target]);
    let scaled = graph.in_place(&[scaled, own]);
    let mut streams = graph.fresh(&[width, tokens, STREAMS], &[stream, scaled]);
    graph.fix(streams);
    for layer in 0..step.layers() {
        streams = gemma3n_layer(&mut step, streams, inputs, layer);
    }
    let merged = merged(&mut step, streams);
    let wanted = step.wanted_rows(merged);
    decoder::finish(&mut step, wanted, false, false, true);
    step.graph
}

fn gemma3n_layer(
    step: &mut Step,
    streams: Tensor,
    inputs: Option<(Tensor, u64)>,
    layer: u64,
) -> Tensor {
    let (width, tokens) = (step.width, step.tokens);
    let predictions = predicted(step, streams);
    let active = step.graph.view(predictions, &[width, tokens]);
    let normed = step.norm(active, false);
    let shortcut = step.project(normed, SHORTCUT_WIDTH);
    let shortcut = step.project(shortcut, width);
    let shortcut = step.norm(shortcut, false);
    let shortcut = step.graph.in_place(&[shortcut, normed]);
    let attended = attention(step, normed, layer);
    let attended = step.graph.in_place(&[attended, active]);
    let attended = step.graph.in_place(&[attended, shortcut]);
    let attended = step.graph.in_place(&[attended]);
    let normed = step.norm(attended, false);
    let given = gemma3n_network(step, normed, layer);
    let given = step.norm(given, false);
    let activated = step.graph.in_place(&[given, attended]);
    let corrected = corrected(step, predictions, activated);
    let Some((inputs, own_width)) = inputs else {
        return corrected;
    };
    let first = step.graph.view(corrected, &[width, tokens]);
    let scaled = step.graph.in_place(&[first]);
    let own = own_input(step, scaled, inputs, own_width);
    let graph = &mut step.graph;
    let first = graph.view(corrected, &[width, tokens]);
    let rest = graph.view(corrected, &[width, tokens, STREAMS - 1]);
    let rest = graph.in_place(&[rest, own]);
    let streams = graph.fresh(&[width, tokens, STREAMS], &[first, rest]);
    graph.fix(streams);
    streams
}

/// A network with gates of which, in the first layers, only the largest count.
fn gemma3n_network(step: &mut Step, of: Tensor, layer: u64) -> Tensor {
    let inner = step.inner(layer);
    let tokens = step.tokens;
    let up = step.project(of, inner);
    let mut gate = step.project(of, inner);
    let graph = &mut step.graph;
    if layer < SPARSE_LAYERS {
        let mean = graph.fresh(&[1, tokens], &[gate]);
        let centred = graph.in_place(&[gate, mean]);
        let squared = graph.in_place(&[centred]);
        let spread = graph.fresh(&[1, tokens], &[squared]);
        let cutoff = graph.in_place(&[mean, spread]);
        gate = graph.in_place(&[gate, cutoff]);
        gate = graph.in_place(&[gate]);
    }
    let gate = graph.in_place(&[gate]);
    let inside = graph.in_place(&[up, gate]);
    step.project(inside, step.width)
}

/// The root of the sum of squares of each vector.
fn magnitude(step: &mut Step, of: Tensor) -> Tensor {
    let [_, tokens, streams, _] = step.graph.node(of).numbers;
    let squared = step.graph.in_place(&[of]);
    let sum = step.graph.fresh(&[1, tokens, streams], &[squared]);
    step.graph.in_place(&[sum])
}

/// How much each stream counts, for each token.
fn modalities(step: &mut Step, of: Tensor) -> Tensor {
    let normed = step.norm(of, false);
    let scaled = step.graph.in_place(&[normed]);
    let routed = step.project(scaled, STREAMS);
    step.graph.in_place(&[routed])
}

fn predicted(step: &mut Step, streams: Tensor) -> Tensor {
    let (width, tokens) = (step.width, step.tokens);
    let active = step.graph.view(streams, &[width, tokens]);
    let modalities = modalities(step, active);
    let factors = step.project(modalities, STREAMS * STREAMS);
    let graph = &mut step.graph;
    let factors = graph.view(factors, &[STREAMS, STREAMS, tokens]);
    let turned = graph.view(streams, &[STREAMS, width, tokens]);
    let turned = graph.fresh(&[STREAMS, width, tokens], &[turned]);
    let mixed = graph.fresh(&[width, STREAMS, tokens], &[turned, factors]);
    let mixed = graph.view(mixed, &[width, tokens, STREAMS]);
    let mixed = graph.fresh(&[width, tokens, STREAMS], &[mixed]);
    graph.in_place(&[mixed, streams])
}

fn corrected(step: &mut Step, predictions: Tensor, activated: Tensor) -> Tensor {
    let (width, tokens) = (step.width, step.tokens);
    let modalities = modalities(step, activated);
    let factors = step.project(modalities, STREAMS);
    let graph = &mut step.graph;
    let active = graph.view(predictions, &[width, tokens]);
    let news = graph.in_place(&[activated, active]);
    let factors = graph.in_place(&[factors]);
    let factors = graph.view(factors, &[tokens, STREAMS]);
    let factors = graph.fresh(&[1, tokens, STREAMS], &[factors]);
    let news = graph.fresh(&[width, tokens, STREAMS], &[news]);
    let weighed = graph.in_place(&[news, factors]);
    graph.in_place(&[weighed, predictions])
}

/// One stream of all.
fn merged(step: &mut Step, streams: Tensor) -> Tensor {
    let (width, tokens) = (step.width, step.tokens);
    let first = step.graph.view(streams, &[width, tokens]);
    let target = magnitude(step, first);
    let graph = &mut step.graph;
    let rest = graph.view(streams, &[width, tokens, STREAMS - 1]);
    let projected = graph.fresh(&[width, tokens, STREAMS - 1], &[rest]);
    let own = magnitude(step, projected);
    let graph = &mut step.graph;
    let scaled = graph.in_place(&[projected, target]);
    let scaled = graph.in_place(&[scaled, own]);
    let mut sum = graph.view(streams, &[width, tokens]);
    for _ in 1..STREAMS {
        let one = graph.view(scaled, &[width, tokens]);
        sum = graph.in_place(&[sum, one]);
    }
    graph.in_place(&[sum])
}
