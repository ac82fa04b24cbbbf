//! Headers of real models' shapes, made for tests: metadata and tensors, without data.
//!
//! Shapes are those that the models' config.json files publish; the tests of `fit` compare their
//! sizes with what llama-quantize gives.

use std::collections::BTreeMap;

use crate::gguf::{Array, ElementType, Header, Tensor, TensorType, Value};

/// Which type each kind of tensor gets.
pub(crate) struct Types {
    body: TensorType,
    /// Of the value and down projections in every other layer.
    better: TensorType,
    output: TensorType,
    embeddings: TensorType,
    file_type: u64,
}

impl Types {
    pub(crate) fn all(name: &str) -> Self {
        let kind = kind(name);
        let file_type = if name == "F16" { 1 } else { 7 };
        Self { body: kind, better: kind, output: kind, embeddings: kind, file_type }
    }

    /// As llama-quantize does without an importance matrix: the output keeps six bits.
    pub(crate) fn q4_0() -> Self {
        Self { output: kind("Q6_K"), file_type: 2, ..Self::all("Q4_0") }
    }

    pub(crate) fn q4_k_m() -> Self {
        let better = kind("Q6_K");
        Self { better, output: better, file_type: 15, ..Self::all("Q4_K") }
    }

    pub(crate) fn named(name: &str) -> Self {
        match name {
            "Q4_0" => Self::q4_0(),
            "Q4_K_M" => Self::q4_k_m(),
            "Q8_0" | "F16" => Self::all(name),
            "Q5_K" | "Q6_K" | "BF16" => Self { file_type: 1000, ..Self::all(name) },
            unknown => panic!("no types for {unknown}"),
        }
    }
}

pub(crate) fn kind(name: &str) -> TensorType {
    (0..64).filter_map(TensorType::from_number).find(|kind| kind.name() == name).unwrap()
}

/// A model without sliding windows.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) architecture: &'static str,
    pub(crate) layers: u64,
    pub(crate) width: u64,
    pub(crate) heads: u64,
    pub(crate) heads_kv: u64,
    pub(crate) head_width: u64,
    pub(crate) feed_forward: u64,
    /// How many there are and how many are used; none in dense models.
    pub(crate) experts: Option<(u64, u64)>,
    pub(crate) vocabulary: u64,
    pub(crate) context: u64,
    /// Queries come with a gate of the same width, and only every so many layers attend; the
    /// others carry a state of these figures.
    pub(crate) hybrid: Option<Hybrid>,
}

#[derive(Clone, Copy)]
pub(crate) struct Hybrid {
    pub(crate) interval: u64,
    pub(crate) inner: u64,
    pub(crate) state: u64,
    pub(crate) groups: u64,
}

const DENSE: Shape = Shape {
    architecture: "qwen3",
    layers: 36,
    width: 4096,
    heads: 32,
    heads_kv: 8,
    head_width: 128,
    feed_forward: 12_288,
    experts: None,
    vocabulary: 151_936,
    context: 131_072,
    hybrid: None,
};

pub(crate) fn llama_2_7b(types: &Types) -> Header {
    let shape = Shape {
        architecture: "llama",
        layers: 32,
        heads_kv: 32,
        feed_forward: 11_008,
        vocabulary: 32_000,
        context: 4096,
        ..DENSE
    };
    header(&shape, types)
}

pub(crate) fn llama_3_8b(types: &Types) -> Header {
    let shape = Shape {
        architecture: "llama",
        layers: 32,
        feed_forward: 14_336,
        vocabulary: 128_256,
        ..DENSE
    };
    header(&shape, types)
}

/// Also DeepSeek-R1-0528-Qwen3-8B.
pub(crate) fn qwen3_8b(types: &Types) -> Header {
    header(&DENSE, types)
}

pub(crate) fn qwen3_32b(types: &Types) -> Header {
    let shape = Shape {
        layers: 64,
        width: 5120,
        heads: 64,
        feed_forward: 25_600,
        context: 40_960,
        ..DENSE
    };
    header(&shape, types)
}

pub(crate) fn qwen3_30b_a3b(types: &Types) -> Header {
    let shape = Shape {
        architecture: "qwen3moe",
        layers: 48,
        width: 2048,
        heads_kv: 4,
        feed_forward: 768,
        experts: Some((128, 8)),
        context: 40_960,
        ..DENSE
    };
    header(&shape, types)
}

pub(crate) fn qwen3_6_27b(types: &Types) -> Header {
    let shape = Shape {
        architecture: "qwen35",
        layers: 64,
        width: 5120,
        heads: 24,
        heads_kv: 4,
        head_width: 256,
        feed_forward: 17_408,
        vocabulary: 248_320,
        context: 262_144,
        hybrid: Some(Hybrid { interval: 4, inner: 6144, state: 128, groups: 16 }),
        ..DENSE
    };
    header(&shape, types)
}

