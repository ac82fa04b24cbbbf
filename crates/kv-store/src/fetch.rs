//! One restore: a few threads read the files of what was found, in order and a bounded number of
//! bytes ahead of the one who takes. Memory needs no reading, and is given at once.

use std::num::NonZero;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::format::{self, Damage, Sum};
use crate::key::{Key, Kind};
use crate::limits::{ENTRY_BYTES_MAX, READ_AHEAD_BYTES, READERS};
use crate::writer::Frame;

/// Where an entry's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// In this process.
    Ram,
    /// In a file.
    Ssd,
}

/// What can be restored of some tokens.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// How many tokens come back.
    pub tokens: usize,
    /// The entries that hold them, in the order of restoring: cells from the first block on, then
    /// the state.
    pub pieces: Vec<Piece>,
}

/// One entry of what was found.
#[derive(Debug, Clone)]
pub struct Piece {
    /// What it holds.
    pub kind: Kind,
    /// Positions of the entry's tokens; a state stands after the last of them.
    pub range: Range<usize>,
    /// How many of these tokens are those that were asked for; the caller drops the surplus.
    pub usable: usize,
    /// Bytes of the state.
    pub bytes: u64,
    /// Where it was when it was found.
    pub tier: Tier,
    pub(crate) key: Key,
    pub(crate) rank: u32,
}

/// The next piece of a restore.
#[derive(Debug)]
pub enum Step {
    /// Here it is.
    Ready(Piece, Arc<Vec<u8>>),
    /// It is still being read.
    Pending,
    /// It cannot be had, and nothing after it; what came before is good. The reason is for a log.
    Failed(String),
    /// That was all.
    Done,
}

/// Called by a reader when something has become ready.
pub type Wake = Box<dyn Fn() + Send + Sync>;

/// A restore that goes on. Dropping it ends it.
pub struct Fetch {
    frame: Arc<Frame>,
    line: Arc<Line>,
}

/// The pieces of one restore, and those who work on them.
struct Line {
    state: Mutex<State>,
    changed: Condvar,
    wake: Wake,
}

struct State {
    pieces: Vec<Piece>,
    slots: Vec<Slot>,
    /// The first piece that nobody reads yet.
    read_next: usize,
    /// The first piece that was not given yet.
    give_next: usize,
    /// Bytes that are read or being read, and not taken.
    ahead_bytes: u64,
    /// What was given away. When its taker has let go of it, its memory is read into again.
    given: Vec<Arc<Vec<u8>>>,
    ended: bool,
}

impl State {
    /// Whether there is room ahead for the next piece; one that is larger than all room goes alone.
    fn may_read(&self) -> bool {
        let next = self.pieces.get(self.read_next);
        let after = next.map(|piece| self.ahead_bytes + piece.bytes);
        self.ahead_bytes == 0 || after.is_some_and(|bytes| bytes <= READ_AHEAD_BYTES)
    }

    /// A buffer to read into; empty if all are in use.
    fn spare(&mut self) -> Vec<u8> {
        let free = self.given.iter_mut().position(|bytes| Arc::get_mut(bytes).is_some());
        let spare = free.map(|at| self.given.swap_remove(at));
        spare.and_then(Arc::into_inner).unwrap_or_default()
    }
}

enum Slot {
    Unread,
    Ready(Arc<Vec<u8>>, Tier),
    Failed(String),
    Given,
}

