//! A small model that guesses what a larger one says next, in a context of its own.
//!
//! What it has not read yet of a stream it reads in parts, each as long as a step may take, and until it
//! has read all it guesses nothing. What it holds is nobody's promise: where its cells run short, it
//! forgets what it is not asked about.
//!
//! Not here: how many guesses are worth it (`planner::draft`), checking them (`engine`).

use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use engine::Wanted;

use crate::llama::{BatchRow, Context, ContextShape, Weights};

/// Tokens of a text that it reads at a time before its speed is known, and at least.
const READ_TOKENS_MIN: usize = 32;

/// What reading may take between two steps: half the pause that a reader of a stream may see.
const READ_TIME: Duration = Duration::from_millis(100);

/// Weight of the newest measurement in the estimate of how fast it reads.
const SPEED_WEIGHT: f32 = 0.3;

/// Tokens that it guesses at a time: beyond these, one of them is wrong nearly always.
pub(crate) const GUESSES_MAX: u32 = 8;

/// Guesses that are less likely than this end a draft: most of them would be wrong, and with them all
/// that follow.
pub(crate) const LIKELY_MIN: f32 = 0.4;

/// The small model, and what it has read.
pub(crate) struct DraftModel {
    context: Context,
    cells: usize,
    step_tokens: usize,
    /// Tokens below this are the same in both vocabularies.
    shared_tokens: u32,
    /// By sequence, the tokens that it holds.
    read: Vec<Vec<u32>>,
    /// Tokens that it reads a second, measured.
    tokens_per_s: Option<f32>,
}

/// A stream that is being guessed.
struct Guessed {
    sequence: u32,
    count: usize,
    tokens: Vec<u32>,
    /// The row of the step that the next guess is drawn from.
    row: Option<usize>,
}

impl DraftModel {
    /// Loads it beside the model that it guesses for.
    ///
    /// # Errors
    /// A fragment that says why it cannot guess, and the way out.
    pub(crate) fn load(path: &Path, model: &Context, shape: ContextShape) -> Result<Self, String> {
        let small = Weights::load(path, false, |_| {})
            .ok_or("llama.cpp cannot load it; the worker's log says why")?;
        let shared_tokens = shared_tokens(&small, model.weights())?;
        if small.is_recurrent() || small.is_hybrid() {
            return Err("its state cannot be cut back behind a wrong guess; name a model without \
                        recurrent layers"
                .to_owned());
        }
        let context = Context::new(Rc::new(small), shape, Rc::clone(model.threads()))
            .ok_or("no memory for its context; a smaller --context needs less")?;
        Ok(Self {
            context,
            cells: shape.cells as usize,
            step_tokens: shape.step_tokens as usize,
            shared_tokens,
            read: vec![Vec::new(); shape.sequences as usize],
            tokens_per_s: None,
        })
    }

    pub(crate) fn use_threads(&mut self, count: u32) {
        self.context.use_threads(count);
    }

    /// Whether it can guess at once: what it lacks is no more than a few guesses that were not its own.
    pub(crate) fn has_read(&self, stream: &Wanted<'_>) -> bool {
        let read = &self.read[stream.sequence as usize];
        let same = read.iter().zip(stream.tokens).take_while(|(one, other)| one == other).count();
        same + READ_TOKENS_MIN > stream.tokens.len()
    }

