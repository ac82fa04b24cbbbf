//! What the fleet was told and what it decided about it, one entry for each event: for whoever looks
//! on, and for the journal.
//!
//! Not here: writing it down (`journal`).

use std::time::Duration;

use planner::fleet::{Action, Event, Policy};
use serde::{Deserialize, Serialize};

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happening {
    /// A hub began, with an empty fleet.
    Began {
        /// The program's version: another one may decide otherwise.
        version: String,
        /// The fleet's policy.
        policy: Policy,
        /// Seconds since 1970.
        unix_s: u64,
    },
    /// The fleet was told something.
    Told {
        /// Since the hub began.
        at: Duration,
        /// What it was told.
        event: Event,
        /// What it decided, in this order.
        actions: Vec<Action>,
    },
    /// So many entries are missing here, because the disk was too slow.
    Lost {
        /// How many.
        entries: u64,
    },
}
