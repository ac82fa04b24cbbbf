//! Predictions for shapes of real models, beside what llama.cpp laid out for them.

use std::collections::BTreeMap;

use super::*;
use crate::gguf::{Array, ElementType, Tensor, TensorType, Value};

const MIB: u64 = 1024 * 1024;

/// A header with figures and no tensors but one, so that it counts as a model.
fn header(architecture: &str, vocabulary: u64, figures: &[(&str, u64)]) -> Header {
    let mut metadata: BTreeMap<String, Value> = figures
        .iter()
        .map(|(suffix, value)| (format!("{architecture}.{suffix}"), Value::Unsigned(*value)))
        .collect();
    metadata.insert("general.architecture".into(), Value::String(architecture.into()));
    let tokens = Array { element: ElementType::String, len: vocabulary, place: 0..0, kept: None };
    metadata.insert("tokenizer.ggml.tokens".into(), Value::Array(tokens));
    let tensor = Tensor {
        name: "output_norm.weight".into(),
        dimensions: [8, 1, 1, 1],
        kind: TensorType::F32,
        offset: 0,
        bytes: 32,
    };
    Header { version: 3, metadata, tensors: vec![tensor], alignment: 32, data_offset: 0 }
}

/// Layers, width, heads, heads of keys and values, width of a head, feed-forward width.
fn decoder(architecture: &str, vocabulary: u64, figures: [u64; 6], more: &[(&str, u64)]) -> Header {
    let [layers, width, heads, heads_kv, head_width, feed_forward] = figures;
    let mut all = vec![
        ("block_count", layers),
        ("context_length", 32_768),
        ("embedding_length", width),
        ("attention.head_count", heads),
        ("attention.head_count_kv", heads_kv),
        ("attention.key_length", head_width),
        ("attention.value_length", head_width),
        ("feed_forward_length", feed_forward),
    ];
    all.extend(more);
    header(architecture, vocabulary, &all)
}

fn qwen3_30b_a3b() -> Header {
    let experts =
        [("expert_count", 128), ("expert_used_count", 8), ("expert_feed_forward_length", 768)];
    decoder("qwen3moe", 151_936, [48, 2048, 32, 4, 128, 6144], &experts)
}

fn qwen3_32b() -> Header {
    decoder("qwen3", 151_936, [64, 5120, 64, 8, 128, 25_600], &[])
}

fn qwen3_8b() -> Header {
    decoder("qwen3", 151_936, [36, 4096, 32, 8, 128, 12_288], &[])
}

fn mistral_7b() -> Header {
    decoder("llama", 32_768, [32, 4096, 32, 8, 128, 14_336], &[])
}

fn qwen1_5_7b() -> Header {
    decoder("qwen2", 151_936, [32, 4096, 32, 32, 128, 11_008], &[])
}

fn gemma_3_12b() -> Header {
    let window = [("attention.sliding_window", 1024)];
    decoder("gemma3", 262_208, [48, 3840, 16, 8, 256, 15_360], &window)
}

fn qwen3_6_27b() -> Header {
    let figures = [
        ("nextn_predict_layers", 1),
        ("full_attention_interval", 4),
        ("ssm.conv_kernel", 4),
        ("ssm.state_size", 128),
        ("ssm.group_count", 16),
        ("ssm.inner_size", 6144),
    ];
    decoder("qwen35", 248_320, [65, 5120, 24, 4, 256, 17_408], &figures)
}

fn layout(context_tokens: u32) -> Layout {
    Layout { context_tokens, sequences_max: 1, step_tokens_max: 512 }
}

