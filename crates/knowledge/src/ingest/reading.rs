//! Changed files are read by several threads, a bounded number of them at once, and written in groups by one.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use super::{Error, Event, Ingest, Run, Unread, Walked};
use crate::{
    chunk,
    document::Document,
    limits::{GROUP_FILES, GROUP_PASSAGES, GROUP_TEXT_BYTES, READ_TRIES, READERS_AHEAD},
    source::{self, Absence, Proof},
    store::{Change, Kind, Outcome, Read, Stat, kind_of},
};

/// A changed file, to be read.
#[derive(Debug, Clone)]
struct Task {
    change: Change,
    collection: u64,
    source: u64,
    kind: Kind,
    /// Whether it may turn out to be a file that was elsewhere before.
    may_be_moved: bool,
}

/// What came of one.
enum Answer {
    /// It was read, or cannot be.
    Read(Read),
    /// It holds what it held.
    Touched { file: u64, stat: Stat },
    /// It holds what a file held that seems to be gone.
    MaybeMoved { hash: [u8; 32], stat: Stat },
    /// It cannot be looked at just now; what is known of it stays.
    NotNow(String),
    /// It is gone already.
    Vanished,
    /// Somebody stopped the work.
    Stopped,
}

/// Files that were read and are not written yet.
#[derive(Default)]
struct Group {
    files: Vec<(u64, Read)>,
    passages: usize,
    text_bytes: usize,
}

impl Group {
    fn push(&mut self, source: u64, file: Read) {
        if let Outcome::Passages { passages, .. } = &file.outcome {
            self.passages += passages.len();
            self.text_bytes += passages.iter().map(|passage| passage.text.len()).sum::<usize>();
        }
        self.files.push((source, file));
    }

    fn is_full(&self) -> bool {
        self.files.len() >= GROUP_FILES
            || self.passages >= GROUP_PASSAGES
            || self.text_bytes >= GROUP_TEXT_BYTES
    }
}

impl Run<'_, '_> {
    /// Reads all files that changed, stores and indexes them. Says whether it came to its end.
    pub(super) fn read_changes(&mut self, walked: &[Walked]) -> Result<bool, Error> {
        let (tasks, taken) = channel::<Task>();
        let (answers, answered) = channel();
        let taken = Mutex::new(taken);
        // Set whenever this ends, so that readers leave what they are at.
        let over = AtomicBool::new(false);
        let ingest = self.ingest;
        let control = self.control;
        let readers = ingest.readers.max(1);
        thread::scope(|scope| {
            for _reader in 0..readers {
                let answers = answers.clone();
                let (taken, over) = (&taken, &over);
                scope.spawn(move || {
                    let stop = || over.load(Ordering::Relaxed) || control.is_stopped();
                    read_tasks(&ingest, taken, &answers, &stop, &control.stop);
                });
            }
            // Readers end when this is dropped, which is at the end of this closure however it ends.
            let tasks = tasks;
            drop(answers);
            let done = self.fed(walked, &tasks, &answered, readers + READERS_AHEAD);
            over.store(true, Ordering::Relaxed);
            done
        })
    }

    /// Feeds readers and writes what they answer. There are never more than `ahead` files with them, so channels
    /// without a bound hold no more.
    fn fed(
        &mut self,
        walked: &[Walked],
        tasks: &Sender<Task>,
        answered: &Receiver<(Task, Result<Answer, Error>)>,
        ahead: usize,
    ) -> Result<bool, Error> {
        let mut group = Group::default();
        let mut waiting = Changes::new(walked);
        let mut again: VecDeque<Task> = VecDeque::new();
        let mut out = 0;
        loop {
            if !self.goes_on()? {
                // What was read is kept; it is embedded when the work goes on.
                self.keep_group(&mut group)?;
                return Ok(false);
            }
            while out < ahead {
                let next = match again.pop_front() {
                    Some(task) => Some(task),
                    None => waiting.next(self)?,
                };
                let Some(task) = next else { break };
                if tasks.send(task).is_err() {
                    break;
                }
                out += 1;
            }
            if out == 0 {
                return Ok(self.write(&mut group)? && !self.control.is_stopped());
            }
            let Ok((task, answer)) = answered.recv() else { return Ok(false) };
            out -= 1;
            if matches!(answer, Ok(Answer::Stopped)) {
                self.keep_group(&mut group)?;
                return Ok(false);
            }
            self.take(task, answer?, walked, &mut group, &mut again)?;
            if group.is_full() && !self.write(&mut group)? {
                return Ok(false);
            }
        }
    }

