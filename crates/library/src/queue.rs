//! Several pulls in a row: one after the other in the order in which they were asked for, paused, resumed and
//! cancelled, and gone on with when the program starts again.
//!
//! A pull that somebody attends, as `ollama pull` does, begins at once and stops when nobody attends it any more; it
//! is not written down. All others are. Not here: how a model is pulled (`pull`), which is handed in as [`Work`].

mod entry;
mod file;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    future::Future,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{runtime, sync::watch, time::Instant};

use entry::{Entries, Entry};
pub use entry::{Row, State};
use file::StateFile;

use crate::{
    limits::{PULLS_AT_ONCE_MAX, PULLS_ATTENDED_MAX, PULLS_MAX},
    name::Name,
    pull::Progress,
    transfer::Key,
};

/// What is pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Where the model is from, as [`crate::source::Source::parse`] reads it.
    pub source: String,
    /// What it is to be called; without it, what its source suggests.
    pub name: Option<Name>,
}

/// A pull under way. Dropping it pauses it: what came is kept.
pub type Pulling = Pin<Box<dyn Future<Output = Result<Name, Failure>> + Send>>;

/// Why a pull could not go on, in a sentence for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Its servers cannot be reached now: it is tried again, unless it is there only for somebody who looks on.
    Passing(String),
    /// It needs somebody to do something.
    Final(String),
}

/// What throws half pulled files away.
pub type Forget = Box<dyn Fn(&[Key]) + Send + Sync>;

/// How the queue does what it does.
pub struct Work {
    /// Pulls a model, telling how far it is.
    pub pull: Box<dyn Fn(Job, watch::Sender<Progress>) -> Pulling + Send + Sync>,
    /// Throws away what is half here of files.
    pub forget: Forget,
    /// How long a pull waits that could not reach its servers.
    pub retry: Duration,
}

/// Why something cannot be done to a pull.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is none of this number.
    #[error("there is no pull {id}; `resident pull --list` lists them")]
    Unknown {
        /// The number.
        id: u64,
    },
    /// It has ended.
    #[error("pull {id} has ended; pull the model again")]
    Ended {
        /// Its number.
        id: u64,
    },
    /// There is no room for another.
    #[error("{PULLS_MAX} pulls wait already; cancel one, or wait until one has ended")]
    Full,
}

/// The pulls of one library. Clones share them. What changes them touches the disk, so it is called where blocking is
/// allowed.
#[derive(Clone)]
pub struct Queue {
    shared: Arc<Shared>,
}

struct Shared {
    work: Work,
    /// Where those are written down that go on after a restart; `None` where another program does that already.
    file: Option<StateFile>,
    /// One writes at a time, and writes what is true then.
    writing: Mutex<()>,
    entries: Mutex<Entries>,
    /// Counts whatever [`Queue::rows`] would tell otherwise than before.
    changes: watch::Sender<u64>,
    runtime: runtime::Handle,
}

impl fmt::Debug for Queue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Queue").field("rows", &self.rows().len()).finish_non_exhaustive()
    }
}

impl Queue {
    /// The pulls that are written down in `folder`, which go on from where they are, and those to come. They run on
    /// the runtime that this is called on.
    #[must_use]
    pub fn open(folder: &Path, work: Work) -> Self {
        let (file, entries) = match StateFile::open(folder) {
            Some((file, kept)) => (Some(file), Entries::from_kept(kept)),
            None => (None, Entries::default()),
        };
        let shared = Shared {
            work,
            file,
            writing: Mutex::default(),
            entries: Mutex::new(entries),
            changes: watch::Sender::new(0),
            runtime: runtime::Handle::current(),
        };
        let queue = Self { shared: Arc::new(shared) };
        queue.go_on(&mut queue.lock());
        queue
    }

    /// Puts a pull behind the others. One of the same model that is there already goes on instead.
    ///
    /// # Errors
    /// [`Error::Full`].
    pub fn add(&self, job: Job) -> Result<Row, Error> {
        let mut entries = self.lock();
        let entry = entries.for_job(job)?;
        entry.is_standing = true;
        entry.let_go_on();
        let id = entry.id;
        self.changed(entries, id)
    }

    /// Pulls for somebody who looks on: at once, and for as long as they do.
    ///
    /// # Errors
    /// [`Error::Full`].
    pub fn attend(&self, job: Job) -> Result<Attended, Error> {
        let mut entries = self.lock();
        let entry = entries.for_job(job)?;
        entry.attending += 1;
        entry.let_go_on();
        let id = entry.id;
        let attended = Attended { queue: self.clone(), id };
        self.changed(entries, id).map(|_| attended)
    }