    /// See [`engine::Model::read`].
    pub(crate) fn read(&mut self, streams: &[Wanted<'_>]) {
        // Nothing is drawn from the rows of these.
        self.guess(streams);
    }

    /// See [`engine::Model::guess`].
    pub(crate) fn guess(&mut self, wanted: &[Wanted<'_>]) -> Vec<Vec<u32>> {
        self.make_room(wanted);
        let mut guessed: Vec<Guessed> = wanted.iter().map(Guessed::of).collect();
        let mut rows = self.reading(wanted, &mut guessed);
        let begun = Instant::now();
        let read_tokens = rows.len();
        let mut is_reading = true;
        while !rows.is_empty() {
            if let Err(error) = self.context.decode(&rows) {
                tracing::warn!(error, "the draft model failed in a step; it begins anew");
                self.forget_all();
                break;
            }
            if std::mem::take(&mut is_reading) {
                self.measure(read_tokens, begun.elapsed());
            }
            rows = self.continue_all(&mut guessed);
        }
        guessed.into_iter().map(|guessed| guessed.tokens).collect()
    }

    /// Rows of what was not read yet, as many as one step may hold; a stream that is read to its end
    /// is guessed from its last row.
    fn reading(&mut self, wanted: &[Wanted<'_>], guessed: &mut [Guessed]) -> Vec<BatchRow> {
        let mut room = self.read_tokens_max();
        let mut rows = Vec::new();
        for (wanted, guessed) in wanted.iter().zip(guessed) {
            let known = wanted.tokens.iter().all(|token| *token < self.shared_tokens);
            if !known || wanted.tokens.is_empty() {
                continue;
            }
            let read = &mut self.read[wanted.sequence as usize];
            let same = read.iter().zip(wanted.tokens).take_while(|(one, other)| one == other);
            // The last token is read again, since the guess is drawn from its row.
            let same = same.count().min(wanted.tokens.len() - 1);
            if same < read.len() {
                read.truncate(same);
                self.context.remove(wanted.sequence, position(same));
            }
            let end = wanted.tokens.len().min(same + room);
            for at in same..end {
                let output = at + 1 == wanted.tokens.len();
                if output {
                    guessed.row = Some(rows.len());
                }
                let (token, sequence) = (wanted.tokens[at], wanted.sequence);
                rows.push(BatchRow { token, position: position(at), sequence, output });
            }
            read.extend(&wanted.tokens[same..end]);
            room -= end - same;
        }
        rows
    }

    /// Draws a guess of each stream that has a row in the step, and makes the rows of the next one.
    fn continue_all(&mut self, guessed: &mut [Guessed]) -> Vec<BatchRow> {
        let mut rows = Vec::new();
        for guessed in guessed {
            let Some(row) = guessed.row.take() else { continue };
            let (token, likely) = likeliest(self.context.logits(row));
            if guessed.count == 0 || token >= self.shared_tokens || likely < LIKELY_MIN {
                continue;
            }
            guessed.tokens.push(token);
            let held: usize = self.read.iter().map(Vec::len).sum();
            let read = &mut self.read[guessed.sequence as usize];
            if guessed.tokens.len() < guessed.count && held < self.cells {
                guessed.row = Some(rows.len());
                let (position, sequence) = (position(read.len()), guessed.sequence);
                rows.push(BatchRow { token, position, sequence, output: true });
                read.push(token);
            }
        }
        rows
    }

    /// Tokens that are read before the next step of the model that it guesses for.
    fn read_tokens_max(&self) -> usize {
        let bearable = self.tokens_per_s.map_or(READ_TOKENS_MIN, |speed| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a token count from a measured speed; `as` saturates"
            )]
            let tokens = (speed * READ_TIME.as_secs_f32()) as usize;
            tokens
        });
        bearable.max(READ_TOKENS_MIN).min(self.step_tokens)
    }

    fn measure(&mut self, tokens: usize, took: Duration) {
        if tokens < READ_TOKENS_MIN / 2 {
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "a step holds some hundred tokens")]
        let speed = tokens as f32 / took.as_secs_f32().max(1e-6);
        let before = self.tokens_per_s.unwrap_or(speed);
        self.tokens_per_s = Some(before + SPEED_WEIGHT * (speed - before));
    }

    /// Forgets what it is not asked about, where the cells are not enough for all.
    fn make_room(&mut self, wanted: &[Wanted<'_>]) {
        let needs: usize = wanted.iter().map(|wanted| wanted.tokens.len() + wanted.count).sum();
        let is_wanted = |sequence| wanted.iter().any(|wanted| wanted.sequence == sequence);
        let others: Vec<u32> = (0..position(self.read.len()))
            .filter(|sequence| !is_wanted(*sequence) && !self.read[*sequence as usize].is_empty())
            .collect();
        let held: usize = others.iter().map(|sequence| self.read[*sequence as usize].len()).sum();
        if needs + held > self.cells {
            others.into_iter().for_each(|sequence| self.forget(sequence));
        }
        if needs > self.cells {
            self.forget_all();
        }
    }

    fn forget(&mut self, sequence: u32) {
        self.context.remove(sequence, 0);
        self.read[sequence as usize].clear();
    }

    fn forget_all(&mut self) {
        (0..position(self.read.len())).for_each(|sequence| self.forget(sequence));
    }
}

impl Guessed {
    fn of(wanted: &Wanted<'_>) -> Self {
        let Wanted { sequence, count, .. } = *wanted;
        Self { sequence, count, tokens: Vec::new(), row: None }
    }
}

