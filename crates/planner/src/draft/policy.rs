//! How many guesses of each stream are worth a row, from what was measured.

use super::Trust;
use super::limits::{
    DRAFT_TOKENS_MAX, GAIN_MIN, GUESS_SHARE_FIRST, MODEL_TRIES_MIN, PLAIN_STEP_EVERY, PRIOR_KEPT,
    PRIOR_WEIGHT, PROBE_CREDIT_STEPS, PROBE_SHARE, PROBE_STEPS_MIN, PROBE_TOKENS, RECORD_KEPT,
    TIME_WEIGHT, TRUTH_FIRST,
};
use super::times::Times;
use crate::batch::limits::STALL_US;

/// How the number of guesses is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As many as were seen to pay.
    Measured,
    /// So many wherever there is a guess, whether that pays or not.
    Fixed(u32),
}

/// What became of guesses so far; old ones count less.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Record {
    /// By [`Trust`].
    kinds: [Tally; Trust::COUNT],
}

/// Guesses that were tried, and those of them that came true.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Tally {
    tried: f32,
    came_true: f32,
}

/// Guesses that a stream has, or can have.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// What became of this request's guesses before.
    pub record: &'a Record,
    /// Of which kind these are.
    pub trust: Trust,
    /// How many there can be.
    pub tokens_max: usize,
}

/// What to draft in the next step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// For each offer how many tokens.
    pub tokens: Vec<usize>,
    /// Whether this is to learn rather than to gain.
    pub is_trial: bool,
}

/// What came of a step that held nothing but streams.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stepped {
    /// Streams in it.
    pub streams: usize,
    /// Rows of guesses in it.
    pub drafted: usize,
    /// Guesses that came true.
    pub accepted: usize,
    /// Microseconds that it took.
    pub took_us: f32,
    /// Microseconds that guessing took before.
    pub guessing_us: f32,
    /// As it was chosen.
    pub is_trial: bool,
}

/// What was measured of one loaded model. See the module's documentation.
#[derive(Debug, Clone)]
pub struct Policy {
    mode: Mode,
    times: Times,
    /// All requests together.
    prior: Record,
    /// Microseconds that a model takes to guess one token.
    guess_us: Option<f32>,
    /// Microseconds that trials may still cost; `None` before any step was measured.
    credit_us: Option<f32>,
    /// Drafted steps since one was made without.
    since_plain: u32,
    /// Steps since the last trial.
    since_trial: u32,
}

