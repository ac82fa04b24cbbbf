//! What guesses for a model besides its text: a small model, or its own layers.

use engine::{Guessing, Wanted};

use crate::draft::{self, DraftModel};
use crate::head::{self, Head};
use crate::llama::{BatchRow, Context};

/// Who guesses.
pub(crate) enum Guesser {
    /// A small model of the same vocabulary, which reads the text itself.
    Draft(DraftModel),
    /// Layers of the model, which follow what it computes.
    Head(Head),
}

impl Guesser {
    pub(crate) fn guesses(&self) -> Guessing {
        Guessing::Tokens(match self {
            Self::Draft(_) => draft::GUESSES_MAX,
            Self::Head(_) => head::GUESSES_MAX,
        })
    }

    pub(crate) fn use_threads(&mut self, count: u32) {
        match self {
            Self::Draft(draft) => draft.use_threads(count),
            Self::Head(head) => head.use_threads(count),
        }
    }

    /// The model has computed this step.
    pub(crate) fn follow(&mut self, model: &Context, rows: &[BatchRow]) {
        match self {
            Self::Draft(_) => {}
            Self::Head(head) => head.follow(model, rows),
        }
    }

    /// A sequence of the model is empty.
    pub(crate) fn forget(&mut self, sequence: u32) {
        match self {
            // It compares what it has read with what it is asked about.
            Self::Draft(_) => {}
            Self::Head(head) => head.forget(sequence),
        }
    }

    /// See [`engine::Model::has_read`].
    pub(crate) fn has_read(&self, stream: &Wanted<'_>) -> bool {
        match self {
            Self::Draft(draft) => draft.has_read(stream),
            Self::Head(head) => head.has_read(stream),
        }
    }

    /// See [`engine::Model::read`].
    pub(crate) fn read(&mut self, streams: &[Wanted<'_>]) {
        match self {
            Self::Draft(draft) => draft.read(streams),
            // It has read what the model computed, and cannot read anything else.
            Self::Head(_) => {}
        }
    }

    /// See [`engine::Model::guess`].
    pub(crate) fn guess(&mut self, wanted: &[Wanted<'_>]) -> Vec<Vec<u32>> {
        match self {
            Self::Draft(draft) => draft.guess(wanted),
            Self::Head(head) => head.guess(wanted),
        }
    }
}
