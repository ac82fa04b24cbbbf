//! An answer as a stream of named and numbered events.

use std::time::Duration;

use worker_protocol::Event;

use super::{
    answer::{Answer, Beginning},
    change::Teller,
    kept::Kept,
};
use crate::{CachedBy, Encode, Error, cached::Foretold};

/// Turns events into those of a stream, each with its name: two lines without a break behind them. The
/// last one says that the answer is completed, incomplete or failed, exactly once, and nothing comes behind
/// it.
#[derive(Debug)]
pub struct StreamEncoder {
    answer: Answer,
    teller: Teller,
    foretold: Foretold,
    has_begun: bool,
    /// What was not asked for yet of what is kept.
    keeps: bool,
}

impl StreamEncoder {
    /// An answer of which nothing is there.
    #[must_use]
    pub fn new(beginning: Beginning) -> Self {
        Self {
            answer: Answer::new(beginning),
            teller: Teller::new(true),
            foretold: Foretold::new(1, 1),
            has_begun: false,
            keeps: true,
        }
    }

    /// What is kept of the answer, once, when it has ended well and is to be kept.
    pub fn kept(&mut self) -> Option<Kept> {
        let is_due = self.keeps && self.answer.has_ended();
        self.keeps &= !is_due;
        if is_due { self.answer.kept() } else { None }
    }

    /// The answer begins, unless it has begun.
    fn begin(&mut self, out: &mut Vec<String>) {
        if !std::mem::replace(&mut self.has_begun, true) {
            self.answer.begin(&mut self.teller, out);
        }
    }
}

impl Encode for StreamEncoder {
    fn begun(&mut self, model: Option<&str>, _waited: Duration) {
        if let Some(model) = model {
            self.answer.served_by(model);
        }
    }

    /// These requests have one choice.
    fn event(&mut self, _choice: u32, event: &Event, out: &mut Vec<String>) {
        if self.answer.has_ended() {
            return;
        }
        self.foretold.hear(0, event);
        match event {
            Event::Progress { .. } | Event::Embedded { .. } | Event::Ranked { .. } => {}
            Event::Text(_)
            | Event::Reasoning(_)
            | Event::ToolCall(_)
            | Event::Finished(_)
            | Event::Failed(_) => {
                self.begin(out);
                self.answer.event(event, &mut self.teller, out);
            }
        }
    }

    /// Says that the answer broke off, if it did.
    fn finish(&mut self, out: &mut Vec<String>) {
        if !self.answer.has_ended() {
            self.begin(out);
            self.answer.fail(Error::unfinished(), &mut self.teller, out);
        }
    }

    fn cached(&self) -> Option<CachedBy> {
        self.foretold.cached()
    }
}
