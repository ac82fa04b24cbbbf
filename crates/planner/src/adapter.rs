//! LoRA adapters: whether one belongs to a model, and what it takes beside it.
//!
//! Source: llama.cpp's `llama-adapter.cpp`, which checks the same and says less, and `build_lora_mm` in
//! `llama-graph.cpp`. Not here: reading files (`supervisor`, `llama-worker`), and loading them.

use std::collections::BTreeMap;

use crate::gguf::{Header, Tensor};

/// What the names of the two factors of a change end in.
const FIRST: &str = ".lora_a";
const SECOND: &str = ".lora_b";

/// Numbers of norms, which llama.cpp leaves out of an adapter.
const LEFT_OUT: &str = "_norm.weight";

/// The table of the vocabulary, of which the factors lie the other way round.
const VOCABULARY: &str = "token_embd.weight";

/// A number of a step's results takes so many bytes.
const FLOAT_BYTES: u64 = 4;

/// Checks that an adapter changes what this model has.
///
/// # Errors
/// A fragment that goes on after the adapter's name: what does not fit, and the way out.
pub fn check(model: &Header, adapter: &Header) -> Result<(), String> {
    let kind = adapter.str("general.type").unwrap_or("model");
    if kind != "adapter" {
        return Err(format!(
            "is no adapter (its `general.type` is `{kind}`); make one of it with llama.cpp's \
             convert_lora_to_gguf.py"
        ));
    }
    let kind = adapter.str("adapter.type").unwrap_or("nothing");
    if kind != "lora" {
        return Err(format!("is an adapter of the type `{kind}`, and only `lora` can be used"));
    }
    if adapter.metadata.contains_key("adapter.alora.invocation_tokens") {
        return Err(
            "acts only behind certain words (activated LoRA), which is not supported; use one \
                    that always acts"
                .to_owned(),
        );
    }
    let (ours, theirs) = (model.architecture(), adapter.architecture());
    if ours != theirs {
        return Err(format!(
            "was made for a model of architecture {theirs}, and this one is {ours}; use it with the \
             model that it was trained on"
        ));
    }
    fits(model, adapter)
}

fn fits(model: &Header, adapter: &Header) -> Result<(), String> {
    let pairs = pairs(adapter)?;
    if pairs.is_empty() {
        return Err("has no tensors that change anything; get it again".to_owned());
    }
    let tensors: BTreeMap<&str, &Tensor> =
        model.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    for (name, pair) in pairs {
        let (Some(first), Some(second)) = (pair.first, pair.second) else {
            let missing = if pair.first.is_none() { FIRST } else { SECOND };
            return Err(format!("lacks the tensor `{name}{missing}`; get it again"));
        };
        let Some(changed) = tensors.get(name) else {
            return Err(format!(
                "changes the tensor `{name}`, which this model does not have; use it with the model \
                 that it was trained on"
            ));
        };
        let wanted = if name == VOCABULARY {
            [side(second, 1), side(first, 1)]
        } else {
            [side(first, 0), side(second, 1)]
        };
        let found = [side(changed, 0), side(changed, 1)];
        let (rank, other) = match name == VOCABULARY {
            true => (side(first, 0), side(second, 0)),
            false => (side(first, 1), side(second, 0)),
        };
        if rank != other {
            return Err(format!(
                "changes the tensor `{name}` by factors of the ranks {rank} and {other}, which are \
                 different; get it again"
            ));
        }
        if wanted != found {
            let [rows, columns] = wanted;
            let [has_rows, has_columns] = found;
            return Err(format!(
                "changes the tensor `{name}` as if it were {rows} by {columns}, and in this model it is \
                 {has_rows} by {has_columns}; use it with the model that it was trained on"
            ));
        }
    }
    Ok(())
}

/// The two factors of a change.
#[derive(Default)]
struct Pair<'a> {
    first: Option<&'a Tensor>,
    second: Option<&'a Tensor>,
}

/// The factors by the name of what they change.
fn pairs(adapter: &Header) -> Result<BTreeMap<&str, Pair<'_>>, String> {
    let mut pairs: BTreeMap<&str, Pair<'_>> = BTreeMap::new();
    for tensor in &adapter.tensors {
        if let Some(name) = tensor.name.strip_suffix(FIRST) {
            pairs.entry(name).or_default().first = Some(tensor);
        } else if let Some(name) = tensor.name.strip_suffix(SECOND) {
            pairs.entry(name).or_default().second = Some(tensor);
        } else if !tensor.name.ends_with(LEFT_OUT) {
            return Err(format!(
                "has the tensor `{}`, which is no part of a LoRA adapter; make it again with llama.cpp's \
                 convert_lora_to_gguf.py",
                tensor.name
            ));
        }
    }
    Ok(pairs)
}

