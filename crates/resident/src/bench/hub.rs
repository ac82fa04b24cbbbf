//! A hub to measure: the real program as a child process, with nothing of the user's own hub.
//!
//! It listens on a free port of this machine and keeps its files in a temporary folder. When it is
//! dropped, it is killed; its workers leave with it.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use supervisor::{Happening, journal};
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};
use tokio::{
    process::{Child, Command},
    time,
};

use super::{
    client::Client,
    limits::{
        HUB_LOOK_INTERVAL, HUB_SETTLE, HUB_START_TRIES, HUB_START_WAIT, HUB_STOP_WAIT,
        LOG_LINES_SHOWN, SETTLE_SHARE_MAX, SETTLE_WAIT, SETTLE_WINDOW,
    },
};
use crate::{config::raw::KvCache, exit::Code};

/// The name under which the other model is served, where there is one.
pub(crate) const OTHER: &str = "other";

/// The name under which the measured model is served.
pub(crate) const MODEL: &str = "measured";

/// What the hub is started with.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// The model's file.
    pub(crate) model: PathBuf,
    /// Another model, of which and the first only one may be in memory.
    pub(crate) other: Option<PathBuf>,
    /// The worker's executable, if it is not beside ours.
    pub(crate) worker: Option<PathBuf>,
    /// Context of the model.
    pub(crate) context_tokens: u32,
    /// Sequences that run in one step.
    pub(crate) parallel: u32,
    /// Threads of a step; `None` adapts.
    pub(crate) threads: Option<u32>,
    /// Memory for models.
    pub(crate) budget_bytes: u64,
    /// How the model guesses ahead. Off, but where that is measured: the other side does not guess.
    pub(crate) guessing: Guessing,
    /// How prefixes are kept outside the context; `None` as the hub does by itself.
    pub(crate) keep: Option<Keep>,
}

/// How the measured model guesses ahead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Guessing {
    /// Not at all.
    Off,
    /// From the text: so many tokens in each step, or as many as pay.
    Lookup(Option<u32>),
    /// With the model in this file, as much as pays.
    Draft(PathBuf),
    /// With the model's own layer that guesses ahead, as much as pays.
    Head,
}

/// How prefixes are kept outside the context.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keep {
    pub(crate) cache: KvCache,
    /// Memory for them; `None` as the hub does by itself.
    pub(crate) ram_bytes: Option<u64>,
}

/// A running hub.
#[derive(Debug)]
pub(crate) struct Hub {
    child: Child,
    address: SocketAddr,
    /// Deleted when dropped.
    folder: tempfile::TempDir,
}

/// What a process holds in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Memory {
    /// Its pages in memory, those shared with other processes included.
    pub(crate) resident_bytes: u64,
    /// The same with shared pages counted in parts, where the system says so.
    pub(crate) proportional_bytes: Option<u64>,
}