    fn take(
        &mut self,
        task: Task,
        answer: Answer,
        walked: &[Walked],
        group: &mut Group,
        again: &mut VecDeque<Task>,
    ) -> Result<(), Error> {
        let path = &task.change.seen.path;
        self.progress.current = Some(path.clone());
        let store = self.ingest.store;
        match answer {
            Answer::Read(file) => {
                group.push(task.source, file);
                return Ok(());
            }
            Answer::Touched { file, stat } => {
                store.touched(file, stat)?;
                self.progress.unchanged += 1;
            }
            Answer::MaybeMoved { hash, stat } => {
                // What was read before this is written first, so that a file is not taken for another's place. The index
                // is told later: whoever moves a folder moves thousands of files.
                let (files, bytes) = self.keep_group(group)?;
                self.progress.files_done += files;
                self.progress.bytes_done += bytes;
                match self.moved_from(path, &hash, walked)? {
                    Some((file, from)) => {
                        store.moved(file, task.source, path, stat)?;
                        self.progress.unchanged += 1;
                        (self.tell)(&Event::Moved(&from, path));
                    }
                    None => {
                        again.push_back(Task { may_be_moved: false, ..task });
                        return Ok(());
                    }
                }
            }
            Answer::NotNow(reason) => {
                self.progress.skipped += 1;
                (self.tell)(&Event::Skipped(path, &reason));
            }
            // Whoever looks next finds it gone.
            Answer::Vanished | Answer::Stopped => {}
        }
        self.progress.files_done += 1;
        self.progress.bytes_done += task.change.seen.stat.size;
        Ok(())
    }

    /// The file that held this, if it is proved that it is not where it was.
    fn moved_from(
        &self,
        to: &Path,
        hash: &[u8; 32],
        walked: &[Walked],
    ) -> Result<Option<(u64, PathBuf)>, Error> {
        let files = self.ingest.store.files_with(self.collection.id, hash, &kind_of(to))?;
        for file in files.into_iter().filter(|file| file.path != to) {
            let Some(from) =
                walked.iter().find(|walked| file.path.starts_with(&walked.source.path))
            else {
                continue;
            };
            let mut proof = Proof::new(&from.source.path, &from.walk, from.renamed.clone());
            if proof.of(&file.path, file.device) == Absence::Gone {
                return Ok(Some((file.file, file.path)));
            }
        }
        Ok(None)
    }

    /// Writes a group, and gives the index what it holds. Says whether it came to its end.
    fn write(&mut self, group: &mut Group) -> Result<bool, Error> {
        let (files, bytes) = self.keep_group(group)?;
        let whole = self.index_due()?;
        if whole {
            self.progress.files_done += files;
            self.progress.bytes_done += bytes;
            self.told_progress();
        }
        Ok(whole)
    }

    /// Writes a group. Says how many files and bytes it had.
    fn keep_group(&mut self, group: &mut Group) -> Result<(u64, u64), Error> {
        let Group { files, .. } = std::mem::take(group);
        let (count, bytes) =
            (files.len() as u64, files.iter().map(|(_, file)| file.stat.size).sum());
        let mut files = files.into_iter().peekable();
        // Files of one source stand together, since sources are read one after the other.
        while let Some((source, first)) = files.next() {
            let mut these = vec![first];
            while let Some((_, file)) = files.next_if(|(of, _)| *of == source) {
                these.push(file);
            }
            self.ingest.store.put_files(&self.collection, source, &these)?;
            for file in &these {
                self.told_written(file);
            }
        }
        Ok((count, bytes))
    }

    fn told_written(&mut self, file: &Read) {
        match &file.outcome {
            Outcome::Passages { passages, .. } => {
                (self.tell)(&Event::Stored(&file.path));
                if passages.is_empty() {
                    (self.tell)(&Event::Indexed(&file.path));
                }
            }
            Outcome::Skipped { reason, .. } => {
                self.progress.skipped += 1;
                (self.tell)(&Event::Skipped(&file.path, reason));
            }
        }
    }
}

/// Changed files of all sources, a page at a time.
struct Changes<'a> {
    sources: VecDeque<&'a Walked>,
    page: VecDeque<Change>,
    after: Option<PathBuf>,
}