    /// The pulls that wait or go on, in their order, and behind them those that have ended, the last first.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        self.lock().rows()
    }

    /// Stops a pull, which keeps what it has.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Ended`].
    pub fn pause(&self, id: u64) -> Result<Row, Error> {
        self.change(id, |entry| {
            entry.stop();
            entry.state = State::Paused;
        })
    }

    /// Lets a pull go on that was paused or has failed.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Ended`].
    pub fn resume(&self, id: u64) -> Result<Row, Error> {
        self.change(id, Entry::let_go_on)
    }

    /// Ends a pull and throws away what is half here of it.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Ended`].
    pub fn cancel(&self, id: u64) -> Result<Row, Error> {
        let mut entries = self.lock();
        let entry = entries.open(id)?;
        let (running, keys) = (entry.stop(), entry.keys());
        entry.state = State::Cancelled;
        entries.end(id);
        let row = self.changed(entries, id);
        let shared = Arc::clone(&self.shared);
        self.shared.runtime.spawn(async move {
            // Its files are locked until it is gone.
            if let Some(running) = running {
                let _aborted = running.await;
            }
            let forgotten = tokio::task::spawn_blocking(move || (shared.work.forget)(&keys));
            let _panicked = forgotten.await;
        });
        row
    }

    /// Sees a change whenever [`Self::rows`] would say something else.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut Entry)) -> Result<Row, Error> {
        let mut entries = self.lock();
        change(entries.open(id)?);
        self.changed(entries, id)
    }

    /// What follows from a change: others come to their turn, and it is told and written down.
    fn changed(&self, mut entries: MutexGuard<'_, Entries>, id: u64) -> Result<Row, Error> {
        self.go_on(&mut entries);
        let row = entries.row(id).ok_or(Error::Unknown { id });
        drop(entries);
        self.tell();
        self.shared.save();
        row
    }

    /// The same where nothing may block.
    fn changed_by_itself(&self, mut entries: MutexGuard<'_, Entries>) {
        self.go_on(&mut entries);
        drop(entries);
        self.tell();
        self.save_aside();
    }

    fn save_aside(&self) {
        let shared = Arc::clone(&self.shared);
        self.shared.runtime.spawn_blocking(move || shared.save());
    }

    /// Stops all of them as they are, so that they go on when the library is opened again.
    pub fn close(&self) {
        let mut entries = self.lock();
        entries.close();
        drop(entries);
        self.shared.save();
    }

    /// Lets all that go on begin again, and all that wait to be tried again be tried now: what is asked of whom has
    /// changed.
    pub fn start_over(&self) {
        let mut entries = self.lock();
        entries.start_over();
        self.changed_by_itself(entries);
    }

    fn tell(&self) {
        self.shared.changes.send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    /// Starts what is on its turn.
    fn go_on(&self, entries: &mut Entries) {
        let mut attended = entries.running(true);
        let mut standing = entries.running(false);
        for entry in entries.waiting() {
            let (running, most) = match entry.attending > 0 {
                true => (&mut attended, PULLS_ATTENDED_MAX),
                false => (&mut standing, PULLS_AT_ONCE_MAX),
            };
            if *running < most {
                *running += 1;
                self.start(entry);
            }
        }
    }

    fn start(&self, entry: &mut Entry) {
        let (sender, mut seen) = watch::channel(Progress::default());
        let mut pulling = (self.shared.work.pull)(entry.job.clone(), sender);
        let (queue, id) = (self.clone(), entry.id);
        let run = entry.begin(seen.clone());
        let running = self.shared.runtime.spawn(async move {
            let mut is_known = false;
            let outcome = loop {
                tokio::select! {
                    outcome = &mut pulling => break outcome,
                    Ok(()) = seen.changed() => queue.tell(),
                }
                if !is_known && !seen.borrow().files.is_empty() {
                    is_known = true;
                    // What its files are must be known after a restart too, so that it can be given up then.
                    queue.save_aside();
                }
            };
            queue.ended(id, run, outcome);
        });
        entry.runs_as(running);
    }

    /// A run has ended by itself. One that was stopped meanwhile counts no more.
    fn ended(&self, id: u64, run: u64, outcome: Result<Name, Failure>) {
        let mut entries = self.lock();
        let Some(entry) = entries.of_run(id, run) else { return };
        let wait = self.shared.work.retry;
        entry.has_ended(outcome, Instant::now().checked_add(wait));
        if entry.state == State::Waiting {
            self.look_again(wait);
        }
        if entry.state.is_end() || !entry.is_standing {
            entries.end(id);
        }
        self.changed_by_itself(entries);
    }

    /// Starts what is on its turn after a while, unless nobody needs the queue then.
    fn look_again(&self, wait: Duration) {
        let shared = Arc::downgrade(&self.shared);
        self.shared.runtime.spawn(async move {
            tokio::time::sleep(wait).await;
            if let Some(shared) = shared.upgrade() {
                let queue = Self { shared };
                queue.changed_by_itself(queue.lock());
            }
        });
    }

    fn leave(&self, id: u64) {
        let mut entries = self.lock();
        let Ok(entry) = entries.open(id) else { return };
        entry.attending = entry.attending.saturating_sub(1);
        if entry.attending == 0 && !entry.is_standing {
            // It is asked for again by name, and then finds what it has.
            let _stopped = entry.stop();
            entries.remove(id);
        }
        self.changed_by_itself(entries);
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.shared.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Writes down what goes on after a restart.
    fn save(&self) {
        let Some(file) = &self.file else { return };
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = self.entries.lock().unwrap_or_else(PoisonError::into_inner).kept();
        file.write(&kept);
    }
}

/// A pull that somebody looks at. When the last one is dropped of a pull that nobody else wants, it stops and keeps
/// what it has.
#[derive(Debug)]
pub struct Attended {
    queue: Queue,
    id: u64,
}

impl Attended {
    /// How it stands; `None` once it is forgotten.
    #[must_use]
    pub fn row(&self) -> Option<Row> {
        self.queue.lock().row(self.id)
    }
}

impl Drop for Attended {
    fn drop(&mut self) {
        self.queue.leave(self.id);
    }
}
