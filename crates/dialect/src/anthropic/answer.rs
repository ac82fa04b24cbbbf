//! What answers have in common, whole and streamed: who speaks, why the text ended, and what it took.

use serde::Serialize;
use worker_protocol::{FinishReason, Finished};

use super::blocks::Block;

/// An answer; of a stream its beginning, which says nothing yet.
#[derive(Serialize)]
pub(super) struct Message<'a> {
    id: &'a str,
    r#type: &'static str,
    role: &'static str,
    model: &'a str,
    content: &'a [Block],
    #[serde(flatten)]
    ending: Ending<'a>,
    usage: Usage,
}

impl<'a> Message<'a> {
    pub(super) fn new(
        id: &'a str,
        model: &'a str,
        content: &'a [Block],
        ending: Ending<'a>,
        usage: Usage,
    ) -> Self {
        Self { id, r#type: "message", role: "assistant", model, content, ending, usage }
    }
}

/// Why the text ended; nothing as long as it goes on.
#[derive(Default, Serialize)]
pub(super) struct Ending<'a> {
    stop_reason: Option<&'static str>,
    stop_sequence: Option<&'a str>,
}

impl<'a> Ending<'a> {
    pub(super) fn new(reason: &'a FinishReason) -> Self {
        let (stop_reason, stop_sequence) = match reason {
            // Nobody reads the end of what was cancelled.
            FinishReason::End | FinishReason::Cancelled => ("end_turn", None),
            FinishReason::StopString(stop) => ("stop_sequence", Some(&**stop)),
            FinishReason::Length => ("max_tokens", None),
            FinishReason::ToolCalls => ("tool_use", None),
        };
        Self { stop_reason: Some(stop_reason), stop_sequence }
    }
}

/// Tokens of a request. All of the prompt are the sum of the first three.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Usage {
    /// Tokens of the prompt that had to be computed.
    input_tokens: u32,
    /// What Anthropic is paid for; here prompts are kept for nothing, and counted above.
    cache_creation_input_tokens: u32,
    /// Tokens of the prompt that were found in the cache.
    cache_read_input_tokens: u32,
    output_tokens: u32,
}

impl Usage {
    /// Before anything is said: of so many tokens of the prompt these were found.
    pub(super) fn begun(prompt_tokens: u32, cached_tokens: u32) -> Self {
        Self {
            input_tokens: prompt_tokens.saturating_sub(cached_tokens),
            cache_creation_input_tokens: 0,
            cache_read_input_tokens: cached_tokens,
            output_tokens: 0,
        }
    }

    pub(super) fn of(finished: &Finished) -> Self {
        let usage = &finished.usage;
        Self {
            output_tokens: usage.completion_tokens,
            ..Self::begun(usage.prompt_tokens, usage.cached_tokens)
        }
    }
}
