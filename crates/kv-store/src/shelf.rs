//! What one store knows and holds, under its lock: the index, the memory tier, what is to be done
//! by the thread that writes. No file is touched here.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::format::Payload;
use crate::index::{Entry, Index, Place, rank};
use crate::key::{Key, Kind, entry};
use crate::limits::{
    ASKED_MAX, BLOCK_TOKENS, BUFFER_BYTES_MAX, BUFFERS_BYTES_MAX, ENTRY_BYTES_MAX,
};
use crate::memory::{Memory, Standing};
use crate::settings::Need;
use crate::stats::Stats;

/// What became of an entry that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is kept, and will be written where that is wanted.
    Taken,
    /// It is there already, or more than it.
    Known,
    /// There is no room: the memory tier is full of what is not yet written or of what the entry
    /// comes after and is in no file, is smaller than the entry, or is off. Nothing waits; the caller
    /// stops, since what comes after an entry that is not there cannot be restored.
    Full,
}

/// The store's state, shared by its callers, its writing thread and its readers.
#[derive(Debug)]
pub(crate) struct Shared {
    shelf: Mutex<Shelf>,
    /// Told of every change that somebody may wait for.
    changed: Condvar,
}

impl Shared {
    pub(crate) fn new(shelf: Shelf) -> Arc<Self> {
        Arc::new(Self { shelf: Mutex::new(shelf), changed: Condvar::new() })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Shelf> {
        // Every change is whole before it can panic.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tell(&self) {
        self.changed.notify_all();
    }

    pub(crate) fn wait<'a>(&self, shelf: MutexGuard<'a, Shelf>) -> MutexGuard<'a, Shelf> {
        self.changed.wait(shelf).unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while this holds, at most so long.
    pub(crate) fn wait_while<'a>(
        &self,
        shelf: MutexGuard<'a, Shelf>,
        wait_max: std::time::Duration,
        holds: impl Fn(&Shelf) -> bool,
    ) -> MutexGuard<'a, Shelf> {
        let waited = self.changed.wait_timeout_while(shelf, wait_max, |shelf| holds(shelf));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// What the writing thread is doing for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writing {
    /// There is none: files are off.
    Off,
    /// It goes on.
    On,
    /// It does not write until then, since writing failed.
    Paused(SystemTime),
    /// It is to end.
    Stopping,
}

/// One piece of work for the writing thread.
#[derive(Debug)]
pub(crate) enum Work {
    Write(Key),
    Touch(Vec<Key>),
    Prefetch(u64),
}

#[derive(Debug)]
pub(crate) struct Shelf {
    pub(crate) index: Index,
    pub(crate) memory: Memory,
    pub(crate) writing: Writing,
    /// Whether the index is still being read from the folder.
    pub(crate) indexing: bool,
    /// Whether a piece of work is being done.
    pub(crate) working: bool,
    /// Whether a caller has waited for the index once; nobody waits twice.
    pub(crate) waited: bool,
    /// Whether the folder turned out to be otherwise than the writing thread knows it: a file is gone.
    pub(crate) surprised: bool,
    pub(crate) stats: Stats,
    /// Memory that restores have read into, for the next one: see [`Shelf::take_buffers`].
    buffers: Vec<Arc<Vec<u8>>>,
    /// Bytes that are to be read ahead.
    pub(crate) prefetch: Option<u64>,
    need: Need,
    ram_bytes: u64,
    queue: VecDeque<Key>,
    used: VecDeque<Vec<Key>>,
    /// How often a link was asked for and not there.
    asked: HashMap<Key, u32>,
    asked_last: Option<Key>,
}

impl Shelf {
    pub(crate) fn new(need: Need, ram_bytes: u64, writing: Writing) -> Self {
        Self {
            index: Index::default(),
            memory: Memory::new(ram_bytes),
            indexing: writing != Writing::Off,
            writing,
            working: false,
            waited: false,
            surprised: false,
            stats: Stats::default(),
            buffers: Vec::new(),
            prefetch: None,
            need,
            ram_bytes,
            queue: VecDeque::new(),
            used: VecDeque::new(),
            asked: HashMap::new(),
            asked_last: None,
        }
    }

    /// Whether there is work, done or waiting.
    pub(crate) fn is_busy(&self) -> bool {
        self.indexing || self.working || self.has_work()
    }

    fn has_work(&self) -> bool {
        match self.writing {
            Writing::Off | Writing::Stopping => false,
            Writing::On | Writing::Paused(_) => {
                !self.queue.is_empty() || !self.used.is_empty() || self.prefetch.is_some()
            }
        }
    }

    /// The next piece of work, if there is any.
    pub(crate) fn take_work(&mut self) -> Option<Work> {
        if !self.has_work() {
            return None;
        }
        if let Some(bytes_max) = self.prefetch.take() {
            return Some(Work::Prefetch(bytes_max));
        }
        if let Some(used) = self.used.pop_front() {
            return Some(Work::Touch(used));
        }
        while let Some(key) = self.queue.pop_front() {
            // It may have been superseded or thrown out meanwhile.
            if self.memory.is_waiting(key) {
                return Some(Work::Write(key));
            }
        }
        None
    }

