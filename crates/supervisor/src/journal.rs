//! The journal: every event that the fleet was told and every action it decided, one JSON object a
//! line, one file a run. What happened can be read there, and decided once more ([`replay`]).
//!
//! A thread of its own writes, so that a slow disk holds up nobody; what it cannot take is counted.
//! Names of models, sizes and reasons are in it, the last words of an engine that died among them; nothing
//! of any request's content is put there.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufWriter, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use planner::fleet::{Action, Fleet, Policy, When};

use crate::{
    happening::Happening,
    limits::{JOURNAL_BYTES_MAX, JOURNAL_ENTRIES_WAITING_MAX, JOURNAL_FILES_MAX},
};

/// The ending of a journal's file.
const ENDING: &str = "jsonl";

/// Writes one run.
#[derive(Debug)]
pub(crate) struct Journal {
    entries: SyncSender<Arc<Happening>>,
    lost: u64,
}

impl Journal {
    /// Begins a file in `folder` for a fleet that begins with `policy`. A journal that cannot be
    /// written is no reason not to serve: the log says why there is none.
    pub(crate) fn begin(folder: &Path, policy: &Policy) -> Option<Self> {
        let began = Happening::Began {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            policy: policy.clone(),
            unix_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        };
        match open(folder) {
            Ok(file) => {
                let (entries, waiting) = sync_channel(JOURNAL_ENTRIES_WAITING_MAX);
                let mut journal = Self { entries, lost: 0 };
                journal.write(Arc::new(began));
                std::thread::spawn(move || write_all(BufWriter::new(file), waiting.iter()));
                Some(journal)
            }
            Err(error) => {
                tracing::warn!(%error, folder = %folder.display(), "there will be no journal");
                None
            }
        }
    }

    /// Hands an entry to the thread that writes.
    pub(crate) fn write(&mut self, entry: Arc<Happening>) {
        if self.lost > 0 {
            let lost = Arc::new(Happening::Lost { entries: self.lost });
            if self.entries.try_send(lost).is_ok() {
                self.lost = 0;
            }
        }
        match self.entries.try_send(entry) {
            Ok(()) => {}
            // Its disk is slow or full; the hub goes on.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.lost += 1,
        }
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

/// Writes until the run ends, the file is as long as it may be, or the disk refuses.
fn write_all(mut file: BufWriter<File>, entries: impl Iterator<Item = Arc<Happening>>) {
    let mut left_bytes = JOURNAL_BYTES_MAX;
    for entry in entries {
        let Ok(mut line) = serde_json::to_vec(&*entry) else { continue };
        line.push(b'\n');
        let Some(left) = left_bytes.checked_sub(line.len() as u64) else {
            tracing::info!(bytes = JOURNAL_BYTES_MAX, "the journal of this run is full");
            return;
        };
        left_bytes = left;
        // Each entry at once, so that it is there after a crash.
        if let Err(error) = file.write_all(&line).and_then(|()| file.flush()) {
            tracing::warn!(%error, "the journal cannot be written any longer");
            return;
        }
    }
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
    Verdict::Same
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

    #[test]
    fn what_was_decided_is_decided_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::begin(folder.path(), &policy()).unwrap();
        for entry in run().into_iter().skip(1) {
            journal.write(Arc::new(entry));
        }
        drop(journal);
        let path = files(folder.path()).unwrap().remove(0);
        // The thread ends with the journal; its file is whole when the last line is there.
        let entries = loop {
            let entries = read(fs::read(&path).unwrap().as_slice()).unwrap();
            if entries.len() == run().len() {
                break entries;
            }
            std::thread::yield_now();
        };
        assert_eq!(entries[1..], run()[1..]);
        assert_eq!(replay(&entries), Verdict::Same);
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
