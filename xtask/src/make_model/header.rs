//! The metadata of a made model, in the order in which it is written.

use planner::gguf::{Array, ElementType, Value};

use super::{
    shape::{Architecture, Shape},
    vocabulary::{self, Vocabulary},
};

/// ChatML: what most of the models imitated here speak.
const CHAT_TEMPLATE: &str = "{%- for message in messages -%}\
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' -}}\
{%- endfor -%}\
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}";

/// Kinds of text that BERT's embeddings tell apart.
const TOKEN_TYPES: u32 = 2;

/// All metadata. `file_type` is llama.cpp's number for the encoding.
pub(crate) fn metadata(shape: &Shape, file_type: u32, seed: u64) -> Vec<(String, Value)> {
    let mut keys = Keys::default();
    general(&mut keys, shape, file_type, seed);
    // The architecture is there already, and the tokenizer's keys come behind.
    let own = format!("{}.", shape.architecture.name());
    keys.pairs.extend(figures(shape).into_iter().filter(|(key, _)| key.starts_with(&own)));
    tokenizer(&mut keys, shape);
    keys.pairs
}

fn general(keys: &mut Keys, shape: &Shape, file_type: u32, seed: u64) {
    keys.text("general.architecture", shape.architecture.name());
    keys.text("general.type", "model");
    keys.text("general.name", &format!("{} with random weights, seed {seed}", shape.name));
    keys.text(
        "general.description",
        "random weights in a real shape, for measuring; it says nothing",
    );
    keys.u32("general.file_type", file_type);
    keys.u32("general.quantization_version", 2);
}

/// What the tensors follow from: the architecture, and what llama.cpp asks for under its name.
pub(crate) fn figures(shape: &Shape) -> Vec<(String, Value)> {
    let mut keys = Keys::default();
    keys.text("general.architecture", shape.architecture.name());
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
        keys.u32("tokenizer.ggml.token_type_count", TOKEN_TYPES);
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
    keys.pairs
}

fn tokenizer(keys: &mut Keys, shape: &Shape) {
    let vocabulary = if shape.architecture == Architecture::Bert {
        keys.text("tokenizer.ggml.model", "bert");
        keys.u32("tokenizer.ggml.token_type_count", TOKEN_TYPES);
        vocabulary::word_piece(shape.vocabulary)
    } else {
        keys.text("tokenizer.ggml.model", "gpt2");
        keys.text("tokenizer.ggml.pre", "qwen2");
        keys.bool("tokenizer.ggml.add_bos_token", false);
        keys.text("tokenizer.chat_template", CHAT_TEMPLATE);
        vocabulary::byte_level(shape.vocabulary)
    };
    let Vocabulary { tokens, types, merges, special } = vocabulary;
    keys.texts("tokenizer.ggml.tokens", tokens);
    keys.i32s("tokenizer.ggml.token_type", &types);
    if !merges.is_empty() || shape.architecture != Architecture::Bert {
        keys.texts("tokenizer.ggml.merges", merges);
    }
    for (name, id) in special {
        keys.u32(&format!("tokenizer.ggml.{name}"), id);
    }
}

/// Metadata in order.
#[derive(Default)]
struct Keys {
    pairs: Vec<(String, Value)>,
}

impl Keys {
    fn push(&mut self, key: &str, value: Value) {
        self.pairs.push((key.to_owned(), value));
    }

    fn u32(&mut self, key: &str, value: u32) {
        self.push(key, Value::Unsigned(value.into()));
    }

    fn f32(&mut self, key: &str, value: f32) {
        self.push(key, Value::Float(value.into()));
    }

    fn bool(&mut self, key: &str, value: bool) {
        self.push(key, Value::Bool(value));
    }

    fn text(&mut self, key: &str, value: &str) {
        self.push(key, Value::String(value.to_owned()));
    }

    fn array(&mut self, key: &str, element: ElementType, kept: Vec<Value>) {
        let len = kept.len() as u64;
        self.push(key, Value::Array(Array { element, len, place: 0..0, kept: Some(kept) }));
    }

    fn texts(&mut self, key: &str, values: Vec<String>) {
        let values = values.into_iter().map(Value::String).collect();
        self.array(key, ElementType::String, values);
    }

    fn i32s(&mut self, key: &str, values: &[i32]) {
        let values = values.iter().map(|value| Value::Signed((*value).into())).collect();
        self.array(key, ElementType::I32, values);
    }
}
