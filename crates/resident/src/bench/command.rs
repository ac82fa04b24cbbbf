//! `resident bench` on the command line: its flags and its help.

use clap::{Args, Subcommand};

use crate::cli::{Place, Serving};

/// How the figures come about, for `resident bench --help`.
const METHOD: &str = "\
How it is measured:
  A hub of its own is started as a child process on a free port, so that what is measured is this
  very program. The other side is `resident-llama plain`, a loop over llama.cpp's own functions with
  nothing around it. Both use the same model, prompts of the same length and the same number of
  threads, and take turns, so that a busy machine hurts both. Figures are the best of all rounds,
  and MEDIAN is the median of the ratios of neighbouring turns.

  prefill   prompt tokens a second, over HTTP from sending the requests to the last first token. The
            prompt tokens are shared out: with 4 streams and 512 tokens each prompt has 128.
  decode    tokens a second of all streams, over HTTP from sending the requests to the last token.
            The prompts are those of the prefill, so the hub finds them in its cache. In brackets
            the same without HTTP and the hub, by the worker's own account.
  plain     llama.cpp with one cache for all streams (unified) and with one for each (split); the
            better one counts.
  added     what the client waits beyond the time the worker took, as the worker reports it: of a
            request with one token in and one out, and of a stream of 8, divided by its tokens. Time
            that the measuring client takes itself is in it.
  memory    resident pages of the hub before any model is loaded, shared libraries included.";

/// `resident bench`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_long_help = METHOD)]
pub(crate) struct Bench {
    /// Another measurement than speed beside a plain loop.
    #[command(subcommand)]
    pub(crate) other: Option<Other>,
    /// Name of a model, or a .gguf file [default: the only one there is]
    pub(crate) model: Option<String>,
    /// Numbers of streams that run at once
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1,2,4,8")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) streams: Vec<u32>,
    /// Tokens that all prompts of a turn have together
    #[arg(long, value_name = "N", default_value_t = 512)]
    #[arg(value_parser = clap::value_parser!(u32).range(16..=1_000_000))]
    pub(crate) prompt_tokens: u32,
    #[command(flatten)]
    pub(crate) effort: Effort,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) serving: Serving,
}

/// How much is measured, and how it is said.
#[derive(Debug, Args)]
pub(crate) struct Effort {
    /// Tokens of each answer
    #[arg(long, value_name = "N", default_value_t = 128)]
    #[arg(value_parser = clap::value_parser!(u32).range(2..=100_000))]
    pub(crate) tokens: u32,
    /// How often everything is measured
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

/// Further measurements.
#[derive(Debug, Subcommand)]
pub(crate) enum Other {
    /// Measure how the worker shares the cores with other programs
    Threads(Box<Threads>),
    /// Measure switching between two models of which only one may be in memory, beside llama-server's
    /// router where it is on PATH
    Switch(Box<Switch>),
    /// Measure what guessing ahead gains, of text that repeats and of text that does not
    Speculation(Box<Speculation>),
    /// Measure how soon a long prompt is answered when its prefix comes from each tier of the cache,
    /// beside llama-server where it is on PATH; with --cost what the cache costs when nothing is used
    /// again
    Cache(Box<Cache>),
    /// Measure what it costs to hold answers to a JSON schema
    Constraint(Box<Constraint>),
    /// Keep one core busy until standard input ends
    #[command(hide = true)]
    Spin,
}

/// `resident bench switch`
#[derive(Debug, Args)]
pub(crate) struct Switch {
    /// Name of a model, or a .gguf file
    pub(crate) model: String,
    /// Name of the other model, or a .gguf file
    pub(crate) other: String,
    /// How often each is switched to
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    /// Tokens of each prompt
    #[arg(long, value_name = "N", default_value_t = 16)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) prompt_tokens: u32,
    /// Drop each file from the system's cache before it is loaded (Linux)
    #[arg(long)]
    pub(crate) cold: bool,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) serving: Serving,
}

/// `resident bench speculation`
#[derive(Debug, Args)]
pub(crate) struct Speculation {
    /// Name of a model, or a .gguf file [default: the only one there is]
    pub(crate) model: Option<String>,
    /// A smaller model that guesses: its name, or a .gguf file
    #[arg(long, value_name = "MODEL")]
    pub(crate) draft: Option<String>,
    /// Tokens of each prompt
    #[arg(long, value_name = "N", default_value_t = 256)]
    #[arg(value_parser = clap::value_parser!(u32).range(16..=100_000))]
    pub(crate) prompt_tokens: u32,
    #[command(flatten)]
    pub(crate) effort: Effort,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) serving: Serving,
}

/// `resident bench constraint`
#[derive(Debug, Args)]
pub(crate) struct Constraint {
    /// Name of a model, or a .gguf file [default: the only one there is]
    pub(crate) model: Option<String>,
    /// Tokens of each prompt
    #[arg(long, value_name = "N", default_value_t = 16)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) prompt_tokens: u32,
    #[command(flatten)]
    pub(crate) effort: Effort,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) serving: Serving,
}

/// `resident bench cache`
#[derive(Debug, Args)]
pub(crate) struct Cache {
    /// Name of a model, or a .gguf file
    pub(crate) model: String,
    /// Another model to switch to and back: its name, or a .gguf file
    #[arg(long, value_name = "MODEL", conflicts_with = "cost")]
    pub(crate) other: Option<String>,
    /// Measure what the cache costs instead of what it is worth
    #[arg(long)]
    pub(crate) cost: bool,
    /// Tokens of each prompt [default: 8192, with --cost 512]
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(64..=1_000_000))]
    pub(crate) prompt_tokens: Option<u32>,
    /// Tokens of each answer, with --cost
    #[arg(long, value_name = "N", requires = "cost", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u32).range(2..=100_000))]
    pub(crate) tokens: u32,
    /// How often each is measured
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    /// How often a prompt is computed that nobody has seen before, which may take minutes
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "cost")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) cold_rounds: u32,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) serving: Serving,
}

impl Cache {
    /// Tokens of each prompt: a long conversation, or with `--cost` a question that is seconds of work.
    pub(crate) fn prompt_tokens(&self) -> u32 {
        self.prompt_tokens.unwrap_or(if self.cost { 512 } else { 8192 })
    }
}

/// `resident bench threads`
#[derive(Debug, Args)]
pub(crate) struct Threads {
    /// Name of a model, or a .gguf file [default: the only one there is]
    pub(crate) model: Option<String>,
    /// Cores that other processes keep busy
    #[arg(long, value_name = "K", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=1024))]
    pub(crate) busy: u32,
    #[command(flatten)]
    pub(crate) effort: Effort,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) serving: Serving,
}
