//! Reads reports from a worker's standard output.

use tokio::{io::AsyncReadExt, process::ChildStdout};
use worker_protocol::{Report, frame::Decoder};

use crate::limits::READ_BYTES;

/// Puts reports together from what the pipe gives.
pub(super) struct Reader {
    stdout: Option<ChildStdout>,
    decoder: Decoder,
    buffer: Vec<u8>,
}

impl Reader {
    pub(super) fn new(stdout: Option<ChildStdout>) -> Self {
        Self { stdout, decoder: Decoder::default(), buffer: vec![0; READ_BYTES] }
    }

    /// The next report; `None` at the end of the pipe. Cancel-safe.
    ///
    /// # Errors
    /// What the worker did wrong; nothing that follows can be trusted.
    pub(super) async fn next(&mut self) -> Result<Option<Report>, String> {
        loop {
            let report =
                self.decoder.take().map_err(|error| format!("it broke the protocol: {error}"))?;
            if report.is_some() {
                return Ok(report);
            }
            let Some(stdout) = &mut self.stdout else { return Ok(None) };
            match stdout.read(&mut self.buffer).await {
                // A frame cut short is what a death looks like; the exit tells more.
                Ok(0) | Err(_) => return Ok(None),
                Ok(bytes) => self.decoder.push(&self.buffer[..bytes]),
            }
        }
    }
}