#[test]
fn caches_are_to_the_byte_what_llama_cpp_lays_out() {
    for (name, header, at_4096, at_32768) in [
        ("qwen3-30b-a3b", qwen3_30b_a3b(), 402_653_184, 3_221_225_472),
        ("qwen3-32b", qwen3_32b(), 1_073_741_824, 8_589_934_592),
        ("qwen3-8b", qwen3_8b(), 603_979_776, 4_831_838_208),
        ("mistral-7b", mistral_7b(), 536_870_912, 4_294_967_296),
        ("qwen1.5-7b", qwen1_5_7b(), 2_147_483_648, 17_179_869_184_u64),
        ("gemma-3-12b", gemma_3_12b(), 771_751_936, 2_650_800_128),
    ] {
        for (context, expected) in [(4096, at_4096), (32_768, at_32768)] {
            let footprint = predict_with(&header, &layout(context), Windows::Sliding);
            let caches = footprint.bytes_of(CACHE) + footprint.bytes_of(WINDOW_CACHE);
            assert_eq!(caches, expected, "{name} at {context}");
        }
    }
}

#[test]
fn whole_windows_cost_as_much_as_full_layers() {
    let footprint = predict(&gemma_3_12b(), &layout(32_768));
    assert_eq!(footprint.bytes_of(CACHE), 8 * 2 * 8 * 256 * 2 * 32_768);
    assert_eq!(footprint.bytes_of(WINDOW_CACHE), 40 * 2 * 8 * 256 * 2 * 32_768);
}

#[test]
fn hybrids_have_few_caches_and_a_state_for_each_sequence() {
    let four = Layout { sequences_max: 4, ..layout(262_144) };
    let footprint = predict(&qwen3_6_27b(), &four);
    assert_eq!(footprint.bytes_of(CACHE), 16_384 * MIB);
    assert_eq!(footprint.bytes_of(RECURRENT), 4 * 156_893_184);
}

#[test]
fn latent_attention_caches_one_vector_a_token() {
    let figures = [("attention.key_length_mla", 192), ("attention.value_length_mla", 128)];
    let mut deepseek = decoder("deepseek2", 129_280, [61, 7168, 128, 1, 576, 18_432], &figures);
    deepseek.metadata.insert("deepseek2.attention.value_length".into(), Value::Unsigned(512));
    assert_eq!(predict(&deepseek, &layout(4096)).bytes_of(CACHE), 70_272 * 4096);
}

#[test]
fn layers_without_heads_have_no_cache_and_shared_ones_do_not_count() {
    let mut jamba = decoder(
        "jamba",
        65_536,
        [4, 4096, 32, 8, 128, 14_336],
        &[("ssm.conv_kernel", 4), ("ssm.state_size", 16), ("ssm.inner_size", 8192)],
    );
    let heads = [0, 8, 0, 0].map(Value::Signed).to_vec();
    let heads = Array { element: ElementType::I32, len: 4, place: 0..0, kept: Some(heads) };
    jamba.metadata.insert("jamba.attention.head_count_kv".into(), Value::Array(heads));
    let footprint = predict(&jamba, &layout(4096));
    assert_eq!(footprint.bytes_of(CACHE), 8 * 256 * 2 * 4096);
    assert_eq!(footprint.bytes_of(RECURRENT), 3 * (3 * 8192 + 16 * 8192) * 4);

    // 35 layers, 20 with a cache, of which every fifth sees everything.
    let window = [("attention.sliding_window", 512)];
    let gemma3n = decoder("gemma3n", 262_144, [35, 2048, 8, 2, 256, 16_384], &window);
    let footprint = predict_with(&gemma3n, &layout(4096), Windows::Sliding);
    assert_eq!(footprint.bytes_of(CACHE), 32 * MIB);
    assert_eq!(footprint.bytes_of(WINDOW_CACHE), 32 * MIB);
}

