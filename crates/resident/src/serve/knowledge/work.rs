//! The work on collections: one thread that does it, one after the other, and one that hears what changes on the disk.
//!
//! It asks for embeddings in the background, so whoever waits for an answer comes first. It may be stopped anywhere, and
//! goes on from there the next time.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use knowledge::{
    base::{Base, Means, Work},
    ingest::{Control, Event, Progress, Scope},
    search::{Embed, Failed},
    source::{Changed, Watch},
    store::Kind,
};

use super::{embedder::Embedder, reader::Reader};

/// Who reads and who embeds, looked for before each piece of work.
pub(super) struct Finds {
    pub(super) read: Box<dyn Fn() -> Reader + Send + Sync>,
    pub(super) embed: Box<dyn Fn() -> Result<Option<Embedder>, Failed> + Send + Sync>,
}

/// The threads, as long as this lives.
pub(super) struct Worker {
    shared: Arc<Shared>,
}

struct Shared {
    base: Arc<Base>,
    means: Finds,
    state: Mutex<State>,
    changed: Condvar,
    /// Whether other folders are to be watched, or none any more.
    watches_others: AtomicBool,
    is_closed: AtomicBool,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(String, Work)>,
    running: Option<Running>,
    /// Collections on which nobody works for now.
    paused: BTreeSet<String>,
}

struct Running {
    collection: String,
    control: Arc<Control>,
    progress: Progress,
}

/// What goes on with a collection.
pub(super) enum At {
    Waiting,
    Paused(Progress),
    Running(Progress),
}

impl Worker {
    /// Starts the threads. All collections are looked at first: files have changed while nobody did.
    pub(super) fn start(base: Arc<Base>, means: Finds) -> anyhow::Result<Self> {
        let state = State { paused: base.paused(), ..State::default() };
        let shared = Arc::new(Shared {
            base,
            means,
            state: Mutex::new(state),
            changed: Condvar::new(),
            watches_others: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
        });
        let (works, watches) = (Arc::clone(&shared), Arc::clone(&shared));
        thread::Builder::new().name("knowledge".to_owned()).spawn(move || works.work())?;
        thread::Builder::new().name("knowledge-watch".to_owned()).spawn(move || watches.watch())?;
        Ok(Self { shared })
    }

    /// Puts work behind what waits already, unless that has it.
    pub(super) fn wants(&self, collection: &str, work: Work) {
        self.shared.wants(collection, work);
    }

    /// What goes on with a collection; nothing when nothing does.
    pub(super) fn at(&self, collection: &str) -> Option<At> {
        let state = self.shared.state();
        let is_paused = state.paused.contains(collection);
        if let Some(running) = state.running.as_ref().filter(|one| one.collection == collection) {
            let progress = running.progress.clone();
            return Some(if is_paused { At::Paused(progress) } else { At::Running(progress) });
        }
        let waits = state.waiting.iter().any(|(name, _)| name == collection);
        match (waits, is_paused) {
            (_, true) => Some(At::Paused(Progress::default())),
            (true, false) => Some(At::Waiting),
            (false, false) => None,
        }
    }

    /// Holds the work on a collection, or lets it go on.
    pub(super) fn pause(&self, collection: &str, paused: bool) {
        let mut state = self.shared.state();
        if paused {
            state.paused.insert(collection.to_owned());
        } else {
            state.paused.remove(collection);
        }
        if let Some(running) = state.running.as_ref().filter(|one| one.collection == collection) {
            running.control.pause(paused);
        }
        self.shared.note_paused(&state);
        self.shared.changed.notify_all();
    }

    /// Ends all work on a collection that is to go, and returns when nobody is at it any more.
    pub(super) fn forget(&self, collection: &str) {
        let mut state = self.shared.state();
        state.waiting.retain(|(name, _)| name != collection);
        if state.paused.remove(collection) {
            self.shared.note_paused(&state);
        }
        drop(state);
        self.interrupt(collection);
    }

    /// Ends what goes on with a collection, and returns when nobody is at it. What waits goes on waiting, and what was
    /// begun goes on with whatever is done next.
    pub(super) fn interrupt(&self, collection: &str) {
        let mut state = self.shared.state();
        let is_at_it = |state: &mut State| {
            state.running.as_ref().is_some_and(|running| running.collection == collection)
        };
        if is_at_it(&mut state)
            && let Some(running) = &state.running
        {
            running.control.stop();
        }
        let ended = self.shared.changed.wait_while(state, is_at_it);
        drop(ended.unwrap_or_else(PoisonError::into_inner));
    }

