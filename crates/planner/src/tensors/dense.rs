//! Decoders of the usual build: attention, then one feed-forward network or several experts.

use super::{
    Block, Error, List,
    figures::{Attention, Figures},
};

/// Llama and its kin, Qwen 2 and 3, Gemma 3, gpt-oss, Phi-3.
pub(super) fn decoder(figures: &Figures<'_>, list: &mut List) -> Result<(), Error> {
    list.weight("token_embd", &[figures.width, figures.vocabulary]);
    rotary_table(figures, list)?;
    for layer in 0..figures.layers {
        attention(figures, &mut list.block(layer), layer)?;
        feed_forward(figures, &mut list.block(layer), layer)?;
    }
    output(figures, list);
    let labels = figures.array_len("classifier.output_labels");
    if let ("qwen3", Some(labels)) = (figures.architecture(), labels) {
        list.weight("cls.output", &[figures.width, labels]);
    }
    Ok(())
}

/// The last norm and, unless it is the embedding matrix, the output matrix.
pub(super) fn output(figures: &Figures<'_>, list: &mut List) {
    list.weight("output_norm", &[figures.width]);
    if !figures.options.tied {
        list.weight("output", &[figures.width, figures.vocabulary]);
    }
}

/// Factors for each pair of rotated numbers. They belong to the first layer and serve all.
pub(super) fn rotary_table(figures: &Figures<'_>, list: &mut List) -> Result<(), Error> {
    if !figures.options.rotary_table {
        return Ok(());
    }
    let pairs = figures.rotated()? / 2;
    if figures.architecture() == "phi3" {
        list.weight("rope_factors_long", &[pairs]);
        list.weight("rope_factors_short", &[pairs]);
    } else {
        list.weight("rope_freqs", &[pairs]);
    }
    Ok(())
}

fn attention(figures: &Figures<'_>, block: &mut Block<'_>, layer: u64) -> Result<(), Error> {
    let architecture = figures.architecture();
    let width = figures.width;
    let attention = figures.attention(layer)?;
    block.weight("attn_norm", &[width]);
    if architecture == "phi3" {
        let all = width.saturating_add(attention.keys()).saturating_add(attention.values());
        block.weight("attn_qkv", &[width, all]);
        block.weight("attn_output", &[width, width]);
        return Ok(());
    }
    projections(block, width, &attention);
    if matches!(architecture, "qwen2" | "gpt-oss") {
        block.bias("attn_q", &[attention.queries()]);
        block.bias("attn_k", &[attention.keys()]);
        block.bias("attn_v", &[attention.values()]);
    }
    if !matches!(architecture, "llama" | "qwen2" | "gpt-oss") {
        head_norms(block, &attention);
    }
    block.weight("attn_output", &[attention.queries(), width]);
    if architecture == "gpt-oss" {
        block.bias("attn_output", &[width]);
        block.weight("attn_sinks", &[attention.heads]);
    }
    if matches!(architecture, "gemma3" | "gemma-embedding" | "gpt-oss") {
        block.weight("post_attention_norm", &[width]);
    }
    Ok(())
}

/// Queries, keys and values.
pub(super) fn projections(block: &mut Block<'_>, width: u64, attention: &Attention) {
    block.weight("attn_q", &[width, attention.queries()]);
    block.weight("attn_k", &[width, attention.keys()]);
    block.weight("attn_v", &[width, attention.values()]);
}

/// Norms over each head of queries and keys.
pub(super) fn head_norms(block: &mut Block<'_>, attention: &Attention) {
    block.weight("attn_q_norm", &[attention.key_width]);
    block.weight("attn_k_norm", &[attention.key_width]);
}

fn feed_forward(figures: &Figures<'_>, block: &mut Block<'_>, layer: u64) -> Result<(), Error> {
    let width = figures.width;
    let architecture = figures.architecture();
    // gpt-oss has its norm behind attention under another name, and no second one.
    if architecture != "gpt-oss" {
        block.weight("ffn_norm", &[width]);
    }
    let experts = figures.optional("expert_count").filter(|experts| *experts > 0);
    if let Some(experts) = experts {
        mixture(figures, block, experts)?;
    } else {
        let inner = figures.in_layer("feed_forward_length", layer)?;
        match architecture {
            // Gate and input in one matrix.
            "phi3" => {
                block.weight("ffn_up", &[width, inner.saturating_mul(2)]);
                block.weight("ffn_down", &[inner, width]);
            }
            _ => gated(block, width, inner),
        }
    }
    if matches!(architecture, "gemma3" | "gemma-embedding") {
        block.weight("post_ffw_norm", &[width]);
    }
    Ok(())
}

/// A network whose input is gated.
pub(super) fn gated(block: &mut Block<'_>, width: u64, inner: u64) {
    block.weight("ffn_gate", &[width, inner]);
    block.weight("ffn_up", &[width, inner]);
    block.weight("ffn_down", &[inner, width]);
}

/// A router and its experts, each matrix with the experts as its third dimension.
fn mixture(figures: &Figures<'_>, block: &mut Block<'_>, experts: u64) -> Result<(), Error> {
    let width = figures.width;
    // Mixtral's experts, under the name of Llama, are as wide as its dense network would be.
    let inner = match figures.architecture() {
        "llama" => figures.in_layer("feed_forward_length", 0)?,
        _ => figures.expert_feed_forward()?,
    };
    block.weight("ffn_gate_inp", &[width, experts]);
    experts_of(block, width, inner, experts);
    if figures.architecture() == "gpt-oss" {
        block.bias("ffn_gate_inp", &[experts]);
        block.bias("ffn_gate_exps", &[inner, experts]);
        block.bias("ffn_up_exps", &[inner, experts]);
        block.bias("ffn_down_exps", &[width, experts]);
    }
    Ok(())
}

/// The experts without their router.
pub(super) fn experts_of(block: &mut Block<'_>, width: u64, inner: u64, experts: u64) {
    block.weight("ffn_gate_exps", &[width, inner, experts]);
    block.weight("ffn_up_exps", &[width, inner, experts]);
    block.weight("ffn_down_exps", &[inner, width, experts]);
}
