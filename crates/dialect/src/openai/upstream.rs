//! The other side of OpenAI's dialect: this hub as the client of a server that speaks it.
//!
//! A canonical request becomes a request body, and what the server answers becomes canonical
//! events. It is written for servers as they are (llama-server, `mlx_lm.server`, vLLM, Ollama,
//! LM Studio, apfel, another hub), so what a server leaves out or adds is tolerated where the
//! meaning is clear, and is a [`BadPayload`] where it is not.
//!
//! Not here: connections, time limits, and which server is asked (`supervisor`).

mod answer;
mod embeddings;
mod failure;
mod generate;
mod logprobs;
mod model;
mod rerank;
mod sound;
pub mod sse;

use serde_json::{Map, Value};

pub use answer::Decoder;
pub use embeddings::{Vectors, embed, vectors};
pub use failure::{failure, not_a_stream};
pub use generate::generate;
pub use model::{figure, models};
pub use rerank::{Asking, Question, Scores, rank, scores};
pub use sound::{Form, listen, speak};

use crate::limits::UPSTREAM_MESSAGE_CHARS_MAX;

/// What to send with POST to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Where, below the server's address.
    pub path: &'static str,
    /// JSON.
    pub body: Vec<u8>,
}

/// What a server sent is not what this dialect says. The message is a fragment that goes on after
/// the server's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadPayload(String);

impl BadPayload {
    fn new(what: &str, payload: &[u8]) -> Self {
        Self(format!("sent {what}: {}", excerpt(&String::from_utf8_lossy(payload))))
    }
}

/// A request body that is put together field by field.
struct Fields<'a> {
    fields: Map<String, Value>,
    /// Fields that the server refuses.
    drops: &'a [String],
}

impl<'a> Fields<'a> {
    fn new(drops: &'a [String]) -> Self {
        Self { fields: Map::new(), drops }
    }

    fn set(&mut self, key: &str, value: impl Into<Value>) {
        if !self.drops.iter().any(|dropped| dropped == key) {
            self.fields.insert(key.to_owned(), value.into());
        }
    }

    /// A number that says something else than what the server does anyway.
    fn set_unless(&mut self, key: &str, value: f32, unsaid: f32) {
        if value.to_bits() != unsaid.to_bits() {
            self.set(key, decimal(value));
        }
    }

    fn into_body(self) -> Vec<u8> {
        Value::Object(self.fields).to_string().into_bytes()
    }
}

/// The shortest decimal that is this number. Widening the bits would turn 0.8 into
/// 0.800000011920929, which some servers echo and people wonder about.
fn decimal(value: f32) -> Value {
    value.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

/// Text of a server, short enough to be shown and without anything that commands a terminal.
fn excerpt(text: &str) -> String {
    let inert = |letter: char| if letter.is_control() { ' ' } else { letter };
    let text = text.trim();
    let mut shown: String = text.chars().take(UPSTREAM_MESSAGE_CHARS_MAX).map(inert).collect();
    if text.chars().nth(UPSTREAM_MESSAGE_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// A count as a server writes it; what is larger than any context is as good as the largest.
fn count(value: &Value) -> u32 {
    value.as_u64().map_or(0, |count| u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_say_them() {
        assert_eq!(decimal(0.8).to_string(), "0.8");
        assert_eq!(decimal(f32::NAN), Value::Null);
    }

    #[test]
    fn what_a_server_says_is_cut_and_cannot_command_a_terminal() {
        assert_eq!(excerpt("  a\x1b[31m\nb "), "a [31m b");
        let long = excerpt(&"ä".repeat(UPSTREAM_MESSAGE_CHARS_MAX + 1));
        assert_eq!(long.chars().count(), UPSTREAM_MESSAGE_CHARS_MAX + 1);
        assert!(long.ends_with("ä…"));
    }
}
