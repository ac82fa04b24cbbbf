//! What the hub adds to the worker's own time: for a request, and for a token of a stream.
//!
//! The worker reports how long a request waited, was read and was answered; the client's clock runs
//! from sending the request to the last byte of the answer. The difference is the way there and
//! back: HTTP, JSON, the hub's queue, two pipes, the switches between processes, and the measuring
//! client's own work. A tiny request has hardly anything else. Of a stream, the difference is
//! divided by its tokens, the cost of its request included.

use std::time::Instant;

use anyhow::ensure;
use serde::Serialize;

use super::{
    client::{Client, Completion},
    hub::{Hub, MODEL},
    limits::{LATENCY_REQUESTS, LATENCY_STREAM_TOKENS, LATENCY_STREAMS, LATENCY_TIME_MAX},
    statistic::{self, Spread},
    subject::Prompts,
};

/// What the hub adds, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Added {
    /// To a request with one token in and one out.
    pub(crate) request_ms: Spread,
    /// To each token of a short stream.
    pub(crate) token_ms: Spread,
}

/// Measures on a warm model.
///
/// # Errors
/// When a request fails.
pub(crate) async fn measure(hub: &Hub, prompts: &mut Prompts) -> anyhow::Result<Added> {
    let mut client = hub.client().await?;
    let requests_ms = sample(&mut client, prompts, LATENCY_REQUESTS, 1).await?;
    let tokens_ms = sample(&mut client, prompts, LATENCY_STREAMS, LATENCY_STREAM_TOKENS).await?;
    match (statistic::spread(&requests_ms), statistic::spread(&tokens_ms)) {
        (Some(request_ms), Some(token_ms)) => Ok(Added { request_ms, token_ms }),
        (None, _) | (_, None) => anyhow::bail!("no request was measured"),
    }
}

/// Milliseconds added per token of `count` answers with `tokens` tokens, one after the other.
async fn sample(
    client: &mut Client,
    prompts: &mut Prompts,
    count: usize,
    tokens: u32,
) -> anyhow::Result<Vec<f64>> {
    let begun = Instant::now();
    let mut samples = Vec::new();
    while samples.len() < count && (samples.is_empty() || begun.elapsed() < LATENCY_TIME_MAX) {
        let prompt = prompts.take(1, 1).concat();
        let answer = client.complete(&Completion::new(MODEL, prompt, tokens)).await?;
        ensure!(answer.tokens == tokens, "{} tokens instead of {tokens}", answer.tokens);
        samples.push(answer.added_seconds() * 1000.0 / f64::from(tokens));
    }
    Ok(samples)
}
