//! Models in which layers keep a state in place of a cache, or beside it.

use super::{Block, Error, List, dense, figures::Figures};

/// What `full_attention_interval` is when the file does not say.
const INTERVAL_DEFAULT: u64 = 4;

/// Qwen 3.5 and 3.6: three layers with a gated delta net, then one with full attention.
pub(super) fn delta_net(figures: &Figures<'_>, list: &mut List) -> Result<(), Error> {
    list.weight("token_embd", &[figures.width, figures.vocabulary]);
    let interval = match figures.optional("full_attention_interval") {
        Some(_) => figures.number("full_attention_interval")?,
        None => INTERVAL_DEFAULT,
    };
    for layer in 0..figures.layers + figures.speculative {
        let block = &mut list.block(layer);
        block.weight("attn_norm", &[figures.width]);
        let recurrent = match figures.flag_in_layer("attention.recurrent_layers", layer) {
            Some(flag) => flag,
            None => layer < figures.layers && !(layer + 1).is_multiple_of(interval),
        };
        if recurrent {
            linear_attention(figures, block)?;
        } else {
            gated_attention(figures, block, layer)?;
        }
        block.weight("post_attention_norm", &[figures.width]);
        match figures.architecture() {
            "qwen35moe" => shared_mixture(figures, block)?,
            _ => {
                let inner = figures.in_layer("feed_forward_length", layer)?;
                dense::gated(block, figures.width, inner);
            }
        }
        if layer >= figures.layers {
            guess_ahead(figures, block);
        }
    }
    dense::output(figures, list);
    Ok(())
}

/// Attention whose output is gated: the gate comes with the queries, which are twice as wide.
fn gated_attention(figures: &Figures<'_>, block: &mut Block<'_>, layer: u64) -> Result<(), Error> {
    let attention = figures.attention(layer)?;
    let width = figures.width;
    block.weight("attn_q", &[width, attention.queries().saturating_mul(2)]);
    block.weight("attn_k", &[width, attention.keys()]);
    block.weight("attn_v", &[width, attention.values()]);
    dense::head_norms(block, &attention);
    block.weight("attn_output", &[attention.queries(), width]);
    Ok(())
}

fn linear_attention(figures: &Figures<'_>, block: &mut Block<'_>) -> Result<(), Error> {
    let width = figures.width;
    let state = figures.number("ssm.state_size")?;
    let value_heads = figures.number("ssm.time_step_rank")?;
    let keys = state.saturating_mul(figures.number("ssm.group_count")?);
    let values = state.saturating_mul(value_heads);
    let convolved = keys.saturating_mul(2).saturating_add(values);
    block.weight("attn_qkv", &[width, convolved]);
    block.weight("attn_gate", &[width, values]);
    block.weight("ssm_conv1d", &[figures.number("ssm.conv_kernel")?, convolved]);
    block.bias("ssm_dt", &[value_heads]);
    block.add("ssm_a", &[value_heads]);
    block.weight("ssm_beta", &[width, value_heads]);
    block.weight("ssm_alpha", &[width, value_heads]);
    block.weight("ssm_norm", &[state]);
    block.weight("ssm_out", &[values, width]);
    Ok(())
}

/// Experts and one that is always asked, with a gate of its own.
fn shared_mixture(figures: &Figures<'_>, block: &mut Block<'_>) -> Result<(), Error> {
    let width = figures.width;
    let experts = figures.number("expert_count")?;
    let inner = figures.expert_feed_forward()?;
    let shared = match figures.optional("expert_shared_feed_forward_length") {
        Some(shared) => shared,
        None => figures.in_layer("feed_forward_length", 0)?,
    };
    block.weight("ffn_gate_inp", &[width, experts]);
    dense::experts_of(block, width, inner, experts);
    block.weight("ffn_gate_inp_shexp", &[width]);
    block.weight("ffn_gate_shexp", &[width, shared]);
    block.weight("ffn_up_shexp", &[width, shared]);
    block.weight("ffn_down_shexp", &[shared, width]);
    Ok(())
}

/// What a layer that guesses the token after the next has beside a usual one. Its embedding and
/// output matrices are the model's own.
pub(super) fn guess_ahead(figures: &Figures<'_>, block: &mut Block<'_>) {
    let width = figures.width;
    block.weight("nextn.eh_proj", &[width.saturating_mul(2), width]);
    block.weight("nextn.enorm", &[width]);
    block.weight("nextn.hnorm", &[width]);
    block.weight("nextn.shared_head_norm", &[width]);
}

/// LFM2: layers with a short convolution, and between them some with attention, which are those that
/// have heads of keys and values.
pub(super) fn short_convolutions(figures: &Figures<'_>, list: &mut List) -> Result<(), Error> {
    let width = figures.width;
    list.weight("token_embd", &[width, figures.vocabulary]);
    for layer in 0..figures.layers {
        let attention = figures.attention(layer)?;
        let block = &mut list.block(layer);
        block.weight("ffn_norm", &[width]);
        dense::gated(block, width, figures.in_layer("feed_forward_length", layer)?);
        block.weight("attn_norm", &[width]);
        if attention.heads_kv > 0 {
            dense::head_norms(block, &attention);
            dense::projections(block, width, &attention);
            block.weight("attn_output", &[width, width]);
        } else {
            block.weight("shortconv.conv", &[figures.number("shortconv.l_cache")?, width]);
            block.weight("shortconv.in_proj", &[width, width.saturating_mul(3)]);
            block.weight("shortconv.out_proj", &[width, width]);
        }
    }
    // Its norm behind the layers has this name.
    list.weight("token_embd_norm", &[width]);
    if !figures.options.tied {
        list.weight("output", &[width, figures.vocabulary]);
    }
    Ok(())
}

