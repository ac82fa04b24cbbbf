//! What the store counts, for whoever watches it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Counters since the store was opened, and what it holds now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Entries in memory now.
    pub ram_entries: u64,
    /// Bytes in memory now.
    pub ram_bytes: u64,
    /// Entries of this model on SSD now, as far as this process knows.
    pub ssd_entries: u64,
    /// Bytes of their states.
    pub ssd_bytes: u64,
    /// Bytes that are to be written, or could not be.
    pub unwritten_bytes: u64,
    /// Restores that began.
    pub hits: u64,
    /// Questions for a prefix that found none.
    pub misses: u64,
    /// Entries, tokens and bytes given back from memory.
    pub from_ram: Restored,
    /// Entries, tokens and bytes given back from SSD.
    pub from_ssd: Restored,
    /// Bytes of files that the system was asked to read ahead.
    #[serde(default)]
    pub read_ahead_bytes: u64,
    /// Entries written.
    pub written_entries: u64,
    /// Bytes of files written.
    pub written_bytes: u64,
    /// Bytes written today by all who share the folder, as of the last write.
    pub written_today_bytes: u64,
    /// Entries not taken because memory was full of what waits.
    pub refused_full: u64,
    /// Entries not written, by reason.
    pub declined: BTreeMap<String, u64>,
    /// Entries that left memory for others.
    pub evicted_ram: u64,
    /// Files removed for others.
    pub evicted_ssd: u64,
    /// Files removed because something was wrong with them, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Files that were gone when they were to be read.
    pub vanished: u64,
    /// Reads that the system failed.
    pub read_errors: u64,
    /// Attempts to write that the system failed.
    pub write_errors: u64,
}

impl Stats {
    /// Entries that were written or given up, each of which leaves room in memory for others.
    pub(crate) fn settled(&self) -> u64 {
        self.written_entries + self.declined.values().sum::<u64>()
    }
}

/// What one tier gave back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// Entries.
    pub entries: u64,
    /// Tokens that could be used of them.
    pub tokens: u64,
    /// Bytes of their states.
    pub bytes: u64,
}
