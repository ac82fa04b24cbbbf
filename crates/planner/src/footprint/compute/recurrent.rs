//! The graphs of layers that carry a state: the gated delta net of Qwen 3.5, and Mamba 2.
//!
//! Source: llama.cpp's `src/models/qwen35.cpp`, `delta-net-base.cpp`, `mamba-base.cpp`, `mamba.cpp`
//! and `falcon-h1.cpp`, and `build_rs` in `llama-graph.cpp`. What the states take themselves is in
//! `footprint/recurrent.rs`.

use super::{
    super::{
        layers::Attention,
        product,
        recurrent::{State, state},
    },
    decoder,
    graph::{Graph, Tensor},
    step::{Heads, Network, Step},
};

/// Whether a graph is made here for this architecture.
pub(super) fn is_known(architecture: &str) -> bool {
    matches!(architecture, "qwen35" | "qwen35moe" | "mamba2" | "falcon-h1")
}

/// The graph of one step.
pub(super) fn graph(step: Step) -> Graph {
    match step.header.architecture() {
        "mamba2" => mamba2_graph(step),
        "falcon-h1" => falcon_h1_graph(step),
        _ => delta_net_graph(step),
    }
}

/// Widths inside a layer with a state, and which states a step carries on.
#[derive(Debug, Clone, Copy)]
struct Widths {
    /// Numbers of a token inside.
    inner: u64,
    /// Heads of values.
    heads: u64,
    /// Heads of queries and keys.
    groups: u64,
    state: u64,
    convolved: u64,
    kernel: u64,
    shifted: u64,
    carried: u64,
    sequences: u64,
    state_ids: Tensor,
}

impl Widths {
    fn of(step: &mut Step) -> Self {
        let number = |suffix: &str| step.header.arch_u64(suffix).unwrap_or(0);
        let (inner, state_width) = (number("ssm.inner_size"), number("ssm.state_size"));
        let groups = number("ssm.group_count").max(1);
        let kernel = number("ssm.conv_kernel").max(1);
        let heads = number("ssm.time_step_rank").max(1);
        let State { shifted, carried } = state(step.header, 0);
        let sequences = u64::from(step.layout.sequences_max.max(1));
        Self {
            inner,
            heads,
            groups,
            state: state_width,
            convolved: inner.saturating_add(product(&[2, groups, state_width])),
            kernel,
            shifted,
            carried,
            sequences,
            state_ids: step.graph.input(4, &[sequences]),
        }
    }

    fn head(&self) -> u64 {
        self.inner / self.heads
    }
}

fn delta_net_graph(mut step: Step) -> Graph {
    let mut stream = step.embeddings(false);
    let widths = Widths::of(&mut step);
    for layer in 0..step.layers() {
        let normed = step.norm(stream, false);
        step.graph.expand(normed);
        let given = if step.carries(layer) {
            delta_net(&mut step, normed, &widths)
        } else {
            gated_attention(&mut step, normed, layer)
        };
        let residual = step.graph.in_place(&[given, stream]);
        let normed = step.norm(residual, false);
        let given = decoder::feed_forward(&mut step, normed, layer, Network::Gated);
        stream = step.graph.in_place(&[given, residual]);
    }
    // The normed vectors of all tokens are kept for who wants to guess ahead.
    let normed = step.norm(stream, false);
    step.graph.keep(normed);
    let wanted = step.wanted_rows(normed);
    decoder::logits(&mut step, wanted, false);
    step.graph
}

/// The graph of the layer that guesses ahead: from a token and the hidden vector of the one before it,
/// the token after the next.
pub(super) fn head_graph(mut step: Step) -> Graph {
    let layer = step.layers();
    let (tokens, width) = (step.tokens, step.width);
    let (embedded, hidden) = step.token_and_vector();
    let hidden = step.norm(hidden, false);
    let embedded = step.norm(embedded, false);
    let both = step.graph.fresh(&[width.saturating_mul(2), tokens], &[embedded, hidden]);
    let stream = step.project(both, width);
    let normed = step.norm(stream, false);
    let given = gated_attention(&mut step, normed, layer);
    let residual = step.graph.in_place(&[given, stream]);
    let normed = step.norm(residual, false);
    let given = decoder::feed_forward(&mut step, normed, layer, Network::Gated);
    let stream = step.graph.in_place(&[given, residual]);
    let normed = step.norm(stream, false);
    step.graph.keep(normed);
    let wanted = step.wanted_rows(normed);
    decoder::logits(&mut step, wanted, false);
    step.graph
}

