//! Predicts from a header alone what a model needs in memory, item by item, with a reason each.
//!
//! Weights, caches and recurrent state are exact. Compute buffers depend on the build of llama.cpp;
//! they are laid out here as the pinned build lays them out. An architecture that is not known
//! here gets an upper bound that says so. A worker that runs reports its real buffers, and those
//! count more than anything here.
//!
//! Not here: whether it fits (`fit`), how fast it is (`speed`).

mod build;
mod by_layer;
mod cache;
mod cache_type;
mod companions;
mod compute;
mod head;
mod layers;
mod left;
mod process;
mod projector;
mod recurrent;
mod refusal;
#[cfg(test)]
mod tests;
mod weights;

use crate::gguf::Header;

pub use build::Build;
pub use by_layer::{LayerBytes, by_layer};
pub use cache_type::CacheType;
pub use companions::Companions;
pub use left::{Left, left};
pub use projector::{
    MEDIA_FILES_BYTES, MEDIA_VECTORS_BYTES, PICTURE_PIXELS_MAX, SOUND_SECONDS_MAX,
};
pub use refusal::{Refusal, check};
pub use weights::{Weights, weights};

/// How many positions of a step the worker may ask vectors or probabilities of, whatever the
/// number of sequences.
pub const OUTPUT_ROWS_MIN: u32 = 64;

/// Tokens that the worker computes in one step.
pub const STEP_TOKENS: u32 = 512;

/// Texts that an encoder takes in one step.
pub const ENCODER_TEXTS: u32 = 64;

/// Bytes of one number in recurrent state, compute buffers and outputs.
const FLOAT_BYTES: u64 = 4;

/// How a model is to be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Tokens the context holds, all sequences together.
    pub context_tokens: u32,
    /// Sequences the context has, those for internal use included. They share one pool of cells.
    pub sequences_max: u32,
    /// Tokens computed in one step (llama.cpp's `n_ubatch`). Encoders take a whole context at once.
    pub step_tokens_max: u32,
    /// Positions of a step that logits are computed for.
    pub output_rows_max: u32,
    /// Guesses of a step, whose results are kept beside one of each sequence.
    pub guessed_rows_max: u32,
    /// How keys are kept.
    pub keys: CacheType,
    /// How values are kept.
    pub values: CacheType,
    /// What layers with a sliding window keep.
    pub windows: Windows,
    /// Whether attention is computed in one fused step instead of with a matrix of scores.
    pub flash_attention: bool,
    /// Where the layers lie.
    pub place: Place,
    /// Tokens of each sequence that can be taken back at once where layers carry a state: so many
    /// earlier states are kept behind the last one. Cells can be taken back in any case.
    pub taken_back_max: u32,
    /// Whether the layers are loaded that guess ahead, with a context of their own.
    pub own_head: bool,
}

impl Layout {
    /// As Resident's worker loads a model on a processor.
    #[must_use]
    pub const fn new(context_tokens: u32, sequences_max: u32) -> Self {
        let output_rows_max =
            if sequences_max > OUTPUT_ROWS_MIN { sequences_max } else { OUTPUT_ROWS_MIN };
        Self {
            context_tokens,
            sequences_max,
            step_tokens_max: STEP_TOKENS,
            output_rows_max,
            guessed_rows_max: 0,
            keys: CacheType::F16,
            values: CacheType::F16,
            windows: Windows::Whole,
            flash_attention: true,
            place: Place::Processor,
            taken_back_max: 0,
            own_head: false,
        }
    }
}

/// Whether layers with a sliding window keep all cells or only those in the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Windows {
    /// All of them (`swa_full`): sequences can be cut back to any earlier position.
    Whole,
    /// What the window and one step need.
    Sliding,
}

/// Where a model's layers lie. The input layer lies in RAM in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// In RAM, computed by the processor.
    Processor,
    /// In RAM that a GPU reads as its own: Apple silicon.
    SharedGpu,
    /// In a GPU's own memory.
    DiscreteGpu,
}

impl Place {
    /// The memory that layers, caches and their compute buffers are in.
    #[must_use]
    pub const fn device(self) -> Device {
        match self {
            Self::Processor => Device::Ram,
            Self::SharedGpu | Self::DiscreteGpu => Device::Gpu,
        }
    }
}

/// Which memory something lies in. With a GPU that shares RAM, both are the same memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Device {
    /// The computer's memory.
    Ram,
    /// What the GPU allocates.
    Gpu,
}

/// What a model needs, by item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footprint {
    /// The parts, largest reason to care first: weights, caches, buffers, the process.
    pub items: Vec<Item>,
    /// False when the architecture is not known here. Then the whole is an upper bound, made as if
    /// every layer had full attention, and a state where nothing rules that out.
    pub certain: bool,
}

/// One part of a footprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What needs the memory, for example `weights`.
    pub what: &'static str,
    /// Which memory it lies in.
    pub device: Device,
    /// How much, in bytes.
    pub bytes: u64,
    /// The formula with its numbers, for a person to check.
    pub why: String,
}

