//! Compute buffers beside what llama.cpp laid out without allocating (`no_alloc`).

use super::*;

fn compute_on(footprint: &Footprint, device: Device) -> u64 {
    let items = footprint.items.iter().filter(|item| item.what == COMPUTE);
    items.filter(|item| item.device == device).map(|item| item.bytes).sum()
}

/// The pinned build on a CPU, in hundredths of a MiB: outputs 64, steps of 512 tokens.
#[test]
fn on_a_processor_they_are_what_was_laid_out() {
    let qwen3_0_6b = decoder("qwen3", 151_936, [28, 1024, 16, 8, 128, 3072], &[]);
    let llama_8b = decoder("llama", 128_256, [32, 4096, 32, 8, 128, 14_336], &[]);
    let deepseek = decoder("llama", 32_256, [24, 2048, 16, 16, 128, 5504], &[]);
    let window = [("attention.sliding_window", 512)];
    let gemma_1b = decoder("gemma3", 262_144, [26, 1152, 4, 1, 256, 6912], &window);
    for (name, header, at_8192, at_32768) in [
        ("qwen3-0.6b", qwen3_0_6b, 5522_u64, 6014_u64),
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
            let predicted = predict(&header, &layout).bytes_of(COMPUTE);
            // The figures were printed in hundredths, so they may be off by half of one.
            let difference = predicted.abs_diff(laid_out * MIB / 100);
            assert!(difference <= MIB / 100, "{name} at {context}: {predicted} for {laid_out}");
        }
    }
}

#[test]
fn on_a_gpu_they_are_what_was_laid_out() {
    let rows = golden();
    let mut exact = 0;
    for row in &rows {
        let companions = Companions::default();
        let footprint = predict_by(Build::August2026, &row.header(), &row.layout, &companions);
        assert_eq!(compute_on(&footprint, Device::Ram), row.ram_compute, "{}", row.name);
        let predicted = compute_on(&footprint, Device::Gpu);
        let share = predicted as f64 / row.gpu_compute as f64;
        assert!((0.98..=1.02).contains(&share), "{} {:?}: {predicted}", row.name, row.layout);
        exact += usize::from(predicted == row.gpu_compute);
    }
    assert!(rows.is_empty() || exact >= 45, "{exact} of {}", rows.len());
}

/// What the pinned build lays out differs from August's where a quantized cache is padded.
#[test]
fn the_pinned_build_is_close_to_august_on_a_gpu() {
    for row in golden() {
        let predicted = compute_on(&predict(&row.header(), &row.layout), Device::Gpu);
        let share = predicted as f64 / row.gpu_compute as f64;
        assert!((0.89..=1.02).contains(&share), "{} {:?}: {predicted}", row.name, row.layout);
    }
}

/// Logs of Qwen3.5-9B on an M5 Pro (ggml-org/llama.cpp, build 10662): 501.00 MiB when every token
/// may have logits, at any context.
#[test]
fn hybrids_on_a_gpu_are_what_was_logged() {
    for context in [8192, 65_536] {
        let layout = Layout { output_rows_max: 512, place: Place::SharedGpu, ..layout(context) };
        let predicted = compute_on(&predict(&qwen3_5_9b(), &layout), Device::Gpu);
        assert_eq!(predicted, 501 * MIB, "at {context}");
    }
}

/// Measured with the pinned build: 7.39 MiB, and 418.19 MiB.
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
    let compute = footprint.bytes_of(COMPUTE);
    assert!(compute.abs_diff(739 * MIB / 100) <= MIB / 100, "{compute}");
    // A longer context is a longer step.
    for (suffix, value) in
        [("block_count", 24), ("embedding_length", 1024), ("feed_forward_length", 4096)]
    {
        figures.metadata.insert(format!("bert.{suffix}"), Value::Unsigned(value));
    }
    let compute = predict(&figures, &layout(8192)).bytes_of(COMPUTE);
    assert!(compute.abs_diff(41_819 * MIB / 100) <= MIB / 100, "{compute}");
}

