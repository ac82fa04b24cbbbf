//! One request for vectors or scores of texts, packed into steps. Texts become tokens a step's worth at a time:
//! all those of a request would take seconds, and with a long query many times the memory that it came in.
//!
//! Not here: how a query and a document become one text (`rank`).

use std::collections::VecDeque;
use std::time::Instant;

use worker_protocol::{
    Embed, EmbedInput, Event, Failure, FailureKind, FinishReason, Finished, Rank, Usage,
};

use crate::generation::invalid;
use crate::model::{DecodeError, Model};
use crate::rank::Asked;

/// The state of a request for embeddings, or for scores.
#[derive(Debug)]
pub(crate) struct Embedding {
    wanted: Wanted,
    /// Texts that are tokens and were not computed: those of the next step, and one that did not fit.
    texts: VecDeque<Vec<u32>>,
    /// Texts that were computed.
    done: usize,
    usage: Usage,
    submitted: Instant,
}

/// What is wanted of each text.
#[derive(Debug)]
enum Wanted {
    Vectors(Embed),
    Scores(Box<Asked>),
}

impl Wanted {
    fn texts(&self) -> usize {
        match self {
            Self::Vectors(embed) => embed.inputs.len(),
            Self::Scores(asked) => asked.documents(),
        }
    }

    /// The tokens of a text, if there are so many texts.
    fn tokenize<M: Model>(&self, model: &M, index: usize) -> Option<Result<Vec<u32>, Failure>> {
        match self {
            Self::Vectors(embed) => {
                let input = embed.inputs.get(index)?;
                Some(tokenize(model, index, input, embed.truncate))
            }
            Self::Scores(asked) => asked.with(model, index),
        }
    }
}

impl Embedding {
    /// Vectors of texts.
    ///
    /// # Errors
    /// The model gives none.
    pub(crate) fn vectors<M: Model>(
        model: &M,
        embed: Embed,
        now: Instant,
    ) -> Result<Self, Failure> {
        if model.facts().ranks {
            return Err(invalid(format!(
                "a model of architecture {} with a head for ranking gives no vectors; send /v1/rerank a \
                 query and documents, or choose a model that embeds",
                model.facts().architecture
            )));
        }
        Ok(Self::new(Wanted::Vectors(embed), now))
    }

    /// Scores of the query with each document.
    ///
    /// # Errors
    /// The model does not rank, or the query is longer than it takes.
    pub(crate) fn scores<M: Model>(model: &M, rank: Rank, now: Instant) -> Result<Self, Failure> {
        Ok(Self::new(Wanted::Scores(Box::new(Asked::new(model, rank)?)), now))
    }

    fn new(wanted: Wanted, now: Instant) -> Self {
        let texts = VecDeque::new();
        Self { wanted, texts, done: 0, usage: Usage::default(), submitted: now }
    }

    /// Makes tokens of the texts of the next step, and says how many tokens they are.
    ///
    /// # Errors
    /// One of the texts is nothing that the model takes.
    pub(crate) fn prepare<M: Model>(&mut self, model: &M) -> Result<usize, Failure> {
        let mut tokens: usize = self.texts.iter().map(Vec::len).sum();
        let has_room = |texts: usize, tokens: usize| {
            texts < model.facts().sequences_max as usize
                && (texts == 0 || tokens < model.step_tokens_max() as usize)
        };
        while has_room(self.texts.len(), tokens) {
            let next = self.wanted.tokenize(model, self.done + self.texts.len());
            let Some(text) = next.transpose()? else { break };
            tokens += text.len();
            self.usage.prompt_tokens = self
                .usage
                .prompt_tokens
                .saturating_add(u32::try_from(text.len()).unwrap_or(u32::MAX));
            self.texts.push_back(text);
        }
        Ok(self.next(model).iter().map(|text| text.len()).sum())
    }

    /// Computes the texts that were prepared, and says how many tokens they were; the events end with
    /// `Finished` when these were the last.
    pub(crate) fn advance<M: Model>(
        &mut self,
        model: &mut M,
        events: &mut Vec<Event>,
    ) -> Result<u64, DecodeError> {
        let texts = self.next(model);
        let (count, tokens) = (texts.len(), texts.iter().map(|text| text.len() as u64).sum());
        let indices = (self.done..).map(|index| u32::try_from(index).unwrap_or(u32::MAX));
        match self.wanted {
            Wanted::Vectors(_) => {
                for (index, mut vector) in indices.zip(model.embed(&texts)?) {
                    normalize(&mut vector);
                    events.push(Event::Embedded { index, vector });
                }
            }
            Wanted::Scores(_) => {
                let scored = indices.zip(model.rank(&texts)?);
                events.extend(scored.map(|(index, score)| Event::Ranked { index, score }));
            }
        }
        self.texts.drain(..count);
        self.done += count;
        if self.done >= self.wanted.texts() {
            let spent = self.submitted.elapsed().as_micros();
            self.usage.prefill_us = u64::try_from(spent).unwrap_or(u64::MAX);
            let reason = FinishReason::End;
            events.push(Event::Finished(Finished { reason, usage: self.usage }));
        }
        Ok(tokens)
    }

    /// The texts of the next step: at least one, then as many as fit.
    fn next<M: Model>(&self, model: &M) -> Vec<&[u32]> {
        let mut tokens = 0;
        let fits = |text: &&Vec<u32>| {
            tokens += text.len();
            tokens == text.len() || tokens <= model.step_tokens_max() as usize
        };
        let rest = self.texts.iter().take_while(fits);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;
    use crate::model::RankForm;

    /// Each document comes with the whole query.
    #[test]
    fn no_more_texts_are_tokens_at_a_time_than_a_step_takes() {
        let form = RankForm::Template("{query} {document}".to_owned());
        let mut model = Fake::ranking(128, 4, form);
        let documents: Vec<String> = (0..500).map(|at| "x".repeat(at % 7)).collect();
        let (query, truncate) = ("q".repeat(9), false);
        let rank = Rank { query, documents, truncate, document_tokens_max: None };
        let mut embedding = Embedding::scores(&model, rank, Instant::now()).unwrap();
        let mut events = Vec::new();
        assert!(embedding.texts.is_empty(), "before its turn");
        while !events.last().is_some_and(Event::is_last) {
            let needed = embedding.prepare(&model).unwrap();
            assert!(needed <= 32 && embedding.texts.len() <= 4, "{needed} tokens");
            assert_eq!(embedding.prepare(&model).unwrap(), needed, "prepared once");
            assert_eq!(embedding.advance(&mut model, &mut events).unwrap(), needed as u64);
        }
        let Some(Event::Finished(finished)) = events.pop() else { panic!("it does not end") };
        let tokens: u32 = (0..500).map(|at| 10 + at % 7).sum();
        assert_eq!((events.len(), finished.usage.prompt_tokens), (500, tokens));
    }
}
