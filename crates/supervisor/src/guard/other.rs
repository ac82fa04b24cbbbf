//! Windows and the rest. On Windows everything that the guard starts is in a job with it, and the
//! system ends the job with the guard, however that ends; elsewhere only the program itself is
//! killed.

use std::{
    io::{self, Read},
    process::{Child, Command},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use super::{End, INTERRUPT, TERMINATE};

/// Starts the program and stays until it is gone.
pub(super) fn run(mut command: Command) -> io::Result<End> {
    let _job = job()?;
    let child = Arc::new(Mutex::new(command.spawn()?));
    let watched = Arc::clone(&child);
    let hub_is_gone = Arc::new(AtomicBool::new(false));
    let gone = Arc::clone(&hub_is_gone);
    thread::spawn(move || {
        gone.store(wait_for_the_hub(), Ordering::Relaxed);
        // Fails only if it is gone already.
        lock(&watched).kill().ok();
    });
    loop {
        // Not `wait`, which would keep the lock from the thread that kills.
        if let Some(status) = lock(&child).try_wait()? {
            let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX);
            return Ok(End { code, hub_is_gone: hub_is_gone.load(Ordering::Relaxed) });
        }
        thread::sleep(crate::limits::GUARD_LOOK_INTERVAL);
    }
}

/// A job that this process is in, and with it whatever it will start. The handle is not closed
/// before the process ends.
#[cfg(windows)]
fn job() -> io::Result<std::mem::ManuallyDrop<win32job::Job>> {
    let mut limits = win32job::ExtendedLimitInfo::new();
    limits.limit_kill_on_job_close();
    let job = win32job::Job::create_with_limit_info(&limits).map_err(io::Error::other)?;
    job.assign_current_process().map_err(io::Error::other)?;
    Ok(std::mem::ManuallyDrop::new(job))
}

#[cfg(not(windows))]
fn job() -> io::Result<()> {
    Ok(())
}

/// Until the hub is gone or wants the program to end: there are no signals to pass on. Says whether
/// it is gone.
fn wait_for_the_hub() -> bool {
    let mut letter = [0];
    while io::stdin().read(&mut letter).is_ok_and(|bytes| bytes > 0) {
        if [TERMINATE, INTERRUPT].contains(&letter[0]) {
            return false;
        }
    }
    true
}

fn lock(child: &Mutex<Child>) -> std::sync::MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}
