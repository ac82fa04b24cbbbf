//! The two yardstick machines, and what must hold for any machine and any models.

use proptest::prelude::*;

use super::*;
use crate::footprint::{CacheType, Layout, Place, WEIGHTS, predict};
use crate::gguf::{Header, Tensor};
use crate::machine::{GIB, Gpu, GpuBudget, Machine, Reserve, budget, known};
use crate::speed;
use crate::speed::shapes::{self, Types};

fn on_gpu(context_tokens: u32) -> Wanted<'static> {
    Wanted::alone(Layout { place: Place::SharedGpu, ..Layout::new(context_tokens, 1) })
}

fn small_mac() -> Budget {
    budget(&known("m4-16gb").unwrap(), &Reserve::default())
}

fn large_mac() -> Budget {
    budget(&known("m1-max-64gb").unwrap(), &Reserve::Bytes(16 * GIB))
}

fn ram(bytes: u64) -> Budget {
    Budget { bytes, gpu: GpuBudget::None, why: String::new() }
}

/// `header`'s shape with tensors of another size in all.
fn sized(header: &Header, data_bytes: u64) -> Header {
    let mut sized = header.clone();
    sized.tensors.retain(|tensor| tensor.name == "token_embd.weight");
    let rest = data_bytes - sized.tensor_bytes();
    sized.tensors.push(Tensor {
        name: "blk.0.ffn_down.weight".to_owned(),
        dimensions: [rest, 1, 1, 1],
        kind: shapes::kind("I8"),
        offset: sized.tensor_bytes(),
        bytes: rest,
    });
    sized
}

/// Sizes of what llama-quantize makes of the three large models at eight bits.
#[test]
fn made_shapes_have_the_size_of_the_real_models() {
    let q8_0 = Types::all("Q8_0");
    for (header, bytes) in [
        (shapes::qwen3_30b_a3b(&q8_0), 32_477_962_240_u64),
        (shapes::qwen3_32b(&q8_0), 34_811_744_256),
        (shapes::qwen3_6_27b(&q8_0), 28_584_769_536),
        (shapes::qwen3_8b(&q8_0), 8_703_561_728),
    ] {
        let found = header.tensor_bytes();
        assert!(found.abs_diff(bytes) * 1000 < bytes * 2, "{found} for {bytes}");
    }
}

#[test]
fn on_64_gb_each_large_model_at_8_bits_fits_alone_and_no_two_do() {
    let q8_0 = Types::all("Q8_0");
    let names = ["Qwen3-30B-A3B", "Qwen3.6-27B", "Qwen3-32B"];
    let headers =
        [shapes::qwen3_30b_a3b(&q8_0), shapes::qwen3_6_27b(&q8_0), shapes::qwen3_32b(&q8_0)];
    let (budget, wanted) = (large_mac(), on_gpu(32_768));
    let needs: Vec<Need> = headers
        .iter()
        .zip(names)
        .map(|(header, name)| {
            let judgement = judge_model(header, &wanted, &budget);
            println!("{name}: {}, {}", judgement.verdict.name(), judgement.why);
            assert!(judgement.verdict.is_at_least(Verdict::Fits), "{name}: {judgement:?}");
            Need::of(&predict(header, &wanted.layout))
        })
        .collect();
    let members: Vec<Member<'_>> = names
        .into_iter()
        .zip(&needs)
        .map(|(name, need)| Member { name, need: *need, pinned: false, group: None })
        .collect();
    let found = together(&members, &budget).unwrap();
    assert_eq!(found.sets, [[0], [1], [2]]);
    assert_eq!(found.turns, [(0, 1), (0, 2), (1, 2)]);
    assert!(found.promises.iter().all(|promise| promise.kept), "{found:?}");
    // The same with an embedder of 1.2 GB that is always there.
    let embedder = Need { ram_bytes: 0, gpu_bytes: 1_200_000_000 };
    let pinned = Member { name: "embedder", need: embedder, pinned: true, group: None };
    let with_embedder: Vec<Member<'_>> = members.into_iter().chain([pinned]).collect();
    let found = together(&with_embedder, &budget).unwrap();
    assert_eq!(found.sets, [[0, 3], [1, 3], [2, 3]]);
    assert!(found.promises.iter().all(|promise| promise.kept), "{found:?}");
}

