//! What changes in folders, as the system tells it. Where it does not, or too much changes at once, the answer is to
//! walk.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};

use crate::limits::{
    WALK_AGAIN_BLIND, WALK_AGAIN_WATCHED, WATCH_LOOK, WATCH_PATHS_MAX, WATCH_QUIET,
    WATCH_QUIET_WAIT_MAX,
};

/// What is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// These paths and what is below them.
    Paths(Vec<PathBuf>),
    /// Everything.
    Everything,
}

/// Watches folders until it is dropped.
pub struct Watch {
    shared: Arc<Shared>,
    /// Watches as long as it lives; none where the system refused.
    watcher: Option<RecommendedWatcher>,
    blind: Option<String>,
    walked: Instant,
}

#[derive(Default)]
struct Shared {
    pending: Mutex<Pending>,
    came: Condvar,
}

#[derive(Default)]
struct Pending {
    paths: BTreeSet<PathBuf>,
    everything: bool,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Called by the system's watcher, which must not be kept waiting.
    fn note(&self, event: notify::Result<Event>) {
        let mut pending = self.pending();
        match event {
            Ok(event) if event.need_rescan() => pending.everything = true,
            // Reading is no change; and whoever indexes reads.
            Ok(Event { kind: EventKind::Access(access), .. })
                if access != AccessKind::Close(AccessMode::Write) =>
            {
                return;
            }
            Ok(event) => {
                let rules = [".gitignore", ".ignore"].map(OsStr::new);
                let is_rule =
                    |path: &PathBuf| path.file_name().is_some_and(|name| rules.contains(&name));
                if event.paths.iter().any(is_rule) {
                    pending.everything = true;
                }
                pending.paths.extend(event.paths);
            }
            Err(_) => pending.everything = true,
        }
        if pending.paths.len() > WATCH_PATHS_MAX {
            pending.everything = true;
        }
        if pending.everything {
            pending.paths.clear();
        }
        let now = Instant::now();
        pending.first.get_or_insert(now);
        pending.last = Some(now);
        self.came.notify_all();
    }
}

impl Watch {
    /// Watches these folders and files. Whatever cannot be watched is walked from time to time.
    pub fn new(roots: &[PathBuf]) -> Watch {
        let shared = Arc::<Shared>::default();
        let told = Arc::clone(&shared);
        let mut blind = None;
        let mut watcher = notify::recommended_watcher(move |event| told.note(event));
        if let Ok(watcher) = &mut watcher {
            for root in roots {
                if let Err(error) = watcher.watch(watched(root), RecursiveMode::Recursive) {
                    blind
                        .get_or_insert_with(|| format!("cannot watch {}: {error}", root.display()));
                }
            }
        }
        let watcher = match watcher {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                blind = Some(format!("cannot watch any folder: {error}"));
                None
            }
        };
        Watch { shared, watcher, blind, walked: Instant::now() }
    }

    /// Why not everything is watched, if that is so. Then everything is walked more often.
    pub fn blind(&self) -> Option<&str> {
        self.blind.as_deref()
    }

    /// Waits until something has changed and nothing did for a moment. Nothing once `stop` is set.
    pub fn next(&mut self, stop: &AtomicBool) -> Option<Changed> {
        let again = if self.blind.is_some() || self.watcher.is_none() {
            WALK_AGAIN_BLIND
        } else {
            WALK_AGAIN_WATCHED
        };
        let mut pending = self.shared.pending();
        loop {
            if stop.load(Ordering::Relaxed) {
                return None;
            }
            let now = Instant::now();
            if now.duration_since(self.walked) >= again {
                pending.everything = true;
                pending.first.get_or_insert(now);
                pending.last.get_or_insert(now);
            }
            match pending.wait(now) {
                Some(wait) if wait.is_zero() => {
                    let taken = std::mem::take(&mut *pending);
                    if taken.everything {
                        self.walked = now;
                        return Some(Changed::Everything);
                    }
                    return Some(Changed::Paths(outermost(taken.paths)));
                }
                wait => {
                    let wait = wait.unwrap_or(WATCH_LOOK).min(WATCH_LOOK);
                    let (next, _) = self
                        .shared
                        .came
                        .wait_timeout(pending, wait)
                        .unwrap_or_else(PoisonError::into_inner);
                    pending = next;
                }
            }
        }
    }
}

impl Pending {
    /// How long to wait before this is worth acting on; none if there is nothing.
    fn wait(&self, now: Instant) -> Option<Duration> {
        let (first, last) = self.first.zip(self.last)?;
        let quiet = last + WATCH_QUIET;
        let at_last = first + WATCH_QUIET_WAIT_MAX;
        Some(quiet.min(at_last).saturating_duration_since(now))
    }
}

/// What is watched for a source. A single file is watched through its folder, since editors put another file in its
/// place.
fn watched(root: &Path) -> &Path {
    match root.parent() {
        Some(folder) if root.is_file() => folder,
        Some(_) | None => root,
    }
}

/// Paths without those that are inside another of them.
fn outermost(paths: BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let mut kept: Vec<PathBuf> = Vec::new();
    // What is inside a path comes right behind it in this order.
    for path in paths {
        if kept.last().is_none_or(|last| !path.starts_with(last)) {
            kept.push(path);
        }
    }
    kept
}
