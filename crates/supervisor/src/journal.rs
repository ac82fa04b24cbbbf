//! The journal: every event that the fleet was told and every action it decided, one JSON object a
//! line. What happened can be read there, and decided once more ([`replay`]). Each run begins a file,
//! and a file that is full is followed by one that begins with all that the fleet knows, so that each
//! can be decided once more by itself.
//!
//! A thread of its own writes, so that a slow disk holds up nobody; what it cannot take is counted.
//! Names of models, sizes and reasons are in it, the last words of an engine that died among them; nothing
//! of any request's content is put there.

use std::{
    fs::{self, File},
    io::{self, BufRead, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use planner::fleet::{Action, Fleet, Policy, When};

use crate::{
    happening::Happening,
    limits::{JOURNAL_ENTRIES_WAITING_MAX, JOURNAL_FILE_BYTES, JOURNAL_FILES_MAX},
};

/// The ending of a journal's file.
const ENDING: &str = "jsonl";

/// Writes one run.
#[derive(Debug)]
pub(crate) struct Journal {
    entries: SyncSender<Arc<Happening>>,
    lost: u64,
    /// Entries were lost, so that what follows can only be decided once more from what the fleet knows
    /// then.
    broken: bool,
    /// The thread that writes has filled its file.
    full: Arc<AtomicBool>,
}

impl Journal {
    /// Begins a file in `folder` for a fleet that begins with `policy`. A journal that cannot be
    /// written is no reason not to serve: the log says why there is none.
    pub(crate) fn begin(folder: &Path, policy: &Policy) -> Option<Self> {
        Self::begin_with(folder, policy, JOURNAL_FILE_BYTES)
    }

    fn begin_with(folder: &Path, policy: &Policy, file_bytes: u64) -> Option<Self> {
        let policy = policy.clone();
        let began = Happening::Began { version: version(), policy, unix_s: unix_s() };
        match open(folder) {
            Ok(file) => {
                let (entries, waiting) = sync_channel(JOURNAL_ENTRIES_WAITING_MAX);
                let full = Arc::new(AtomicBool::new(false));
                let journal = Self { entries, lost: 0, broken: false, full: Arc::clone(&full) };
                // The first entry always finds a place.
                journal.entries.try_send(Arc::new(began)).ok();
                let folder = folder.to_owned();
                let writer = Writer { folder, file, written_bytes: 0, file_bytes, full };
                std::thread::spawn(move || writer.write_all(waiting.iter()));
                Some(journal)
            }
            Err(error) => {
                tracing::warn!(%error, folder = %folder.display(), "there will be no journal");
                None
            }
        }
    }

    /// Hands an entry to the thread that writes. `fleet` is what it led to.
    pub(crate) fn write(&mut self, now: When, entry: Arc<Happening>, fleet: &Fleet) {
        let entry = match self.lost {
            0 => entry,
            // This one is lost too, and what it led to is told next.
            lost => Arc::new(Happening::Lost { entries: lost + 1 }),
        };
        match self.entries.try_send(entry) {
            Ok(()) => self.broken |= std::mem::take(&mut self.lost) > 0,
            // Its disk is slow; the hub goes on.
            Err(TrySendError::Full(_)) => {
                self.lost += 1;
                return;
            }
            // It has said why.
            Err(TrySendError::Disconnected(_)) => return,
        }
        // Taken back before the thread can say it of the next file.
        let full = self.full.swap(false, Ordering::Relaxed);
        if self.broken || full {
            let fleet = Box::new(fleet.clone());
            let (version, unix_s) = (version(), unix_s());
            let continues = Happening::Continues { version, unix_s, at: now.0, fleet };
            let sent = self.entries.try_send(Arc::new(continues)).is_ok();
            self.broken &= !sent;
            if !sent && full {
                self.full.store(true, Ordering::Relaxed);
            }
        }
    }
}

fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What the thread that writes knows.
struct Writer {
    folder: PathBuf,
    file: File,
    /// Bytes of whole entries in the file.
    written_bytes: u64,
    /// As many are enough.
    file_bytes: u64,
    full: Arc<AtomicBool>,
}

impl Writer {
    /// Writes until the run ends or the disk refuses.
    fn write_all(mut self, entries: impl Iterator<Item = Arc<Happening>>) {
        for entry in entries {
            let written = match &*entry {
                Happening::Continues { .. } => self.turn_over().and_then(|()| self.write(&entry)),
                Happening::Began { .. }
                | Happening::Told { .. }
                | Happening::Lost { .. }
                | Happening::Ended { .. } => self.write(&entry),
            };
            if let Err(error) = written {
                tracing::warn!(
                    %error, folder = %self.folder.display(),
                    "the journal ends here; make room on the disk and restart the hub to have one"
                );
                self.end(&error);
                return;
            }
        }
    }

    /// Each entry at once, so that it is there after a crash.
    fn write(&mut self, entry: &Happening) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        let before = self.written_bytes;
        self.written_bytes += line.len() as u64;
        if before < self.file_bytes && self.written_bytes >= self.file_bytes {
            self.full.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    fn turn_over(&mut self) -> io::Result<()> {
        self.file = open(&self.folder)?;
        self.written_bytes = 0;
        Ok(())
    }

    /// In place of an entry that broke off, if there is room for a word; if not, the file ends without.
    fn end(&mut self, error: &io::Error) {
        let ended = Happening::Ended { reason: error.to_string() };
        let whole = self.file.set_len(self.written_bytes);
        let at_end = whole.and_then(|()| self.file.seek(SeekFrom::Start(self.written_bytes)));
        at_end.and_then(|_| self.write(&ended)).ok();
    }
}

/// A new file, and room for it: the oldest of too many leave.
fn open(folder: &Path) -> io::Result<File> {
    fs::create_dir_all(folder)?;
    let mut files = files(folder)?;
    while files.len() >= JOURNAL_FILES_MAX {
        fs::remove_file(files.remove(0))?;
    }
    let last = files.last().and_then(|path| number(path)).unwrap_or(0);
    let mut options = File::options();
    options.write(true).create_new(true);
    // An engine's last words are in it, and only its owner's business.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(folder.join(format!("{:08}.{ENDING}", last + 1)))
}

/// The journals in a folder, oldest first; none when there is no such folder.
///
/// # Errors
/// When the folder cannot be read.
pub fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        // No hub has had anything to write yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        if number(&path).is_some() {
            files.push(path);
        }
    }
    files.sort_by_key(|path| number(path));
    Ok(files)
}