/// Sizes of DeepSeek-R1-0528-Qwen3-8B's files: what llama-quantize gives, and the listing of
/// Unsloth's repository for those in a dynamic form.
const EIGHT_B: [(&str, u64); 9] = [
    ("Q2_K", 3_275_776_000),
    ("Q4_0", 4_768_792_576),
    ("Q4_K_M", 5_021_827_072),
    ("Q5_K_M", 5_845_155_840),
    ("Q6_K", 6_719_942_656),
    ("UD-Q6_K_XL", 7_490_000_000),
    ("Q8_0", 8_703_561_728),
    ("UD-Q8_K_XL", 10_800_000_000),
    ("BF16", 16_381_470_720),
];

fn eight_b() -> Vec<(&'static str, Header)> {
    let shape = shapes::qwen3_8b(&Types::q4_k_m());
    EIGHT_B.iter().map(|(name, bytes)| (*name, sized(&shape, *bytes))).collect()
}

#[test]
fn on_16_gb_the_8b_models_files_are_recommended_tight_or_too_large_in_this_order() {
    let budget = small_mac();
    for (context, expected) in [(8192, "CCCCCCCTX"), (16_384, "CCCCCCFXX"), (32_768, "CCCFFTXXX")] {
        let verdicts: String = eight_b()
            .iter()
            .map(|(name, header)| {
                let judgement = judge_model(header, &on_gpu(context), &budget);
                println!(
                    "{name:10} at {context:6}: {:12} {}",
                    judgement.verdict.name(),
                    judgement.why
                );
                match judgement.verdict {
                    Verdict::Comfortable => 'C',
                    Verdict::Fits => 'F',
                    Verdict::Tight => 'T',
                    Verdict::DoesNotFit => 'X',
                }
            })
            .collect();
        assert_eq!(verdicts, expected, "at {context}");
    }
}

#[test]
fn on_16_gb_the_best_8b_file_is_chosen_and_an_embedder_fits_beside_six_bits() {
    let files = eight_b();
    let candidates: Vec<Candidate<'_>> =
        files.iter().map(|(quantization, header)| Candidate { quantization, header }).collect();
    let chosen = |context| {
        let wanted = on_gpu(context);
        let choice = choose(&candidates, &wanted, &small_mac(), Verdict::Fits).unwrap();
        candidates[choice.index].quantization
    };
    assert_eq!(chosen(8192), "Q8_0");
    assert_eq!(chosen(32_768), "Q6_K");
    let six_bits = Need::of(&predict(&files[4].1, &on_gpu(8192).layout));
    let embedder = Need { ram_bytes: 0, gpu_bytes: 1_200_000_000 };
    let both = judge_need(&six_bits.and(embedder), &small_mac());
    assert!(both.verdict.is_at_least(Verdict::Fits), "{both:?}");
}

#[test]
fn what_does_not_fit_is_offered_smaller_caches_and_shorter_contexts() {
    let files = eight_b();
    let (_, q8_0) = &files[6];
    let wanted = on_gpu(32_768);
    assert_eq!(judge_model(q8_0, &wanted, &small_mac()).verdict, Verdict::DoesNotFit);
    let found = offers(q8_0, &wanted, &small_mac());
    let changes: Vec<Change> = found.iter().map(|offer| offer.change).collect();
    println!("{found:#?}");
    assert_eq!(changes[..2], [Change::Cache(CacheType::Q8_0), Change::Cache(CacheType::Q4_0)]);
    assert!(matches!(changes[2], Change::Context(8192..32_768)), "{changes:?}");
    assert_eq!(changes.len(), 3, "what smaller caches solve needs no shorter context as well");
    // Nothing helps 16 GB of weights, and what fits needs no help.
    assert_eq!(offers(&files[8].1, &wanted, &small_mac()), []);
    assert_eq!(offers(&files[2].1, &wanted, &small_mac()), []);
}

