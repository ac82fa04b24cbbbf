//! Linux, macOS and their like: a session of its own, and signals.

use std::{io, process::Command};

use rustix::{
    io::Errno,
    process::{
        Pid, Signal, WaitOptions, WaitStatus, getpgrp, kill_process, kill_process_group, setsid,
        wait,
    },
};
use tokio::{
    io::{AsyncReadExt, Stdin},
    signal::unix::{SignalKind, signal},
};

use super::{End, INTERRUPT, SIGNAL_BASE, TERMINATE};
use crate::process_tree;

/// Starts the program and stays until nothing is left of it.
pub(super) fn run(command: Command) -> io::Result<End> {
    // Fails only for the leader of a group, which has what is wanted: a group that signals can go
    // to and that no terminal reaches.
    setsid().ok();
    adopt_orphans()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(guard(command));
    // A read of standard input may still be under way, for ever.
    runtime.shutdown_background();
    let (status, hub_is_gone) = ended?;
    end_all();
    Ok(End { code: code(status), hub_is_gone })
}

/// What loses its parent becomes this process's child and so stays in sight.
#[cfg(target_os = "linux")]
fn adopt_orphans() -> io::Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(io::Error::from)
}

#[cfg(not(target_os = "linux"))]
fn adopt_orphans() -> io::Result<()> {
    Ok(())
}

/// Until the program ends: how, and whether because the hub is gone.
async fn guard(mut command: Command) -> io::Result<(WaitStatus, bool)> {
    let mut child_ended = signal(SignalKind::child())?;
    // Signals to the group reach this process too, which has to outlive the others.
    let _terminated = signal(SignalKind::terminate())?;
    let _interrupted = signal(SignalKind::interrupt())?;
    let child = command.spawn()?;
    let child = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let mut hub = tokio::io::stdin();
    loop {
        tokio::select! {
            _ = child_ended.recv() => {
                if let Some(status) = reap(child)? {
                    return Ok((status, false));
                }
            }
            word = next_word(&mut hub) => match word {
                Some(signal) => signal_group(signal),
                None => break,
            },
        }
    }
    kill_all();
    loop {
        if let Some(status) = reap(child)? {
            return Ok((status, true));
        }
        child_ended.recv().await;
        // What was started meanwhile.
        kill_all();
    }
}

/// The next signal that the hub asks for; `None` when it is gone.
async fn next_word(hub: &mut Stdin) -> Option<Signal> {
    loop {
        let mut letter = [0];
        if hub.read(&mut letter).await.ok()? == 0 {
            return None;
        }
        match letter[0] {
            TERMINATE => return Some(Signal::TERM),
            INTERRUPT => return Some(Signal::INT),
            _ => {}
        }
    }
}

/// Takes note of every child that ended; how the program ended, if it is among them.
fn reap(program: Option<Pid>) -> io::Result<Option<WaitStatus>> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if Some(pid) == program => return Ok(Some(status)),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Ends what the program left behind, and returns when it is gone.
fn end_all() {
    loop {
        kill_all();
        match wait(WaitOptions::empty()) {
            Ok(_) | Err(Errno::INTR) => {}
            // No children are left.
            Err(_) => return,
        }
    }
}

fn signal_group(signal: Signal) {
    // Fails only when nobody is left in it.
    kill_process_group(getpgrp(), signal).ok();
}

fn kill_all() {
    for pid in process_tree::descendants(std::process::id()) {
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            // Fails only when it is gone.
            kill_process(pid, Signal::KILL).ok();
        }
    }
}

fn code(status: WaitStatus) -> u8 {
    let code = match status.exit_status() {
        Some(code) => code,
        None => i32::from(SIGNAL_BASE) + status.terminating_signal().unwrap_or_default(),
    };
    u8::try_from(code).unwrap_or(u8::MAX)
}
