//! What is loaded beside a model: a projector for images or sound, a draft model, adapters, and
//! prompts that are kept for later.
//!
//! Source: llama.cpp's `llama-adapter.cpp` for adapters; a draft is a model like any other.

use super::{ADAPTERS, Build, DRAFT, Device, Item, Layout, PROMPT_CACHE, grouped, projector};
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
        items.extend(projector::items(header, device));
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