#[test]
fn gpu_limits_and_second_memories_are_kept_apart() {
    let need = Need { ram_bytes: 2 * GIB, gpu_bytes: 9 * GIB };
    let of = |gpu| judge_need(&need, &Budget { gpu, ..ram(12 * GIB) });
    assert_eq!(of(GpuBudget::None).needed_bytes, 11 * GIB);
    let within = of(GpuBudget::Within { bytes: 9 * GIB + 1 });
    assert_eq!((within.verdict, within.headroom_bytes), (Verdict::Tight, 1));
    assert!(within.why.contains("RAM that the GPU may use"), "{}", within.why);
    assert_eq!(of(GpuBudget::Within { bytes: 8 * GIB }).verdict, Verdict::DoesNotFit);
    let separate = of(GpuBudget::Separate { bytes: 11 * GIB });
    assert_eq!((separate.needed_bytes, separate.budget_bytes), (9 * GIB, 11 * GIB));
    let too_small = of(GpuBudget::Separate { bytes: 8 * GIB });
    assert_eq!(too_small.headroom_bytes, -i128::from(GIB));
    assert_eq!(too_small.why, "needs 9.0 GiB of GPU memory, but may have 8.0 GiB: 1.0 GiB too few");
}

#[test]
fn what_is_left_beside_others_is_what_fits_with_them() {
    let need = |ram_gib, gpu_gib| Need { ram_bytes: ram_gib * GIB, gpu_bytes: gpu_gib * GIB };
    let gpus = [
        GpuBudget::None,
        GpuBudget::Within { bytes: 9 * GIB },
        GpuBudget::Separate { bytes: 9 * GIB },
    ];
    for gpu in gpus {
        let budget = Budget { gpu, ..ram(12 * GIB) };
        let others = need(1, 3);
        for (ram_gib, gpu_gib) in (0..10).flat_map(|ram| (0..10).map(move |gpu| (ram, gpu))) {
            let wanted = need(ram_gib, gpu_gib);
            let beside = wanted.fits(&others.taken_from(&budget));
            assert_eq!(beside, wanted.and(others).fits(&budget), "{gpu:?} {wanted:?}");
        }
    }
}

#[test]
fn verdicts_change_at_their_thresholds() {
    let budget = ram(100 * GIB);
    for (needed_gib, verdict) in [
        (0, Verdict::Comfortable),
        (80, Verdict::Comfortable),
        (81, Verdict::Fits),
        (95, Verdict::Fits),
        (96, Verdict::Tight),
        (100, Verdict::Tight),
        (101, Verdict::DoesNotFit),
    ] {
        let need = Need { ram_bytes: needed_gib * GIB, gpu_bytes: 0 };
        assert_eq!(judge_need(&need, &budget).verdict, verdict, "{needed_gib}");
    }
    let nothing = judge_need(&Need { ram_bytes: 1, gpu_bytes: 0 }, &ram(0));
    assert_eq!(nothing.verdict, Verdict::DoesNotFit);
    let most = Need { ram_bytes: u64::MAX, gpu_bytes: u64::MAX };
    assert_eq!(judge_need(&most, &budget).verdict, Verdict::DoesNotFit);
}

#[test]
fn unknown_architectures_are_judged_by_a_bound_that_says_so() {
    let mut header = shapes::qwen3_8b(&Types::q4_k_m());
    for (key, value) in header.metadata.clone() {
        header.metadata.insert(key.replace("qwen3.", "mystery."), value);
    }
    let name = crate::gguf::Value::String("mystery".to_owned());
    header.metadata.insert("general.architecture".to_owned(), name);
    let judgement = judge_model(&header, &on_gpu(4096), &large_mac());
    assert!(judgement.why.contains("upper bound"), "{}", judgement.why);
}

fn member<'a>(name: &'a str, gib: u64, pinned: bool, group: Option<&'a str>) -> Member<'a> {
    Member { name, need: Need { ram_bytes: gib * GIB, gpu_bytes: 0 }, pinned, group }
}

#[test]
fn a_configuration_that_cannot_keep_its_promises_says_which_and_why() {
    let members = [
        member("embedder", 2, true, None),
        member("small", 8, false, Some("large ones")),
        member("large", 11, false, Some("large ones")),
        member("huge", 13, false, None),
    ];
    let found = together(&members, &ram(12 * GIB)).unwrap();
    assert!(!found.all_at_once);
    assert_eq!(found.sets, [[0, 1]]);
    let kept: Vec<bool> = found.promises.iter().map(|promise| promise.kept).collect();
    assert_eq!(kept, [true, true, false, false]);
    assert!(found.promises[2].why.contains("not beside embedder (2.0 GiB)"), "{found:?}");
    assert!(found.promises[3].why.contains("not even alone"), "{found:?}");
}

