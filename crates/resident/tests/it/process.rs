//! Processes as the system sees them.

use sysinfo::{
    Pid, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, Signal, System, UpdateKind,
};

/// A process that was seen. The time of its start tells it from a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pid: Pid,
    started_unix_s: u64,
}

impl Process {
    /// The process with this number, if it runs.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let pid = Pid::from_u32(pid);
        let system = look(ProcessesToUpdate::Some(&[pid]));
        let process = system.process(pid).filter(|process| runs(process))?;
        Some(Self { pid, started_unix_s: process.start_time() })
    }

    /// Running children of `parent` with this program.
    pub(crate) fn children_of(parent: u32, program: &str) -> Vec<Self> {
        let parent = Pid::from_u32(parent);
        let system = look(ProcessesToUpdate::All);
        let children = system.processes().values().filter(|process| {
            let name = process.name().to_string_lossy();
            process.parent() == Some(parent) && name.starts_with(program) && runs(process)
        });
        children
            .map(|child| Self { pid: child.pid(), started_unix_s: child.start_time() })
            .collect()
    }

    pub(crate) fn pid(self) -> u32 {
        self.pid.as_u32()
    }

    pub(crate) fn is_alive(self) -> bool {
        Self::of(self.pid()) == Some(self)
    }

    /// Memory of the process that is in RAM.
    pub(crate) fn resident_bytes(self) -> u64 {
        let system = look(ProcessesToUpdate::Some(&[self.pid]));
        system.process(self.pid).map_or(0, sysinfo::Process::memory)
    }

    /// Running processes in whose environment some variable has this value. Linux alone says it.
    #[cfg(target_os = "linux")]
    pub(crate) fn with_variable(value: &str) -> Vec<Self> {
        let has_it = |pid: &u32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|pair| pair.split(|byte| *byte == b'=').next_back() == Some(value.as_bytes()))
        };
        let entries = std::fs::read_dir("/proc").unwrap();
        let pids = entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
        pids.filter(has_it).filter_map(Self::of).collect()
    }

    /// Running processes with an argument that contains this. Linux alone says it.
    #[cfg(target_os = "linux")]
    pub(crate) fn with_argument(part: &str) -> Vec<Self> {
        let has_it = |pid: &u32| {
            let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&arguments).contains(part)
        };
        let entries = std::fs::read_dir("/proc").unwrap();
        let pids = entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
        pids.filter(has_it).filter_map(Self::of).collect()
    }

    /// Memory of the process, pages that it shares with others by their share; `None` when it is
    /// gone. Linux alone says it.
    #[cfg(target_os = "linux")]
    pub(crate) fn proportional_bytes(self) -> Option<u64> {
        self.kernel_bytes("Pss:")
    }

    /// Memory of the process that is swapped out; `None` when it is gone.
    #[cfg(target_os = "linux")]
    pub(crate) fn swapped_bytes(self) -> Option<u64> {
        self.kernel_bytes("Swap:")
    }

    #[cfg(target_os = "linux")]
    fn kernel_bytes(self, name: &str) -> Option<u64> {
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid)).ok()?;
        let value = rollup.lines().find_map(|line| line.strip_prefix(name))?;
        Some(value.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
    }

    /// Ends it at once.
    pub(crate) fn kill(self) {
        self.signal(Signal::Kill);
    }

    /// Ends it at once, unless it has ended already; says whether it did.
    #[cfg(target_os = "linux")]
    pub(crate) fn kill_if_there(self) -> bool {
        let system = look(ProcessesToUpdate::Some(&[self.pid]));
        let process = system.process(self.pid).filter(|process| runs(process));
        process.is_some_and(|process| {
            process.start_time() == self.started_unix_s
                && process.kill_with(Signal::Kill) == Some(true)
        })
    }

    /// Asks it to end.
    pub(crate) fn terminate(self) {
        self.signal(Signal::Term);
    }

    /// What Ctrl-C does.
    #[cfg(target_os = "linux")]
    pub(crate) fn interrupt(self) {
        self.signal(Signal::Interrupt);
    }

    /// Tells it that its terminal is gone, which a service takes for "read your settings again".
    #[cfg(unix)]
    pub(crate) fn hang_up(self) {
        self.signal(Signal::Hangup);
    }

    fn signal(self, signal: Signal) {
        let system = look(ProcessesToUpdate::Some(&[self.pid]));
        let process = system.process(self.pid).expect("a running process");
        assert_eq!(process.start_time(), self.started_unix_s, "another process has its number");
        assert_eq!(process.kill_with(signal), Some(true), "{signal} cannot be sent");
    }
}

fn look(which: ProcessesToUpdate<'_>) -> System {
    let mut system = System::new().expect("a view of the processes");
    let what = ProcessRefreshKind::nothing().with_memory().with_exe(UpdateKind::Never);
    system.refresh_processes_specifics(which, true, what.without_tasks());
    system
}

/// A zombie is dead; it only waits for its parent to take note.
fn runs(process: &sysinfo::Process) -> bool {
    !matches!(process.status(), ProcessStatus::Zombie | ProcessStatus::Dead)
}
