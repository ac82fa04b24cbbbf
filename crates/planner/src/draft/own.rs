//! What a model itself must bring along so that guesses can be made for it: layers that guess, and
//! states that can be taken back behind a wrong guess.

use super::limits::{FREE_STATES_PARTS, ROLLED_BACK_TOKENS};
use crate::{
    footprint::{self, Layout, Left, RECURRENT, left},
    gguf::Header,
};

/// Architectures whose layers that guess ahead are known: one layer with full attention, whose graph is
/// in `footprint/compute/recurrent.rs`.
const WITH_HEAD: [&str; 2] = ["qwen35", "qwen35moe"];

/// Architectures whose states can be taken back, of those that llama.cpp can
/// (`llm_arch_supports_rs_rollback` in `llama-arch.cpp`) the ones of which models can be made to try it.
const ROLL_BACK: [&str; 3] = ["lfm2", "qwen35", "qwen35moe"];

/// Why the model's own layers cannot guess for it; `None` where nothing speaks against it.
#[must_use]
pub fn head_misfit(header: &Header) -> Option<String> {
    const WAY_OUT: &str = "write speculation = \"lookup\", or name a draft model";
    let layers = header.arch_u64("nextn_predict_layers").unwrap_or(0);
    let architecture = header.architecture();
    let is_there = |tensor: &crate::gguf::Tensor| tensor.name.ends_with("nextn.eh_proj.weight");
    if layers == 0 || !header.tensors.iter().any(is_there) {
        return Some(format!(
            "the file has no layer that guesses ahead (multi-token prediction); get one that kept it, \
             or {WAY_OUT}"
        ));
    }
    if !WITH_HEAD.contains(&architecture) {
        return Some(format!(
            "the layers that guess ahead are not used for architecture {architecture}, but for {}; \
             {WAY_OUT}",
            WITH_HEAD.join(" and ")
        ));
    }
    (layers != 1).then(|| {
        format!("the file has {layers} layers that guess ahead, and one is supported; {WAY_OUT}")
    })
}

/// Tokens that each sequence of a model whose layers carry a state is to be able to take back, when it
/// guesses `tokens` at a time, or as many as pay. That multiplies its states, so unless somebody
/// `asked` for it, it is done only where they are small beside the weights.
#[must_use]
pub fn taken_back(header: &Header, layout: &Layout, tokens: Option<u32>, asked: bool) -> u32 {
    let has_state = matches!(left(header), Left::CellsAndState | Left::State);
    if !has_state || !ROLL_BACK.contains(&header.architecture()) {
        return 0;
    }
    // llama.cpp insists on a longer step than that, and a step is no longer than the context.
    let tokens = tokens.unwrap_or(ROLLED_BACK_TOKENS);
    let tokens = tokens.min(layout.context_tokens.saturating_sub(2));
    let states_bytes = |taken_back_max| {
        let layout = Layout { taken_back_max, ..*layout };
        footprint::predict_state(header, &layout).bytes_of(RECURRENT)
    };
    let more_bytes = states_bytes(tokens).saturating_sub(states_bytes(0));
    let weights = footprint::weights(header);
    let weights_bytes = weights.input_bytes.saturating_add(weights.layers_bytes);
    let is_free = more_bytes <= weights_bytes / FREE_STATES_PARTS;
    if asked || is_free { tokens } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{catalogue, gguf::Value};

    fn header(name: &str) -> Header {
        catalogue::builtin().find(name).unwrap().header("Q4_K_M").unwrap()
    }

    #[test]
    fn only_a_file_with_one_layer_of_a_known_kind_guesses_by_itself() {
        let mut qwen = header("qwen3.6-27b-mtp");
        assert_eq!(head_misfit(&qwen), None);
        assert!(head_misfit(&header("qwen3-8b")).unwrap().starts_with("the file has no layer"));
        let mut without = qwen.clone();
        without.tensors.retain(|tensor| !tensor.name.contains("nextn"));
        assert!(head_misfit(&without).unwrap().starts_with("the file has no layer"));
        let layers = Value::Unsigned(3);
        qwen.metadata.insert("qwen35.nextn_predict_layers".to_owned(), layers);
        assert!(head_misfit(&qwen).unwrap().starts_with("the file has 3 layers"));
    }

    #[test]
    fn states_are_taken_back_where_that_is_nearly_free_or_asked_for() {
        let layout = Layout::new(8192, 5);
        let back = |name: &str, tokens, asked| taken_back(&header(name), &layout, tokens, asked);
        // 155 MB of states a sequence.
        assert_eq!(back("qwen3.6-27b", None, false), 0);
        assert_eq!(back("qwen3.6-27b", None, true), ROLLED_BACK_TOKENS);
        assert_eq!(back("qwen3.6-27b", Some(2), true), 2);
        let mut slim = header("qwen3.6-27b");
        for key in ["qwen35.ssm.inner_size", "qwen35.ssm.state_size"] {
            slim.metadata.insert(key.to_owned(), Value::Unsigned(64));
        }
        assert_eq!(taken_back(&slim, &layout, None, false), ROLLED_BACK_TOKENS);
        // No state, or one that llama.cpp cannot take back.
        assert_eq!(back("qwen3-8b", None, true), 0);
        assert_eq!(back("falcon-h1-7b", Some(4), true), 0);
    }
}
