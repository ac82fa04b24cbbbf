//! Calls that a model makes of its own accord, held to their tools where one of them is strict: nothing is held
//! until a call has begun, and from there on its form and its schema are.
//!
//! Not here: what such a call may be (`constraint`), and answers that must be a call (`generation`).

use worker_protocol::Failure;

use crate::constraint::Guard;
use crate::model::{Model, Sampler};
use crate::text::{Calling, Text};

/// Holds the calls of one answer.
#[derive(Debug)]
pub(crate) struct Strict {
    /// At the beginning of a call.
    fresh: Guard,
    /// Holds the call that is being written.
    held: Option<Guard>,
    /// Whether that was seen to be a call; before, it has only begun to be one.
    is_call: bool,
    /// Tokens of what may become a call.
    begun: Vec<u32>,
    /// The text of it.
    said: String,
}

impl Strict {
    /// `calls` holds an answer that is nothing but calls.
    pub(crate) fn new(calls: Guard) -> Self {
        Self { fresh: calls, held: None, is_call: false, begun: Vec::new(), said: String::new() }
    }

    /// The next token behind `text`, which is free as long as no call has begun. `read` says what a token's text
    /// is, and whether it is a control token; `masked` is room for logits.
    ///
    /// # Errors
    /// Why the call cannot be held to its tool any further.
    pub(crate) fn choose<M: Model>(
        &mut self,
        model: &M,
        text: &Text,
        sampler: &mut M::Sampler,
        (logits, masked): (&[f32], &mut Vec<f32>),
        read: impl Fn(u32) -> (Vec<u8>, bool),
    ) -> Result<u32, Failure> {
        self.let_go(text);
        if self.held.is_none() {
            let token = sampler.sample(logits);
            if model.ends(token) {
                return Ok(token);
            }
            let (bytes, is_special) = read(token);
            if !self.begins_wrongly(text, token, (&bytes, is_special)) {
                return Ok(token);
            }
        }
        let Some(guard) = &mut self.held else { return Ok(sampler.sample(logits)) };
        guard.mask(logits, masked)?;
        let token = sampler.sample(masked);
        guard.accept(token)?;
        Ok(token)
    }

    /// Behind the call that was held everything is free again.
    fn let_go(&mut self, text: &Text) {
        let Some(guard) = &self.held else { return };
        let now = text.calling();
        self.is_call |= now == Calling::Yes;
        let is_over = if self.is_call { now != Calling::Yes } else { now == Calling::No };
        if is_over || guard.is_complete() {
            self.held = None;
            self.is_call = false;
            self.begun.clear();
            self.said.clear();
        }
    }

    /// Follows a token that was drawn freely, and holds the call that begins with it. `true` where a call cannot
    /// go on so: the token is to be drawn again from what may.
    fn begins_wrongly(
        &mut self,
        text: &Text,
        token: u32,
        (bytes, is_special): (&[u8], bool),
    ) -> bool {
        let (calling, said) = text.calling_after(bytes, is_special);
        match calling {
            Calling::No => {
                self.begun.clear();
                self.said.clear();
                false
            }
            Calling::Maybe => {
                self.begun.push(token);
                self.said = said.unwrap_or_default();
                false
            }
            // It has begun in a form that cannot be held, and goes on.
            Calling::Yes if text.calling() == Calling::Yes => false,
            Calling::Yes => {
                let whole = || Some([&*self.said, str::from_utf8(bytes).ok()?].concat());
                let said = said.or_else(whole).unwrap_or_default();
                let tokens = [&*self.begun, &[token]].concat();
                let mut guard = self.fresh.again();
                let is_right = guard.begin_with(&tokens)
                    || is_special && guard.begin_with(&[token])
                    || !said.is_empty() && guard.begin(&said);
                let can = is_right
                    || self.begun.is_empty()
                    || guard.begin_with(&self.begun)
                    || !self.said.is_empty() && guard.begin(&self.said);
                self.held = can.then_some(guard);
                can && !is_right
            }
        }
    }
}
