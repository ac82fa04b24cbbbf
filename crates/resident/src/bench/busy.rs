//! Other programs that keep cores busy, made of this one: `resident bench spin`.

use std::{io, process::Stdio, time::Instant};

use anyhow::Context as _;
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};
use tokio::process::{Child, Command};

/// Keeps one core busy until standard input ends, which it does when the starter dies.
pub(crate) fn spin() -> anyhow::Result<()> {
    std::thread::Builder::new().name("watch-stdin".to_owned()).spawn(|| {
        // However reading ends, nobody is there any more who wants the core busy.
        let _ended = io::copy(&mut io::stdin().lock(), &mut io::sink());
        std::process::exit(0);
    })?;
    let mut count = 0_u64;
    loop {
        count = std::hint::black_box(count.wrapping_add(1));
    }
}

/// Processes that want a core each. They end when dropped.
#[derive(Debug)]
pub(crate) struct Busy {
    children: Vec<Child>,
    system: System,
}

impl Busy {
    /// Starts `count` of them.
    ///
    /// # Errors
    /// When this program cannot be started again.
    pub(crate) fn start(count: u32) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        let start = |_| {
            Command::new(&program)
                .args(["bench", "spin"])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .kill_on_drop(true)
                .spawn()
        };
        let children = (0..count).map(start).collect::<io::Result<Vec<Child>>>();
        Ok(Self {
            children: children.context("cannot start a busy process")?,
            system: System::new()?,
        })
    }

    /// What each of them got of a core since `begun`, when all had got `before` seconds; `None`
    /// without any.
    pub(crate) fn share_since(&mut self, begun: Instant, before: f64) -> Option<f64> {
        let got = self.cpu_seconds() - before;
        let count = u32::try_from(self.children.len()).ok().filter(|count| *count > 0)?;
        Some(got / f64::from(count) / begun.elapsed().as_secs_f64())
    }

    /// Processor time that all of them got so far, in seconds.
    pub(crate) fn cpu_seconds(&mut self) -> f64 {
        let pids: Vec<Pid> =
            self.children.iter().filter_map(Child::id).map(Pid::from_u32).collect();
        let cpu = ProcessRefreshKind::nothing().with_cpu().without_tasks();
        self.system.refresh_processes_specifics(ProcessesToUpdate::Some(&pids), false, cpu);
        let processes = pids.iter().filter_map(|pid| self.system.process(*pid));
        let milliseconds: u64 = processes.map(sysinfo::Process::accumulated_cpu_time).sum();
        std::time::Duration::from_millis(milliseconds).as_secs_f64()
    }
}
