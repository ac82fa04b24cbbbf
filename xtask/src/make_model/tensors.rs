//! What is written for each tensor: its encoding, and how wide its random numbers spread.
//!
//! Which tensors there are is `planner::tensors`' part, how recipes of llama.cpp encode them
//! `planner::recipe`'s.

use std::collections::BTreeMap;

use anyhow::Context;
use planner::{
    gguf::{self, TensorType, Value},
    recipe, tensors,
};

use super::{
    Encoding, Quantization, header,
    shape::{Architecture, Shape},
};

/// What the numbers of a tensor are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Content {
    /// The same everywhere: 1 for the scales of norms, 0 for their biases.
    Constant(f32),
    /// Random with mean 0 and this standard deviation.
    Random(f32),
    /// Each row passes one of so many first inputs on, and none of the others.
    Passing(u64),
    /// Negative rates of decay: minus one, then halved from number to number, and so on in turns of
    /// eight. Some of a state then lasts for one token and some for hundreds, and none grows.
    Decay,
}

/// One tensor to be written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    pub(crate) tensor: gguf::Tensor,
    pub(crate) content: Content,
}

/// All tensors of `shape`, in the order of the file.
///
/// # Errors
/// When the figures of the shape do not give tensors, which a test of all shapes excludes.
pub(crate) fn plan(shape: &Shape, encoding: Encoding) -> anyhow::Result<Vec<Plan>> {
    let metadata: BTreeMap<String, Value> = header::figures(shape).into_iter().collect();
    let options = tensors::Options { tied: shape.tied, rotary_table: false };
    let shapes = tensors::list(&metadata, &options)
        .with_context(|| format!("the shape {} is wrong", shape.name))?;
    let types = match encoding {
        Encoding::Own(quantization) => {
            shapes.iter().map(|tensor| choose(shape, tensor, quantization)).collect()
        }
        Encoding::Recipe(recipe) => {
            recipe::types(&metadata, &shapes, recipe, recipe::Conditions::default())
        }
    };
    let contents = shapes.iter().map(|tensor| content(shape, tensor));
    let placed = recipe::place(&shapes, &types).into_iter().zip(contents);
    Ok(placed.map(|(tensor, content)| Plan { tensor, content }).collect())
}

/// Numbers that are never quantized: small, and read as floats by llama.cpp. The router among them:
/// a small error in it sends a token to another expert.
fn stays_float(tensor: &tensors::Shape) -> bool {
    let kept =
        ["ffn_gate_inp", "position_embd", "token_types", "ssm_conv1d", "shortconv.conv", "_norm."];
    tensor.dimensions.len() == 1
        || !tensor.name.ends_with(".weight")
        || kept.iter().any(|part| tensor.name.contains(part))
}

/// The type of a tensor in the encodings written here. As in llama.cpp's own recipes, the output
/// matrix keeps more bits than the rest at 4 bits; there it is Q6_K, here Q8_0, which needs no
/// quantizer.
fn choose(shape: &Shape, tensor: &tensors::Shape, quantization: Quantization) -> TensorType {
    if stays_float(tensor) {
        return TensorType::F32;
    }
    let is_output =
        tensor.name == "output.weight" || (shape.tied && tensor.name == "token_embd.weight");
    let wanted = match quantization {
        Quantization::F32 => TensorType::F32,
        Quantization::F16 => TensorType::F16,
        Quantization::Q4_0 if !is_output => TensorType::Q4_0,
        Quantization::Q4_0 | Quantization::Q8_0 => TensorType::Q8_0,
    };
    let whole_blocks = tensor.dimensions[0].is_multiple_of(wanted.block_elements());
    if whole_blocks { wanted } else { TensorType::F16 }
}

/// How much attention adds to the residual stream beside the feed-forward network. Random
/// attention averages over the context, which hardly changes from token to token; as an equal
/// partner it would make greedy output repeat one token.
const ATTENTION_SHARE: f32 = 0.25;

/// Factors of the norm over queries in LFM2. Its convolutions reach two tokens back, so what is before
/// them shows only through its attention, and attention that is as sharp as this is no average.
const QUERY_FACTOR: f32 = 4.0;

/// What is added to the step of a state before it is made positive: steps are then a tenth on average,
/// as models are initialized.
const STEP_BIAS: f32 = -2.0;

/// How much longer a token's own vector is than what a layer adds to it, in models that guess ahead: the
/// next token then follows mostly from the last one, so that it can be guessed, and not always.
const OWN_FACTOR: f32 = 5.0;

/// How much wider the logits of such a model spread: it is as sure of its next token as a trained one.
const SURE_FACTOR: f32 = 6.0;

