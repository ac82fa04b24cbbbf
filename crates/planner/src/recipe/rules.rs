//! The rules themselves, tensor by tensor.
//!
//! Falcon's exceptions are left out, as are those of GLM 5 and Bailing 3: their tensors are not among those
//! that [`crate::tensors`] lists. Of a file of theirs that is quantized here, the total is about right.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a rule names the few recipes that it is about, and a new recipe has none"
)]

use std::collections::BTreeMap;

use super::{Conditions, Recipe};
use crate::{
    gguf::{TensorType, Value},
    tensors::Shape,
};

/// What a tensor is for, as far as recipes care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Embedding,
    Output,
    Queries,
    Keys,
    /// Errors in values hurt most.
    Values,
    /// Queries, keys and values in one matrix.
    Fused,
    AttentionOutput,
    Up,
    Gate,
    Down,
    Other,
}

impl Part {
    fn of(name: &str) -> Self {
        let has = |part: &str| name.contains(part);
        match name {
            "output.weight" => Self::Output,
            "token_embd.weight" | "per_layer_token_embd.weight" => Self::Embedding,
            _ if has("attn_qkv.weight") => Self::Fused,
            _ if has("attn_kv_b.weight") || has("attn_v.weight") => Self::Values,
            _ if has("attn_k.weight") => Self::Keys,
            _ if has("attn_q.weight") => Self::Queries,
            _ if has("attn_output.weight") => Self::AttentionOutput,
            _ if has("ffn_up") => Self::Up,
            _ if has("ffn_gate") => Self::Gate,
            _ if has("ffn_down") => Self::Down,
            _ => Self::Other,
        }
    }
}

/// The rules for one file, with what they count from tensor to tensor.
pub(super) struct Rules {
    recipe: Recipe,
    conditions: Conditions,
    /// Layers, those that guess ahead included.
    layers: u64,
    experts: u64,
    /// Heads that share one pair of key and value.
    sharing: u64,
    is_70b: bool,
    tied: bool,
    values_total: u64,
    values_seen: u64,
    downs_seen: u64,
    gates_seen: u64,
    ups_seen: u64,
}

impl Rules {
    pub(super) fn new(
        metadata: &BTreeMap<String, Value>,
        shapes: &[Shape],
        recipe: Recipe,
        conditions: Conditions,
    ) -> Self {
        let architecture = metadata.get("general.architecture").and_then(Value::as_str);
        let architecture = architecture.unwrap_or_default();
        let figure = |suffix: &str| first(metadata.get(&format!("{architecture}.{suffix}"))?);
        let layers = figure("block_count").unwrap_or(0);
        let heads = figure("attention.head_count").unwrap_or(0);
        let heads_kv = figure("attention.head_count_kv").unwrap_or(heads);
        let is_value = |shape: &&Shape| matches!(Part::of(&shape.name), Part::Values | Part::Fused);
        Self {
            recipe,
            conditions,
            layers,
            experts: figure("expert_count").unwrap_or(0),
            sharing: heads.checked_div(heads_kv).unwrap_or(0),
            // llama.cpp knows these two by their layers.
            is_70b: layers == 80
                && (architecture == "qwen2" || architecture == "llama" && heads != heads_kv),
            tied: !shapes.iter().any(|shape| shape.name == "output.weight"),
            values_total: shapes.iter().filter(is_value).count() as u64,
            values_seen: 0,
            downs_seen: 0,
            gates_seen: 0,
            ups_seen: 0,
        }
    }

    /// The type of the next tensor; `None` where it stays what it is.
    pub(super) fn choose(&mut self, shape: &Shape) -> Option<TensorType> {
        let default = self.recipe.default_type();
        if !may_be_quantized(shape) {
            return None;
        }
        if !default.is_quantized() {
            return Some(default);
        }
        let wanted = self.wanted(shape, default);
        Some(fitting(wanted, shape.dimensions.first().copied().unwrap_or(0)))
    }

