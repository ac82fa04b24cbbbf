//! How many cores the machine can spare right now.
//!
//! A thread of its own looks at the load twice a second, so that a step never waits for it; the
//! decision is `planner::threads`'.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use planner::threads::{Load, decide};
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// Time between two looks. Long enough that the load of a tick-counting kernel is exact to a few
/// percent, short enough that a neighbour gets its core back at once for a person's sense.
const LOOK_INTERVAL: Duration = Duration::from_millis(400);

/// Length of the first look, which is over before any model of weight has loaded.
const FIRST_LOOK: Duration = Duration::from_millis(100);

/// The threads to use, kept up to date.
#[derive(Debug, Clone)]
pub(crate) struct Spare {
    now: Arc<AtomicU32>,
    max: u32,
}

impl Spare {
    /// Watches the machine, or keeps to what the user fixed.
    pub(crate) fn watch(fixed: Option<u32>) -> Self {
        let cores_max = performance_cores();
        if fixed.is_some() || cores_max == 1 {
            let max = fixed.unwrap_or(cores_max);
            return Self { now: Arc::new(AtomicU32::new(max)), max };
        }
        // One thread until the first look is over: on a busy machine a step with too many takes
        // seconds, on a quiet one a tenth of a second at half speed is nothing.
        let threads = Arc::new(AtomicU32::new(1));
        let shared = Arc::clone(&threads);
        let watcher = std::thread::Builder::new().name("cpu-watch".to_owned());
        if watcher.spawn(move || look_forever(&shared, cores_max)).is_err() {
            threads.store(cores_max, Ordering::Relaxed);
        }
        Self { now: threads, max: cores_max }
    }

    /// Threads for the next step.
    pub(crate) fn threads(&self) -> u32 {
        self.now.load(Ordering::Relaxed)
    }

    /// Never more than these.
    pub(crate) fn threads_max(&self) -> u32 {
        self.max
    }
}

fn look_forever(threads: &AtomicU32, cores_max: u32) {
    let own = Pid::from_u32(std::process::id());
    let Ok(mut system) = System::new() else {
        // Without a way to look the machine counts as quiet.
        return threads.store(cores_max, Ordering::Relaxed);
    };
    let mut interval = FIRST_LOOK;
    loop {
        system.refresh_cpu_usage();
        let process = ProcessRefreshKind::nothing().with_cpu().without_tasks();
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[own]), false, process);
        std::thread::sleep(interval);
        interval = LOOK_INTERVAL;
        system.refresh_cpu_usage();
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[own]), false, process);
        let busy: f32 = system.cpus().iter().map(sysinfo::Cpu::usage).sum();
        let ours = system.process(own).map_or(0.0, sysinfo::Process::cpu_usage);
        let cores = u32::try_from(system.cpus().len()).unwrap_or(cores_max);
        let load = Load { cores_max, cores, others_busy: (busy - ours) / 100.0 };
        threads.store(decide(load), Ordering::Relaxed);
    }
}

/// Cores worth computing on: the fast ones where the system tells them apart, else physical cores,
/// since two threads on one core share its arithmetic units.
fn performance_cores() -> u32 {
    let allowed = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let physical = System::physical_core_count().unwrap_or(allowed);
    let fast = fast_cores().unwrap_or(physical);
    u32::try_from(fast.min(allowed)).unwrap_or(1).max(1)
}

#[cfg(target_os = "macos")]
fn fast_cores() -> Option<usize> {
    // Apple's chips list their fast cores as level 0.
    let mut count: libc::c_int = 0;
    let mut size = size_of::<libc::c_int>();
    // SAFETY: the name ends with NUL, the buffer's size is given, nothing is set.
    let code = unsafe {
        libc::sysctlbyname(
            c"hw.perflevel0.physicalcpu".as_ptr(),
            (&raw mut count).cast(),
            &raw mut size,
            std::ptr::null_mut(),
            0,
        )
    };
    (code == 0).then(|| usize::try_from(count).ok()).flatten()
}

#[cfg(target_os = "linux")]
fn fast_cores() -> Option<usize> {
    // Intel's hybrid chips list their fast cores apart ("0-15"); their siblings are counted once
    // through each core's own list of siblings.
    let list = std::fs::read_to_string("/sys/devices/cpu_core/cpus").ok()?;
    let siblings = |cpu: usize| {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/core_cpus_list");
        std::fs::read_to_string(path).unwrap_or_else(|_| cpu.to_string())
    };
    let cores: std::collections::BTreeSet<String> = read_cpu_list(&list).map(siblings).collect();
    Some(cores.len()).filter(|count| *count > 0)
}

#[cfg(not(any(target_os = "macos", target_os = "linux")))]
fn fast_cores() -> Option<usize> {
    None
}

/// Reads `0-3,8`.
#[cfg(target_os = "linux")]
fn read_cpu_list(list: &str) -> impl Iterator<Item = usize> {
    list.trim()
        .split(',')
        .filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(first.parse().ok()?..=last.parse().ok()?)
        })
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn cpu_lists_are_read() {
        let read = |list: &str| read_cpu_list(list).collect::<Vec<usize>>();
        assert_eq!(read("0-3,8\n"), [0, 1, 2, 3, 8]);
        assert_eq!(read("5"), [5]);
        assert!(read("").is_empty());
    }

    #[test]
    fn a_fixed_number_stays() {
        let fixed = Spare::watch(Some(3));
        assert_eq!((fixed.threads(), fixed.threads_max()), (3, 3));
        let watching = Spare::watch(None);
        assert!((1..=watching.threads_max()).contains(&watching.threads()));
    }
}