/// How many tokens, from the first on, both vocabularies have in common.
fn shared_tokens(small: &Weights, large: &Weights) -> Result<u32, String> {
    let both = small.vocabulary_tokens().min(large.vocabulary_tokens());
    let other =
        (0..both).find(|token| small.token_bytes(*token, true) != large.token_bytes(*token, true));
    match other {
        Some(token) => Err(format!(
            "its token {token} is {:?} and the model's {:?}; name a model of the same vocabulary",
            String::from_utf8_lossy(&small.token_bytes(token, true)),
            String::from_utf8_lossy(&large.token_bytes(token, true))
        )),
        None => Ok(both),
    }
}

/// The likeliest token and its probability.
pub(crate) fn likeliest(logits: &[f32]) -> (u32, f32) {
    let best = (0..).zip(logits).fold((0, f32::NEG_INFINITY), |best, (token, logit)| {
        if *logit > best.1 { (token, *logit) } else { best }
    });
    let sum: f32 = logits.iter().map(|logit| (logit - best.1).exp()).sum();
    (best.0, 1.0 / sum.max(1.0))
}

fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use engine::{Model, Row};
    use worker_protocol::{Load, Speculation, SpeculationSource};

    use super::*;
    use crate::exact::models::real;
    use crate::model::LlamaModel;

    /// Tokens that are said after each prompt.
    const ANSWER_TOKENS: usize = 40;

    /// Guesses that are asked for at a time.
    const GUESSES: usize = 4;

    /// A model that guesses for itself, on one thread.
    fn guessing_for_itself(path: &Path) -> LlamaModel {
        crate::log::silence();
        let source = SpeculationSource::Draft(path.to_owned());
        let load = Load {
            path: path.to_owned(),
            context_tokens: Some(512),
            sequences_max: 2,
            threads: Some(1),
            kv_type: None,
            keep: None,
            speculation: Speculation { source, tokens: None },
            taken_back_max: 0,
            projector: None,
            projector_is_named: false,
            adapters: Vec::new(),
            chat_template: None,
        };
        LlamaModel::load(&load, |_| {}).unwrap()
    }

    /// Decodes the tokens from `begin` on, and gives the likeliest that follows.
    fn follows(model: &mut LlamaModel, sequence: u32, begin: usize, tokens: &[u32]) -> u32 {
        let row = |(at, token): (usize, &u32)| Row {
            token: *token,
            position: position(at),
            sequence,
            output: at + 1 == tokens.len(),
        };
        let rows: Vec<Row> = tokens.iter().enumerate().skip(begin).map(row).collect();
        model.decode(&rows).unwrap();
        likeliest(model.logits(rows.len() - 1)).0
    }

    /// Two streams in turn, so that each guess is of the stream that it is asked for, and each behind
    /// guesses that were not taken up.
    #[test]
    fn a_model_that_guesses_for_itself_guesses_what_it_says() {
        let Some(path) = real() else { return };
        let mut model = guessing_for_itself(&path);
        let prompts = ["Once upon a time, there was a little girl", "Tom had a big red ball and"];
        let mut streams = prompts.map(|prompt| model.tokenize(prompt, true, false));
        let mut begin = [0; 2];
        let mut guesses: [Vec<(usize, Vec<u32>)>; 2] = Default::default();
        for _ in 0..ANSWER_TOKENS {
            for (sequence, stream) in (0..).zip(&mut streams) {
                let at = sequence as usize;
                let wanted = Wanted { sequence, tokens: stream, count: GUESSES };
                guesses[at].push((stream.len(), model.guess(&[wanted]).remove(0)));
                let next = follows(&mut model, sequence, begin[at], stream);
                begin[at] = stream.len();
                stream.push(next);
            }
        }
        for (stream, guesses) in streams.iter().zip(&guesses) {
            let right = |(at, guess): &(usize, Vec<u32>)| {
                guess.iter().zip(&stream[*at..]).all(|(guessed, said)| guessed == said)
            };
            let wrong: Vec<_> = guesses.iter().filter(|guess| !right(guess)).collect();
            assert!(wrong.is_empty(), "{wrong:?} of {stream:?}");
            let count: usize = guesses.iter().map(|(_, guess)| guess.len()).sum();
            assert!(count > ANSWER_TOKENS, "only {count} guesses were made");
        }
    }
}
