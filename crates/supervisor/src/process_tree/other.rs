//! macOS, Windows and the rest: the system's list of processes.

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// Every process with its parent. Who lost its parent but is still in `root`'s session counts as
/// its child, since the system gives orphans away.
pub(super) fn parents(root: u32) -> Vec<(u32, u32)> {
    let Ok(mut system) = System::new() else { return Vec::new() };
    let refresh = ProcessRefreshKind::nothing();
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, refresh);
    let mut parents = Vec::new();
    for (pid, process) in system.processes() {
        let parent = process.parent().map(Pid::as_u32);
        parents.extend(parent.map(|parent| (pid.as_u32(), parent)));
        if process.session_id().map(Pid::as_u32) == Some(root) {
            parents.push((pid.as_u32(), root));
        }
    }
    parents
}
