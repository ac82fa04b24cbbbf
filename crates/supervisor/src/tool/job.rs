//! One run of a tool: its folder, its process, and everything that can end it.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use tempfile::TempDir;
use tokio::{
    fs::File,
    io::AsyncReadExt,
    process::ChildStdout,
    sync::oneshot,
    task::{JoinError, JoinSet, spawn_blocking},
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use super::{
    Input, Output, Tool, ToolError, ToolOutput,
    content::{Content, Pieces},
};
use crate::{
    AcquireError,
    guarded::{Guarded, Order},
    handle::Handle,
    limits::{DRAIN_WAIT_MAX, TOOL_LOOK_INTERVAL, TOOL_MEASURE_INTERVAL},
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
    /// What the tool is to write, or what it prints.
    output: PathBuf,
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
    /// What it prints cannot be written down.
    Unkept(io::Error),
}

impl Job {
    /// Puts the content where the tool wants it.
    pub(super) async fn prepare(
        tool: Arc<Tool>,
        values: BTreeMap<String, String>,
        content: Content,
    ) -> Result<Self, ToolError> {
        tool.check().map_err(|message| tool.unusable(message))?;
        if tool.input == Input::None && content.bytes() > 0 {
            return Err(ToolError::BadRequest {
                name: tool.name.clone(),
                place: "body".to_owned(),
                message: "it takes no body; send its values in the query alone".to_owned(),
            });
        }
        let job = spawn_blocking(move || {
            let files = Files::make(&tool, content)
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
        let ended = self.run_process(&hub, memory, gone).await;
        let ran_for = begun.elapsed();
        let content_type = self.tool.content_type.clone();
        // A folder may hold much, so it is removed on a thread that may wait for the disk.
        let output = spawn_blocking(move || ended.and_then(|()| self.output()));
        let (pieces, bytes) = output.await.unwrap_or(Err(AcquireError::ShuttingDown.into()))?;
        Ok(ToolOutput { pieces, bytes, content_type, ran_for })
    }

    /// The process from its start until nothing of it is left.
    async fn run_process(
        &self,
        hub: &Handle,
        mut memory: Reservation,
        gone: oneshot::Receiver<()>,
    ) -> Result<(), ToolError> {
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
        let mut printing = Printing::default();
        if let Some(pipe) = kept {
            let bytes_max = tool.output_bytes_max;
            printing.task.spawn(keep(pipe, self.files.output.clone(), bytes_max));
        }
        let chatter = chatter.map(|pipe| Box::new(pipe) as Pipe);
        let complaints = guarded.take_stderr().map(|pipe| Box::new(pipe) as Pipe);
        let log_path = log::path(hub.logs_dir(), &tool.name);
        let mut log = Log::follow(chatter.into_iter().chain(complaints), log_path);
        let watch = self.watch(&mut guarded, &mut printing, &mut memory, gone);
        let end = timeout(tool.time_max, watch).await;
        // The memory is given back only when nothing is left that uses it.
        guarded.kill();
        guarded.wait().await;
        drop(memory);
        let end = match end {
            // Nothing of the tool is left that could hold the pipe open; whatever else does, must not
            // hold up the answer.
            Ok(End::Exited(how)) => match timeout(DRAIN_WAIT_MAX, printing.fault()).await {
                Ok(Some(fault)) => fault,
                Ok(None) | Err(_) => End::Exited(how),
            },
            Ok(end) => end,
            Err(_) => {
                let time_max = tool.time_max;
                return Err(ToolError::TimedOut { name: tool.name.clone(), time_max });
            }
        };
        match end {
            End::Exited(_) if guarded.succeeded() => Ok(()),
            End::Exited(how) => Err(tool.failed(format!("it {how}; {}", log.last_words().await))),
            End::Abandoned => Err(tool.failed("nobody waits for it any more".to_owned())),
            End::Stopped(why) => Err(ToolError::Stopped { name: tool.name.clone(), why }),
            End::TooMuch => Err(tool.too_much()),
            End::Unkept(error) => {
                Err(tool.failed(format!("what it printed cannot be kept: {error}")))
            }
        }
    }

    /// Until something ends the run.
    async fn watch(
        &self,
        guarded: &mut Guarded,
        printing: &mut Printing,
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
                Some(fault) = printing.fault() => return fault,
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

    /// What was written, from where it was to be written to. The folder goes before the answer does:
    /// an open file needs no name, and so nothing is left however the hub ends.
    fn output(self) -> Result<(Pieces, u64), ToolError> {
        let path = &self.files.output;
        // A link would lead out of the folder.
        let metadata = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file);
        let Some(metadata) = metadata else {
            return Err(self.tool.failed("it ended well, but wrote no output file".to_owned()));
        };
        if metadata.len() > self.tool.output_bytes_max {
            return Err(self.tool.too_much());
        }
        let broken = |error| self.tool.failed(format!("its output cannot be read: {error}"));
        let pieces = Pieces::open(path).map_err(broken)?;
        Ok((pieces, metadata.len()))
    }
}

impl Files {
    fn make(tool: &Tool, content: Content) -> io::Result<Self> {
        let input_bytes = content.bytes();
        let (folder, content) = content.into_parts();
        let at = |name: &str| folder.path().join(name);
        let shown = |path: &Path| {
            let text = path.to_str().map(str::to_owned);
            text.ok_or_else(|| io::Error::other("the system's folder for files is not Unicode"))
        };
        let mut own = BTreeMap::new();
        let stdin = match &tool.input {
            Input::Stdin => {
                fs::rename(content, at("stdin"))?;
                Some(at("stdin"))
            }
            Input::File { extension } => {
                let path = at(&format!("input.{extension}"));
                fs::rename(content, &path)?;
                own.insert("input", shown(&path)?);
                None
            }
            Input::None => {
                fs::remove_file(content)?;
                None
            }
        };
        let output = match &tool.output {
            Output::Stdout => at("stdout"),
            Output::File { extension } => {
                let path = at(&format!("output.{extension}"));
                own.insert("output", shown(&path)?);
                own.insert("output_stem", shown(&at("output"))?);
                path
            }
        };
        Ok(Self { folder, stdin, output, own, input_bytes })
    }
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

/// A tool's standard output on its way into a file; nothing where it is chatter. Dropping it ends
/// that.
#[derive(Default)]
struct Printing {
    task: JoinSet<io::Result<bool>>,
}

impl Printing {
    /// What went wrong with it, once all is written down; `None` when nothing did, or ever will.
    /// Cancel-safe.
    async fn fault(&mut self) -> Option<End> {
        let kept: Result<_, JoinError> = self.task.join_next().await?;
        match kept.unwrap_or_else(|error| Err(error.into())) {
            Ok(true) => None,
            Ok(false) => Some(End::TooMuch),
            Err(error) => Some(End::Unkept(error)),
        }
    }
}

/// Writes down what comes out of the pipe, and says whether that was all, or there was more than there
/// may be.
async fn keep(pipe: ChildStdout, path: PathBuf, bytes_max: u64) -> io::Result<bool> {
    let mut file = File::create(path).await?;
    let mut pipe = pipe.take(bytes_max.saturating_add(1));
    Ok(tokio::io::copy(&mut pipe, &mut file).await? <= bytes_max)
}
