//! `resident serve`: starts the hub in this process and keeps it until a signal.
//!
//! [`Hub`] is the wiring of settings, supervisor and gateway; `resident run` uses it too when no
//! hub answers. A changed configuration is taken by `change`. Not here: what the hub does (`gateway`, `supervisor`).

mod change;
mod knowledge;
mod library;
mod pressure;

use std::{
    ffi::OsString,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    runtime::Runtime,
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    cache, cli,
    config::{self, Settings, resolved::Served},
    exit::{self, Code},
    hardware,
    limits::{BLOCKING_WAIT_MAX, CHANGES_WAITING_MAX, SHUTDOWN_WAIT_MAX},
    ls,
    offer::{self, Offer},
    size, stop_signal,
    terminal::{self, Paint, Tone},
    token,
};

/// Threads that the hub's own work runs on. It moves bytes and waits; the models' cores are the
/// workers'. With a second one every request would wake it several times, which on a machine that
/// computes takes longer than the work; what may block runs on threads of its own.
const RUNTIME_THREADS: usize = 1;

/// The worker's program.
const WORKER_NAME: &str = "resident-llama";

/// The first argument of this program when it is to guard a foreign one.
pub(crate) const GUARD_WORD: &str = "guard";

pub(crate) use knowledge::EXTRACT_WORD;

/// Serves until a signal.
///
/// # Errors
/// When the settings make no sense, the worker is missing, or the address is taken.
pub(crate) fn serve(arguments: &cli::Serve) -> anyhow::Result<()> {
    let settings = config::load(&arguments.place, &arguments.serving)?;
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        let stopped = stop_signal::first();
        let (changes, asked) = mpsc::channel(CHANGES_WAITING_MAX);
        let hub = Hub::open(&settings, Some(changes)).await?;
        welcome(&settings, &hub);
        let changes = change::Changes::new(arguments, settings, &hub, asked);
        tokio::select! {
            () = hub.run(stopped) => {}
            never = changes.follow() => match never {},
        }
        Ok(())
    });
    // A question to a server that does not answer would hold it much longer.
    runtime.shutdown_timeout(BLOCKING_WAIT_MAX);
    ended
}

/// The runtime of a hub and of its clients.
///
/// # Errors
/// When the system gives no threads.
pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

/// A hub in this process.
pub(crate) struct Hub {
    supervisor: supervisor::Handle,
    task: JoinHandle<()>,
    server: gateway::Server,
    token: String,
    loads: Loads,
    library: Option<Arc<library::Library>>,
    knowledge: Option<Arc<knowledge::Knowledge>>,
}

