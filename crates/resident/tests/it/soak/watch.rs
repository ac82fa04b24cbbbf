//! What is looked at all the while: the bytes of the folder, the ledgers, the memory of processes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http::Request;
use crate::hub::Hub;
use crate::kv_folder::{Files, files, is_entry};
use crate::process::Process;

/// Between two looks at the folder.
const FOLDER_INTERVAL: Duration = Duration::from_millis(100);

/// Between two looks at hubs and processes.
const PROCESSES_INTERVAL: Duration = Duration::from_secs(1);

/// What lies beside entries: the lock, hashes of files, a card for each model.
const ODDS_BYTES_MAX: u64 = 64 << 10;

/// A hub as a watcher sees it from outside.
#[derive(Debug, Clone)]
struct Watched {
    pid: u32,
    address: std::net::SocketAddr,
    token: String,
}

/// The memory of processes at one moment, by what they are.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) at: Duration,
    pub(super) bytes: BTreeMap<String, u64>,
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) folder_bytes: u64,
    pub(super) folder_bytes_max: u64,
    pub(super) folder_samples: u64,
    /// Whole blocks that were there and are not any more. Only what is evicted vanishes so: a whole
    /// block is superseded by nothing.
    pub(super) evicted: u64,
    pub(super) booked_bytes_max: BTreeMap<&'static str, u64>,
    pub(super) held_bytes_max: BTreeMap<&'static str, u64>,
    pub(super) samples: Vec<Sample>,
    pub(super) problems: Vec<String>,
    whole_blocks: HashSet<PathBuf>,
    largest: HashMap<PathBuf, u64>,
}

/// Looks on until it is told to end.
pub(super) struct Watch {
    folder: PathBuf,
    budget_bytes: u64,
    hubs: Mutex<BTreeMap<&'static str, Watched>>,
    seen: Mutex<Seen>,
    done: AtomicBool,
    begun: Instant,
}

impl Watch {
    pub(super) fn new(folder: PathBuf, budget_bytes: u64) -> Self {
        Self {
            folder,
            budget_bytes,
            hubs: Mutex::default(),
            seen: Mutex::default(),
            done: AtomicBool::new(false),
            begun: Instant::now(),
        }
    }

    /// A hub that is to be looked at from now on.
    pub(super) fn add(&self, name: &'static str, hub: &Hub) {
        let watched = Watched { pid: hub.pid(), address: hub.address, token: hub.token() };
        lock(&self.hubs).insert(name, watched);
    }

    /// This hub is gone.
    pub(super) fn remove(&self, name: &'static str) {
        lock(&self.hubs).remove(name);
    }

    /// How long it had been looking at this moment.
    pub(super) fn since(&self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.begun)
    }

    pub(super) fn seen<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&lock(&self.seen))
    }

    /// Ends the watching thread when this is dropped.
    pub(super) fn end_when_dropped(&self) -> impl Drop + use<'_> {
        struct End<'w>(&'w AtomicBool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        End(&self.done)
    }

    /// What the watching thread does.
    pub(super) fn run(&self) {
        let mut processes_at = Instant::now();
        while !self.done.load(Ordering::Relaxed) {
            self.look_at_folder();
            if processes_at.elapsed() >= PROCESSES_INTERVAL {
                processes_at = Instant::now();
                self.look_at_processes();
            }
            thread::sleep(FOLDER_INTERVAL);
        }
    }

    /// Counts the folder. What one listing misses and the next one finds was not there all the time, so
    /// only what both find was there at one moment.
    pub(super) fn look_at_folder(&self) {
        let (first, second) = (files(&self.folder), files(&self.folder));
        let at_once = |(path, bytes): (&PathBuf, &u64)| Some((*bytes).min(*second.get(path)?));
        let bytes: u64 = first.iter().filter_map(at_once).sum();
        let mut seen = lock(&self.seen);
        seen.folder_samples += 1;
        seen.folder_bytes = bytes;
        seen.folder_bytes_max = seen.folder_bytes_max.max(bytes);
        if bytes > self.budget_bytes + ODDS_BYTES_MAX {
            let problem = format!("the folder has {bytes} bytes of {}", self.budget_bytes);
            seen.problems.push(problem);
        }
        seen.count_evicted(&second);
    }

    fn look_at_processes(&self) {
        let hubs = lock(&self.hubs).clone();
        let mut sample = Sample { at: self.begun.elapsed(), bytes: BTreeMap::new() };
        for (name, hub) in hubs {
            let held = |pid| Process::of(pid).and_then(Process::proportional_bytes);
            let Some(own_bytes) = held(hub.pid) else { continue };
            sample.bytes.insert(name.to_owned(), own_bytes);
            // It may have been killed in between.
            let Some(answer) = residents(&hub) else { continue };
            let number = |value: &Value| value.as_u64().unwrap_or(0);
            let (booked, budget) =
                (number(&answer["booked_bytes"]), number(&answer["budget_bytes"]));
            let mut workers_bytes = 0;
            for row in answer["residents"].as_array().into_iter().flatten() {
                let pid = row["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
                let Some(bytes) = pid.and_then(held) else { continue };
                workers_bytes += bytes;
                let model = row["name"].as_str().unwrap_or_default();
                sample.bytes.insert(format!("{name}/{model}"), bytes);
            }
            let mut seen = lock(&self.seen);
            let most = seen.booked_bytes_max.entry(name).or_default();
            *most = (*most).max(booked);
            if booked > budget {
                seen.problems.push(format!("hub {name} books {booked} bytes of {budget}"));
            }
            let most = seen.held_bytes_max.entry(name).or_default();
            *most = (*most).max(workers_bytes);
            if workers_bytes > budget {
                let problem =
                    format!("workers of hub {name} hold {workers_bytes} bytes of {budget}");
                seen.problems.push(problem);
            }
        }
        lock(&self.seen).samples.push(sample);
    }
}

impl Seen {
    fn count_evicted(&mut self, files: &Files) {
        for (path, bytes) in files.iter().filter(|(path, _)| is_entry(path)) {
            let Some(folder) = path.parent() else { continue };
            let largest = self.largest.entry(folder.to_owned()).or_default();
            if bytes > largest {
                *largest = *bytes;
                self.whole_blocks.retain(|known| known.parent() != Some(folder));
            }
            if bytes == largest {
                self.whole_blocks.insert(path.clone());
            }
        }
        let before = self.whole_blocks.len();
        self.whole_blocks.retain(|path| files.contains_key(path));
        self.evicted += (before - self.whole_blocks.len()) as u64;
    }

    /// The middle of what this process held between these moments; `None` where it was not seen.
    pub(super) fn median_bytes(
        &self,
        name: &str,
        between: std::ops::Range<Duration>,
    ) -> Option<u64> {
        let samples = self.samples.iter().filter(|sample| between.contains(&sample.at));
        let mut bytes: Vec<u64> = samples.filter_map(|s| s.bytes.get(name).copied()).collect();
        bytes.sort_unstable();
        bytes.get(bytes.len() / 2).copied()
    }
}

fn residents(hub: &Watched) -> Option<Value> {
    let token = format!("Bearer {}", hub.token);
    let request = Request::get("/resident/v1/ps").header("authorization", &token);
    let answer = request.send(hub.address).ok()?;
    serde_json::from_str(&answer.text()).ok()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
