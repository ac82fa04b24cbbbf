//! The metadata of a made model, in the order in which it is written.

use planner::gguf::{Array, ElementType, Value};

use super::{
    shape::{Architecture, Pooling, Recurrence, Shape},
    vocabulary::{self, Vocabulary},
};

/// ChatML: what most of the models imitated here speak.
const CHAT_TEMPLATE: &str = "{%- for message in messages -%}\
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' -}}\
{%- endfor -%}\
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}";

/// How Qwen's reranker is asked; the head stands for its next word.
const RANK_TEMPLATE: &str = "<|im_start|>system\n\
Judge whether the Document meets the requirements based on the Query.<|im_end|>\n<|im_start|>user\n\
<Query>: {query}\n<Document>: {document}<|im_end|>\n<|im_start|>assistant\n";

/// What the head of a reranker chooses between, of Qwen's and of BERT's.
const RANK_ANSWERS: [&str; 2] = ["yes", "no"];
const RANK_LABEL: &str = "LABEL_0";

/// Kinds of text that BERT's embeddings tell apart.
const TOKEN_TYPES: u32 = 2;

/// Tokens that the convolution before a state reaches, in every model that has one.
const CONVOLVED_TOKENS: u32 = 4;

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

/// The marks for filling in between two texts: the last words of the vocabulary, in front of its three
/// control tokens.
pub(crate) fn infill_marks(shape: &Shape) -> Vec<(String, Value)> {
    let first = shape.vocabulary - 8;
    let mut keys = Keys::default();
    for (id, name) in (first..).zip(["pre", "suf", "mid", "rep", "sep"]) {
        keys.u32(&format!("tokenizer.ggml.fim_{name}_token_id"), id);
    }
    keys.pairs
}