impl Policy {
    /// Nothing is known.
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            times: Times::default(),
            prior: Record::default(),
            guess_us: None,
            credit_us: None,
            since_plain: 0,
            since_trial: PROBE_STEPS_MIN,
        }
    }

    /// What to draft in a step of `streams` streams, some of which make an offer.
    #[must_use]
    pub fn choose(&self, streams: usize, offers: &[Offer<'_>]) -> Choice {
        let nothing = Choice { tokens: vec![0; offers.len()], is_trial: false };
        match self.mode {
            Mode::Fixed(tokens) => {
                let tokens = (tokens as usize).min(DRAFT_TOKENS_MAX);
                let tokens = offers.iter().map(|offer| offer.tokens_max.min(tokens)).collect();
                Choice { tokens, is_trial: false }
            }
            Mode::Measured if !self.times.knows(streams) => nothing,
            Mode::Measured if self.since_plain >= PLAIN_STEP_EVERY => nothing,
            Mode::Measured => self
                .best(streams, offers)
                .map(|tokens| Choice { tokens: self.stretched(tokens, offers), is_trial: false })
                .or_else(|| self.trial(streams, offers))
                .unwrap_or(nothing),
        }
    }

    /// Tokens a second that this offer is expected to make of a step with nothing else in it, to tell
    /// which of two a stream should take.
    #[must_use]
    pub fn worth(&self, offer: &Offer<'_>) -> f32 {
        self.rate(self.truth(offer), offer.trust, offer.tokens_max).unwrap_or(0.0)
    }

    /// Whether a model that guesses should read a text before it is known what it guesses of it: its
    /// guesses pay, or too few were tried to say and they would if all came true.
    #[must_use]
    pub fn is_model_worth_its_reading(&self) -> bool {
        let offer =
            Offer { record: &self.prior, trust: Trust::Model, tokens_max: DRAFT_TOKENS_MAX };
        let is_known = self.prior.kinds[Trust::Model.index()].tried >= MODEL_TRIES_MIN;
        let truth = if is_known { self.truth(&offer) } else { 1.0 };
        let plain = self.rate(truth, offer.trust, 0);
        let guessing = self.rate(truth, offer.trust, offer.tokens_max);
        match (self.mode, plain.zip(guessing)) {
            (Mode::Fixed(tokens), _) => tokens > 0,
            (Mode::Measured, Some((plain, guessing))) if self.guess_us.is_some() => {
                guessing > plain * GAIN_MIN
            }
            (Mode::Measured, _) => true,
        }
    }

    /// Tokens a second of one stream with the best number of guesses, of which each comes true with
    /// this chance; `None` before steps were measured.
    fn rate(&self, truth: f32, trust: Trust, tokens_max: usize) -> Option<f32> {
        let rate = |tokens: usize| {
            let step_us = self.times.estimate(1 + tokens)?;
            let guessing_us = self.guessing_us(trust, tokens, step_us);
            Some(1e6 * (1.0 + expected(truth, tokens)) / (step_us + guessing_us).max(1e-3))
        };
        (0..=tokens_max.min(DRAFT_TOKENS_MAX)).filter_map(rate).reduce(f32::max)
    }

    /// What came of the guesses of one stream in a step.
    pub fn settled(&mut self, record: &mut Record, trust: Trust, drafted: usize, accepted: usize) {
        record.kinds[trust.index()].note(drafted, accepted, RECORD_KEPT);
        self.prior.kinds[trust.index()].note(drafted, accepted, PRIOR_KEPT);
    }

    /// A model guessed so many tokens in so many microseconds; none, where it was sure of nothing.
    pub fn guessed(&mut self, tokens: usize, took_us: f32) {
        let each = took_us / count(tokens.max(1));
        let before = self.guess_us.unwrap_or(each);
        self.guess_us = Some(before + TIME_WEIGHT * (each - before));
    }

    /// What came of a whole step.
    pub fn stepped(&mut self, step: &Stepped) {
        let Stepped { streams, drafted, accepted, took_us, guessing_us, is_trial } = *step;
        self.times.learn(streams + drafted, took_us);
        self.since_plain = if drafted == 0 { 0 } else { self.since_plain.saturating_add(1) };
        self.since_trial = if is_trial { 0 } else { self.since_trial.saturating_add(1) };
        let plain_us = self.times.estimate(streams).unwrap_or(took_us);
        let first_us = plain_us * PROBE_CREDIT_STEPS;
        let credit_us = self.credit_us.unwrap_or(first_us) + took_us * PROBE_SHARE;
        // The same text would have taken so long without.
        let without_us = plain_us * count(streams + accepted) / count(streams.max(1));
        let lost_us = if is_trial { (took_us + guessing_us - without_us).max(0.0) } else { 0.0 };
        let dearest_us = self.trial_us(streams, plain_us, Trust::Model, PROBE_TOKENS);
        let most_us = first_us.max(dearest_us);
        self.credit_us = Some(credit_us.min(most_us) - lost_us);
    }

    /// The amounts that make the most tokens a second of the step, if that is more than without: row
    /// by row the guess that is likeliest to count, as long as there are any.
    fn best(&self, streams: usize, offers: &[Offer<'_>]) -> Option<Vec<usize>> {
        let plain_us = self.times.estimate(streams)?;
        let stalls_us = if streams > 1 { STALL_US as f32 } else { f32::INFINITY };
        let mut tokens = vec![0; offers.len()];
        let truths: Vec<f32> = offers.iter().map(|offer| self.truth(offer)).collect();
        // The chance that the next guess of each counts: that it and all before it come true.
        let mut chances = truths.clone();
        let mut best = (GAIN_MIN * count(streams) / plain_us.max(1e-3), None);
        let (mut gain, mut guessing_us) = (0.0, 0.0);
        for rows in streams + 1.. {
            let open =
                |index: &usize| tokens[*index] < offers[*index].tokens_max.min(DRAFT_TOKENS_MAX);
            let open = (0..offers.len()).filter(open);
            let Some(next) = open.max_by(|one, other| chances[*one].total_cmp(&chances[*other]))
            else {
                break;
            };
            tokens[next] += 1;
            gain += chances[next];
            chances[next] *= truths[next];
            guessing_us += self.guessing_us(offers[next].trust, 1, plain_us);
            let step_us = self.times.estimate(rows)?;
            if step_us - plain_us > stalls_us {
                break;
            }
            let rate = (count(streams) + gain) / (step_us + guessing_us).max(1e-3);
            if rate > best.0 {
                best = (rate, Some(tokens.clone()));
            }
        }
        best.1
    }

    /// The likeliest offer, with as many tokens as trying may cost now.
    fn trial(&self, streams: usize, offers: &[Offer<'_>]) -> Option<Choice> {
        let (plain_us, credit_us) = (self.times.estimate(streams)?, self.credit_us?);
        if self.since_trial < PROBE_STEPS_MIN {
            return None;
        }
        let likelier = |one: &usize, other: &usize| {
            self.truth(&offers[*one]).total_cmp(&self.truth(&offers[*other]))
        };
        let open = (0..offers.len()).filter(|index| offers[*index].tokens_max > 0);
        let tried = open.max_by(likelier)?;
        let offer = &offers[tried];
        let most = offer.tokens_max.min(PROBE_TOKENS);
        // Less than that is tried only where nothing is known about it yet.
        let is_worth = |tokens: &usize| *tokens == most || !self.times.knows(streams + tokens);
        let is_bearable = |tokens: &usize| {
            let more_us = self.trial_us(streams, plain_us, offer.trust, *tokens);
            more_us <= credit_us && (streams == 1 || more_us <= STALL_US as f32)
        };
        let mut amounts = (1..=most).rev();
        let amount = amounts.find(|tokens| is_worth(tokens) && is_bearable(tokens))?;
        let mut tokens = vec![0; offers.len()];
        tokens[tried] = amount;
        Some(Choice { tokens, is_trial: true })
    }

    /// Twice as many now and then, to see whether that is better by now.
    fn stretched(&self, tokens: Vec<usize>, offers: &[Offer<'_>]) -> Vec<usize> {
        if self.since_plain != PLAIN_STEP_EVERY / 2 {
            return tokens;
        }
        let most = offers.iter().map(|offer| offer.tokens_max.min(DRAFT_TOKENS_MAX));
        tokens.iter().zip(most).map(|(tokens, most)| (tokens * 2).min(most)).collect()
    }

    /// What trying so many tokens may cost, if none of them comes true.
    fn trial_us(&self, streams: usize, plain_us: f32, trust: Trust, tokens: usize) -> f32 {
        let step_us = self.times.estimate(streams + tokens).unwrap_or(f32::INFINITY);
        step_us - plain_us + self.guessing_us(trust, tokens, plain_us)
    }

    /// What guessing so many tokens takes. The text is looked up in no time.
    fn guessing_us(&self, trust: Trust, tokens: usize, step_us: f32) -> f32 {
        match trust {
            Trust::ShortMatch | Trust::MiddleMatch | Trust::LongMatch => 0.0,
            Trust::Model => self.guess_us.unwrap_or(step_us * GUESS_SHARE_FIRST) * count(tokens),
        }
    }

    /// The chance that a guess of this offer comes true.
    fn truth(&self, offer: &Offer<'_>) -> f32 {
        let own = offer.record.kinds[offer.trust.index()];
        let others = self.prior.kinds[offer.trust.index()];
        let prior = others.truth(TRUTH_FIRST, 1.0);
        own.truth(prior, PRIOR_WEIGHT)
    }
}

impl Tally {
    /// Of so many guesses in a row these came true; the one after them was tried too, and failed.
    fn note(&mut self, drafted: usize, accepted: usize, kept: f32) {
        let tried = count(drafted.min(accepted + 1));
        let kept = kept.powf(tried);
        self.tried = self.tried * kept + tried;
        self.came_true = self.came_true * kept + count(accepted);
    }

    /// The share that came true, beside so many guesses that did as `prior` says.
    fn truth(&self, prior: f32, weight: f32) -> f32 {
        (self.came_true + prior * weight) / (self.tried + weight)
    }
}

/// How many of so many guesses in a row count on average.
fn expected(truth: f32, tokens: usize) -> f32 {
    std::iter::successors(Some(truth), |chance| Some(chance * truth)).take(tokens).sum()
}

#[expect(clippy::cast_precision_loss, reason = "rows of a step, some hundred at most")]
fn count(number: usize) -> f32 {
    number as f32
}
