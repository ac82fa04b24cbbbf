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
    /// Memory to read into. Some of it was given away, and is free when its taker has let go of it.
    buffers: Vec<Arc<Vec<u8>>>,
    ended: bool,
}

impl State {
    /// The next piece to read, for whoever asks now.
    fn claim(&mut self) -> Claim {
        while matches!(self.slots.get(self.read_next), Some(Slot::Ready(..) | Slot::Given)) {
            self.read_next += 1;
        }
        let at = self.read_next;
        let Some(piece) = self.pieces.get(at).filter(|_| !self.ended).cloned() else {
            return Claim::Nothing;
        };
        // One that is larger than all room ahead goes alone.
        if self.ahead_bytes > 0 && self.ahead_bytes + piece.bytes > READ_AHEAD_BYTES {
            return Claim::Later;
        }
        self.ahead_bytes += piece.bytes;
        self.read_next += 1;
        Claim::Read(at, piece, self.spare())
    }

    /// A buffer to read into; empty if all are in use.
    fn spare(&mut self) -> Vec<u8> {
        let free = |bytes: &mut Arc<Vec<u8>>| Arc::get_mut(bytes).map(|bytes| bytes.capacity());
        let sizes = self.buffers.iter_mut().map(free).enumerate();
        let largest = sizes.filter(|(_, size)| size.is_some()).max_by_key(|(_, size)| *size);
        let spare = largest.map(|(at, _)| self.buffers.swap_remove(at));
        spare.and_then(Arc::into_inner).unwrap_or_default()
    }
}

/// What somebody who could read is to do.
enum Claim {
    /// Read this piece, into this memory.
    Read(usize, Piece, Vec<u8>),
    /// Wait until some is taken of what is ahead.
    Later,
    /// There is nothing more to read.
    Nothing,
}

enum Slot {
    Unread,
    Ready(Arc<Vec<u8>>, Tier),
    Failed(String),
    Given,
}

impl Fetch {
    pub(crate) fn start(frame: Arc<Frame>, found: Found, wake: Wake) -> Self {
        let (slots, buffers): (Vec<Slot>, _) = {
            let mut shelf = frame.shared.lock();
            shelf.stats.hits += u64::from(!found.pieces.is_empty());
            shelf.note_use(found.pieces.iter().map(|piece| piece.key).collect());
            let in_memory = |piece: &Piece| shelf.memory.get(piece.key).cloned();
            let slot = |piece| {
                in_memory(piece).map_or(Slot::Unread, |bytes| Slot::Ready(bytes, Tier::Ram))
            };
            let slots = found.pieces.iter().map(slot).collect();
            (slots, shelf.take_buffers())
        };
        frame.shared.tell();
        let unread = slots.iter().filter(|slot| matches!(slot, Slot::Unread)).count();
        let state = State {
            pieces: found.pieces,
            slots,
            read_next: 0,
            give_next: 0,
            ahead_bytes: 0,
            buffers,
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

    /// The next piece, however long its reading takes. Who waits reads along.
    pub fn wait(&mut self) -> Step {
        let mut state = self.line.lock();
        loop {
            match self.give(&mut state) {
                Step::Pending => {}
                step @ (Step::Ready(..) | Step::Failed(_) | Step::Done) => return step,
            }
            state = match state.claim() {
                Claim::Read(at, piece, buffer) => {
                    drop(state);
                    self.line.fill(at, read(&self.frame, &piece, buffer));
                    self.line.lock()
                }
                Claim::Later | Claim::Nothing => self.line.wait(state),
            };
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
                        state.buffers.push(Arc::clone(&bytes));
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
        let mut state = self.line.lock();
        state.ended = true;
        let buffers = std::mem::take(&mut state.buffers);
        drop(state);
        self.line.changed.notify_all();
        self.frame.shared.lock().keep_buffers(buffers);
    }
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// The next piece to read, when there is room ahead; none when there is nothing more to do.
    fn claim(&self) -> Option<(usize, Piece, Vec<u8>)> {
        let mut state = self.lock();
        loop {
            match state.claim() {
                Claim::Read(at, piece, buffer) => return Some((at, piece, buffer)),
                Claim::Later => state = self.wait(state),
                Claim::Nothing => return None,
            }
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

/// How many threads read for one restore on this machine, beside the one that takes.
fn readers() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    (cores - 1).clamp(1, READERS)
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
            buffers: Vec::new(),
            ended: false,
        };
        let wake: Wake = Box::new(|| {});
        Line { state: Mutex::new(state), changed: Condvar::new(), wake }
    }

    #[test]
    fn readers_stay_within_their_bound_and_one_that_is_larger_passes_alone() {
        let half = READ_AHEAD_BYTES / 2;
        let line = line(&[half, half, half, READ_AHEAD_BYTES * 3, 1]);
        for at in 0..2 {
            assert_eq!(line.claim().map(|claim| claim.0), Some(at));
        }
        let claim = || line.lock().claim();
        assert!(matches!(claim(), Claim::Later));
        line.lock().ahead_bytes -= half;
        assert_eq!(line.claim().map(|claim| claim.0), Some(2));
        line.lock().ahead_bytes = 1;
        assert!(matches!(claim(), Claim::Later), "the large one waits until nothing else is held");
        line.lock().ahead_bytes = 0;
        assert_eq!(line.claim().map(|claim| claim.0), Some(3));
        assert!(matches!(claim(), Claim::Later));
    }

    #[test]
    fn memory_that_was_given_back_is_used_again_and_other_memory_is_not() {
        let line = line(&[1]);
        let held = Arc::new(vec![1_u8; 8]);
        line.lock().buffers = vec![Arc::clone(&held), Arc::new(vec![2; 9])];
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
