//! The thread of a store: it reads the index from the folder, then writes what was put, one entry at
//! a time under the folder's lock. Callers never wait for it.
//!
//! In the folder, an entry never lacks one that it comes after: a parent is written before its
//! children, gets at least their time of use, and leaves after them.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use crate::census::{Card, Census, Counted, HALF_MADE, Layout, Wanted};
use crate::format::{self, Damage, HEADER_BYTES_MAX, Name};
use crate::index::{Entry, Place};
use crate::key::Key;
use crate::ledger::Hold;
use crate::limits::{DROPS_SAID_MAX, WRITE_PAUSE, WRITE_TRIES};
use crate::memory::Standing;
use crate::seal::Seal;
use crate::settings::{Identity, Settings};
use crate::shelf::{Shared, Shelf, Work, Writing};

/// What of a store never changes.
pub(crate) struct Frame {
    pub(crate) layout: Layout,
    pub(crate) settings: Settings,
    pub(crate) identity: Identity,
    pub(crate) seal: Option<Seal>,
    pub(crate) shared: Arc<Shared>,
}

/// What became of an entry that was to be written.
enum Outcome {
    Written,
    /// Something that it comes after has no file.
    Orphan,
    Declined(&'static str),
    Failed(io::Error),
}

/// Why an entry is declined whose chain is not whole.
const ORPHAN: &str = "what it comes after is not written";

pub(crate) struct Writer {
    frame: Arc<Frame>,
    /// What the folder held.
    census: Census,
    /// The folder's generation then; none when it must be counted anew.
    generation: Option<u64>,
    /// Whether it was said that writing fails; it is said once until it works again.
    said: bool,
}

impl Writer {
    pub(crate) fn new(frame: Arc<Frame>) -> Self {
        Self { frame, census: Census::default(), generation: None, said: false }
    }

    /// Works until the store ends.
    pub(crate) fn run(mut self) {
        self.read_index();
        let shared = Arc::clone(&self.frame.shared);
        loop {
            let work = {
                let mut shelf = shared.lock();
                shelf.indexing = false;
                shelf.working = false;
                loop {
                    if shelf.writing == Writing::Stopping {
                        return;
                    }
                    if let Some(work) = shelf.take_work() {
                        shelf.working = true;
                        break work;
                    }
                    shared.tell();
                    shelf = shared.wait(shelf);
                }
            };
            match work {
                Work::Write(key) => self.write_chain(key),
                Work::Touch(keys) => self.touch(&keys),
                Work::Prefetch(bytes_max) => self.prefetch(bytes_max),
            }
        }
    }

    /// Reads the headers of all entries of this model, the last used first.
    fn read_index(&mut self) {
        let layout = &self.frame.layout;
        let mut files = match crate::census::list_or_empty(layout, &layout.model(self.root())) {
            Ok(files) => files,
            Err(error) => {
                let folder = layout.folder.display();
                tracing::warn!("the KV cache in {folder} cannot be read: {error}; it is not used");
                return;
            }
        };
        files.sort_by_key(|file| std::cmp::Reverse(file.modified));
        for file in files {
            if self.frame.shared.lock().writing == Writing::Stopping {
                return;
            }
            if let Some((key, rank)) = Layout::entry_name(&file.name) {
                self.read_header(key, rank);
            }
        }
    }

    /// Takes a file into the index, or removes it if anything is wrong with it.
    fn read_header(&self, key: Key, rank: u32) {
        let frame = &self.frame;
        let path = frame.layout.entry(self.root(), key, rank);
        let read = match frame.layout.disk.read(&path, HEADER_BYTES_MAX) {
            Ok(read) => read,
            Err(error) => return frame.unreadable(key, &error),
        };
        let header = format::decode(&read.head, read.bytes, frame.seal.as_ref());
        let header = header.and_then(|header| {
            let is_here = header.key == key
                && header.root == self.root()
                && crate::index::rank(header.kind, header.blocks_before) == rank;
            if is_here { Ok(header) } else { Err(Damage::Key) }
        });
        match header {
            Ok(header) => {
                let place = Place {
                    parent: header.parent,
                    kind: header.kind,
                    tokens: header.tokens.into(),
                };
                let entry = Entry {
                    place,
                    rank,
                    bytes: header.raw_bytes,
                    cuts: [].into(),
                    on_ssd: true,
                    reused: false,
                };
                frame.shared.lock().has_file(key, entry);
            }
            Err(damage) => frame.drop_file(key, rank, damage),
        }
    }

