//! One run of a tool: its folder, its process, and everything that can end it.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use tempfile::TempDir;
use tokio::{
    io::AsyncReadExt,
    process::ChildStdout,
    sync::oneshot,
    task::spawn_blocking,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use super::{Input, Output, Tool, ToolError, ToolOutput};
use crate::{
    AcquireError,
    guarded::{Guarded, Order},
    handle::Handle,
    limits::{DRAIN_WAIT_MAX, READ_BYTES, TOOL_LOOK_INTERVAL, TOOL_MEASURE_INTERVAL},
    log::{self, Log, Pipe},
    memory::tree_bytes,
    reservation::Reservation,
};

/// Everything for a run that has not begun.
pub(super) struct Job {
    tool: Arc<Tool>,
    argv: Vec<String>,
    files: Files,
}

/// The folder of a run, which nobody else may look into, and what lies in it by intent. Removed
/// when this is dropped.
struct Files {
    folder: TempDir,
    /// What becomes the tool's standard input.
    stdin: Option<PathBuf>,
    /// What the tool is to write.
    output: Option<PathBuf>,
    /// What the places for files are filled with.
    own: BTreeMap<&'static str, String>,
    input_bytes: u64,
}

/// Why a run ends.
enum End {
    /// By itself, in this way.
    Exited(String),
    /// Nobody waits for it any more.
    Abandoned,
    /// The memory is taken back: by the operator, or at shutdown.
    Stopped(String),
    /// It wrote more than it may.
    TooMuch,
}

impl Job {
    /// Writes the input into a folder of its own, so that a request that waits for memory takes
    /// none itself.
    pub(super) async fn prepare(
        tool: Arc<Tool>,
        values: BTreeMap<String, String>,
        input: Bytes,
    ) -> Result<Self, ToolError> {
        tool.check().map_err(|message| tool.unusable(message))?;
        if tool.input == Input::None && !input.is_empty() {
            return Err(ToolError::BadRequest {
                name: tool.name.clone(),
                place: "body".to_owned(),
                message: "it takes no body; send its values in the query alone".to_owned(),
            });
        }
        let job = spawn_blocking(move || {
            let files = Files::make(&tool, &input)
                .map_err(|error| tool.failed(format!("no folder for its files: {error}")))?;
            let argv = tool.fill(&files.own, &values)?;
            Ok(Self { tool, argv, files })
        });
        // The runtime cancels a blocking task only when it goes down.
        job.await.unwrap_or(Err(AcquireError::ShuttingDown.into()))
    }

    /// Runs it in memory that is kept for it, to its end or until `gone` says that nobody waits for
    /// it. Returns when nothing is left of the process and of its folder.
    pub(super) async fn run(
        self,
        hub: Handle,
        memory: Reservation,
        gone: oneshot::Receiver<()>,
    ) -> Result<ToolOutput, ToolError> {
        let begun = Instant::now();
        let stdout = self.run_process(&hub, memory, gone).await;
        let ran_for = begun.elapsed();
        let content_type = self.tool.content_type.clone();
        // A folder may hold much, so it is read and removed on a thread that may wait for the disk.
        let output = spawn_blocking(move || self.output(stdout?));
        let bytes = output.await.unwrap_or(Err(AcquireError::ShuttingDown.into()))?;
        Ok(ToolOutput { bytes, content_type, ran_for })
    }

    /// The process from its start until nothing of it is left; what it printed, if that is its
    /// output.
    async fn run_process(
        &self,
        hub: &Handle,
        mut memory: Reservation,
        gone: oneshot::Receiver<()>,
    ) -> Result<Vec<u8>, ToolError> {
        let tool = &self.tool;
        let environment = self.environment();
        let order = Order {
            argv: &self.argv,
            environment: &environment,
            input: self.files.stdin.as_deref(),
            folder: Some(self.files.folder.path()),
        };
        let mut guarded =
            Guarded::start(hub.guard(), &order).map_err(|message| tool.failed(message))?;
        let printed = guarded.take_stdout();
        // What is not the output is chatter.
        let (kept, chatter) = match tool.output {
            Output::Stdout => (printed, None),
            Output::File { .. } => (None, printed),
        };
        let mut stdout = Stdout::new(kept, tool.output_bytes_max);
        let chatter = chatter.map(|pipe| Box::new(pipe) as Pipe);
        let complaints = guarded.take_stderr().map(|pipe| Box::new(pipe) as Pipe);
        let log_path = log::path(hub.logs_dir(), &tool.name);
        let mut log = Log::follow(chatter.into_iter().chain(complaints), log_path);
        let watch = self.watch(&mut guarded, &mut stdout, &mut memory, gone);
        let end = timeout(tool.time_max, watch).await;
        // The memory is given back only when nothing is left that uses it.
        guarded.kill();
        guarded.wait().await;
        drop(memory);
        match end {
            Ok(End::Exited(how)) => {
                stdout.drain().await;
                if stdout.is_over {
                    Err(tool.too_much())
                } else if guarded.succeeded() {
                    Ok(stdout.kept)
                } else {
                    Err(tool.failed(format!("it {how}; {}", log.last_words().await)))
                }
            }
            Ok(End::Abandoned) => Err(tool.failed("nobody waits for it any more".to_owned())),
            Ok(End::Stopped(why)) => Err(tool.failed(format!("it was stopped: {why}"))),
            Ok(End::TooMuch) => Err(tool.too_much()),
            Err(_) => Err(ToolError::TimedOut { name: tool.name.clone(), time_max: tool.time_max }),
        }
    }

    /// Until something ends the run.
    async fn watch(
        &self,
        guarded: &mut Guarded,
        stdout: &mut Stdout,
        memory: &mut Reservation,
        mut gone: oneshot::Receiver<()>,
    ) -> End {
        let pid = guarded.pid();
        let [mut look, mut measure] = [TOOL_LOOK_INTERVAL, TOOL_MEASURE_INTERVAL].map(interval);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        measure.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                ended = guarded.wait() => return End::Exited(ended),
                () = stdout.read() => if stdout.is_over { return End::TooMuch },
                _ = &mut gone => return End::Abandoned,
                why = memory.revoked() => return End::Stopped(why),
                _ = look.tick() => if self.wrote_too_much().await { return End::TooMuch },
                _ = measure.tick() => if let Some(bytes) = tree_bytes(pid).await {
                    memory.measured(bytes).await;
                },
            }
        }
    }

    /// The folder is also where programs put what they write on their own account.
    fn environment(&self) -> BTreeMap<String, String> {
        let folder = self.files.folder.path().display().to_string();
        let temporary = ["TMPDIR", "TEMP", "TMP"].map(|name| (name.to_owned(), folder.clone()));
        let mut environment = BTreeMap::from(temporary);
        environment.extend(self.tool.environment.clone());
        environment
    }

    async fn wrote_too_much(&self) -> bool {
        let folder = self.files.folder.path().to_owned();
        let bytes_max = self.tool.output_bytes_max.saturating_add(self.files.input_bytes);
        let over = spawn_blocking(move || folder_bytes(&folder) > bytes_max);
        over.await.unwrap_or(false)
    }

    /// What was written, from where it was to be written to. The folder goes before the answer does.
    fn output(self, stdout: Vec<u8>) -> Result<Bytes, ToolError> {
        let Some(path) = &self.files.output else { return Ok(stdout.into()) };
        // A link would lead out of the folder.
        let metadata = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file);
        let Some(metadata) = metadata else {
            return Err(self.tool.failed("it ended well, but wrote no output file".to_owned()));
        };
        if metadata.len() > self.tool.output_bytes_max {
            return Err(self.tool.too_much());
        }
        let bytes = fs::read(path);
        let broken = |error| self.tool.failed(format!("its output cannot be read: {error}"));
        bytes.map(Bytes::from).map_err(broken)
    }
}

