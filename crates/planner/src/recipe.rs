//! How a quantization by name (`Q4_K_M`) encodes each tensor.
//!
//! A name like that is a recipe: it gives more bits to tensors and layers where errors hurt most.
//! The rules are llama.cpp's (`src/llama-quant.cpp`), so that a file can be predicted to the byte
//! without quantizing anything. How good a recipe is is not said here.

mod rewrite;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::{
    gguf::{Tensor, TensorType, Value},
    tensors,
};

pub use rewrite::{Refusal, Wish, embeds, file_bytes, needs_matrix, rewrite};

/// A quantization of whole files, as `llama-quantize` names it.
#[expect(non_camel_case_types, reason = "the names are llama.cpp's, and people write them so")]
#[expect(missing_docs, reason = "the names are all that distinguishes them")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Recipe {
    F32,
    F16,
    BF16,
    Q8_0,
    Q6_K,
    Q5_K_M,
    Q5_K_S,
    Q5_1,
    Q5_0,
    Q4_K_M,
    Q4_K_S,
    Q4_1,
    Q4_0,
    IQ4_NL,
    IQ4_XS,
    MXFP4_MOE,
    Q3_K_L,
    Q3_K_M,
    Q3_K_S,
    IQ3_M,
    IQ3_S,
    IQ3_XS,
    IQ3_XXS,
    Q2_K,
    Q2_K_S,
    IQ2_M,
    IQ2_S,
    IQ2_XS,
    IQ2_XXS,
    TQ2_0,
    TQ1_0,
    IQ1_M,
    IQ1_S,
}

/// What a recipe is, in one row: name, number in `general.file_type`, type of most tensors.
/// Source: `enum llama_ftype` in `llama.h` and `llama_ftype_get_default_type` in `llama-quant.cpp`.
const ROWS: [(Recipe, &str, u32, TensorType); 33] = [
    (Recipe::F32, "F32", 0, TensorType::F32),
    (Recipe::F16, "F16", 1, TensorType::F16),
    (Recipe::BF16, "BF16", 32, TensorType::BF16),
    (Recipe::Q8_0, "Q8_0", 7, TensorType::Q8_0),
    (Recipe::Q6_K, "Q6_K", 18, TensorType::Q6_K),
    (Recipe::Q5_K_M, "Q5_K_M", 17, TensorType::Q5_K),
    (Recipe::Q5_K_S, "Q5_K_S", 16, TensorType::Q5_K),
    (Recipe::Q5_1, "Q5_1", 9, TensorType::Q5_1),
    (Recipe::Q5_0, "Q5_0", 8, TensorType::Q5_0),
    (Recipe::Q4_K_M, "Q4_K_M", 15, TensorType::Q4_K),
    (Recipe::Q4_K_S, "Q4_K_S", 14, TensorType::Q4_K),
    (Recipe::Q4_1, "Q4_1", 3, TensorType::Q4_1),
    (Recipe::Q4_0, "Q4_0", 2, TensorType::Q4_0),
    (Recipe::IQ4_NL, "IQ4_NL", 25, TensorType::IQ4_NL),
    (Recipe::IQ4_XS, "IQ4_XS", 30, TensorType::IQ4_XS),
    (Recipe::MXFP4_MOE, "MXFP4_MOE", 38, TensorType::MXFP4),
    (Recipe::Q3_K_L, "Q3_K_L", 13, TensorType::Q3_K),
    (Recipe::Q3_K_M, "Q3_K_M", 12, TensorType::Q3_K),
    (Recipe::Q3_K_S, "Q3_K_S", 11, TensorType::Q3_K),
    (Recipe::IQ3_M, "IQ3_M", 27, TensorType::IQ3_S),
    (Recipe::IQ3_S, "IQ3_S", 26, TensorType::IQ3_S),
    (Recipe::IQ3_XS, "IQ3_XS", 22, TensorType::IQ3_S),
    (Recipe::IQ3_XXS, "IQ3_XXS", 23, TensorType::IQ3_XXS),
    (Recipe::Q2_K, "Q2_K", 10, TensorType::Q2_K),
    (Recipe::Q2_K_S, "Q2_K_S", 21, TensorType::Q2_K),
    (Recipe::IQ2_M, "IQ2_M", 29, TensorType::IQ2_S),
    (Recipe::IQ2_S, "IQ2_S", 28, TensorType::IQ2_XS),
    (Recipe::IQ2_XS, "IQ2_XS", 20, TensorType::IQ2_XS),
    (Recipe::IQ2_XXS, "IQ2_XXS", 19, TensorType::IQ2_XXS),
    (Recipe::TQ2_0, "TQ2_0", 37, TensorType::TQ2_0),
    (Recipe::TQ1_0, "TQ1_0", 36, TensorType::TQ1_0),
    (Recipe::IQ1_M, "IQ1_M", 31, TensorType::IQ1_M),
    (Recipe::IQ1_S, "IQ1_S", 24, TensorType::IQ1_S),
];