impl Footprint {
    /// All items together, in bytes.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        sum_bytes(self.items.iter())
    }

    /// The bytes of the items of one kind, zero when the model has none of it.
    #[must_use]
    pub fn bytes_of(&self, what: &str) -> u64 {
        sum_bytes(self.items.iter().filter(|item| item.what == what))
    }

    /// The bytes of all items in one memory.
    #[must_use]
    pub fn bytes_on(&self, device: Device) -> u64 {
        sum_bytes(self.items.iter().filter(|item| item.device == device))
    }
}

fn sum_bytes<'a>(items: impl Iterator<Item = &'a Item>) -> u64 {
    items.fold(0, |sum, item| sum.saturating_add(item.bytes))
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
/// What a processor translates inputs of matrix products into.
pub const SCRATCH: &str = "processor scratch";
/// Where results of a step lie.
pub const OUTPUTS: &str = "output buffer";
/// Weights and buffers of a projector for images or sound.
pub const PROJECTOR: &str = "projector";
/// A small model that guesses ahead: its weights, cache and buffers.
pub const DRAFT: &str = "draft model";
/// The model's own layers that guess ahead: their weights, cache and buffers.
pub const HEAD: &str = "multi-token head";
/// LoRA adapters.
pub const ADAPTERS: &str = "adapters";
/// Prompts that are kept outside the cache for later.
pub const PROMPT_CACHE: &str = "prompt cache";
/// The vocabulary as constrained answers choose among it.
pub const CONSTRAINED: &str = "constrained answers";
/// The process itself and its vocabulary.
pub const PROCESS: &str = "process and vocabulary";

/// What `header`'s model needs when it is loaded alone as `layout` says.
#[must_use]
pub fn predict(header: &Header, layout: &Layout) -> Footprint {
    predict_with(header, layout, &Companions::default())
}

/// As [`predict`], with everything that is loaded beside the model.
#[must_use]
pub fn predict_with(header: &Header, layout: &Layout, companions: &Companions) -> Footprint {
    predict_by(Build::default(), header, layout, companions)
}

/// As [`predict_with`], as another release of llama.cpp would lay it out.
#[must_use]
pub fn predict_by(
    build: Build,
    header: &Header,
    layout: &Layout,
    companions: &Companions,
) -> Footprint {
    let layout = of_model(header, layout);
    let mut items = model_items(build, header, &layout);
    if layout.own_head {
        items.extend(head::items(build, header, &layout));
    }
    items.extend(companions::items(build, companions, &layout));
    items.push(process::constrained(header));
    items.push(process::process(header));
    items.retain(|item| item.bytes > 0);
    let certain = layers::is_known(header.architecture()) && compute::is_known(header);
    Footprint { items, certain }
}

/// Only the caches and the state of a model: what its tokens leave behind. Buffers are most of the
/// work of [`predict`], so that whoever needs nothing else asks here.
#[must_use]
pub fn predict_state(header: &Header, layout: &Layout) -> Footprint {
    let layers = layers::all(header);
    let mut items = Vec::new();
    if !header.encodes() {
        items = cache::items(header, &layers, layout);
        items.push(recurrent::item(header, &layers, layout));
        items.retain(|item| item.bytes > 0);
    }
    Footprint { items, certain: layers::is_known(header.architecture()) }
}

/// What the model itself needs, without the process.
fn model_items(build: Build, header: &Header, layout: &Layout) -> Vec<Item> {
    let layers = layers::all(header);
    let mut items = weights::items(header, layout);
    if !header.encodes() {
        items.extend(cache::items(header, &layers, layout));
        items.push(recurrent::item(header, &layers, layout));
    }
    items.extend(compute::items(build, header, &layers, layout));
    items.push(process::scratch(header, &layers, layout));
    items.push(process::outputs(header, layout));
    items
}

/// Encoders take a whole text in one step, whatever the layout says of steps, and give a vector
/// for each of its tokens.
fn of_model(header: &Header, layout: &Layout) -> Layout {
    let mut layout = *layout;
    // llama.cpp switches it off by itself where the GPU cannot do it.
    layout.flash_attention &= refusal::fuses(header, &layout);
    if header.encodes() {
        layout.step_tokens_max = layout.step_tokens_max.max(layout.context_tokens);
        layout.output_rows_max = layout.step_tokens_max;
        layout.sequences_max = layout.sequences_max.max(ENCODER_TEXTS);
    }
    layout
}

/// A product that stays at the largest number rather than wrap: a header may say anything.
fn product(factors: &[u64]) -> u64 {
    factors.iter().fold(1, |product: u64, factor| product.saturating_mul(*factor))
}

/// A sum that stays at the largest number rather than wrap.
fn sum(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |sum: u64, part| sum.saturating_add(*part))
}

/// A count with separated thousands, for the formulas: `32,768`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
