//! Predicts from a header alone what a model needs in memory, item by item, with a reason each.
//!
//! Weights, caches and recurrent state are exact. Compute buffers depend on the build of llama.cpp
//! and are upper bounds, checked against what the pinned build lays out on a CPU. What a GPU adds,
//! projectors, drafts and prompt caches on the host are not predicted here. A worker that runs
//! reports its real buffers, and those count more than anything here.

mod layers;
#[cfg(test)]
mod tests;

use crate::gguf::Header;

use layers::{Kind, kind, recurrent_bytes};

/// How many positions of a step the worker may ask vectors or probabilities of, whatever the
/// number of sequences.
pub const OUTPUT_ROWS_MIN: u32 = 64;

/// Bytes of one number in the caches of keys and values: half precision.
const CACHE_NUMBER_BYTES: u64 = 2;
/// Bytes of one number in recurrent state, compute buffers and outputs.
const FLOAT_BYTES: u64 = 4;
/// llama.cpp rounds contexts up to whole multiples of this many cells.
const CELLS_MULTIPLE: u64 = 256;
/// A token's text, score, entries in both directions and its merge: 284 to 288 bytes were measured
/// with vocabularies of 128,000 to 262,000 tokens.
const VOCABULARY_TOKEN_BYTES: u64 = 300;
/// Code, libraries and stacks of a worker that has loaded nothing large; 11 MB were measured.
const PROCESS_BYTES: u64 = 16 * 1024 * 1024;
/// Inputs of a step and alignment: at most 2.2 MiB were measured beyond the formulas.
const COMPUTE_REST_BYTES: u64 = 4 * 1024 * 1024;

/// How a model is to be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Tokens the context holds, all sequences together.
    pub context_tokens: u32,
    /// Sequences the context has, those for internal use included.
    pub sequences_max: u32,
    /// Tokens computed in one step (llama.cpp's `n_ubatch`). Encoders take a whole context at once.
    pub step_tokens_max: u32,
}

/// Whether layers with a sliding window keep all cells or only those in the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Windows {
    /// All of them (`swa_full`): sequences can be cut back to any earlier position.
    Whole,
    /// What the window and one step need.
    Sliding,
}

/// What a model needs, by item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footprint {
    /// The parts, largest reason to care first: weights, caches, buffers, the process.
    pub items: Vec<Item>,
}

/// One part of a footprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What needs the memory, for example `weights`.
    pub what: &'static str,
    /// How much, in bytes.
    pub bytes: u64,
    /// Where the figure comes from, for a person to check.
    pub why: String,
}

impl Footprint {
    /// All items together, in bytes.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.items.iter().fold(0, |sum: u64, item| sum.saturating_add(item.bytes))
    }

    /// The bytes of one item, zero when the model has none of it.
    #[must_use]
    pub fn bytes_of(&self, what: &str) -> u64 {
        self.items.iter().filter(|item| item.what == what).map(|item| item.bytes).sum()
    }
}

/// The weights, as [`Item::what`] calls them.
pub const WEIGHTS: &str = "weights";
/// Keys and values of layers that see the whole context.
pub const CACHE: &str = "key-value cache";
/// Keys and values of layers with a sliding window.
pub const WINDOW_CACHE: &str = "sliding-window cache";
/// State of layers that carry one vector along instead of a cache.
pub const RECURRENT: &str = "recurrent state";
/// What one step computes in.
pub const COMPUTE: &str = "compute buffers";
/// Where results of a step lie.
pub const OUTPUTS: &str = "output buffer";
/// The process itself and its vocabulary.
pub const PROCESS: &str = "process and vocabulary";

/// What `header`'s model needs when it is loaded as `layout` says, with whole windows.
#[must_use]
pub fn predict(header: &Header, layout: &Layout) -> Footprint {
    predict_with(header, layout, Windows::Whole)
}

/// As [`predict`], with a choice for layers that have a sliding window.
#[must_use]
pub fn predict_with(header: &Header, layout: &Layout, windows: Windows) -> Footprint {
    let encodes = header.encodes();
    let mut layout = *layout;
    let mut items = vec![weights(header)];
    if encodes {
        layout.step_tokens_max = layout.step_tokens_max.max(layout.context_tokens);
    } else {
        items.extend(caches(header, &layout, windows));
    }
    items.push(compute(header, &layout, encodes));
    items.push(outputs(header, &layout, encodes));
    items.push(process(header));
    items.retain(|item| item.bytes > 0);
    Footprint { items }
}

fn weights(header: &Header) -> Item {
    // llama.cpp uses every quantization in its file encoding, so the factor is one. Pages of the
    // file that it repacks for the processor are given back.
    let why = format!(
        "{} tensors of {} weights, as they are in the file",
        header.tensors.len(),
        header.parameters()
    );
    Item { what: WEIGHTS, bytes: header.tensor_bytes(), why }
}

