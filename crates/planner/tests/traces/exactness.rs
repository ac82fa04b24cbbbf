//! The optimum against a search that shares none of its reasoning: second by second, any model may be
//! loaded at any time, with any others leaving for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use planner::fleet::limits::FAIR_WAIT;

use crate::{
    optimum,
    random::Random,
    trace::{Shape, Trace, Visit},
};

const TRACES: u64 = 60;
const VISITS: u64 = 7;
const LAST_ARRIVAL_S: u64 = 50;

/// How things stand in some second: who is resident, bit by bit, and since when each model's
/// requests wait.
type Standing = (u32, Vec<Option<u64>>);

#[test]
fn the_optimum_is_what_an_exhaustive_search_finds() {
    for seed in 0..TRACES {
        let trace = small_trace(seed);
        let found = Duration::from_secs(searched(&trace));
        assert_eq!(optimum::cost(&trace), found, "of trace {seed}: {:?}", trace.visits);
    }
}

fn small_trace(seed: u64) -> Trace {
    let mut random = Random::new(seed);
    let mut shape =
        |_| Shape { bytes: 20 + random.below(60), load: Duration::from_secs(1 + random.below(9)) };
    let models: Vec<Shape> = (0..3).map(&mut shape).collect();
    let mut visit = |_| Visit {
        at: Duration::from_secs(random.below(LAST_ARRIVAL_S)),
        model: random.below(3) as usize,
        uses_for: Duration::ZERO,
    };
    let mut visits: Vec<Visit> = (0..VISITS).map(&mut visit).collect();
    visits.sort_by_key(|visit| visit.at);
    Trace { budget_bytes: 100, models, visits }
}

/// The least sum of load times in seconds.
fn searched(trace: &Trace) -> u64 {
    let patience_s = FAIR_WAIT.as_secs();
    let mut standings: BTreeMap<Standing, u64> = BTreeMap::new();
    standings.insert((0, vec![None; trace.models.len()]), 0);
    for second in 0..=LAST_ARRIVAL_S + patience_s {
        let mut now: BTreeMap<Standing, u64> = BTreeMap::new();
        for ((resident, mut waiting), spent) in standings {
            for visit in trace.visits.iter().filter(|visit| visit.at.as_secs() == second) {
                if resident & 1 << visit.model == 0 {
                    waiting[visit.model].get_or_insert(second);
                }
            }
            let least = now.entry((resident, waiting)).or_insert(spent);
            *least = spent.min(*least);
        }
        load_at_will(trace, &mut now);
        let in_time = |since: &u64| second < since + patience_s;
        now.retain(|(_, waiting), _| waiting.iter().flatten().all(in_time));
        standings = now;
    }
    standings.into_values().min().unwrap_or_default()
}

/// Adds all that can be reached by loading.
fn load_at_will(trace: &Trace, standings: &mut BTreeMap<Standing, u64>) {
    let mut open: BTreeSet<Standing> = standings.keys().cloned().collect();
    while let Some((resident, waiting)) = open.pop_first() {
        let spent = standings[&(resident, waiting.clone())];
        for (model, shape) in trace.models.iter().enumerate() {
            for kept in (0..=resident).filter(|kept| kept & !resident == 0) {
                let next = kept | 1 << model;
                let members = trace.models.iter().enumerate();
                let held = members.filter(|(member, _)| next & 1 << member != 0);
                let held_bytes: u64 = held.map(|(_, shape)| shape.bytes).sum();
                if resident & 1 << model != 0 || held_bytes > trace.budget_bytes {
                    continue;
                }
                let mut waiting = waiting.clone();
                waiting[model] = None;
                let cost = spent + shape.load.as_secs();
                let known = standings.get(&(next, waiting.clone())).copied();
                if known.is_none_or(|known| cost < known) {
                    standings.insert((next, waiting.clone()), cost);
                    open.insert((next, waiting));
                }
            }
        }
    }
}
