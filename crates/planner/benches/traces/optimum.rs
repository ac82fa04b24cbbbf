//! The least that loading can cost when all requests are known beforehand.
//!
//! The rule is the fleet's own: a request's turn comes at the latest [`FAIR_WAIT`] after its arrival.
//! So its model begins to load by then, and may be put off as long as that for the sake of fewer
//! loads. Everything else is made easier than it is: loads, exits and uses take no time, and nobody is
//! ever in the way. Whatever a machine does on which they take time, the same loads and exits keep
//! the rule here too. So no scheduler that keeps it does better.
//!
//! It is enough to load when some request can wait no longer: whatever is loaded earlier may as well
//! be loaded then, in the same order, and whoever waited is still served in time. At such a moment
//! some of those who wait are served, one model after the other where they do not fit together, and a
//! set of models stays that fits.

use std::{collections::BTreeMap, time::Duration};

use planner::fleet::limits::FAIR_WAIT;

use crate::trace::Trace;

/// What is left to decide: at a moment when a request can wait no longer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Moment {
    at: Duration,
    /// Bit by bit, the models that are resident.
    resident: u32,
    /// For each model that is not resident, its first request that was not served.
    unserved: Vec<Option<usize>>,
}

/// The least sum of load times.
pub(crate) fn cost(trace: &Trace) -> Duration {
    let nobody = vec![0; trace.models.len()];
    let mut best: Option<Duration> = None;
    let mut ahead: BTreeMap<Moment, Duration> = BTreeMap::new();
    match moment(trace, 0, &nobody) {
        Some(first) => drop(ahead.insert(first, Duration::ZERO)),
        None => return Duration::ZERO,
    }
    while let Some((now, spent)) = ahead.pop_first() {
        if best.is_some_and(|best| best <= spent) {
            continue;
        }
        for (served, resident) in choices(trace, &now) {
            let loads = members(trace, served).map(|model| trace.models[model].load);
            let spent = spent + loads.sum::<Duration>();
            match next(trace, &now, served, resident) {
                Some(next) => {
                    let known = ahead.entry(next).or_insert(spent);
                    *known = spent.min(*known);
                }
                None => best = Some(best.map_or(spent, |best| best.min(spent))),
            }
        }
    }
    best.unwrap_or_default()
}

/// Which models to serve now, and which to keep: all that make sense.
fn choices(trace: &Trace, now: &Moment) -> Vec<(u32, u32)> {
    let waits = |model: usize| {
        let first = now.unserved[model]?;
        let visit = trace.visits[first];
        (visit.at <= now.at).then_some(visit.at + FAIR_WAIT)
    };
    let all = 0..trace.models.len();
    let pending = all.clone().filter(|model| waits(*model).is_some());
    let pending = pending.fold(0_u32, |set, model| set | 1 << model);
    let forced = all.filter(|model| waits(*model).is_some_and(|end| end <= now.at));
    let forced = forced.fold(0_u32, |set, model| set | 1 << model);
    let subsets = |of: u32| (0..=of).filter(move |set| set & !of == 0);
    let mut choices = Vec::new();
    for served in subsets(pending).filter(|set| set & forced == forced) {
        let fits = |kept: &u32| fits_through(trace, now.resident, served, *kept);
        let kept: Vec<u32> = subsets(now.resident | served).filter(fits).collect();
        // Keeping more is never worse.
        let largest =
            |set: &&u32| !kept.iter().any(|other| other != *set && other & **set == **set);
        choices.extend(kept.iter().filter(largest).map(|kept| (served, *kept)));
    }
    choices
}

/// Whether `kept` fits in the end, and each that is served fits beside what stays all the time.
fn fits_through(trace: &Trace, resident: u32, served: u32, kept: u32) -> bool {
    let staying = bytes(trace, resident & kept);
    let each = |model: usize| {
        kept & 1 << model != 0 || staying + trace.models[model].bytes <= trace.budget_bytes
    };
    bytes(trace, kept) <= trace.budget_bytes && members(trace, served).all(each)
}

/// The next moment when a request can wait no longer, if these are served now and those stay.
fn next(trace: &Trace, now: &Moment, served: u32, resident: u32) -> Option<Moment> {
    let after = |model: usize| {
        let bit = 1 << model;
        let was_served = (now.resident | served) & bit != 0;
        if was_served {
            trace.visits.partition_point(|visit| visit.at <= now.at)
        } else {
            now.unserved[model].unwrap_or(trace.visits.len())
        }
    };
    let from: Vec<usize> = (0..trace.models.len()).map(after).collect();
    moment(trace, resident, &from)
}

/// The first moment when a request of a model that is not resident can wait no longer, where each
/// model's requests were served up to that number.
fn moment(trace: &Trace, resident: u32, from: &[usize]) -> Option<Moment> {
    let first = |(model, from): (usize, &usize)| {
        let is_resident = resident & 1 << model != 0;
        let mut later = (*from..trace.visits.len()).filter(|_| !is_resident);
        later.find(|visit| trace.visits[*visit].model == model)
    };
    let unserved: Vec<Option<usize>> = from.iter().enumerate().map(first).collect();
    let at = unserved.iter().flatten().map(|visit| trace.visits[*visit].at + FAIR_WAIT).min()?;
    Some(Moment { at, resident, unserved })
}

fn bytes(trace: &Trace, set: u32) -> u64 {
    members(trace, set).map(|model| trace.models[model].bytes).sum()
}

fn members(trace: &Trace, set: u32) -> impl Iterator<Item = usize> {
    (0..trace.models.len()).filter(move |model| set & 1 << model != 0)
}
