//! What llama.cpp's quantizer makes of a file that is there, and what it should not be asked.
//!
//! Not here: the importance matrix itself ([`crate::importance`]), and doing it (`resident-llama`).

use super::{ALIGNMENT_BYTES, Conditions, Recipe, place, rules};
use crate::{
    gguf::{Header, Tensor, TensorType},
    tensors::Shape,
};

/// What is asked of the quantizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// What the weights become.
    pub recipe: Recipe,
    /// Whether there is an importance matrix.
    pub measured: bool,
    /// Whether weights that are quantized already may be quantized again.
    pub may_requantize: bool,
}

/// Why a file should not be quantized so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A projector, an adapter, a matrix, or a later part of a split model.
    #[error("is no model of its own{also}; name the model's file, of a split one the first part")]
    NotAModel {
        /// What it calls itself, in words to follow "no model of its own".
        also: String,
    },
    /// Weights are quantized already.
    #[error(
        "has weights that are quantized already (`{tensor}` is {kind}): what that lost stays lost, \
         and {recipe} loses more; take the model in F16, BF16 or F32, or give --allow-requantize"
    )]
    Requantizes {
        /// The first such tensor.
        tensor: String,
        /// How it is encoded.
        kind: &'static str,
        /// What was asked for.
        recipe: &'static str,
    },
    /// Too few bits for guessing which of them matter.
    #[error(
        "cannot become {recipe} without an importance matrix: `{tensor}` would be {kind}, and the \
         model would write garbage; give the matrix of this model with --imatrix (llama.cpp's \
         llama-imatrix makes one), or choose a type that needs none, such as Q2_K or IQ4_XS"
    )]
    NeedsMatrix {
        /// What was asked for.
        recipe: &'static str,
        /// The first tensor that needs it.
        tensor: String,
        /// What it would be encoded as.
        kind: &'static str,
    },
}

/// The tensors of the file that llama.cpp's quantizer makes of `source`, in the order in which it
/// writes them: by layer, then by name.
///
/// # Errors
/// [`Refusal`], each of which says the way out.
pub fn rewrite(source: &Header, wish: Wish) -> Result<Vec<Tensor>, Refusal> {
    refuse_companion(source)?;
    let mut from: Vec<&Tensor> = source.tensors.iter().collect();
    from.sort_by_key(|tensor| {
        // What belongs to no layer comes first.
        (tensor.place_in_layers().map(|(layer, _)| layer), tensor.name.as_str())
    });
    let shapes: Vec<Shape> = from.iter().map(|tensor| shape(tensor)).collect();
    let conditions = Conditions { measured: wish.measured, older: false };
    let mut rules = rules::Rules::new(&source.metadata, &shapes, wish.recipe, conditions);
    let types: Vec<TensorType> = from
        .iter()
        .zip(&shapes)
        .map(|(tensor, shape)| rules.choose(shape).unwrap_or(tensor.kind))
        .collect();
    refuse_requantizing(&from, &types, wish)?;
    let tensors = place(&shapes, &types);
    let needing = tensors.iter().find(|tensor| needs_matrix(tensor, wish.recipe));
    match needing.filter(|_| !wish.measured) {
        None => Ok(tensors),
        Some(tensor) => Err(Refusal::NeedsMatrix {
            recipe: wish.recipe.name(),
            tensor: tensor.name.clone(),
            kind: tensor.kind.name(),
        }),
    }
}

/// Bytes of the file that [`rewrite`] tells of, where the source has `source_file_bytes`, those of all
/// parts together. The tensors are exact; the header is as long as the source's, but for the few keys
/// by which the quantizer says what it did.
#[must_use]
pub fn file_bytes(source: &Header, source_file_bytes: u64, made: &[Tensor]) -> u64 {
    let header_bytes = source_file_bytes.saturating_sub(source.tensor_bytes());
    let data_bytes = made.iter().fold(0, |sum: u64, tensor| {
        let padded = tensor.bytes.checked_next_multiple_of(ALIGNMENT_BYTES).unwrap_or(u64::MAX);
        sum.saturating_add(padded)
    });
    header_bytes.saturating_add(data_bytes)
}

/// Whether a tensor of a file made by `recipe` is garbage unless it was made with an importance
/// matrix. Source: `tensor_requires_imatrix` in llama.cpp's `src/llama-quant.cpp`.
#[must_use]
pub fn needs_matrix(tensor: &Tensor, recipe: Recipe) -> bool {
    const ALWAYS: [TensorType; 6] = [
        TensorType::IQ3_XXS,
        TensorType::IQ2_XXS,
        TensorType::IQ2_XS,
        TensorType::IQ2_S,
        TensorType::IQ1_M,
        TensorType::IQ1_S,
    ];
    if embeds(&tensor.name) {
        return false;
    }
    ALWAYS.contains(&tensor.kind) || tensor.kind == TensorType::Q2_K && recipe == Recipe::Q2_K_S
}

/// Whether a tensor turns tokens into vectors or back. Importance is not measured of these.
#[must_use]
pub fn embeds(name: &str) -> bool {
    ["token_embd.weight", "per_layer_token_embd.weight", "output.weight"].contains(&name)
}

fn refuse_companion(source: &Header) -> Result<(), Refusal> {
    if source.is_model() {
        return Ok(());
    }
    let also = source.str("general.type").map(|kind| {
        // What a file says of itself may hold any character, and be long.
        let plain = kind.chars().filter(|letter| letter.is_ascii_alphanumeric()).take(16);
        format!(" but calls itself '{}'", plain.collect::<String>())
    });
    Err(Refusal::NotAModel { also: also.unwrap_or_default() })
}

fn refuse_requantizing(from: &[&Tensor], to: &[TensorType], wish: Wish) -> Result<(), Refusal> {
    let mut pairs = from.iter().zip(to);
    let again = pairs.find(|(tensor, to)| tensor.kind.is_quantized() && tensor.kind != **to);
    match again.filter(|_| !wish.may_requantize) {
        None => Ok(()),
        Some((tensor, _)) => Err(Refusal::Requantizes {
            tensor: tensor.name.clone(),
            kind: tensor.kind.name(),
            recipe: wish.recipe.name(),
        }),
    }
}

fn shape(tensor: &Tensor) -> Shape {
    Shape { name: tensor.name.clone(), dimensions: tensor.dimensions.to_vec() }
}