impl Fetch {
    pub(crate) fn start(frame: Arc<Frame>, found: Found, wake: Wake) -> Self {
        let slots: Vec<Slot> = {
            let mut shelf = frame.shared.lock();
            shelf.stats.hits += u64::from(!found.pieces.is_empty());
            shelf.note_use(found.pieces.iter().map(|piece| piece.key).collect());
            let in_memory = |piece: &Piece| shelf.memory.get(piece.key).cloned();
            let slot = |piece| {
                in_memory(piece).map_or(Slot::Unread, |bytes| Slot::Ready(bytes, Tier::Ram))
            };
            found.pieces.iter().map(slot).collect()
        };
        frame.shared.tell();
        let unread = slots.iter().filter(|slot| matches!(slot, Slot::Unread)).count();
        let state = State {
            pieces: found.pieces,
            slots,
            read_next: 0,
            give_next: 0,
            ahead_bytes: 0,
            given: Vec::new(),
            ended: false,
        };
        let line = Arc::new(Line { state: Mutex::new(state), changed: Condvar::new(), wake });
        for _ in 0..unread.min(readers()) {
            let (own_frame, own_line) = (Arc::clone(&frame), Arc::clone(&line));
            let reader = move || read_on(&own_frame, &own_line);
            let started = std::thread::Builder::new().name("kv-read".into()).spawn(reader);
            if let Err(error) = started {
                line.fail_unread(&format!("no thread to read with: {error}"));
            }
        }
        Self { frame, line }
    }

    /// The next piece, if it is there.
    pub fn try_next(&mut self) -> Step {
        let mut state = self.line.lock();
        self.give(&mut state)
    }