impl Recipe {
    /// Every recipe, from most to fewest bits by name.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| row.0)
    }

    /// The recipe that `name` means, in any case. `MXFP4` alone means the only mix there is of it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("MXFP4") {
            return Some(Self::MXFP4_MOE);
        }
        ROWS.iter().find(|row| row.1.eq_ignore_ascii_case(name)).map(|row| row.0)
    }

    /// As people write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// What `general.file_type` says of such a file.
    #[must_use]
    pub fn file_type(self) -> u32 {
        self.row().2
    }

    /// The type of tensors for which there is no rule.
    #[must_use]
    pub fn default_type(self) -> TensorType {
        self.row().3
    }

    fn row(self) -> &'static (Self, &'static str, u32, TensorType) {
        // Rows come in the order of the variants, which a test holds.
        &ROWS[self as usize]
    }
}

/// What beside the recipe decides types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Conditions {
    /// The quantizer had an importance matrix, which changes a few types. Files by Unsloth and
    /// bartowski are made with one.
    pub measured: bool,
    /// The quantizer was older than April 2026 (commit 1dab5f5a44 of ggml-org/llama.cpp), and did not
    /// yet treat a matrix of queries, keys and values like one of values.
    pub older: bool,
}

/// The tensors of a file made from `shapes` by `recipe`, one behind the other.
///
/// `metadata` says how many layers, heads and experts there are.
#[must_use]
pub fn tensors(
    metadata: &BTreeMap<String, Value>,
    shapes: &[tensors::Shape],
    recipe: Recipe,
    conditions: Conditions,
) -> Vec<Tensor> {
    place(shapes, &types(metadata, shapes, recipe, conditions))
}

/// The type of each of `shapes`, in their order. Layers must ascend, for some rules count them.
#[must_use]
pub fn types(
    metadata: &BTreeMap<String, Value>,
    shapes: &[tensors::Shape],
    recipe: Recipe,
    conditions: Conditions,
) -> Vec<TensorType> {
    let mut rules = rules::Rules::new(metadata, shapes, recipe, conditions);
    let types = shapes
        .iter()
        .map(|shape| rules.choose(shape).unwrap_or_else(|| rules::converted(shape, recipe)));
    types.collect()
}

/// Tensors of the given types with the offsets that they have in a file of the usual alignment.
///
/// # Panics
/// When a row of a tensor is no whole number of blocks of its type; [`types`] gives none such.
#[must_use]
pub fn place(shapes: &[tensors::Shape], types: &[TensorType]) -> Vec<Tensor> {
    let mut offset: u64 = 0;
    let placed = shapes.iter().zip(types).map(|(shape, kind)| {
        let mut dimensions = [1; 4];
        for (to, from) in dimensions.iter_mut().zip(&shape.dimensions) {
            *to = *from;
        }
        // The rules choose types whose blocks fit the rows; a hostile file's numbers may still
        // multiply beyond all bounds.
        let bytes = kind.bytes(shape.elements()).unwrap_or(u64::MAX);
        let tensor = Tensor { name: shape.name.clone(), dimensions, kind: *kind, offset, bytes };
        let end = offset.saturating_add(bytes);
        offset = end.checked_next_multiple_of(ALIGNMENT_BYTES).unwrap_or(u64::MAX);
        tensor
    });
    placed.collect()
}

/// The format's default, which every quantizer uses.
pub(crate) const ALIGNMENT_BYTES: u64 = 32;
