//! The tensors of each architecture: name, dimensions and how wide their random numbers spread.
//!
//! Names and dimensions are those that llama.cpp's loader asks for (`src/models/*.cpp` there).

use planner::gguf::TensorType;

use super::{
    Quantization,
    shape::{Architecture, Experts, Shape},
};

/// What the numbers of a tensor are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Content {
    /// The same everywhere: 1 for the scales of norms, 0 for their biases.
    Constant(f32),
    /// Random with mean 0 and this standard deviation.
    Random(f32),
}

/// One tensor to be written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    pub(crate) name: String,
    /// Elements by dimension, the contiguous one first.
    pub(crate) dimensions: Vec<u64>,
    pub(crate) content: Content,
    pub(crate) kind: TensorType,
}

impl Plan {
    pub(crate) fn elements(&self) -> u64 {
        self.dimensions.iter().product()
    }

    pub(crate) fn bytes(&self) -> u64 {
        // `choose` gives no type whose blocks do not fit the rows.
        self.kind.bytes(self.elements()).unwrap_or(0)
    }
}

/// All tensors of `shape`, in the order of the file.
pub(crate) fn plan(shape: &Shape, quantization: Quantization) -> Vec<Plan> {
    let mut list = List { plans: Vec::new(), quantization, tied: shape.tied };
    match shape.architecture {
        Architecture::Bert => encoder(&mut list, shape),
        Architecture::Llama
        | Architecture::Qwen3
        | Architecture::Qwen3moe
        | Architecture::Gemma3 => decoder(&mut list, shape),
    }
    list.plans
}

struct List {
    plans: Vec<Plan>,
    quantization: Quantization,
    tied: bool,
}

impl List {
    /// A matrix that is multiplied with. Dividing by the root of the inputs keeps what comes out as
    /// large as what goes in, whatever the width.
    fn matrix(&mut self, name: impl Into<String>, dimensions: &[u32]) {
        let deviation = 1.0 / root(dimensions[0]);
        self.random(name.into(), dimensions, deviation);
    }

    fn random(&mut self, name: String, dimensions: &[u32], deviation: f32) {
        let kind = self.choose(&name, dimensions);
        self.push(name, dimensions, Content::Random(deviation), kind);
    }

    /// Numbers that are never quantized: small, and read as floats by llama.cpp.
    fn floats(&mut self, name: impl Into<String>, dimensions: &[u32], content: Content) {
        self.push(name.into(), dimensions, content, TensorType::F32);
    }

    fn norm(&mut self, name: impl Into<String>, width: u32) {
        self.floats(name, &[width], Content::Constant(1.0));
    }

    fn push(&mut self, name: String, dimensions: &[u32], content: Content, kind: TensorType) {
        let dimensions = dimensions.iter().map(|dimension| u64::from(*dimension)).collect();
        self.plans.push(Plan { name, dimensions, content, kind });
    }

    /// The type of a matrix. As in llama.cpp's own recipes, the output matrix keeps more bits than
    /// the rest at 4 bits; there it is Q6_K, here Q8_0, which needs no quantizer.
    fn choose(&self, name: &str, dimensions: &[u32]) -> TensorType {
        let is_output = name == "output.weight" || (self.tied && name == "token_embd.weight");
        let wanted = match self.quantization {
            Quantization::F32 => TensorType::F32,
            Quantization::F16 => TensorType::F16,
            Quantization::Q4_0 if !is_output => TensorType::Q4_0,
            Quantization::Q4_0 | Quantization::Q8_0 => TensorType::Q8_0,
        };
        let whole_blocks = u64::from(dimensions[0]).is_multiple_of(wanted.block_elements());
        if whole_blocks { wanted } else { TensorType::F16 }
    }
}

#[expect(clippy::cast_precision_loss, reason = "widths are far below 2^24")]
fn root(number: u32) -> f32 {
    (number as f32).sqrt()
}

fn decoder(list: &mut List, shape: &Shape) {
    list.random("token_embd.weight".into(), &[shape.width, shape.vocabulary], embedding(shape));
    for layer in 0..shape.layers {
        attention(list, shape, layer);
        let block = |part: &str| format!("blk.{layer}.{part}.weight");
        list.norm(block("ffn_norm"), shape.width);
        match shape.experts {
            Some(experts) => mixture(list, shape.width, experts, layer),
            None => {
                list.matrix(block("ffn_gate"), &[shape.width, shape.feed_forward]);
                list.matrix(block("ffn_up"), &[shape.width, shape.feed_forward]);
                list.matrix(block("ffn_down"), &[shape.feed_forward, shape.width]);
            }
        }
        if shape.architecture == Architecture::Gemma3 {
            list.norm(block("post_ffw_norm"), shape.width);
        }
    }
    list.norm("output_norm.weight", shape.width);
    if !shape.tied {
        list.matrix("output.weight", &[shape.width, shape.vocabulary]);
    }
}