#[test]
fn two_pinned_models_of_one_exclusive_group_contradict_each_other() {
    let group = Some("one at a time");
    let members =
        [member("a", 1, true, group), member("b", 1, true, group), member("c", 1, false, group)];
    let found = together(&members, &ram(12 * GIB)).unwrap();
    assert_eq!(found.sets, Vec::<Vec<usize>>::new());
    for promise in &found.promises {
        assert!(!promise.kept && promise.why.contains("one at a time"), "{promise:?}");
    }
    // Without the second pin the first stays, and the third can never come.
    let members = [members[0].clone(), members[2].clone(), member("free", 1, false, None)];
    let found = together(&members, &ram(12 * GIB)).unwrap();
    let kept: Vec<bool> = found.promises.iter().map(|promise| promise.kept).collect();
    assert_eq!((kept, found.sets), (vec![true, false, true], vec![vec![0, 2]]));
}

#[test]
fn too_many_models_are_refused() {
    let members = vec![member("a", 1, false, None); MEMBERS_MAX + 1];
    assert_eq!(together(&members, &ram(GIB)), Err(TooMany { count: 17 }));
    let found = together(&members[1..], &ram(GIB)).unwrap();
    assert_eq!(found.sets.len(), MEMBERS_MAX);
}

fn any_shape() -> impl Strategy<Value = Header> {
    (0..4_usize, prop::sample::select(vec!["Q4_K_M", "Q8_0", "F16"])).prop_map(|(shape, types)| {
        let types = Types::named(types);
        match shape {
            0 => shapes::qwen3_8b(&types),
            1 => shapes::qwen3_30b_a3b(&types),
            2 => shapes::qwen3_6_27b(&types),
            _ => shapes::llama_2_7b(&types),
        }
    })
}

