//! Tensors for a mix of types of which only the length is known, such as Unsloth's dynamic ones.
//!
//! Which tensor got which type is not derivable; what a plan needs is that the sum is right and that
//! it is spread over the layers. So the model is cut in two: the tensors up to some place have the
//! types of the next richer recipe, the rest those of the next poorer one.

use super::Entry;
use crate::{
    gguf::Tensor,
    recipe::{self, Recipe},
    tensors::Shape,
};

/// The recipe that comes nearest, and tensors of about `wanted_bytes` bytes.
pub(super) fn tensors(entry: &Entry, shapes: &[Shape], wanted_bytes: u64) -> (Recipe, Vec<Tensor>) {
    let mut candidates: Vec<(u64, Recipe, Vec<Tensor>)> = BASES
        .into_iter()
        .map(|recipe| (recipe, entry.tensors(shapes, recipe)))
        .map(|(recipe, tensors)| (data_bytes(&tensors), recipe, tensors))
        .collect();
    candidates.sort_by_key(|candidate| candidate.0);
    let above = candidates.partition_point(|candidate| candidate.0 <= wanted_bytes);
    let (poor, rich) = candidates.split_at(above);
    match (poor.last(), rich.first()) {
        (Some(poor), Some(rich)) => {
            let nearer =
                if wanted_bytes - poor.0 <= rich.0 - wanted_bytes { poor.1 } else { rich.1 };
            let cut = cut(shapes, &poor.2, &rich.2, wanted_bytes - poor.0);
            // What the pieces leave open may be more than what the whole is too long by.
            let open_bytes = wanted_bytes.saturating_sub(data_bytes(&cut));
            let is_whole = rich.0 - wanted_bytes < open_bytes;
            (nearer, if is_whole { rich.2.clone() } else { cut })
        }
        (Some(only), None) | (None, Some(only)) => (only.1, only.2.clone()),
        (None, None) => (Recipe::F16, Vec::new()),
    }
}

/// Recipes between which a mix may lie: those that spread their bits evenly.
const BASES: [Recipe; 9] = [
    Recipe::IQ1_S,
    Recipe::IQ2_XXS,
    Recipe::Q2_K,
    Recipe::Q3_K_M,
    Recipe::Q4_K_M,
    Recipe::Q5_K_M,
    Recipe::Q6_K,
    Recipe::Q8_0,
    Recipe::BF16,
];

/// The types of `rich` from the beginning on, until `more_bytes` are used up, then those of `poor`.
fn cut(shapes: &[Shape], poor: &[Tensor], rich: &[Tensor], more_bytes: u64) -> Vec<Tensor> {
    let mut left = more_bytes;
    let pairs = poor.iter().zip(rich);
    let types: Vec<_> = pairs
        .map(|(poor, rich)| {
            let costs = rich.bytes.saturating_sub(poor.bytes);
            if costs > left {
                return poor.kind;
            }
            left -= costs;
            rich.kind
        })
        .collect();
    recipe::place(shapes, &types)
}

/// Bytes of all tensors with the padding behind each.
pub(super) fn data_bytes(tensors: &[Tensor]) -> u64 {
    tensors.iter().map(|tensor| tensor.bytes.next_multiple_of(recipe::ALIGNMENT_BYTES)).sum()
}