fn number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(&format!(".{ENDING}"))?.parse().ok()
}

/// What deciding once more found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The same was decided each time.
    Same,
    /// It cannot be told, and why.
    Unknown(String),
    /// At this entry something else was decided.
    Differs {
        /// Its number in the file, counted from 1.
        entry: usize,
        /// What is decided now.
        now: Vec<Action>,
    },
}

/// Reads a journal.
///
/// # Errors
/// A sentence that names the line that is no entry. A last line that breaks off is where the hub
/// was killed, and is left out.
pub fn read(journal: impl BufRead) -> Result<Vec<Happening>, String> {
    let lines: Vec<String> = journal
        .lines()
        .collect::<Result<_, _>>()
        .map_err(|error| format!("it cannot be read: {error}"))?;
    let mut entries = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        match serde_json::from_str(line) {
            Ok(entry) => entries.push(entry),
            Err(_) if index + 1 == lines.len() => {}
            Err(error) => return Err(format!("line {} is no entry: {error}", index + 1)),
        }
    }
    Ok(entries)
}

/// Decides everything once more and compares.
#[must_use]
pub fn replay(entries: &[Happening]) -> Verdict {
    let mut fleet: Option<Fleet> = None;
    for (index, entry) in entries.iter().enumerate() {
        match entry {
            Happening::Began { policy, .. } => fleet = Some(Fleet::new(policy.clone())),
            Happening::Continues { fleet: known, .. } => fleet = Some((**known).clone()),
            // It says why, and what came before was decided.
            Happening::Ended { .. } => {}
            Happening::Lost { entries } => {
                return Verdict::Unknown(format!(
                    "{entries} entries are missing after line {index}"
                ));
            }
            Happening::Told { at, event, actions } => {
                let Some(fleet) = &mut fleet else {
                    return Verdict::Unknown("it does not begin with a hub's beginning".to_owned());
                };
                let mut now = Vec::new();
                fleet.handle(When(*at), event.clone(), &mut now);
                if now != *actions {
                    return Verdict::Differs { entry: index + 1, now };
                }
            }
        }
    }
    match fleet {
        Some(_) => Verdict::Same,
        None => Verdict::Unknown("there is no entry of a hub in it".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use planner::fleet::{Event, Model, Priority, RequestId, Terms, WorkerId};

    use super::*;

    fn policy() -> Policy {
        Policy {
            budget_bytes: 100,
            idle_unload: Duration::from_secs(60),
            exclusive: BTreeSet::new(),
        }
    }

    fn wanted(request: u64) -> Event {
        let terms = Terms {
            bytes: 10,
            group: Some("main".into()),
            pinned: false,
            idle_unload: None,
            load_time: Duration::ZERO,
            once: false,
        };
        Event::Wanted {
            request: RequestId(request),
            model: Model { name: "a".into(), version: u64::MAX },
            terms,
            priority: Priority::Interactive,
            keep_alive: Some(Duration::from_millis(1)),
        }
    }

    /// A run as the run loop writes it.
    fn run() -> Vec<Happening> {
        let mut fleet = Fleet::new(policy());
        let began = Happening::Began { version: "x".into(), policy: policy(), unix_s: 1 };
        let events = [
            wanted(1),
            Event::Ready { worker: WorkerId(0), measured_bytes: 12 },
            Event::Released { request: RequestId(1) },
            Event::Tick,
            Event::Exited { worker: WorkerId(0), reason: "it left".into() },
        ];
        let told = events.into_iter().enumerate().map(|(second, event)| {
            let at = Duration::from_secs(second as u64);
            let mut actions = Vec::new();
            fleet.handle(When(at), event.clone(), &mut actions);
            Happening::Told { at, event, actions }
        });
        [began].into_iter().chain(told).collect()
    }

    /// Writes a run in files of so many bytes, and reads all of them once everything is there.
    fn written(folder: &Path, file_bytes: u64) -> Vec<Vec<Happening>> {
        let mut journal = Journal::begin_with(folder, &policy(), file_bytes).unwrap();
        let mut fleet = Fleet::new(policy());
        let entries = run();
        for entry in &entries {
            let Happening::Told { at, event, .. } = entry else { continue };
            fleet.handle(When(*at), event.clone(), &mut Vec::new());
            until_full(&journal, file_bytes);
            journal.write(When(*at), Arc::new(entry.clone()), &fleet);
            let is_here = |files: &[Vec<Happening>]| files.iter().flatten().any(|one| one == entry);
            while !is_here(&all(folder)) {
                std::thread::yield_now();
            }
        }
        until_full(&journal, file_bytes);
        all(folder)
    }

    /// Where one entry fills a file, until the thread has seen that it did.
    fn until_full(journal: &Journal, file_bytes: u64) {
        while file_bytes == 1 && !journal.full.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
    }

    fn all(folder: &Path) -> Vec<Vec<Happening>> {
        let files = files(folder).unwrap();
        files.iter().map(|path| read(fs::read(path).unwrap().as_slice()).unwrap()).collect()
    }

    #[test]
    fn what_was_decided_is_decided_again() {
        let folder = tempfile::tempdir().unwrap();
        let files = written(folder.path(), JOURNAL_FILE_BYTES);
        let [entries] = &files[..] else { panic!("{files:?}") };
        assert_eq!(entries[1..], run()[1..]);
        assert_eq!(replay(entries), Verdict::Same);
    }

    #[test]
    fn a_file_that_is_full_is_followed_by_one_that_can_be_decided_again_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let files = written(folder.path(), 1);
        assert_eq!(files.len(), run().len(), "one for each entry");
        for entries in &files[1..] {
            assert!(matches!(entries[0], Happening::Continues { .. }), "{entries:?}");
            assert_eq!(replay(entries), Verdict::Same);
        }
        let told = |entry: &&Happening| matches!(entry, Happening::Told { .. });
        let told: Vec<&Happening> = files.iter().flatten().filter(told).collect();
        assert_eq!(told, run()[1..].iter().collect::<Vec<_>>(), "nothing is lost between two");
    }

    #[test]
    fn a_slow_disk_costs_entries_and_then_it_goes_on_from_what_the_fleet_knows() {
        let (entries, waiting) = sync_channel(2);
        let full = Arc::default();
        let mut journal = Journal { entries, lost: 0, broken: false, full };
        let mut fleet = Fleet::new(policy());
        let mut write = |journal: &mut Journal, entry: &Happening| {
            let Happening::Told { at, event, .. } = entry else { panic!() };
            fleet.handle(When(*at), event.clone(), &mut Vec::new());
            journal.write(When(*at), Arc::new(entry.clone()), &fleet);
        };
        let run = run();
        run[1..5].iter().for_each(|entry| write(&mut journal, entry));
        let mut written: Vec<Happening> =
            waiting.try_iter().map(|entry| (*entry).clone()).collect();
        assert_eq!(written, run[1..3]);
        write(&mut journal, &run[5]);
        written = waiting.try_iter().map(|entry| (*entry).clone()).collect();
        assert_eq!(written[0], Happening::Lost { entries: 3 });
        assert!(matches!(&written[1], Happening::Continues { .. }));
        assert_eq!(replay(&written[1..]), Verdict::Same);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_disk_that_refuses_ends_the_journal_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = File::options().write(true).open("/dev/full").unwrap();
        let (path, full) = (folder.path().to_owned(), Arc::default());
        let writer = Writer { folder: path, file, written_bytes: 0, file_bytes: 1, full };
        let mut taken = 0;
        writer.write_all(run().into_iter().map(Arc::new).inspect(|_| taken += 1));
        assert_eq!(taken, 1, "it is not tried again");
    }

    #[test]
    fn a_word_on_the_end_replaces_the_entry_that_broke_off() {
        let folder = tempfile::tempdir().unwrap();
        let file = open(folder.path()).unwrap();
        let (path, full) = (folder.path().to_owned(), Arc::default());
        let mut writer = Writer { folder: path, file, written_bytes: 0, file_bytes: 1, full };
        writer.write(&run()[0]).unwrap();
        writer.file.write_all(b"{\"told\":{\"at\"").unwrap();
        writer.end(&io::Error::from(io::ErrorKind::StorageFull));
        let [entries] = &all(folder.path())[..] else { panic!() };
        let [Happening::Began { .. }, Happening::Ended { reason }] = &entries[..] else {
            panic!("{entries:?}")
        };
        assert!(reason.contains("storage"), "{reason}");
        assert_eq!(replay(entries), Verdict::Same);
    }

    #[test]
    fn what_differs_or_cannot_be_told_is_said() {
        let mut entries = run();
        let Happening::Told { actions, .. } = &mut entries[1] else { panic!() };
        let decided = std::mem::take(actions);
        assert_eq!(replay(&entries), Verdict::Differs { entry: 2, now: decided });
        assert!(matches!(replay(&run()[1..]), Verdict::Unknown(_)));
        let lost = [&run()[..2], &[Happening::Lost { entries: 3 }]].concat();
        assert!(matches!(replay(&lost), Verdict::Unknown(_)));
        assert!(matches!(replay(&[]), Verdict::Unknown(_)), "some other file");
        assert!(read(&b"{}\n{}\n"[..]).unwrap_err().contains("line 1"));
        assert_eq!(read(&b"{\"began\""[..]), Ok(Vec::new()), "where the hub was killed");
    }

    #[test]
    fn old_journals_leave() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(files(&folder.path().join("none")).unwrap(), Vec::<PathBuf>::new());
        for _ in 0..JOURNAL_FILES_MAX + 3 {
            open(folder.path()).unwrap();
        }
        let files = files(folder.path()).unwrap();
        assert_eq!(files.len(), JOURNAL_FILES_MAX);
        assert_eq!(number(&files[0]), Some(4));
    }
}
