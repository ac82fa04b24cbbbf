//! Writes the header of a made model: its metadata and its table of tensors.

use super::{
    Quantization,
    shape::{Architecture, Shape},
    tensors::Plan,
    vocabulary::{self, Vocabulary},
};

/// Every tensor begins at a multiple of this, the format's default.
pub(crate) const ALIGNMENT_BYTES: usize = 32;

/// ChatML: what most of the models imitated here speak.
const CHAT_TEMPLATE: &str = "{%- for message in messages -%}\
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' -}}\
{%- endfor -%}\
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}";

/// The bytes in front of the tensor data, padded to the alignment.
pub(crate) fn header(
    shape: &Shape,
    quantization: Quantization,
    seed: u64,
    plans: &[Plan],
) -> Vec<u8> {
    let mut keys = Keys::default();
    general(&mut keys, shape, quantization, seed);
    figures(&mut keys, shape);
    tokenizer(&mut keys, shape);

    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3_u32.to_le_bytes());
    bytes.extend((plans.len() as u64).to_le_bytes());
    bytes.extend(keys.count.to_le_bytes());
    bytes.extend(keys.bytes);
    let mut offset: u64 = 0;
    for plan in plans {
        text(&mut bytes, &plan.name);
        bytes.extend(u32::try_from(plan.dimensions.len()).unwrap_or(0).to_le_bytes());
        plan.dimensions.iter().for_each(|dimension| bytes.extend(dimension.to_le_bytes()));
        bytes.extend(plan.kind.number().to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        offset += plan.bytes().next_multiple_of(ALIGNMENT_BYTES as u64);
    }
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT_BYTES), 0);
    bytes
}

fn general(keys: &mut Keys, shape: &Shape, quantization: Quantization, seed: u64) {
    keys.text("general.architecture", shape.architecture.name());
    keys.text("general.type", "model");
    keys.text("general.name", &format!("{} with random weights, seed {seed}", shape.name));
    keys.text(
        "general.description",
        "random weights in a real shape, for measuring; it says nothing",
    );
    keys.u32("general.file_type", quantization.file_type());
    keys.u32("general.quantization_version", 2);
}

/// What llama.cpp asks for under the architecture's name.
fn figures(keys: &mut Keys, shape: &Shape) {
    let key = |suffix: &str| format!("{}.{suffix}", shape.architecture.name());
    keys.u32(&key("block_count"), shape.layers);
    keys.u32(&key("context_length"), shape.context);
    keys.u32(&key("embedding_length"), shape.width);
    keys.u32(&key("feed_forward_length"), shape.feed_forward);
    keys.u32(&key("vocab_size"), shape.vocabulary);
    keys.u32(&key("attention.head_count"), shape.heads);
    if shape.architecture == Architecture::Bert {
        keys.f32(&key("attention.layer_norm_epsilon"), 1e-12);
        keys.bool(&key("attention.causal"), false);
    } else {
        keys.u32(&key("attention.head_count_kv"), shape.heads_kv);
        keys.u32(&key("attention.key_length"), shape.head_width);
        keys.u32(&key("attention.value_length"), shape.head_width);
        keys.f32(&key("attention.layer_norm_rms_epsilon"), 1e-6);
        keys.f32(&key("rope.freq_base"), shape.rope_base);
        keys.u32(&key("rope.dimension_count"), shape.head_width);
    }
    if let Some(window) = shape.window {
        keys.u32(&key("attention.sliding_window"), window);
    }
    if let Some(experts) = shape.experts {
        keys.u32(&key("expert_count"), experts.total);
        keys.u32(&key("expert_used_count"), experts.used);
        keys.u32(&key("expert_feed_forward_length"), experts.feed_forward);
    }
    if let Some(pooling) = shape.pooling {
        keys.u32(&key("pooling_type"), pooling as u32);
    }
}

fn tokenizer(keys: &mut Keys, shape: &Shape) {
    let vocabulary = if shape.architecture == Architecture::Bert {
        keys.text("tokenizer.ggml.model", "bert");
        keys.u32("tokenizer.ggml.token_type_count", 2);
        vocabulary::word_piece(shape.vocabulary)
    } else {
        keys.text("tokenizer.ggml.model", "gpt2");
        keys.text("tokenizer.ggml.pre", "qwen2");
        keys.bool("tokenizer.ggml.add_bos_token", false);
        keys.text("tokenizer.chat_template", CHAT_TEMPLATE);
        vocabulary::byte_level(shape.vocabulary)
    };
    let Vocabulary { tokens, types, merges, special } = vocabulary;
    keys.texts("tokenizer.ggml.tokens", &tokens);
    keys.i32s("tokenizer.ggml.token_type", &types);
    if !merges.is_empty() || shape.architecture != Architecture::Bert {
        keys.texts("tokenizer.ggml.merges", &merges);
    }
    for (name, id) in special {
        keys.u32(&format!("tokenizer.ggml.{name}"), id);
    }
}

/// Metadata as it is written, and how many keys that are.
#[derive(Default)]
struct Keys {
    bytes: Vec<u8>,
    count: u64,
}

impl Keys {
    fn key(&mut self, key: &str, type_number: u32) {
        self.count += 1;
        text(&mut self.bytes, key);
        self.bytes.extend(type_number.to_le_bytes());
    }

    fn u32(&mut self, key: &str, value: u32) {
        self.key(key, 4);
        self.bytes.extend(value.to_le_bytes());
    }

    fn f32(&mut self, key: &str, value: f32) {
        self.key(key, 6);
        self.bytes.extend(value.to_le_bytes());
    }

    fn bool(&mut self, key: &str, value: bool) {
        self.key(key, 7);
        self.bytes.push(value.into());
    }

    fn text(&mut self, key: &str, value: &str) {
        self.key(key, 8);
        text(&mut self.bytes, value);
    }

    fn array(&mut self, key: &str, element_type_number: u32, len: usize) {
        self.key(key, 9);
        self.bytes.extend(element_type_number.to_le_bytes());
        self.bytes.extend((len as u64).to_le_bytes());
    }

    fn texts(&mut self, key: &str, values: &[String]) {
        self.array(key, 8, values.len());
        values.iter().for_each(|value| text(&mut self.bytes, value));
    }

    fn i32s(&mut self, key: &str, values: &[i32]) {
        self.array(key, 5, values.len());
        values.iter().for_each(|value| self.bytes.extend(value.to_le_bytes()));
    }
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}
