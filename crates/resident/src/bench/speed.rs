//! Hub and plain loop by turns: prompts in, tokens out, at several numbers of streams.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde::Serialize;
use tokio::task::JoinSet;

use super::{
    client::{Answer, Completion},
    hub::{Hub, MODEL},
    limits::{CONTEXT_SLACK_TOKENS, PROMPT_TOKENS_MIN},
    plain,
    subject::Prompts,
};
use crate::terminal;

/// What is measured.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The model's file.
    pub(crate) model: PathBuf,
    /// The worker's executable.
    pub(crate) worker: PathBuf,
    /// Numbers of streams.
    pub(crate) streams: Vec<u32>,
    /// Tokens of all prompts of a turn together.
    pub(crate) prompt_tokens: u32,
    /// Tokens of each answer.
    pub(crate) tokens: u32,
    /// How often everything is measured.
    pub(crate) rounds: u32,
    /// Threads of a step, on both sides.
    pub(crate) threads: u32,
}

/// How llama.cpp keeps the cache of several streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Cache {
    /// One pool of cells for all, as our worker has it.
    Unified,
    /// A pool for each.
    Split,
}

/// What one side did in one turn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Turn {
    /// Prompt tokens a second.
    pub(crate) prefill_tokens_per_s: f64,
    /// Tokens a second of all streams together.
    pub(crate) decode_tokens_per_s: f64,
    /// Seconds from sending the prompts to the last one's first token.
    pub(crate) first_token_seconds: f64,
}

/// Two neighbouring turns.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Pair {
    /// How many streams.
    pub(crate) streams: u32,
    /// How the plain loop kept its cache.
    pub(crate) cache: Cache,
    /// The plain loop's turn.
    pub(crate) plain: Turn,
    /// The hub's turn.
    pub(crate) hub: Turn,
    /// Tokens a second of the hub's turn by the workers' own account, which leaves out HTTP and the
    /// hub: what it is below the plain loop, the worker lost; what the hub's turn is below it, the
    /// way from the worker to the client did.
    pub(crate) worker_decode_tokens_per_s: f64,
    /// Whether the hub found the prompts in its cache when it decoded. If not, its decode figure
    /// has the prompts in it.
    pub(crate) was_cached: bool,
}

impl Plan {
    /// Tokens of each prompt when `streams` run.
    pub(crate) fn prompt_tokens_each(&self, streams: u32) -> u32 {
        (self.prompt_tokens / streams).max(PROMPT_TOKENS_MIN)
    }

    /// Cells that one of `streams` streams needs.
    fn cells_each(&self, streams: u32) -> u32 {
        self.prompt_tokens_each(streams)
            .saturating_add(self.tokens)
            .saturating_add(CONTEXT_SLACK_TOKENS)
    }

    /// Cells that the widest turn needs.
    pub(crate) fn cells(&self) -> u32 {
        let turns = self.streams.iter().map(|streams| self.cells_each(*streams));
        let widths =
            turns.zip(&self.streams).map(|(cells, streams)| cells.saturating_mul(*streams));
        widths.max().unwrap_or(0)
    }

    /// The largest number of streams.
    pub(crate) fn streams_max(&self) -> u32 {
        self.streams.iter().copied().max().unwrap_or(1)
    }
}

/// Measures all rounds.
///
/// # Errors
/// When either side fails.
pub(crate) async fn measure(
    plan: &Plan,
    hub: &Hub,
    prompts: &mut Prompts,
) -> anyhow::Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    for round in 1..=plan.rounds {
        for streams in plan.streams.iter().copied() {
            for cache in caches(streams) {
                let pair = pair(plan, hub, streams, *cache, prompts).await?;
                terminal::note(format_args!(
                    "round {round} of {}, {streams} at once: plain ({}) {:.1}, hub {:.1} (its worker {:.1}) \
                     tokens/s",
                    plan.rounds,
                    cache.word(),
                    pair.plain.decode_tokens_per_s,
                    pair.hub.decode_tokens_per_s,
                    pair.worker_decode_tokens_per_s,
                ));
                pairs.push(pair);
            }
        }
    }
    Ok(pairs)
}

/// Sends all prompts at once, each over a connection of its own, and waits for all answers.
///
/// # Errors
/// When one of them fails or is shorter than asked for.
pub(crate) async fn together(
    hub: &Hub,
    prompts: &[Vec<u32>],
    tokens: u32,
) -> anyhow::Result<Vec<Answer>> {
    let mut clients = Vec::new();
    for _ in prompts {
        clients.push(hub.client().await?);
    }
    let mut running = JoinSet::new();
    for (mut client, prompt) in clients.into_iter().zip(prompts) {
        let completion = Completion::new(MODEL, prompt.clone(), tokens);
        running.spawn(async move { client.complete(&completion).await });
    }
    let mut answers = Vec::new();
    while let Some(answer) = running.join_next().await {
        let answer = answer??;
        ensure!(
            answer.tokens == tokens,
            "the hub answered with {} tokens instead of {tokens}",
            answer.tokens
        );
        answers.push(answer);
    }
    Ok(answers)
}

