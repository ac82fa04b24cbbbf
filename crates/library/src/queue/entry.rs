//! The pulls of a queue, and what may become of each.

use std::collections::VecDeque;

use tokio::{sync::watch, task::JoinHandle, time::Instant};

use super::{Error, Failure, Job, file::Kept};
use crate::{
    limits::{FAILURE_CHARACTERS_MAX, PULL_KEYS_MAX, PULLS_ENDED_MAX, PULLS_MAX},
    name::Name,
    pull::Progress,
    transfer::Key,
};

/// How a pull stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It comes to its turn.
    Waiting,
    /// It goes on.
    Running,
    /// It was told to stop, and keeps what it has.
    Paused,
    /// It cannot go on by itself, for this reason.
    Failed(String),
    /// The model is here, under this name.
    Done(Name),
    /// It was told to end.
    Cancelled,
}

impl State {
    /// Whether nothing becomes of it any more.
    pub(super) fn is_end(&self) -> bool {
        match self {
            Self::Waiting | Self::Running | Self::Paused | Self::Failed(_) => false,
            Self::Done(_) | Self::Cancelled => true,
        }
    }
}

/// A pull as it is told.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its number.
    pub id: u64,
    /// What is pulled.
    pub job: Job,
    /// How it stands.
    pub state: State,
    /// How far it is.
    pub progress: Progress,
    /// Why it could not go on the last time, while it waits to be tried again.
    pub trouble: Option<String>,
}

/// One pull.
pub(super) struct Entry {
    pub(super) id: u64,
    pub(super) job: Job,
    pub(super) state: State,
    /// Whether it goes on whoever looks.
    pub(super) is_standing: bool,
    /// How many look.
    pub(super) attending: usize,
    /// Why it waits although it was on its turn, and until when, if there is an end to it.
    trouble: Option<(String, Option<Instant>)>,
    /// What its files are known by on the disk, those of earlier runs too.
    keys: Vec<Key>,
    seen: Option<watch::Receiver<Progress>>,
    /// How often it was started.
    run: u64,
    running: Option<JoinHandle<()>>,
}

impl Entry {
    fn new(id: u64, job: Job) -> Self {
        Self {
            id,
            job,
            state: State::Waiting,
            is_standing: false,
            attending: 0,
            trouble: None,
            keys: Vec::new(),
            seen: None,
            run: 0,
            running: None,
        }
    }

    pub(super) fn progress(&self) -> Progress {
        self.seen.as_ref().map(|seen| seen.borrow().clone()).unwrap_or_default()
    }

    /// What its files are known by on the disk, as far as any run has said.
    pub(super) fn keys(&self) -> Vec<Key> {
        let mut keys = self.seen.as_ref().map(|seen| seen.borrow().keys()).unwrap_or_default();
        let old = self.keys.iter().filter(|key| !keys.contains(key));
        let old: Vec<Key> = old.cloned().collect();
        keys.extend(old);
        keys.truncate(PULL_KEYS_MAX);
        keys
    }

    /// Whether it is waiting for its turn and nothing else.
    fn is_ready(&self, now: Instant) -> bool {
        let is_over = |until: &Option<Instant>| until.is_some_and(|until| until <= now);
        self.state == State::Waiting
            && self.trouble.as_ref().is_none_or(|(_, until)| is_over(until))
    }

    pub(super) fn let_go_on(&mut self) {
        self.trouble = None;
        match self.state {
            State::Paused | State::Failed(_) => self.state = State::Waiting,
            State::Waiting | State::Running | State::Done(_) | State::Cancelled => {}
        }
    }

    /// It is told to stop; what it returns ends when it has.
    pub(super) fn stop(&mut self) -> Option<JoinHandle<()>> {
        self.run += 1;
        self.running.take().inspect(JoinHandle::abort)
    }

    /// It is on its turn. The number tells this run from others.
    pub(super) fn begin(&mut self, seen: watch::Receiver<Progress>) -> u64 {
        self.run += 1;
        self.state = State::Running;
        self.trouble = None;
        // Before the run has said anything.
        self.keys = self.keys();
        self.seen = Some(seen);
        self.run
    }

    pub(super) fn runs_as(&mut self, running: JoinHandle<()>) {
        self.running = Some(running);
    }

    /// What has come of a run. One that could not reach its servers waits until then, if somebody wants it who does
    /// not look on.
    pub(super) fn has_ended(&mut self, outcome: Result<Name, Failure>, again: Option<Instant>) {
        (self.running, self.trouble) = (None, None);
        self.state = match outcome {
            Ok(name) => State::Done(name),
            Err(Failure::Passing(why)) if self.is_standing => {
                self.trouble = Some((brief(why), again));
                State::Waiting
            }
            Err(Failure::Passing(why) | Failure::Final(why)) => State::Failed(brief(why)),
        };
    }

    /// It is stopped if it goes on, and waits for nothing but its turn.
    pub(super) fn start_over(&mut self) {
        if self.state == State::Running {
            let _stopped = self.stop();
            self.state = State::Waiting;
        }
        self.trouble = None;
    }

