//! Encoders: BERT, XLM-RoBERTa under its name, and Nomic's variant.

use super::{Block, Error, List, figures::Figures};

/// Everything has a bias in BERT; Nomic's variant rotates positions, gates its network and has none.
pub(super) fn encoder(figures: &Figures<'_>, list: &mut List) -> Result<(), Error> {
    let width = figures.width;
    let nomic = figures.architecture() == "nomic-bert";
    list.weight("token_embd", &[width, figures.vocabulary]);
    if !nomic {
        list.weight("position_embd", &[width, figures.number("context_length")?]);
    }
    let kinds = figures.other("tokenizer.ggml.token_type_count").filter(|kinds| *kinds > 0);
    if let Some(kinds) = kinds {
        list.weight("token_types", &[width, kinds]);
    }
    list.weight("token_embd_norm", &[width]);
    list.add("token_embd_norm.bias", &[width]);
    for layer in 0..figures.layers {
        let inner = figures.in_layer("feed_forward_length", layer)?;
        let block = &mut list.block(layer);
        if nomic {
            let attention = figures.attention(layer)?;
            block.weight("attn_qkv", &[width, width + attention.keys() + attention.values()]);
            block.weight("attn_output", &[width, width]);
        } else {
            for part in ["attn_q", "attn_k", "attn_v", "attn_output"] {
                biased(block, part, [width, width]);
            }
        }
        norm(block, "attn_output_norm", width);
        if nomic {
            block.weight("ffn_up", &[width, inner]);
            block.weight("ffn_gate", &[width, inner]);
            block.weight("ffn_down", &[inner, width]);
        } else {
            biased(block, "ffn_up", [width, inner]);
            biased(block, "ffn_down", [inner, width]);
        }
        norm(block, "layer_output_norm", width);
    }
    if let Some(labels) = figures.array_len("classifier.output_labels") {
        classifier(list, width, labels);
    }
    Ok(())
}

fn biased(block: &mut Block<'_>, part: &str, dimensions: [u64; 2]) {
    block.weight(part, &dimensions);
    block.bias(part, &dimensions[1..]);
}

fn norm(block: &mut Block<'_>, part: &str, width: u64) {
    block.weight(part, &[width]);
    block.bias(part, &[width]);
}

/// The head of a reranker: a dense layer and one output for each label.
fn classifier(list: &mut List, width: u64, labels: u64) {
    list.weight("cls", &[width, width]);
    list.add("cls.bias", &[width]);
    list.weight("cls.output", &[width, labels]);
    list.add("cls.output.bias", &[labels]);
}
