//! What is loaded beside a model: a projector for images or sound, a draft model, adapters, and
//! prompts that are kept for later.
//!
//! Source: llama.cpp's `tools/mtmd/clip.cpp` for projectors, `llama-adapter.cpp` for adapters; a
//! draft is a model like any other.

use super::{
    ADAPTERS, Build, DRAFT, Device, FLOAT_BYTES, Item, Layout, PROJECTOR, PROMPT_CACHE, grouped,
    product,
};
use crate::gguf::Header;

/// What is loaded beside a model. The default is nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Companions<'a> {
    /// A projector (`mmproj`) that turns images or sound into the model's vectors.
    pub projector: Option<&'a Header>,
    /// A small model with the same vocabulary that guesses ahead. It gets a context of the same
    /// length for as many sequences.
    pub draft: Option<&'a Header>,
    /// Bytes of LoRA adapters and control vectors, all files together.
    pub adapters_bytes: u64,
    /// Bytes that their results take in a step.
    pub adapters_step_bytes: u64,
    /// Bytes that prompts outside the cache may take.
    pub prompt_cache_bytes: u64,
}

/// The items of all companions.
pub(super) fn items(build: Build, companions: &Companions, layout: &Layout) -> Vec<Item> {
    let Companions { projector, draft, adapters_bytes, adapters_step_bytes, prompt_cache_bytes } =
        *companions;
    let device = layout.place.device();
    let mut items = Vec::new();
    if let Some(header) = projector {
        items.extend(projector_items(header, device));
    }
    if let Some(header) = draft {
        items.extend(draft_items(build, header, layout));
    }
    items.push(Item {
        what: ADAPTERS,
        device,
        bytes: adapters_bytes.saturating_add(adapters_step_bytes),
        // They are read into memory of their own, never mapped.
        why: format!(
            "the adapters' files in full, {} bytes, and {} bytes for what they add in a step",
            grouped(adapters_bytes),
            grouped(adapters_step_bytes)
        ),
    });
    items.push(Item {
        what: PROMPT_CACHE,
        device: Device::Ram,
        bytes: prompt_cache_bytes,
        why: format!("the bound that was set, {} bytes", grouped(prompt_cache_bytes)),
    });
    items
}

/// A draft's own weights, cache, state, buffers and outputs, under one name. Each says in front
/// what it is.
fn draft_items(build: Build, header: &Header, layout: &Layout) -> Vec<Item> {
    let layout = super::of_model(header, layout);
    let items = super::model_items(build, header, &layout).into_iter();
    items
        .map(|item| Item { what: DRAFT, why: format!("{}: {}", item.what, item.why), ..item })
        .collect()
}

/// Weights are copied, not mapped (`clip.cpp` reads them into a buffer of the backend), and the
/// encoder takes a whole image or half a minute of sound at once.
fn projector_items(header: &Header, device: Device) -> Vec<Item> {
    let tensors = header.tensor_bytes();
    let weights = Item {
        what: PROJECTOR,
        device,
        bytes: tensors,
        why: format!("{} tensors, {} bytes, copied", header.tensors.len(), grouped(tensors)),
    };
    let encoders = ["vision", "audio"].iter().filter_map(|side| encoder(header, side, device));
    std::iter::once(weights).chain(encoders).collect()
}

/// What the encoder of one side computes in, estimated from its widest layer with fused attention,
/// which llama.cpp takes where it can.
fn encoder(header: &Header, side: &str, device: Device) -> Option<Item> {
    let number = |suffix: &str| header.u64(&format!("clip.{side}.{suffix}")).filter(|&n| n > 0);
    let width = number("embedding_length")?;
    let positions = positions(header, side);
    let feed_forward = number("feed_forward_length").unwrap_or(width.saturating_mul(4));
    // The stream and its norm, with either both sides of the feed-forward network, or queries,
    // keys and values, twice because the last two are wanted in half precision.
    let widest = product(&[2, feed_forward]).max(product(&[5, width]));
    let numbers = product(&[2, width]).saturating_add(widest);
    Some(Item {
        what: PROJECTOR,
        device,
        bytes: product(&[FLOAT_BYTES, positions, numbers]),
        why: format!(
            "{side} encoder, estimated: {} positions × {} numbers in its widest layer × \
             {FLOAT_BYTES} bytes",
            grouped(positions),
            grouped(numbers)
        ),
    })
}

/// Positions that the encoder is laid out for. Source: `image_size`, `set_warmup_n_tokens` and
/// `warmup_audio_size` in `clip.cpp` and `clip-model.h`.
fn positions(header: &Header, side: &str) -> u64 {
    // Projectors that merge patches take images of any size; they are laid out for 46 by 46 merged
    // patches. Sound is 3,000 frames, of which a convolution keeps every second.
    const MERGED_PATCHES: u64 = 46 * 46;
    const SOUND_POSITIONS: u64 = 1500;
    let number = |suffix: &str| header.u64(&format!("clip.{side}.{suffix}")).filter(|&n| n > 0);
    if let Some(merge) = number("spatial_merge_size") {
        return product(&[MERGED_PATCHES, merge, merge]);
    }
    match (number("image_size"), number("patch_size")) {
        (Some(image), Some(patch)) => {
            let along = image.div_ceil(patch);
            product(&[along, along]).saturating_add(1)
        }
        _ => SOUND_POSITIONS,
    }
}
