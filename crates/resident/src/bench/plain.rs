//! The other side of the comparison: a bare loop over llama.cpp, in a process of its own.
//!
//! The loop is `resident-llama plain`; here its job is written and its outcome read.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use tokio::{io::AsyncWriteExt as _, process::Command, time};

use super::limits::{PLAIN_WAIT, STEP_TOKENS};

/// What to run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Job {
    /// The model's file.
    pub(crate) model: PathBuf,
    /// Token ids of each prompt; all are decoded together.
    pub(crate) prompts: Vec<Vec<u32>>,
    /// Tokens of each answer.
    pub(crate) tokens_max: u32,
    /// Threads of a step.
    pub(crate) threads: u32,
    /// Cells for one prompt and its answer.
    pub(crate) context_tokens: u32,
    /// One pool of cells for all streams.
    pub(crate) unified: bool,
}

/// The job as `resident-llama plain` reads it.
#[derive(Debug, Serialize)]
struct Written<'a> {
    model: &'a Path,
    prompts: &'a [Vec<u32>],
    tokens_max: u32,
    threads: u32,
    context_tokens: u32,
    step_tokens: u32,
    together: bool,
    unified: bool,
    rounds: u32,
}

/// What came out.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub(crate) struct Outcome {
    prefill_tokens: u32,
    prefill_seconds: f64,
    decode_tokens: u32,
    decode_seconds: f64,
}

impl Outcome {
    /// Prompt tokens a second.
    pub(crate) fn prefill_tokens_per_s(self) -> f64 {
        f64::from(self.prefill_tokens) / self.prefill_seconds
    }

    /// Tokens a second of all streams together.
    pub(crate) fn decode_tokens_per_s(self) -> f64 {
        f64::from(self.decode_tokens) / self.decode_seconds
    }

    /// Seconds from the prompt to the first token.
    pub(crate) fn first_token_seconds(self) -> f64 {
        self.prefill_seconds
    }
}

/// Runs `job` once and waits for its outcome.
///
/// # Errors
/// When the worker cannot be started, fails, or takes longer than [`PLAIN_WAIT`].
pub(crate) async fn run(worker: &Path, job: &Job) -> anyhow::Result<Outcome> {
    let text = serde_json::to_vec(&Written {
        model: &job.model,
        prompts: &job.prompts,
        tokens_max: job.tokens_max,
        threads: job.threads,
        context_tokens: job.context_tokens,
        step_tokens: STEP_TOKENS,
        together: true,
        unified: job.unified,
        rounds: 1,
    })?;
    let mut child = Command::new(worker)
        .arg("plain")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start the plain loop {}", worker.display()))?;
    if let Some(mut input) = child.stdin.take() {
        // A worker that fails at once closes its end; its own words say more than the pipe's.
        let _closed = input.write_all(&text).await;
    }
    let output = time::timeout(PLAIN_WAIT, child.wait_with_output())
        .await
        .with_context(|| format!("the plain loop took longer than {PLAIN_WAIT:?}"))??;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.trim().lines().last().unwrap_or("it said nothing");
        bail!("the plain loop failed with {}: {last}", output.status);
    }
    serde_json::from_slice(&output.stdout).context("cannot read the plain loop's outcome")
}