/// Source: llama-kv-cache.cpp, llama-kv-cache-iswa.cpp and llama-hparams.cpp.
fn caches(header: &Header, layout: &Layout, windows: Windows) -> Vec<Item> {
    let cells = context_cells(layout);
    let mut full = Sum::default();
    let mut sliding = Sum::default();
    let mut recurrent = Sum::default();
    let mut window_cells = cells;
    for layer in 0..header.layers() {
        match kind(header, layer) {
            Kind::Full { numbers } => full.add(numbers),
            Kind::Sliding { numbers, window } => {
                window_cells = sliding_cells(layout, windows, window);
                sliding.add(numbers);
            }
            Kind::Recurrent => recurrent.add(recurrent_bytes(header)),
            Kind::Both { numbers } => {
                full.add(numbers);
                recurrent.add(recurrent_bytes(header));
            }
            Kind::None => {}
        }
    }
    let cache = |what, sum: &Sum, cells: u64| Item {
        what,
        bytes: product(&[sum.total, CACHE_NUMBER_BYTES, cells]),
        why: format!(
            "{} layers, {} bytes a token in all of them, {cells} cells",
            sum.layers,
            sum.total.saturating_mul(CACHE_NUMBER_BYTES)
        ),
    };
    let sequences = u64::from(layout.sequences_max);
    vec![
        cache(CACHE, &full, cells),
        cache(WINDOW_CACHE, &sliding, window_cells),
        Item {
            what: RECURRENT,
            bytes: product(&[recurrent.total, sequences]),
            why: format!(
                "{} layers, {} bytes a sequence in all of them, {sequences} sequences; it does \
                 not grow with the context",
                recurrent.layers, recurrent.total
            ),
        },
    ]
}

/// A total over layers, and how many took part.
#[derive(Default)]
struct Sum {
    layers: u64,
    total: u64,
}

impl Sum {
    fn add(&mut self, amount: u64) {
        self.layers += 1;
        self.total = self.total.saturating_add(amount);
    }
}

fn context_cells(layout: &Layout) -> u64 {
    u64::from(layout.context_tokens).next_multiple_of(CELLS_MULTIPLE)
}

fn sliding_cells(layout: &Layout, windows: Windows, window: u64) -> u64 {
    let all = context_cells(layout);
    match windows {
        Windows::Whole => all,
        Windows::Sliding => {
            let needed = product(&[window, layout.sequences_max.into()]);
            let needed = needed.saturating_add(layout.step_tokens_max.into());
            all.min(needed).next_multiple_of(CELLS_MULTIPLE)
        }
    }
}

/// The widest moment of one step. An upper bound: llama.cpp reuses memory between the parts in ways
/// that only laying out the graph can tell. It was at most 30 MiB above and never below what the
/// pinned build lays out on a CPU, for eight models at 8,192 and 32,768 tokens.
fn compute(header: &Header, layout: &Layout, encodes: bool) -> Item {
    let step = u64::from(layout.step_tokens_max);
    let width = header.arch_u64("embedding_length").unwrap_or(0);
    let floats_a_token = |numbers: u64| product(&[FLOAT_BYTES, step, numbers]);
    // Half precision, for every token of the step and every cell; one more for windows.
    let masks = if encodes {
        product(&[2, step, step])
    } else if header.arch_u64("attention.sliding_window").unwrap_or(0) > 0 {
        product(&[4, step, context_cells(layout)])
    } else {
        product(&[2, step, context_cells(layout)])
    };
    let residual = floats_a_token(width.saturating_mul(5));
    let feed_forward = floats_a_token(feed_forward_numbers(header, width, encodes));
    let attention = floats_a_token(attention_numbers(header));
    let logits = if encodes {
        0
    } else {
        let rows = output_rows(layout).min(step);
        product(&[FLOAT_BYTES, header.vocabulary_tokens(), rows])
            .saturating_add(floats_a_token(width))
    };
    let (peak, part) = [
        (feed_forward, "the feed-forward network"),
        (attention, "attention"),
        (logits, "the logits"),
    ]
    .into_iter()
    .max_by_key(|(bytes, _)| *bytes)
    .unwrap_or((0, "nothing"));
    let bytes = [masks, residual, peak, COMPUTE_REST_BYTES];
    Item {
        what: COMPUTE,
        bytes: bytes.into_iter().fold(0, u64::saturating_add),
        why: format!(
            "{step} tokens a step: masks {masks}, residual stream {residual}, and {part}, the \
             widest part, {peak}"
        ),
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
    let experts = product(&[widest("expert_used_count"), expert]);
    if experts > 0 { experts } else { dense }
}

/// Queries, keys, values and what attention gives, for one token of the widest layer.
fn attention_numbers(header: &Header) -> u64 {
    let widest = (0..header.layers()).map(|layer| layers::attention(header, layer));
    widest
        .map(|attention| {
            let queries =
                product(&[attention.heads, attention.key_width.max(attention.value_width)]);
            let cached = product(&[
                attention.heads_kv,
                attention.key_width.saturating_add(attention.value_width),
            ]);
            queries.saturating_mul(2).saturating_add(cached)
        })
        .max()
        .unwrap_or(0)
}

fn output_rows(layout: &Layout) -> u64 {
    layout.sequences_max.max(OUTPUT_ROWS_MIN).into()
}

fn outputs(header: &Header, layout: &Layout, encodes: bool) -> Item {
    let width = header.arch_u64("embedding_length").unwrap_or(0);
    let (rows, numbers) = if encodes {
        // llama.cpp reserves logits for encoders too, but nothing ever touches them.
        (layout.step_tokens_max.into(), width)
    } else {
        (output_rows(layout), header.vocabulary_tokens())
    };
    Item {
        what: OUTPUTS,
        bytes: product(&[FLOAT_BYTES, rows, numbers]),
        why: format!("{rows} rows of {numbers} numbers"),
    }
}

fn process(header: &Header) -> Item {
    let tokens = header.vocabulary_tokens();
    let vocabulary = product(&[tokens, VOCABULARY_TOKEN_BYTES]);
    Item {
        what: PROCESS,
        bytes: PROCESS_BYTES.saturating_add(vocabulary),
        why: format!("{PROCESS_BYTES} for the process, {vocabulary} for {tokens} tokens"),
    }
}

/// A product that stays at the largest number rather than wrap: a header may say anything.
fn product(factors: &[u64]) -> u64 {
    factors.iter().fold(1, |product: u64, factor| product.saturating_mul(*factor))
}