impl Hub {
    /// Starts a hub and waits until it answers.
    ///
    /// # Errors
    /// When it cannot be started, or leaves or stays silent; with the end of its log.
    pub(crate) async fn start(setup: &Setup) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("resident-bench-").tempdir()?;
        Self::start_in(folder, setup).await
    }

    /// Ends it as a person would, and starts it again on the same files.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(crate) async fn restart(self, setup: &Setup) -> anyhow::Result<Self> {
        end(self.child, HUB_STOP_WAIT).await?;
        Self::start_in(self.folder, setup).await
    }

    /// Where it keeps prefixes in files.
    pub(crate) fn kept(&self) -> PathBuf {
        self.folder.path().join("kv")
    }

    /// Waits until neither it nor a worker computes anything: what they had put off is done then.
    ///
    /// # Errors
    /// When they go on for longer than [`SETTLE_WAIT`].
    pub(crate) async fn settle(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut before = self.cpu_seconds()?;
        while begun.elapsed() < SETTLE_WAIT {
            let window = Instant::now();
            time::sleep(SETTLE_WINDOW).await;
            let after = self.cpu_seconds()?;
            if (after - before) <= window.elapsed().as_secs_f64() * SETTLE_SHARE_MAX {
                return Ok(());
            }
            before = after;
        }
        bail!("the hub still computes {SETTLE_WAIT:?} after its last answer")
    }

    /// Processor time that it and its workers took so far, in seconds.
    ///
    /// # Errors
    /// When the system does not tell.
    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let own = Pid::from_u32(self.child.id().context("the hub left")?);
        let mut system = System::new()?;
        let cpu = ProcessRefreshKind::nothing().with_cpu().without_tasks();
        system.refresh_processes_specifics(ProcessesToUpdate::All, false, cpu);
        let all = system.processes().values();
        let ours = all.filter(|process| process.pid() == own || process.parent() == Some(own));
        let milliseconds: u64 = ours.map(sysinfo::Process::accumulated_cpu_time).sum();
        Ok(Duration::from_millis(milliseconds).as_secs_f64())
    }

    async fn start_in(folder: tempfile::TempDir, setup: &Setup) -> anyhow::Result<Self> {
        let mut tries = 1;
        loop {
            match try_start(setup, folder.path()).await? {
                Some((child, address)) => return Ok(Self { child, address, folder }),
                None if tries < HUB_START_TRIES => tries += 1,
                None => bail!("{tries} free ports in a row were taken before the hub got them"),
            }
        }
    }

    /// A new connection to it.
    ///
    /// # Errors
    /// When it does not listen any more.
    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        Client::connect(self.address).await.context("cannot connect to the hub that was started")
    }

    /// What its fleet was told and decided so far.
    ///
    /// # Errors
    /// When its journal cannot be read.
    pub(crate) fn journal(&self) -> anyhow::Result<Vec<Happening>> {
        let files = journal::files(&self.folder.path().join("journal"))?;
        // It begins with the first event.
        let Some(file) = files.last() else { return Ok(Vec::new()) };
        let reader = std::io::BufReader::new(fs::File::open(file)?);
        journal::read(reader).map_err(anyhow::Error::msg)
    }

    /// What loading the model took that is in memory now, by its worker's own account.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) async fn load_ms(&self, name: &str) -> anyhow::Result<u64> {
        let token = fs::read_to_string(self.folder.path().join("token"))?;
        let residents = self.client().await?.residents(token.trim()).await?;
        let row = residents.residents.iter().find(|row| row.name == name && row.state == "ready");
        row.and_then(|row| row.load_ms).with_context(|| format!("{name} is not in memory"))
    }

    /// What the hub's own process holds, workers excluded, a moment after it was left alone.
    ///
    /// # Errors
    /// When the process is gone.
    pub(crate) async fn memory(&self) -> anyhow::Result<Memory> {
        time::sleep(HUB_SETTLE).await;
        let pid = self.child.id().context("the hub left")?;
        let mut system = System::new()?;
        let memory = ProcessRefreshKind::nothing().with_memory().without_tasks();
        let own = Pid::from_u32(pid);
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[own]), false, memory);
        let process = system.process(own).context("the hub left")?;
        Ok(Memory { resident_bytes: process.memory(), proportional_bytes: proportional_bytes(pid) })
    }
}

/// Starts one in this folder and waits until it answers. `None` means that somebody else took the port.
async fn try_start(setup: &Setup, folder: &Path) -> anyhow::Result<Option<(Child, SocketAddr)>> {
    let address = free_address()?;
    let log = folder.join("hub.log");
    let mut child =
        command(setup, address, folder, &log)?.spawn().context("cannot start a hub to measure")?;
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            if status.code() == Some(Code::AddressTaken as i32) {
                return Ok(None);
            }
            bail!("the hub to measure left with {status}:\n{}", log_end(&log));
        }
        if is_up(address).await {
            return Ok(Some((child, address)));
        }
        if begun.elapsed() > HUB_START_WAIT {
            bail!("the hub to measure is silent after {HUB_START_WAIT:?}:\n{}", log_end(&log));
        }
        time::sleep(HUB_LOOK_INTERVAL).await;
    }
}

/// Asks a program to leave, so that what it started leaves with it, and waits for that; one that takes
/// longer than `wait_max` is killed.
///
/// # Errors
/// When it cannot be told.
pub(super) async fn end(mut child: Child, wait_max: Duration) -> anyhow::Result<()> {
    #[cfg(unix)]
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok())
        && let Some(pid) = rustix::process::Pid::from_raw(pid)
    {
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        if time::timeout(wait_max, child.wait()).await.is_ok() {
            return Ok(());
        }
    }
    child.kill().await?;
    Ok(())
}