    /// Remembers that the chain after what was found was wanted.
    pub(crate) fn ask(&mut self, found_blocks: usize, chain: &[Key]) {
        let last = chain[chain.len() - 1];
        if self.asked_last == Some(last) {
            return;
        }
        self.asked_last = Some(last);
        if self.asked.len() > ASKED_MAX {
            self.asked.clear();
        }
        for link in chain.iter().skip(found_blocks + 1) {
            *self.asked.entry(*link).or_default() += 1;
        }
    }

    /// Whether an entry is likely to be read again: its block was asked for by more than the
    /// request that computed it, or something before it was restored before.
    pub(crate) fn is_wanted(&self, entry: &Entry, before: &[Key]) -> bool {
        let place = &entry.place;
        let is_full = place.kind == Kind::Cells && place.tokens.len() == BLOCK_TOKENS;
        let link =
            if is_full { crate::key::link(place.parent, &place.tokens) } else { place.parent };
        let asked = self.asked.get(&link).is_some_and(|times| *times > 1);
        let reused = |key: &Key| self.index.get(*key).is_some_and(|entry| entry.reused);
        asked || before.iter().any(reused)
    }

    pub(crate) fn put(&mut self, place: Place, blocks_before: u32, payload: Payload) -> Put {
        let key = entry(place.parent, place.kind, &place.tokens);
        if self.knows(&place, key) {
            return Put::Known;
        }
        let Payload { bytes, cuts } = payload;
        let size = bytes.len() as u64;
        let entry = Entry {
            rank: rank(place.kind, blocks_before),
            bytes: size,
            cuts: cuts.into(),
            on_ssd: false,
            reused: false,
            place,
        };
        let superseded = self.superseded(&entry.place, key);
        let before = self.before(&entry).unwrap_or_default();
        self.memory.touch(before);
        let room = self.memory.make_room(size, &superseded);
        let Some(leave) = room.filter(|_| size <= ENTRY_BYTES_MAX) else {
            self.stats.refused_full += 1;
            return Put::Full;
        };
        for key in leave {
            self.evict(key);
        }
        for key in superseded {
            self.forget_bytes(key);
        }
        let standing = match self.writing {
            Writing::On => Standing::Waiting,
            Writing::Paused(_) => Standing::Failed,
            Writing::Off | Writing::Stopping => Standing::Settled,
        };
        self.memory.insert(key, entry.rank, Arc::new(bytes), standing);
        self.index.insert(key, entry);
        if standing == Standing::Waiting {
            self.queue.push_back(key);
        }
        Put::Taken
    }

    fn knows(&self, place: &Place, key: Key) -> bool {
        match place.kind {
            Kind::Cells => self.index.covering(place.parent, &place.tokens).is_some(),
            Kind::State => self.index.get(key).is_some(),
        }
    }

    /// The cells that an entry makes superfluous.
    pub(crate) fn superseded(&self, place: &Place, but: Key) -> Vec<Key> {
        match place.kind {
            Kind::Cells => {
                let shorter = self.index.prefixes(place.parent, Kind::Cells, &place.tokens);
                shorter.map(|(key, _)| key).filter(|key| *key != but).collect()
            }
            Kind::State => Vec::new(),
        }
    }

    /// The entries without which this one cannot be restored, the first of the chain first; none
    /// when one of them is nowhere.
    pub(crate) fn before(&self, entry: &Entry) -> Option<Vec<Key>> {
        let place = &entry.place;
        match (self.need, place.kind) {
            (Need::State, Kind::Cells | Kind::State) => Some(Vec::new()),
            (Need::Cells | Need::CellsAndState, Kind::Cells) => self.index.before(entry),
            (Need::Cells | Need::CellsAndState, Kind::State) => {
                let mut before = self.index.before(entry)?;
                if !place.tokens.is_empty() {
                    before.push(self.index.covering(place.parent, &place.tokens)?);
                }
                Some(before)
            }
        }
    }

    /// The blocks of these tokens that are nowhere.
    pub(crate) fn missing(&self, tokens: &[u32], chain: &[Key]) -> Vec<std::ops::Range<usize>> {
        if self.need == Need::State {
            return Vec::new();
        }
        let blocks = tokens.chunks(BLOCK_TOKENS).enumerate().filter(|(block, tokens)| {
            let is_there = match chain.get(block + 1) {
                Some(link) => self.index.block(*link),
                None => self.index.covering(chain[*block], tokens),
            };
            is_there.is_none()
        });
        let range = |(block, tokens): (usize, &[u32])| {
            block * BLOCK_TOKENS..block * BLOCK_TOKENS + tokens.len()
        };
        blocks.map(range).collect()
    }