    fn wanted(&mut self, shape: &Shape, default: TensorType) -> TensorType {
        let part = match Part::of(&shape.name) {
            Part::Fused if !self.conditions.older => Part::Values,
            part => part,
        };
        let is_output = part == Part::Output || self.tied && part == Part::Embedding;
        if is_output {
            return self.output(shape, default);
        }
        if self.recipe == Recipe::MXFP4_MOE {
            let is_stack = shape.dimensions.get(2).is_some_and(|experts| *experts > 1);
            return if is_stack { TensorType::MXFP4 } else { TensorType::Q8_0 };
        }
        let chosen = match part {
            Part::Embedding => self.embedding(),
            Part::Queries | Part::Keys | Part::Values | Part::AttentionOutput if self.is_tiny() => {
                self.tiny_attention(part)
            }
            Part::Down if self.is_tiny() => self.tiny_down(),
            Part::Values => Some(self.values(default)),
            Part::Fused => self.fused_in_older_files(),
            Part::Keys => self.keys(),
            Part::Queries => self.queries(),
            Part::Down => self.down(shape),
            Part::AttentionOutput => self.attention_output(),
            Part::Gate if !self.is_tiny() => {
                let layer = self.layer(shape, self.gates_seen);
                self.gates_seen += 1;
                self.up_or_gate(layer)
            }
            Part::Up if !self.is_tiny() => {
                let layer = self.layer(shape, self.ups_seen);
                self.ups_seen += 1;
                self.up_or_gate(layer)
            }
            Part::Gate | Part::Up | Part::Output | Part::Other => None,
        };
        chosen.unwrap_or(default)
    }

    /// The output matrix decides which token wins, so it keeps more bits than the rest.
    fn output(&self, shape: &Shape, default: TensorType) -> TensorType {
        let width = shape.dimensions.first().copied().unwrap_or(0);
        if self.recipe == Recipe::MXFP4_MOE || !width.is_multiple_of(default.block_elements()) {
            TensorType::Q8_0
        } else if self.is_tiny() || self.recipe == Recipe::IQ3_XXS {
            TensorType::Q5_K
        } else if default == TensorType::Q8_0 {
            default
        } else {
            TensorType::Q6_K
        }
    }

    fn embedding(&self) -> Option<TensorType> {
        match self.recipe {
            Recipe::IQ2_XXS | Recipe::IQ2_XS | Recipe::IQ1_S | Recipe::IQ1_M => {
                Some(TensorType::Q2_K)
            }
            Recipe::IQ2_S | Recipe::IQ2_M | Recipe::IQ3_XXS => Some(TensorType::IQ3_S),
            Recipe::TQ1_0 | Recipe::TQ2_0 => Some(TensorType::Q4_K),
            _ => None,
        }
    }

    /// The recipes of about two bits and less, which have rules of their own.
    fn is_tiny(&self) -> bool {
        matches!(
            self.recipe,
            Recipe::IQ1_S
                | Recipe::IQ1_M
                | Recipe::IQ2_XXS
                | Recipe::IQ2_XS
                | Recipe::IQ2_S
                | Recipe::IQ2_M
        )
    }

    fn is_two_and_a_half(&self) -> bool {
        matches!(self.recipe, Recipe::IQ2_S | Recipe::IQ2_M)
    }

    fn tiny_attention(&mut self, part: Part) -> Option<TensorType> {
        match part {
            Part::Values => {
                self.values_seen += 1;
                Some(if self.sharing >= 4 || self.experts >= 4 {
                    TensorType::Q4_K
                } else if self.is_two_and_a_half() {
                    TensorType::IQ3_S
                } else {
                    TensorType::Q2_K
                })
            }
            Part::Keys if self.experts == 8 => Some(TensorType::Q4_K),
            Part::AttentionOutput if self.experts == 8 => Some(TensorType::Q5_K),
            Part::AttentionOutput if self.is_two_and_a_half() => Some(TensorType::IQ3_S),
            Part::AttentionOutput if matches!(self.recipe, Recipe::IQ1_S | Recipe::IQ1_M) => {
                Some(TensorType::IQ2_XXS)
            }
            Part::Keys
            | Part::AttentionOutput
            | Part::Queries
            | Part::Fused
            | Part::Embedding
            | Part::Output
            | Part::Up
            | Part::Gate
            | Part::Down
            | Part::Other => None,
        }
    }

    fn tiny_down(&mut self) -> Option<TensorType> {
        let early = self.downs_seen < self.layers / 8;
        self.downs_seen += 1;
        let kind = if self.is_two_and_a_half() { TensorType::IQ3_S } else { TensorType::Q2_K };
        early.then_some(kind)
    }