impl Hub {
    /// Listens and is ready to run.
    ///
    /// # Errors
    /// With its exit code: a missing worker, no token, or an address that is taken.
    pub(crate) async fn open(
        settings: &Settings,
        changes: Option<mpsc::Sender<gateway::ChangeAsked>>,
    ) -> anyhow::Result<Self> {
        make_data_dir(&settings.data_dir)?;
        let token = token::read_or_create(&settings.token_file())?;
        let worker = worker(settings.worker.as_deref())?;
        let offer = Offer::of(settings);
        let pinned = offer.pinned();
        let loaded = pinned.clone();
        let (supervisor, task) = supervisor::start(supervision(settings, worker), Arc::new(offer));
        let pinned = pinned.iter().filter_map(|name| supervisor.model(name)).collect();
        offer::refuse_broken_pins(&settings.served.groups, settings.budget_bytes, pinned)?;
        // A hub for one conversation pulls nothing.
        let library = changes.as_ref().and_then(|_| library_of(settings));
        let knowledge = changes.as_ref().and_then(|_| knowledge_of(settings, &supervisor));
        let shared = knowledge.clone().map(|knowledge| knowledge as Arc<dyn gateway::Knowledge>);
        let entrance = entrance(settings, &token, library.as_ref());
        let gateway = gateway::Config { changes, knowledge: shared, ..entrance };
        let server = gateway::bind(gateway, supervisor.clone()).await.map_err(refused)?;
        let loads = Loads::default();
        loads.begin(&supervisor, loaded, settings.served.warm_model());
        tokio::spawn(cache::forget_deleted(settings.keep.folder.clone()));
        Ok(Self { supervisor, task, server, token, loads, library, knowledge })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// The control token.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Serves until `stopped`, then stops all workers and returns within a bound.
    pub(crate) async fn run(self, stopped: impl Future<Output = ()>) {
        let (tell, told) = oneshot::channel();
        let supervisor = self.supervisor;
        // Workers stop at once, so that streams end with an error event and the gateway has nothing
        // left to wait for.
        let stopping = async {
            stopped.await;
            if let Some(knowledge) = self.knowledge {
                knowledge.close();
            }
            if let Some(library) = self.library {
                // Whoever waits for a pull is told at once, and it goes on the next time.
                let _closed = tokio::task::spawn_blocking(move || library.close()).await;
            }
            let _server_gone = tell.send(());
            let down = async {
                supervisor.shutdown().await;
                let _panicked = self.task.await;
            };
            if timeout(SHUTDOWN_WAIT_MAX, down).await.is_err() {
                tracing::warn!("the workers did not stop in time; they end with this process");
            }
        };
        let serving = self.server.run(async {
            let _signal_gone = told.await;
        });
        tokio::join!(stopping, serving);
    }
}

/// Asks a supervisor that runs nothing, for what needs no hub.
///
/// # Errors
/// When the system gives no threads.
pub(crate) fn inspect<T>(
    settings: &Settings,
    ask: impl FnOnce(&supervisor::Handle) -> T,
) -> anyhow::Result<T> {
    runtime()?.block_on(async {
        // It starts no worker, so that none is needed either.
        let config = supervisor::Config { journal: None, ..supervision(settings, PathBuf::new()) };
        let (handle, task) = supervisor::start(config, Arc::new(Offer::of(settings)));
        handle.look_elsewhere().await;
        let answer = ask(&handle);
        handle.shutdown().await;
        let _panicked = task.await;
        Ok(answer)
    })
}

/// The library of these settings. Without it the hub serves what lies in the models folder.
fn library_of(settings: &Settings) -> Option<Arc<library::Library>> {
    let library = library::Library::open(settings);
    library.inspect_err(|error| tracing::warn!("there is no library: {error:#}")).ok()
}

/// The person's files. Without them the hub serves models.
fn knowledge_of(
    settings: &Settings,
    hub: &supervisor::Handle,
) -> Option<Arc<knowledge::Knowledge>> {
    let knowledge = knowledge::Knowledge::open(settings, hub.clone());
    knowledge.inspect_err(|error| tracing::warn!("there is no knowledge base: {error:#}")).ok()
}

/// Who may ask, and which tools there are.
fn entrance(
    settings: &Settings,
    token: &str,
    library: Option<&Arc<library::Library>>,
) -> gateway::Config {
    gateway::Config {
        listen: settings.listen,
        key: settings.key.clone(),
        allow_lan: settings.allow_lan,
        hosts: settings.hosts.clone(),
        origins: settings.origins.clone(),
        raw_grammars: settings.raw_grammars,
        control_token: token.to_owned(),
        require_token: settings.require_token,
        tools: settings.served.tools_in_order(),
        changes: None,
        library: library.map(|library| Arc::clone(library) as Arc<dyn gateway::Library>),
        knowledge: None,
    }
}

/// What the supervisor is told.
fn supervision(settings: &Settings, worker: PathBuf) -> supervisor::Config {
    supervisor::Config {
        settings: changeable(settings, worker),
        guard: guard(),
        pressure: pressure::told(),
        logs_dir: settings.logs_dir(),
        journal: Some(settings.journals_dir()),
        // As `resident plan` sees this machine; how much memory it has makes no difference.
        place: hardware::this(config::memory_bytes().unwrap_or_default()).place(),
        patience: supervisor::Patience::default(),
    }
}

/// What the supervisor may be told again while it runs.
fn changeable(settings: &Settings, worker: PathBuf) -> supervisor::Settings {
    let groups = settings.served.groups.exclusive().into_iter();
    supervisor::Settings {
        worker,
        budget_bytes: settings.budget_bytes,
        exclusive_groups: groups.map(str::to_owned).collect(),
        idle_unload: settings.idle_unload.unwrap_or(Duration::MAX),
        sequences_max: settings.parallel,
        threads: settings.threads,
        context_tokens: settings.context_tokens,
        kv_type: settings.kv_type,
        roles: settings.served.roles.clone(),
        prefer_resident: settings.served.prefer_resident,
        keep: Some(settings.keep.clone()),
    }
}

/// Loading what nobody asks for, when the hub begins and when its configuration is another.
#[derive(Debug, Clone, Default)]
struct Loads {
    /// How often it began; what began before has no say in what is kept warm.
    begun: Arc<AtomicU64>,
}

impl Loads {
    /// Loads what is promised to stay, and then what is to be there when nobody wants another.
    /// Requests do not wait for it, and come first.
    fn begin(&self, supervisor: &supervisor::Handle, pinned: Vec<String>, warm: Option<String>) {
        let supervisor = supervisor.clone();
        let begun = Arc::clone(&self.begun);
        let number = begun.fetch_add(1, Ordering::Relaxed) + 1;
        tokio::spawn(async move {
            for name in &pinned {
                if let Err(error) = supervisor.warm(name, None).await {
                    tracing::warn!(%error, "a pinned model could not be loaded");
                }
            }
            if begun.load(Ordering::Relaxed) != number {
                return;
            }
            if let Err(error) = supervisor.keep_warm(warm.as_deref()).await {
                tracing::warn!(%error, "the warm model could not be loaded");
            }
        });
    }
}

/// This program itself, as the guard of foreign ones. Without it they are refused with the reason.
pub(crate) fn guard() -> Vec<OsString> {
    let this = std::env::current_exe().map(PathBuf::into_os_string);
    this.map_or_else(|_| Vec::new(), |this| vec![this, GUARD_WORD.into()])
}

/// The worker's program: the one that was named, else the one beside this program.
pub(crate) fn worker(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let file_name = format!("{WORKER_NAME}{}", std::env::consts::EXE_SUFFIX);
    let path = match named {
        Some(path) => path.to_owned(),
        // A link to this program is followed: the worker lies beside the program itself.
        None => std::env::current_exe()
            .and_then(fs::canonicalize)
            .context("cannot tell where this program is; name the worker with RESIDENT_WORKER")?
            .with_file_name(file_name),
    };
    if path.is_file() {
        return Ok(path);
    }
    Err(exit::error(
        Code::Usage,
        format!(
            "there is no worker at {}; build it with: cargo build --release, or name it with \
             RESIDENT_WORKER or `worker` in the configuration file",
            path.display()
        ),
    ))
}

/// Makes the data folder for its owner alone: it holds the token and what people typed.
fn make_data_dir(path: &Path) -> anyhow::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).with_context(|| {
        format!("cannot make the data folder {}; choose another with --data-dir", path.display())
    })
}

