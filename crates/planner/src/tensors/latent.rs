//! Multi-head latent attention: keys and values come from one compressed vector.

use super::{Block, Error, List, dense, figures::Figures, hybrid};

/// DeepSeek V2, V3 and R1 and what is built like them.
pub(super) fn deepseek2(figures: &Figures<'_>, list: &mut List) -> Result<(), Error> {
    list.weight("token_embd", &[figures.width, figures.vocabulary]);
    let dense_layers = figures.optional("leading_dense_block_count").unwrap_or(0);
    for layer in 0..figures.layers + figures.speculative {
        let block = &mut list.block(layer);
        attention(figures, block, layer)?;
        block.weight("ffn_norm", &[figures.width]);
        if layer < dense_layers {
            dense::gated(block, figures.width, figures.in_layer("feed_forward_length", layer)?);
        } else {
            mixture(figures, block)?;
        }
        if layer >= figures.layers {
            hybrid::guess_ahead(figures, block);
        }
    }
    dense::output(figures, list);
    Ok(())
}

fn attention(figures: &Figures<'_>, block: &mut Block<'_>, layer: u64) -> Result<(), Error> {
    let width = figures.width;
    let heads = figures.in_layer("attention.head_count", layer)?;
    let key_width = figures.number("attention.key_length_mla")?;
    let value_width = figures.number("attention.value_length_mla")?;
    let compressed = figures.number("attention.kv_lora_rank")?;
    let rotated = figures.rotated()?;
    let plain = key_width.checked_sub(rotated).filter(|plain| *plain > 0).ok_or_else(|| {
        let key = format!("{}.rope.dimension_count", figures.architecture());
        Error::Unusable { key, found: rotated, rule: format!("below key_length_mla, {key_width}") }
    })?;
    block.weight("attn_norm", &[width]);
    let queries = heads.saturating_mul(key_width);
    match figures.optional("attention.q_lora_rank").filter(|rank| *rank > 0) {
        Some(rank) => {
            block.weight("attn_q_a", &[width, rank]);
            block.weight("attn_q_a_norm", &[rank]);
            block.weight("attn_q_b", &[rank, queries]);
        }
        None => block.weight("attn_q", &[width, queries]),
    }
    block.weight("attn_kv_a_mqa", &[width, compressed.saturating_add(rotated)]);
    block.weight("attn_kv_a_norm", &[compressed]);
    block.weight("attn_k_b", &[plain, compressed, heads]);
    block.weight("attn_v_b", &[compressed, value_width, heads]);
    block.weight("attn_output", &[heads.saturating_mul(value_width), width]);
    Ok(())
}

fn mixture(figures: &Figures<'_>, block: &mut Block<'_>) -> Result<(), Error> {
    /// How DeepSeek V3 and later gate: a sigmoid with a bias for each expert that balances them.
    const GATING_SIGMOID: u64 = 2;
    let width = figures.width;
    let experts = figures.number("expert_count")?;
    let inner = figures.expert_feed_forward()?;
    let shared = inner.saturating_mul(figures.number("expert_shared_count")?);
    block.weight("ffn_gate_inp", &[width, experts]);
    if figures.optional("expert_gating_func") == Some(GATING_SIGMOID) {
        block.bias("exp_probs_b", &[experts]);
    }
    dense::experts_of(block, width, inner, experts);
    block.weight("ffn_gate_shexp", &[width, shared]);
    block.weight("ffn_up_shexp", &[width, shared]);
    block.weight("ffn_down_shexp", &[shared, width]);
    Ok(())
}