/// Seconds from the first request to the end of the last answer.
pub(crate) fn span_seconds(answers: &[Answer]) -> f64 {
    let begun = answers.iter().map(|answer| answer.begun).min();
    let ended = answers.iter().map(|answer| answer.ended).max();
    begun.zip(ended).map_or(f64::NAN, |(begun, ended)| (ended - begun).as_secs_f64())
}

impl Cache {
    /// The word in tables.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Unified => "unified",
            Self::Split => "split",
        }
    }
}

/// With one stream both are the same.
fn caches(streams: u32) -> &'static [Cache] {
    if streams == 1 { &[Cache::Unified] } else { &[Cache::Unified, Cache::Split] }
}

async fn pair(
    plan: &Plan,
    hub: &Hub,
    streams: u32,
    cache: Cache,
    prompts: &mut Prompts,
) -> anyhow::Result<Pair> {
    let prompts = prompts.take(streams, plan.prompt_tokens_each(streams));
    let job = plain::Job {
        model: plan.model.clone(),
        prompts: prompts.clone(),
        tokens_max: plan.tokens,
        threads: plan.threads,
        context_tokens: plan.cells_each(streams),
        unified: cache == Cache::Unified,
    };
    let plain = plain_turn(&plan.worker, &job).await?;
    let written = HubTurn::take(hub, &prompts, plan.tokens).await?;
    let HubTurn { turn: hub, worker_decode_tokens_per_s, was_cached } = written;
    Ok(Pair { streams, cache, plain, hub, worker_decode_tokens_per_s, was_cached })
}

async fn plain_turn(worker: &Path, job: &plain::Job) -> anyhow::Result<Turn> {
    let outcome = plain::run(worker, job).await?;
    Ok(Turn {
        prefill_tokens_per_s: outcome.prefill_tokens_per_s(),
        decode_tokens_per_s: outcome.decode_tokens_per_s(),
        first_token_seconds: outcome.first_token_seconds(),
    })
}

/// The hub's side of a pair.
struct HubTurn {
    turn: Turn,
    worker_decode_tokens_per_s: f64,
    was_cached: bool,
}

impl HubTurn {
    /// One token each first, which reads the prompts; then the whole answers, which find them in
    /// the cache, so that all streams run side by side from the first step to the last.
    async fn take(hub: &Hub, prompts: &[Vec<u32>], tokens: u32) -> anyhow::Result<Self> {
        let read = together(hub, prompts, 1).await?;
        let written = together(hub, prompts, tokens).await?;
        let prompt_tokens: u32 = read.iter().map(|answer| answer.prompt_tokens).sum();
        let tokens: u32 = written.iter().map(|answer| answer.tokens).sum();
        let was_cached =
            written.iter().all(|answer| answer.cached_tokens + 1 >= answer.prompt_tokens);
        let worker = written.iter().map(|answer| answer.worker).max().unwrap_or_default();
        let read_seconds = span_seconds(&read);
        ensure!(read_seconds > 0.0 && !worker.is_zero(), "the clock stands still");
        let turn = Turn {
            prefill_tokens_per_s: f64::from(prompt_tokens) / read_seconds,
            decode_tokens_per_s: f64::from(tokens) / span_seconds(&written),
            first_token_seconds: read_seconds,
        };
        let worker_decode_tokens_per_s = f64::from(tokens) / worker.as_secs_f64();
        Ok(Self { turn, worker_decode_tokens_per_s, was_cached })
    }
}

/// Lets the hub load the model and learn its speed before anything is measured.
///
/// # Errors
/// When the hub cannot serve the model.
pub(crate) async fn warm_up(
    hub: &Hub,
    prompts: &mut Prompts,
    prompt_tokens: u32,
    tokens: u32,
) -> anyhow::Result<()> {
    together(hub, &prompts.take(1, prompt_tokens), tokens)
        .await
        .context("the hub cannot serve the model")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_context_is_as_wide_as_the_widest_turn() {
        let plan = Plan {
            model: PathBuf::new(),
            worker: PathBuf::new(),
            streams: vec![1, 8],
            prompt_tokens: 512,
            tokens: 128,
            rounds: 1,
            threads: 1,
        };
        assert_eq!(plan.prompt_tokens_each(8), 64);
        assert_eq!(plan.prompt_tokens_each(64), PROMPT_TOKENS_MIN);
        assert_eq!(plan.cells(), 8 * (64 + 128 + CONTEXT_SLACK_TOKENS));
        assert_eq!(plan.streams_max(), 8);
    }
}
