//! A bare loop over llama.cpp's API, without anything of ours around it.
//!
//! Tests compare the hub's answers with it token for token, and `resident bench` measures it in the
//! same run as the hub. A job is one JSON object on standard input, its outcome one on standard
//! output.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use engine::logprobs;
use planner::footprint::CacheType;
use serde::{Deserialize, Serialize};

use crate::llama::{BatchRow, CacheTypes, Context, ContextShape, Threads, Weights};
use crate::log;

/// What to run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Job {
    model: PathBuf,
    /// Token ids of each prompt.
    prompts: Vec<Vec<u32>>,
    /// Tokens to generate for each prompt, greedily and past the end of text.
    tokens_max: usize,
    threads: u32,
    /// Cells for one prompt and its answer.
    context_tokens: u32,
    /// Tokens of a prompt that are decoded in one step.
    step_tokens: u32,
    /// Decode all prompts in one batch instead of one after the other.
    together: bool,
    /// One pool of cells for all sequences, as the worker has it.
    unified: bool,
    /// Fused attention, as llama.cpp chooses it by itself.
    #[serde(default = "yes")]
    flash_attention: bool,
    /// How often to run it all; times are of the best round.
    rounds: usize,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Default, Serialize)]
struct Outcome {
    answers: Vec<Vec<Token>>,
    prefill_tokens: usize,
    prefill_seconds: f64,
    decode_tokens: usize,
    decode_seconds: f64,
}

#[derive(Debug, Serialize)]
struct Token {
    id: u32,
    logprob: f32,
    /// By how much the likeliest token beats the second, in logits.
    lead: f32,
}

pub(crate) fn run(mut input: impl Read, mut output: impl Write) -> Result<(), String> {
    log::install();
    let mut text = String::new();
    input.read_to_string(&mut text).map_err(|error| format!("cannot read the job: {error}"))?;
    let job: Job =
        serde_json::from_str(&text).map_err(|error| format!("cannot read the job: {error}"))?;
    let weights = Weights::load(&job.model, false, |_| ())
        .ok_or_else(|| format!("cannot load {}", job.model.display()))?;
    let weights = Rc::new(weights);
    let mut best: Option<Outcome> = None;
    for _ in 0..job.rounds.max(1) {
        let outcome = round(&job, &weights)?;
        best = Some(match best.take() {
            Some(best) => faster(best, outcome),
            None => outcome,
        });
    }
    let json = serde_json::to_string(&best).map_err(|error| error.to_string())?;
    writeln!(output, "{json}").map_err(|error| format!("cannot write the outcome: {error}"))
}

fn faster(mut best: Outcome, other: Outcome) -> Outcome {
    best.prefill_seconds = best.prefill_seconds.min(other.prefill_seconds);
    best.decode_seconds = best.decode_seconds.min(other.decode_seconds);
    best
}

fn round(job: &Job, weights: &Rc<Weights>) -> Result<Outcome, String> {
    let mut outcome = Outcome::default();
    let lanes = if job.together { job.prompts.len().max(1) } else { 1 };
    for group in job.prompts.chunks(lanes) {
        let mut context = new_context(job, weights, group.len())?;
        generate(job, &mut context, group, &mut outcome)?;
    }
    Ok(outcome)
}

fn new_context(job: &Job, weights: &Rc<Weights>, lanes: usize) -> Result<Context, String> {
    let lanes = u32::try_from(lanes).map_err(|error| error.to_string())?;
    let shape = ContextShape {
        cells: job.context_tokens * lanes,
        sequences: lanes,
        step_tokens: job.step_tokens,
        outputs: lanes,
        unified: job.unified,
        flash_attention: job.flash_attention,
        cache: CacheTypes::both(CacheType::F16),
        whole_windows: true,
        pooling: None,
        taken_back_max: 0,
        is_head: false,
    };
    Context::new(Rc::clone(weights), shape, Threads::start(job.threads))
        .ok_or_else(|| "no memory for the context".to_owned())
}

/// Prompts one after the other, then one token of each in every step.
fn generate(
    job: &Job,
    context: &mut Context,
    prompts: &[Vec<u32>],
    outcome: &mut Outcome,
) -> Result<(), String> {
    let begun = Instant::now();
    let mut next = Vec::new();
    let mut answers = Vec::new();
    for (sequence, prompt) in (0..).zip(prompts) {
        let last = prefill(context, job, sequence, prompt)?;
        let token = greedy(context, last);
        next.push(token.id);
        answers.push(vec![token]);
        outcome.prefill_tokens += prompt.len();
    }
    outcome.prefill_seconds += begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    for step in 1..job.tokens_max {
        let rows: Vec<BatchRow> = (0..)
            .zip(prompts.iter().zip(&next))
            .map(|(sequence, (prompt, token))| BatchRow {
                token: *token,
                position: u32::try_from(prompt.len() + step - 1).unwrap_or(u32::MAX),
                sequence,
                output: true,
            })
            .collect();
        context.decode(&rows)?;
        for (lane, answer) in answers.iter_mut().enumerate() {
            let token = greedy(context, lane);
            next[lane] = token.id;
            answer.push(token);
        }
        outcome.decode_tokens += rows.len();
    }
    outcome.decode_seconds += begun.elapsed().as_secs_f64();
    outcome.answers.extend(answers);
    Ok(())
}

/// Decodes a prompt in steps; the row whose logits follow it.
fn prefill(
    context: &mut Context,
    job: &Job,
    sequence: u32,
    prompt: &[u32],
) -> Result<usize, String> {
    let mut position = 0;
    let mut last = 0;
    for part in prompt.chunks(job.step_tokens as usize) {
        let mut rows = Vec::new();
        for token in part {
            let output = position as usize + 1 == prompt.len();
            rows.push(BatchRow { token: *token, position, sequence, output });
            position += 1;
        }
        context.decode(&rows)?;
        last = part.len() - 1;
    }
    Ok(last)
}

fn greedy(context: &Context, row: usize) -> Token {
    let logits = context.logits(row);
    let mut best = (0, f32::NEG_INFINITY);
    let mut second = f32::NEG_INFINITY;
    for (id, logit) in (0..).zip(logits.iter().copied()) {
        if logit > best.1 {
            second = best.1;
            best = (id, logit);
        } else if logit > second {
            second = logit;
        }
    }
    let (logprob, _) = logprobs::read(logits, best.0, 0);
    Token { id: best.0, logprob, lead: best.1 - second }
}
