//! Commands, reports and the canonical stream of events.

use std::hash::{Hash, Hasher};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{
    bytes,
    request::{Embed, Generate, Prompt, Rank},
};

/// Names one request on one worker. The hub numbers them; the worker repeats them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// What the hub tells a worker. End of file means: leave at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Load a model. Exactly once, before anything else.
    Load(Load),
    /// Generate text.
    Generate {
        /// Number of the request.
        request: RequestId,
        /// What is wanted.
        generate: Generate,
    },
    /// Compute embeddings.
    Embed {
        /// Number of the request.
        request: RequestId,
        /// What is wanted.
        embed: Embed,
    },
    /// Say how well documents answer a query. Only for a worker whose `Loaded` says that it ranks.
    Rank {
        /// Number of the request.
        request: RequestId,
        /// What is wanted.
        rank: Rank,
    },
    /// Count the tokens of a prompt and compute nothing. Answered at once with `Finished`, whose usage
    /// has `prompt_tokens` and no other, or `Failed`. Only for a worker whose `Hello` says that it knows
    /// this word.
    Count {
        /// Number of the request.
        request: RequestId,
        /// What is counted.
        prompt: Prompt,
    },
    /// Nobody waits for this request any more. It is answered with `Finished(Cancelled)` unless it
    /// had ended before.
    Cancel {
        /// Number of the request.
        request: RequestId,
    },
    /// The reader took this many events of the request, so as many more may be sent.
    Credit {
        /// Number of the request.
        request: RequestId,
        /// How many more.
        events: u32,
    },
    /// The machine is short of memory: give back what can be done without. Nothing is answered. Only
    /// for a worker whose `Hello` says that it knows this word.
    Trim,
}

/// Which model to load and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// The GGUF file (of a split model, its first).
    pub path: PathBuf,
    /// Context cells that all sequences share; `None` takes the model's training context, at most
    /// the worker's default.
    pub context_tokens: Option<u32>,
    /// Sequences that may run in one step.
    pub sequences_max: u32,
    /// Threads of a step; `None` adapts to what the machine can spare.
    pub threads: Option<u32>,
    /// How keys and values are encoded in the cache, by llama.cpp's name such as `q8_0`; `None` is
    /// `f16`.
    #[serde(default)]
    pub kv_type: Option<String>,
    /// How prefixes are kept outside the context; `None` keeps none.
    #[serde(default)]
    pub keep: Option<Keep>,
    /// How it guesses ahead.
    #[serde(default)]
    pub speculation: Speculation,
    /// Tokens of each sequence that it can take back at once where its layers carry a state.
    #[serde(default)]
    pub taken_back_max: u32,
    /// The GGUF file of what turns pictures and sounds into the model's vectors; `None` leaves the model
    /// to text.
    #[serde(default)]
    pub projector: Option<PathBuf>,
    /// Whether the user named the projector, so that one that cannot be used fails the load. One that merely
    /// lies beside the model leaves it to text.
    #[serde(default)]
    pub projector_is_named: bool,
    /// What changes its weights, all of them together and for all requests.
    #[serde(default)]
    pub adapters: Vec<Adapter>,
    /// Its chat template, as Jinja; `None` takes the one in the file.
    #[serde(default)]
    pub chat_template: Option<String>,
}

/// A LoRA adapter of a model.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Adapter {
    /// What people call it.
    pub name: String,
    /// Its GGUF file.
    pub path: PathBuf,
    /// How strongly it acts.
    pub scale: Scale,
}

/// How strongly an adapter acts: 1 as it was trained, 0 not at all. Two are equal when their bits are.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scale(pub f32);

impl PartialEq for Scale {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Scale {}

impl Hash for Scale {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

/// How a model guesses what it says next, so that one step can check several tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Speculation {
    /// Where guesses come from.
    pub source: SpeculationSource,
    /// Guesses of a stream in each step; `None` makes as many as are seen to pay.
    #[serde(default)]
    pub tokens: Option<u32>,
}

/// Where guesses come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SpeculationSource {
    /// Nothing is guessed.
    #[default]
    Off,
    /// The text itself, where it repeats.
    Lookup,
    /// The text, and a small model of the same vocabulary in this file.
    Draft(PathBuf),
    /// The text, and the model's own layers that guess ahead.
    Head,
}