    /// Writes an entry, and before it what it comes after and is in memory alone.
    fn write_chain(&mut self, key: Key) {
        let mut looked_again = false;
        'again: loop {
            let Some(chain) = self.unwritten(key) else {
                return self.decline(key, ORPHAN);
            };
            for next in chain {
                match self.write_with_patience(next) {
                    Outcome::Written => {}
                    // Only writing tells that files are gone which were there before.
                    Outcome::Orphan if !std::mem::replace(&mut looked_again, true) => {
                        continue 'again;
                    }
                    Outcome::Orphan => return self.decline(key, ORPHAN),
                    Outcome::Declined(why) => {
                        self.decline(next, why);
                        if next != key {
                            self.decline(key, ORPHAN);
                        }
                        return;
                    }
                    Outcome::Failed(error) => return self.pause(&[next, key], &error),
                }
            }
            return;
        }
    }

    /// An entry with what it comes after, as far as there is no file of it, the first one first; none
    /// when something of that is nowhere.
    fn unwritten(&self, key: Key) -> Option<Vec<Key>> {
        let shelf = self.frame.shared.lock();
        let mut chain = shelf.before(shelf.index.get(key)?)?;
        chain.push(key);
        chain.retain(|key| shelf.index.get(*key).is_some_and(|entry| !entry.on_ssd));
        Some(chain)
    }

    /// Writes one entry, trying again at once what may be a hiccup.
    fn write_with_patience(&mut self, key: Key) -> Outcome {
        let mut tries = 1;
        loop {
            match self.write(key) {
                Ok(outcome) => {
                    self.said = false;
                    return outcome;
                }
                Err(error) => {
                    // Whatever was half done, the folder is counted again.
                    self.generation = None;
                    let mut shelf = self.frame.shared.lock();
                    shelf.stats.write_errors += 1;
                    if tries == WRITE_TRIES || shelf.writing == Writing::Stopping {
                        return Outcome::Failed(error);
                    }
                    tries += 1;
                }
            }
        }
    }

    fn write(&mut self, key: Key) -> io::Result<Outcome> {
        let mut hold = self.hold()?;
        let Some((entry, payload, before)) = self.subject(key) else {
            return Ok(Outcome::Orphan);
        };
        // Another process may have written it.
        if entry.on_ssd {
            self.frame.shared.lock().has_file(key, entry);
            return Ok(Outcome::Written);
        }
        if before.iter().any(|key| self.census.get(self.root(), *key).is_none()) {
            return Ok(Outcome::Orphan);
        }
        let frame = Arc::clone(&self.frame);
        let name = Name {
            kind: entry.place.kind,
            blocks_before: entry.blocks_before(),
            root: self.root(),
            parent: entry.place.parent,
            tokens: &entry.place.tokens,
        };
        let encoded = format::encode(
            name,
            &payload,
            &entry.cuts,
            frame.settings.compress,
            frame.seal.as_ref(),
        );
        let (head, stored) = encoded.map_err(io::Error::other)?;
        let bytes = (head.len() + stored.len()) as u64;
        if let Some(why) = self.over_day(&hold, &entry, &before, bytes) {
            return Ok(Outcome::Declined(why));
        }
        if !self.make_room(&mut hold, bytes, &before)? {
            return Ok(Outcome::Declined("it does not fit the budget"));
        }
        hold.announce(bytes)?;
        self.remember_generation(&hold);
        self.own_folder()?;
        let now = self.time();
        for key in &before {
            self.touch_file(*key, now)?;
        }
        self.write_file(key, entry.rank, &[&head, &stored], now)?;
        self.count_written(key, entry, bytes, now, &hold);
        Ok(Outcome::Written)
    }

