//! What holds of every footprint, whatever the header says.

use proptest::prelude::*;

use super::*;

/// Every architecture with a graph of its own, one without, and one that is not known at all.
const ARCHITECTURES: [&str; 20] = [
    "llama",
    "qwen2",
    "qwen2moe",
    "qwen3",
    "qwen3moe",
    "qwen3vl",
    "gemma2",
    "gemma3",
    "gemma3n",
    "gemma4",
    "phi3",
    "gpt-oss",
    "deepseek2",
    "qwen35",
    "qwen35moe",
    "mamba2",
    "falcon-h1",
    "bert",
    "falcon",
    "unheard-of",
];

fn places() -> impl Strategy<Value = Place> {
    prop_oneof![Just(Place::Processor), Just(Place::SharedGpu), Just(Place::DiscreteGpu)]
}

/// Figures of a model that could be.
fn plausible() -> impl Strategy<Value = Header> {
    let figures = (1..5_u64, 1..5_u64, 0..4_u64, 1..9_u64, 0..3_u64);
    (0..ARCHITECTURES.len(), figures).prop_map(|(which, (layers, wide, groups, inner, experts))| {
        let heads = 4 << groups.min(2);
        decoder(
            ARCHITECTURES[which],
            1000,
            [layers, wide * 256, heads, 4, 64, inner * 256],
            &[
                ("attention.sliding_window", 512),
                ("expert_count", experts * 4),
                ("expert_used_count", experts),
                ("expert_feed_forward_length", 128),
                ("ssm.conv_kernel", 4),
                ("ssm.state_size", 64),
                ("ssm.group_count", 4),
                ("ssm.time_step_rank", 4),
                ("ssm.inner_size", 256),
                ("attention.kv_lora_rank", 128),
                ("attention.key_length_mla", 96),
                ("attention.value_length_mla", 64),
                ("rope.dimension_count", 32),
                ("embedding_length_per_layer_input", 64),
            ],
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn more_context_or_sequences_never_need_less(
        header in plausible(),
        place in places(),
        flash_attention: bool,
        context in 1_u32..20_000,
        more in 0_u32..20_000,
        sequences in 1_u32..20,
    ) {
        let base = Layout { place, flash_attention, ..Layout::new(context, sequences) };
        let longer = Layout { context_tokens: context + more, ..base };
        let total = |layout: &Layout| predict(&header, layout).total_bytes();
        prop_assert!(total(&longer) >= total(&base));
        // A step is rounded to whole tokens of each sequence, so only what is kept is compared.
        let wider = Layout { sequences_max: sequences + 1, ..base };
        let kept = |layout: &Layout| {
            let footprint = predict(&header, layout);
            [CACHE, WINDOW_CACHE, RECURRENT].iter().map(|what| footprint.bytes_of(what)).sum::<u64>()
        };
        prop_assert!(kept(&wider) >= kept(&base));
    }

    #[test]
    fn smaller_cache_types_and_windows_never_need_more(
        header in plausible(),
        context in 1_u32..50_000,
    ) {
        let kept = |layout: &Layout| {
            let footprint = predict(&header, layout);
            footprint.bytes_of(CACHE) + footprint.bytes_of(WINDOW_CACHE)
        };
        let sizes: Vec<u64> = CacheType::ALL
            .into_iter()
            .map(|kind| kept(&Layout { keys: kind, values: kind, ..Layout::new(context, 1) }))
            .collect();
        prop_assert!(sizes.is_sorted_by(|wide, narrow| wide >= narrow), "{sizes:?}");
        let base = Layout::new(context, 4);
        let sliding = Layout { windows: Windows::Sliding, ..base };
        prop_assert!(kept(&sliding) <= kept(&base));
    }

    #[test]
    fn hostile_figures_neither_panic_nor_hang(
        which in 0..ARCHITECTURES.len(),
        figures in prop::collection::vec(prop_oneof![0_u64..5, any::<u64>(), Just(u64::MAX)], 20),
        layers in 0_u64..=512,
        context: u32,
        sequences: u32,
        step: u32,
        flash_attention: bool,
        place in places(),
    ) {
        let names = [
            "embedding_length", "attention.head_count", "attention.head_count_kv",
            "attention.key_length", "attention.value_length", "feed_forward_length",
            "attention.sliding_window", "expert_count", "expert_used_count",
            "expert_feed_forward_length", "ssm.conv_kernel", "ssm.state_size", "ssm.group_count",
            "ssm.time_step_rank", "ssm.inner_size", "attention.kv_lora_rank",
            "attention.key_length_mla", "rope.dimension_count", "nextn_predict_layers",
            "embedding_length_per_layer_input",
        ];
        let mut all: Vec<(&str, u64)> = names.into_iter().zip(figures).collect();
        all.push(("block_count", layers));
        let header = header(ARCHITECTURES[which], u64::from(u32::MAX), &all);
        let layout = Layout {
            step_tokens_max: step,
            flash_attention,
            place,
            ..Layout::new(context, sequences)
        };
        let footprint = predict(&header, &layout);
        prop_assert!(footprint.items.iter().all(|item| !item.why.is_empty()));
        let _ = check(&header, &layout);
    }
}