fn refused(error: gateway::BindError) -> anyhow::Error {
    let code = match &error {
        gateway::BindError::Taken { .. } => Code::AddressTaken,
        gateway::BindError::NotLoopback { .. } => Code::Usage,
        gateway::BindError::Refused { .. } => Code::Failure,
    };
    exit::error(code, error.to_string())
}

/// Says where the hub listens, what it serves and how to try it.
fn welcome(settings: &Settings, hub: &Hub) {
    let address = hub.address();
    let url = Paint::stderr().tone(Tone::Strong, format_args!("http://{address}"));
    terminal::note(format_args!("Resident listens on {url} (OpenAI's API at http://{address}/v1)"));
    terminal::note(format_args!("  data     {}", settings.data_dir.display()));
    terminal::note(format_args!("  budget   {} for models", size::format(settings.budget_bytes)));
    let (models, problems) = Offer::of(settings).scan();
    let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
    let listed = if names.is_empty() { ls::no_models(&settings.catalog) } else { names.join(", ") };
    terminal::note(format_args!("  models   {listed}"));
    welcome_to_the_rest(&settings.served);
    for problem in problems.iter().chain(&settings.served.notes) {
        terminal::note(format_args!("  note     {problem}"));
    }
    // Looks into files only until one can chat: there may be many.
    let chats = |name: &&&str| {
        let facts = hub.supervisor.model(name).and_then(|model| model.facts.ok());
        facts.is_some_and(|facts| facts.chats)
    };
    if let Some(name) = names.iter().find(chats) {
        terminal::note(format_args!("Try: resident run {name} \"Hello\""));
    }
    terminal::note("Ctrl-C stops the hub.");
}

/// Says what the configuration adds to the files of models.
fn welcome_to_the_rest(served: &Served) {
    for (name, pool) in &served.pools {
        let servers: Vec<&str> =
            pool.upstream.servers.iter().map(|server| server.base_url.as_str()).collect();
        let what = if pool.served.is_some() { "" } else { ", whatever it serves" };
        terminal::note(format_args!("  servers  {name}/: {}{what}", servers.join(", ")));
    }
    for (name, tool) in &served.tools {
        let said: Vec<String> =
            tool.defaults.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let program = tool.argv.first().map_or("", String::as_str);
        terminal::note(format_args!("  tool     {name}: {program} {}", said.join(", ")));
    }
    for (name, role) in served.roles.iter() {
        let models = served.roles.models(name).join(", ");
        let prefers = role.prefer_resident.unwrap_or(served.prefer_resident);
        let how = if prefers { "" } else { " (strictly in this order)" };
        terminal::note(format_args!("  role     {name}: {models}{how}"));
    }
    if let Some(warm) = &served.warm {
        terminal::note(format_args!("  warm     {warm}"));
    }
}
