//! An upper bound of what one step computes in, for architectures whose graph is not known here.
//!
//! Not here: exact layouts (`arena.rs`).

use super::super::{
    COMPUTE, Device, FLOAT_BYTES, Item, Layout, Place, cache, grouped,
    layers::{Attention, Layer},
    product,
    recurrent::{State, state},
    sum,
};
use crate::gguf::Header;

/// Small inputs of a step and alignment: at most 2.2 MiB were measured beyond the formulas.
const REST_BYTES: u64 = 4 * 1024 * 1024;

/// The compute buffers of each memory. llama.cpp reuses memory between the parts in ways that only
/// laying out the graph can tell; the bound was at most 30 MiB above and never below what the
/// pinned build lays out on a CPU, for eight models at 8,192 and 32,768 tokens.
pub(super) fn items(header: &Header, layers: &[Layer], layout: &Layout) -> Vec<Item> {
    let parts = Parts::of(header, layers, layout);
    let Parts { tokens, masks, stream, widest, scratch, .. } = parts;
    let layers = Item {
        what: COMPUTE,
        device: layout.place.device(),
        bytes: sum(&[masks, stream, widest, scratch, REST_BYTES]),
        why: format!(
            "an upper bound, for the graph of `{}` is not known: {} tokens a step, masks {} + \
             vectors of all tokens {} + {}, the widest part, {} + scratch {} + {} for the rest",
            header.architecture(),
            grouped(tokens),
            grouped(masks),
            grouped(stream),
            parts.widest_part,
            grouped(widest),
            grouped(scratch),
            grouped(REST_BYTES)
        ),
    };
    if layout.place == Place::Processor {
        return vec![layers];
    }
    let inputs = Item {
        what: COMPUTE,
        device: Device::Ram,
        bytes: sum(&[masks, stream, REST_BYTES]),
        why: format!(
            "an upper bound for the input layer: masks {} + vectors of all tokens {} + {}",
            grouped(masks),
            grouped(stream),
            grouped(REST_BYTES)
        ),
    };
    vec![layers, inputs]
}

/// The terms of the bound, in bytes.
struct Parts {
    tokens: u64,
    masks: u64,
    stream: u64,
    widest: u64,
    widest_part: &'static str,
    scratch: u64,
}

impl Parts {
    fn of(header: &Header, layers: &[Layer], layout: &Layout) -> Self {
        let encodes = header.encodes();
        let sequences = u64::from(layout.sequences_max.max(1));
        let tokens = u64::from(layout.step_tokens_max.max(1)).next_multiple_of(sequences);
        let width = header.arch_u64("embedding_length").unwrap_or(0);
        let floats = |numbers: u64| product(&[FLOAT_BYTES, tokens, numbers]);
        let cells = if encodes { tokens } else { cache::context_cells(layout) };
        // Fused attention takes masks in half precision. Windows have one of their own.
        let mask_bytes = if layout.flash_attention { 2 } else { FLOAT_BYTES };
        let windows = header.arch_u64("attention.sliding_window").unwrap_or(0).min(1);
        let masks = product(&[mask_bytes, tokens, cells, windows.saturating_add(1)]);
        let logits = if encodes {
            0
        } else {
            let rows = u64::from(layout.output_rows_max).min(tokens);
            product(&[FLOAT_BYTES, header.vocabulary_tokens(), rows]).saturating_add(floats(width))
        };
        let (attention, scratch) = attention(layers, layout, tokens, cells);
        let (widest, widest_part) = [
            (floats(feed_forward_numbers(header, width, encodes)), "the feed-forward network"),
            (attention, "attention"),
            (carried(header, layers, tokens, sequences), "a layer with a state"),
            (logits, "the logits"),
        ]
        .into_iter()
        .max_by_key(|(bytes, _)| *bytes)
        .unwrap_or((0, "nothing"));
        // Vectors of tokens, of images, both merged, the residual stream and its norm.
        let stream = floats(width.saturating_mul(5));
        Self { tokens, masks, stream, widest, widest_part, scratch }
    }
}

/// Numbers a token needs inside the feed-forward network of one layer.
fn feed_forward_numbers(header: &Header, width: u64, encodes: bool) -> u64 {
    let widest = |suffix: &str| {
        (0..header.layers()).filter_map(|layer| header.layer_u64(suffix, layer)).max().unwrap_or(0)
    };
    // Gate, up and their product; the networks of encoders have no gate.
    let parts = if encodes { 1 } else { 3 };
    let dense = product(&[parts, widest("feed_forward_length")]);
    let expert = product(&[parts, widest("expert_feed_forward_length")]).saturating_add(width);
    dense.max(product(&[widest("expert_used_count"), expert]))
}

/// Bytes that a layer with a state of the usual kind, a state-space model or gated delta net, works
/// in: what its matrix gives, the convolution with the tokens before, the states of all sequences
/// as they are read and as they are written, and the result with its gate.
fn carried(header: &Header, layers: &[Layer], tokens: u64, sequences: u64) -> u64 {
    if !layers.iter().any(|layer| layer.has_state) {
        return 0;
    }
    let number = |suffix: &str| header.arch_u64(suffix).unwrap_or(0);
    let heads = layers.iter().map(|layer| layer.attention.heads).max().unwrap_or(0);
    let State { shifted, carried } = state(header, heads);
    let inner = number("ssm.inner_size");
    let groups = number("ssm.group_count").max(1);
    let mixed = inner.saturating_add(product(&[2, groups, number("ssm.state_size")]));
    // The gate, what goes into the convolution and a number for each head; the convolution's line
    // and its result; what comes out of the state, twice while it is gated.
    let of_token = sum(&[inner, product(&[3, mixed]), number("ssm.time_step_rank"), inner, inner]);
    let of_sequence = product(&[2, shifted.saturating_add(carried)]);
    let numbers = product(&[tokens, of_token]).saturating_add(product(&[sequences, of_sequence]));
    product(&[FLOAT_BYTES, numbers])
}

/// Bytes of queries, keys, values, scores and what attention gives in the widest layer, and what a
/// GPU's kernel for it may need besides.
fn attention(layers: &[Layer], layout: &Layout, tokens: u64, cells: u64) -> (u64, u64) {
    const SPLIT_BYTES: u64 = 4096;
    let of_layer = |layer: &Layer| {
        let Attention { heads, heads_kv, key_width, value_width } = layer.attention;
        let queries = product(&[2, heads, key_width.max(value_width)]);
        let cached = product(&[heads_kv, key_width.saturating_add(value_width)]);
        let scores = if layout.flash_attention { 0 } else { product(&[heads, cells]) };
        let bytes = product(&[FLOAT_BYTES, tokens, sum(&[queries, cached, scores])]);
        let scratch = if layout.place == Place::Processor {
            0
        } else {
            let partial = product(&[SPLIT_BYTES, heads, value_width.saturating_add(2)]);
            partial.saturating_add(product(&[2, cells, cached]))
        };
        (bytes, scratch)
    };
    layers.iter().map(of_layer).max().unwrap_or((0, 0))
}
