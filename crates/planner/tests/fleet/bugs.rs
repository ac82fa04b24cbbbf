//! Bugs on purpose, inside the fleet and at its boundary: the simulated machine must notice each.

use planner::fleet::planted::{Bug, plant};

use crate::{
    histories::{History, Kind},
    lies::Lie,
};

/// Histories of each kind after which a bug counts as missed.
const HISTORIES_MAX: u64 = 2_000;

const BUGS: [Bug; 24] = [
    Bug::LeavingCountsAsGone,
    Bug::ForgetsPledges,
    Bug::EvictsPinned,
    Bug::IgnoresGroups,
    Bug::EvictsAll,
    Bug::NeverDrains,
    Bug::WaitsForEver,
    Bug::BackgroundFirst,
    Bug::HoldsNothing,
    Bug::BringsNothingBack,
    Bug::FailedLoadAnswersNobody,
    Bug::NeverCoolsOff,
    Bug::BackOffNeverGrows,
    Bug::IgnoresMeasurements,
    Bug::ForgetsKeepAlive,
    Bug::PressureStopsAll,
    Bug::TrimsAgain,
    Bug::StartsUnderPressure,
    Bug::WarmsUnderPressure,
    Bug::WarmOnlyOnce,
    Bug::UnloadsWarm,
    Bug::NeverRelieves,
    Bug::KeepsWithdrawn,
    Bug::RemembersWhatPasses,
];

#[test]
fn every_bug_is_caught() {
    let inside = BUGS.iter().map(|bug| (format!("{bug:?}"), Some(*bug), None));
    let outside = Lie::ALL.iter().map(|lie| (format!("{lie:?}"), None, Some(*lie)));
    println!("{:<24} {:>9} {:<10} {}", "bug", "histories", "kind", "caught by");
    let mut missed = Vec::new();
    for (name, bug, lie) in inside.chain(outside) {
        plant(bug);
        let caught = first_complaint(lie);
        plant(None);
        match caught {
            Some((histories, kind, complaint)) => {
                println!("{name:<24} {histories:>9} {:<10} {complaint}", format!("{kind:?}"));
            }
            None => missed.push(name),
        }
    }
    assert_eq!(missed, Vec::<String>::new(), "nobody noticed these");
}

/// How many histories it took, of which kind the last was, and what was wrong with it.
fn first_complaint(lie: Option<Lie>) -> Option<(u64, Kind, String)> {
    for seed in 0..HISTORIES_MAX {
        for (place, kind) in (1..).zip(Kind::ALL) {
            if let Some(complaint) = History::of(kind, seed).complaint(lie) {
                let histories = seed * Kind::ALL.len() as u64 + place;
                let line = complaint.lines().next().unwrap_or_default().to_owned();
                return Some((histories, kind, line));
            }
        }
    }
    None
}
