//! What the tokens of a sequence leave behind, so that it can be continued elsewhere.
//!
//! Not here: how much that is (`cache.rs`, `recurrent.rs`).

use super::layers::{self, Cached};
use crate::gguf::Header;

/// What a sequence is continued from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Left {
    /// Nothing: each text is computed as a whole.
    Nothing,
    /// Keys and values of each token.
    Cells,
    /// Those, and one state after all tokens.
    CellsAndState,
    /// One state after all tokens.
    State,
}

/// What sequences of this model leave behind.
#[must_use]
pub fn left(header: &Header) -> Left {
    if header.encodes() {
        return Left::Nothing;
    }
    let layers = layers::all(header);
    let has_cells = layers.iter().any(|layer| layer.cache != Cached::Nothing);
    let has_state = layers.iter().any(|layer| layer.has_state);
    match (has_cells, has_state) {
        (true, true) => Left::CellsAndState,
        (false, true) => Left::State,
        (true, false) => Left::Cells,
        (false, false) => Left::Nothing,
    }
}
