//! What encoders of streams have in common, whatever words they write.

use std::time::Duration;

use worker_protocol::Event;

use crate::CachedBy;

/// Turns the events of an answer into the payloads of a stream. How payloads are framed, and the word
/// that ends the stream, are the caller's.
pub trait Encode: Send {
    /// The answer begins: the model that serves, where another name was asked for, and how long it was
    /// waited for.
    fn begun(&mut self, model: Option<&str>, waited: Duration);

    /// Adds the payloads for one event of one choice.
    fn event(&mut self, choice: u32, event: &Event, out: &mut Vec<String>);

    /// Adds what comes after the last event.
    fn finish(&mut self, out: &mut Vec<String>);

    /// Where cached tokens were found, once all prompts have begun.
    fn cached(&self) -> Option<CachedBy>;
}
