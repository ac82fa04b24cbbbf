//! One restore: a few threads read the files of what was found, in order and a bounded number of
//! bytes ahead of the one who takes. Memory needs no reading, and is given at once.
//!
//! A file is read and checked segment by segment, and each is given as soon as it is there: what is on its
//! way is so little that it stays in the processor's caches, where a whole block would go through memory
//! twice.

use std::collections::VecDeque;
use std::io;
use std::num::NonZero;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::disk::Opened;
use crate::format::{self, Damage, HEADER_BYTES_MAX, Header, Segment, Sum};
use crate::key::{Key, Kind};
use crate::limits::{READ_AHEAD_BYTES, READERS, WATCH_MAX};
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

/// One entry of what was found, or a part of one.
#[derive(Debug, Clone)]
pub struct Piece {
    /// What it holds.
    pub kind: Kind,
    /// Positions of its tokens; a state stands after the last of them.
    pub range: Range<usize>,
    /// How many of these tokens are those that were asked for; the caller drops the surplus.
    pub usable: usize,
    /// Its bytes.
    pub bytes: u64,
    /// Where it was when it was found.
    pub tier: Tier,
    pub(crate) key: Key,
    pub(crate) rank: u32,
}

/// What a restore gives next.
#[derive(Debug)]
pub enum Step {
    /// An entry, or the next part of one that can be taken part by part.
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
    /// The first piece of which not all was given yet.
    give_next: usize,
    /// Nothing after this piece is of use any more.
    stop_at: usize,
    /// Bytes that are read or being read, and not taken.
    ahead_bytes: u64,
    /// Who waits for room, by the pieces they read.
    waiting: Vec<usize>,
    /// Memory to read into. Some of it was given away, and is free when its taker has let go of it.
    buffers: Vec<Arc<Vec<u8>>>,
    ended: bool,
}

/// What there is of a piece.
#[derive(Default)]
struct Slot {
    /// Whether somebody reads it.
    claimed: bool,
    /// What was read and not given yet.
    parts: VecDeque<Part>,
    /// Whether nothing more comes, and why if that is not the end of it.
    end: Option<Result<(), String>>,
}

/// A part of an entry, or all of it.
struct Part {
    /// Positions of its tokens.
    range: Range<usize>,
    bytes: Arc<Vec<u8>>,
    tier: Tier,
    /// What it counts of `ahead_bytes`.
    ahead_bytes: u64,
}

impl Slot {
    /// One that needs no reading.
    fn in_memory(piece: &Piece, bytes: Arc<Vec<u8>>) -> Self {
        let range = piece.range.clone();
        let part = Part { range, bytes, tier: Tier::Ram, ahead_bytes: 0 };
        Self { claimed: true, parts: VecDeque::from([part]), end: Some(Ok(())) }
    }
}

impl State {
    fn new(pieces: Vec<Piece>, slots: Vec<Slot>, buffers: Vec<Arc<Vec<u8>>>) -> Self {
        Self {
            pieces,
            slots,
            give_next: 0,
            stop_at: usize::MAX,
            ahead_bytes: 0,
            waiting: Vec::new(),
            buffers,
            ended: false,
        }
    }

    /// The next piece to read.
    fn claim(&mut self) -> Option<(usize, Piece)> {
        let at = self.slots.iter().position(|slot| !slot.claimed)?;
        if self.is_over(at) {
            return None;
        }
        self.slots[at].claimed = true;
        Some((at, self.pieces[at].clone()))
    }

    /// Whether nobody wants this piece any more.
    fn is_over(&self, at: usize) -> bool {
        self.ended || at > self.stop_at
    }

    /// Whether so many bytes of this piece may be read ahead. What is waited for goes in any case, and a
    /// part that is larger than all room when nothing else is held; room is for earlier pieces first.
    fn has_room(&self, at: usize, bytes: u64) -> bool {
        let is_waited_for = at == self.give_next && self.slots[at].parts.is_empty();
        let is_first = self.waiting.iter().all(|other| *other >= at);
        let fits = self.ahead_bytes == 0 || self.ahead_bytes + bytes <= READ_AHEAD_BYTES;
        is_waited_for || (is_first && fits)
    }

    /// A buffer to read so many bytes into: the smallest that has room for them, else the largest; of
    /// several, what was given back last, which the processor's caches still hold. Empty if all are in
    /// use.
    fn spare(&mut self, bytes: u64) -> Vec<u8> {
        let free = |bytes: &mut Arc<Vec<u8>>| Some(Arc::get_mut(bytes)?.capacity() as u64);
        let sizes = self.buffers.iter_mut().enumerate().rev();
        let free = sizes.filter_map(|(at, buffer)| Some((at, free(buffer)?)));
        let best =
            free.min_by_key(
                |(_, size)| {
                    if *size >= bytes { (false, *size) } else { (true, u64::MAX - *size) }
                },
            );
        let spare = best.map(|(at, _)| self.buffers.remove(at));
        spare.and_then(Arc::into_inner).unwrap_or_default()
    }

