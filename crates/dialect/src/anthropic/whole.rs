//! An answer in one piece.

use serde_json::{Map, Value, json};
use worker_protocol::Event;

use super::{
    answer::{Ending, Message, Usage},
    blocks::{Block, Blocks, Change, Delta},
};
use crate::{CachedBy, Error, outcome::Outcome, write::to_json};

/// Collects events into one answer.
#[derive(Debug)]
pub struct WholeEncoder {
    id: String,
    model: String,
    blocks: Blocks,
    content: Vec<Block>,
    /// The input of the call that is being written.
    input: String,
    outcome: Outcome,
}

impl WholeEncoder {
    /// `id` names the answer (it is prefixed with `msg_`); ids of tool calls derive from it.
    #[must_use]
    pub fn new(id: &str, model: &str) -> Self {
        let id = format!("msg_{id}");
        Self {
            blocks: Blocks::new(&id),
            id,
            model: model.to_owned(),
            content: Vec::new(),
            input: String::new(),
            outcome: Outcome::default(),
        }
    }

    /// The model that serves, where another name was asked for.
    pub fn served_by(&mut self, model: &str) {
        model.clone_into(&mut self.model);
    }

    /// Takes in one event.
    pub fn event(&mut self, event: &Event) {
        let mut changes = Vec::new();
        self.blocks.event(event, &mut changes);
        for change in changes {
            self.change(change);
        }
        self.outcome.hear(event);
    }

    fn change(&mut self, change: Change<'_>) {
        let delta = match change {
            Change::Begins { content_block, .. } => {
                return self.content.push(content_block);
            }
            Change::Grows { delta, .. } => Some(delta),
            Change::Ends { .. } => None,
        };
        let Some(block) = self.content.last_mut() else { return };
        match (block, delta) {
            (Block::Text { text }, Some(Delta::Text { text: more })) => text.push_str(more),
            (Block::Thinking { thinking, .. }, Some(Delta::Thinking { thinking: more })) => {
                thinking.push_str(more);
            }
            (Block::Thinking { signature, .. }, Some(Delta::Signature { signature: more })) => {
                signature.push_str(more);
            }
            (Block::ToolUse { .. }, Some(Delta::Input { partial_json })) => {
                self.input.push_str(partial_json);
            }
            (Block::ToolUse { input, .. }, None) => {
                *input = object(std::mem::take(&mut self.input))
            }
            // Blocks grow by what is their own, and there is nothing to do at the end of others.
            (Block::Text { .. } | Block::Thinking { .. } | Block::ToolUse { .. }, _) => {}
        }
    }

    /// Where cached tokens were found, once it has ended.
    #[must_use]
    pub fn cached(&self) -> CachedBy {
        self.outcome.cached()
    }

    /// The answer.
    ///
    /// # Errors
    /// It failed, or did not end.
    pub fn finish(self) -> Result<String, Error> {
        let end = self.outcome.finished()?;
        let ending = Ending::new(&end.reason);
        let message = Message::new(&self.id, &self.model, &self.content, ending, Usage::of(&end));
        Ok(to_json(&message))
    }
}

/// The input of a call is an object; what the model wrote in its place is shown in one.
fn object(input: String) -> Value {
    if input.trim().is_empty() {
        return Value::Object(Map::new());
    }
    match serde_json::from_str(&input) {
        Ok(value @ Value::Object(_)) => value,
        Ok(_) | Err(_) => json!({ "raw": input }),
    }
}
