//! A disk that fails, tears or dies at a chosen operation, with a clock and free space of its own,
//! and that looks after each operation whether what must always hold does.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use crate::disk::{Disk, Listed, Locked, Opened, Stamp, System};
use crate::format;
use crate::key::{self, Key, Kind};
use crate::limits::BLOCK_TOKENS;

/// What happens at the chosen operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It fails with this error of the system; a write has written half.
    Once(i32),
    /// All that change something fail from then on.
    ReadOnly,
    /// The process is dead before it.
    Killed,
    /// The process is dead in the middle of it.
    Torn,
    /// The process is dead after it.
    KilledAfter,
}

#[derive(Debug, Default)]
struct State {
    operations: u64,
    changes: u64,
    fault: Option<(u64, Fault)>,
    dead: bool,
    read_only: bool,
    ticks: u64,
    days: u64,
    capacity: Option<u64>,
    written: u64,
    read_ahead: Vec<PathBuf>,
    reads: Vec<PathBuf>,
    holds_reads: bool,
    watch: Option<Watch>,
}

/// What is looked at after each change of the folder.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    pub(super) folder: PathBuf,
    pub(super) bytes_max: u64,
    pub(super) free_min: u64,
}

#[derive(Debug, Default)]
pub(super) struct Rigged(std::sync::Arc<Mutex<State>>);

/// What an operation is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Whole,
    Half,
    ThenDead,
}

impl Rigged {
    pub(super) fn set_fault(&self, at: u64, fault: Fault) {
        let mut state = self.0.lock().unwrap();
        state.operations = 0;
        state.fault = Some((at, fault));
    }

    /// Whether the chosen operation was reached.
    pub(super) fn reached(&self) -> bool {
        let state = self.0.lock().unwrap();
        state.fault.is_none_or(|(at, _)| state.operations > at)
    }

    pub(super) fn mend(&self) {
        let mut state = self.0.lock().unwrap();
        (state.fault, state.dead, state.read_only) = (None, false, false);
    }

    pub(super) fn set_read_only(&self) {
        self.0.lock().unwrap().read_only = true;
    }

    pub(super) fn set_capacity(&self, bytes: u64) {
        self.0.lock().unwrap().capacity = Some(bytes);
    }

    pub(super) fn watch(&self, watch: Watch) {
        self.0.lock().unwrap().watch = Some(watch);
    }

    /// Reads wait until this is taken back.
    pub(super) fn hold_reads(&self, holds: bool) {
        self.0.lock().unwrap().holds_reads = holds;
    }

    pub(super) fn pass_days(&self, days: u64) {
        self.0.lock().unwrap().days += days;
    }

    /// Bytes of entries that were written.
    pub(super) fn written(&self) -> u64 {
        self.0.lock().unwrap().written
    }

    /// Operations that changed the folder.
    pub(super) fn changes(&self) -> u64 {
        self.0.lock().unwrap().changes
    }

    pub(super) fn read_ahead(&self) -> Vec<PathBuf> {
        self.0.lock().unwrap().read_ahead.clone()
    }

    fn begin(&self, changes: bool) -> io::Result<How> {
        begin(&self.0, changes)
    }

    fn end<T>(&self, how: How, result: io::Result<T>) -> io::Result<T> {
        end(&self.0, how)?;
        result
    }

    /// The end of an operation that adds or removes a file.
    fn end_and_look<T>(&self, how: How, result: io::Result<T>) -> io::Result<T> {
        let ended = self.end(how, result);
        self.look();
        ended
    }

    /// Checks what must hold at all times.
    fn look(&self) {
        let state = self.0.lock().unwrap();
        let Some(watch) = state.watch.clone() else { return };
        let capacity = state.capacity;
        drop(state);
        let files = super::entry_files(&watch.folder);
        let bytes: u64 = files.iter().map(|f| std::fs::metadata(f).map_or(0, |m| m.len())).sum();
        assert!(bytes <= watch.bytes_max, "{bytes} bytes of at most {}", watch.bytes_max);
        if let Some(capacity) = capacity {
            assert!(capacity.saturating_sub(bytes) >= watch.free_min, "the floor is broken");
        }
        check_chains(&files);
    }
}