    /// No more of a piece comes.
    fn end(&mut self, at: usize, end: Result<(), String>) {
        if end.is_err() {
            self.stop_at = self.stop_at.min(at);
            // Nobody takes what is behind it.
            for slot in &mut self.slots[at + 1..] {
                let parts = std::mem::take(&mut slot.parts);
                self.ahead_bytes -= parts.iter().map(|part| part.ahead_bytes).sum::<u64>();
            }
        }
        self.slots[at].end = Some(end);
    }
}

impl Fetch {
    pub(crate) fn start(frame: Arc<Frame>, found: Found, wake: Wake) -> Self {
        let (slots, buffers): (Vec<Slot>, _) = {
            let mut shelf = frame.shared.lock();
            shelf.stats.hits += u64::from(!found.pieces.is_empty());
            shelf.note_use(found.pieces.iter().map(|piece| piece.key).collect());
            let slot = |piece: &Piece| {
                let bytes = shelf.memory.get(piece.key).cloned();
                bytes.map_or_else(Slot::default, |bytes| Slot::in_memory(piece, bytes))
            };
            let slots = found.pieces.iter().map(slot).collect();
            (slots, shelf.take_buffers())
        };
        frame.shared.tell();
        let unread = slots.iter().filter(|slot| !slot.claimed).count();
        let state = Mutex::new(State::new(found.pieces, slots, buffers));
        let line = Arc::new(Line { state, changed: Condvar::new(), wake });
        for number in 0..unread.min(readers()) {
            let (own_frame, own_line) = (Arc::clone(&frame), Arc::clone(&line));
            let reader = move || read_on(&own_frame, &own_line);
            let started = std::thread::Builder::new().name("kv-read".into()).spawn(reader);
            if let Err(error) = started {
                // One reader does it all.
                if number == 0 {
                    line.fail_unread(&format!("no thread to read with: {error}"));
                }
                break;
            }
        }
        Self { frame, line }
    }

    /// The next piece, if it is there or comes within this time.
    pub fn wait_for(&mut self, wait_max: Duration) -> Step {
        self.next(Some(Instant::now() + wait_max))
    }

    /// The next piece, however long its reading takes.
    pub fn wait(&mut self) -> Step {
        self.next(None)
    }

    /// The next piece, or that there is none at this time. What is in the page cache is there in a moment,
    /// and is watched for without sleeping: who is woken runs late, and on some kernels on the core of the
    /// reader, with another one idle.
    fn next(&self, until: Option<Instant>) -> Step {
        let watches_until = Instant::now() + WATCH_MAX;
        let mut state = self.line.lock();
        loop {
            match self.give(&mut state) {
                Step::Pending => {}
                step @ (Step::Ready(..) | Step::Failed(_) | Step::Done) => return step,
            }
            let now = Instant::now();
            if until.is_some_and(|until| now >= until) {
                return Step::Pending;
            }
            state = if now < watches_until {
                drop(state);
                // Not in vain where the reader has no other core.
                std::thread::yield_now();
                self.line.lock()
            } else {
                self.line.wait(state, until.map(|until| until - now))
            };
        }
    }

    fn give(&self, state: &mut State) -> Step {
        loop {
            let at = state.give_next;
            let Some(slot) = state.slots.get_mut(at) else { return Step::Done };
            if let Some(part) = slot.parts.pop_front() {
                let is_last = slot.parts.is_empty() && matches!(slot.end, Some(Ok(())));
                return self.give_part(state, at, part, is_last);
            }
            match slot.end.take() {
                None => return Step::Pending,
                Some(Ok(())) => {
                    state.give_next += 1;
                    // Whoever reads what is waited for now has room in any case.
                    self.line.changed.notify_all();
                }
                Some(Err(reason)) => {
                    state.give_next = state.slots.len();
                    return Step::Failed(reason);
                }
            }
        }
    }

    fn give_part(&self, state: &mut State, at: usize, part: Part, is_last: bool) -> Step {
        let entry = &state.pieces[at];
        let usable_end = (entry.range.start + entry.usable).clamp(part.range.start, part.range.end);
        let piece = Piece {
            usable: usable_end - part.range.start,
            range: part.range,
            bytes: part.bytes.len() as u64,
            // Memory may have let go of it since it was found.
            tier: part.tier,
            ..entry.clone()
        };
        state.ahead_bytes -= part.ahead_bytes;
        match part.tier {
            Tier::Ram => {}
            Tier::Ssd => {
                state.buffers.push(Arc::clone(&part.bytes));
                self.line.changed.notify_all();
            }
        }
        self.count(&piece, is_last);
        Step::Ready(piece, part.bytes)
    }