/// Attention whose result is gated by half of what the query matrix gives.
fn gated_attention(step: &mut Step, of: Tensor, layer: u64) -> Tensor {
    let shape = step.shape(layer);
    let Attention { heads, heads_kv, key_width, value_width } = shape;
    let tokens = step.tokens;
    let wide = product(&[heads, key_width]);
    let both = step.project(of, wide.saturating_mul(2));
    let [keys, values] = [key_width, value_width].map(|width| {
        let flat = step.project(of, width.saturating_mul(heads_kv));
        step.graph.view(flat, &[width, heads_kv, tokens])
    });
    let queries = step.graph.view(both, &[key_width, heads, tokens]);
    let queries = step.norm(queries, false);
    let queries = step.rotated(queries);
    let keys = step.norm(keys, false);
    let keys = step.rotated(keys);
    let fresh = Some((keys, values));
    let given = step.attend(&Heads::plain(queries, shape), fresh);
    let gate = step.graph.view(both, &[key_width, heads, tokens]);
    let gate = step.graph.fresh(&[wide, tokens], &[gate]);
    let gate = step.graph.in_place(&[gate]);
    let gated = step.graph.in_place(&[given, gate]);
    step.project(gated, step.width)
}

fn delta_net(step: &mut Step, of: Tensor, widths: &Widths) -> Tensor {
    let Widths { inner, heads, groups, state, convolved, carried, sequences, .. } = *widths;
    let tokens = step.tokens;
    let each = tokens / sequences;
    let mixed = step.project(of, convolved);
    let mixed = step.graph.view(mixed, &[convolved, each, sequences]);
    let gate = step.project(of, inner);
    let [beta, alpha] = [(); 2].map(|()| step.project(of, heads));
    let beta = step.graph.view(beta, &[1, heads, each, sequences]);
    let beta = step.graph.in_place(&[beta]);
    let alpha = step.graph.view(alpha, &[heads, each, sequences]);
    let alpha = (0..3).fold(alpha, |tensor, _| step.graph.in_place(&[tensor]));
    let decay = step.graph.view(alpha, &[1, heads, each, sequences]);
    let convolution = convolution(step, mixed, widths);
    let memory = states(step, carried, widths);
    let memory = step.graph.view(memory, &[widths.head(), widths.head(), heads, sequences]);
    let convolution = step.graph.in_place(&[convolution]);
    let values = step.graph.view(convolution, &[widths.head(), heads, each, sequences]);
    let [queries, keys] = [(); 2].map(|()| {
        let part = step.graph.view(convolution, &[state, groups, each, sequences]);
        let normal = step.graph.in_place(&[part]);
        let scaled = step.graph.in_place(&[normal]);
        step.graph.join(scaled);
        scaled
    });
    // The states after the last few tokens, where tokens can be taken back.
    let states = u64::from(step.layout.taken_back_max).saturating_add(1);
    let rows = tokens.saturating_add(product(&[widths.head(), sequences, states]));
    let sources = [queries, keys, values, decay, beta, memory];
    let both = step.graph.fresh(&[inner, rows], &sources);
    step.graph.fix(both);
    let output = step.graph.view(both, &[widths.head(), heads, each, sequences]);
    let carried_on = step.graph.view(both, &[carried, sequences, states]);
    let stored = step.graph.store(&[carried_on]);
    step.graph.expand(stored);
    let gate = step.graph.view(gate, &[widths.head(), heads, each, sequences]);
    let normed = step.norm(output, false);
    let gate = step.graph.in_place(&[gate]);
    let gated = step.graph.in_place(&[normed, gate]);
    let flat = step.graph.view(gated, &[inner, tokens]);
    let given = step.project(flat, step.width);
    step.graph.view(given, &[step.width, tokens])
}

/// The states of all sequences, gathered.
fn states(step: &mut Step, numbers: u64, widths: &Widths) -> Tensor {
    let sequences = widths.sequences;
    let all = step.graph.fresh(&[numbers, sequences], &[widths.state_ids]);
    let used = step.graph.view(all, &[numbers, sequences]);
    step.graph.expand(used);
    let rest = step.graph.view(all, &[numbers, 0]);
    let stored = step.graph.store(&[rest]);
    step.graph.expand(stored);
    used
}

/// All states but the first, of which a full step then writes none.
fn gather_rest(step: &mut Step, widths: &Widths) {
    let Widths { carried, sequences, state_ids, .. } = *widths;
    let ids = step.graph.view(state_ids, &[sequences - 1]);
    let rest = step.graph.fresh(&[carried, sequences - 1], &[ids]);
    let none = step.graph.view(rest, &[carried, 0]);
    let stored = step.graph.store(&[none]);
    step.graph.expand(stored);
}

