//! Predictions for shapes of real models, beside what llama.cpp laid out for them: caches and states
//! here, compute buffers, weights and properties in their own files.

mod companions;
mod compute;
mod laid_out;
mod properties;
mod weights;

use std::{collections::BTreeMap, path::PathBuf};

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

/// Lines of the file of measurements.
const GOLDEN_ROWS: usize = 48;

/// The rows of a file of measurements beside the repository, or none where it is not.
#[expect(clippy::disallowed_methods, reason = "the test is the caller that reads the file")]
fn golden() -> Vec<Golden> {
    let folder = std::env::var_os("RESIDENT_SHARED_DIR").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let Ok(text) = std::fs::read_to_string(folder.join("reference/golden.csv")) else {
        println!("skipped: golden.csv is not in the test data folder (RESIDENT_SHARED_DIR)");
        return Vec::new();
    };
    let rows: Vec<Golden> = text.lines().map(Golden::parse).collect();
    assert_eq!(rows.len(), GOLDEN_ROWS, "a table that was cut proves nothing");
    rows
}

/// What llama.cpp of August 2026 laid out for a model on a GPU like Apple's, in bytes.
struct Golden {
    name: String,
    layout: Layout,
    gpu_weights: u64,
    gpu_cache: u64,
    gpu_compute: u64,
    ram_weights: u64,
    ram_compute: u64,
}

impl Golden {
    fn parse(line: &str) -> Self {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |place: usize| cells[place].parse().unwrap();
        let kind = CacheType::from_name(cells[3]).unwrap();
        let layout = Layout {
            keys: kind,
            values: kind,
            windows: Windows::Sliding,
            place: Place::SharedGpu,
            output_rows_max: if cells[4] == "nout=0" { 512 } else { 1 },
            ..Layout::new(cells[2].parse().unwrap(), 1)
        };
        Self {
            name: cells[0].to_owned(),
            layout,
            gpu_weights: number(5),
            gpu_cache: number(6),
            gpu_compute: number(7),
            ram_weights: number(8),
            ram_compute: number(10),
        }
    }

    fn header(&self) -> Header {
        match self.name.as_str() {
            "qwen3-30b-a3b" => qwen3_30b_a3b(),
            "qwen3-32b" => qwen3_32b(),
            "ds-r1-0528-qwen3-8b" => qwen3_8b(),
            "mistral-7b-v0.3" => mistral_7b(),
            "qwen1.5-7b-chat" => qwen1_5_7b(),
            "gemma-3-12b" => gemma_3_12b(),
            other => panic!("{other} is not known"),
        }
    }
}

/// Source: config.json of Qwen/Qwen3.5-9B (Hugging Face).
fn qwen3_5_9b() -> Header {
    let figures = [
        ("full_attention_interval", 4),
        ("ssm.conv_kernel", 4),
        ("ssm.state_size", 128),
        ("ssm.group_count", 16),
        ("ssm.time_step_rank", 32),
        ("ssm.inner_size", 4096),
    ];
    decoder("qwen35", 248_320, [32, 4096, 16, 4, 256, 12_288], &figures)
}

fn layout(context_tokens: u32) -> Layout {
    Layout::new(context_tokens, 1)
}

fn sliding(context_tokens: u32) -> Layout {
    Layout { windows: Windows::Sliding, ..layout(context_tokens) }
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
            let footprint = predict(&header, &sliding(context));
            let caches = footprint.bytes_of(CACHE) + footprint.bytes_of(WINDOW_CACHE);
            assert_eq!(caches, expected, "{name} at {context}");
        }
    }
}

#[test]
fn caches_of_all_published_rows_are_to_the_byte() {
    for row in golden() {
        let footprint = predict(&row.header(), &row.layout);
        let caches = footprint.bytes_of(CACHE) + footprint.bytes_of(WINDOW_CACHE);
        assert_eq!(caches, row.gpu_cache, "{} {:?}", row.name, row.layout);
    }
}

