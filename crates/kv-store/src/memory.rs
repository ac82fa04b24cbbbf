//! The memory tier: entries that were put, until they are in the way. Pure.
//!
//! What waits to be written lies here too and leaves last, so one bound holds for both.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::key::Key;

/// How an entry in memory stands towards its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is to be written.
    Waiting,
    /// It was to be written, and could not be.
    Failed,
    /// It is in a file as well.
    Written,
    /// It is not to be written.
    Settled,
}

#[derive(Debug)]
struct Held {
    bytes: Arc<Vec<u8>>,
    standing: Standing,
    used: u64,
    rank: u32,
}

impl Held {
    fn is_written(&self) -> bool {
        self.standing == Standing::Written
    }
}

/// In the order of leaving: what waits to be written last, else by last use, children before
/// parents.
type Turn = (bool, u64, Reverse<u32>, Key);

#[derive(Debug, Default)]
pub(crate) struct Memory {
    held: HashMap<Key, Held>,
    order: BTreeSet<Turn>,
    bytes: u64,
    waiting_bytes: u64,
    limit_bytes: u64,
    /// Counts uses.
    clock: u64,
}

impl Memory {
    pub(crate) fn new(limit_bytes: u64) -> Self {
        Self { limit_bytes, ..Self::default() }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn count(&self) -> usize {
        self.held.len()
    }

    /// Bytes that are to be written, or could not be.
    pub(crate) fn unwritten_bytes(&self) -> u64 {
        let failed = self.held.values().filter(|held| held.standing == Standing::Failed);
        self.waiting_bytes + failed.map(|held| held.bytes.len() as u64).sum::<u64>()
    }

    pub(crate) fn get(&self, key: Key) -> Option<&Arc<Vec<u8>>> {
        Some(&self.held.get(&key)?.bytes)
    }

    pub(crate) fn is_waiting(&self, key: Key) -> bool {
        self.held.get(&key).is_some_and(|held| held.standing == Standing::Waiting)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> {
        self.held.keys().copied()
    }

    /// Says that these are used now, all at the same time, so that parents leave after children.
    pub(crate) fn touch(&mut self, keys: impl IntoIterator<Item = Key>) {
        self.clock += 1;
        for key in keys {
            self.change(key, |held, clock| held.used = clock);
        }
    }

    pub(crate) fn settle(&mut self, key: Key, standing: Standing) {
        self.change(key, |held, _| held.standing = standing);
    }

    pub(crate) fn insert(&mut self, key: Key, rank: u32, bytes: Arc<Vec<u8>>, standing: Standing) {
        self.remove(key);
        let held = Held { bytes, standing, used: self.clock, rank };
        self.add(key, held);
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<u64> {
        let held = self.held.remove(&key)?;
        self.order.remove(&turn(key, &held));
        let bytes = held.bytes.len() as u64;
        self.bytes -= bytes;
        if held.standing == Standing::Waiting {
            self.waiting_bytes -= bytes;
        }
        Some(bytes)
    }

    /// Who leaves so that so many bytes more fit once these are gone, without what waits, and of what is
    /// in use at this moment only what is in a file as well: a chain may be longer than all of memory.
    /// None when that does not do.
    pub(crate) fn make_room(&self, bytes: u64, gone: &[Key]) -> Option<Vec<Key>> {
        let freed: u64 = gone.iter().map(|key| self.size(*key)).sum();
        let after = (self.bytes - freed).saturating_add(bytes);
        let mut over = after.saturating_sub(self.limit_bytes);
        let mut leave = Vec::new();
        let may_leave = |turn: &&Turn| {
            let is_written = || self.held.get(&turn.3).is_some_and(Held::is_written);
            !gone.contains(&turn.3) && (turn.1 != self.clock || is_written())
        };
        let settled = self.order.iter().take_while(|turn| !turn.0);
        for turn in settled.filter(may_leave) {
            if over == 0 {
                break;
            }
            over = over.saturating_sub(self.size(turn.3));
            leave.push(turn.3);
        }
        (over == 0).then_some(leave)
    }

    /// Its file is gone.
    pub(crate) fn lose_file(&mut self, key: Key) {
        if self.held.get(&key).is_some_and(Held::is_written) {
            self.settle(key, Standing::Settled);
        }
    }

    /// Sets the bound; says who leaves for it, if need be what is not yet written.
    pub(crate) fn limit(&mut self, limit_bytes: u64) -> Vec<Key> {
        self.limit_bytes = limit_bytes;
        let mut over = self.bytes.saturating_sub(limit_bytes);
        let leave = self.order.iter().take_while(|turn| {
            let leaves = over > 0;
            over = over.saturating_sub(self.size(turn.3));
            leaves
        });
        leave.map(|turn| turn.3).collect()
    }

    fn size(&self, key: Key) -> u64 {
        self.held.get(&key).map_or(0, |held| held.bytes.len() as u64)
    }

    /// Changes an entry where it is, with its place in the order.
    fn change(&mut self, key: Key, change: impl FnOnce(&mut Held, u64)) {
        let Some(mut held) = self.held.remove(&key) else { return };
        self.order.remove(&turn(key, &held));
        let bytes = held.bytes.len() as u64;
        self.bytes -= bytes;
        if held.standing == Standing::Waiting {
            self.waiting_bytes -= bytes;
        }
        change(&mut held, self.clock);
        self.add(key, held);
    }

    fn add(&mut self, key: Key, held: Held) {
        let bytes = held.bytes.len() as u64;
        self.bytes += bytes;
        if held.standing == Standing::Waiting {
            self.waiting_bytes += bytes;
        }
        self.order.insert(turn(key, &held));
        self.held.insert(key, held);
    }
}

fn turn(key: Key, held: &Held) -> Turn {
    (held.standing == Standing::Waiting, held.used, Reverse(held.rank), key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_leaves_only_while_its_file_is_there() {
        let mut memory = Memory::new(10);
        let (parent, other) = (Key([1; 32]), Key([2; 32]));
        for (key, standing) in [(parent, Standing::Written), (other, Standing::Settled)] {
            memory.insert(key, 0, Arc::new(vec![0; 5]), standing);
        }
        memory.touch([parent, other]);
        assert_eq!(memory.make_room(5, &[]), Some(vec![parent]));
        assert_eq!(memory.make_room(6, &[]), None);
        memory.lose_file(parent);
        assert_eq!(memory.make_room(5, &[]), None);
        memory.touch([]);
        assert_eq!(memory.make_room(10, &[]).map(|leave| leave.len()), Some(2));
    }
}