/// Scores of all heads are what flash attention saves.
#[test]
fn without_flash_attention_scores_are_kept() {
    let fused = layout(16_384);
    let unfused = Layout { flash_attention: false, ..fused };
    let llama_8b = decoder("llama", 128_256, [32, 4096, 32, 8, 128, 14_336], &[]);
    let scores = 4 * 512 * 16_384 * 32;
    let with = predict(&llama_8b, &fused).bytes_of(COMPUTE);
    let without = predict(&llama_8b, &unfused).bytes_of(COMPUTE);
    assert!((scores..scores + 200 * MIB).contains(&without), "{with} {without}");
}

/// A model as if nobody had heard of its architecture.
fn unheard_of(header: &Header) -> Header {
    let known = format!("{}.", header.architecture());
    let mut header = header.clone();
    header.metadata = std::mem::take(&mut header.metadata)
        .into_iter()
        .map(|(key, value)| match key.strip_prefix(&known) {
            Some(suffix) => (format!("unheard-of.{suffix}"), value),
            None => (key, value),
        })
        .collect();
    let name = Value::String("unheard-of".to_owned());
    header.metadata.insert("general.architecture".to_owned(), name);
    header
}

/// What is laid out exactly for hybrids that are known is what the bound must not fall below for
/// one that is not.
#[test]
fn an_unknown_hybrid_is_bounded_with_its_states() {
    let mut hybrids = 0;
    for entry in crate::catalogue::builtin().entries() {
        let Ok(header) = entry.header("Q4_K_M") else { continue };
        if header.arch("ssm.state_size").is_none() {
            continue;
        }
        hybrids += 1;
        let unknown = unheard_of(&header);
        for place in [Place::Processor, Place::SharedGpu, Place::DiscreteGpu] {
            for (context, sequences_max) in [(2048, 1), (16_384, 9), (65_536, 64)] {
                let layout = Layout { place, sequences_max, ..layout(context) };
                let (exact, bound) = (predict(&header, &layout), predict(&unknown, &layout));
                assert!(exact.certain && !bound.certain, "{}", entry.name);
                for what in [WEIGHTS, CACHE, RECURRENT, COMPUTE] {
                    let [exact, bound] = [&exact, &bound].map(|one| one.bytes_of(what));
                    let name = &entry.name;
                    assert!(bound >= exact, "{name} {what} {layout:?}: {bound} < {exact}");
                }
            }
        }
    }
    assert!(hybrids >= 4, "{hybrids}");
}

/// By its tensors, the second layer attends and the others may carry a state.
#[test]
fn layers_of_an_unknown_hybrid_carry_a_state_unless_they_only_attend() {
    let figures = [
        ("block_count", 4),
        ("context_length", 4096),
        ("embedding_length", 64),
        ("attention.head_count", 4),
        ("ssm.conv_kernel", 4),
        ("ssm.inner_size", 128),
        ("ssm.state_size", 16),
        ("ssm.group_count", 2),
    ];
    let mut figures = header("unheard-of", 1000, &figures);
    let tensor = |name: &str| Tensor {
        name: name.to_owned(),
        dimensions: [64, 1, 1, 1],
        kind: TensorType::F32,
        offset: 0,
        bytes: 256,
    };
    let of_one_layer = 4 * (3 * (128 + 2 * 2 * 16) + 128 * 16);
    let state = |header: &Header| predict(header, &layout(4096)).bytes_of(RECURRENT);
    // Without tensors nothing can be ruled out.
    assert_eq!(state(&figures), 4 * of_one_layer);
    let names = ["blk.0.ssm_in.weight", "blk.1.attn_q.weight", "blk.2.attn_norm.weight"];
    figures.tensors = names.map(tensor).into();
    figures.tensors.extend(["blk.3.attn_qkv.weight", "blk.3.ssm_conv1d.weight"].map(tensor));
    assert_eq!(state(&figures), 3 * of_one_layer);
    let footprint = predict(&figures, &layout(4096));
    // Who knows whether a layer that carries a state attends as well.
    assert_eq!(footprint.bytes_of(CACHE), 4 * 4 * (16 + 16) * 2 * 4096);
    assert!(!footprint.certain);
}
