//! The model's own layers that guess ahead (MTP, `NextN`): they are loaded beside the others, and
//! computed in a context of their own with as many cells.
//!
//! Source: llama.cpp's `llama-model.cpp` (`create_memory`) and `output_reserve` in
//! `llama-context.cpp`. The graph is in `compute/recurrent.rs`.

use super::{Device, FLOAT_BYTES, HEAD, Item, Layout, cache, compute, grouped, layers, product};
use crate::gguf::Header;

/// Weights, cache, buffers and results, under one name. Each says in front what it is.
pub(super) fn items(header: &Header, layout: &Layout) -> Vec<Item> {
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
    items.extend(compute::head_items(header, &layers, layout));
    items.push(super::process::outputs(header, layout));
    items.push(hidden(header, layout));
    items.retain(|item| item.bytes > 0);
    items
        .into_iter()
        .map(|item| Item { what: HEAD, why: format!("{}: {}", item.what, item.why), ..item })
        .collect()
}

/// What the layers begin from: the last hidden vector of each token of a step, and of each row that
/// they are asked about.
fn hidden(header: &Header, layout: &Layout) -> Item {
    let width = header.arch_u64("embedding_length").unwrap_or(0);
    let rows = [layout.step_tokens_max, layout.sequences_max].map(u64::from);
    let [tokens, asked] = rows;
    Item {
        what: "hidden vectors",
        device: Device::Ram,
        bytes: product(&[tokens.saturating_add(asked), width, FLOAT_BYTES]),
        why: format!(
            "({} tokens a step + {asked}) × {} numbers × {FLOAT_BYTES} bytes",
            grouped(tokens),
            grouped(width)
        ),
    }
}
