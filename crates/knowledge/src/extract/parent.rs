//! The parent's side: starts a process for a file, watches it, and believes only a whole answer.

use std::{
    ffi::OsString,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    Error, Limits, Located,
    child::{Answer, Found, Request, VARIABLE},
    open::Opened,
};
use crate::{
    document::{Document, Place},
    limits,
};

/// Reads files, each in a process of its own.
#[derive(Debug, Clone)]
pub struct Extractor {
    /// The program, which calls [`super::child`].
    pub program: PathBuf,
    /// What makes it do so, such as `extract-file`.
    pub arguments: Vec<OsString>,
    /// What one file may cost.
    pub limits: Limits,
}

/// What a file says, and what it cost to read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extracted {
    /// What it says.
    pub document: Document,
    /// The most memory that its reader had resident, in bytes, as far as it was seen.
    pub peak_bytes: u64,
    /// How long it took.
    pub took: Duration,
}

impl Extractor {
    /// What this file says. Blocks until it is read; `stop` ends that early.
    ///
    /// # Errors
    ///
    /// [`Error`] says why there is no text; [`Error::again`] whether trying later makes sense.
    pub fn extract(&self, path: &Path, stop: &AtomicBool) -> Result<Extracted, Error> {
        let begun = Instant::now();
        match self.ask(path, None, stop)? {
            (Found::Document(document), peak_bytes) => {
                Ok(Extracted { document, peak_bytes, took: begun.elapsed() })
            }
            (Found::Located(_), _) => {
                Err(Error::NoAnswer("it answered another question".to_owned()))
            }
        }
    }

    /// Finds a quote at a place of this file as it is now: with bytes of the file, or of the archive's entry, where the
    /// format has them. White space in the quote stands for any white space.
    ///
    /// # Errors
    ///
    /// [`Error::NotThere`] if the file does not have it there (any more), or why the file cannot be read.
    pub fn locate(
        &self,
        path: &Path,
        place: &Place,
        quote: &str,
        stop: &AtomicBool,
    ) -> Result<Located, Error> {
        if quote.len() > limits::QUOTE_BYTES_MAX {
            return Err(Error::Quote { bytes: quote.len(), bytes_max: limits::QUOTE_BYTES_MAX });
        }
        match self.ask(path, Some((place.clone(), quote.to_owned())), stop)? {
            (Found::Located(located), _) => Ok(located),
            (Found::Document(_), _) => {
                Err(Error::NoAnswer("it answered another question".to_owned()))
            }
        }
    }

    fn ask(
        &self,
        path: &Path,
        sought: Option<(Place, String)>,
        stop: &AtomicBool,
    ) -> Result<(Found, u64), Error> {
        let opened = Opened::open(path)?;
        let extension = path.extension().unwrap_or_default().to_string_lossy().into_owned();
        let request = Request { extension, limits: self.limits.clone(), sought };
        let child = self.start(&opened, &request)?;
        let ended = Watched::new(child, &self.limits).watch(stop);
        if !opened.is_unchanged() {
            return Err(Error::Changed);
        }
        let (answer, peak_bytes) = ended?;
        let found = answer.found?;
        Ok((found, answer.peak_bytes.unwrap_or_default().max(peak_bytes)))
    }

    fn start(&self, opened: &Opened, request: &Request) -> Result<Child, Error> {
        let failed = |error: std::io::Error| Error::system("start the reading process", &error);
        let text = serde_json::to_string(request).map_err(|error| Error::System {
            doing: "say what is wanted".to_owned(),
            error: error.to_string(),
        })?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear().env(VARIABLE, text);
        // Without it Windows finds none of its own libraries.
        #[cfg(windows)]
        if let Some(root) = std::env::var_os("SystemRoot") {
            command.env("SystemRoot", root);
        }
        command.stdin(Stdio::from(opened.file.try_clone().map_err(failed)?));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().map_err(failed)
    }
}

/// A running child, which does not outlive this.
struct Watched<'a> {
    child: Child,
    limits: &'a Limits,
    peak_bytes: u64,
}