    /// The next piece, however long its reading takes.
    pub fn wait(&mut self) -> Step {
        let mut state = self.line.lock();
        loop {
            match self.give(&mut state) {
                Step::Pending => {
                    state = self.line.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                step @ (Step::Ready(..) | Step::Failed(_) | Step::Done) => return step,
            }
        }
    }

    fn give(&self, state: &mut State) -> Step {
        let at = state.give_next;
        let Some(slot) = state.slots.get_mut(at) else { return Step::Done };
        match std::mem::replace(slot, Slot::Given) {
            Slot::Unread => {
                *slot = Slot::Unread;
                Step::Pending
            }
            Slot::Ready(bytes, tier) => {
                state.give_next += 1;
                // Memory may have let go of it since it was found.
                let piece = Piece { tier, ..state.pieces[at].clone() };
                match tier {
                    Tier::Ram => {}
                    Tier::Ssd => {
                        state.ahead_bytes -= piece.bytes;
                        if state.read_next < state.pieces.len() {
                            state.given.push(Arc::clone(&bytes));
                        }
                        self.line.changed.notify_all();
                    }
                }
                self.count(&piece);
                Step::Ready(piece, bytes)
            }
            Slot::Failed(reason) => {
                state.give_next = state.slots.len();
                Step::Failed(reason)
            }
            Slot::Given => Step::Done,
        }
    }

    fn count(&self, piece: &Piece) {
        let mut shelf = self.frame.shared.lock();
        let shelf = &mut *shelf;
        let restored = match piece.tier {
            Tier::Ram => &mut shelf.stats.from_ram,
            Tier::Ssd => &mut shelf.stats.from_ssd,
        };
        restored.entries += 1;
        restored.tokens += match piece.kind {
            Kind::Cells => piece.usable as u64,
            // Its tokens are counted with their cells, where it has some.
            Kind::State => 0,
        };
        restored.bytes += piece.bytes;
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.line.lock().ended = true;
        self.line.changed.notify_all();
    }
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next piece to read, when there is room ahead; none when there is nothing more to do.
    fn claim(&self) -> Option<(usize, Piece, Vec<u8>)> {
        let mut state = self.lock();
        loop {
            while matches!(state.slots.get(state.read_next), Some(Slot::Ready(..) | Slot::Given)) {
                state.read_next += 1;
            }
            let at = state.read_next;
            if state.ended || at >= state.pieces.len() {
                state.given.clear();
                return None;
            }
            if state.may_read() {
                state.ahead_bytes += state.pieces[at].bytes;
                state.read_next += 1;
                let piece = state.pieces[at].clone();
                return Some((at, piece, state.spare()));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn fill(&self, at: usize, read: Result<Vec<u8>, String>) {
        let mut state = self.lock();
        match read {
            Ok(bytes) => state.slots[at] = Slot::Ready(Arc::new(bytes), Tier::Ssd),
            Err(reason) => {
                state.slots[at] = Slot::Failed(reason);
                state.read_next = state.pieces.len();
            }
        }
        drop(state);
        self.changed.notify_all();
        (self.wake)();
    }

    fn fail_unread(&self, reason: &str) {
        let mut state = self.lock();
        if let Some(at) = state.slots.iter().position(|slot| matches!(slot, Slot::Unread)) {
            state.slots[at] = Slot::Failed(reason.to_owned());
        }
        state.read_next = state.pieces.len();
    }
}

/// How many threads read for one restore on this machine.
fn readers() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get).min(READERS)
}

/// A reader's life.
fn read_on(frame: &Frame, line: &Line) {
    while let Some((at, piece, buffer)) = line.claim() {
        line.fill(at, read(frame, &piece, buffer));
    }
}

/// The state of an entry from its file. Whatever is wrong with the file, it is a miss.
fn read(frame: &Frame, piece: &Piece, buffer: Vec<u8>) -> Result<Vec<u8>, String> {
    let seal = frame.seal.as_ref();
    let path = frame.layout.entry(frame.identity.root, piece.key, piece.rank);
    let head_bytes = format::header_bytes(piece.range.len(), seal.is_some());
    let mut sum = Sum::new();
    let disk = &frame.layout.disk;
    let read = disk.read_all(&path, head_bytes, ENTRY_BYTES_MAX, buffer, &mut |part| sum.add(part));
    let read = read.map_err(|error| {
        frame.unreadable(piece.key, &error);
        format!("{}: {error}", path.display())
    })?;
    let payload = format::decode(&read.head, read.bytes, seal).and_then(|header| {
        let is_it = header.key == piece.key && header.root == frame.identity.root;
        if is_it { format::unpack(&header, read.rest, &sum, seal) } else { Err(Damage::Key) }
    });
    payload.map_err(|damage| {
        frame.drop_file(piece.key, piece.rank, damage);
        format!("{}: {damage}", path.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(sizes: &[u64]) -> Line {
        let piece = |bytes: &u64| Piece {
            kind: Kind::Cells,
            range: 0..1,
            usable: 1,
            bytes: *bytes,
            tier: Tier::Ssd,
            key: Key([0; 32]),
            rank: 0,
        };
        let state = State {
            pieces: sizes.iter().map(piece).collect(),
            slots: sizes.iter().map(|_| Slot::Unread).collect(),
            read_next: 0,
            give_next: 0,
            ahead_bytes: 0,
            given: Vec::new(),
            ended: false,
        };
        let wake: Wake = Box::new(|| {});
        Line { state: Mutex::new(state), changed: Condvar::new(), wake }
    }

    /// Whether a reader would begin another piece now.
    fn may_claim(line: &Line) -> bool {
        let state = line.lock();
        state.may_read()
    }

    #[test]
    fn readers_stay_within_their_bound_and_one_that_is_larger_passes_alone() {
        let half = READ_AHEAD_BYTES / 2;
        let line = line(&[half, half, half, READ_AHEAD_BYTES * 3, 1]);
        for at in 0..2 {
            assert!(may_claim(&line));
            assert_eq!(line.claim().map(|claim| claim.0), Some(at));
        }
        assert!(!may_claim(&line));
        line.lock().ahead_bytes -= half;
        assert_eq!(line.claim().map(|claim| claim.0), Some(2));
        line.lock().ahead_bytes = 1;
        assert!(!may_claim(&line), "the large one waits until nothing else is held");
        line.lock().ahead_bytes = 0;
        assert_eq!(line.claim().map(|claim| claim.0), Some(3));
        assert!(!may_claim(&line));
    }

    #[test]
    fn memory_that_was_given_back_is_used_again_and_other_memory_is_not() {
        let line = line(&[1]);
        let held = Arc::new(vec![1_u8; 8]);
        line.lock().given = vec![Arc::clone(&held), Arc::new(vec![2; 9])];
        assert_eq!(line.lock().spare(), [2; 9]);
        assert!(line.lock().spare().is_empty());
        assert_eq!(*held, [1; 8]);
    }

    #[test]
    fn what_comes_after_a_failure_is_not_read() {
        let line = line(&[1, 1, 1]);
        assert_eq!(line.claim().map(|claim| claim.0), Some(0));
        line.fill(0, Err("broken".into()));
        assert!(line.claim().is_none());
    }
}