impl Files {
    fn make(tool: &Tool, input: &[u8]) -> io::Result<Self> {
        let folder = private_folder()?;
        let at = |name: &str| folder.path().join(name);
        let shown = |path: &Path| {
            let text = path.to_str().map(str::to_owned);
            text.ok_or_else(|| io::Error::other("the system's folder for files is not Unicode"))
        };
        let mut own = BTreeMap::new();
        let stdin = match &tool.input {
            Input::Stdin => {
                fs::write(at("stdin"), input)?;
                Some(at("stdin"))
            }
            Input::File { extension } => {
                let path = at(&format!("input.{extension}"));
                fs::write(&path, input)?;
                own.insert("input", shown(&path)?);
                None
            }
            Input::None => None,
        };
        let output = match &tool.output {
            Output::Stdout => None,
            Output::File { extension } => {
                let path = at(&format!("output.{extension}"));
                own.insert("output", shown(&path)?);
                own.insert("output_stem", shown(&at("output"))?);
                Some(path)
            }
        };
        Ok(Self { folder, stdin, output, own, input_bytes: input.len() as u64 })
    }
}

#[cfg(unix)]
fn private_folder() -> io::Result<TempDir> {
    use std::os::unix::fs::PermissionsExt;
    let owner_only = fs::Permissions::from_mode(0o700);
    tempfile::Builder::new().prefix("resident-tool-").permissions(owner_only).tempdir()
}

/// Elsewhere the user's own folder for temporary files has the access list that keeps others out.
#[cfg(not(unix))]
fn private_folder() -> io::Result<TempDir> {
    tempfile::Builder::new().prefix("resident-tool-").tempdir()
}

/// Bytes of all files below; what vanishes meanwhile counts for nothing.
fn folder_bytes(folder: &Path) -> u64 {
    let mut bytes: u64 = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => bytes = bytes.saturating_add(metadata.len()),
                Err(_) => {}
            }
        }
    }
    bytes
}

/// What a tool prints where that is its output: kept up to its limit.
struct Stdout {
    pipe: Option<ChildStdout>,
    kept: Vec<u8>,
    bytes_max: u64,
    is_over: bool,
}

impl Stdout {
    fn new(pipe: Option<ChildStdout>, bytes_max: u64) -> Self {
        Self { pipe, kept: Vec::new(), bytes_max, is_over: false }
    }

    /// Takes in what comes next; never comes back after the end.
    async fn read(&mut self) {
        let Some(pipe) = &mut self.pipe else { return std::future::pending().await };
        self.kept.reserve(READ_BYTES);
        let read = pipe.read_buf(&mut self.kept).await;
        if !read.is_ok_and(|bytes| bytes > 0) {
            self.pipe = None;
        }
        self.is_over = self.kept.len() as u64 > self.bytes_max;
    }

    /// Takes in what was printed before the end.
    async fn drain(&mut self) {
        let rest = async {
            while self.pipe.is_some() && !self.is_over {
                self.read().await;
            }
        };
        // Nothing of the tool is left that could hold the pipe open; whatever else does, must not
        // hold up the answer.
        timeout(DRAIN_WAIT_MAX, rest).await.ok();
    }
}