/// Granite 4 without experts: a mixer of Mamba 2 or, where a layer has heads of keys and values,
/// attention, and behind either a network.
pub(super) fn granite(figures: &Figures<'_>, list: &mut List) -> Result<(), Error> {
    let width = figures.width;
    figures.without("expert_count", "0, for those with experts are not known here")?;
    list.weight("token_embd", &[width, figures.vocabulary]);
    for layer in 0..figures.layers {
        let attention = figures.attention(layer)?;
        let block = &mut list.block(layer);
        block.weight("attn_norm", &[width]);
        if attention.heads_kv > 0 {
            dense::projections(block, width, &attention);
            block.weight("attn_output", &[attention.queries(), width]);
        } else {
            state_space(figures, block)?;
        }
        block.weight("ffn_norm", &[width]);
        dense::gated(block, width, figures.in_layer("feed_forward_length", layer)?);
    }
    dense::output(figures, list);
    Ok(())
}

/// Mamba: no attention at all, and steps and projections of its state that depend on the token.
pub(super) fn mamba(figures: &Figures<'_>, list: &mut List) -> Result<(), Error> {
    let width = figures.width;
    let inner = figures.number("ssm.inner_size")?;
    let state = figures.number("ssm.state_size")?;
    let rank = figures.number("ssm.time_step_rank")?;
    list.weight("token_embd", &[width, figures.vocabulary]);
    for layer in 0..figures.layers {
        let block = &mut list.block(layer);
        block.weight("attn_norm", &[width]);
        block.weight("ssm_in", &[width, inner.saturating_mul(2)]);
        block.weight("ssm_conv1d", &[figures.number("ssm.conv_kernel")?, inner]);
        block.bias("ssm_conv1d", &[inner]);
        block.weight("ssm_x", &[inner, rank.saturating_add(state.saturating_mul(2))]);
        block.weight("ssm_dt", &[rank, inner]);
        block.bias("ssm_dt", &[inner]);
        block.add("ssm_a", &[state, inner]);
        block.add("ssm_d", &[inner]);
        block.weight("ssm_out", &[inner, width]);
    }
    dense::output(figures, list);
    Ok(())
}

/// Mamba 2: no attention at all.
pub(super) fn mamba2(figures: &Figures<'_>, list: &mut List) -> Result<(), Error> {
    list.weight("token_embd", &[figures.width, figures.vocabulary]);
    for layer in 0..figures.layers {
        let block = &mut list.block(layer);
        block.weight("attn_norm", &[figures.width]);
        state_space(figures, block)?;
    }
    dense::output(figures, list);
    Ok(())
}

/// Falcon-H1: attention and a state-space mixer side by side in every layer.
pub(super) fn falcon_h1(figures: &Figures<'_>, list: &mut List) -> Result<(), Error> {
    let width = figures.width;
    list.weight("token_embd", &[width, figures.vocabulary]);
    dense::rotary_table(figures, list)?;
    for layer in 0..figures.layers {
        let attention = figures.attention(layer)?;
        let block = &mut list.block(layer);
        block.weight("attn_norm", &[width]);
        state_space(figures, block)?;
        dense::projections(block, width, &attention);
        block.weight("attn_output", &[attention.queries(), width]);
        // llama.cpp asks for this one without an ending.
        block.add("ffn_norm", &[width]);
        dense::gated(block, width, figures.in_layer("feed_forward_length", layer)?);
    }
    dense::output(figures, list);
    Ok(())
}

/// The mixer of Mamba 2. Falcon-H1 is made without its norm.
fn state_space(figures: &Figures<'_>, block: &mut Block<'_>) -> Result<(), Error> {
    let width = figures.width;
    let inner = figures.number("ssm.inner_size")?;
    let groups = figures.number("ssm.group_count")?;
    let heads = figures.number("ssm.time_step_rank")?;
    let states = groups.saturating_mul(figures.number("ssm.state_size")?);
    let convolved = inner.saturating_add(states.saturating_mul(2));
    let projected = inner.saturating_add(convolved).saturating_add(heads);
    block.weight("ssm_in", &[width, projected]);
    block.weight("ssm_conv1d", &[figures.number("ssm.conv_kernel")?, convolved]);
    block.bias("ssm_conv1d", &[convolved]);
    block.bias("ssm_dt", &[heads]);
    block.add("ssm_a", &[1, heads]);
    block.add("ssm_d", &[1, heads]);
    if figures.architecture() != "falcon-h1" {
        block.weight("ssm_norm", &[inner / groups, groups]);
    }
    block.weight("ssm_out", &[inner, width]);
    Ok(())
}
