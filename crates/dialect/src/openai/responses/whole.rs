//! An answer in one piece.

use worker_protocol::Event;

use super::{
    answer::{Answer, Beginning},
    change::Teller,
    kept::Kept,
};
use crate::{CachedBy, Error};

/// Collects events into one answer.
#[derive(Debug)]
pub struct WholeEncoder {
    answer: Answer,
    teller: Teller,
}

impl WholeEncoder {
    /// An answer of which nothing is there.
    #[must_use]
    pub fn new(beginning: Beginning) -> Self {
        Self { answer: Answer::new(beginning), teller: Teller::new(false) }
    }

    /// The model that serves, where another name was asked for.
    pub fn served_by(&mut self, model: &str) {
        self.answer.served_by(model);
    }

    /// Takes in one event.
    pub fn event(&mut self, event: &Event) {
        self.answer.event(event, &mut self.teller, &mut Vec::new());
    }

    /// Where cached tokens were found, once it has ended.
    #[must_use]
    pub fn cached(&self) -> CachedBy {
        self.answer.cached()
    }

    /// The answer, and what is kept of it where it is to be kept.
    ///
    /// # Errors
    /// It failed, or did not end.
    pub fn finish(self) -> Result<(String, Option<Kept>), Error> {
        self.answer.whole()
    }
}