    fn row(&self) -> Row {
        Row {
            id: self.id,
            job: self.job.clone(),
            state: self.state.clone(),
            progress: self.progress(),
            trouble: match self.state {
                State::Waiting => self.trouble.as_ref().map(|(why, _)| why.clone()),
                State::Running
                | State::Paused
                | State::Failed(_)
                | State::Done(_)
                | State::Cancelled => None,
            },
        }
    }
}

/// Why a pull failed, as much of it as a person reads.
fn brief(mut why: String) -> String {
    if let Some((end, _)) = why.char_indices().nth(FAILURE_CHARACTERS_MAX) {
        why.truncate(end);
        why.push('…');
    }
    why
}

/// All pulls.
#[derive(Default)]
pub(super) struct Entries {
    open: Vec<Entry>,
    /// Those that have ended, the last first.
    ended: VecDeque<Row>,
    last_id: u64,
    /// Whether nothing is started any more.
    is_closed: bool,
}

impl Entries {
    pub(super) fn from_kept(kept: Kept) -> Self {
        let open = kept.pulls.into_iter().take(PULLS_MAX).map(|pull| Entry {
            is_standing: true,
            state: match (pull.is_paused, pull.failed) {
                (true, _) => State::Paused,
                (false, Some(why)) => State::Failed(brief(why)),
                (false, None) => State::Waiting,
            },
            keys: pull.keys.iter().filter_map(|text| Key::of_text(text)).collect(),
            ..Entry::new(pull.id, Job { source: pull.source, name: pull.name })
        });
        let open: Vec<Entry> = open.collect();
        let last_id = open.iter().map(|entry| entry.id).fold(kept.last_id, u64::max);
        Self { open, last_id, ..Self::default() }
    }

    /// What is written down of them.
    pub(super) fn kept(&self) -> Kept {
        let standing = self.open.iter().filter(|entry| entry.is_standing);
        let pulls = standing.map(|entry| super::file::Pull {
            id: entry.id,
            source: entry.job.source.clone(),
            name: entry.job.name.clone(),
            keys: entry.keys().iter().map(Key::to_string).collect(),
            is_paused: entry.state == State::Paused,
            failed: match &entry.state {
                State::Failed(why) => Some(why.clone()),
                State::Waiting
                | State::Running
                | State::Paused
                | State::Done(_)
                | State::Cancelled => None,
            },
        });
        Kept { last_id: self.last_id, pulls: pulls.collect() }
    }

    /// The pull of this model that is there already, or a new one behind all others.
    pub(super) fn for_job(&mut self, job: Job) -> Result<&mut Entry, Error> {
        let known = self.open.iter().position(|entry| entry.job == job);
        let place = match known {
            Some(place) => place,
            None if self.open.len() >= PULLS_MAX => return Err(Error::Full),
            None => {
                self.last_id += 1;
                self.open.push(Entry::new(self.last_id, job));
                self.open.len() - 1
            }
        };
        Ok(&mut self.open[place])
    }

    /// The pull of this number that has not ended.
    pub(super) fn open(&mut self, id: u64) -> Result<&mut Entry, Error> {
        let has_ended = self.ended.iter().any(|row| row.id == id);
        let unknown = if has_ended { Error::Ended { id } } else { Error::Unknown { id } };
        self.open.iter_mut().find(|entry| entry.id == id).ok_or(unknown)
    }

    pub(super) fn of_run(&mut self, id: u64, run: u64) -> Option<&mut Entry> {
        self.open.iter_mut().find(|entry| entry.id == id && entry.run == run)
    }

    /// Those that come to their turn.
    pub(super) fn waiting(&mut self) -> impl Iterator<Item = &mut Entry> {
        let (is_closed, now) = (self.is_closed, Instant::now());
        self.open.iter_mut().filter(move |entry| !is_closed && entry.is_ready(now))
    }

    /// Stops all that go on, and lets them and all that wait come to their turn.
    pub(super) fn start_over(&mut self) {
        self.open.iter_mut().for_each(Entry::start_over);
    }

    /// Stops all that go on, which wait from now on.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
        for entry in self.open.iter_mut().filter(|entry| entry.state == State::Running) {
            let _stopped = entry.stop();
            entry.state = State::Waiting;
        }
    }

    /// How many go on that somebody attends, or that nobody does.
    pub(super) fn running(&self, attended: bool) -> usize {
        let running = self.open.iter().filter(|entry| entry.state == State::Running);
        running.filter(|entry| (entry.attending > 0) == attended).count()
    }

    /// Nothing becomes of it any more.
    pub(super) fn end(&mut self, id: u64) {
        if let Some(entry) = self.remove(id) {
            self.ended.push_front(entry.row());
            self.ended.truncate(PULLS_ENDED_MAX);
        }
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<Entry> {
        let place = self.open.iter().position(|entry| entry.id == id)?;
        Some(self.open.remove(place))
    }

    pub(super) fn rows(&self) -> Vec<Row> {
        self.open.iter().map(Entry::row).chain(self.ended.iter().cloned()).collect()
    }

    pub(super) fn row(&self, id: u64) -> Option<Row> {
        let open = self.open.iter().find(|entry| entry.id == id).map(Entry::row);
        open.or_else(|| self.ended.iter().find(|row| row.id == id).cloned())
    }
}