    /// The entry, its bytes, and what it comes after.
    fn subject(&self, key: Key) -> Option<(Entry, Arc<Vec<u8>>, Vec<Key>)> {
        let shelf = self.frame.shared.lock();
        let entry = shelf.index.get(key)?.clone();
        let payload = Arc::clone(shelf.memory.get(key)?);
        let before = shelf.before(&entry)?;
        Some((entry, payload, before))
    }

    /// Why an entry is not written today, if so.
    fn over_day(
        &self,
        hold: &Hold,
        entry: &Entry,
        before: &[Key],
        bytes: u64,
    ) -> Option<&'static str> {
        let limit = self.frame.settings.day_write_bytes;
        let after = hold.ledger.written_bytes.saturating_add(bytes);
        if after > limit {
            return Some("the day's budget for writing is used up");
        }
        let is_wanted = || self.frame.shared.lock().is_wanted(entry, before);
        (after > limit / 2 && !is_wanted())
            .then_some("half of the day's budget for writing is used, and it may never be read")
    }

    /// Removes others until so many bytes fit; says whether they do.
    fn make_room(&mut self, hold: &mut Hold, bytes: u64, before: &[Key]) -> io::Result<bool> {
        let frame = Arc::clone(&self.frame);
        let disk = &*frame.layout.disk;
        let free_bytes = disk.free_bytes(&frame.layout.folder)?;
        let before: HashSet<Key> = before.iter().copied().collect();
        let path = &*frame.identity.path;
        let wanted = Wanted { root: self.root(), path, bytes, before: &before, free_bytes };
        let Some(victims) = self.census.victims(disk, &frame.settings, &wanted) else {
            return Ok(false);
        };
        if !victims.is_empty() {
            hold.announce(0)?;
            self.remember_generation(hold);
        }
        for (root, key) in victims {
            self.remove_file(root, key)?;
            frame.shared.lock().stats.evicted_ssd += 1;
        }
        Ok(true)
    }

    /// Makes this model's folder, and says in it whose it is.
    fn own_folder(&mut self) -> io::Result<()> {
        let root = self.root();
        let frame = Arc::clone(&self.frame);
        let disk = &*frame.layout.disk;
        let card = Card::of(disk, &frame.identity);
        let known = self.census.models.get(&root).and_then(|model| model.card.as_ref());
        if known == Some(&card) {
            return Ok(());
        }
        disk.make_folder(&frame.layout.model(root))?;
        let text = serde_json::to_vec_pretty(&card)?;
        let path = frame.layout.card(root);
        let half_made = frame.layout.model(root).join(format!("model{HALF_MADE}"));
        disk.write_new(&half_made, &[&text], disk.now())?;
        disk.rename(&half_made, &path)?;
        self.census.models.entry(root).or_default().card = Some(card);
        Ok(())
    }

    fn write_file(&self, key: Key, rank: u32, parts: &[&[u8]], now: SystemTime) -> io::Result<()> {
        let layout = &self.frame.layout;
        let path = layout.entry(self.root(), key, rank);
        let half_made = layout.model(self.root()).join(format!("{key}{HALF_MADE}"));
        let written = layout
            .disk
            .write_new(&half_made, parts, now)
            .and_then(|()| layout.disk.rename(&half_made, &path));
        if written.is_err() {
            // If this fails too, the next census removes it: nothing is written before that.
            let _ = layout.disk.remove(&half_made);
        }
        written
    }

    /// Books what was written, and removes what it supersedes.
    fn count_written(&mut self, key: Key, entry: Entry, bytes: u64, now: SystemTime, hold: &Hold) {
        let root = self.root();
        let counted = Counted { bytes, used: now, rank: entry.rank };
        self.census.insert(root, key, counted);
        let superseded = {
            let mut shelf = self.frame.shared.lock();
            shelf.stats.written_entries += 1;
            shelf.stats.written_bytes += bytes;
            shelf.stats.written_today_bytes = hold.ledger.written_bytes;
            let superseded = shelf.superseded(&entry.place, key);
            shelf.has_file(key, entry);
            superseded
        };
        for shorter in superseded {
            // One that cannot be removed now leaves with the others, by its age.
            let _ = self.remove_file(root, shorter);
        }
    }

    /// Says that these were used. A folder that takes no touch merely forgets the order of use.
    fn touch(&mut self, keys: &[Key]) {
        let touched = self.hold().and_then(|mut hold| {
            let now = self.time();
            hold.announce(0)?;
            self.remember_generation(&hold);
            // The first of the chain first: cut off anywhere, a parent is not older than its children.
            self.used_chain(keys).into_iter().try_for_each(|key| self.touch_file(key, now))
        });
        if let Err(error) = touched {
            tracing::debug!("the last use of cached prefixes cannot be noted: {error}");
            self.generation = None;
        }
    }

    /// Entries that were used, after all that the last of them comes after now: another process may have put
    /// others in their place.
    fn used_chain(&self, keys: &[Key]) -> Vec<Key> {
        let shelf = self.frame.shared.lock();
        let chain = keys.iter().rev().find_map(|key| {
            let entry = shelf.index.get(*key).filter(|entry| entry.on_ssd)?;
            Some((shelf.before(entry)?, *key))
        });
        let Some((mut used, last)) = chain else { return Vec::new() };
        // Cells of another branch may have been read than those that cover a state.
        used.extend(keys.iter().copied().filter(|key| *key != last));
        used.push(last);
        used
    }

    /// A time of use that no entry of this model is after, whatever the clock does: who comes later
    /// in a chain never looks younger than who comes before.
    fn time(&self) -> SystemTime {
        let model = self.census.models.get(&self.root());
        let used = model.into_iter().flat_map(|model| model.entries.values()).map(|e| e.used);
        used.max().unwrap_or(SystemTime::UNIX_EPOCH).max(self.frame.layout.disk.now())
    }

    fn touch_file(&mut self, key: Key, now: SystemTime) -> io::Result<()> {
        let root = self.root();
        let Some(counted) = self.census.get(root, key).copied() else { return Ok(()) };
        if counted.used < now {
            let layout = &self.frame.layout;
            layout.disk.touch(&layout.entry(root, key, counted.rank), now)?;
            self.census.insert(root, key, Counted { used: now, ..counted });
        }
        Ok(())
    }

    /// Asks the system to read what was used last.
    fn prefetch(&self, bytes_max: u64) {
        let layout = &self.frame.layout;
        let Ok(mut files) = layout.disk.list(&layout.model(self.root())) else { return };
        files.retain(|file| Layout::entry_name(&file.name).is_some());
        files.sort_by_key(|file| {
            let rank = Layout::entry_name(&file.name).map_or(0, |(_, rank)| rank);
            (std::cmp::Reverse(file.modified), rank)
        });
        let mut left = bytes_max;
        for file in files {
            let Some(after) = left.checked_sub(file.bytes) else { return };
            left = after;
            let path = layout.model(self.root()).join(&file.name);
            // Only a hint: a file that vanished meanwhile needs none.
            if layout.disk.read_ahead(&path).is_err() {
                return;
            }
            self.frame.shared.lock().stats.read_ahead_bytes += file.bytes;
        }
    }

    /// Takes the folder's lock, and counts the folder if somebody else changed it.
    fn hold(&mut self) -> io::Result<Hold> {
        let frame = Arc::clone(&self.frame);
        let layout = &frame.layout;
        let goes_on = || frame.shared.lock().writing != Writing::Stopping;
        let take = || Hold::take(&*layout.disk, &layout.lock(), &goes_on);
        let hold = match take() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                layout.disk.make_folder(&layout.folder)?;
                take()?
            }
            taken => taken?,
        };
        // What was not there when it was read may have been written again since: only the folder knows.
        let surprised = std::mem::take(&mut frame.shared.lock().surprised);
        if surprised || self.generation != Some(hold.ledger.generation) {
            self.generation = None;
            self.census = Census::take(layout)?;
            self.learn();
            self.remember_generation(&hold);
        }
        Ok(hold)
    }

    /// Brings the index in line with the folder.
    fn learn(&mut self) {
        let root = self.root();
        let files =
            self.census.models.get(&root).map(|model| {
                model.entries.iter().map(|(key, counted)| (*key, counted.rank)).collect()
            });
        let files: Vec<(Key, u32)> = files.unwrap_or_default();
        let present: HashSet<Key> = files.iter().map(|(key, _)| *key).collect();
        let known: HashSet<Key> = {
            let mut shelf = self.frame.shared.lock();
            let known = shelf.index.iter().filter(|(_, entry)| entry.on_ssd);
            let (known, gone): (Vec<Key>, Vec<Key>) =
                known.map(|(key, _)| key).partition(|key| present.contains(key));
            for key in gone {
                shelf.forget_file(key);
            }
            known.into_iter().collect()
        };
        for (key, rank) in files {
            if !known.contains(&key) {
                self.read_header(key, rank);
            }
        }
    }

    fn remove_file(&mut self, root: Key, key: Key) -> io::Result<()> {
        let Some(counted) = self.census.get(root, key).copied() else { return Ok(()) };
        let layout = &self.frame.layout;
        match layout.disk.remove(&layout.entry(root, key, counted.rank)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        self.census.remove(root, key);
        if root == self.root() {
            self.frame.shared.lock().forget_file(key);
        } else {
            self.census.remove_if_empty(&self.frame.layout, root);
        }
        Ok(())
    }

    fn remember_generation(&mut self, hold: &Hold) {
        self.generation = Some(hold.ledger.generation);
    }

    /// The entry stays in memory, and is not written.
    fn decline(&self, key: Key, why: &str) {
        let mut shelf = self.frame.shared.lock();
        shelf.memory.settle(key, Standing::Settled);
        *shelf.stats.declined.entry(why.to_owned()).or_default() += 1;
    }

    /// Writes nothing for a while.
    fn pause(&mut self, keys: &[Key], error: &io::Error) {
        let layout = &self.frame.layout;
        if !std::mem::replace(&mut self.said, true) {
            let folder = layout.folder.display();
            let pause_s = WRITE_PAUSE.as_secs();
            tracing::warn!(
                "the KV cache in {folder} cannot be written: {error}; trying again after {pause_s} s"
            );
        }
        let until = layout.disk.now() + WRITE_PAUSE;
        let mut shelf = self.frame.shared.lock();
        for key in keys {
            shelf.memory.settle(*key, Standing::Failed);
        }
        shelf.pause(until);
    }

    fn root(&self) -> Key {
        self.frame.identity.root
    }
}