fn any_place() -> impl Strategy<Value = Place> {
    prop::sample::select(vec![Place::Processor, Place::SharedGpu, Place::DiscreteGpu])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn more_context_never_costs_less(
        header in any_shape(),
        place in any_place(),
        shorter in 1..262_144_u32,
        more in 0..65_536_u32,
        sequences in 1..9_u32,
    ) {
        let needs = |tokens| {
            let layout = Layout { place, ..Layout::new(tokens, sequences) };
            Need::of(&predict(&header, &layout))
        };
        let (less, longer) = (needs(shorter), needs(shorter + more));
        prop_assert!(longer.ram_bytes >= less.ram_bytes, "{longer:?} {less:?}");
        prop_assert!(longer.gpu_bytes >= less.gpu_bytes, "{longer:?} {less:?}");
    }

    #[test]
    fn the_longest_context_fits_and_the_next_does_not(
        header in any_shape(),
        place in any_place(),
        gib in 1..96_u64,
        at_least in prop::sample::select(vec![Verdict::Tight, Verdict::Fits, Verdict::Comfortable]),
    ) {
        let wanted = Wanted::alone(Layout { place, ..Layout::new(4096, 2) });
        let budget = ram(gib * GIB);
        let fits = |tokens| {
            let layout = Layout { context_tokens: tokens, ..wanted.layout };
            judge(&predict(&header, &layout), &budget).verdict.is_at_least(at_least)
        };
        let trained = u32::try_from(header.context_trained_tokens().unwrap()).unwrap();
        match longest_context(&header, &wanted, &budget, at_least) {
            Some(tokens) => {
                prop_assert!(tokens.is_multiple_of(256) && tokens <= trained && fits(tokens));
                prop_assert!(tokens + 256 > trained || !fits(tokens + 256));
            }
            None => prop_assert!(!fits(256)),
        }
    }

    #[test]
    fn the_choice_fits_and_everything_better_does_not(
        tokens in 1..131_072_u32,
        gib in 1..24_u64,
        kept in prop::collection::vec(any::<bool>(), 9),
        at_least in prop::sample::select(vec![Verdict::Tight, Verdict::Fits, Verdict::Comfortable]),
    ) {
        let files: Vec<_> =
            eight_b().into_iter().zip(kept).filter(|(_, kept)| *kept).map(|(file, _)| file).collect();
        let candidates: Vec<Candidate<'_>> =
            files.iter().map(|(quantization, header)| Candidate { quantization, header }).collect();
        let (wanted, budget) = (on_gpu(tokens), ram(gib * GIB));
        let total = |index: usize| predict(candidates[index].header, &wanted.layout).total_bytes();
        let left_percent = match at_least {
            Verdict::Comfortable => 20,
            Verdict::Fits => 5,
            Verdict::Tight | Verdict::DoesNotFit => 0,
        };
        let fits = |index: usize| total(index) * 100 <= gib * GIB * (100 - left_percent);
        let choice = choose(&candidates, &wanted, &budget, at_least);
        for index in ranked(&candidates) {
            if choice.as_ref().is_some_and(|choice| choice.index == index) {
                prop_assert!(fits(index));
                break;
            }
            prop_assert!(!fits(index));
        }
    }

    #[test]
    fn offers_fit_once_taken(header in any_shape(), tokens in 2048..262_144_u32, gib in 4..64_u64) {
        let wanted = on_gpu(tokens);
        let budget = ram(gib * GIB);
        for Offer { change, judgement } in offers(&header, &wanted, &budget) {
            let (cache, context_tokens) = match change {
                Change::Cache(cache) => (cache, tokens),
                Change::Context(context) => (CacheType::F16, context),
                Change::CacheAndContext(cache, context) => (cache, context),
            };
            prop_assert!(context_tokens <= tokens);
            let layout =
                Layout { keys: cache, values: cache, context_tokens, ..wanted.layout };
            prop_assert!(predict(&header, &layout).total_bytes() <= gib * GIB);
            prop_assert!(judgement.headroom_bytes >= 0);
            prop_assert!(predict(&header, &wanted.layout).total_bytes() > gib * GIB);
        }
    }

    /// Against sums made another way: by bits of a number, without groups of sets.
    #[test]
    fn sets_are_exactly_the_largest_that_fit(
        sizes in prop::collection::vec((1..12_u64, any::<bool>(), 0..4_usize), 0..8),
        gib in 1..24_u64,
    ) {
        let groups = ["one", "two"];
        let members: Vec<Member<'_>> = sizes
            .iter()
            .map(|(size, pinned, group)| {
                member("model", *size, *pinned && *size < 4, groups.get(*group).copied())
            })
            .collect();
        let found = together(&members, &ram(gib * GIB)).unwrap();
        let is_possible = |bits: u32| {
            let chosen = |place: usize| bits >> place & 1 == 1;
            let places: Vec<usize> = (0..members.len()).filter(|place| chosen(*place)).collect();
            let sum: u64 = places.iter().map(|place| sizes[*place].0).sum();
            let rivals = groups.iter().any(|group| {
                places.iter().filter(|place| members[**place].group == Some(group)).count() > 1
            });
            let pinned_left_out =
                (0..members.len()).any(|place| members[place].pinned && !chosen(place));
            sum <= gib && !rivals && !pinned_left_out
        };
        let possible: Vec<u32> =
            (1..1_u32 << members.len()).filter(|bits| is_possible(*bits)).collect();
        let largest: Vec<u32> = possible
            .iter()
            .filter(|bits| !possible.iter().any(|more| more != *bits && more & *bits == **bits))
            .copied()
            .collect();
        let mut got: Vec<u32> = found
            .sets
            .iter()
            .map(|set| set.iter().fold(0, |bits, place| bits | 1 << place))
            .collect();
        got.sort_unstable();
        prop_assert_eq!(&got, &largest);
        for (one, other) in &found.turns {
            let both = 1_u32 << one | 1 << other;
            prop_assert!(!possible.iter().any(|bits| bits & both == both));
        }
        for (place, promise) in found.promises.iter().enumerate() {
            let can = possible.iter().any(|bits| bits >> place & 1 == 1);
            let pinned_possible = !possible.is_empty();
            prop_assert!(!can || promise.kept, "{place}: {promise:?}");
            prop_assert!(can || !promise.kept || !pinned_possible, "{place}: {promise:?}");
        }
    }
}

#[test]
fn weights_of_a_sized_header_are_its_size() {
    let (_, header) = &eight_b()[4];
    let footprint = predict(header, &on_gpu(4096).layout);
    assert!(footprint.bytes_of(WEIGHTS).abs_diff(EIGHT_B[4].1) < 64);
}

/// A machine with a card, and what models may have of it.
fn with_card(card_gib: u64, ram_gib: u64) -> (Machine, Budget) {
    let mut machine = known("pc-ddr5-5600-32gb").unwrap();
    machine.gpu = known("rtx-4090-24gb").unwrap().gpu;
    let gpu = GpuBudget::Separate { bytes: card_gib * GIB };
    (machine, Budget { gpu, ..ram(ram_gib * GIB) })
}

