//! A LoRA adapter with random factors for one of our shapes, by which attention and feed-forward networks
//! say something else than before.

use anyhow::ensure;
use planner::{
    gguf::{Tensor, TensorType},
    recipe,
    tensors::Shape as TensorShape,
};

use super::{
    Encoding, Quantization,
    shape::Shape,
    tensors::{self, Content, Plan},
};

/// What a usual adapter changes.
const CHANGED: [&str; 7] =
    ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];

/// Both factors of every change, in the order of the file. Together they are as large as what they change.
///
/// # Errors
/// The shape has nothing of what is changed.
pub(super) fn plan(shape: &Shape, rank: u32) -> anyhow::Result<Vec<Plan>> {
    let changed = |plan: &Plan| {
        let parts: Vec<&str> = plan.tensor.name.split('.').collect();
        matches!(parts[..], ["blk", _, part, "weight"] if CHANGED.contains(&part))
    };
    let of_model = tensors::plan(shape, Encoding::Own(Quantization::F32))?;
    let factors: Vec<(TensorShape, f32)> =
        of_model.iter().filter(|plan| changed(plan)).flat_map(|plan| factors(plan, rank)).collect();
    ensure!(!factors.is_empty(), "the shape {} has nothing that an adapter changes", shape.name);
    let (shapes, spreads): (Vec<TensorShape>, Vec<f32>) = factors.into_iter().unzip();
    let placed = recipe::place(&shapes, &vec![TensorType::F32; shapes.len()]);
    let plan = |(tensor, spread): (Tensor, f32)| Plan { tensor, content: Content::Random(spread) };
    Ok(placed.into_iter().zip(spreads).map(plan).collect())
}

fn factors(plan: &Plan, rank: u32) -> [(TensorShape, f32); 2] {
    let Tensor { name, dimensions: [inputs, outputs, ..], .. } = &plan.tensor;
    let shape = |end: &str, dimensions: [u64; 2]| TensorShape {
        name: format!("{name}.{end}"),
        dimensions: dimensions.to_vec(),
    };
    [
        (shape("lora_a", [*inputs, rank.into()]), 1.0 / tensors::root(*inputs)),
        (shape("lora_b", [rank.into(), *outputs]), 1.0 / tensors::root(rank.into())),
    ]
}