pub(crate) fn header(shape: &Shape, types: &Types) -> Header {
    let mut tensors = Tensors::default();
    let (width, vocabulary) = (shape.width, shape.vocabulary);
    tensors.add("token_embd.weight", [width, vocabulary, 1, 1], types.embeddings);
    for layer in 0..shape.layers {
        let better = if layer % 2 == 0 { types.better } else { types.body };
        add_layer(&mut tensors, shape, layer, types.body, better);
    }
    tensors.add("output_norm.weight", [width, 1, 1, 1], TensorType::F32);
    tensors.add("output.weight", [width, vocabulary, 1, 1], types.output);
    Header {
        version: 3,
        metadata: metadata(shape, types),
        tensors: tensors.all,
        alignment: 32,
        data_offset: 0,
    }
}

fn add_layer(
    tensors: &mut Tensors,
    shape: &Shape,
    layer: u64,
    body: TensorType,
    better: TensorType,
) {
    let width = shape.width;
    let mut add = |name: &str, columns: u64, rows: u64, depth: u64, kind| {
        tensors.add(&format!("blk.{layer}.{name}.weight"), [columns, rows, depth, 1], kind);
    };
    let (queries, cached) = (shape.heads * shape.head_width, shape.heads_kv * shape.head_width);
    match shape.hybrid {
        Some(hybrid) if !(layer + 1).is_multiple_of(hybrid.interval) => {
            let convolved = hybrid.inner + 2 * hybrid.groups * hybrid.state;
            add("attn_qkv", width, convolved, 1, body);
            add("attn_gate", width, hybrid.inner, 1, body);
            add("ssm_out", hybrid.inner, width, 1, body);
        }
        hybrid => {
            add("attn_q", width, queries * if hybrid.is_some() { 2 } else { 1 }, 1, body);
            add("attn_k", width, cached, 1, body);
            add("attn_v", width, cached, 1, better);
            add("attn_output", queries, width, 1, body);
        }
    }
    add("attn_norm", width, 1, 1, TensorType::F32);
    add("ffn_norm", width, 1, 1, TensorType::F32);
    let inner = shape.feed_forward;
    match shape.experts {
        None => {
            add("ffn_gate", width, inner, 1, body);
            add("ffn_up", width, inner, 1, body);
            add("ffn_down", inner, width, 1, better);
        }
        Some((count, _)) => {
            add("ffn_gate_inp", width, count, 1, TensorType::F32);
            add("ffn_gate_exps", width, inner, count, body);
            add("ffn_up_exps", width, inner, count, body);
            add("ffn_down_exps", inner, width, count, better);
        }
    }
}

#[derive(Default)]
struct Tensors {
    all: Vec<Tensor>,
    offset: u64,
}

impl Tensors {
    fn add(&mut self, name: &str, dimensions: [u64; 4], kind: TensorType) {
        let bytes = kind.bytes(dimensions.iter().product()).unwrap();
        let offset = self.offset;
        self.offset += bytes.next_multiple_of(32);
        self.all.push(Tensor { name: name.to_owned(), dimensions, kind, offset, bytes });
    }
}

fn metadata(shape: &Shape, types: &Types) -> BTreeMap<String, Value> {
    let mut figures = vec![
        ("block_count", shape.layers),
        ("context_length", shape.context),
        ("embedding_length", shape.width),
        ("attention.head_count", shape.heads),
        ("attention.head_count_kv", shape.heads_kv),
        ("attention.key_length", shape.head_width),
        ("attention.value_length", shape.head_width),
        ("feed_forward_length", shape.feed_forward),
    ];
    if let Some((count, used)) = shape.experts {
        figures.extend([
            ("expert_count", count),
            ("expert_used_count", used),
            ("expert_feed_forward_length", shape.feed_forward),
        ]);
    }
    if let Some(hybrid) = shape.hybrid {
        figures.extend([
            ("full_attention_interval", hybrid.interval),
            ("ssm.conv_kernel", 4),
            ("ssm.state_size", hybrid.state),
            ("ssm.group_count", hybrid.groups),
            ("ssm.inner_size", hybrid.inner),
            ("ssm.time_step_rank", 48),
        ]);
    }
    let architecture = shape.architecture;
    let mut metadata: BTreeMap<String, Value> = figures
        .into_iter()
        .map(|(suffix, value)| (format!("{architecture}.{suffix}"), Value::Unsigned(value)))
        .collect();
    metadata.insert("general.architecture".into(), Value::String(architecture.into()));
    metadata.insert("general.file_type".into(), Value::Unsigned(types.file_type));
    let len = shape.vocabulary;
    let tokens = Array { element: ElementType::String, len, place: 0..0, kept: None };
    metadata.insert("tokenizer.ggml.tokens".into(), Value::Array(tokens));
    metadata
}
