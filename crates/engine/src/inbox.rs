//! How commands come in and reports go out.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use worker_protocol::{Command, Report, frame};

/// Commands, as a thread that reads the pipe puts them.
#[derive(Debug)]
pub struct Inbox(Receiver<Command>);

impl Inbox {
    /// Commands come from this channel; the other end closes when the hub is gone.
    #[must_use]
    pub fn new(receiver: Receiver<Command>) -> Self {
        Self(receiver)
    }

    /// The next command, waiting for one: for good, or for so long.
    ///
    /// # Errors
    /// [`Closed`] when the hub is gone.
    pub fn wait(&self, wait_max: Option<Duration>) -> Result<Option<Command>, Closed> {
        let Some(wait_max) = wait_max else { return self.0.recv().map(Some).map_err(|_| Closed) };
        match self.0.recv_timeout(wait_max) {
            Ok(command) => Ok(Some(command)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Closed),
        }
    }

    /// A command that is there already.
    ///
    /// # Errors
    /// [`Closed`] when the hub is gone.
    pub fn poll(&self) -> Result<Option<Command>, Closed> {
        match self.0.try_recv() {
            Ok(command) => Ok(Some(command)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Closed),
        }
    }
}

/// The hub is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

/// Reports on their way to the hub. They are gathered and written once a step, so that a step of
/// eight streams costs one system call.
#[derive(Debug)]
pub struct Outbox<W> {
    pipe: W,
    gathered: Vec<u8>,
}

impl<W: Write> Outbox<W> {
    /// Reports go into this pipe.
    #[must_use]
    pub fn new(pipe: W) -> Self {
        Self { pipe, gathered: Vec::new() }
    }

    /// Adds a report; [`Outbox::flush`] sends it.
    pub fn push(&mut self, report: &Report) {
        match frame::encode(report) {
            Ok(frame) => self.gathered.extend_from_slice(&frame),
            // Only a report over the frame limit can fail, and none of ours comes near it.
            Err(error) => tracing::error!(%error, "a report was lost"),
        }
    }

    /// Writes what was gathered.
    ///
    /// # Errors
    /// The pipe's error: the hub is gone.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        self.pipe.write_all(&self.gathered)?;
        self.gathered.clear();
        self.pipe.flush()
    }
}