    /// Other folders are watched from now on.
    pub(super) fn sources_changed(&self) {
        self.shared.watches_others.store(true, Ordering::Relaxed);
    }

    /// Ends the threads; what was begun goes on the next time.
    pub(super) fn close(&self) {
        self.shared.is_closed.store(true, Ordering::Relaxed);
        self.sources_changed();
        let state = self.shared.state();
        if let Some(running) = &state.running {
            running.control.stop();
        }
        self.shared.changed.notify_all();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever holds work wants it held after a restart too.
    fn note_paused(&self, state: &State) {
        if let Err(error) = self.base.note_paused(&state.paused) {
            tracing::warn!("what is paused goes on after a restart: {error}");
        }
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    fn wants(&self, collection: &str, work: Work) {
        let mut state = self.state();
        let everything = Work::Scan(Scope::Everything);
        let has = |waiting: &(String, Work)| {
            let covers =
                waiting.1 == work || matches!(work, Work::Scan(_)) && waiting.1 == everything;
            waiting.0 == collection && covers
        };
        if !state.waiting.iter().any(has) {
            state.waiting.push_back((collection.to_owned(), work));
        }
        self.changed.notify_all();
    }

    /// Does what waits, until the hub ends.
    fn work(&self) {
        if let Err(error) = self.base.remove_orphans() {
            tracing::warn!("indexes of collections that are gone stay: {error}");
        }
        while let Some((collection, work, control)) = self.next() {
            let ended = self.embedder().and_then(|embedder| {
                let embed = embedder.as_ref().map(|embedder| embedder as &dyn Embed);
                let reader = (self.means.read)();
                let means = Means { extract: &reader, embed };
                let mut tell = |event: &Event<'_>| self.told(&collection, event);
                let outcome = self.base.work(&collection, &work, means, &control, &mut tell);
                outcome.map_err(|error| Failed(error.to_string()))
            });
            if let Err(failed) = ended {
                tracing::warn!(collection, "files are not in step with the disk: {failed}");
                // It may be gone by now.
                drop(self.base.note_failed(&collection, &failed.to_string()));
            }
            self.state().running = None;
            self.changed.notify_all();
        }
    }

    /// The next piece of work, of a collection that is not paused; nothing when the hub ends.
    fn next(&self) -> Option<(String, Work, Arc<Control>)> {
        let mut state = self.state();
        loop {
            if self.is_closed() {
                return None;
            }
            let next = state.waiting.iter().position(|(name, _)| !state.paused.contains(name));
            if let Some((collection, work)) = next.and_then(|at| state.waiting.remove(at)) {
                let control = Arc::new(Control::default());
                state.running = Some(Running {
                    collection: collection.clone(),
                    control: Arc::clone(&control),
                    progress: Progress::default(),
                });
                return Some((collection, work, control));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Who embeds; nobody where no model does.
    fn embedder(&self) -> Result<Option<Embedder>, Failed> {
        (self.means.embed)()
    }

    fn told(&self, collection: &str, event: &Event<'_>) {
        match event {
            Event::Progress(progress) | Event::Walked(progress) => {
                if let Some(running) = &mut self.state().running {
                    running.progress = (*progress).clone();
                }
            }
            Event::Skipped(path, why) => {
                tracing::info!(collection, file = %path.display(), "not read: {why}");
            }
            Event::Kept(path, why) => {
                tracing::info!(collection, file = %path.display(), "kept although it was not met: {why}");
            }
            Event::Stored(_) | Event::Indexed(_) | Event::Moved(..) | Event::Removed(_) => {}
        }
    }

    /// Hears what changes, until the hub ends.
    fn watch(&self) {
        loop {
            self.watches_others.store(false, Ordering::Relaxed);
            // Looked at behind that, since whoever closes sets both.
            if self.is_closed() {
                return;
            }
            let roots = match self.roots() {
                Ok(roots) => roots,
                Err(error) => {
                    tracing::warn!(%error, "folders are not watched");
                    return;
                }
            };
            let all: Vec<PathBuf> = roots.values().flatten().cloned().collect();
            let mut watch = Watch::new(&all);
            if let Some(blind) = watch.blind() {
                tracing::warn!("{blind}; folders are walked from time to time instead");
            }
            // What changed until it was watched is seen by looking.
            for collection in roots.keys() {
                self.wants(collection, Work::Scan(Scope::Everything));
            }
            while let Some(changed) = watch.next(&self.watches_others) {
                for (collection, roots) in &roots {
                    if let Some(scope) = within(&changed, roots) {
                        self.wants(collection, Work::Scan(scope));
                    }
                }
            }
        }
    }

    /// The folders and files of each collection.
    fn roots(&self) -> Result<BTreeMap<String, Vec<PathBuf>>, knowledge::base::Error> {
        let mut roots = BTreeMap::new();
        for status in self.base.collections()? {
            let on_disk = status.sources.into_iter().filter(|source| source.kind != Kind::Text);
            let paths = on_disk.map(|source| source.path).collect();
            roots.insert(status.collection.name, paths);
        }
        Ok(roots)
    }
}

/// What of a change concerns these folders and files.
fn within(changed: &Changed, roots: &[PathBuf]) -> Option<Scope> {
    let paths = match changed {
        Changed::Everything => return (!roots.is_empty()).then_some(Scope::Everything),
        Changed::Paths(paths) => paths,
    };
    let concerns = |path: &&PathBuf| {
        let touches = |root: &Path| path.starts_with(root) || root.starts_with(path);
        roots.iter().any(|root| touches(root))
    };
    let paths: Vec<PathBuf> = paths.iter().filter(concerns).cloned().collect();
    (!paths.is_empty()).then_some(Scope::Paths(paths))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use knowledge::{index::Form, store::JobState};

    use super::*;

    #[test]
    fn a_change_concerns_whoever_has_the_folder() {
        let paths = |texts: &[&str]| texts.iter().map(PathBuf::from).collect::<Vec<_>>();
        let roots = paths(&["/a/notes", "/b/one.md"]);
        let of = |texts: &[&str]| within(&Changed::Paths(paths(texts)), &roots);
        assert_eq!(of(&["/a/notes/x.md", "/c"]), Some(Scope::Paths(paths(&["/a/notes/x.md"]))));
        assert_eq!(of(&["/a", "/b/two.md"]), Some(Scope::Paths(paths(&["/a"]))));
        assert_eq!(of(&["/a/notesx", "/b/two.md"]), None);
        assert_eq!(within(&Changed::Everything, &roots), Some(Scope::Everything));
        assert_eq!(within(&Changed::Everything, &[]), None);
    }

    /// Work takes no time here to speak of, however busy the machine is.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// A collection `c` that nobody can embed for, and who works on it.
    fn broken(folder: &Path) -> (Arc<Base>, Worker) {
        let base = Arc::new(Base::open(folder, Form::default()).unwrap());
        base.store().collection_or_new("c").unwrap();
        let embed = || Err(Failed("there is no room for the model".to_owned()));
        let means = Finds { read: Box::new(|| panic!("nothing is read")), embed: Box::new(embed) };
        let worker = Worker::start(Arc::clone(&base), means).unwrap();
        (base, worker)
    }

    fn until(holds: impl Fn() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < PATIENCE, "it never came");
            thread::yield_now();
        }
    }

    #[test]
    fn work_without_the_model_it_needs_has_failed_and_waits_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let (base, worker) = broken(folder.path());
        let job = || base.collection("c").unwrap().job;
        until(|| job().state == JobState::Failed && worker.at("c").is_none());
        assert_eq!(job().error.as_deref(), Some("there is no room for the model"));
    }

    #[test]
    fn what_is_held_is_held_after_a_restart_until_it_is_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let (_, worker) = broken(folder.path());
        worker.pause("c", true);
        drop(worker);
        let (base, worker) = broken(folder.path());
        worker.wants("c", Work::Rebuild);
        worker.interrupt("c");
        assert!(matches!(worker.at("c"), Some(At::Paused(_))));
        let rebuild = ("c".to_owned(), Work::Rebuild);
        assert!(worker.shared.state().waiting.contains(&rebuild), "it waits all the time");
        worker.pause("c", false);
        until(|| worker.at("c").is_none());
        assert_eq!(base.collection("c").unwrap().job.state, JobState::Failed);
        worker.pause("c", true);
        worker.forget("c");
        assert!(base.paused().is_empty());
    }
}