/// How prefixes are kept outside the context, so that they outlive their worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    /// The model's name, for people who look at what is kept.
    pub model: String,
    /// Whether files are written; else memory alone is used, and what it holds ends with the worker.
    pub files: bool,
    /// Where the files are; several workers and hubs may share a folder.
    pub folder: PathBuf,
    /// Bytes in memory, with what waits to be written.
    pub ram_bytes: u64,
    /// Bytes of all files in the folder, of all models.
    pub ssd_bytes: u64,
    /// Bytes of this model's files, where it has a quota of its own.
    pub model_ssd_bytes: Option<u64>,
    /// Bytes that stay free on the disk for everybody else.
    pub free_floor_bytes: u64,
    /// Bytes that may be written in a day, by all who share the folder.
    pub day_write_bytes: u64,
    /// Whether files are compressed.
    pub compress: bool,
    /// The file with the key, where files are encrypted.
    pub encryption_key: Option<PathBuf>,
}

/// What a worker tells the hub.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Report {
    /// First word of every worker.
    Hello {
        /// [`crate::VERSION`] of the worker.
        version: u32,
        /// Name and version of the engine inside.
        engine: String,
        /// Whether it knows `Trim`; one that does not say so does not.
        #[serde(default)]
        trims: bool,
        /// Whether it knows `Count`; one that does not say so does not.
        #[serde(default)]
        counts: bool,
    },
    /// Share of the model that is loaded.
    Loading {
        /// From 0 to 1.
        fraction: f32,
    },
    /// The model is ready.
    Loaded(Loaded),
    /// The model cannot be loaded; the worker exits.
    LoadFailed(LoadFailure),
    /// One event of one request.
    Event {
        /// Number of the request.
        request: RequestId,
        /// What happened.
        event: Event,
    },
    /// Counters, at most once a second and when work ends.
    Stats(Stats),
}

/// What a loaded model is and takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Loaded {
    /// `general.architecture`.
    pub architecture: String,
    /// Number of parameters.
    pub parameters: u64,
    /// Tokens in the vocabulary.
    pub vocabulary: u32,
    /// Width of an embedding.
    pub embedding_width: u32,
    /// Context cells that all sequences share.
    pub context_tokens: u32,
    /// Context the model was trained with.
    pub context_tokens_trained: u32,
    /// Sequences that may run in one step.
    pub sequences_max: u32,
    /// Whether it can answer `Generate`.
    pub generates: bool,
    /// Whether it can answer `Rank`, and nothing else; one that does not say so does not.
    #[serde(default)]
    pub ranks: bool,
    /// Whether it carries a chat template.
    pub chat_template: bool,
    /// Whether it takes pictures; one that does not say so does not.
    #[serde(default)]
    pub sees: bool,
    /// Whether it takes sounds; one that does not say so does not.
    #[serde(default)]
    pub hears: bool,
    /// What it allocated, by device and purpose.
    pub buffers: Vec<Buffer>,
    /// Milliseconds from `Load` to here.
    pub load_ms: u64,
}

/// One allocation of the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buffer {
    /// Device or kind of memory, in the engine's word (`CPU`, `CUDA0`, `Metal`).
    pub device: String,
    /// Purpose, in the engine's word (`model`, `KV`, `compute`, `output`).
    pub purpose: String,
    /// Size in bytes.
    pub bytes: u64,
}

/// Why a model cannot be loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct LoadFailure {
    /// What to branch on.
    pub kind: LoadFailureKind,
    /// What to show: names the file, the value and the way out.
    pub message: String,
}

/// What to branch on when a model cannot be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoadFailureKind {
    /// The file is missing or cannot be read.
    Unreadable,
    /// The file is not a model this engine can run.
    Unusable,
    /// Memory was not enough.
    OutOfMemory,
}

/// One step of the answer to one request. A request ends with exactly one `Finished` or `Failed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// Prompt tokens processed so far; the first says how many were found in the cache.
    Progress {
        /// Prompt tokens that are in the context now, cached ones included.
        processed: u32,
        /// Prompt tokens in all.
        total: u32,
        /// Prompt tokens that were found in the cache, whichever tier had them.
        cached: u32,
        /// Those of them that came from memory outside the context.
        #[serde(default)]
        cached_ram: u32,
        /// Those of them that came from files.
        #[serde(default)]
        cached_ssd: u32,
    },
    /// Text of the answer.
    Text(Piece),
    /// Text of the model's reasoning.
    Reasoning(Piece),
    /// A part of a tool call.
    ToolCall(ToolCallPiece),
    /// The vector of one input, of length 1.
    Embedded {
        /// Which input.
        index: u32,
        /// Its embedding.
        vector: Vec<f32>,
    },
    /// How well one document answers the query.
    Ranked {
        /// Which document.
        index: u32,
        /// What the model's head says, as it says it; a higher one is better.
        score: f32,
    },
    /// The request ended well.
    Finished(Finished),
    /// The request ended badly.
    Failed(Failure),
}

