//! One request for vectors or scores of texts, packed into steps.
//!
//! Not here: how a query and a document become one text (`rank`).

use std::time::Instant;

use worker_protocol::{
    Embed, EmbedInput, Event, Failure, FailureKind, FinishReason, Finished, Rank, Usage,
};

use crate::generation::invalid;
use crate::model::{DecodeError, Model};
use crate::rank;

/// The state of a request for embeddings, or for scores.
#[derive(Debug)]
pub(crate) struct Embedding {
    wanted: Wanted,
    texts: Vec<Vec<u32>>,
    done: usize,
    usage: Usage,
    submitted: Instant,
}

/// What is wanted of each text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Vector,
    Score,
}

impl Embedding {
    /// Tokenizes the texts.
    pub(crate) fn prepare<M: Model>(
        model: &M,
        embed: &Embed,
        now: Instant,
    ) -> Result<Self, Failure> {
        if model.facts().ranks {
            return Err(invalid(format!(
                "a model of architecture {} with a head for ranking gives no vectors; send /v1/rerank a \
                 query and documents, or choose a model that embeds",
                model.facts().architecture
            )));
        }
        let texts = embed.inputs.iter().enumerate();
        let texts = texts.map(|(index, input)| tokenize(model, index, input, embed.truncate));
        Ok(Self::new(Wanted::Vector, texts.collect::<Result<_, _>>()?, now))
    }

    /// Makes texts of the query and each document.
    pub(crate) fn rank<M: Model>(model: &M, rank: &Rank, now: Instant) -> Result<Self, Failure> {
        Ok(Self::new(Wanted::Score, rank::texts(model, rank)?, now))
    }

    fn new(wanted: Wanted, texts: Vec<Vec<u32>>, now: Instant) -> Self {
        let tokens: usize = texts.iter().map(Vec::len).sum();
        let usage =
            Usage { prompt_tokens: u32::try_from(tokens).unwrap_or(u32::MAX), ..Usage::default() };
        Self { wanted, texts, done: 0, usage, submitted: now }
    }

    /// Tokens of the next step.
    pub(crate) fn next_tokens<M: Model>(&self, model: &M) -> usize {
        self.next(model).iter().map(|text| text.len()).sum()
    }

    /// Computes the next texts; the events end with `Finished` when these were the last.
    pub(crate) fn advance<M: Model>(
        &mut self,
        model: &mut M,
        events: &mut Vec<Event>,
    ) -> Result<(), DecodeError> {
        let texts = self.next(model);
        let indices = (self.done..).map(|index| u32::try_from(index).unwrap_or(u32::MAX));
        match self.wanted {
            Wanted::Vector => {
                for (index, mut vector) in indices.zip(model.embed(&texts)?) {
                    normalize(&mut vector);
                    events.push(Event::Embedded { index, vector });
                }
            }
            Wanted::Score => {
                let scored = indices.zip(model.rank(&texts)?);
                events.extend(scored.map(|(index, score)| Event::Ranked { index, score }));
            }
        }
        self.done += texts.len();
        if self.done == self.texts.len() {
            let spent = self.submitted.elapsed().as_micros();
            self.usage.prefill_us = u64::try_from(spent).unwrap_or(u64::MAX);
            let reason = FinishReason::End;
            events.push(Event::Finished(Finished { reason, usage: self.usage }));
        }
        Ok(())
    }

    /// The texts of the next step: at least one, then as many as fit.
    fn next<M: Model>(&self, model: &M) -> Vec<&[u32]> {
        let mut tokens = 0;
        let fits = |text: &&Vec<u32>| {
            tokens += text.len();
            tokens == text.len() || tokens <= model.step_tokens_max() as usize
        };
        let rest = self.texts[self.done..].iter().take_while(fits);
        rest.take(model.facts().sequences_max as usize).map(Vec::as_slice).collect()
    }
}

fn tokenize<M: Model>(
    model: &M,
    index: usize,
    input: &EmbedInput,
    truncate: bool,
) -> Result<Vec<u32>, Failure> {
    let mut tokens = match input {
        EmbedInput::Text(text) => model.tokenize(text, true, false),
        EmbedInput::Tokens(tokens) => tokens.clone(),
    };
    let vocabulary = model.facts().vocabulary;
    if tokens.is_empty() {
        return Err(invalid(format!("input {index} is empty; send at least one character")));
    }
    if let Some(token) = tokens.iter().find(|token| **token >= vocabulary) {
        return Err(invalid(format!(
            "token {token} of input {index} is not in the vocabulary of {vocabulary} tokens"
        )));
    }
    let most = model.embed_tokens_max();
    if truncate {
        cut(&mut tokens, most as usize, added_behind(model, input));
    }
    if tokens.len() > most as usize {
        let prompt_tokens = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
        return Err(Failure {
            kind: FailureKind::ContextLength { prompt_tokens, context_tokens: most },
            message: format!(
                "input {index} has {prompt_tokens} tokens, but this model embeds at most {most}; \
                 split it into shorter texts"
            ),
        });
    }
    Ok(tokens)
}

/// Cuts a text, but not the tokens that the model wants behind it: some read the vector off them.
fn cut(tokens: &mut Vec<u32>, most: usize, added_behind: usize) {
    let kept = most.saturating_sub(added_behind);
    let end = tokens.len().saturating_sub(added_behind);
    if kept < end && tokens.len() > most {
        tokens.drain(kept..end);
    }
}

/// How many tokens of its own the model puts behind a text.
fn added_behind<M: Model>(model: &M, input: &EmbedInput) -> usize {
    let EmbedInput::Text(text) = input else { return 0 };
    let (bare, whole) = (model.tokenize(text, false, false), model.tokenize(text, true, false));
    let added = whole.len().saturating_sub(bare.len());
    let is_behind = |behind: &usize| whole[..whole.len() - behind].ends_with(&bare);
    (0..=added).find(is_behind).unwrap_or(0)
}

/// To length 1; a vector of zeros stays as it is.
fn normalize(vector: &mut [f32]) {
    let length = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    if length > 0.0 {
        for value in vector {
            #[expect(clippy::cast_possible_truncation, reason = "a share of the value it was")]
            let share = (f64::from(*value) / length) as f32;
            *value = share;
        }
    }
}
