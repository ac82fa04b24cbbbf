//! What one token costs: bytes to read and operations to do, from the tensors of the header.
//!
//! Caches are not counted here; they depend on how full they are.

use crate::gguf::{Header, Tensor};

use super::pace;

/// The costs of one token.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Work {
    /// Bytes of weights that writing one token reads.
    pub(super) decode_bytes: u64,
    /// Those of them that are K-quants.
    pub(super) decode_k_quant_bytes: u64,
    /// Operations to unpack the weights that writing one token reads.
    pub(super) decode_unpack_operations: f64,
    /// Operations to read one token of a prompt, without attention.
    pub(super) prefill_flops: f64,
    /// The part of them that is done with packed weights.
    packed_flops: f64,
    /// The part of them that experts do.
    expert_flops: f64,
    /// Bytes of all matrices: a long step reads every expert.
    pub(super) all_bytes: u64,
}

impl Work {
    pub(super) fn of(header: &Header) -> Self {
        Self::of_some(header, |_| true)
    }

    /// The costs of some of the model's tensors.
    pub(super) fn of_some(header: &Header, is_counted: impl Fn(&Tensor) -> bool) -> Self {
        let mut work = Self::default();
        let model = Model::of(header);
        for tensor in header.tensors.iter().filter(|tensor| is_counted(tensor)) {
            work.add(tensor, role(&tensor.name, &model), &model);
        }
        work
    }

    fn add(&mut self, tensor: &Tensor, role: Role, model: &Model) {
        match role {
            Role::Unused => {}
            Role::Lookup => {
                let rows = tensor.dimensions[1].max(1);
                self.decode_bytes = self.decode_bytes.saturating_add(tensor.bytes / rows);
            }
            Role::Output => self.add_decode(tensor, 1.0),
            Role::Layer => {
                self.add_decode(tensor, 1.0);
                self.add_prefill(tensor, 1.0);
            }
            Role::Experts => {
                self.add_decode(tensor, model.experts_share);
                self.expert_flops += self.add_prefill(tensor, model.experts_share);
            }
        }
    }

    fn add_decode(&mut self, tensor: &Tensor, share: f64) {
        let bytes = part(tensor.bytes, share);
        self.decode_bytes = self.decode_bytes.saturating_add(bytes);
        let kind = tensor.kind.name();
        if kind.ends_with("_K") {
            self.decode_k_quant_bytes = self.decode_k_quant_bytes.saturating_add(bytes);
        }
        self.decode_unpack_operations +=
            tensor.elements() as f64 * share * pace::unpack_operations(tensor.kind);
    }

    /// Returns the operations that were added.
    fn add_prefill(&mut self, tensor: &Tensor, share: f64) -> f64 {
        // One multiplication and one addition for each weight.
        let flops = 2.0 * tensor.elements() as f64 * share;
        self.prefill_flops += flops;
        if tensor.kind.block_elements() > 1 {
            self.packed_flops += flops;
        }
        self.all_bytes = self.all_bytes.saturating_add(tensor.bytes);
        flops
    }

    /// The share of the unit's speed that this mix of weights leaves.
    pub(super) fn prefill_efficiency(&self) -> f64 {
        if self.prefill_flops <= 0.0 {
            return 1.0;
        }
        let slowed = |flops: f64, share: f64| flops / self.prefill_flops * (1.0 / share - 1.0);
        let time = 1.0
            + slowed(self.packed_flops, pace::PACKED_PREFILL_SHARE)
            + slowed(self.expert_flops, pace::EXPERTS_PREFILL_SHARE);
        1.0 / time
    }
}

/// What a tensor is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// One row of it is looked up for each token.
    Lookup,
    /// It gives the probabilities of the next token, and only where they are asked for.
    Output,
    /// Every token goes through it.
    Layer,
    /// Every token goes through some of its experts.
    Experts,
    /// Nothing of it is used for writing: layers for speculation, encoders that ran before.
    Unused,
}