/// The metadata of an adapter, which acts as strongly as its factors say.
pub(crate) fn of_adapter(shape: &Shape, rank: u32, seed: u64) -> Vec<(String, Value)> {
    let mut keys = Keys::default();
    keys.text("general.architecture", shape.architecture.name());
    keys.text("general.type", "adapter");
    keys.text("general.name", &format!("a random adapter for {}, seed {seed}", shape.name));
    keys.text("adapter.type", "lora");
    #[expect(clippy::cast_precision_loss, reason = "ranks are far below 2^24")]
    keys.f32("adapter.lora.alpha", rank as f32);
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
    keys.u32(&key("block_count"), shape.layers + shape.guessing);
    if shape.guessing > 0 {
        keys.u32(&key("nextn_predict_layers"), shape.guessing);
    }
    keys.u32(&key("context_length"), shape.context);
    keys.u32(&key("embedding_length"), shape.width);
    keys.u32(&key("feed_forward_length"), shape.feed_forward);
    keys.u32(&key("vocab_size"), shape.vocabulary);
    keys.u32(&key("attention.head_count"), shape.heads);
    let attends = shape.architecture != Architecture::Bert && shape.heads > 0;
    if attends {
        heads(&mut keys, shape);
    }
    if shape.architecture == Architecture::Bert {
        keys.f32(&key("attention.layer_norm_epsilon"), 1e-12);
        keys.bool(&key("attention.causal"), false);
        keys.u32("tokenizer.ggml.token_type_count", TOKEN_TYPES);
    } else {
        keys.f32(&key("attention.layer_norm_rms_epsilon"), 1e-6);
    }
    if attends {
        rotation(&mut keys, shape);
    }
    if let Some(recurrence) = &shape.recurrence {
        states(&mut keys, shape, recurrence);
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
    if shape.pooling == Some(Pooling::Rank) {
        let is_encoder = shape.architecture == Architecture::Bert;
        let labels = if is_encoder { &[RANK_LABEL][..] } else { &RANK_ANSWERS };
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        keys.texts(&key("classifier.output_labels"), labels);
    }
    keys.pairs
}

/// Heads of keys and values, and their widths.
fn heads(keys: &mut Keys, shape: &Shape) {
    let key = |suffix: &str| format!("{}.{suffix}", shape.architecture.name());
    match shape.recurrence.and_then(|recurrence| recurrence.attending()) {
        // A layer without heads of keys and values is one with a state.
        Some(attending) => {
            let heads = |layer| if attending.contains(&layer) { shape.heads_kv } else { 0 };
            let heads: Vec<i32> = (0..shape.layers).map(|at| heads(at).cast_signed()).collect();
            keys.i32s(&key("attention.head_count_kv"), &heads);
        }
        None => keys.u32(&key("attention.head_count_kv"), shape.heads_kv),
    }
    keys.u32(&key("attention.key_length"), shape.head_width);
    keys.u32(&key("attention.value_length"), shape.head_width);
}

/// What is rotated of the heads, and how fast.
fn rotation(keys: &mut Keys, shape: &Shape) {
    let key = |suffix: &str| format!("{}.{suffix}", shape.architecture.name());
    keys.f32(&key("rope.freq_base"), shape.rope_base);
    // Some rotate by the positions in time, height and width in turn, and of these some a quarter of each
    // head.
    let rotated = match shape.architecture {
        Architecture::Qwen35 | Architecture::Qwen35moe => shape.head_width / 4,
        Architecture::Qwen3vl => shape.head_width,
        Architecture::Llama
        | Architecture::Qwen3
        | Architecture::Qwen3moe
        | Architecture::Gemma3
        | Architecture::Lfm2
        | Architecture::Granitehybrid
        | Architecture::Mamba
        | Architecture::Mamba2
        | Architecture::Bert => {
            return keys.u32(&key("rope.dimension_count"), shape.head_width);
        }
    };
    let pairs = (rotated / 2).cast_signed();
    let third = (pairs + 2) / 3;
    keys.u32(&key("rope.dimension_count"), rotated);
    keys.i32s(&key("rope.dimension_sections"), &[third, third, pairs - 2 * third, 0]);
}

/// What the layers with a state are made of.
fn states(keys: &mut Keys, shape: &Shape, recurrence: &Recurrence) {
    let key = |suffix: &str| format!("{}.{suffix}", shape.architecture.name());
    match *recurrence {
        Recurrence::DeltaNet { head_width, key_heads, value_heads, interval } => {
            keys.u32(&key("ssm.conv_kernel"), CONVOLVED_TOKENS);
            keys.u32(&key("ssm.inner_size"), head_width * value_heads);
            keys.u32(&key("ssm.state_size"), head_width);
            keys.u32(&key("ssm.time_step_rank"), value_heads);
            keys.u32(&key("ssm.group_count"), key_heads);
            keys.u32(&key("full_attention_interval"), interval);
        }
        Recurrence::ShortConvolution { tokens, .. } => {
            keys.u32(&key("shortconv.l_cache"), tokens);
        }
        Recurrence::StateSpace { state, rank, groups, .. } => {
            keys.u32(&key("ssm.conv_kernel"), CONVOLVED_TOKENS);
            keys.u32(&key("ssm.inner_size"), 2 * shape.width);
            keys.u32(&key("ssm.state_size"), state);
            keys.u32(&key("ssm.time_step_rank"), rank);
            if let Some(groups) = groups {
                keys.u32(&key("ssm.group_count"), groups);
            }
        }
    }
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
        if shape.pooling == Some(Pooling::Rank) {
            keys.text("tokenizer.chat_template.rerank", RANK_TEMPLATE);
        }
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
pub(super) struct Keys {
    pub(super) pairs: Vec<(String, Value)>,
}

impl Keys {
    fn push(&mut self, key: &str, value: Value) {
        self.pairs.push((key.to_owned(), value));
    }

    pub(super) fn u32(&mut self, key: &str, value: u32) {
        self.push(key, Value::Unsigned(value.into()));
    }

    pub(super) fn f32(&mut self, key: &str, value: f32) {
        self.push(key, Value::Float(value.into()));
    }

    pub(super) fn bool(&mut self, key: &str, value: bool) {
        self.push(key, Value::Bool(value));
    }

    pub(super) fn text(&mut self, key: &str, value: &str) {
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

    pub(super) fn f32s(&mut self, key: &str, values: &[f32]) {
        let values = values.iter().map(|value| Value::Float((*value).into())).collect();
        self.array(key, ElementType::F32, values);
    }

    fn i32s(&mut self, key: &str, values: &[i32]) {
        let values = values.iter().map(|value| Value::Signed((*value).into())).collect();
        self.array(key, ElementType::I32, values);
    }
}
