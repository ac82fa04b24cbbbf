//! What an answer took, in llama.cpp's words: an extension that OpenAI's clients ignore.

use serde::Serialize;

use crate::CachedBy;

/// What an answer took.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Timings {
    cache_n: u32,
    /// Our own word, where there is something to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_by: Option<CachedBy>,
    prompt_n: u32,
    prompt_ms: f64,
    predicted_n: u32,
    predicted_ms: f64,
    queue_ms: f64,
    /// Guessed ahead, and of those accepted; only where something was.
    #[serde(skip_serializing_if = "Option::is_none")]
    draft_n: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    draft_n_accepted: Option<u32>,
}

impl Timings {
    pub(crate) fn new(usage: &worker_protocol::Usage) -> Self {
        Self {
            cache_n: usage.cached_tokens,
            cached_by: (usage.cached_tokens > 0).then(|| CachedBy::new(usage)),
            prompt_n: usage.prompt_tokens.saturating_sub(usage.cached_tokens),
            prompt_ms: milliseconds(usage.prefill_us),
            predicted_n: usage.completion_tokens,
            predicted_ms: milliseconds(usage.decode_us),
            queue_ms: milliseconds(usage.queue_us),
            draft_n: (usage.drafted_tokens > 0).then_some(usage.drafted_tokens),
            draft_n_accepted: (usage.drafted_tokens > 0).then_some(usage.accepted_tokens),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "2^53 microseconds are 285 years")]
fn milliseconds(us: u64) -> f64 {
    us as f64 / 1000.0
}
