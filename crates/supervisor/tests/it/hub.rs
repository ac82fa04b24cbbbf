//! A supervisor on a folder of its own, and what every test asks of it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, UNIX_EPOCH},
};

use supervisor::{
    AcquireError, Answer, CacheType, Config, Engine, GgufFile, Handle, Lease, Manner, Model,
    Models, OpenPool, Patience, Place, Pressure, ProjectorFile, Ready, Residence, Resident,
    ResidentState, Roles, Server, Settings, Upstream, start,
};
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinHandle};
use worker_protocol::{Event, Failure, FailureKind, Generate, Prompt};

use crate::gguf;

/// Far above what anything here takes: running into it is a failure, not a measurement.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Weights of a model unless the test cares; the fixture itself holds a few MB.
pub(crate) const WEIGHTS_BYTES: u64 = 50_000_000;

pub(crate) struct Hub {
    pub(crate) handle: Handle,
    pub(crate) folder: TempDir,
    /// What it was started with.
    pub(crate) settings: Settings,
    /// What the machine is said to be short of; its real state would make tests depend on it.
    pub(crate) pressure: watch::Sender<Pressure>,
    task: JoinHandle<()>,
}

/// What differs between tests.
pub(crate) struct Setup {
    pub(crate) budget_bytes: u64,
    pub(crate) idle_unload: Duration,
    pub(crate) patience: Patience,
    pub(crate) program: &'static str,
    /// Models beside those that have a file.
    pub(crate) foreign: Vec<Model>,
    pub(crate) roles: Roles,
    pub(crate) open_pools: Vec<OpenPool>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            budget_bytes: 1_000_000_000_000,
            idle_unload: Duration::MAX,
            // Files change between two lines of a test.
            patience: Patience { lookup: Duration::ZERO, ..Patience::default() },
            program: "fixture-worker",
            foreign: Vec::new(),
            roles: Roles::default(),
            open_pools: Vec::new(),
        }
    }
}

/// Every GGUF file of a folder, asked anew each time, and models without a file.
struct Folder(PathBuf, Vec<Model>, Vec<OpenPool>);

impl Models for Folder {
    fn list(&self) -> Vec<Model> {
        let mut models: Vec<Model> = fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "gguf"))
            .map(|path| model(&path))
            .chain(self.1.iter().cloned())
            .collect();
        models.sort_by(|one, other| one.name.cmp(&other.name));
        models
    }

    fn find(&self, name: &str) -> Option<Model> {
        let of_pool = || {
            let pool = self.2.iter().find(|pool| name.starts_with(&pool.prefix))?;
            let theirs = name.strip_prefix(&pool.prefix)?;
            let servers: Vec<&str> = pool.servers.iter().map(|it| it.base_url.as_str()).collect();
            Some(elsewhere(name, Some(theirs), &servers))
        };
        self.list().into_iter().find(|model| model.name == name).or_else(of_pool)
    }

    fn open_pools(&self) -> Vec<OpenPool> {
        self.2.clone()
    }
}

/// A model of these servers, which call it `theirs`.
pub(crate) fn elsewhere(name: &str, theirs: Option<&str>, servers: &[&str]) -> Model {
    let server = |url: &&str| Server { base_url: (*url).to_owned(), key: None };
    let upstream = Upstream {
        servers: servers.iter().map(server).collect(),
        manner: Manner { model: theirs.map(str::to_owned), ..Manner::default() },
        health: Ready::Path("/health".to_owned()),
    };
    let engine = Engine::Upstream(Arc::new(upstream));
    Model { name: name.to_owned(), engine, residence: Residence::default(), kept: None }
}

/// Not a copy where that can be helped: a program that another thread forks while this one still
/// has the copy open for writing cannot be started.
#[cfg(unix)]
fn link(program: &Path, name: &Path) {
    std::os::unix::fs::symlink(program, name).unwrap();
}

#[cfg(not(unix))]
fn link(program: &Path, name: &Path) {
    fs::copy(program, name.with_extension("exe")).unwrap();
}

fn model(path: &Path) -> Model {
    // A file that is listed and gone a moment later is the supervisor's to notice.
    let metadata = fs::symlink_metadata(path).unwrap();
    let modified = metadata.modified().unwrap().duration_since(UNIX_EPOCH).unwrap();
    Model {
        name: path.file_stem().unwrap().to_string_lossy().into_owned(),
        engine: Engine::Worker(GgufFile {
            path: path.to_owned(),
            file_bytes: metadata.len(),
            modified_unix_s: modified.as_secs(),
            context_tokens: None,
            kv_type: None,
            keep: None,
            speculation: Default::default(),
            projector: projector(path),
            adapters: Vec::new(),
            chat_template: None,
        }),
        residence: Residence::default(),
        kept: None,
    }
}

/// A model's projector, which has its name with another ending.
fn projector(model: &Path) -> Option<ProjectorFile> {
    let [beside, named] = ["mmproj", "named"].map(|ending| model.with_extension(ending));
    let named = named.is_file().then_some(ProjectorFile { path: named, is_named: true });
    let beside = beside.is_file().then_some(ProjectorFile { path: beside, is_named: false });
    named.or(beside)
}