fn command(
    setup: &Setup,
    address: SocketAddr,
    folder: &Path,
    log: &Path,
) -> anyhow::Result<Command> {
    let program = std::env::current_exe().context("cannot tell where this program is")?;
    let mut command = Command::new(program);
    // What the user set for the daily hub must not change what is measured.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RESIDENT_") {
            command.env_remove(name);
        }
    }
    if let Some(worker) = &setup.worker {
        command.env("RESIDENT_WORKER", worker);
    }
    command
        .arg("serve")
        .args(["--listen", &address.to_string()])
        .arg("--data-dir")
        .arg(folder)
        .arg("--model")
        .arg(model_pair(MODEL, &setup.model))
        .args(["--context", &setup.context_tokens.to_string()])
        .args(["--parallel", &setup.parallel.to_string()])
        .args(["--budget", &setup.budget_bytes.to_string()])
        .args(["--idle-unload", "never"]);
    if let Some(other) = &setup.other {
        command.arg("--model").arg(model_pair(OTHER, other));
    }
    command.arg("--config").arg(configuration(setup, folder)?);
    if let Some(threads) = setup.threads {
        command.args(["--threads", &threads.to_string()]);
    }
    let log = fs::File::create(log)?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
    Ok(command)
}

/// A configuration file with what no flag says: how the models guess; both of two are of one group, which
/// is exclusive; and prefixes are kept in this way.
fn configuration(setup: &Setup, folder: &Path) -> anyhow::Result<PathBuf> {
    let file = folder.join("config.toml");
    let group = if setup.other.is_some() { "group = \"main\"\n" } else { "" };
    let guessing = match &setup.guessing {
        Guessing::Off => "speculation = \"off\"\n".to_owned(),
        Guessing::Lookup(None) => "speculation = \"lookup\"\n".to_owned(),
        Guessing::Lookup(Some(tokens)) => {
            format!("speculation = \"lookup\"\ndraft_tokens = {tokens}\n")
        }
        Guessing::Head => "speculation = \"mtp\"\n".to_owned(),
        Guessing::Draft(path) => {
            format!("draft = {}\n", toml::Value::String(path.display().to_string()))
        }
    };
    let mut text = format!("[models.{MODEL}]\n{group}{guessing}");
    if setup.other.is_some() {
        text += &format!("[models.{OTHER}]\n{group}speculation = \"off\"\n");
    }
    if let Some(keep) = setup.keep {
        // A measurement may fill the disk as far as it needs; what it writes goes with its folder.
        text += &format!("[kv]\ncache = \"{}\"\nfree_floor = \"0\"\n", keep.cache.word());
        if let Some(bytes) = keep.ram_bytes {
            text += &format!("ram = \"{bytes}\"\n");
        }
    }
    fs::write(&file, text)?;
    Ok(file)
}

fn model_pair(name: &str, path: &Path) -> std::ffi::OsString {
    let mut pair = std::ffi::OsString::from(format!("{name}="));
    pair.push(path);
    pair
}

pub(super) fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
    Ok(listener.local_addr()?)
}

pub(super) async fn is_up(address: SocketAddr) -> bool {
    let Ok(mut client) = Client::connect(address).await else { return false };
    client.is_fine("/health").await.unwrap_or(false)
}

pub(super) fn log_end(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
}

/// PSS, which only Linux tells.
#[cfg(target_os = "linux")]
fn proportional_bytes(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let figure = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kibibytes: u64 = figure.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(not(target_os = "linux"))]
fn proportional_bytes(_pid: u32) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_flag_says_stands_in_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let mut setup = Setup {
            model: "a.gguf".into(),
            other: None,
            worker: None,
            context_tokens: 80,
            parallel: 1,
            threads: None,
            budget_bytes: 1,
            guessing: Guessing::Off,
            keep: None,
        };
        let text = |setup: &Setup| {
            fs::read_to_string(configuration(setup, folder.path()).unwrap()).unwrap()
        };
        assert_eq!(text(&setup), "[models.measured]\nspeculation = \"off\"\n");
        setup.guessing = Guessing::Lookup(Some(3));
        setup.other = Some("b.gguf".into());
        setup.keep = Some(Keep { cache: KvCache::Ram, ram_bytes: Some(5) });
        let expected = "[models.measured]\ngroup = \"main\"\nspeculation = \"lookup\"\n\
                        draft_tokens = 3\n[models.other]\ngroup = \"main\"\nspeculation = \"off\"\n\
                        [kv]\ncache = \"ram\"\nfree_floor = \"0\"\nram = \"5\"\n";
        assert_eq!(text(&setup), expected);
    }
}