/// No entry lacks one that it comes after.
pub(super) fn check_chains(files: &[PathBuf]) {
    let read = |file: &PathBuf| {
        let bytes = std::fs::read(file).ok()?;
        format::decode(&bytes, bytes.len() as u64, None).ok()
    };
    let headers: Vec<_> = files
        .iter()
        .filter(|f| f.extension().is_some_and(|end| end == "kv"))
        .filter_map(read)
        .collect();
    let full = |header: &&format::Header| {
        header.kind == Kind::Cells && header.tokens.len() == BLOCK_TOKENS
    };
    let links: HashSet<Key> = headers
        .iter()
        .filter(full)
        .map(|header| key::link(header.parent, &header.tokens))
        .collect();
    // The chains of models without cells have none.
    let has_cells: HashSet<Key> =
        headers.iter().filter(|h| h.kind == Kind::Cells).map(|h| h.root).collect();
    for header in headers.iter().filter(|header| has_cells.contains(&header.root)) {
        if header.blocks_before > 0 {
            assert!(links.contains(&header.parent), "a parent is gone before {:?}", header.key);
        }
        if header.kind == Kind::State && !header.tokens.is_empty() {
            let covered = headers.iter().any(|cells| {
                let same = cells.kind == Kind::Cells && cells.parent == header.parent;
                same && cells.tokens.starts_with(&header.tokens)
            });
            assert!(covered, "the cells of a state are gone before it");
        }
    }
}

fn begin(shared: &Mutex<State>, changes: bool) -> io::Result<How> {
    let mut state = shared.lock().unwrap();
    let number = state.operations;
    state.operations += 1;
    state.changes += u64::from(changes);
    if state.dead {
        return Err(io::Error::other("killed"));
    }
    let fault = state.fault.filter(|(at, _)| *at == number).map(|(_, fault)| fault);
    if fault == Some(Fault::ReadOnly) {
        state.read_only = true;
    }
    if state.read_only && changes {
        return Err(io::Error::from_raw_os_error(30));
    }
    match fault {
        None | Some(Fault::ReadOnly) => Ok(How::Whole),
        Some(Fault::Once(error)) if !changes => Err(io::Error::from_raw_os_error(error)),
        Some(Fault::Once(_)) => Ok(How::Half),
        Some(Fault::Killed) => {
            state.dead = true;
            Err(io::Error::other("killed"))
        }
        Some(Fault::Torn) => {
            state.dead = true;
            Ok(How::Half)
        }
        Some(Fault::KilledAfter) => Ok(How::ThenDead),
    }
}

fn end(shared: &Mutex<State>, how: How) -> io::Result<()> {
    let mut state = shared.lock().unwrap();
    match how {
        How::Whole => Ok(()),
        How::ThenDead => {
            state.dead = true;
            Err(io::Error::other("killed"))
        }
        How::Half if state.dead => Err(io::Error::other("killed")),
        How::Half => match state.fault {
            Some((_, Fault::Once(error))) => Err(io::Error::from_raw_os_error(error)),
            _ => Err(io::Error::other("torn")),
        },
    }
}

