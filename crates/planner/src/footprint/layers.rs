//! What each layer of a model keeps from token to token.
//!
//! The rules are those of llama.cpp's `llama-hparams.cpp` and of its models; an architecture that is
//! not known here counts as full attention in every layer, which is never too little for one that
//! attends.

use super::{FLOAT_BYTES, product};
use crate::gguf::{Header, Value};

/// What one layer keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Keys and values of every cell: this many numbers for each.
    Full { numbers: u64 },
    /// Keys and values of the last `window` tokens.
    Sliding { numbers: u64, window: u64 },
    /// One state for each sequence.
    Recurrent,
    /// Attention and state side by side.
    Both { numbers: u64 },
    /// Nothing: the layer uses another's cache or has no attention.
    None,
}

/// The figures of attention in one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attention {
    pub(super) heads: u64,
    pub(super) heads_kv: u64,
    pub(super) key_width: u64,
    pub(super) value_width: u64,
}

/// What layer `layer` of the model keeps.
pub(super) fn kind(header: &Header, layer: u64) -> Kind {
    let speculative = header.arch_u64("nextn_predict_layers").unwrap_or(0);
    if layer >= header.layers().saturating_sub(speculative) || shares_its_cache(header, layer) {
        return Kind::None;
    }
    let numbers = cached_numbers(header, layer);
    if header.architecture() == "falcon-h1" {
        return Kind::Both { numbers };
    }
    if is_recurrent(header, layer) {
        return Kind::Recurrent;
    }
    if numbers == 0 {
        return Kind::None;
    }
    match window(header, layer) {
        Some(window) => Kind::Sliding { numbers, window },
        None => Kind::Full { numbers },
    }
}

/// Heads and their widths in layer `layer`.
pub(super) fn attention(header: &Header, layer: u64) -> Attention {
    let heads = header.layer_u64("attention.head_count", layer).unwrap_or(0);
    let heads_kv = header.layer_u64("attention.head_count_kv", layer).unwrap_or(heads);
    // Never the width over the heads when the file gives the width of a head.
    let even = header.arch_u64("embedding_length").unwrap_or(0).checked_div(heads).unwrap_or(0);
    let slides = window(header, layer).is_some();
    let width = |suffix: &str| {
        let of_window = slides.then(|| header.arch_u64(&format!("{suffix}_swa"))).flatten();
        of_window.or_else(|| header.arch_u64(suffix)).unwrap_or(even)
    };
    Attention {
        heads,
        heads_kv,
        key_width: width("attention.key_length"),
        value_width: width("attention.value_length"),
    }
}

/// Numbers that one cell of layer `layer` holds.
fn cached_numbers(header: &Header, layer: u64) -> u64 {
    let attention = attention(header, layer);
    let keys = product(&[attention.heads_kv, attention.key_width]);
    // Latent attention caches one compressed vector, from which values are computed as well.
    if header.arch("attention.key_length_mla").is_some() {
        return keys;
    }
    keys.saturating_add(product(&[attention.heads_kv, attention.value_width]))
}

/// Layers at the end of Gemma 3n and 4 read the cache of earlier ones.
fn shares_its_cache(header: &Header, layer: u64) -> bool {
    const GEMMA3N_LAYERS_WITH_CACHE: u64 = 20;
    if header.architecture() == "gemma3n" {
        return layer >= GEMMA3N_LAYERS_WITH_CACHE;
    }
    let sharing = header.arch_u64("attention.shared_kv_layers").unwrap_or(0);
    layer >= header.layers().saturating_sub(sharing)
}

fn is_recurrent(header: &Header, layer: u64) -> bool {
    const INTERVAL_DEFAULT: u64 = 4;
    match header.architecture() {
        "qwen3next" | "qwen35" | "qwen35moe" => {
            if let Some(Value::Array(layers)) = header.arch("attention.recurrent_layers") {
                return array_element(layers.kept.as_deref(), layer);
            }
            let interval = header.arch_u64("full_attention_interval").unwrap_or(INTERVAL_DEFAULT);
            !(layer + 1).is_multiple_of(interval)
        }
        _ => {
            let has_state = ["ssm.state_size", "wkv.head_size", "shortconv.l_cache"]
                .iter()
                .any(|suffix| header.arch(suffix).is_some());
            has_state && attention(header, layer).heads_kv == 0
        }
    }
}

/// Bytes of state that one recurrent layer keeps for one sequence, 32-bit floats.
pub(super) fn recurrent_bytes(header: &Header) -> u64 {
    let number = |suffix: &str| header.arch_u64(suffix).unwrap_or(0);
    let width = number("embedding_length");
    let numbers = if let Some(head_width) = header.arch_u64("wkv.head_size") {
        let shifts = header.arch_u64("token_shift_count").unwrap_or(2);
        product(&[width, shifts.saturating_add(head_width)])
    } else if let Some(cached) = header.arch_u64("shortconv.l_cache") {
        product(&[width, cached.saturating_sub(1)])
    } else {
        let (inner, state) = (number("ssm.inner_size"), number("ssm.state_size"));
        let convolved = inner.saturating_add(product(&[2, number("ssm.group_count"), state]));
        product(&[number("ssm.conv_kernel").saturating_sub(1), convolved])
            .saturating_add(product(&[state, inner]))
    };
    product(&[numbers, FLOAT_BYTES])
}

/// The window of layer `layer` in tokens, when the layer slides.
fn window(header: &Header, layer: u64) -> Option<u64> {
    let window = header.arch_u64("attention.sliding_window").filter(|window| *window > 0)?;
    let slides = match header.arch("attention.sliding_window_pattern") {
        Some(Value::Array(pattern)) => array_element(pattern.kept.as_deref(), layer),
        Some(single) => slides(single.as_u64()?, false, layer),
        None => {
            let (period, full_first) = default_pattern(header.architecture())?;
            slides(period, full_first, layer)
        }
    };
    slides.then_some(window)
}

/// In a period of this many layers, one is full: the last, or the first.
fn slides(period: u64, full_first: bool, layer: u64) -> bool {
    match layer.checked_rem(period) {
        // A period of zero means that all slide.
        None => true,
        Some(place) if full_first => place != 0,
        Some(place) => place + 1 < period,
    }
}

/// What llama.cpp assumes when the file has no pattern. Windows of other architectures are not
/// used by it: they cache everything.
fn default_pattern(architecture: &str) -> Option<(u64, bool)> {
    Some(match architecture {
        "gemma2" | "gpt-oss" => (2, false),
        "afmoe" | "cohere2" | "exaone-moe" | "exaone4" | "llama4" | "mellum" | "olmo2" => {
            (4, false)
        }
        "gemma3n" => (5, false),
        "gemma3" | "gemma-embedding" => (6, false),
        "plamo3" => (8, false),
        "cohere2moe" | "laguna" | "smallthinker" => (4, true),
        _ => return None,
    })
}

fn array_element(elements: Option<&[Value]>, layer: u64) -> bool {
    let element = usize::try_from(layer).ok().and_then(|layer| elements?.get(layer));
    element.is_some_and(|value| {
        value.as_bool().unwrap_or_else(|| value.as_u64().is_some_and(|number| number != 0))
    })
}
