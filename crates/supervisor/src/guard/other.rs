//! Windows and the rest: the program itself is killed. What it started in turn ends with it only
//! where it does so by itself.

use std::{
    io::{self, Read},
    process::{Child, Command},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use super::{INTERRUPT, TERMINATE};

/// Starts the program and stays until it is gone.
pub(super) fn run(mut command: Command) -> io::Result<u8> {
    let child = Arc::new(Mutex::new(command.spawn()?));
    let watched = Arc::clone(&child);
    thread::spawn(move || {
        wait_for_the_hub();
        // Fails only if it is gone already.
        lock(&watched).kill().ok();
    });
    loop {
        // Not `wait`, which would keep the lock from the thread that kills.
        if let Some(status) = lock(&child).try_wait()? {
            return Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX));
        }
        thread::sleep(crate::limits::GUARD_LOOK_INTERVAL);
    }
}

/// Until the hub is gone or wants the program to end: there are no signals to pass on.
fn wait_for_the_hub() {
    let mut letter = [0];
    while io::stdin().read(&mut letter).is_ok_and(|bytes| bytes > 0) {
        if [TERMINATE, INTERRUPT].contains(&letter[0]) {
            return;
        }
    }
}

fn lock(child: &Mutex<Child>) -> std::sync::MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}