#[test]
fn what_sequences_leave_behind_goes_by_their_layers() {
    for (model, expected) in [
        ("qwen3-8b", Left::Cells),
        ("gemma-3-12b", Left::Cells),
        ("deepseek-v2-lite", Left::Cells),
        ("qwen3.6-27b", Left::CellsAndState),
        ("falcon-h1-7b", Left::CellsAndState),
        ("mamba2-1.3b", Left::State),
        ("bge-m3", Left::Nothing),
    ] {
        let entry = crate::catalogue::builtin().find(model).unwrap();
        assert_eq!(left(&entry.header("Q8_0").unwrap()), expected, "{model}");
    }
}

#[test]
fn every_cache_type_takes_its_blocks() {
    // Numbers of a block of 32, and its bytes in llama.cpp's ggml-common.h.
    for (name, bytes_of_32) in [
        ("f32", 128),
        ("f16", 64),
        ("bf16", 64),
        ("q8_0", 34),
        ("q5_1", 24),
        ("q5_0", 22),
        ("q4_1", 20),
        ("q4_0", 18),
        ("iq4_nl", 18),
    ] {
        let kind = CacheType::from_name(name).unwrap();
        assert_eq!(kind.name(), name);
        let layout = Layout { keys: kind, values: kind, ..layout(4096) };
        let expected = 36 * 2 * 8 * 128 / 32 * bytes_of_32 * 4096;
        assert_eq!(predict(&qwen3_8b(), &layout).bytes_of(CACHE), expected, "{name}");
    }
    assert_eq!(CacheType::from_name("Q8_0"), Ok(CacheType::Q8_0));
    for kind in CacheType::ALL {
        assert_eq!(CacheType::from_name(kind.name()), Ok(kind));
    }
    assert_eq!(
        CacheType::from_name("q6_K").unwrap_err(),
        "'q6_K' is no type of cache; use f32, f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0, iq4_nl"
    );
}

#[test]
fn without_flash_attention_values_are_padded_to_the_widest_layer() {
    let mut deci = decoder("deci", 128_256, [2, 4096, 32, 8, 128, 14_336], &[]);
    let heads = [4, 8].map(Value::Signed).to_vec();
    let heads = Array { element: ElementType::I32, len: 2, place: 0..0, kept: Some(heads) };
    deci.metadata.insert("deci.attention.head_count_kv".into(), Value::Array(heads));
    let fused = layout(4096);
    let bytes = |layout| predict(&deci, &layout).bytes_of(CACHE);
    assert_eq!(bytes(fused), (4 + 8) * 256 * 2 * 4096);
    let unfused = Layout { flash_attention: false, ..fused };
    assert_eq!(bytes(unfused), ((4 + 8) * 128 + 2 * 8 * 128) * 2 * 4096);
}

#[test]
fn what_llama_cpp_refuses_is_refused_with_a_way_out() {
    let small = Layout { keys: CacheType::Q8_0, values: CacheType::Q8_0, ..layout(4096) };
    assert_eq!(check(&qwen3_8b(), &small), Ok(()));
    let unfused = Layout { flash_attention: false, ..small };
    let message = check(&qwen3_8b(), &unfused).unwrap_err().to_string();
    assert!(message.contains("q8_0") && message.contains("switch it on"), "{message}");
    let mixed = Layout { keys: CacheType::F16, place: Place::SharedGpu, ..small };
    let message = check(&qwen3_8b(), &mixed).unwrap_err().to_string();
    assert!(message.contains("f16") && message.contains("choose the same"), "{message}");
    let odd = decoder("phi2", 51_200, [32, 2560, 32, 32, 80, 10_240], &[]);
    let message = check(&odd, &small).unwrap_err().to_string();
    assert!(message.contains("80") && message.contains("layer 0"), "{message}");
}

#[test]
fn an_unknown_architecture_gets_a_bound_that_says_so() {
    let known =
        predict(&decoder("llama", 32_000, [32, 4096, 32, 8, 128, 14_336], &[]), &layout(4096));
    let figures = [("attention.sliding_window", 512), ("ssm.state_size", 16)];
    let strange = decoder("not-yet-made", 32_000, [32, 4096, 32, 8, 128, 14_336], &figures);
    let strange = predict(&strange, &layout(4096));
    assert!(known.certain && !strange.certain);
    assert!(strange.bytes_of(CACHE) >= known.bytes_of(CACHE));
    assert!(strange.bytes_of(COMPUTE) >= known.bytes_of(COMPUTE));
    let compute = strange.items.iter().find(|item| item.what == COMPUTE).unwrap();
    assert!(compute.why.contains("upper bound"), "{}", compute.why);
}