impl<'a> Changes<'a> {
    fn new(walked: &'a [Walked]) -> Changes<'a> {
        Changes { sources: walked.iter().collect(), page: VecDeque::new(), after: None }
    }

    fn next(&mut self, run: &Run<'_, '_>) -> Result<Option<Task>, Error> {
        while let Some(walked) = self.sources.front() {
            if let Some(change) = self.page.pop_front() {
                self.after = Some(change.seen.path.clone());
                let (source, kind) = (walked.source.id, walked.source.kind);
                let collection = run.collection.id;
                return Ok(Some(Task { change, collection, source, kind, may_be_moved: true }));
            }
            self.page = run.ingest.store.changes(walked.source.id, self.after.as_deref())?.into();
            if self.page.is_empty() {
                self.sources.pop_front();
                self.after = None;
            }
        }
        Ok(None)
    }
}

/// What one reader does.
fn read_tasks(
    ingest: &Ingest<'_>,
    tasks: &Mutex<Receiver<Task>>,
    answers: &Sender<(Task, Result<Answer, Error>)>,
    is_over: &dyn Fn() -> bool,
    stop: &AtomicBool,
) {
    loop {
        let task = tasks.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(task) = task else { return };
        let answer = if is_over() { Ok(Answer::Stopped) } else { read(ingest, &task, stop) };
        if answers.send((task, answer)).is_err() {
            return;
        }
    }
}

fn read(ingest: &Ingest<'_>, task: &Task, stop: &AtomicBool) -> Result<Answer, Error> {
    let seen = &task.change.seen;
    if let Some(reason) = &seen.refused {
        return Ok(skipped(task, seen.stat, None, reason.clone(), false));
    }
    if task.kind == Kind::Text {
        return read_text(ingest, task, stop);
    }
    for _try in 0..READ_TRIES {
        let (hash, stat) = match source::hash(&seen.path, stop) {
            Ok(found) => found,
            Err(error) => return Ok(unreadable(task, &error, stop)),
        };
        if let Some((file, Some(known))) = task.change.known
            && known == hash
        {
            return Ok(Answer::Touched { file, stat });
        }
        if task.may_be_moved && seems_moved(ingest, task, &hash)? {
            return Ok(Answer::MaybeMoved { hash, stat });
        }
        let read = ingest.extract.extract(&seen.path, stop);
        if stop.load(Ordering::Relaxed) {
            return Ok(Answer::Stopped);
        }
        // What was hashed must be what was read: nobody wrote to it in between.
        match source::stat_of(&seen.path) {
            Ok(after) if after == stat => return outcome(ingest, task, stat, hash, read),
            Ok(_) => {}
            Err(error) => return Ok(unreadable(task, &error, stop)),
        }
    }
    let reason = "it changes while it is read; it is tried again at the next look".to_owned();
    Ok(not_now(task, reason))
}

fn outcome(
    ingest: &Ingest<'_>,
    task: &Task,
    stat: Stat,
    hash: [u8; 32],
    read: Result<Document, Unread>,
) -> Result<Answer, Error> {
    match read {
        Ok(document) => {
            let (sizes, tokens) = ingest.sizes();
            let passages = chunk::passages(&document, sizes, &tokens)?;
            let Document { title, gaps, .. } = document;
            let outcome = Outcome::Passages { title, gaps, passages };
            Ok(Answer::Read(Read {
                path: task.change.seen.path.clone(),
                stat,
                hash: Some(hash),
                outcome,
            }))
        }
        Err(Unread { reason, again: true }) => Ok(not_now(task, reason)),
        Err(Unread { reason, again: false }) => Ok(skipped(task, stat, Some(hash), reason, false)),
    }
}

/// What came by standard input is read as a file with its name's ending.
fn read_text(ingest: &Ingest<'_>, task: &Task, stop: &AtomicBool) -> Result<Answer, Error> {
    let (content, _) = ingest.store.text(task.source)?;
    let hash = *blake3::hash(&content).as_bytes();
    let stat = task.change.seen.stat;
    if let Some((file, Some(known))) = task.change.known
        && known == hash
    {
        return Ok(Answer::Touched { file, stat });
    }
    let ending = match kind_of(&task.change.seen.path).as_str() {
        "" => ".txt".to_owned(),
        kind => format!(".{kind}"),
    };
    let file = tempfile::Builder::new().suffix(&ending).tempfile().map_err(Error::Temporary)?;
    io::Write::write_all(&mut file.as_file(), &content).map_err(Error::Temporary)?;
    let read = ingest.extract.extract(file.path(), stop);
    if stop.load(Ordering::Relaxed) {
        return Ok(Answer::Stopped);
    }
    outcome(ingest, task, stat, hash, read)
}

/// Whether a file with the same content is known that does not seem to be where it was.
fn seems_moved(ingest: &Ingest<'_>, task: &Task, hash: &[u8; 32]) -> Result<bool, Error> {
    let path = &task.change.seen.path;
    let files = ingest.store.files_with(task.collection, hash, &kind_of(path))?;
    Ok(files.iter().any(|file| file.path != *path && source::stat_of(&file.path).is_err()))
}

fn unreadable(task: &Task, error: &io::Error, stop: &AtomicBool) -> Answer {
    if error.kind() == io::ErrorKind::Interrupted && stop.load(Ordering::Relaxed) {
        Answer::Stopped
    } else if error.kind() == io::ErrorKind::NotFound {
        Answer::Vanished
    } else {
        not_now(task, error.to_string())
    }
}

/// What was known of a file stays as long as nothing else is known.
fn not_now(task: &Task, reason: String) -> Answer {
    match task.change.known {
        Some(_) => Answer::NotNow(reason),
        None => skipped(task, task.change.seen.stat, None, reason, true),
    }
}

fn skipped(task: &Task, stat: Stat, hash: Option<[u8; 32]>, reason: String, again: bool) -> Answer {
    let path = task.change.seen.path.clone();
    Answer::Read(Read { path, stat, hash, outcome: Outcome::Skipped { reason, again } })
}
