//! The worker's loop: commands in, steps of the model, events out.
//!
//! [`run`] owns one loaded model and drives it: it renders chat templates, tokenizes, asks
//! `planner::batch` what to compute next, samples, and turns tokens into whole text, reasoning and
//! tool calls. It knows no C and no HTTP: the model is behind [`Model`], the pipes behind
//! [`Inbox`] and [`Outbox`].
//!
//! Not here: llama.cpp (`llama-worker`), processes (`supervisor`), vendors' JSON (`dialect`).

pub mod constraint;
mod drafting;
mod driver;
mod embed;
mod generation;
mod holding;
mod inbox;
mod infill;
mod keeping;
pub mod limits;
pub mod logprobs;
mod media;
mod model;
mod rank;
mod shorten;
mod strict;
mod text;

pub use driver::run;
pub use inbox::{Closed, Inbox, Outbox};
pub use model::{
    DecodeError, Guessing, InfillMarks, Keeps, MediaFile, MediaPart, Model, Pooling, RankForm,
    RankMarks, Row, RunVectors, Sampler, Wanted,
};
pub use text::template::{Rendered, Template, TemplateError};
pub use text::{Calls, Family, Markup, Text, Thinks};

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
