//! The state of layers that carry one vector from token to token instead of a cache, to the byte.
//!
//! Source: llama.cpp's `llama-hparams.cpp` (`n_embd_r`, `n_embd_s`) and
//! `llama-memory-recurrent.cpp`. Which layers have such a state is in `layers.rs`.

use super::{FLOAT_BYTES, Item, Layout, RECURRENT, grouped, layers::Layer, product};
use crate::gguf::Header;

/// The state of all layers for all sequences.
pub(super) fn item(header: &Header, layers: &[Layer], layout: &Layout) -> Item {
    let heads = layers.iter().map(|layer| layer.attention.heads).max().unwrap_or(0);
    let State { shifted, carried } = state(header, heads);
    let layers = layers.iter().filter(|layer| layer.has_state).count();
    let layers = u64::try_from(layers).unwrap_or(u64::MAX);
    let sequences = u64::from(layout.sequences_max.max(1));
    let states = u64::from(layout.taken_back_max).saturating_add(1);
    let earlier = match states {
        1 => String::new(),
        states => format!(" × {states} states, the last one and {} before it", states - 1),
    };
    let numbers = shifted.saturating_add(carried);
    Item {
        what: RECURRENT,
        device: layout.place.device(),
        bytes: product(&[layers, numbers, FLOAT_BYTES, sequences, states]),
        why: format!(
            "{layers} layers × ({} + {}) × {FLOAT_BYTES} bytes × {sequences} sequences{earlier}; it \
             does not grow with the context",
            grouped(shifted),
            grouped(carried)
        ),
    }
}

/// What each layer keeps for all sequences.
pub(super) fn bytes_by_layer(header: &Header, layers: &[Layer], layout: &Layout) -> Vec<u64> {
    let heads = layers.iter().map(|layer| layer.attention.heads).max().unwrap_or(0);
    let State { shifted, carried } = state(header, heads);
    let numbers = shifted.saturating_add(carried);
    let states = u64::from(layout.taken_back_max).saturating_add(1);
    let bytes = product(&[numbers, FLOAT_BYTES, layout.sequences_max.max(1).into(), states]);
    layers.iter().map(|layer| if layer.has_state { bytes } else { 0 }).collect()
}

/// What one layer keeps for one sequence, in 32-bit floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    /// Inputs of the last few tokens, for convolutions and token shifts.
    pub(super) shifted: u64,
    /// The state proper.
    pub(super) carried: u64,
}

/// The state of one layer, with `heads` heads at most.
pub(super) fn state(header: &Header, heads: u64) -> State {
    const TOKEN_SHIFTS_DEFAULT: u64 = 2;
    const KDA_CONVOLUTION_DEFAULT: u64 = 4;
    let number = |suffix: &str| header.arch_u64(suffix).filter(|number| *number > 0);
    let width = number("embedding_length").unwrap_or(0);
    if let Some(head_width) = number("wkv.head_size") {
        // RWKV.
        let shifts = number("token_shift_count").unwrap_or(TOKEN_SHIFTS_DEFAULT);
        return State {
            shifted: product(&[shifts, width]),
            carried: product(&[width, head_width]),
        };
    }
    if let Some(kept) = number("shortconv.l_cache") {
        // LFM2.
        return State { shifted: product(&[width, kept.saturating_sub(1)]), carried: 0 };
    }
    let convolved = number("ssm.conv_kernel");
    if let Some(head_width) = number("kda.head_dim") {
        // Kimi's delta attention: a convolution each for queries, keys and values.
        let before = convolved.unwrap_or(KDA_CONVOLUTION_DEFAULT).saturating_sub(1);
        let shifted = product(&[3, before, heads, head_width]);
        return State { shifted, carried: product(&[head_width, head_width, heads]) };
    }
    // Mamba, and the gated delta nets of Qwen.
    let (inner, state) =
        (number("ssm.inner_size").unwrap_or(0), number("ssm.state_size").unwrap_or(0));
    let groups = number("ssm.group_count").unwrap_or(0);
    let wide = inner.saturating_add(product(&[2, groups, state]));
    State {
        shifted: product(&[convolved.unwrap_or(0).saturating_sub(1), wide]),
        carried: product(&[state, inner]),
    }
}