fn content(shape: &Shape, tensor: &tensors::Shape) -> Content {
    let name = tensor.name.as_str();
    let inputs = tensor.dimensions[0];
    // The layer that guesses begins from the token's vector, as the model did.
    if name.ends_with("nextn.eh_proj.weight") {
        return Content::Passing(inputs / 2);
    }
    if name.ends_with("nextn.enorm.weight") {
        return Content::Constant(OWN_FACTOR);
    }
    if shape.guessing > 0 && name == "output.weight" {
        return Content::Random(SURE_FACTOR / root(inputs));
    }
    if name.ends_with("ssm_dt.bias") {
        return Content::Constant(STEP_BIAS);
    }
    if name.ends_with(".bias") {
        return Content::Constant(0.0);
    }
    if name.ends_with("ssm_a") {
        return Content::Decay;
    }
    // What a mixer adds of its inputs to what comes from its state.
    if name.ends_with("ssm_d") {
        return Content::Constant(1.0);
    }
    // This norm undoes the scale of the matrix before it, so it must carry the share itself. Qwen 3.5
    // has one of this name before its network.
    if name.ends_with("post_attention_norm.weight") && shape.architecture == Architecture::Gemma3 {
        return Content::Constant(ATTENTION_SHARE);
    }
    let is_lfm2 = shape.architecture == Architecture::Lfm2;
    if is_lfm2 && name.ends_with("attn_q_norm.weight") {
        return Content::Constant(QUERY_FACTOR);
    }
    if name.ends_with("_norm.weight") {
        return Content::Constant(1.0);
    }
    if matches!(name, "token_embd.weight" | "position_embd.weight" | "token_types.weight") {
        return Content::Random(embedding(shape));
    }
    let is_average = !is_lfm2 && shape.architecture != Architecture::Bert;
    if is_average && name.ends_with("attn_output.weight") {
        return Content::Random(ATTENTION_SHARE / root(inputs));
    }
    // Dividing by the root of the inputs keeps what comes out as large as what goes in, whatever
    // the width.
    Content::Random(1.0 / root(inputs))
}

/// How wide token vectors spread. With tied matrices a token's own vector, still in the residual
/// stream, votes for the same token again, and greedy output could be one token for ever. Gemma
/// multiplies what it reads by the root of the width, so there the vectors must be much shorter
/// than what the layers add.
fn embedding(shape: &Shape) -> f32 {
    let width = u64::from(shape.width);
    match shape.architecture {
        _ if shape.guessing > 0 => OWN_FACTOR,
        Architecture::Gemma3 => root(2 * u64::from(shape.layers)) / (root(width) * root(width)),
        Architecture::Llama
        | Architecture::Qwen3
        | Architecture::Qwen3moe
        | Architecture::Qwen35
        | Architecture::Qwen35moe
        | Architecture::Lfm2
        | Architecture::Granitehybrid
        | Architecture::Mamba
        | Architecture::Mamba2
        | Architecture::Bert => 1.0 / root(width),
    }
}

#[expect(clippy::cast_precision_loss, reason = "widths are far below 2^24")]
pub(crate) fn root(number: u64) -> f32 {
    (number as f32).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::make_model::shape::{self, find};

    const OWN: [Quantization; 4] =
        [Quantization::F32, Quantization::F16, Quantization::Q8_0, Quantization::Q4_0];

    fn parameters(name: &str, architecture: Architecture) -> u64 {
        let shape = find(architecture, name).unwrap();
        let plans = plan(&shape, Encoding::Own(Quantization::F16)).unwrap();
        plans.iter().map(|plan| plan.tensor.elements()).sum()
    }

    #[test]
    fn parameter_counts_are_the_published_ones() {
        for (name, architecture, published) in [
            ("qwen3-0.6b", Architecture::Qwen3, 596_049_920),
            ("qwen3-1.7b", Architecture::Qwen3, 1_720_574_976),
            ("qwen3-4b", Architecture::Qwen3, 4_022_468_096),
            ("qwen3-8b", Architecture::Qwen3, 8_190_735_360),
            ("qwen3-14b", Architecture::Qwen3, 14_768_307_200),
            ("qwen3-32b", Architecture::Qwen3, 32_762_123_264),
            ("qwen3-30b-a3b", Architecture::Qwen3moe, 30_532_122_624),
            ("llama-3.2-1b", Architecture::Llama, 1_235_814_400),
            ("llama-3.2-3b", Architecture::Llama, 3_212_749_824),
            ("llama-3.1-8b", Architecture::Llama, 8_030_261_248),
            ("mistral-7b-v0.3", Architecture::Llama, 7_248_023_552),
            ("deepseek-coder-1.3b", Architecture::Llama, 1_346_471_936),
            ("gemma-3-270m", Architecture::Gemma3, 268_098_176),
            ("gemma-3-1b", Architecture::Gemma3, 999_885_952),
            ("gemma-3-12b", Architecture::Gemma3, 11_766_034_176),
            ("qwen3.5-0.8b", Architecture::Qwen35, 752_393_024),
            ("lfm2-350m", Architecture::Lfm2, 354_483_968),
            ("mamba-130m", Architecture::Mamba, 129_135_360),
            // The published 22,713,216 without the pooling layer of 147,840 that GGUF leaves out.
            ("minilm-l6", Architecture::Bert, 22_565_376),
        ] {
            assert_eq!(parameters(name, architecture), published, "{name}");
        }
    }

    #[test]
    fn q8_0_bytes_are_those_of_the_usual_recipe() {
        for (name, architecture, recipe) in [
            ("qwen3-32b", Architecture::Qwen3, 34_811_744_256),
            ("qwen3-8b", Architecture::Qwen3, 8_703_561_728),
            ("qwen3-30b-a3b", Architecture::Qwen3moe, 32_477_962_240),
            ("mistral-7b-v0.3", Architecture::Llama, 7_701_807_104),
        ] {
            let shape = find(architecture, name).unwrap();
            let plans = plan(&shape, Encoding::Own(Quantization::Q8_0)).unwrap();
            let bytes: u64 = plans.iter().map(|plan| plan.tensor.bytes).sum();
            assert_eq!(bytes, recipe, "{name}");
        }
    }

    #[test]
    fn every_tensor_of_every_shape_is_whole_blocks() {
        for shape in shape::SHAPES {
            for quantization in OWN {
                for plan in plan(&shape, Encoding::Own(quantization)).unwrap() {
                    assert!(plan.tensor.bytes > 0, "{} {}", shape.name, plan.tensor.name);
                }
            }
        }
    }
}
