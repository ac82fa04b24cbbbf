//! The frame pipe, moved off standard output before anything could print there.
//!
//! llama.cpp and its backends may print to standard output; a stray line between two frames would
//! end the conversation with the hub. So frames go to a copy of the descriptor, and descriptor 1
//! points to standard error from then on.

use std::fs::File;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;

use worker_protocol::{Command, frame};

/// Bytes that are read from the pipe at once: what a pipe holds on Linux and macOS.
const READ_BYTES: usize = 64 << 10;

/// Exit code of a worker whose hub speaks nonsense.
const MISUSED: i32 = 2;

/// The pipe that frames are written to.
pub(crate) fn take_stdout() -> io::Result<File> {
    let pipe = duplicate_stdout()?;
    // SAFETY: two descriptors that are open for the process's whole life.
    if unsafe { libc::dup2(2, 1) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(pipe)
}

#[cfg(unix)]
fn duplicate_stdout() -> io::Result<File> {
    use std::os::fd::AsFd;
    Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

#[cfg(windows)]
fn duplicate_stdout() -> io::Result<File> {
    use std::os::windows::io::AsHandle;
    Ok(File::from(io::stdout().as_handle().try_clone_to_owned()?))
}

/// Whether something is left to do when the hub is gone.
static LINGERS: AtomicBool = AtomicBool::new(false);

/// From now on the end of the hub's words does not end the process at once: the engine hears of it, has
/// a bounded time to put things away, and ends the process itself.
pub(crate) fn linger() {
    LINGERS.store(true, Ordering::Relaxed);
}

/// Reads commands until the hub is gone, and then ends the process, whatever the model is computing:
/// nobody waits for it any more. Never returns.
pub(crate) fn read_forever(commands: SyncSender<Command>) -> ! {
    let mut decoder = frame::Decoder::default();
    let mut buffer = vec![0; READ_BYTES];
    let mut stdin = io::stdin().lock();
    loop {
        match stdin.read(&mut buffer) {
            Ok(0) => end(commands),
            Ok(count) => decoder.push(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => end(commands),
        }
        loop {
            match decoder.take::<Command>() {
                Ok(Some(command)) => {
                    if commands.send(command).is_err() {
                        leave(0);
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    crate::log::complain(&format!("error: the hub sent {error}"));
                    leave(MISUSED);
                }
            }
        }
    }
}

/// The hub is gone.
fn end(commands: SyncSender<Command>) -> ! {
    // The engine sees the end of the channel after the step that it computes.
    drop(commands);
    if LINGERS.load(Ordering::Relaxed) {
        std::thread::sleep(engine::limits::LEAVE_WAIT_MAX);
    }
    leave(0)
}

/// Ends the process without destructors: those of C++ would run beside threads that still compute.
pub(crate) fn leave(code: i32) -> ! {
    // SAFETY: takes no memory and never returns.
    unsafe { libc::_exit(code) }
}