impl Hub {
    /// A hub with these models.
    pub(crate) fn new(models: &[&str], setup: Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in models {
            gguf::write(&folder.path().join(format!("{name}.gguf")), WEIGHTS_BYTES);
        }
        let worker = folder.path().join(setup.program);
        link(Path::new(env!("CARGO_BIN_EXE_fixture-worker")), &worker);
        let (pressure, pressure_told) = watch::channel(Pressure::Calm);
        let settings = Settings {
            worker,
            budget_bytes: setup.budget_bytes,
            exclusive_groups: BTreeSet::from(["main".to_owned()]),
            idle_unload: setup.idle_unload,
            sequences_max: 4,
            threads: None,
            context_tokens: None,
            kv_type: CacheType::F16,
            roles: setup.roles,
            prefer_resident: true,
            keep: None,
        };
        let config = Config {
            settings: settings.clone(),
            pressure: Some(pressure_told),
            guard: vec![env!("CARGO_BIN_EXE_fixture-guard").into()],
            logs_dir: folder.path().join("logs"),
            journal: Some(folder.path().join("journal")),
            place: Place::Processor,
            patience: setup.patience,
        };
        let models = Folder(folder.path().to_owned(), setup.foreign, setup.open_pools);
        let (handle, task) = start(config, Arc::new(models));
        Self { handle, folder, settings, pressure, task }
    }

    /// Another configuration, with these models beside those that have a file.
    pub(crate) async fn change(&self, settings: Settings, foreign: Vec<Model>) {
        let models = Arc::new(Folder(self.folder.path().to_owned(), foreign, Vec::new()));
        let edition = self.handle.edition(settings, models);
        within(self.handle.change(edition)).await.unwrap();
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) async fn acquire(&self, model: &str) -> Result<Lease, AcquireError> {
        within(self.handle.acquire(model)).await
    }

    /// The only resident of this name.
    pub(crate) async fn resident(&self, name: &str) -> Option<Resident> {
        self.handle.residents().await.into_iter().find(|resident| resident.name == name)
    }

    pub(crate) async fn pid(&self, name: &str) -> u32 {
        self.resident(name).await.unwrap().pid.unwrap()
    }

    /// Waits until a resident is so.
    pub(crate) async fn until(&self, name: &str, so: impl Fn(Option<&Resident>) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !so(self.resident(name).await.as_ref()) {
            assert!(Instant::now() < deadline, "{name}: {:?}", self.resident(name).await);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until the worker with this process is no resident any more.
    pub(crate) async fn until_left(&self, pid: u32) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let residents = self.handle.residents().await;
            if residents.iter().all(|resident| resident.pid != Some(pid)) {
                return;
            }
            assert!(Instant::now() < deadline, "{residents:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// A healthy model still answers, and going down leaves no process behind.
    pub(crate) async fn proves_well(self) {
        if !self.file("healthy.gguf").exists() {
            gguf::write(&self.file("healthy.gguf"), WEIGHTS_BYTES);
        }
        let lease = self.acquire("healthy").await.unwrap();
        assert_eq!(texts(lease.generate(prompt("say 5"))).await, Ok(5));
        drop(lease);
        self.goes_down().await;
    }

    /// As when its runtime goes down with work under way.
    pub(crate) async fn breaks_off(self) {
        self.task.abort();
        assert!(within(self.task).await.unwrap_err().is_cancelled());
    }

    pub(crate) async fn goes_down(self) {
        let residents = self.handle.residents().await;
        let pids: Vec<u32> = residents.iter().filter_map(|resident| resident.pid).collect();
        within(self.handle.shutdown()).await;
        within(self.task).await.unwrap();
        for pid in pids {
            assert!(is_gone(pid), "process {pid} is left");
        }
        assert_eq!(self.handle.residents().await, []);
        let refused = self.handle.acquire("healthy").await;
        assert!(matches!(
            refused,
            Err(AcquireError::ShuttingDown | AcquireError::UnknownModel { .. })
        ));
    }
}

pub(crate) fn is_ready(resident: Option<&Resident>) -> bool {
    resident.is_some_and(|resident| resident.state == ResidentState::Ready)
}

pub(crate) fn prompt(text: &str) -> Generate {
    Generate::new(Prompt::Text(text.to_owned()))
}

/// Reads an answer to its end: the number of texts, which come in order, or how it failed.
pub(crate) async fn texts(mut answer: Answer) -> Result<u64, Failure> {
    let mut seen = 0;
    let end = loop {
        match within(answer.next()).await.expect("an answer ends with its last event") {
            Event::Text(piece) => {
                assert_eq!(piece.text, format!("{seen} "));
                seen += 1;
            }
            Event::Finished(_) => break Ok(seen),
            Event::Failed(failure) => break Err(failure),
            other @ (Event::Progress { .. }
            | Event::Reasoning(_)
            | Event::ToolCall(_)
            | Event::Embedded { .. }
            | Event::Ranked { .. }) => panic!("unexpected {other:?}"),
        }
    };
    assert_eq!(within(answer.next()).await, None, "nothing follows the last event");
    end
}

pub(crate) fn assert_broken(failure: &Failure, words: &[&str]) {
    assert_eq!(failure.kind, FailureKind::Broken);
    for word in words {
        assert!(failure.message.contains(word), "no '{word}' in: {}", failure.message);
    }
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("this takes far too long")
}

/// Whether a process is gone for good, not even waiting to be reaped.
pub(crate) fn is_gone(pid: u32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists()
}