#[test]
fn states_of_other_families_are_to_the_byte() {
    // LFM2: 16 layers, of which six attend; two tokens of 2,048 numbers are kept in the others.
    let mut lfm2 =
        decoder("lfm2", 65_536, [16, 2048, 32, 8, 64, 8192], &[("shortconv.l_cache", 3)]);
    let attends = [2, 5, 8, 10, 12, 14];
    let heads = (0..16).map(|layer| Value::Signed(if attends.contains(&layer) { 8 } else { 0 }));
    let heads =
        Array { element: ElementType::I32, len: 16, place: 0..0, kept: Some(heads.collect()) };
    lfm2.metadata.insert("lfm2.attention.head_count_kv".into(), Value::Array(heads));
    let footprint = predict(&lfm2, &Layout::new(4096, 2));
    assert_eq!(footprint.bytes_of(RECURRENT), 10 * 2 * 2048 * 4 * 2);
    assert_eq!(footprint.bytes_of(CACHE), 6 * 8 * 128 * 2 * 4096);
    // RWKV 7: two shifted tokens, and heads of 64 squared.
    let rwkv = header(
        "rwkv7",
        65_536,
        &[("block_count", 12), ("embedding_length", 768), ("wkv.head_size", 64)],
    );
    let footprint = predict(&rwkv, &layout(4096));
    assert_eq!(footprint.bytes_of(RECURRENT), 12 * (2 * 768 + 768 * 64) * 4);
    assert_eq!(footprint.bytes_of(CACHE), 0);
    // Qwen3.5-9B logs 50.25 MiB (ggml-org/llama.cpp on an M5 Pro, build 10662).
    assert_eq!(predict(&qwen3_5_9b(), &layout(8192)).bytes_of(RECURRENT), 201 * MIB / 4);
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
    let footprint = predict(&gemma3n, &sliding(4096));
    assert_eq!(footprint.bytes_of(CACHE), 32 * MIB);
    assert_eq!(footprint.bytes_of(WINDOW_CACHE), 32 * MIB);
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
    assert_eq!(cache.why, "36 layers × 8 heads × (128 + 128) × 2 bytes (f16) × 4,096 cells");
}

#[test]
fn models_that_write_have_room_for_constrained_answers() {
    let footprint = predict(&qwen3_8b(), &layout(4096));
    assert_eq!(footprint.bytes_of(CONSTRAINED), 151_936 * 500);
    let item = footprint.items.iter().find(|item| item.what == CONSTRAINED).unwrap();
    assert!(item.why.starts_with("151,936 tokens × 500 bytes"), "{}", item.why);
    let vectors = [("pooling_type", 3)];
    let embedder = decoder("qwen3", 151_936, [36, 4096, 32, 8, 128, 12_288], &vectors);
    assert_eq!(predict(&embedder, &layout(4096)).bytes_of(CONSTRAINED), 0);
}

#[test]
fn a_gpu_without_a_kernel_for_the_heads_computes_scores() {
    let on_gpu = Layout { place: Place::SharedGpu, ..layout(8192) };
    let heads_of = |width| decoder("llama", 32_000, [40, 5120, 32, 8, width, 13_824], &[]);
    let compute = |header: &Header, layout: &Layout| predict(header, layout).bytes_of(COMPUTE);
    let strange = heads_of(160);
    let unfused = Layout { flash_attention: false, ..on_gpu };
    assert_eq!(compute(&strange, &on_gpu), compute(&strange, &unfused));
    // A score for each head, token of the step and cell, which fused attention does not keep.
    assert!(compute(&strange, &on_gpu) >= 32 * 512 * 8192 * 4);
    assert!(compute(&heads_of(128), &on_gpu) < 32 * 512 * 8192 * 4);
    // A processor has it for all heads.
    assert!(compute(&strange, &layout(8192)) < 32 * 512 * 8192 * 4);
    let quantized = Layout { keys: CacheType::Q8_0, values: CacheType::Q8_0, ..on_gpu };
    assert_eq!(
        check(&strange, &quantized),
        Err(Refusal::QuantizedValues { values: CacheType::Q8_0 })
    );
    assert_eq!(check(&heads_of(128), &quantized), Ok(()));
}
