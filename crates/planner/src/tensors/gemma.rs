//! Gemma 3n and 4: embeddings for each layer, alternating updates, layers that share a cache.

use super::{Block, Error, List, dense, figures::Figures};

/// Streams that alternating updates keep. Source: `n_altup` in llama.cpp's `llama-hparams.h`; no
/// file says another number.
const STREAMS: u64 = 4;
/// Rank of the learned residual, `laurel_rank` there.
const LAUREL_RANK: u64 = 64;
/// Width of the embeddings for each layer, `n_embd_altup` there.
const LAYER_EMBEDDING: u64 = 256;

/// Gemma 3n.
pub(super) fn gemma3n(figures: &Figures<'_>, list: &mut List) -> Result<(), Error> {
    let width = figures.width;
    list.weight("token_embd", &[width, figures.vocabulary]);
    list.weight("altup_proj", &[width, width, STREAMS - 1]);
    list.weight("altup_unembd_proj", &[width, width, STREAMS - 1]);
    layer_embeddings(figures, list, LAYER_EMBEDDING);
    for layer in 0..figures.layers {
        let attention = figures.attention(layer)?;
        let block = &mut list.block(layer);
        block.weight("attn_norm", &[width]);
        dense::projections(block, width, &attention);
        dense::head_norms(block, &attention);
        block.weight("attn_output", &[attention.queries(), width]);
        block.weight("post_attention_norm", &[width]);
        feed_forward(figures, block, layer)?;
        layer_input(block, width, LAYER_EMBEDDING);
        alternating_updates(block, width);
    }
    dense::output(figures, list);
    Ok(())
}

fn feed_forward(figures: &Figures<'_>, block: &mut Block<'_>, layer: u64) -> Result<(), Error> {
    block.weight("ffn_norm", &[figures.width]);
    dense::gated(block, figures.width, figures.in_layer("feed_forward_length", layer)?);
    block.weight("post_ffw_norm", &[figures.width]);
    Ok(())
}

/// One table with a vector for each token and layer, and what brings it in.
fn layer_embeddings(figures: &Figures<'_>, list: &mut List, each: u64) {
    let all = each.saturating_mul(figures.layers);
    list.weight("per_layer_token_embd", &[all, figures.vocabulary]);
    list.weight("per_layer_model_proj", &[figures.width, all]);
    list.weight("per_layer_proj_norm", &[each]);
}

fn layer_input(block: &mut Block<'_>, width: u64, each: u64) {
    block.weight("inp_gate", &[width, each]);
    block.weight("proj", &[each, width]);
    block.weight("post_norm", &[width]);
}

fn alternating_updates(block: &mut Block<'_>, width: u64) {
    block.weight("altup_correct_coef", &[STREAMS, STREAMS]);
    block.weight("altup_correct_scale", &[width]);
    block.weight("altup_predict_coef", &[STREAMS, STREAMS * STREAMS]);
    block.weight("altup_router", &[width, STREAMS]);
    block.weight("altup_router_norm", &[width]);
    block.weight("laurel_l", &[width, LAUREL_RANK]);
    block.weight("laurel_r", &[LAUREL_RANK, width]);
    block.weight("laurel_post_norm", &[width]);
}

/// Gemma 4: layers that slide have narrower heads than full ones; some sizes have embeddings for
/// each layer, one has experts. The last layers may read the cache of earlier ones and then have no
/// keys and values of their own.
pub(super) fn gemma4(figures: &Figures<'_>, list: &mut List) -> Result<(), Error> {
    let width = figures.width;
    let each = figures.optional("embedding_length_per_layer_input").unwrap_or(0);
    let sharing = figures.optional("attention.shared_kv_layers").unwrap_or(0);
    list.weight("token_embd", &[width, figures.vocabulary]);
    if each > 0 {
        layer_embeddings(figures, list, each);
    }
    list.weight("rope_freqs", &[figures.number("attention.key_length")? / 2]);
    for layer in 0..figures.layers {
        let slides = figures.flag_in_layer("attention.sliding_window_pattern", layer);
        let slides = slides.unwrap_or(false);
        let attention = figures.attention_of(layer, if slides { "_swa" } else { "" })?;
        let block = &mut list.block(layer);
        block.weight("attn_norm", &[width]);
        block.weight("attn_q", &[width, attention.queries()]);
        block.weight("attn_q_norm", &[attention.key_width]);
        if layer < figures.layers.saturating_sub(sharing) {
            block.weight("attn_k", &[width, attention.keys()]);
            block.weight("attn_k_norm", &[attention.key_width]);
            // The large models take the keys of their full layers for values too.
            if slides || each > 0 {
                block.weight("attn_v", &[width, attention.values()]);
            }
        }
        block.weight("attn_output", &[attention.queries(), width]);
        block.weight("post_attention_norm", &[width]);
        block.weight("layer_output_scale", &[1]);
        feed_forward(figures, block, layer)?;
        if let Some(experts) = figures.optional("expert_count").filter(|experts| *experts > 0) {
            mixture(block, width, figures.expert_feed_forward()?, experts);
        }
        if each > 0 {
            layer_input(block, width, each);
        }
    }
    dense::output(figures, list);
    Ok(())
}

/// Experts beside the dense network, gate and input in one matrix, each expert with a scale.
fn mixture(block: &mut Block<'_>, width: u64, inner: u64, experts: u64) {
    block.weight("ffn_gate_inp", &[width, experts]);
    block.add("ffn_gate_inp.scale", &[width]);
    block.weight("pre_ffw_norm_2", &[width]);
    block.weight("post_ffw_norm_1", &[width]);
    block.weight("post_ffw_norm_2", &[width]);
    block.weight("ffn_gate_up_exps", &[width, inner.saturating_mul(2), experts]);
    block.weight("ffn_down_exps", &[inner, width, experts]);
    block.add("ffn_down_exps.scale", &[experts]);
}
