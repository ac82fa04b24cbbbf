//! What each layer of a model holds, for whoever puts some layers here and some there.
//!
//! The same bytes as the items of a footprint, in another order. Not here: compute buffers, which
//! all layers share.

use super::{Layout, cache, layers, recurrent, weights};
use crate::gguf::Header;

/// What one layer holds, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LayerBytes {
    /// Its weights; none when the layer is not loaded.
    pub weights_bytes: u64,
    /// Its keys, values and recurrent state, of all sequences.
    pub state_bytes: u64,
}

impl LayerBytes {
    /// Both together.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.weights_bytes.saturating_add(self.state_bytes)
    }
}

/// What each layer of the file holds when the model is loaded as `layout` says. What belongs to no
/// layer, input and output, is not in it.
#[must_use]
pub fn by_layer(header: &Header, layout: &Layout) -> Vec<LayerBytes> {
    let layers = layers::all(header);
    let mut all: Vec<LayerBytes> = weights::bytes_by_layer(header)
        .into_iter()
        .map(|weights_bytes| LayerBytes { weights_bytes, state_bytes: 0 })
        .collect();
    if !header.encodes() {
        let caches = cache::bytes_by_layer(header, &layers, layout);
        let states = recurrent::bytes_by_layer(header, &layers, layout);
        for ((layer, cache), state) in all.iter_mut().zip(caches).zip(states) {
            layer.state_bytes = cache.saturating_add(state);
        }
    }
    all
}