#[test]
fn a_model_too_large_for_a_card_is_split_with_its_first_layers_in_ram() {
    let q8_0 = Types::all("Q8_0");
    for header in [
        shapes::qwen3_32b(&q8_0),
        shapes::qwen3_30b_a3b(&q8_0),
        shapes::qwen3_6_27b(&q8_0),
        shapes::qwen3_8b(&q8_0),
    ] {
        let wanted = Wanted::alone(Layout::new(16_384, 5));
        let layers = header.layers();
        let mut last = (0, 0.0);
        for card_gib in [4, 6, 8, 12, 16, 24, 32, 48] {
            let (machine, budget) = with_card(card_gib, 64);
            let on_card = Layout { place: Place::DiscreteGpu, ..wanted.layout };
            let whole = judge(&predict(&header, &on_card), &budget);
            let split = offload(&header, &wanted, &machine, &budget);
            assert_eq!(split.is_none(), whole.verdict != Verdict::DoesNotFit, "{card_gib}");
            let Some(split) = split else { continue };
            assert!((1..=layers).contains(&split.gpu_layers), "{split:?}");
            assert!(split.judgement.verdict.is_at_least(Verdict::Tight), "{split:?}");
            // Nothing of the model is lost on the way.
            let held = split.need.ram_bytes + split.need.gpu_bytes;
            assert!(held >= predict(&header, &on_card).total_bytes(), "{split:?}");
            // A larger card holds more layers, and more layers are faster than fewer.
            let rate = split.decode_tokens_per_s.unwrap();
            assert!(split.gpu_layers > last.0 && rate > last.1, "{last:?} {split:?}");
            let rate_at = |place| {
                let layout = Layout { place, ..wanted.layout };
                speed::estimate(&header, &machine, &layout, 0).decode_tokens_per_s.unwrap()
            };
            let (slow, fast) = (rate_at(Place::Processor), rate_at(Place::DiscreteGpu));
            assert!(slow < rate && rate < fast, "{slow} {rate} {fast}");
            last = (split.gpu_layers, rate);
        }
        assert!(last.0 > 0);
    }
}

/// Bytes on the card by its bandwidth and bytes in RAM by that of RAM.
#[test]
fn a_split_model_takes_the_time_of_both_memories() {
    let header = shapes::qwen3_32b(&Types::all("Q8_0"));
    let (machine, budget) = with_card(16, 64);
    let wanted = Wanted::alone(Layout::new(16_384, 5));
    let split = offload(&header, &wanted, &machine, &budget).unwrap();
    let Gpu::Discrete { bandwidth_bytes_per_s: card, .. } = machine.gpu else { panic!() };
    let first = split.layers + 1 - split.gpu_layers;
    let read = |is_in_ram| {
        let of_side = header.tensors.iter().filter(|tensor| {
            let layer = tensor.place_in_layers().map(|(layer, _)| layer);
            tensor.name != "token_embd.weight"
                && layer.is_some_and(|layer| layer < first) == is_in_ram
        });
        of_side.map(|tensor| tensor.bytes).sum::<u64>() as f64
    };
    let least_s = read(true) / machine.bandwidth_bytes_per_s + read(false) / card;
    let found_s = 1.0 / split.decode_tokens_per_s.unwrap();
    // Neither reaches all of what its maker prints, and layers take a little time each.
    assert!((1.0..1.6).contains(&(found_s / least_s)), "{found_s} {least_s}");
}

#[test]
fn no_split_is_offered_where_none_is_possible() {
    let header = shapes::qwen3_32b(&Types::all("Q8_0"));
    let wanted = Wanted::alone(Layout::new(16_384, 5));
    let (machine, budget) = with_card(16, 64);
    let none = |budget: &Budget| offload(&header, &wanted, &machine, budget).is_none();
    assert!(!none(&budget));
    // RAM is too short for the rest, the card for even the output, or there is no card.
    assert!(none(&Budget { bytes: 8 * GIB, ..budget.clone() }));
    assert!(none(&Budget { gpu: GpuBudget::Separate { bytes: GIB / 2 }, ..budget.clone() }));
    assert!(none(&Budget { gpu: GpuBudget::Within { bytes: 16 * GIB }, ..budget.clone() }));
    assert!(none(&ram(16 * GIB)));
}
