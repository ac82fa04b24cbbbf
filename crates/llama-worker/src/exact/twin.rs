//! Models that keep nothing, to compare with.

use engine::{Model, Row};

use super::lineage::{Lineage, Output};
use crate::model::LlamaModel;

/// A model in which one sequence at most holds something.
pub(super) struct Twin {
    model: LlamaModel,
    /// What the sequence holds: how many tokens of which call, in order.
    repeated: Vec<(usize, usize)>,
}

impl Twin {
    pub(super) fn new(model: LlamaModel) -> Self {
        Self { model, repeated: Vec::new() }
    }

    /// Repeats the calls that led to an output, and gives the logits; `None` where that cannot be done.
    pub(super) fn repeat(&mut self, lineage: &Lineage, output: &Output) -> Option<Vec<f32>> {
        let wanted = lineage.repeatable(&output.line)?;
        let back_max = self.model.takes_back_max() as usize;
        let cut = |(call, tokens): &(usize, usize)| lineage.calls[*call].tokens.len() - *tokens;
        assert!(wanted.iter().all(|call| cut(call) <= back_max), "a state in the middle of a step");
        if !wanted.starts_with(&self.repeated) || wanted.len() == self.repeated.len() {
            self.clear();
        }
        let mut logits = None;
        for (call, tokens) in &wanted[self.repeated.len()..] {
            let repeated = &lineage.calls[*call];
            let rows = rows(repeated.begin, &repeated.tokens, |at| repeated.outputs[at]);
            self.model.decode(&rows).unwrap();
            logits = rows[tokens - 1].output.then(|| self.model.logits(tokens - 1).to_vec());
            let end = repeated.begin + tokens;
            if end < repeated.end() {
                let end = u32::try_from(end).unwrap();
                assert!(self.model.trim(0, end), "the twin cannot go back to {end}");
            }
        }
        self.repeated = wanted;
        logits
    }

    /// What follows these tokens when they are computed from nothing in steps of so many: of each of
    /// `tokens_max` tokens the logits it was taken from.
    pub(super) fn answer(
        &mut self,
        prompt: &[u32],
        step_tokens: usize,
        tokens_max: u32,
    ) -> Vec<Vec<f32>> {
        self.clear();
        let mut logits = None;
        let chunks = prompt.chunks(step_tokens);
        for (begin, chunk) in (0..).step_by(step_tokens).zip(chunks) {
            logits = decode(&mut self.model, begin, chunk, begin + chunk.len() == prompt.len());
        }
        let mut answer = vec![logits.unwrap()];
        for end in (prompt.len()..).take(tokens_max as usize - 1) {
            let token = likeliest(answer.last().unwrap());
            answer.push(decode(&mut self.model, end, &[token], true).unwrap());
        }
        self.clear();
        answer
    }

    fn clear(&mut self) {
        self.model.clear(0);
        self.repeated.clear();
    }
}

/// Computes tokens of the first sequence from `begin` on, and gives the logits after the last one.
fn decode(model: &mut LlamaModel, begin: usize, tokens: &[u32], output: bool) -> Option<Vec<f32>> {
    let rows = rows(begin, tokens, |at| output && at + 1 == tokens.len());
    model.decode(&rows).unwrap();
    output.then(|| model.logits(rows.len() - 1).to_vec())
}

/// Rows of the first sequence; `output` says which of them have one.
fn rows(begin: usize, tokens: &[u32], output: impl Fn(usize) -> bool) -> Vec<Row> {
    let row = |(at, token): (usize, &u32)| Row {
        token: *token,
        position: u32::try_from(begin + at).unwrap(),
        sequence: 0,
        output: output(at),
    };
    tokens.iter().enumerate().map(row).collect()
}

/// The first of the likeliest tokens, as the engine's greedy sampler takes it.
pub(super) fn likeliest(logits: &[f32]) -> u32 {
    let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    u32::try_from(logits.iter().position(|logit| *logit >= best).unwrap()).unwrap()
}