    fn values(&mut self, default: TensorType) -> TensorType {
        let seen = self.values_seen;
        self.values_seen += 1;
        let shared = self.sharing >= 4;
        let chosen = match self.recipe {
            Recipe::Q2_K if shared => TensorType::Q4_K,
            Recipe::Q2_K => TensorType::Q3_K,
            Recipe::Q2_K_S | Recipe::IQ3_XXS | Recipe::IQ3_XS | Recipe::IQ3_S if shared => {
                TensorType::Q4_K
            }
            Recipe::IQ3_XXS if !self.conditions.measured => TensorType::IQ3_S,
            Recipe::IQ3_M => TensorType::Q4_K,
            Recipe::Q3_K_M if seen < 2 => TensorType::Q5_K,
            Recipe::Q3_K_M => TensorType::Q4_K,
            Recipe::Q3_K_L => TensorType::Q5_K,
            Recipe::IQ4_NL | Recipe::IQ4_XS if shared => TensorType::Q5_K,
            Recipe::Q4_K_M | Recipe::Q5_K_M if gets_more_bits(seen, self.values_total) => {
                TensorType::Q6_K
            }
            Recipe::Q4_K_S if seen < 4 => TensorType::Q5_K,
            _ => default,
        };
        if self.experts == 8 {
            return TensorType::Q8_0;
        }
        // Eight heads share each value there, so more bits for them cost next to nothing.
        let is_small = matches!(chosen, TensorType::Q3_K | TensorType::Q4_K);
        if self.is_70b && is_small { TensorType::Q5_K } else { chosen }
    }

    fn fused_in_older_files(&self) -> Option<TensorType> {
        match self.recipe {
            Recipe::Q3_K_M | Recipe::Q3_K_L | Recipe::IQ3_M => Some(TensorType::Q4_K),
            Recipe::Q4_K_M => Some(TensorType::Q5_K),
            Recipe::Q5_K_M => Some(TensorType::Q6_K),
            _ => None,
        }
    }

    fn keys(&self) -> Option<TensorType> {
        if self.experts == 8 {
            return Some(TensorType::Q8_0);
        }
        self.queries()
    }

    fn queries(&self) -> Option<TensorType> {
        match self.recipe {
            Recipe::IQ3_XS => Some(TensorType::IQ3_XXS),
            Recipe::IQ3_XXS => Some(TensorType::IQ2_S),
            _ => None,
        }
    }

    fn down(&mut self, shape: &Shape) -> Option<TensorType> {
        let layer = self.layer(shape, self.downs_seen);
        self.downs_seen += 1;
        let early = layer < self.layers / 8;
        let more = gets_more_bits(layer, self.layers);
        match self.recipe {
            Recipe::Q2_K => Some(TensorType::Q3_K),
            Recipe::Q2_K_S if early => Some(TensorType::Q4_K),
            Recipe::IQ3_XXS if !self.conditions.measured && early => Some(TensorType::Q4_K),
            Recipe::IQ3_XXS if !self.conditions.measured => Some(TensorType::Q3_K),
            Recipe::Q3_K_M if layer < self.layers / 16 => Some(TensorType::Q5_K),
            Recipe::Q3_K_M => Some(TensorType::Q4_K),
            Recipe::IQ3_M if early || self.experts == 8 && more => Some(TensorType::Q4_K),
            Recipe::Q3_K_L => Some(TensorType::Q5_K),
            Recipe::Q4_K_M | Recipe::Q5_K_M if more => Some(TensorType::Q6_K),
            Recipe::IQ4_NL | Recipe::IQ4_XS if early && !self.conditions.measured => {
                Some(TensorType::Q5_K)
            }
            Recipe::Q4_K_S if early => Some(TensorType::Q5_K),
            Recipe::Q4_0 if early && self.conditions.measured => Some(TensorType::Q4_1),
            Recipe::Q5_0 if early && self.conditions.measured => Some(TensorType::Q5_1),
            _ => None,
        }
    }

    fn attention_output(&self) -> Option<TensorType> {
        if self.experts == 8 {
            let raised = matches!(
                self.recipe,
                Recipe::Q2_K
                    | Recipe::IQ3_XS
                    | Recipe::IQ3_XXS
                    | Recipe::Q3_K_S
                    | Recipe::Q3_K_M
                    | Recipe::IQ4_NL
                    | Recipe::Q4_K_S
                    | Recipe::Q4_K_M
                    | Recipe::IQ3_S
                    | Recipe::IQ3_M
                    | Recipe::IQ4_XS
            );
            return raised.then_some(TensorType::Q5_K);
        }
        match self.recipe {
            Recipe::Q2_K => Some(TensorType::Q3_K),
            Recipe::IQ3_XXS => Some(TensorType::IQ3_S),
            Recipe::Q3_K_M | Recipe::IQ3_M => Some(TensorType::Q4_K),
            Recipe::Q3_K_L => Some(TensorType::Q5_K),
            _ => None,
        }
    }

