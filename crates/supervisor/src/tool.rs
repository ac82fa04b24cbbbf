//! One-shot tools: a program for each request, which is admitted with the memory it was declared to
//! need, bounded in time and output, and gone afterwards with all that it wrote.
//!
//! Not here: who may ask and in which form (`gateway`), reading tools from a file (`resident`).

mod content;
mod job;
mod template;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use planner::fleet::Priority;
use tokio::sync::oneshot;

pub use self::content::Content;
pub(crate) use self::content::Pieces;
use self::{
    job::Job,
    template::{Template, Unfilled},
};
use crate::{bytes::readable, error::AcquireError, handle::Handle};

/// A program that does one thing for one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// The name that clients use.
    pub name: String,
    /// Program and arguments, never a shell. The request's values, such as `{voice}`, are replaced
    /// inside each argument; `{input}`, `{output}` and `{output_stem}` (without its extension) are
    /// the files of the run. It runs in a folder of its own, so other files are named by their whole
    /// path.
    pub argv: Vec<String>,
    /// Variables that are added to the few of the hub's that every engine gets.
    pub environment: BTreeMap<String, String>,
    /// Memory it is promised to take.
    pub memory_bytes: u64,
    /// From its start until it is killed.
    pub time_max: Duration,
    /// The most that its output, or the files in its folder, may have.
    pub output_bytes_max: u64,
    /// Which requests it answers.
    pub serves: Serves,
    /// How it gets what it works on.
    pub input: Input,
    /// Where its output is.
    pub output: Output,
    /// What its output is, such as `audio/wav`.
    pub content_type: String,
    /// What the values are where a request does not say.
    pub defaults: BTreeMap<String, String>,
    /// Its own names for voices that clients name otherwise; other names are passed as they are.
    pub voices: BTreeMap<String, String>,
}

/// Which requests a tool answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Serves {
    /// Text to speech.
    Speak,
    /// Speech to text.
    Listen,
    /// Text to pictures.
    Draw,
    /// Anything, by its name.
    Tool,
}

/// How a tool gets what it works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// On its standard input.
    Stdin,
    /// In the file `{input}`.
    File {
        /// Without a point.
        extension: String,
    },
    /// Not at all: everything is in its arguments.
    None,
}

/// Where a tool's output is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// On its standard output.
    Stdout,
    /// In the file `{output}`.
    File {
        /// Without a point.
        extension: String,
    },
}

/// What a run gave. It is on the disk, without a name there, and goes when this is dropped.
#[derive(Debug)]
pub struct ToolOutput {
    pieces: Pieces,
    bytes: u64,
    /// What it is, as the tool's settings say.
    pub content_type: String,
    /// From its start to its end.
    pub ran_for: Duration,
}

impl ToolOutput {
    /// Its length.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// The disk fails.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        self.pieces.next().await
    }

    /// All of it, for whoever must take it apart.
    ///
    /// # Errors
    /// The disk fails.
    pub async fn whole(mut self) -> io::Result<Vec<u8>> {
        let mut whole = Vec::new();
        while let Some(piece) = self.next().await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole)
    }
}