/// How wide token vectors spread. With tied matrices a token's own vector, still in the residual
/// stream, votes for the same token again, and greedy output could be one token for ever. Gemma
/// multiplies what it reads by the root of the width, so there the vectors must be much shorter
/// than what the layers add.
fn embedding(shape: &Shape) -> f32 {
    match shape.architecture {
        Architecture::Gemma3 => root(2 * shape.layers) / (root(shape.width) * root(shape.width)),
        Architecture::Llama | Architecture::Qwen3 | Architecture::Qwen3moe | Architecture::Bert => {
            1.0 / root(shape.width)
        }
    }
}

fn attention(list: &mut List, shape: &Shape, layer: u32) {
    let block = |part: &str| format!("blk.{layer}.{part}.weight");
    let queries = shape.heads * shape.head_width;
    let keys = shape.heads_kv * shape.head_width;
    list.norm(block("attn_norm"), shape.width);
    list.matrix(block("attn_q"), &[shape.width, queries]);
    list.matrix(block("attn_k"), &[shape.width, keys]);
    list.matrix(block("attn_v"), &[shape.width, keys]);
    if shape.architecture != Architecture::Llama {
        list.norm(block("attn_q_norm"), shape.head_width);
        list.norm(block("attn_k_norm"), shape.head_width);
    }
    let deviation = ATTENTION_SHARE / root(queries);
    list.random(block("attn_output"), &[queries, shape.width], deviation);
    if shape.architecture == Architecture::Gemma3 {
        // This norm undoes the scale of the matrix before it, so it must carry the share itself.
        let share = Content::Constant(ATTENTION_SHARE);
        list.floats(block("post_attention_norm"), &[shape.width], share);
    }
}

/// How much attention adds to the residual stream beside the feed-forward network. Random
/// attention averages over the context, which hardly changes from token to token; as an equal
/// partner it would make greedy output repeat one token.
const ATTENTION_SHARE: f32 = 0.25;

fn mixture(list: &mut List, width: u32, experts: Experts, layer: u32) {
    let block = |part: &str| format!("blk.{layer}.{part}.weight");
    // The router is never quantized: a small error in it sends a token to another expert.
    let router = Content::Random(1.0 / root(width));
    list.floats(block("ffn_gate_inp"), &[width, experts.total], router);
    list.matrix(block("ffn_gate_exps"), &[width, experts.feed_forward, experts.total]);
    list.matrix(block("ffn_up_exps"), &[width, experts.feed_forward, experts.total]);
    list.matrix(block("ffn_down_exps"), &[experts.feed_forward, width, experts.total]);
}

fn encoder(list: &mut List, shape: &Shape) {
    let deviation = embedding(shape);
    list.random("token_embd.weight".into(), &[shape.width, shape.vocabulary], deviation);
    let random = Content::Random(deviation);
    list.floats("position_embd.weight", &[shape.width, shape.context], random);
    list.floats("token_types.weight", &[shape.width, 2], random);
    encoder_norm(list, "token_embd_norm", shape.width);
    for layer in 0..shape.layers {
        let block = |part: &str| format!("blk.{layer}.{part}");
        for part in ["attn_q", "attn_k", "attn_v", "attn_output"] {
            biased(list, &block(part), &[shape.width, shape.width]);
        }
        encoder_norm(list, &block("attn_output_norm"), shape.width);
        biased(list, &block("ffn_up"), &[shape.width, shape.feed_forward]);
        biased(list, &block("ffn_down"), &[shape.feed_forward, shape.width]);
        encoder_norm(list, &block("layer_output_norm"), shape.width);
    }
}

fn biased(list: &mut List, name: &str, dimensions: &[u32; 2]) {
    list.matrix(format!("{name}.weight"), dimensions);
    list.floats(format!("{name}.bias"), &dimensions[1..], Content::Constant(0.0));
}

fn encoder_norm(list: &mut List, name: &str, width: u32) {
    list.norm(format!("{name}.weight"), width);
    list.floats(format!("{name}.bias"), &[width], Content::Constant(0.0));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::make_model::shape::{self, find};

    fn parameters(name: &str, architecture: Architecture) -> u64 {
        let shape = find(architecture, name).unwrap();
        plan(&shape, Quantization::F16).iter().map(Plan::elements).sum()
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
            let bytes: u64 = plan(&shape, Quantization::Q8_0).iter().map(Plan::bytes).sum();
            assert_eq!(bytes, recipe, "{name}");
        }
    }

    #[test]
    fn every_tensor_of_every_shape_is_whole_blocks() {
        for shape in shape::SHAPES {
            for quantization in
                [Quantization::F32, Quantization::F16, Quantization::Q8_0, Quantization::Q4_0]
            {
                for tensor in plan(&shape, quantization) {
                    assert!(tensor.bytes() > 0, "{} {}", shape.name, tensor.name);
                }
            }
        }
    }
}