    fn up_or_gate(&self, layer: u64) -> Option<TensorType> {
        let middle = (self.layers / 8..7 * self.layers / 8).contains(&layer);
        (self.recipe == Recipe::IQ3_XS && middle).then_some(TensorType::IQ3_XXS)
    }

    /// Which layer a tensor counts as. Dense models count tensors; with experts the name decides.
    fn layer(&self, shape: &Shape, seen: u64) -> u64 {
        if self.experts <= 1 {
            return seen;
        }
        let rest = shape.name.strip_prefix("blk.").unwrap_or_default();
        rest.split('.').next().and_then(|number| number.parse().ok()).unwrap_or(seen)
    }
}

/// The first and the last eighth of the layers, and every third between.
fn gets_more_bits(layer: u64, layers: u64) -> bool {
    layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2
}

/// A number, or the first of an array by layer.
fn first(value: &Value) -> Option<u64> {
    let Value::Array(array) = value else { return value.as_u64() };
    array.kept.as_ref()?.first()?.as_u64()
}

/// Tensors with these in their names stay as they were converted: small, and worth every bit.
const KEPT: [&str; 35] = [
    ".patch_embd",
    ".patch_merger",
    ".position_embd",
    ".rel_pos",
    "_norm.weight",
    "a.rvq.codebook",
    "altup",
    "attn_rel_b.weight",
    "ffn_gate_inp.weight",
    "ffn_gate_tid2eid.weight",
    "indexer.k_proj.weight",
    "indexer.q_proj.weight",
    "laurel",
    "mm.a.code_embd",
    "per_layer_model_proj",
    "sam.neck.",
    "sam.net_",
    "sam.pos_embd",
    "shortconv.conv.weight",
    "ssm_conv1d",
    "time_mix_a0.weight",
    "time_mix_a1.weight",
    "time_mix_a2.weight",
    "time_mix_decay_w1.weight",
    "time_mix_decay_w2.weight",
    "time_mix_first.weight",
    "time_mix_g1.weight",
    "time_mix_g2.weight",
    "time_mix_lerp_fused.weight",
    "time_mix_v0.weight",
    "time_mix_v1.weight",
    "time_mix_v2.weight",
    "time_mix_w0.weight",
    "time_mix_w1.weight",
    "time_mix_w2.weight",
];

fn may_be_quantized(shape: &Shape) -> bool {
    let name = shape.name.as_str();
    rank(shape) >= 2
        && name.ends_with("weight")
        && !matches!(name, "position_embd.weight" | "token_types.weight")
        && !KEPT.iter().any(|part| name.contains(part))
}

/// Dimensions without those of one at the end.
fn rank(shape: &Shape) -> usize {
    shape.dimensions.iter().rposition(|dimension| *dimension != 1).map_or(1, |last| last + 1)
}

/// The type that llama.cpp's converter gives a tensor which is then left alone. Source:
/// `conversion/base.py` there.
pub(super) fn converted(shape: &Shape, recipe: Recipe) -> TensorType {
    const FLOATS: [&str; 7] = [
        "altup_correct_coef",
        "altup_predict_coef",
        "ffn_gate_inp",
        "position_embd",
        "shortconv.conv",
        "ssm_conv1d",
        "token_types",
    ];
    let name = shape.name.as_str();
    let stays = rank(shape) < 2
        || name.ends_with("_norm.weight")
        || !name.ends_with(".weight")
        || FLOATS.iter().any(|part| name.contains(part));
    match recipe {
        Recipe::F32 => TensorType::F32,
        _ if stays => TensorType::F32,
        Recipe::BF16 => TensorType::BF16,
        _ => TensorType::F16,
    }
}

/// `wanted`, or what llama.cpp takes when rows of `width` are not whole blocks of it.
fn fitting(wanted: TensorType, width: u64) -> TensorType {
    let fits = |kind: TensorType| width.is_multiple_of(kind.block_elements());
    if fits(wanted) {
        return wanted;
    }
    let smaller_blocks = match wanted {
        TensorType::Q2_K | TensorType::Q3_K | TensorType::TQ1_0 | TensorType::TQ2_0 => {
            TensorType::Q4_0
        }
        TensorType::Q4_K => TensorType::Q5_0,
        TensorType::Q5_K => TensorType::Q5_1,
        TensorType::Q6_K => TensorType::Q8_0,
        kind if kind.block_elements() > 32 => TensorType::IQ4_NL,
        kind => kind,
    };
    if fits(smaller_blocks) { smaller_blocks } else { TensorType::F16 }
}