    /// Sets the bound of the memory tier, and lets go of memory that only waits for the next restore;
    /// gives the bytes that were freed.
    pub(crate) fn shrink(&mut self, ram_bytes: u64) -> u64 {
        let before = self.memory.bytes();
        for key in self.memory.limit(ram_bytes.min(self.ram_bytes)) {
            self.evict(key);
        }
        before - self.memory.bytes() + capacity(&self.take_buffers())
    }

    /// Memory to read into: new memory costs as much as what is read into it.
    pub(crate) fn take_buffers(&mut self) -> Vec<Arc<Vec<u8>>> {
        std::mem::take(&mut self.buffers)
    }

    /// Keeps what nobody else holds for the next restore, within bounds.
    pub(crate) fn keep_buffers(&mut self, buffers: Vec<Arc<Vec<u8>>>) {
        let free = buffers.into_iter().filter_map(Arc::into_inner).map(Arc::new);
        self.buffers.extend(free);
        self.buffers.retain(|buffer| buffer.capacity() as u64 <= BUFFER_BYTES_MAX);
        self.buffers.sort_by_key(|buffer| buffer.capacity());
        while capacity(&self.buffers) > BUFFERS_BYTES_MAX {
            self.buffers.pop();
        }
    }

    /// What the thread that writes is to tell the folder: these were used.
    pub(crate) fn note_use(&mut self, keys: Vec<Key>) {
        self.memory.touch(keys.iter().copied());
        for key in &keys {
            if let Some(entry) = self.index.get_mut(*key) {
                entry.reused = true;
            }
        }
        let on_ssd = |key: &Key| self.index.get(*key).is_some_and(|entry| entry.on_ssd);
        let files: Vec<Key> = keys.into_iter().filter(on_ssd).collect();
        let writes = matches!(self.writing, Writing::On | Writing::Paused(_));
        if writes && !files.is_empty() {
            self.used.push_back(files);
        }
    }

    /// Throws an entry out of memory for others.
    fn evict(&mut self, key: Key) {
        self.stats.evicted_ram += 1;
        self.forget_bytes(key);
    }

    /// Its bytes in memory are gone.
    fn forget_bytes(&mut self, key: Key) {
        self.memory.remove(key);
        if self.index.get(key).is_some_and(|entry| !entry.on_ssd) {
            self.index.remove(key);
        }
    }

    /// Its file is gone.
    pub(crate) fn forget_file(&mut self, key: Key) {
        if let Some(entry) = self.index.get_mut(key) {
            entry.on_ssd = false;
        }
        self.memory.lose_file(key);
        if self.memory.get(key).is_none() {
            self.index.remove(key);
        }
    }

    /// Its file is there.
    pub(crate) fn has_file(&mut self, key: Key, entry: Entry) {
        if self.index.get(key).is_none() {
            self.index.insert(key, entry);
        }
        if let Some(entry) = self.index.get_mut(key) {
            entry.on_ssd = true;
        }
        self.memory.settle(key, Standing::Written);
    }

    /// Writing failed for good: nothing waits, and nothing is written until then.
    pub(crate) fn pause(&mut self, until: SystemTime) {
        for key in std::mem::take(&mut self.queue) {
            if self.memory.is_waiting(key) {
                self.memory.settle(key, Standing::Failed);
            }
        }
        if self.writing == Writing::On {
            self.writing = Writing::Paused(until);
        }
    }

    /// Writing is tried again, with all that could not or should not be written: what an entry
    /// comes after may be there by now, and it may be another day.
    pub(crate) fn resume(&mut self) {
        if !matches!(self.writing, Writing::On | Writing::Paused(_)) {
            return;
        }
        self.writing = Writing::On;
        let unwritten = |key: &Key| {
            !self.memory.is_waiting(*key) && self.index.get(*key).is_some_and(|e| !e.on_ssd)
        };
        let mut again: Vec<Key> = self.memory.keys().filter(unwritten).collect();
        again.sort_by_key(|key| self.index.get(*key).map_or(0, |entry| entry.rank));
        for key in again {
            self.memory.settle(key, Standing::Waiting);
            self.queue.push_back(key);
        }
    }

    /// The counters, with what there is now.
    pub(crate) fn stats(&self) -> Stats {
        let files = self.index.iter().filter(|(_, entry)| entry.on_ssd);
        let (ssd_entries, ssd_bytes) =
            files.fold((0, 0), |(count, bytes), (_, entry)| (count + 1, bytes + entry.bytes));
        Stats {
            ram_entries: self.memory.count() as u64,
            ram_bytes: self.memory.bytes(),
            ssd_entries,
            ssd_bytes,
            unwritten_bytes: self.memory.unwritten_bytes(),
            ..self.stats.clone()
        }
    }
}

fn capacity(buffers: &[Arc<Vec<u8>>]) -> u64 {
    buffers.iter().map(|buffer| buffer.capacity() as u64).sum()
}
