//! What each contender paid on each family of traces, beside the least that anyone could.

use std::{fmt, time::Duration};

use crate::{
    optimum,
    plain::Order,
    race::{Contender, Outcome, run},
    trace::Family,
};

/// Traces of each family.
pub(crate) const SEEDS: u64 = 40;

/// One family of traces, all seeds together.
pub(crate) struct Row {
    pub(crate) family: Family,
    pub(crate) visits: usize,
    pub(crate) optimum: Duration,
    pub(crate) fleet: Outcome,
    pub(crate) lru: Outcome,
    pub(crate) fifo: Outcome,
}

/// Plays all traces of a family.
pub(crate) fn row(family: Family) -> Row {
    let mut row = Row {
        family,
        visits: 0,
        optimum: Duration::ZERO,
        fleet: Outcome::default(),
        lru: Outcome::default(),
        fifo: Outcome::default(),
    };
    for seed in 0..SEEDS {
        let trace = family.trace(seed);
        row.visits += trace.visits.len();
        row.optimum += optimum::cost(&trace);
        row.fleet.add(run(&trace, Contender::fleet(&trace)));
        row.lru.add(run(&trace, Contender::plain(Order::Lru, &trace)));
        row.fifo.add(run(&trace, Contender::plain(Order::Fifo, &trace)));
    }
    row
}

impl Row {
    /// How many times the optimum this is.
    pub(crate) fn times_optimum(&self, outcome: &Outcome) -> f64 {
        outcome.load_time.as_secs_f64() / self.optimum.as_secs_f64()
    }
}

impl Outcome {
    fn add(&mut self, other: Self) {
        self.load_time += other.load_time;
        self.waits += other.waits;
        self.longest_wait = self.longest_wait.max(other.longest_wait);
    }
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = format!("{:?}", self.family);
        let optimum_s = self.optimum.as_secs();
        write!(out, "{family:<14} {:>6} {optimum_s:>9}", self.visits)?;
        for outcome in [&self.fleet, &self.lru, &self.fifo] {
            let times = self.times_optimum(outcome);
            let mean_s = outcome.waits.as_secs_f64() / self.visits as f64;
            let longest_s = outcome.longest_wait.as_secs_f64();
            write!(out, "  {times:>5.2} {mean_s:>6.1} {longest_s:>6.1}")?;
        }
        Ok(())
    }
}

/// What the columns are.
pub(crate) const HEADING: &str = concat!(
    "                        optimum  fleet                 LRU                   FIFO\n",
    "family         visits  load, s  times  mean, longest  times  mean, longest",
    "  times  mean, longest wait, s",
);
