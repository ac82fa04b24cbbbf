//! Keys and values: what the layers that attend keep of every token, to the byte.
//!
//! Source: llama.cpp's `llama-kv-cache.cpp`, `llama-kv-cache-iswa.cpp` and `llama-model.cpp`
//! (`create_memory`). Which layers keep what is in `layers.rs`, state in `recurrent.rs`.

use std::collections::BTreeMap;

use super::{
    CACHE, CacheType, Item, Layout, WINDOW_CACHE, Windows, grouped,
    layers::{self, Attention, Cached, Layer},
    product,
};
use crate::gguf::Header;

/// llama.cpp rounds contexts up to whole multiples of this many cells.
const CELLS_MULTIPLE: u64 = 256;

/// Items for the layers that see everything and for those with a window.
pub(super) fn items(header: &Header, layers: &[Layer], layout: &Layout) -> Vec<Item> {
    let shapes = shapes(header, layers, layout);
    let mut full = Part::new(CACHE, context_cells(layout));
    let mut sliding = Part::new(WINDOW_CACHE, context_cells(layout));
    for (layer, shape) in layers.iter().zip(&shapes) {
        match layer.cache {
            Cached::Nothing => {}
            Cached::Everything => full.add(shape),
            Cached::Window(window) => {
                sliding.cells = window_cells(layout, window);
                sliding.add(shape);
            }
        }
    }
    vec![full.item(layout), sliding.item(layout)]
}

/// What each layer keeps.
pub(super) fn bytes_by_layer(header: &Header, layers: &[Layer], layout: &Layout) -> Vec<u64> {
    let bytes = |(layer, shape): (&Layer, Shape)| {
        let cells = match layer.cache {
            Cached::Nothing => 0,
            Cached::Everything => context_cells(layout),
            Cached::Window(window) => window_cells(layout, window),
        };
        product(&[cells, shape.bytes(layout)])
    };
    layers.iter().zip(shapes(header, layers, layout)).map(bytes).collect()
}

/// Cells of layers that see the whole context.
pub(super) fn context_cells(layout: &Layout) -> u64 {
    u64::from(layout.context_tokens).next_multiple_of(CELLS_MULTIPLE)
}

/// Cells of layers with a window of `window` tokens.
pub(super) fn window_cells(layout: &Layout, window: u64) -> u64 {
    let all = context_cells(layout);
    match layout.windows {
        Windows::Whole => all,
        Windows::Sliding => {
            let needed = product(&[window, layout.sequences_max.into()]);
            let needed = needed.saturating_add(layout.step_tokens_max.into());
            all.min(needed).next_multiple_of(CELLS_MULTIPLE)
        }
    }
}

/// What one cell of one layer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Shape {
    heads: u64,
    key_width: u64,
    value_width: u64,
    /// Numbers of values in all heads; with the padding, where there is any.
    value_numbers: u64,
    /// Numbers of a second cache of keys, by which sparse attention chooses cells.
    index_width: u64,
}

/// The shape of every layer's cells. Without flash attention values lie transposed, and all layers
/// get the widest layer's room for them.
fn shapes(header: &Header, layers: &[Layer], layout: &Layout) -> Vec<Shape> {
    let numbers = |attention: &Attention| product(&[attention.heads_kv, attention.value_width]);
    let widest = layers.iter().map(|layer| numbers(&layer.attention)).max().unwrap_or(0);
    let padded = !layout.flash_attention;
    let latent = layers::is_latent(header);
    let index_width = layers::index_width(header);
    let shape = |attention: &Attention| Shape {
        heads: attention.heads_kv,
        key_width: attention.key_width,
        value_width: attention.value_width,
        value_numbers: match (latent, padded) {
            // Values are computed from the one compressed vector that is kept as the key.
            (true, _) => 0,
            (false, true) => widest,
            (false, false) => numbers(attention),
        },
        index_width,
    };
    layers.iter().map(|layer| shape(&layer.attention)).collect()
}

/// One of the two caches while it is summed.
struct Part {
    what: &'static str,
    cells: u64,
    layers: u64,
    bytes_a_cell: u64,
    layers_by_shape: BTreeMap<Shape, u64>,
}

impl Part {
    fn new(what: &'static str, cells: u64) -> Self {
        Self { what, cells, layers: 0, bytes_a_cell: 0, layers_by_shape: BTreeMap::new() }
    }

    fn add(&mut self, shape: &Shape) {
        self.layers += 1;
        *self.layers_by_shape.entry(*shape).or_default() += 1;
    }

    fn item(mut self, layout: &Layout) -> Item {
        for (shape, layers) in &self.layers_by_shape {
            let bytes = product(&[*layers, shape.bytes(layout)]);
            self.bytes_a_cell = self.bytes_a_cell.saturating_add(bytes);
        }
        Item {
            what: self.what,
            device: layout.place.device(),
            bytes: product(&[self.bytes_a_cell, self.cells]),
            why: self.why(layout),
        }
    }

    fn why(&self, layout: &Layout) -> String {
        let terms: Vec<String> =
            self.layers_by_shape.iter().map(|(shape, layers)| shape.why(*layers, layout)).collect();
        let cells = grouped(self.cells);
        match terms.as_slice() {
            [one] => format!("{one} × {cells} cells"),
            several => format!("({}) × {cells} cells", several.join(" + ")),
        }
    }
}

impl Shape {
    /// Bytes of one cell of one layer. Rows of keys and values are encoded each for itself.
    fn bytes(&self, layout: &Layout) -> u64 {
        let keys = layout.keys.bytes(product(&[self.heads, self.key_width]));
        keys.saturating_add(layout.values.bytes(self.value_numbers))
            .saturating_add(layout.keys.bytes(self.index_width))
    }

    fn why(&self, layers: u64, layout: &Layout) -> String {
        let Self { heads, key_width, value_width, value_numbers, index_width } = self;
        let name = |kind: CacheType| format!("{} bytes ({})", kind.bytes_a_number(), kind.name());
        let (keys, values) = (name(layout.keys), name(layout.values));
        let all_values = product(&[*heads, *value_width]);
        let mut text = if *value_numbers == 0 {
            format!("{layers} layers × {heads} heads × {key_width} × {keys}, keys only")
        } else if *value_numbers != all_values {
            format!(
                "{layers} layers × ({heads} heads × {key_width} × {keys} + {value_numbers} × \
                 {values}, values padded to the widest layer)"
            )
        } else if layout.keys == layout.values {
            format!("{layers} layers × {heads} heads × ({key_width} + {value_width}) × {keys}")
        } else {
            format!(
                "{layers} layers × {heads} heads × ({key_width} × {keys} + {value_width} × {values})"
            )
        };
        if *index_width > 0 {
            text += &format!(" + {layers} layers × {index_width} × {keys} to choose cells by");
        }
        text
    }
}
