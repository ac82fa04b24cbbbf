//! What a worker needs besides the model's own buffers: the process, its vocabulary, its results.

use std::collections::BTreeMap;

use super::{
    CONSTRAINED, Device, FLOAT_BYTES, Item, Layout, OUTPUTS, PROCESS, Place, SCRATCH, grouped,
    layers::Layer, product,
};
use crate::gguf::Header;

/// A token's text, score, entries in both directions and its merge: 284 to 288 bytes were measured
/// with vocabularies of 128,000 to 262,000 tokens.
const VOCABULARY_TOKEN_BYTES: u64 = 300;

/// A token in the trees that constrained answers choose among: its text, its place, and nodes for its bytes, in one
/// tree of all tokens and in eleven of parts of them. 429 to 435 bytes were measured with vocabularies of 50,257 to
/// 199,999 tokens (r50k, cl100k, o200k) and llguidance 1.9.1, 491 to 497 while they are built.
const CONSTRAINED_TOKEN_BYTES: u64 = 500;

/// Code, libraries and stacks of a worker that has loaded nothing large; 11 MB were measured.
const PROCESS_BYTES: u64 = 16 * 1024 * 1024;

/// Rows of results, which lie in RAM wherever they are computed: one for each sequence and for each guess
/// of a step, and for an encoder one for each token. A step that asks for more makes them longer, which
/// only vectors of a model that writes do. Source: `output_reserve` in llama.cpp's `llama-context.cpp`.
pub(super) fn outputs(header: &Header, layout: &Layout) -> Item {
    let (rows, numbers) = if header.encodes() {
        // llama.cpp reserves logits for encoders too, but nothing ever touches them.
        (layout.output_rows_max, header.arch_u64("embedding_length").unwrap_or(0))
    } else {
        let rows = layout.sequences_max.saturating_add(layout.guessed_rows_max);
        (rows, header.vocabulary_tokens())
    };
    let rows = u64::from(rows);
    Item {
        what: OUTPUTS,
        device: Device::Ram,
        bytes: product(&[FLOAT_BYTES, rows, numbers]),
        why: format!("{rows} rows × {} numbers × {FLOAT_BYTES} bytes", grouped(numbers)),
    }
}

/// What a processor translates the inputs of its widest matrix product into, beside the compute
/// buffers. Source: `ggml_graph_plan` in `ggml-cpu.c`: products with quantized weights take blocks of
/// 8 bits, those with half precision take halves.
pub(super) fn scratch(header: &Header, layers: &[Layer], layout: &Layout) -> Item {
    let number = |suffix: &str| header.arch_u64(suffix).unwrap_or(0);
    let of_layer = |layer: &Layer| {
        let attended = product(&[layer.attention.heads, layer.attention.value_width]);
        layer.feed_forward.max(attended)
    };
    let widest = layers.iter().map(of_layer).max().unwrap_or(0);
    let used = header.layer_u64("expert_used_count", 0).unwrap_or(0);
    let inner = header.layer_u64("expert_feed_forward_length", 0).unwrap_or(0);
    let widest = widest.max(product(&[used, inner]));
    let widest = widest.max(number("embedding_length")).max(number("ssm.inner_size"));
    let tokens = u64::from(layout.step_tokens_max);
    let (numbers, bytes, encoding) = translated(header);
    let all = product(&[widest, tokens]);
    Item {
        what: SCRATCH,
        device: Device::Ram,
        bytes: if layout.place == Place::Processor {
            all.div_ceil(numbers).saturating_mul(bytes)
        } else {
            0
        },
        why: format!(
            "the widest input of a matrix product, {} numbers × {} tokens, as {encoding} ({bytes} \
             bytes for {numbers})",
            grouped(widest),
            grouped(tokens)
        ),
    }
}

/// Numbers and bytes of a block that inputs are translated into, by what most weights are.
fn translated(header: &Header) -> (u64, u64, &'static str) {
    const BLOCK_OF_K_QUANTS: u64 = 256;
    let mut elements: BTreeMap<(u64, u64, &'static str), u64> = BTreeMap::new();
    for tensor in header.tensors.iter().filter(|tensor| tensor.dimensions[1] > 1) {
        let block = match (tensor.kind.name(), tensor.kind.block_elements()) {
            ("F32", _) => (1, 0, "they are"),
            ("F16" | "BF16", _) => (1, 2, "halves"),
            (_, BLOCK_OF_K_QUANTS) => (256, 292, "Q8_K"),
            (_, _) => (32, 34, "Q8_0"),
        };
        let sum = elements.entry(block).or_default();
        *sum = sum.saturating_add(tensor.elements());
    }
    let most = elements.into_iter().max_by_key(|(_, elements)| *elements);
    most.map_or((1, 0, "they are"), |(block, _)| block)
}

/// The vocabulary once more, as llguidance reads it. It is built for the first answer that is held to a schema, and
/// kept from then on. Only models that write have such answers.
pub(super) fn constrained(header: &Header) -> Item {
    let tokens = if header.generates() { header.vocabulary_tokens() } else { 0 };
    Item {
        what: CONSTRAINED,
        device: Device::Ram,
        bytes: product(&[tokens, CONSTRAINED_TOKEN_BYTES]),
        why: format!(
            "{} tokens × {CONSTRAINED_TOKEN_BYTES} bytes of trees, measured, from the first answer that is held to a \
             schema",
            grouped(tokens)
        ),
    }
}

/// The process and its vocabulary.
pub(super) fn process(header: &Header) -> Item {
    let tokens = header.vocabulary_tokens();
    let vocabulary = product(&[tokens, VOCABULARY_TOKEN_BYTES]);
    Item {
        what: PROCESS,
        device: Device::Ram,
        bytes: PROCESS_BYTES.saturating_add(vocabulary),
        why: format!(
            "{} bytes for the process + {} tokens × {VOCABULARY_TOKEN_BYTES} bytes, both measured",
            grouped(PROCESS_BYTES),
            grouped(tokens)
        ),
    }
}