impl Disk for Rigged {
    fn now(&self) -> SystemTime {
        let mut state = self.0.lock().unwrap();
        state.ticks += 1;
        let day = Duration::from_secs(86_400);
        let days = u32::try_from(20_000 + state.days).unwrap();
        SystemTime::UNIX_EPOCH + day * days + Duration::from_millis(state.ticks)
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        let how = self.begin(true)?;
        let made = if how == How::Half { Ok(()) } else { System.make_folder(path) };
        self.end(how, made)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        let how = self.begin(false)?;
        self.end(how, System.list(path))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Opened>> {
        let how = self.begin(false)?;
        self.0.lock().unwrap().reads.push(path.to_owned());
        let shared = std::sync::Arc::clone(&self.0);
        let opened = System.open(path);
        let opened = opened.map(|file| Box::new(RiggedFile { file, shared }) as Box<dyn Opened>);
        self.end(how, opened)
    }

    fn write_new(&self, path: &Path, parts: &[&[u8]], modified: SystemTime) -> io::Result<()> {
        let how = self.begin(true)?;
        let whole = parts.concat();
        let half = &whole[..whole.len() / 2];
        let bytes = if how == How::Half { half } else { &whole };
        let written = System.write_new(path, &[bytes], modified);
        if path.file_name().is_some_and(|name| name.len() > 64) {
            self.0.lock().unwrap().written += bytes.len() as u64;
        }
        self.end_and_look(how, written)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let how = self.begin(true)?;
        let renamed = if how == How::Half { Ok(()) } else { System.rename(from, to) };
        self.end_and_look(how, renamed)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let how = self.begin(true)?;
        let removed = if how == How::Half { Ok(()) } else { System.remove(path) };
        self.end_and_look(how, removed)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        let how = self.begin(true)?;
        let removed = if how == How::Half { Ok(()) } else { System.remove_folder(path) };
        self.end_and_look(how, removed)
    }

    fn touch(&self, path: &Path, time: SystemTime) -> io::Result<()> {
        let how = self.begin(true)?;
        let touched = if how == How::Half { Ok(()) } else { System.touch(path, time) };
        self.end(how, touched)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let how = self.begin(false)?;
        let capacity = self.0.lock().unwrap().capacity;
        let free = match capacity {
            None => System.free_bytes(path),
            Some(capacity) => {
                let files = super::entry_files(path);
                let used = files.iter().map(|f| std::fs::metadata(f).map_or(0, |m| m.len()));
                Ok(capacity.saturating_sub(used.sum()))
            }
        };
        self.end(how, free)
    }

    fn is_private(&self, path: &Path) -> io::Result<bool> {
        let how = self.begin(false)?;
        self.end(how, System.is_private(path))
    }

    fn stamp(&self, path: &Path) -> io::Result<Stamp> {
        let how = self.begin(false)?;
        self.end(how, System.stamp(path))
    }

    fn read_ahead(&self, path: &Path) -> io::Result<()> {
        let how = self.begin(false)?;
        self.0.lock().unwrap().read_ahead.push(path.to_owned());
        self.end(how, System.read_ahead(path))
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Locked>>> {
        // Opening makes the file, which a read-only folder does not allow.
        let how = self.begin(true)?;
        if how == How::Half {
            return self.end(how, Ok(None));
        }
        let shared = std::sync::Arc::clone(&self.0);
        let locked = System.try_lock(path)?;
        let locked = locked.map(|lock| Box::new(RiggedLock { lock, shared }) as Box<dyn Locked>);
        self.end(how, Ok(locked))
    }
}

struct RiggedFile {
    file: Box<dyn Opened>,
    shared: std::sync::Arc<Mutex<State>>,
}

impl Opened for RiggedFile {
    fn bytes(&self) -> io::Result<u64> {
        self.file.bytes()
    }

    fn read(
        &mut self,
        at: u64,
        bytes: u64,
        buffer: Vec<u8>,
        seen: &mut dyn FnMut(&[u8]),
    ) -> io::Result<Vec<u8>> {
        while self.shared.lock().unwrap().holds_reads {
            std::thread::yield_now();
        }
        let how = begin(&self.shared, false)?;
        let read = self.file.read(at, bytes, buffer, seen);
        end(&self.shared, how)?;
        read
    }
}

struct RiggedLock {
    lock: Box<dyn Locked>,
    shared: std::sync::Arc<Mutex<State>>,
}

impl Locked for RiggedLock {
    fn read(&mut self, bytes_max: u64) -> io::Result<Vec<u8>> {
        let how = begin(&self.shared, false)?;
        let read = self.lock.read(bytes_max);
        end(&self.shared, how)?;
        read
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let how = begin(&self.shared, true)?;
        let bytes = if how == How::Half { &bytes[..bytes.len() / 2] } else { bytes };
        let written = self.lock.write(at, bytes);
        end(&self.shared, how)?;
        written
    }
}
