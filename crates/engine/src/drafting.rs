//! Guesses for the streams of the next step, and what is learnt from what became of them.
//!
//! Not here: how many are worth it and what the text itself suggests (`planner::draft`), their rows
//! (`planner::batch`), and what a model guesses ([`Model::guess`]).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use planner::batch::{Batch, Key, Step, Stream, is_media};
use planner::draft::{Choice, Guess, Lookup, Mode, Offer, Policy, Record, Stepped, Trust};
use worker_protocol::{Speculation, SpeculationSource};

use crate::model::{Guessing, Model, Wanted};

/// The guesses of all requests of one model.
pub(crate) struct Drafting {
    is_on: bool,
    policy: Policy,
    requests: BTreeMap<Key, Guesser>,
    /// What the present step drafts.
    drafted: BTreeMap<Key, Drafted>,
    is_trial: bool,
    guessing: Duration,
}

/// What is known for guessing what one request says next.
#[derive(Default)]
struct Guesser {
    lookup: Lookup,
    record: Record,
}

/// Guesses of one stream in the present step.
struct Drafted {
    trust: Trust,
    tokens: usize,
    accepted: usize,
}

/// A stream that may be drafted for, and what is guessed of it.
struct Candidate {
    key: Key,
    tokens_max: usize,
    trust: Trust,
    /// `None` is to be guessed by the model.
    guess: Option<Guess>,
}

impl Drafting {
    pub(crate) fn new(speculation: &Speculation) -> Self {
        let mode = speculation.tokens.map_or(Mode::Measured, Mode::Fixed);
        Self {
            is_on: speculation.source != SpeculationSource::Off,
            policy: Policy::new(mode),
            requests: BTreeMap::new(),
            drafted: BTreeMap::new(),
            is_trial: false,
            guessing: Duration::ZERO,
        }
    }