/// What the pinned llama.cpp laid out on a CPU without allocating (`no_alloc`), in hundredths of a
/// MiB: sequences, outputs 64, steps of 512 tokens.
#[test]
fn compute_buffers_are_never_below_what_was_laid_out_and_little_above() {
    let qwen3_0_6b = decoder("qwen3", 151_936, [28, 1024, 16, 8, 128, 3072], &[]);
    let llama_8b = decoder("llama", 128_256, [32, 4096, 32, 8, 128, 14_336], &[]);
    let deepseek = decoder("llama", 32_256, [24, 2048, 16, 16, 128, 5504], &[]);
    let window = [("attention.sliding_window", 512)];
    let gemma_1b = decoder("gemma3", 262_144, [26, 1152, 4, 1, 256, 6912], &window);
    for (name, header, at_8192, at_32768) in [
        ("qwen3-0.6b", qwen3_0_6b, 5522, 6014),
        ("qwen3-8b", qwen3_8b(), 12_072, 14_430),
        ("qwen3-32b", qwen3_32b(), 20_924, 23_247),
        ("qwen3-30b-a3b", qwen3_30b_a3b(), 9658, 12_025),
        ("llama-3.1-8b", llama_8b, 13_279, 15_632),
        ("deepseek-coder-1.3b", deepseek, 6062, 8443),
        ("gemma-3-1b", gemma_1b, 9144, 11_600),
        ("gemma-3-12b", gemma_3_12b(), 14_437, 19_190),
    ] {
        for (context, sequences_max, laid_out) in [(8192, 5, at_8192), (32_768, 9, at_32768)] {
            let layout = Layout { sequences_max, ..layout(context) };
            let predicted = predict(&header, &layout).bytes_of(COMPUTE) * 100 / MIB;
            assert!(predicted >= laid_out, "{name} at {context}: {predicted} < {laid_out}");
            assert!(predicted <= laid_out + 3000, "{name} at {context}: {predicted} > {laid_out}");
        }
    }
}

#[test]
fn encoders_keep_nothing_and_compute_in_little() {
    let mut figures = header(
        "bert",
        30_522,
        &[
            ("block_count", 6),
            ("context_length", 512),
            ("embedding_length", 384),
            ("attention.head_count", 12),
            ("feed_forward_length", 1536),
            ("pooling_type", 1),
        ],
    );
    figures.metadata.insert("bert.attention.causal".into(), Value::Bool(false));
    let footprint = predict(&figures, &Layout { sequences_max: 64, ..layout(512) });
    assert_eq!(footprint.bytes_of(CACHE), 0);
    // 7.39 MiB were laid out.
    let compute = footprint.bytes_of(COMPUTE);
    assert!((7 * MIB + 400_000..13 * MIB).contains(&compute), "{compute}");
    // A longer context is a longer step: 418.19 MiB were laid out.
    for (suffix, value) in
        [("block_count", 24), ("embedding_length", 1024), ("feed_forward_length", 4096)]
    {
        figures.metadata.insert(format!("bert.{suffix}"), Value::Unsigned(value));
    }
    let compute = predict(&figures, &layout(8192)).bytes_of(COMPUTE);
    assert!((419 * MIB..440 * MIB).contains(&compute), "{compute}");
}

#[test]
fn a_hostile_header_saturates() {
    let huge = u64::from(u32::MAX);
    let header = decoder("llama", huge, [512, huge, huge, huge, huge, huge], &[]);
    let footprint = predict(&header, &layout(u32::MAX));
    assert_eq!(footprint.total_bytes(), u64::MAX);
    assert!(footprint.items.iter().all(|item| !item.why.is_empty()));
}

#[test]
fn weights_are_the_file_and_every_item_says_why() {
    let footprint = predict(&qwen3_8b(), &layout(4096));
    assert_eq!(footprint.bytes_of(WEIGHTS), 32);
    let sum: u64 = footprint.items.iter().map(|item| item.bytes).sum();
    assert_eq!(footprint.total_bytes(), sum);
    let cache = footprint.items.iter().find(|item| item.what == CACHE).unwrap();
    assert_eq!(cache.why, "36 layers, 147456 bytes a token in all of them, 4096 cells");
}
