//! What the fleet was told and what it decided about it, one entry for each event: for whoever looks
//! on, and for the journal.
//!
//! Not here: writing it down (`journal`).

use std::time::Duration;

use planner::fleet::{Action, Event, Fleet, Policy};
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
    /// A hub goes on, in a new file of its journal: what follows can be decided once more without what
    /// came before.
    Continues {
        /// The program's version: another one may decide otherwise.
        version: String,
        /// Seconds since 1970.
        unix_s: u64,
        /// Since the hub began.
        at: Duration,
        /// All that its fleet knew.
        fleet: Box<Fleet>,
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
    /// Nothing is written down after this, though the hub may go on.
    Ended {
        /// Why.
        reason: String,
    },
}