    fn count(&self, piece: &Piece, is_last: bool) {
        let mut shelf = self.frame.shared.lock();
        let shelf = &mut *shelf;
        let restored = match piece.tier {
            Tier::Ram => &mut shelf.stats.from_ram,
            Tier::Ssd => &mut shelf.stats.from_ssd,
        };
        restored.entries += u64::from(is_last);
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

    /// Sleeps until something has changed, at most so long.
    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        wait_max: Option<Duration>,
    ) -> MutexGuard<'a, State> {
        let waited = match wait_max {
            Some(wait_max) => self
                .changed
                .wait_timeout(state, wait_max)
                .map(|(state, _)| state)
                .map_err(|error| error.into_inner().0),
            None => self.changed.wait(state).map_err(PoisonError::into_inner),
        };
        waited.unwrap_or_else(|state| state)
    }

    /// Memory for so many bytes of a piece, when there is room ahead; none when nobody wants them any
    /// more.
    fn room(&self, at: usize, bytes: u64) -> Option<Vec<u8>> {
        let mut state = self.lock();
        let mut waits = false;
        while !state.is_over(at) && !state.has_room(at, bytes) {
            if !std::mem::replace(&mut waits, true) {
                state.waiting.push(at);
            }
            state = self.wait(state, None);
        }
        if waits {
            state.waiting.retain(|other| *other != at);
            // Whoever waited behind this one may go.
            self.changed.notify_all();
        }
        if state.is_over(at) {
            return None;
        }
        state.ahead_bytes += bytes;
        Some(state.spare(bytes))
    }

    fn push(&self, at: usize, part: Part, is_last: bool) {
        let mut state = self.lock();
        if state.is_over(at) {
            state.ahead_bytes -= part.ahead_bytes;
        } else {
            state.slots[at].parts.push_back(part);
            if is_last {
                state.end(at, Ok(()));
            }
        }
        drop(state);
        self.tell();
    }

    /// Room that was taken is not needed.
    fn give_room_back(&self, bytes: u64) {
        self.lock().ahead_bytes -= bytes;
    }

    fn fail(&self, at: usize, reason: String) {
        self.lock().end(at, Err(reason));
        self.tell();
    }

    /// Nobody reads.
    fn fail_unread(&self, reason: &str) {
        let claimed = self.lock().claim();
        if let Some((at, _)) = claimed {
            self.fail(at, reason.to_owned());
        }
    }

    fn tell(&self) {
        self.changed.notify_all();
        (self.wake)();
    }
}

/// How many threads read for one restore on this machine, beside the one that takes.
fn readers() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    (cores - 1).clamp(1, READERS)
}

/// A reader's life.
fn read_on(frame: &Frame, line: &Line) {
    loop {
        let Some((at, piece)) = line.lock().claim() else { return };
        if let Err(reason) = read(frame, line, at, &piece) {
            line.fail(at, reason);
        }
    }
}

/// The parts of an entry from its file. Whatever is wrong with the file, the rest of it is a miss.
fn read(frame: &Frame, line: &Line, at: usize, piece: &Piece) -> Result<(), String> {
    let path = frame.layout.entry(frame.identity.root, piece.key, piece.rank);
    let failed = |failure: Failure| match failure {
        Failure::Disk(error) => {
            frame.unreadable(piece.key, &error);
            format!("{}: {error}", path.display())
        }
        Failure::Damage(damage) => {
            frame.drop_file(piece.key, piece.rank, damage);
            format!("{}: {damage}", path.display())
        }
    };
    let mut file = frame.layout.disk.open(&path).map_err(|error| failed(error.into()))?;
    let header = read_header(frame, &mut *file, piece).map_err(failed)?;
    let usable_end = piece.range.start + piece.usable;
    let (mut offset, mut begin) = (header.payload_offset as u64, piece.range.start);
    for (index, segment) in header.segments.iter().enumerate() {
        let ahead_bytes = header.memory_bytes(segment);
        let Some(buffer) = line.room(at, ahead_bytes) else { return Ok(()) };
        let bytes = read_segment(frame, &mut *file, &header, segment, offset, buffer);
        let bytes = Arc::new(bytes.map_err(|failure| {
            line.give_room_back(ahead_bytes);
            failed(failure)
        })?);
        let range = begin..begin + segment.tokens as usize;
        (offset, begin) = (offset + u64::from(segment.bytes), range.end);
        // What follows may not be wanted.
        let is_last = index + 1 == header.segments.len() || begin >= usable_end;
        line.push(at, Part { range, bytes, tier: Tier::Ssd, ahead_bytes }, is_last);
        if is_last {
            break;
        }
    }
    Ok(())
}