/// What the threads that listen to the child have heard.
struct Heard {
    output: Vec<u8>,
    complaint: String,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl<'a> Watched<'a> {
    fn new(child: Child, limits: &'a Limits) -> Self {
        Self { child, limits, peak_bytes: 0 }
    }

    fn watch(mut self, stop: &AtomicBool) -> Result<(Answer, u64), Error> {
        let frames = limits::DOCUMENT_PARTS_MAX as u64 * limits::PART_FRAME_BYTES;
        let output_bytes_max = self.limits.text_bytes + frames;
        let heard = listen(&mut self.child, output_bytes_max)?;
        let end = Instant::now() + self.limits.wall;
        let heard = loop {
            match heard.recv_timeout(limits::WATCH_INTERVAL) {
                Ok(heard) => break heard,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::NoAnswer("nobody listened to it".to_owned()));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped);
            }
            self.peak_bytes = self.peak_bytes.max(resident_bytes(self.child.id()));
            if self.peak_bytes > self.limits.memory_bytes {
                return Err(Error::Memory { bytes_max: self.limits.memory_bytes });
            }
            if Instant::now() > end {
                return Err(self.too_long());
            }
        };
        if heard.output.len() as u64 > output_bytes_max {
            return Err(Error::NoAnswer(format!("it wrote more than {output_bytes_max} bytes")));
        }
        // Both pipes are closed, so it has ended or is about to.
        let status = loop {
            let ended = self.child.try_wait();
            match ended.map_err(|error| Error::system("wait for the reading process", &error))? {
                Some(status) => break status,
                None if Instant::now() > end => return Err(self.too_long()),
                None => thread::park_timeout(limits::EXIT_INTERVAL),
            }
        };
        if !status.success() {
            return Err(death(status, &heard.complaint, self.limits));
        }
        let answer = rmp_serde::from_slice(&heard.output)
            .map_err(|error| Error::NoAnswer(error.to_string()))?;
        Ok((answer, self.peak_bytes))
    }

    fn too_long(&self) -> Error {
        Error::Time { seconds_max: self.limits.wall.as_secs(), of: String::new() }
    }
}

/// Reads what the child writes, on two threads, until it closes both or writes too much.
fn listen(child: &mut Child, output_bytes_max: u64) -> Result<Receiver<Heard>, Error> {
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(Error::NoAnswer("it has no output".to_owned()));
    };
    let (sender, receiver) = channel();
    let errors = thread::spawn(move || {
        let mut stderr = stderr;
        let mut complaint = Vec::new();
        // What cannot be read is not said; the rest is let go, so that the child does not wait.
        let _ = stderr.by_ref().take(limits::STDERR_BYTES_MAX).read_to_end(&mut complaint);
        let _ = std::io::copy(&mut stderr, &mut std::io::sink());
        String::from_utf8_lossy(&complaint).into_owned()
    });
    thread::spawn(move || {
        let mut output = Vec::new();
        let read = stdout.take(output_bytes_max + 1).read_to_end(&mut output);
        // Its end of the pipe is closed by now; a child that writes on ends by that.
        let complaint =
            if read.is_ok() { errors.join().unwrap_or_default() } else { String::new() };
        // Nobody listens any more when the watch was ended early.
        let _ = sender.send(Heard { output, complaint });
    });
    Ok(receiver)
}

/// Why a child that gave no answer ended.
fn death(status: ExitStatus, complaint: &str, limits: &Limits) -> Error {
    if complaint.contains("memory allocation of") {
        return Error::Memory { bytes_max: limits.memory_bytes };
    }
    if complaint.contains("has overflowed its stack") {
        return Error::Crashed("things in it are nested too deeply".to_owned());
    }
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt;
        let by = |signal: rustix::process::Signal| status.signal() == Some(signal.as_raw());
        if by(rustix::process::Signal::XCPU) {
            return Error::Time {
                seconds_max: limits.cpu_seconds,
                of: " of processor time".to_owned(),
            };
        }
        if by(rustix::process::Signal::KILL) {
            return Error::Crashed(
                "the system ended it, most likely for want of memory".to_owned(),
            );
        }
    }
    let line = complaint.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let line: String = line.chars().take(200).collect();
    Error::Crashed(if line.is_empty() { status.to_string() } else { format!("{status}: {line}") })
}

/// What this process has in memory now; 0 when it has ended.
#[cfg(target_os = "linux")]
fn resident_bytes(process: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/statm")).unwrap_or_default();
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

/// What this process has in memory now; 0 when it has ended.
#[cfg(not(target_os = "linux"))]
fn resident_bytes(process: u32) -> u64 {
    use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};
    let pid = Pid::from_u32(process);
    let mut system = System::new();
    let what = ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, what);
    system.process(pid).map_or(0, sysinfo::Process::memory)
}
