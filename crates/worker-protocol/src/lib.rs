//! The words that the hub and a worker exchange, and their framing.
//!
//! One hub talks to one worker over the worker's standard input and output. The hub writes
//! [`Command`]s, the worker writes [`Report`]s, each as one frame (see [`frame`]). The canonical
//! request ([`Generate`], [`Embed`], [`Rank`]) and the canonical stream of [`Event`]s live here too, because
//! they travel in these frames; every vendor's dialect is translated to and from them.
//!
//! Not here: reading and writing (the caller owns the pipes), vendors' JSON (`dialect`), and any
//! decision (`planner`).

mod adapters;
mod bytes;
pub mod frame;
pub mod limits;
mod request;
mod words;

pub use adapters::scales;
pub use request::{
    Chat, ChosenAdapter, Constraint, Dry, Embed, EmbedInput, Generate, Infill, Media, MediaKind,
    Message, Mirostat, MirostatVersion, Parameter, Prompt, Rank, Role, Sampling, Snippet, ToolCall,
    ToolChoice, WhichAdapter, Xtc,
};
pub use words::{
    Adapter, Alternative, Buffer, Command, Event, Failure, FailureKind, FinishReason, Finished,
    Keep, Load, LoadFailure, LoadFailureKind, Loaded, Piece, Report, RequestId, Scale, Speculation,
    SpeculationSource, Stats, TokenLogprob, ToolCallPiece, Usage,
};

/// Version of these words. A worker of another version is refused at its `Hello`, because hub and
/// worker are always shipped together.
pub const VERSION: u32 = 1;