impl Frame {
    /// A file could not be read: it is gone, or the system fails. Either way it is not asked for
    /// again.
    pub(crate) fn unreadable(&self, key: Key, error: &io::Error) {
        let mut shelf = self.shared.lock();
        if error.kind() == io::ErrorKind::NotFound {
            shelf.stats.vanished += 1;
            shelf.surprised = true;
        } else {
            shelf.stats.read_errors += 1;
            tracing::warn!(
                "an entry of the KV cache cannot be read: {error}; it is computed again"
            );
        }
        shelf.forget_file(key);
    }

    /// Something is wrong with a file: it goes, and is a miss.
    pub(crate) fn drop_file(&self, key: Key, rank: u32, damage: Damage) {
        let path = self.layout.entry(self.identity.root, key, rank);
        // If it cannot be removed, it is dropped again by the next one who reads it.
        let removed = self.layout.disk.remove(&path);
        let mut shelf: std::sync::MutexGuard<'_, Shelf> = self.shared.lock();
        let times = shelf.stats.dropped.entry(damage.to_string()).or_default();
        *times += 1;
        let shown = path.display();
        if *times <= DROPS_SAID_MAX {
            tracing::warn!("{shown} is removed from the KV cache: {damage}");
        } else {
            tracing::debug!("{shown} is removed from the KV cache: {damage}");
        }
        if removed.is_ok() {
            shelf.surprised = true;
        }
        shelf.forget_file(key);
    }
}