/// Bytes that its results take in a step of so many tokens, at most: what it adds to the widest matrix,
/// before and after it is scaled.
#[must_use]
pub fn step_bytes(adapter: &Header, step_tokens: u32) -> u64 {
    let is_second = |tensor: &&Tensor| tensor.name.ends_with(SECOND);
    let widest = adapter.tensors.iter().filter(is_second).map(|tensor| side(tensor, 1)).max();
    let numbers = widest.unwrap_or(0).saturating_mul(step_tokens.into());
    numbers.saturating_mul(2 * FLOAT_BYTES)
}

fn side(tensor: &Tensor, at: usize) -> u64 {
    tensor.dimensions[at]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue;
    use crate::gguf::{TensorType, Value};

    fn model() -> Header {
        catalogue::builtin().find("qwen3-0.6b").unwrap().header("Q8_0").unwrap()
    }

    fn tensor(name: &str, dimensions: [u64; 2]) -> Tensor {
        let name = name.to_owned();
        let bytes = dimensions[0] * dimensions[1] * 4;
        let dimensions = [dimensions[0], dimensions[1], 1, 1];
        Tensor { name, kind: TensorType::F32, dimensions, offset: 0, bytes }
    }

    fn adapter(tensors: &[(&str, [u64; 2])]) -> Header {
        let texts = [
            ("general.architecture", "qwen3"),
            ("general.type", "adapter"),
            ("adapter.type", "lora"),
        ];
        let text = |(key, text): (&str, &str)| (key.to_owned(), Value::String(text.to_owned()));
        let tensors = tensors.iter().map(|(name, dimensions)| tensor(name, *dimensions));
        let metadata = texts.into_iter().map(text).collect();
        Header { metadata, tensors: tensors.collect(), ..model() }
    }

    fn query() -> Vec<(&'static str, [u64; 2])> {
        vec![("blk.0.attn_q.weight.lora_a", [1024, 8]), ("blk.0.attn_q.weight.lora_b", [8, 2048])]
    }

    #[test]
    fn one_that_belongs_to_the_model_is_taken() {
        let vocabulary = [
            ("token_embd.weight.lora_a", [8, 151_936]),
            ("token_embd.weight.lora_b", [8, 1024]),
            ("blk.0.attn_norm.weight", [1024, 1]),
        ];
        let tensors = [&query()[..], &vocabulary].concat();
        check(&model(), &adapter(&tensors)).unwrap();
        assert_eq!(step_bytes(&adapter(&query()), 512), 2048 * 512 * 8);
    }

    #[test]
    fn one_that_does_not_says_which_tensor_and_the_way_out() {
        let with = |key: &str, value: &str| {
            let mut changed = adapter(&query());
            changed.metadata.insert(key.to_owned(), Value::String(value.to_owned()));
            changed
        };
        let cases = [
            (with("general.type", "model"), ["is no adapter", "convert_lora_to_gguf.py"]),
            (with("adapter.type", "control"), ["`control`", "only `lora`"]),
            (with("general.architecture", "llama"), ["architecture llama", "trained on"]),
            (with("adapter.alora.invocation_tokens", ""), ["activated", "always acts"]),
            (adapter(&[]), ["no tensors", "get it again"]),
            (adapter(&query()[..1]), ["`blk.0.attn_q.weight.lora_b`", "get it again"]),
            (adapter(&query()[1..]), ["`blk.0.attn_q.weight.lora_a`", "get it again"]),
            (adapter(&[("x.bias", [1, 1])]), ["`x.bias`", "convert_lora_to_gguf.py"]),
            (
                adapter(&[("blk.99.y.weight.lora_a", [1, 1]), ("blk.99.y.weight.lora_b", [1, 1])]),
                ["`blk.99.y.weight`", "trained on"],
            ),
            (
                adapter(&[
                    ("blk.0.attn_q.weight.lora_a", [512, 8]),
                    ("blk.0.attn_q.weight.lora_b", [8, 2048]),
                ]),
                ["512 by 2048", "1024 by 2048"],
            ),
            (
                adapter(&[
                    ("blk.0.attn_q.weight.lora_a", [1024, 8]),
                    ("blk.0.attn_q.weight.lora_b", [4, 2048]),
                ]),
                ["ranks 8 and 4", "get it again"],
            ),
        ];
        for (wrong, words) in cases {
            let why = check(&model(), &wrong).unwrap_err();
            for word in words {
                assert!(why.contains(word), "no {word} in: {why}");
            }
        }
    }
}
