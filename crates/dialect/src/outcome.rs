//! How an answer in one piece came out, whatever words it is written in.

use worker_protocol::{Event, Finished};

use crate::{CachedBy, Error};

/// The end of an answer, once it is there.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    end: Option<Finished>,
    failure: Option<Error>,
}

impl Outcome {
    /// Takes in one event, of which the last one counts.
    pub(crate) fn hear(&mut self, event: &Event) {
        match event {
            Event::Finished(finished) => self.end = Some(finished.clone()),
            Event::Failed(failure) => self.failure = Some(Error::from(failure)),
            Event::Progress { .. }
            | Event::Text(_)
            | Event::Reasoning(_)
            | Event::ToolCall(_)
            | Event::Embedded { .. }
            | Event::Ranked { .. } => {}
        }
    }

    /// Where cached tokens were found, once it has ended.
    pub(crate) fn cached(&self) -> CachedBy {
        self.end.as_ref().map_or_else(CachedBy::default, |end| CachedBy::new(&end.usage))
    }

    /// Its good end.
    ///
    /// # Errors
    /// It failed, or did not end.
    pub(crate) fn finished(self) -> Result<Finished, Error> {
        match self.failure {
            Some(failure) => Err(failure),
            None => self.end.ok_or_else(Error::unfinished),
        }
    }
}