    /// Drafts for the next step. `tokens_left` says how many tokens a request may still say.
    pub(crate) fn propose<M: Model>(
        &mut self,
        model: &mut M,
        batch: &mut Batch,
        tokens_left: &dyn Fn(Key) -> Option<u32>,
    ) {
        self.drafted.clear();
        (self.is_trial, self.guessing) = (false, Duration::ZERO);
        if !self.is_on {
            return;
        }
        let streams = batch.streams();
        self.read_ahead(model, &streams);
        let candidate = |stream: &Stream<'_>| {
            let by_model = match model.guesses() {
                Guessing::Tokens(_) if is_text(stream) && model.has_read(&want(stream, 0)) => {
                    model.guesses()
                }
                Guessing::Tokens(_) | Guessing::Nothing => Guessing::Nothing,
            };
            self.candidate(stream, by_model, tokens_left(stream.key)?)
        };
        let candidates: Vec<Candidate> = streams.iter().filter_map(candidate).collect();
        let choice = self.choose(streams.len(), &candidates);
        self.is_trial = choice.is_trial;
        let drafts = self.drafts(model, &streams, candidates, &choice);
        for (key, tokens) in drafts {
            batch.draft(key, tokens);
        }
    }

    /// A request has a guess that came true.
    pub(crate) fn accepted(&mut self, key: Key) {
        if let Some(drafted) = self.drafted.get_mut(&key) {
            drafted.accepted += 1;
        }
    }

    /// What became of the guesses of a request that were in the step: how many there were, and how
    /// many came true.
    pub(crate) fn settled(&mut self, key: Key) -> (u32, u32) {
        let Some(drafted) = self.drafted.get(&key) else { return (0, 0) };
        if let Some(guesser) = self.requests.get_mut(&key) {
            let Drafted { trust, tokens, accepted } = *drafted;
            self.policy.settled(&mut guesser.record, trust, tokens, accepted);
        }
        let count = |number| u32::try_from(number).unwrap_or(u32::MAX);
        (count(drafted.tokens), count(drafted.accepted))
    }

    /// The step is computed. Guesses that found no room in it are forgotten.
    pub(crate) fn decoded(&mut self, step: &Step) {
        for (key, drafted) in &mut self.drafted {
            drafted.tokens = step.rows.iter().filter(|row| row.is_draft && row.key == *key).count();
        }
        self.drafted.retain(|_, drafted| drafted.tokens > 0);
    }

    /// The step is over and all its guesses are settled.
    pub(crate) fn stepped(&mut self, step: &Step, took: Duration) {
        // What a step takes in which a prompt is computed says nothing about others.
        if !self.is_on || step.prefill_rows > 0 {
            return;
        }
        let drafted = step.drafted_rows as usize;
        self.policy.stepped(&Stepped {
            streams: step.rows.len() - drafted,
            drafted,
            accepted: self.drafted.values().map(|drafted| drafted.accepted).sum(),
            took_us: micros(took),
            guessing_us: micros(self.guessing),
            is_trial: self.is_trial,
        });
    }

    /// The request ended.
    pub(crate) fn forget(&mut self, key: Key) {
        self.requests.remove(&key);
    }

    /// Lets the model that guesses read what it has missed, where its guesses pay or may pay.
    fn read_ahead<M: Model>(&self, model: &mut M, streams: &[Stream<'_>]) {
        if model.guesses() == Guessing::Nothing || !self.policy.is_model_worth_its_reading() {
            return;
        }
        let can_guess = streams.iter().filter(|stream| stream.draft_max > 0 && is_text(stream));
        let unread: Vec<Wanted<'_>> = can_guess
            .map(|stream| want(stream, 0))
            .filter(|stream| !model.has_read(stream))
            .collect();
        if !unread.is_empty() {
            model.read(&unread);
        }
    }

    /// What can be guessed of a stream: what the text suggests or what the model would, whichever is
    /// expected to gain more.
    fn candidate(
        &mut self,
        stream: &Stream<'_>,
        by_model: Guessing,
        tokens_left: u32,
    ) -> Option<Candidate> {
        let guesser = self.requests.entry(stream.key).or_default();
        // The last token that may be said is drawn from the row of the one before it.
        let tokens_max = stream.draft_max.min(tokens_left.saturating_sub(1)) as usize;
        let tokens_max = tokens_max.min(planner::draft::limits::DRAFT_TOKENS_MAX);
        let guess = guesser.lookup.guess(stream.tokens, tokens_max).and_then(said);
        let Guesser { record, .. } = guesser;
        let by_text = guess.as_ref().map(|guess| Offer {
            record,
            trust: guess.trust,
            tokens_max: guess.tokens.len(),
        });
        let model_max = match by_model {
            Guessing::Nothing => 0,
            Guessing::Tokens(most) => tokens_max.min(most as usize),
        };
        let by_model = Offer { record, trust: Trust::Model, tokens_max: model_max };
        let is_text_better = |text: &Offer<'_>| {
            model_max == 0 || self.policy.worth(text) >= self.policy.worth(&by_model)
        };
        let key = stream.key;
        match by_text.filter(is_text_better) {
            Some(Offer { trust, tokens_max, .. }) => {
                Some(Candidate { key, tokens_max, trust, guess })
            }
            None if model_max > 0 => {
                let (tokens_max, trust) = (model_max, Trust::Model);
                Some(Candidate { key, tokens_max, trust, guess: None })
            }
            None => None,
        }
    }

    fn choose(&self, streams: usize, candidates: &[Candidate]) -> Choice {
        let nothing_known = Record::default();
        let offers: Vec<Offer<'_>> = candidates
            .iter()
            .map(|candidate| Offer {
                record: self
                    .requests
                    .get(&candidate.key)
                    .map_or(&nothing_known, |known| &known.record),
                trust: candidate.trust,
                tokens_max: candidate.tokens_max,
            })
            .collect();
        self.policy.choose(streams, &offers)
    }

    /// The tokens that were chosen, those of the model for all its streams at once.
    fn drafts<M: Model>(
        &mut self,
        model: &mut M,
        streams: &[Stream<'_>],
        candidates: Vec<Candidate>,
        choice: &Choice,
    ) -> Vec<(Key, Vec<u32>)> {
        let mut drafts = Vec::new();
        let mut wanted = Vec::new();
        for (candidate, count) in candidates.into_iter().zip(&choice.tokens) {
            if *count == 0 {
                continue;
            }
            let Candidate { key, trust, guess, .. } = candidate;
            self.drafted.insert(key, Drafted { trust, tokens: *count, accepted: 0 });
            match guess {
                Some(mut guess) => {
                    guess.tokens.truncate(*count);
                    drafts.push((key, guess.tokens));
                }
                None => {
                    let stream = streams.iter().find(|stream| stream.key == key);
                    wanted.extend(stream.map(|stream| (key, want(stream, *count))));
                }
            }
        }
        if wanted.is_empty() {
            return drafts;
        }
        let begun = Instant::now();
        let (keys, wanted): (Vec<Key>, Vec<Wanted<'_>>) = wanted.into_iter().unzip();
        let guessed = model.guess(&wanted);
        self.guessing = begun.elapsed();
        self.policy.guessed(guessed.iter().map(Vec::len).sum(), micros(self.guessing));
        for (key, tokens) in keys.into_iter().zip(guessed) {
            // A model that is sure of nothing has guessed, and in vain.
            if let Some(guesser) = self.requests.get_mut(&key).filter(|_| tokens.is_empty()) {
                self.policy.settled(&mut guesser.record, Trust::Model, 1, 0);
            }
            drafts.push((key, tokens));
        }
        drafts
    }
}

/// Whether there are no pictures and sounds in it, which a model that guesses cannot read.
fn is_text(stream: &Stream<'_>) -> bool {
    !stream.tokens.iter().any(|token| is_media(*token))
}

/// A guess as far as a model can say it: up to where a picture followed.
fn said(mut guess: Guess) -> Option<Guess> {
    let length = guess.tokens.iter().position(|token| is_media(*token));
    guess.tokens.truncate(length.unwrap_or(guess.tokens.len()));
    (!guess.tokens.is_empty()).then_some(guess)
}

fn want<'a>(stream: &Stream<'a>, count: usize) -> Wanted<'a> {
    Wanted { sequence: stream.sequence, tokens: stream.tokens, count }
}

fn micros(time: Duration) -> f32 {
    time.as_secs_f32() * 1e6
}
