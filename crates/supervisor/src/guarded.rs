//! A foreign program behind its guard, as the hub sees it: started with a scrubbed environment,
//! asked to stop, killed with all that it started, and gone only when the whole tree is.
//!
//! Not here: the guard itself (`guard`), what the program is for (`foreign`).

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt,
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::{
    engine::StopSignal,
    environment,
    guard::{FOLDER_FLAG, INPUT_FLAG, INTERRUPT, TERMINATE},
};

/// What is started.
#[derive(Debug)]
pub(crate) struct Order<'a> {
    /// Program and arguments.
    pub(crate) argv: &'a [String],
    /// Added to the few variables of the hub's that every engine gets.
    pub(crate) environment: &'a BTreeMap<String, String>,
    /// The file that it reads as its standard input; nothing without it.
    pub(crate) input: Option<&'a Path>,
    /// A folder of its own, where it runs; without it, it runs where the hub does. Whoever made it
    /// removes it, and the guard does when that is not to be expected any more.
    pub(crate) folder: Option<&'a Path>,
}

/// A program behind its guard. Dropping it kills the program and all that it started.
#[derive(Debug)]
pub(crate) struct Guarded {
    guard: Child,
    /// Closing this kills.
    words: Option<ChildStdin>,
    pid: Option<u32>,
}

impl Guarded {
    /// Starts the guard, and so the program. That the program cannot be started is said on standard
    /// error, by the guard, which then ends.
    ///
    /// # Errors
    /// Why there is no guard, with the way out.
    pub(crate) fn start(guard: &[OsString], order: &Order<'_>) -> Result<Self, String> {
        let Some((program, arguments)) = guard.split_first() else {
            return Err(
                "this hub was started without the guard that foreign programs need; start \
                        it with: resident serve"
                    .to_owned(),
            );
        };
        let mut command = Command::new(program);
        command.args(arguments);
        if let Some(input) = order.input {
            command.arg(INPUT_FLAG).arg(input);
        }
        if let Some(folder) = order.folder {
            command.arg(FOLDER_FLAG).arg(folder).current_dir(folder);
        }
        command.arg("--").args(order.argv);
        // Not killed on drop: the end of its input makes it end the others first.
        command
            .env_clear()
            .envs(environment::kept(std::env::vars_os()))
            .envs(order.environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        no_window(&mut command);
        let mut guard = command.spawn().map_err(|error| cannot_start(program, &error))?;
        Ok(Self { words: guard.stdin.take(), pid: guard.id(), guard })
    }

    /// The guard's process, from which all others of the program descend. `None` when it is gone.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.guard.id()
    }

    /// What the program prints; once.
    pub(crate) fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.guard.stdout.take()
    }

    /// What the program complains about; once.
    pub(crate) fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.guard.stderr.take()
    }

    /// Asks the program to stop, and kills it with all that it started when it is still there after
    /// `grace`. Returns how it ended, after all of it was gone.
    pub(crate) async fn stop(&mut self, signal: StopSignal, grace: Duration) -> String {
        let letter = match signal {
            StopSignal::Terminate => TERMINATE,
            StopSignal::Interrupt => INTERRUPT,
        };
        if let Some(words) = &mut self.words {
            // Fails only if the guard is going already. A pipe takes one letter at once.
            words.write_all(&[letter]).await.ok();
        }
        match timeout(grace, self.wait()).await {
            Ok(ended) => ended,
            Err(_) => {
                self.kill();
                self.wait().await;
                format!("did not stop within {} s and was killed", grace.as_secs_f32())
            }
        }
    }

    /// Kills the program with all that it started; [`Self::wait`] tells when they are gone.
    pub(crate) fn kill(&mut self) {
        self.words = None;
    }

    /// Waits until the program and all that it started are gone; says how it ended. Cancel-safe.
    pub(crate) async fn wait(&mut self) -> String {
        match self.guard.wait().await {
            Ok(status) => {
                self.bury(status);
                format!("ended with {}", shown(status))
            }
            Err(error) => format!("ended: {error}"),
        }
    }

    /// Whether the program has ended well.
    pub(crate) fn succeeded(&mut self) -> bool {
        matches!(self.guard.try_wait(), Ok(Some(status)) if status.success())
    }

    /// A guard that was killed itself could end nobody; its group still can be.
    fn bury(&mut self, status: ExitStatus) {
        if let Some(pid) = self.pid.take()
            && status.code().is_none()
        {
            kill_group(pid);
        }
    }
}

/// As the program's own status would be shown.
#[cfg(unix)]
fn shown(status: ExitStatus) -> ExitStatus {
    use std::os::unix::process::ExitStatusExt;
    let base = i32::from(crate::guard::SIGNAL_BASE);
    match status.code() {
        Some(code) if code > base => ExitStatus::from_raw(code - base),
        Some(_) | None => status,
    }
}

#[cfg(not(unix))]
fn shown(status: ExitStatus) -> ExitStatus {
    status
}

#[cfg(unix)]
fn kill_group(leader: u32) {
    use rustix::process::{Pid, Signal, kill_process_group};
    if let Some(leader) = i32::try_from(leader).ok().and_then(Pid::from_raw) {
        // Fails only when nobody is left in it.
        kill_process_group(leader, Signal::KILL).ok();
    }
}

#[cfg(not(unix))]
fn kill_group(_leader: u32) {}

#[cfg(windows)]
fn no_window(command: &mut Command) {
    const CREATE_NO_WINDOW: u32 = 0x0800_0000;
    const CREATE_NEW_PROCESS_GROUP: u32 = 0x0000_0200;
    command.creation_flags(CREATE_NO_WINDOW | CREATE_NEW_PROCESS_GROUP);
}

#[cfg(not(windows))]
fn no_window(_command: &mut Command) {}

fn cannot_start(program: &OsStr, error: &io::Error) -> String {
    format!("the guard {} cannot be started: {error}; install the hub anew", program.display())
}