/// The convolution over the last few tokens, those of earlier steps included.
fn convolution(step: &mut Step, mixed: Tensor, widths: &Widths) -> Tensor {
    let Widths { convolved, kernel, shifted, sequences, .. } = *widths;
    let each = step.tokens / sequences;
    let before = states(step, shifted, widths);
    let before = step.graph.view(before, &[kernel - 1, convolved, sequences]);
    let turned = step.graph.view(mixed, &[each, convolved, sequences]);
    let length = each.saturating_add(kernel - 1);
    let line = step.graph.fresh(&[length, convolved, sequences], &[before, turned]);
    step.graph.fix(line);
    let last = step.graph.view(line, &[kernel - 1, convolved, sequences]);
    let stored = step.graph.store(&[last]);
    step.graph.expand(stored);
    step.graph.fresh(&[convolved, each, sequences], &[line])
}

fn mamba2_graph(mut step: Step) -> Graph {
    let mut stream = step.embeddings(false);
    let widths = Widths::of(&mut step);
    let layers = step.layers();
    for layer in 0..layers {
        let normed = step.norm(stream, false);
        let mut given = mamba2(&mut step, normed, &widths);
        if layer + 1 == layers {
            given = step.wanted_rows(given);
            stream = step.wanted_rows(stream);
        }
        stream = step.graph.in_place(&[given, stream]);
    }
    decoder::finish(&mut step, stream, false, false, false);
    step.graph
}

fn falcon_h1_graph(mut step: Step) -> Graph {
    let mut stream = step.embeddings(false);
    let widths = Widths::of(&mut step);
    let layers = step.layers();
    for layer in 0..layers {
        let shape = step.shape(layer);
        let normed = step.norm(stream, false);
        let (queries, keys, values) = decoder::projections(&mut step, normed, &shape);
        let queries = step.rotated(queries);
        let keys = step.rotated(keys);
        let fresh = Some((keys, values));
        let attended = step.attend(&Heads::plain(queries, shape), fresh);
        let attended = step.project(attended, step.width);
        let normed = step.norm(stream, false);
        let carried = mamba2(&mut step, normed, &widths);
        let given = step.graph.in_place(&[attended, carried]);
        let mut residual = step.graph.in_place(&[given, stream]);
        if layer + 1 == layers {
            residual = step.wanted_rows(residual);
        }
        let normed = step.norm(residual, false);
        let inner = step.inner(layer);
        let given = step.network(normed, inner, Network::Gated);
        stream = step.graph.in_place(&[given, residual]);
    }
    decoder::finish(&mut step, stream, false, false, false);
    step.graph
}

fn mamba2(step: &mut Step, of: Tensor, widths: &Widths) -> Tensor {
    let Widths { inner, heads, groups, state, convolved, carried, sequences, .. } = *widths;
    let tokens = step.tokens;
    let each = tokens / sequences;
    let all = inner.saturating_add(convolved).saturating_add(heads);
    let all = step.project(of, all);
    let all = step.graph.view(all, &[inner, each, sequences]);
    let gate = step.graph.view(all, &[widths.head(), heads, each, sequences]);
    let mixed = step.graph.view(all, &[convolved, each, sequences]);
    let times = step.graph.view(all, &[heads, each, sequences]);
    let mixed = convolution(step, mixed, widths);
    let mixed = step.graph.in_place(&[mixed]);
    let mixed = step.graph.in_place(&[mixed]);
    let inputs = step.graph.view(mixed, &[widths.head(), heads, each, sequences]);
    let [to_state, from_state] =
        [(); 2].map(|()| step.graph.view(mixed, &[state, groups, each, sequences]));
    let times = step.graph.fresh(&[heads, each, sequences], &[times]);
    let times = step.graph.in_place(&[times]);
    // States are read where they are; what is gathered of them is all but the first.
    let outputs = product(&[inner, tokens]).saturating_add(product(&[carried, sequences]));
    let sources = [inputs, times, to_state, from_state, widths.state_ids];
    let scanned = step.graph.fresh(&[outputs], &sources);
    step.graph.expand(scanned);
    gather_rest(step, widths);
    let last = step.graph.view(scanned, &[carried, sequences]);
    let stored = step.graph.store(&[last]);
    step.graph.expand(stored);
    let outputs = step.graph.view(scanned, &[widths.head(), heads, each, sequences]);
    let skipped = step.graph.in_place(&[inputs]);
    let outputs = step.graph.in_place(&[outputs, skipped]);
    let gate = step.graph.fresh(&[widths.head(), heads, each, sequences], &[gate]);
    let mut gated = step.graph.fresh(&[widths.head(), heads, each, sequences], &[gate, outputs]);
    // Mamba 2 norms what comes out in groups, Falcon-H1's files say whether.
    let has_norm = step.header.architecture() == "mamba2"
        || step.header.tensors.iter().any(|tensor| tensor.name == "blk.0.ssm_norm.weight");
    if has_norm {
        gated = step.graph.view(gated, &[inner / groups, groups, each, sequences]);
        gated = step.norm(gated, false);
    }
    let flat = step.graph.view(gated, &[inner, tokens]);
    step.project(flat, step.width)
}
