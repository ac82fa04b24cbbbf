//! The model's own layers that guess ahead (MTP, `NextN`): they are loaded beside the others, and
//! computed in a context of their own with as many cells.
//!
//! Source: llama.cpp's `llama-model.cpp` (`create_memory`) and `output_reserve` in
//! `llama-context.cpp`. The graph is in `compute/recurrent.rs`.

use super::{
    Build, Device, FLOAT_BYTES, HEAD, Item, Layout, cache, compute, grouped, layers, product,
};
use crate::gguf::Header;

/// Weights, cache, buffers and results, under one name. Each says in front what it is.
pub(super) fn items(build: Build, header: &Header, layout: &Layout) -> Vec<Item> {
    let device = layout.place.device();
    let layers = layers::guessing(header);
    let weights = super::weights(header).skipped_bytes;
    let mut items = vec![Item {
        what: super::WEIGHTS,
        device,
        bytes: weights,
        why: format!("the tensors of layers that guess ahead, {} bytes", grouped(weights)),
    }];
    items.extend(cache::items(header, &layers, layout));
    items.extend(compute::head_items(build, header, &layers, layout));
    items.push(super::process::outputs(header, &Layout { guessed_rows_max: 0, ..*layout }));
    items.push(hidden(header, layout));
    items.retain(|item| item.bytes > 0);
    items
        .into_iter()
        .map(|item| Item { what: HEAD, why: format!("{}: {}", item.what, item.why), ..item })
        .collect()
}

/// Copies of the hidden vectors of a step: what the model tells, what is handed on with the tokens, and
/// those that llama.cpp makes while it sorts a step (`llama_batch_ext`, `llama_batch_allocr`, the part that
/// is computed).
const COPIES: u64 = 5;

/// What the layers begin from: the last hidden vector of each token of a step, and of each row that
/// they are asked about.
fn hidden(header: &Header, layout: &Layout) -> Item {
    let width = header.arch_u64("embedding_length").unwrap_or(0);
    let rows = [layout.step_tokens_max, layout.sequences_max].map(u64::from);
    let [tokens, asked] = rows;
    Item {
        what: "hidden vectors",
        device: Device::Ram,
        bytes: product(&[tokens.saturating_add(asked), width, FLOAT_BYTES, COPIES]),
        why: format!(
            "({} tokens a step + {asked}) × {} numbers × {FLOAT_BYTES} bytes × {COPIES} copies",
            grouped(tokens),
            grouped(width)
        ),
    }
}