/// Why a run gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    /// Its settings make no sense.
    #[error("tool '{name}' cannot be used: {message}")]
    Unusable {
        /// The tool.
        name: String,
        /// The problem and the way out.
        message: String,
    },
    /// The request lacks a value, or has one that cannot be used.
    #[error("tool '{name}' cannot take this request: {message}")]
    BadRequest {
        /// The tool.
        name: String,
        /// Which value it is about.
        place: String,
        /// The problem and the way out.
        message: String,
    },
    /// It would not fit even if nothing else were there.
    #[error(
        "tool '{name}' is declared to need {} of memory, but everything together may take {}; \
         correct its memory, or raise the budget",
        readable(*.needed_bytes), readable(*.budget_bytes)
    )]
    TooLarge {
        /// The tool.
        name: String,
        /// What it needs.
        needed_bytes: u64,
        /// What all models and tools may take.
        budget_bytes: u64,
    },
    /// There is no room for it now.
    #[error(transparent)]
    NotAdmitted(#[from] AcquireError),
    /// It ended without success, or could not be started.
    #[error("tool '{name}' failed: {message}")]
    Failed {
        /// The tool.
        name: String,
        /// How it ended and what it said.
        message: String,
    },
    /// The operator or the end of the hub took its memory back.
    #[error("tool '{name}' was ended: {why}; ask again to run it anew")]
    Stopped {
        /// The tool.
        name: String,
        /// Who wanted that.
        why: String,
    },
    /// It ran for too long.
    #[error(
        "tool '{name}' did not end within {} s and was killed; send less in one request, or raise \
         its time limit", .time_max.as_secs_f32()
    )]
    TimedOut {
        /// The tool.
        name: String,
        /// How long it may run.
        time_max: Duration,
    },
    /// It wrote too much.
    #[error(
        "tool '{name}' wrote more than {} and was killed; send less in one request, or raise its \
         output limit", readable(*.output_bytes_max)
    )]
    TooMuchOutput {
        /// The tool.
        name: String,
        /// How much it may write.
        output_bytes_max: u64,
    },
}

/// Runs a tool once: waits until there is memory for it, starts it, and returns when nothing is left
/// of it. `values` fill the places of its command, and those without a place are left out. Dropping
/// the future gives the place in the queue back, or kills the process with all that it started.
///
/// # Errors
/// See [`ToolError`].
pub async fn run(
    handle: &Handle,
    tool: Arc<Tool>,
    values: BTreeMap<String, String>,
    content: Content,
) -> Result<ToolOutput, ToolError> {
    run_with(handle, tool, values, content, Priority::Interactive).await
}

/// As [`run`], before or behind others.
///
/// # Errors
/// As there.
pub async fn run_with(
    handle: &Handle,
    tool: Arc<Tool>,
    values: BTreeMap<String, String>,
    content: Content,
    priority: Priority,
) -> Result<ToolOutput, ToolError> {
    let job = Job::prepare(Arc::clone(&tool), values, content).await?;
    let memory = handle.reserve(&tool.name, tool.memory_bytes, priority).await;
    let memory = memory.map_err(refused)?;
    // The run has a task of its own, because it gives the memory back only after the end of its
    // process, however this future ends.
    let (_stays, gone) = oneshot::channel();
    let run = tokio::spawn(job.run(handle.clone(), memory, gone));
    run.await.unwrap_or_else(|error| Err(tool.failed(format!("its run broke off: {error}"))))
}

/// Advice for models is none for tools.
fn refused(error: AcquireError) -> ToolError {
    match error {
        AcquireError::TooLarge { name, needed_bytes, budget_bytes } => {
            ToolError::TooLarge { name, needed_bytes, budget_bytes }
        }
        AcquireError::UnknownModel { .. }
        | AcquireError::Unusable { .. }
        | AcquireError::TakesNone { .. }
        | AcquireError::NoSuchAdapter { .. }
        | AcquireError::LoadFailed { .. }
        | AcquireError::Overloaded { .. }
        | AcquireError::Stopped { .. }
        | AcquireError::NobodyServes { .. }
        | AcquireError::ShuttingDown => error.into(),
    }
}

/// Names of the files of a run, which no request can set.
const OWN_PLACES: [&str; 3] = ["input", "output", "output_stem"];

