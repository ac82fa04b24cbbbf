//! Random histories. What must hold is checked by the machine at every step.

use std::time::Duration;

use planner::fleet::limits::FAIR_WAIT;
use proptest::prelude::*;

use crate::machine::{Fate, Machine, Nature};

const BUDGET_BYTES: u64 = 100;
const MODELS: usize = 6;
const USE_S_MAX: u64 = 20;
const LOAD_S_MAX: u64 = 10;
const EXIT_S_MAX: u64 = 5;

#[derive(Debug, Clone)]
enum Step {
    Want { model: usize, uses_s: u64 },
    Abandon(usize),
    Crash(usize),
    Stop(usize),
    Advance { ms: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..MODELS, 0..=USE_S_MAX).prop_map(|(model, uses_s)| Step::Want { model, uses_s }),
        1 => (0..8usize).prop_map(Step::Abandon),
        1 => (0..4usize).prop_map(Step::Crash),
        1 => (0..MODELS).prop_map(Step::Stop),
        6 => (1..30_000u64).prop_map(|ms| Step::Advance { ms }),
    ]
}

fn fate(failing: u32) -> impl Strategy<Value = Fate> {
    (0..=LOAD_S_MAX, 0..100u32, 0..=EXIT_S_MAX).prop_map(move |(load_s, luck, exit_s)| Fate {
        load: Duration::from_secs(load_s),
        fails: luck < failing,
        exit: Duration::from_secs(exit_s),
    })
}

/// Sizes from tiny to hopeless; `growing` ones take more than they promise.
fn natures(growing: bool) -> impl Strategy<Value = Vec<Nature>> {
    let nature = (1..=110u64, 0..=30u64).prop_map(move |(promised_bytes, more_bytes)| Nature {
        promised_bytes,
        real_bytes: if growing { promised_bytes + more_bytes } else { promised_bytes },
    });
    prop::collection::vec(nature, MODELS)
}

fn play(natures: &[Nature], idle_s: u64, fates: Vec<Fate>, steps: &[Step], goes_down: bool) {
    let mut machine = Machine::new(BUDGET_BYTES, Duration::from_secs(idle_s), natures);
    machine.fates = fates;
    for step in steps {
        match *step {
            Step::Want { model, uses_s } => {
                machine.want(model, Duration::from_secs(uses_s));
            }
            Step::Abandon(nth) => machine.abandon(nth),
            Step::Crash(nth) => machine.crash(nth),
            Step::Stop(model) => machine.operator_stops(model),
            Step::Advance { ms } => machine.advance(Duration::from_millis(ms)),
        }
    }
    if goes_down {
        machine.shut_down();
    }
    machine.settle();
    assert!(machine.starts() <= machine.wanted(), "workers start and serve nobody");
    // For each model ahead: whoever uses memory ends, leaves, and it loads and serves in turn.
    let turn_s = USE_S_MAX + EXIT_S_MAX + LOAD_S_MAX + USE_S_MAX;
    let bound = FAIR_WAIT + Duration::from_secs(turn_s * (MODELS as u64 + 1));
    assert!(machine.longest_wait <= bound, "someone waited {:?}", machine.longest_wait);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn any_history_is_orderly(
        natures in natures(false),
        idle_s in 1..120u64,
        fates in prop::collection::vec(fate(10), 0..60),
        steps in prop::collection::vec(step(), 0..80),
        goes_down: bool,
    ) {
        play(&natures, idle_s, fates, &steps, goes_down);
    }

    #[test]
    fn models_that_outgrow_their_promise_cause_no_disorder(
        natures in natures(true),
        idle_s in 1..120u64,
        fates in prop::collection::vec(fate(10), 0..60),
        steps in prop::collection::vec(step(), 0..80),
        goes_down: bool,
    ) {
        play(&natures, idle_s, fates, &steps, goes_down);
    }

    #[test]
    fn loads_that_mostly_fail_cause_no_disorder(
        natures in natures(false),
        fates in prop::collection::vec(fate(85), 60),
        steps in prop::collection::vec(step(), 0..80),
    ) {
        play(&natures, 60, fates, &steps, false);
    }
}