/// Why something of a file could not be had.
enum Failure {
    Disk(io::Error),
    Damage(Damage),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl From<Damage> for Failure {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

fn read_header(frame: &Frame, file: &mut dyn Opened, piece: &Piece) -> Result<Header, Failure> {
    let start = file.read(0, HEADER_BYTES_MAX as u64, Vec::new(), &mut |_| {})?;
    let header = format::decode(&start, file.bytes()?, frame.seal.as_ref())?;
    let is_it = header.key == piece.key && header.root == frame.identity.root;
    if is_it { Ok(header) } else { Err(Damage::Key.into()) }
}

fn read_segment(
    frame: &Frame,
    file: &mut dyn Opened,
    header: &Header,
    segment: &Segment,
    offset: u64,
    buffer: Vec<u8>,
) -> Result<Vec<u8>, Failure> {
    let mut sum = Sum::new();
    let stored = file.read(offset, segment.bytes.into(), buffer, &mut |part| sum.add(part))?;
    Ok(format::unpack(header, segment, stored, &sum, frame.seal.as_ref())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A restore of so many entries.
    fn line(entries: usize) -> Line {
        let piece = || Piece {
            kind: Kind::Cells,
            range: 0..1,
            usable: 1,
            bytes: 1,
            tier: Tier::Ssd,
            key: Key([0; 32]),
            rank: 0,
        };
        let pieces = (0..entries).map(|_| piece()).collect();
        let slots = (0..entries).map(|_| Slot::default()).collect();
        let state = Mutex::new(State::new(pieces, slots, Vec::new()));
        Line { state, changed: Condvar::new(), wake: Box::new(|| {}) }
    }

    fn part(ahead_bytes: u64) -> Part {
        Part { range: 0..1, bytes: Arc::default(), tier: Tier::Ssd, ahead_bytes }
    }

    #[test]
    fn readers_stay_within_their_bound_but_for_what_is_waited_for() {
        let half = READ_AHEAD_BYTES / 2;
        let line = line(3);
        for _ in 0..2 {
            assert!(line.room(1, half).is_some());
        }
        assert!(!line.lock().has_room(1, 1));
        assert!(line.lock().has_room(0, half), "the first one is waited for");
        line.push(0, part(0), false);
        assert!(!line.lock().has_room(0, half), "it can be taken");
        line.lock().ahead_bytes = 1;
        assert!(!line.lock().has_room(2, READ_AHEAD_BYTES * 3));
        line.lock().ahead_bytes = 0;
        assert!(line.lock().has_room(2, READ_AHEAD_BYTES * 3), "a large one goes alone");
    }

    #[test]
    fn memory_that_was_given_back_is_used_again_and_other_memory_is_not() {
        let line = line(1);
        let held = Arc::new(vec![1_u8; 8]);
        line.lock().buffers = vec![Arc::clone(&held), Arc::new(vec![2; 9])];
        assert_eq!(line.lock().spare(1), [2; 9]);
        assert!(line.lock().spare(1).is_empty());
        assert_eq!(*held, [1; 8]);
    }

    #[test]
    fn a_buffer_is_taken_that_fits_and_of_several_the_last() {
        let line = line(1);
        let buffers = [(20, 0), (100, 1), (7, 0), (100, 2)];
        line.lock().buffers = buffers.map(|(bytes, mark)| Arc::new(vec![mark; bytes])).to_vec();
        let spare = |bytes| {
            let buffer = line.lock().spare(bytes);
            (buffer.len(), buffer.first().copied())
        };
        let expected = [(20, Some(0)), (100, Some(2)), (100, Some(1)), (7, Some(0)), (0, None)];
        assert_eq!([spare(8), spare(30), spare(300), spare(1), spare(1)], expected);
    }

    #[test]
    fn room_is_for_earlier_pieces_first() {
        let line = line(4);
        let quarter = READ_AHEAD_BYTES / 4;
        line.lock().ahead_bytes = quarter;
        line.lock().waiting = vec![2];
        assert!(line.lock().has_room(1, quarter) && line.lock().has_room(2, quarter));
        assert!(!line.lock().has_room(3, quarter));
    }

    #[test]
    fn without_a_reader_a_restore_fails_and_nobody_waits() {
        let line = line(2);
        line.fail_unread("no thread");
        assert!(line.lock().claim().is_none());
        assert!(matches!(line.lock().slots[0].end, Some(Err(_))));
    }

    #[test]
    fn what_comes_after_a_failure_is_not_read() {
        let line = line(3);
        let claim = || line.lock().claim().map(|(at, _)| at);
        assert_eq!((claim(), claim()), (Some(0), Some(1)));
        line.room(1, 5);
        line.push(1, part(5), false);
        line.room(2, 3);
        line.fail(0, "broken".into());
        line.push(2, part(3), true);
        assert_eq!(claim(), None);
        assert!(line.room(1, 1).is_none());
        assert_eq!(line.lock().ahead_bytes, 0, "nothing is held of it");
    }
}