/// What the roles of tensors depend on.
struct Model {
    layers_used: u64,
    experts_share: f64,
    /// The output is the table of embeddings.
    tied: bool,
    generates: bool,
}

impl Model {
    fn of(header: &Header) -> Self {
        // One number for all layers or one for each; where nothing is said, all are used.
        let most = |suffix: &str| {
            let of_layer = |layer| header.layer_u64(suffix, layer);
            (0..header.layers()).filter_map(of_layer).max().unwrap_or(0)
        };
        let (count, used) = (most("expert_count"), most("expert_used_count"));
        let experts_share =
            if used == 0 || used >= count { 1.0 } else { used as f64 / count as f64 };
        let speculative = header.arch_u64("nextn_predict_layers").unwrap_or(0);
        Self {
            layers_used: header.layers().saturating_sub(speculative),
            experts_share,
            tied: header.tensors.iter().all(|tensor| tensor.name != "output.weight"),
            generates: header.generates(),
        }
    }
}

/// Source of the names: llama.cpp's `llama-arch.cpp`.
fn role(name: &str, model: &Model) -> Role {
    let lookups = ["per_layer_token_embd.", "position_embd.", "token_types."];
    if name.starts_with("token_embd.") {
        if model.tied && model.generates { Role::Output } else { Role::Lookup }
    } else if lookups.iter().any(|start| name.starts_with(start)) {
        Role::Lookup
    } else if name.starts_with("output.") {
        Role::Output
    } else if is_unused(name, model) {
        Role::Unused
    } else if name.contains("_exps.") {
        Role::Experts
    } else {
        Role::Layer
    }
}

fn is_unused(name: &str, model: &Model) -> bool {
    let encoder = name.starts_with("enc.") && model.generates;
    encoder || layer(name).is_some_and(|layer| layer >= model.layers_used)
}

fn layer(name: &str) -> Option<u64> {
    name.strip_prefix("blk.")?.split('.').next()?.parse().ok()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share between zero and one of a count; `as` saturates"
)]
fn part(bytes: u64, share: f64) -> u64 {
    (bytes as f64 * share) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speed::shapes::{self, Types};

    const GB: f64 = 1e9;

    #[test]
    fn dense_models_read_all_but_the_embeddings() {
        let header = shapes::llama_2_7b(&Types::all("F16"));
        let work = Work::of(&header);
        assert!((work.decode_bytes as f64 / GB - 13.21).abs() < 0.02, "{work:?}");
        assert!((work.prefill_flops / GB - 12.95).abs() < 0.02, "{work:?}");
    }

    /// Sums made by hand: memory of the model in its Q4_K_M form without embeddings, experts by 8 of 128.
    #[test]
    fn mixtures_read_only_the_experts_they_use() {
        let header = shapes::qwen3_30b_a3b(&Types::q4_k_m());
        let work = Work::of(&header);
        assert!((work.decode_bytes as f64 / GB - 1.92).abs() < 0.06, "{work:?}");
        assert!(work.all_bytes > 17_000_000_000, "{work:?}");
    }

    #[test]
    fn a_tied_output_counts_once() {
        let untied = shapes::llama_2_7b(&Types::all("F16"));
        let mut tied = untied.clone();
        tied.tensors.retain(|tensor| tensor.name != "output.weight");
        let difference = Work::of(&untied).decode_bytes - Work::of(&tied).decode_bytes;
        // One row of the embeddings.
        assert_eq!(difference, 4096 * 2);
    }

    #[test]
    fn layers_for_speculation_are_not_read() {
        let mut header = shapes::llama_2_7b(&Types::all("F16"));
        let before = Work::of(&header).decode_bytes;
        let value = crate::gguf::Value::Unsigned(1);
        header.metadata.insert("llama.nextn_predict_layers".to_owned(), value);
        assert!(Work::of(&header).decode_bytes < before);
    }
}