impl Tool {
    /// Whether the settings make sense, for whoever reads them.
    ///
    /// # Errors
    /// Says what makes none, and the way out.
    pub fn check(&self) -> Result<(), String> {
        let templates = self.templates();
        let Some((program, arguments)) = templates.split_first() else {
            return Err("its command is empty; name a program".to_owned());
        };
        self.check_program(program)?;
        let used: BTreeSet<&str> = arguments.iter().flat_map(Template::places).collect();
        let (takes_file, gives_file) = match (&self.input, &self.output) {
            (Input::File { .. }, Output::File { .. }) => (true, true),
            (Input::File { .. }, Output::Stdout) => (true, false),
            (Input::Stdin | Input::None, Output::File { .. }) => (false, true),
            (Input::Stdin | Input::None, Output::Stdout) => (false, false),
        };
        let uses_output = used.contains("output") || used.contains("output_stem");
        check_file("input", takes_file, used.contains("input"))?;
        check_file("output", gives_file, uses_output)?;
        for extension in [self.input.extension(), self.output.extension()].into_iter().flatten() {
            if extension.is_empty() || !extension.chars().all(|letter| letter.is_alphanumeric()) {
                return Err(format!("'{extension}' is no extension of a file; name one like wav"));
            }
        }
        if self.memory_bytes == 0 {
            return Err("it does not say how much memory it takes; add memory = \"...\"".to_owned());
        }
        Ok(())
    }

    fn check_program(&self, program: &Template) -> Result<(), String> {
        let name = self.argv.first().map(String::as_str).unwrap_or_default();
        if name.is_empty() || program.places().next().is_some() {
            return Err(format!("its program '{name}' must be a name or a path as it stands"));
        }
        // It would be looked for in the folder of the run, where nothing is.
        if Path::new(name).components().count() > 1 && !Path::new(name).is_absolute() {
            return Err(format!("its program '{name}' must be a bare name or a whole path"));
        }
        Ok(())
    }

    /// Names of the values that a request may set.
    #[must_use]
    pub fn places(&self) -> BTreeSet<String> {
        let templates = self.templates();
        let places = templates.iter().flat_map(Template::places);
        places.filter(|place| !OWN_PLACES.contains(place)).map(str::to_owned).collect()
    }

    fn templates(&self) -> Vec<Template> {
        self.argv.iter().map(|argument| Template::parse(argument)).collect()
    }

    /// The arguments of one run.
    fn fill(
        &self,
        own: &BTreeMap<&str, String>,
        values: &BTreeMap<String, String>,
    ) -> Result<Vec<String>, ToolError> {
        let templates = self.templates();
        let filled = templates.iter().map(|template| template.fill(own, values, &self.defaults));
        filled.collect::<Result<_, _>>().map_err(|unfilled| self.unfilled(unfilled))
    }

    fn unfilled(&self, unfilled: Unfilled) -> ToolError {
        let (place, message) = match unfilled {
            Unfilled::Missing { place } => {
                let message = format!("it needs a value for {place}");
                (place, message)
            }
            Unfilled::Option { place } => {
                let message = format!("{place} must not begin with '-'");
                (place, message)
            }
            Unfilled::Nul { place } => {
                let message = format!("{place} must not hold a zero byte");
                (place, message)
            }
        };
        ToolError::BadRequest { name: self.name.clone(), place, message }
    }

    fn unusable(&self, message: String) -> ToolError {
        ToolError::Unusable { name: self.name.clone(), message }
    }

    fn failed(&self, message: String) -> ToolError {
        ToolError::Failed { name: self.name.clone(), message }
    }

    fn too_much(&self) -> ToolError {
        let output_bytes_max = self.output_bytes_max;
        ToolError::TooMuchOutput { name: self.name.clone(), output_bytes_max }
    }
}

fn check_file(place: &str, is_file: bool, is_used: bool) -> Result<(), String> {
    match (is_file, is_used) {
        (true, true) | (false, false) => Ok(()),
        (true, false) => {
            Err(format!("its {place} is a file, but its command has no {{{place}}}; add it"))
        }
        (false, true) => {
            Err(format!("its command has {{{place}}}, but its {place} is no file; make it one"))
        }
    }
}

impl Input {
    fn extension(&self) -> Option<&str> {
        match self {
            Self::File { extension } => Some(extension),
            Self::Stdin | Self::None => None,
        }
    }
}

impl Output {
    fn extension(&self) -> Option<&str> {
        match self {
            Self::File { extension } => Some(extension),
            Self::Stdout => None,
        }
    }
}
