//! Scores by a bare call of llama.cpp's API, one pair of a query and a document in one step.
//!
//! Tests compare what the hub says of documents with it. A job is one JSON object on standard input, its
//! outcome one list of numbers on standard output.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::rc::Rc;

use engine::{RankForm, RankMarks};
use llama_cpp_sys_2 as sys;
use planner::footprint::CacheType;
use serde::Deserialize;

use crate::llama::{BatchRow, CacheTypes, Context, ContextShape, Threads, Weights};
use crate::log;

/// What to rank.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Job {
    model: PathBuf,
    /// Each a query and a document.
    pairs: Vec<[String; 2]>,
    threads: u32,
}

/// Runs the job on `input`.
///
/// # Errors
/// A sentence that names what does not work.
pub(crate) fn run(mut input: impl Read, mut output: impl Write) -> Result<(), String> {
    log::install();
    let mut text = String::new();
    input.read_to_string(&mut text).map_err(|error| format!("cannot read the job: {error}"))?;
    let job: Job = serde_json::from_str(&text).map_err(|error| format!("job: {error}"))?;
    let weights = Weights::load(&job.model, false, |_| ())
        .ok_or_else(|| format!("cannot load {}", job.model.display()))?;
    let weights = Rc::new(weights);
    let form = weights.rank_form();
    let score = |[query, document]: &[String; 2]| {
        score(&weights, &tokens(&weights, &form, query, document), job.threads)
    };
    let scores: Vec<f32> = job.pairs.iter().map(score).collect::<Result<_, _>>()?;
    let json = serde_json::to_string(&scores).map_err(|error| error.to_string())?;
    writeln!(output, "{json}").map_err(|error| format!("cannot write the outcome: {error}"))
}

fn tokens(weights: &Weights, form: &RankForm, query: &str, document: &str) -> Vec<u32> {
    match form {
        RankForm::Template(template) => {
            let text = template.replace("{query}", query).replace("{document}", document);
            weights.tokenize(&text, false, true)
        }
        RankForm::Marks(RankMarks { begin, end, separator }) => {
            let mut tokens: Vec<u32> = begin.iter().copied().collect();
            tokens.extend(weights.tokenize(query, false, false));
            tokens.extend(end.iter().chain(separator));
            tokens.extend(weights.tokenize(document, false, false));
            tokens.extend(end);
            tokens
        }
    }
}

fn score(weights: &Rc<Weights>, tokens: &[u32], threads: u32) -> Result<f32, String> {
    let length = u32::try_from(tokens.len()).map_err(|error| error.to_string())?;
    let shape = ContextShape {
        cells: length,
        sequences: 1,
        step_tokens: length,
        outputs: length,
        unified: true,
        flash_attention: true,
        cache: CacheTypes::both(CacheType::F16),
        whole_windows: true,
        pooling: Some(sys::LLAMA_POOLING_TYPE_RANK),
        taken_back_max: 0,
        is_head: false,
    };
    let context = Context::new(Rc::clone(weights), shape, Threads::start(threads));
    let mut context = context.ok_or_else(|| "no memory for the context".to_owned())?;
    let row = |(position, token): (u32, &u32)| {
        let token = *token;
        BatchRow { token, position, sequence: 0, output: true }
    };
    context.decode(&(0..).zip(tokens).map(row).collect::<Vec<_>>())?;
    context.sequence_score(0).ok_or_else(|| "llama.cpp computed no score".to_owned())
}
