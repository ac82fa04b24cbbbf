//! Combinations that llama.cpp refuses to load, so that a plan does not promise them.
//!
//! Not here: what is only too large.

use super::{CacheType, Layout, Place, layers};
use crate::gguf::Header;

/// Why a context cannot be made, whatever the memory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Source: `llama_init_from_model` in `llama-context.cpp`.
    #[error(
        "values as {} need flash attention, which is off, or not there for heads like this model's; \
         switch it on where there is, or keep values as f16",
        values.name()
    )]
    QuantizedValues {
        /// How values were to be kept.
        values: CacheType,
    },
    /// Source: `llama_init_from_model` in `llama-context.cpp`.
    #[error(
        "{what} as {} come in blocks of {}, but a head of layer {layer} has {width} numbers; \
         keep them as f16", kind.name(), kind.block_numbers()
    )]
    PartOfBlock {
        /// Keys or values.
        what: &'static str,
        /// How they were to be kept.
        kind: CacheType,
        /// The first layer that does not fit.
        layer: u64,
        /// Numbers of one of its heads.
        width: u64,
    },
    /// Source: `llama_init_from_model` in `llama-context.cpp`.
    #[error(
        "keys as {} and values as {} differ, but this model keeps one vector for both; choose \
         the same type for both", keys.name(), values.name()
    )]
    LatentTypesDiffer {
        /// How keys were to be kept.
        keys: CacheType,
        /// How values were to be kept.
        values: CacheType,
    },
    /// Source: `ggml_metal_device_supports_op` in `ggml-metal-device.m`.
    #[error(
        "flash attention on an Apple GPU takes neither keys as {} with values as {} nor other \
         pairs that differ; choose the same of f32, f16, bf16, q8_0, q5_1, q5_0, q4_1 or q4_0 \
         for both", keys.name(), values.name()
    )]
    MetalTypes {
        /// How keys were to be kept.
        keys: CacheType,
        /// How values were to be kept.
        values: CacheType,
    },
}

/// Whether llama.cpp would make a context as `layout` says for this model.
///
/// # Errors
/// What it would refuse, with the way out.
pub fn check(header: &Header, layout: &Layout) -> Result<(), Refusal> {
    let Layout { keys, values, .. } = *layout;
    if header.encodes() {
        return Ok(());
    }
    if values.is_quantized() && !(layout.flash_attention && fuses(header, layout)) {
        return Err(Refusal::QuantizedValues { values });
    }
    if layers::is_latent(header) && keys != values {
        return Err(Refusal::LatentTypesDiffer { keys, values });
    }
    if layout.flash_attention && layout.place == Place::SharedGpu {
        let metal_has = keys == values && keys != CacheType::Iq4Nl;
        if !metal_has {
            return Err(Refusal::MetalTypes { keys, values });
        }
    }
    if layout.flash_attention {
        for (layer, of) in (0..).zip(layers::all(header)) {
            let attention = of.attention;
            whole_blocks("keys", keys, layer, attention.key_width)?;
            whole_blocks("values", values, layer, attention.value_width)?;
        }
    }
    Ok(())
}

/// Whether the place of the layers has fused attention for the model's heads. Source:
/// `ggml_metal_device_supports_op` in `ggml-metal-device.m`; other places have it for all.
pub(super) fn fuses(header: &Header, layout: &Layout) -> bool {
    const METAL_WIDTHS: [u64; 14] = [32, 40, 48, 64, 72, 80, 96, 112, 128, 192, 256, 320, 512, 576];
    layout.place != Place::SharedGpu
        || layers::all(header).iter().all(|of| {
            let layers::Attention { key_width, value_width, .. } = of.attention;
            of.cache == layers::Cached::Nothing
                || (METAL_WIDTHS.contains(&key_width) && key_width >= value_width)
        })
}

fn whole_blocks(
    what: &'static str,
    kind: CacheType,
    layer: u64,
    width: u64,
) -> Result<(), Refusal> {
    if width.is_multiple_of(kind.block_numbers()) {
        Ok(())
    } else {
        Err(Refusal::PartOfBlock { what, kind, layer, width })
    }
}
