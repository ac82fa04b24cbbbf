//! The graph of a model that attends in every layer, as most do.
//!
//! Source: the files in llama.cpp's `src/models`, which differ in what is written down in `Style`.
//! Layers with a state are in `recurrent.rs`, encoders in `encoder.rs`, the parts in `step.rs`.

use super::{
    super::layers::Attention,
    graph::{Graph, Tensor},
    step::{Experts, Heads, Network, Step},
};
use crate::gguf::{Header, Value};

/// Architectures whose graph is made here. What they have in common with each other and how they
/// differ was read in their files in `src/models` of the pinned llama.cpp.
const ARCHITECTURES: [&str; 16] = [
    "ernie4_5",
    "gemma",
    "gemma2",
    "gemma3",
    "gpt-oss",
    "llama",
    "mistral3",
    "phi3",
    "qwen2",
    "qwen2moe",
    "qwen3",
    "qwen3moe",
    "qwen3vl",
    "qwen3vlmoe",
    "seed_oss",
    "smollm3",
];

/// Whether `decoder` knows this architecture.
pub(super) fn is_known(architecture: &str) -> bool {
    ARCHITECTURES.contains(&architecture)
}

/// How the layers of an architecture are made, where they differ.
#[derive(Debug, Clone, Copy, Default)]
struct Style {
    /// Vectors of tokens are scaled.
    scales_input: bool,
    /// Queries, keys and values come from one matrix.
    fused_projection: bool,
    /// Queries and keys are normed, head by head.
    norms_heads: bool,
    /// Queries are scaled after they are turned.
    scales_queries: bool,
    /// What attention and the network give is normed before it is added.
    norms_results: bool,
    /// What attention gives is projected with a bias, so that it is added to in place.
    network: Option<Network>,
    /// The last layer computes all tokens, and rows are chosen behind it.
    chooses_rows_last: bool,
    /// The last hidden vectors are kept for who wants to guess ahead.
    keeps_hidden: bool,
    /// Scores of attention, and logits, are squeezed between bounds.
    squeezes_scores: bool,
    squeezes_logits: bool,
}

impl Style {
    fn of(header: &Header) -> Self {
        let plain = Self { network: Some(Network::Gated), ..Self::default() };
        match header.architecture() {
            "qwen3" | "qwen3moe" | "qwen3vl" | "qwen3vlmoe" => Self { norms_heads: true, ..plain },
            "gemma" => Self { scales_input: true, scales_queries: true, ..plain },
            "gemma2" => Self {
                scales_input: true,
                scales_queries: true,
                norms_results: true,
                squeezes_scores: true,
                squeezes_logits: true,
                ..plain
            },
            "gemma3" => Self {
                scales_input: true,
                norms_heads: true,
                scales_queries: true,
                norms_results: true,
                squeezes_logits: header.arch("final_logit_softcapping").is_some(),
                ..plain
            },
            "phi3" => Self {
                fused_projection: true,
                scales_queries: true,
                network: Some(Network::GatedInOne),
                ..plain
            },
            "gpt-oss" => Self { chooses_rows_last: true, keeps_hidden: true, ..plain },
            _ => plain,
        }
    }
}

/// The graph of one step.
pub(super) fn graph(mut step: Step) -> Graph {
    let style = Style::of(step.header);
    let (given, extra) = step.embeddings_with_extra(style.scales_input);
    let mut stream = given;
    let layers = step.layers();
    for layer in 0..layers {
        let is_last = layer + 1 == layers;
        stream = decoder_layer(&mut step, &style, stream, layer, is_last);
        // What an image adds in the first layers.
        if let Some(all) = extra.filter(|_| layer < step.extra_vectors()) {
            let own = step.graph.view(all, &[step.width, step.tokens]);
            stream = step.graph.in_place(&[stream, own]);
        }
    }
    finish(&mut step, stream, style.chooses_rows_last, style.keeps_hidden, style.squeezes_logits);
    step.graph
}

fn decoder_layer(
    step: &mut Step,
    style: &Style,
    input: Tensor,
    layer: u64,
    is_last: bool,
) -> Tensor {
    let normed = step.norm(input, false);
    let mut given = attention(step, style, normed, layer);
    let mut input = input;
    if is_last && !style.chooses_rows_last {
        given = step.wanted_rows(given);
        input = step.wanted_rows(input);
    }
    if style.norms_results {
        given = step.norm(given, false);
    }
    let stream = step.graph.in_place(&[given, input]);
    let normed = step.norm(stream, false);
    let mut given = feed_forward(step, normed, layer, style.network.unwrap_or(Network::Gated));
    if style.norms_results {
        given = step.norm(given, false);
    }
    step.graph.in_place(&[given, stream])
}

fn attention(step: &mut Step, style: &Style, of: Tensor, layer: u64) -> Tensor {
    let shape = step.shape(layer);
    let (mut queries, mut keys, values) = if style.fused_projection {
        projections_in_one(step, of, &shape)
    } else {
        projections(step, of, &shape)
    };
    if style.norms_heads {
        queries = step.norm(queries, false);
        queries = step.rotated(queries);
        keys = step.norm(keys, false);
    } else {
        queries = step.rotated(queries);
    }
    keys = step.rotated(keys);
    if style.scales_queries {
        queries = step.graph.in_place(&[queries]);
    }
    let slides = step.slides(layer);
    let fresh = Some((keys, values));
    let heads = Heads { slides, squeezed: style.squeezes_scores, ..Heads::plain(queries, shape) };
    let given = step.attend(&heads, fresh);
    step.project(given, step.width)
}