impl Event {
    /// Whether no further event follows.
    #[must_use]
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Finished(_) | Self::Failed(_))
    }
}

/// Some text and the tokens it came from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Piece {
    /// Whole UTF-8.
    pub text: String,
    /// One entry per token when logprobs were asked for, else empty. A token whose bytes are still
    /// held back is reported with the piece that brings its last byte.
    pub logprobs: Vec<TokenLogprob>,
}

/// A part of a tool call; parts with the same index belong together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolCallPiece {
    /// Position of the call in the answer.
    pub index: u32,
    /// Name of the function; in the first part only.
    pub name: Option<String>,
    /// Next characters of the arguments' JSON.
    pub arguments: String,
}

/// A token that was chosen, and the likeliest alternatives to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprob {
    /// The token.
    pub token: Alternative,
    /// The likeliest tokens at this place, best first.
    pub top: Vec<Alternative>,
}

/// A token and its log-probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alternative {
    /// Id in the model's vocabulary.
    pub id: u32,
    /// Its bytes, perhaps not whole UTF-8.
    #[serde(with = "bytes")]
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability before any sampler.
    pub logprob: f32,
}

/// How a request ended well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// Why it ended.
    pub reason: FinishReason,
    /// What it took.
    pub usage: Usage,
}

/// Why the text ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FinishReason {
    /// The model ended it.
    End,
    /// A stop string was found.
    StopString(String),
    /// `tokens_max` was reached, or the context is full.
    Length,
    /// The model called tools.
    ToolCalls,
    /// The hub cancelled it.
    Cancelled,
}

/// Tokens and time of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Prompt tokens, cached ones included.
    pub prompt_tokens: u32,
    /// Prompt tokens that were found in the cache, whichever tier had them.
    pub cached_tokens: u32,
    /// Those of them that came from memory outside the context.
    #[serde(default)]
    pub cached_ram_tokens: u32,
    /// Those of them that came from files.
    #[serde(default)]
    pub cached_ssd_tokens: u32,
    /// Generated tokens.
    pub completion_tokens: u32,
    /// Those of them that were thought before the answer, with the mark that ends it.
    #[serde(default)]
    pub reasoning_tokens: u32,
    /// Tokens that were guessed ahead and checked.
    #[serde(default)]
    pub drafted_tokens: u32,
    /// Those of them that came true; they are among the generated ones.
    #[serde(default)]
    pub accepted_tokens: u32,
    /// Microseconds it waited before its prompt was begun.
    pub queue_us: u64,
    /// Microseconds from there to the first token.
    pub prefill_us: u64,
    /// Microseconds from the first token to the last.
    pub decode_us: u64,
}

/// Why a request ended badly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What to branch on.
    pub kind: FailureKind,
    /// What to show: names the thing, the value and the way out.
    pub message: String,
}

/// What to branch on when a request ended badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// The request asks for what this model cannot do, or does not make sense.
    Invalid,
    /// The request's constraint cannot be enforced, or nobody's answer could keep it.
    Constraint,
    /// The prompt is longer than the context.
    ContextLength {
        /// Tokens in the prompt.
        prompt_tokens: u32,
        /// Tokens the context holds.
        context_tokens: u32,
    },
    /// Too many requests wait already.
    Overloaded,
    /// The engine or the worker broke; the same request may succeed when sent again.
    Broken,
}

/// Counters of a worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Requests that wait for a sequence.
    pub waiting: u32,
    /// Requests that run.
    pub running: u32,
    /// Context cells in use, kept prefixes included.
    pub cells_used: u32,
    /// Prompt tokens processed since the start.
    pub prefill_tokens: u64,
    /// Prompt tokens found in the cache since the start.
    pub cached_tokens: u64,
    /// Those of them that came from memory outside the context.
    #[serde(default)]
    pub cached_ram_tokens: u64,
    /// Those of them that came from files.
    #[serde(default)]
    pub cached_ssd_tokens: u64,
    /// Tokens generated since the start.
    pub decode_tokens: u64,
    /// Tokens that were guessed ahead and checked since the start.
    #[serde(default)]
    pub drafted_tokens: u64,
    /// Those of them that came true.
    #[serde(default)]
    pub accepted_tokens: u64,
    /// Bytes of cells kept in memory outside the context.
    #[serde(default)]
    pub kept_ram_bytes: u64,
    /// Bytes of cells kept in files, of this model.
    #[serde(default)]
    pub kept_ssd_bytes: u64,
    /// Bytes written to files since the start.
    #[serde(default)]
    pub kept_written_bytes: u64,
    /// Threads of the last step.
    pub threads: u32,
}
