//! The built-in catalogue on the two yardstick machines: what is known to be true must come out.

use super::*;
use crate::catalogue::{Entry, builtin};
use crate::footprint::{Layout, Place, predict};
use crate::gguf::Header;
use crate::machine::{GIB, Machine, Reserve, budget, known};
use crate::quality::{self, Basis};
use crate::speed;

/// Quantizations of the catalogue whose divergence nobody has published.
const UNPUBLISHED: [&str; 2] = ["MXFP4_MOE", "QAT-Q4_0"];

const THREE_LARGE: [&str; 3] = ["qwen3-30b-a3b", "qwen3.6-27b", "qwen3-32b"];

fn on_gpu(context_tokens: u32) -> Wanted<'static> {
    Wanted::alone(Layout { place: Place::SharedGpu, ..Layout::new(context_tokens, 1) })
}

fn large_mac() -> (Machine, Budget) {
    let machine = known("m1-max-64gb").unwrap();
    let budget = budget(&machine, &Reserve::Bytes(16 * GIB));
    (machine, budget)
}

fn small_mac() -> (Machine, Budget) {
    let machine = known("m4-16gb").unwrap();
    let budget = budget(&machine, &Reserve::default());
    (machine, budget)
}

fn files(entry: &Entry) -> Vec<(&str, Header)> {
    let quantizations = entry.quantizations.iter();
    quantizations.map(|one| (one.name.as_str(), entry.header(&one.name).unwrap())).collect()
}

fn candidates<'a>(files: &'a [(&str, Header)]) -> Vec<Candidate<'a>> {
    files.iter().map(|(quantization, header)| Candidate { quantization, header }).collect()
}

#[test]
fn of_three_large_models_eight_bits_are_chosen_and_no_two_are_resident() {
    let (_, budget) = large_mac();
    let wanted = on_gpu(32_768);
    let needs = THREE_LARGE.map(|name| {
        let entry = builtin().find(name).unwrap();
        let files = files(entry);
        let candidates = candidates(&files);
        let choice = choose(&candidates, &wanted, &budget, Verdict::Fits).unwrap();
        let chosen = candidates[choice.index].quantization;
        assert_eq!(quality::of(chosen).bits_class, 8, "{name}: {chosen}");
        // The smallest file of 8 bits, so that what does not fit with it fits with none.
        Need::of(&predict(&entry.header("Q8_0").unwrap(), &wanted.layout))
    });
    let member = |(name, need)| Member { name, need, pinned: false, group: None };
    let members: Vec<Member<'_>> = THREE_LARGE.into_iter().zip(needs).map(member).collect();
    let found = together(&members, &budget).unwrap();
    assert_eq!(found.sets, [[0], [1], [2]]);
    assert!(found.promises.iter().all(|promise| promise.kept), "{found:?}");
}

#[test]
fn the_8b_models_files_fit_16_gb_by_their_size() {
    let (_, budget) = small_mac();
    let mut files = files(builtin().find("deepseek-r1-0528-qwen3-8b").unwrap());
    files.sort_by_key(|(_, header)| header.tensor_bytes());
    let verdicts = |context_tokens| {
        let wanted = on_gpu(context_tokens);
        let verdict = |header| judge_model(header, &wanted, &budget).verdict;
        let all: Vec<(&str, Verdict)> =
            files.iter().map(|(name, header)| (*name, verdict(header))).collect();
        for pair in all.windows(2) {
            assert!(pair[0].1.is_at_least(pair[1].1), "{all:?}");
        }
        all
    };
    for (context_tokens, expected) in [
        (8192, [("Q4_K_M", Verdict::Comfortable), ("Q8_0", Verdict::Comfortable)]),
        (8192, [("UD-Q8_K_XL", Verdict::Tight), ("BF16", Verdict::DoesNotFit)]),
        (16_384, [("Q8_0", Verdict::Fits), ("UD-Q8_K_XL", Verdict::DoesNotFit)]),
        (32_768, [("Q4_K_M", Verdict::Comfortable), ("Q6_K", Verdict::Fits)]),
        (32_768, [("UD-Q6_K_XL", Verdict::Tight), ("Q8_0", Verdict::DoesNotFit)]),
    ] {
        let all = verdicts(context_tokens);
        for (file, verdict) in expected {
            let found = all.iter().find(|(name, _)| *name == file).unwrap().1;
            assert_eq!(found, verdict, "{file} at {context_tokens}: {all:?}");
        }
    }
}

/// Every quantization of the catalogue has a rank, by a published figure unless there is none, and
/// its files can be planned: the speed is a number.
#[test]
fn everything_in_the_catalogue_can_be_planned() {
    let machines = [large_mac(), small_mac()];
    let all: Vec<(&Entry, &str)> = builtin()
        .entries()
        .iter()
        .flat_map(|entry| entry.quantizations.iter().map(move |one| (entry, one.name.as_str())))
        .collect();
    for (entry, quantization) in &all {
        let quality = quality::of(quantization);
        assert!(quality.bits_class > 0, "{} {quantization}", entry.name);
        let is_guess = UNPUBLISHED.contains(quantization);
        assert_eq!(quality.basis == Basis::ByBits, is_guess, "{} {quality:?}", entry.name);
    }
    // Every third file is enough to see all entries and both machines in a few seconds.
    let mut planned = 0;
    for (entry, quantization) in all.iter().step_by(3) {
        let Ok(header) = entry.header(quantization) else { continue };
        let (machine, budget) = &machines[planned % machines.len()];
        check_planned(entry, quantization, &header, machine, budget);
        planned += 1;
    }
    assert!(planned > 100, "{planned}");
}

#[track_caller]
fn check_planned(
    entry: &Entry,
    quantization: &str,
    header: &Header,
    machine: &Machine,
    budget: &Budget,
) {
    let what = format!("{} {quantization} on {}", entry.name, machine.name);
    let wanted = on_gpu(8192);
    let speed = speed::estimate(header, machine, &wanted.layout, 1024);
    assert_eq!(speed.decode_tokens_per_s.is_some(), header.generates(), "{what}");
    assert!((0.1..20_000.0).contains(&speed.decode_tokens_per_s.unwrap_or(1.0)), "{what}");
    assert!((1.0..1e7).contains(&speed.prefill_tokens_per_s), "{what}: {speed:?}");
    let judgement = judge_model(header, &wanted, budget);
    assert!(judgement.needed_bytes >= header.tensor_bytes() * 9 / 10, "{what}");
}