/// Queries, keys and values of each head from a matrix each.
pub(super) fn projections(
    step: &mut Step,
    of: Tensor,
    shape: &Attention,
) -> (Tensor, Tensor, Tensor) {
    let Attention { heads, heads_kv, key_width, value_width } = *shape;
    let tokens = step.tokens;
    let flat = [(key_width, heads), (key_width, heads_kv), (value_width, heads_kv)]
        .map(|(width, heads)| (step.project(of, width.saturating_mul(heads)), width, heads));
    let [queries, keys, values] =
        flat.map(|(tensor, width, heads)| step.graph.view(tensor, &[width, heads, tokens]));
    (queries, keys, values)
}

/// As `projections`, with a bias each.
pub(super) fn projections_biased(
    step: &mut Step,
    of: Tensor,
    shape: &Attention,
) -> (Tensor, Tensor, Tensor) {
    let Attention { heads, heads_kv, key_width, value_width } = *shape;
    let tokens = step.tokens;
    let flat = [(key_width, heads), (key_width, heads_kv), (value_width, heads_kv)].map(
        |(width, heads)| {
            let product = step.project(of, width.saturating_mul(heads));
            (step.graph.in_place(&[product]), width, heads)
        },
    );
    let [queries, keys, values] =
        flat.map(|(tensor, width, heads)| step.graph.view(tensor, &[width, heads, tokens]));
    (queries, keys, values)
}

/// Queries, keys and values as parts of one matrix product.
pub(super) fn projections_in_one(
    step: &mut Step,
    of: Tensor,
    shape: &Attention,
) -> (Tensor, Tensor, Tensor) {
    let Attention { heads, heads_kv, key_width, value_width } = *shape;
    let tokens = step.tokens;
    let keys_values = heads_kv.saturating_mul(key_width.saturating_add(value_width));
    let all = step.project(of, heads.saturating_mul(key_width).saturating_add(keys_values));
    let queries = step.graph.view(all, &[key_width, heads, tokens]);
    let keys = step.graph.view(all, &[key_width, heads_kv, tokens]);
    let values = step.graph.view(all, &[value_width, heads_kv, tokens]);
    (queries, keys, values)
}

/// The network of a layer: experts, where it has them, and what all tokens share.
pub(super) fn feed_forward(step: &mut Step, of: Tensor, layer: u64, network: Network) -> Tensor {
    let header = step.header;
    let Some(experts) = experts(header, layer) else {
        return step.network(of, step.inner(layer), network);
    };
    let routed = step.experts(of, &experts);
    let Some(shared) = shared_width(header) else {
        return routed;
    };
    let shared = step.network(of, shared, Network::Gated);
    let is_gated = matches!(header.architecture(), "qwen2moe" | "qwen35moe");
    let shared = if is_gated {
        let gate = step.project(of, 1);
        let gate = step.graph.in_place(&[gate]);
        step.graph.in_place(&[shared, gate])
    } else {
        shared
    };
    step.graph.in_place(&[routed, shared])
}

/// The experts of a layer, when it has any.
pub(super) fn experts(header: &Header, layer: u64) -> Option<Experts> {
    let number = |suffix: &str| header.layer_u64(suffix, layer).filter(|number| *number > 0);
    let count = number("expert_count")?;
    let used = number("expert_used_count")?;
    if layer < header.arch_u64("leading_dense_block_count").unwrap_or(0) {
        return None;
    }
    let inner = number("expert_feed_forward_length").or_else(|| number("feed_forward_length"))?;
    let has = |name: &str| {
        let name = format!("blk.{layer}.{name}");
        header.tensors.iter().any(|tensor| tensor.name == name)
    };
    let architecture = header.architecture();
    Some(Experts {
        count,
        used,
        inner,
        network: if has("ffn_gate_up_exps.weight") { Network::GatedInOne } else { Network::Gated },
        normalized: header
            .arch("expert_weights_norm")
            .and_then(Value::as_bool)
            .unwrap_or(!matches!(architecture, "gpt-oss" | "qwen2moe" | "deepseek2")),
        weighs_chosen: architecture == "gpt-oss",
        corrected: has("exp_probs_b.bias"),
        scaled: header.f64("expert_weights_scale").is_some(),
        biased: architecture == "gpt-oss",
    })
}

/// The width of the network that all tokens share beside the experts.
fn shared_width(header: &Header) -> Option<u64> {
    header.arch_u64("expert_shared_feed_forward_length").filter(|width| *width > 0)
}

/// The norm behind all layers, and the logits.
pub(super) fn finish(
    step: &mut Step,
    stream: Tensor,
    chooses_rows: bool,
    keeps_hidden: bool,
    squeezes: bool,
) {
    let mut stream = stream;
    if keeps_hidden {
        step.graph.keep(stream);
    }
    if chooses_rows {
        stream = step.wanted_rows(stream);
    }
    let normed = step.norm(stream, false);
    logits(step, normed, squeezes);
}

/// The logits of vectors that are an output themselves.
pub(super) fn logits(step: &mut Step, of: Tensor, squeezes: bool) {
    step.graph.keep(of);
    let vocabulary = step.header.vocabulary_tokens();
    let mut logits = step.project(of, vocabulary);
    if squeezes {
        (0..3).for_each(|_| logits = step.graph.in_place(&[logits]));
    }
    step.graph.keep(logits);
    step.graph.expand(logits);
}
