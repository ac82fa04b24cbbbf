//! Starts the process: its own group, so that Ctrl-C in the hub's terminal reaches the hub alone;
//! no console window; a scrubbed environment; killed when its task is dropped.

use std::{path::Path, process::Stdio};

use tokio::process::{Child, Command};

use crate::environment;

/// The running process with three pipes; the error says how to get one.
pub(super) fn spawn(program: &Path) -> Result<Child, String> {
    let mut command = Command::new(program);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env_clear()
        .envs(environment::kept(std::env::vars_os()))
        .kill_on_drop(true);
    keep_to_itself(&mut command);
    command.spawn().map_err(|error| {
        format!(
            "the worker's program {} cannot be started: {error}; install it beside the hub's own",
            program.display()
        )
    })
}

#[cfg(unix)]
fn keep_to_itself(command: &mut Command) {
    command.process_group(0);
}

#[cfg(windows)]
fn keep_to_itself(command: &mut Command) {
    const CREATE_NO_WINDOW: u32 = 0x0800_0000;
    const CREATE_NEW_PROCESS_GROUP: u32 = 0x0000_0200;
    command.creation_flags(CREATE_NO_WINDOW | CREATE_NEW_PROCESS_GROUP);
}
