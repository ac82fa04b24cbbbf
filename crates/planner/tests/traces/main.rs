//! What the fleet's policy is worth on traces made from seeds: switching costs little more than the
//! least anyone could do who knew the future, and nobody waits past the bound.

mod exactness;
#[path = "../../benches/traces/optimum.rs"]
mod optimum;
#[path = "../../benches/traces/plain.rs"]
mod plain;
#[path = "../../benches/traces/race.rs"]
mod race;
#[path = "../../benches/traces/random.rs"]
mod random;
#[path = "../../benches/traces/table.rs"]
mod table;
#[path = "../../benches/traces/trace.rs"]
mod trace;

use std::time::Duration;

use planner::fleet::{
    limits::{FAIR_WAIT, SPARING_WAIT},
    planted::{Bug, plant},
};

use race::{Contender, EXIT, run};
use trace::{Family, Shape, Trace, Visit};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn switching_costs_little_more_than_the_least() {
    println!("{}", table::HEADING);
    let rows: Vec<_> = Family::ALL.map(table::row).into_iter().collect();
    rows.iter().for_each(|row| println!("{row}"));
    for row in &rows {
        let times = row.times_optimum(&row.fleet);
        let lru = row.times_optimum(&row.lru);
        let bound = if lru > 2.0 { 1.25 } else { 1.35 };
        assert!(times <= bound, "{:?}: {times:.2} of the optimum", row.family);
        assert!(times < lru.min(row.times_optimum(&row.fifo)), "{:?}: no better", row.family);
    }
    let hard = rows.iter().filter(|row| row.times_optimum(&row.lru) > 2.0).count();
    assert!(hard >= 3, "only {hard} families are hard for LRU");
}

/// The traces notice when a rule is missing that the simulated machine cannot judge.
#[test]
fn without_its_rules_switching_costs_more() {
    for bug in [Bug::HoldsNothing, Bug::SparesNothing, Bug::IgnoresCosts] {
        plant(Some(bug));
        let worst = Family::ALL.map(|family| {
            let row = table::row(family);
            row.times_optimum(&row.fleet)
        });
        plant(None);
        let worst = worst.into_iter().fold(0.0, f64::max);
        println!("{bug:?}: {worst:.2} of the optimum");
        assert!(worst > 1.25, "{bug:?} costs nothing: {worst:.2} of the optimum");
    }
}

#[test]
fn nobody_waits_past_the_bound_on_mixed_traces() {
    for (family, seed) in
        Family::ALL.into_iter().flat_map(|family| (0..100).map(move |seed| (family, seed)))
    {
        let trace = family.trace(seed);
        let longest = run(&trace, Contender::fleet(&trace)).longest_wait;
        let bound = bound(&trace);
        assert!(longest <= bound, "{family:?} {seed}: {longest:?} is past {bound:?}");
    }
}

/// Without end, requests for two models of three come so close that these are never idle.
#[test]
fn an_endless_stream_starves_nobody() {
    let shape = |bytes, load_s| Shape { bytes, load: SECOND * load_s };
    let machines = [
        vec![shape(60, 5), shape(20, 3), shape(60, 5)],
        vec![shape(50, 20), shape(50, 3), shape(90, 9)],
        vec![shape(60, 5), shape(60, 4), shape(60, 6)],
        vec![shape(40, 2), shape(50, 30), shape(50, 2)],
    ];
    for models in machines {
        let streams = [0, 1].map(|model| stream(model, 500, 3 * SECOND));
        let victim = stream(2, 40_000, SECOND);
        let mut visits = [streams.concat(), victim].concat();
        visits.sort_by_key(|visit| visit.at);
        let trace = Trace { budget_bytes: 100, models, visits };
        let longest = run(&trace, Contender::fleet(&trace)).longest_wait;
        let bound = bound(&trace);
        assert!(longest <= bound, "{longest:?} is past {bound:?}: {:?}", trace.models);
    }
}

/// A request's turn, the wait for a cheaper place, and then each model ahead of it once: whoever uses
/// memory ends, leaves, and it loads and serves; and its own load.
fn bound(trace: &Trace) -> Duration {
    let use_max = trace.visits.iter().map(|visit| visit.uses_for).max().unwrap_or_default();
    let turns = trace.models.iter().map(|model| use_max + EXIT + model.load);
    FAIR_WAIT + SPARING_WAIT + turns.sum::<Duration>()
}

/// Requests for a model, for five minutes.
fn stream(model: usize, every_ms: u64, uses_for: Duration) -> Vec<Visit> {
    let times = (0..300_000 / every_ms).map(|number| Duration::from_millis(number * every_ms));
    times.map(|at| Visit { at, model, uses_for }).collect()
}
