//! Experts: networks of which a router chooses a few for each token.
//!
//! Source: `build_moe_ffn` in llama.cpp's `llama-graph.cpp`. Plain networks are in `step.rs`.

use super::{
    super::{
        super::{Place, product},
        graph::{Graph, Tensor},
    },
    ID_BYTES, Network, Step,
};

/// llama.cpp's own bound on experts (`LLAMA_MAX_EXPERTS`), so that a hostile file costs no time.
const EXPERTS_MAX: u64 = 1024;

/// How a layer's experts are made.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Experts {
    pub(in super::super) count: u64,
    pub(in super::super) used: u64,
    /// Width inside one expert.
    pub(in super::super) inner: u64,
    pub(in super::super) network: Network,
    /// Weights of the chosen are made to add up to one.
    pub(in super::super) normalized: bool,
    /// Weights are made from the scores of the chosen alone.
    pub(in super::super) weighs_chosen: bool,
    /// Experts are chosen by corrected scores, and weighed by the true ones.
    pub(in super::super) corrected: bool,
    /// Weights are multiplied by a constant.
    pub(in super::super) scaled: bool,
    /// Matrices come with a bias.
    pub(in super::super) biased: bool,
}

/// What the networks of the chosen experts are applied to, and by whose choice.
#[derive(Debug, Clone, Copy)]
struct Chosen {
    experts: Tensor,
    weights: Tensor,
    used: u64,
    tokens: u64,
}

impl Step<'_> {
    /// Experts: a router, and the networks that it chooses, side by side.
    pub(in super::super) fn experts(&mut self, of: Tensor, experts: &Experts) -> Tensor {
        let chosen = self.choose(of, experts);
        let Chosen { used, tokens, .. } = chosen;
        let (width, inner) = (self.width, [experts.inner, used, tokens]);
        let of = self.graph.view(of, &[width, 1, tokens]);
        let inside = match experts.network {
            Network::Gated => {
                let [up, gate] =
                    [(); 2].map(|()| self.expert_product(of, &inner, &chosen, experts));
                self.graph.fresh(&inner, &[gate, up])
            }
            Network::GatedInOne => {
                let both = [experts.inner.saturating_mul(2), used, tokens];
                let both = self.expert_product(of, &both, &chosen, experts);
                let [gate, up] = [(); 2].map(|()| self.graph.view(both, &inner));
                self.graph.fresh(&inner, &[gate, up])
            }
            Network::Plain => {
                let up = self.expert_product(of, &inner, &chosen, experts);
                self.graph.in_place(&[up])
            }
        };
        let down = self.expert_product(inside, &[width, used, tokens], &chosen, experts);
        let weighted = self.graph.in_place(&[down, chosen.weights]);
        self.graph.expand(weighted);
        self.sum_of_experts(weighted, used, tokens)
    }

    /// Which experts each token gets, and how much each of them counts.
    fn choose(&mut self, of: Tensor, experts: &Experts) -> Chosen {
        let [_, tokens, ..] = self.graph.node(of).numbers;
        let used = experts.used.clamp(1, EXPERTS_MAX);
        let graph = &mut self.graph;
        let mut scores = graph.fresh(&[experts.count, tokens], &[of]);
        if experts.biased {
            scores = graph.in_place(&[scores]);
        }
        let mut shares = scores;
        if !experts.weighs_chosen {
            shares = graph.in_place(&[scores]);
            graph.fix(shares);
        }
        let ranked_by = if experts.corrected { graph.in_place(&[shares]) } else { shares };
        let ranked = graph.fresh_of(ID_BYTES, &[experts.count, tokens], &[ranked_by]);
        graph.fix(ranked);
        if self.layout.place != Place::Processor {
            // Sorting needs as much again.
            graph.with_extra(ranked, product(&[ID_BYTES, experts.count, tokens]));
        }
        let chosen = graph.view(ranked, &[used, tokens]);
        let listed = graph.view(shares, &[1, experts.count, tokens]);
        let mut weights = graph.fresh(&[1, used, tokens], &[listed, chosen]);
        if experts.weighs_chosen || experts.normalized {
            weights = graph.view(weights, &[used, tokens]);
            weights = if experts.weighs_chosen {
                graph.in_place(&[weights])
            } else {
                let total = graph.fresh(&[1, tokens], &[weights]);
                let bounded = graph.view(total, &[1, tokens]);
                graph.in_place(&[weights, bounded])
            };
            weights = graph.view(weights, &[1, used, tokens]);
        }
        if experts.scaled {
            weights = graph.in_place(&[weights]);
        }
        graph.expand(weights);
        Chosen { experts: chosen, weights, used, tokens }
    }

    /// The product with one matrix of each chosen expert.
    fn expert_product(
        &mut self,
        of: Tensor,
        numbers: &[u64],
        chosen: &Chosen,
        experts: &Experts,
    ) -> Tensor {
        let scratch = self.expert_scratch_bytes(experts.count);
        let graph: &mut Graph = &mut self.graph;
        let result = graph.fresh(numbers, &[of, chosen.experts]);
        graph.with_extra(result, scratch);
        if experts.biased { graph.in_place(&[result, chosen.experts]) } else { result }
    }

    fn sum_of_experts(&mut self, weighted: Tensor, used: u64, tokens: u64) -> Tensor {
        let width = self.width;
        let graph = &mut self.graph;
        let each: Vec<Tensor> = (0..used)
            .map(|_| {
                let one = graph.view(weighted, &[width, tokens]);
                graph.expand(one);
                one
            })
            .collect();
        let mut total = each[0];
        let mut is_sum = false;
        for one in &each[1..] {
            total = graph.in_place(&[total, *one]);
            if is_sum {
                graph.join(total);
            }
            is_sum = true;
            graph.expand(total);
        }
        if used == 1 { graph.fresh(&[width, tokens], &[total]) } else { total }
    }

    fn expert_scratch_bytes(&self, experts: u64) -> u64 {
        // Source: `ggml_metal_op_mul_mat_id_extra_tpe` and `_ids` in ggml-metal-ops.cpp.
        if self.layout.place == Place::Processor {
            return 0;
        }
        let lists = product(&[ID_BYTES, experts, self.tokens.saturating_add(1)]);
        lists.saturating_add(self.build.expert_factors_bytes())
    }
}
