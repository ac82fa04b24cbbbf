//! What the answers have in common: usage, timings, finish reasons and logprobs.

use serde::Serialize;
use serde_json::{Map, Value};
use worker_protocol::{Alternative, FinishReason, TokenLogprob};

use crate::{
    CachedBy,
    write::{Token, logprob, text},
};

/// Usage of a whole answer, added up over its choices.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct UsageTotal {
    choices_per_prompt: u32,
    prompt_tokens: u64,
    cached: CachedBy,
    completion_tokens: u64,
    reasoning_tokens: u64,
    drafted_tokens: u64,
    accepted_tokens: u64,
}

impl UsageTotal {
    /// `choices_per_prompt`: a prompt is paid for once, however many choices continue it.
    pub(super) fn new(choices_per_prompt: u32) -> Self {
        Self { choices_per_prompt, ..Self::default() }
    }

    /// A choice has ended. The choices of one prompt are neighbours.
    pub(super) fn add(&mut self, choice: u32, usage: &worker_protocol::Usage) {
        if choice.is_multiple_of(self.choices_per_prompt) {
            self.prompt_tokens += u64::from(usage.prompt_tokens);
            self.cached.add(&CachedBy::new(usage));
        }
        self.completion_tokens += u64::from(usage.completion_tokens);
        self.reasoning_tokens += u64::from(usage.reasoning_tokens);
        self.drafted_tokens += u64::from(usage.drafted_tokens);
        self.accepted_tokens += u64::from(usage.accepted_tokens);
    }

    pub(super) fn usage(&self) -> Usage {
        Usage {
            prompt_tokens: self.prompt_tokens,
            completion_tokens: self.completion_tokens,
            total_tokens: self.prompt_tokens + self.completion_tokens,
            prompt_tokens_details: PromptTokensDetails { cached_tokens: self.cached.tokens() },
            completion_tokens_details: self.details(),
        }
    }

    pub(super) fn cached(&self) -> CachedBy {
        self.cached
    }

    fn details(&self) -> Option<CompletionTokensDetails> {
        let was_guessed = self.drafted_tokens > 0;
        let rejected = self.drafted_tokens.saturating_sub(self.accepted_tokens);
        let details = CompletionTokensDetails {
            reasoning_tokens: (self.reasoning_tokens > 0).then_some(self.reasoning_tokens),
            accepted_prediction_tokens: was_guessed.then_some(self.accepted_tokens),
            rejected_prediction_tokens: was_guessed.then_some(rejected),
        };
        (was_guessed || self.reasoning_tokens > 0).then_some(details)
    }
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptTokensDetails,
    /// Only where something was thought or guessed ahead.
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens_details: Option<CompletionTokensDetails>,
}

/// Tokens that were thought, and those that were guessed ahead and checked. OpenAI bills the rejected ones;
/// here they are no part of `completion_tokens`.
#[derive(Debug, Clone, Copy, Serialize)]
struct CompletionTokensDetails {
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted_prediction_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected_prediction_tokens: Option<u64>,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct PromptTokensDetails {
    cached_tokens: u64,
}

/// OpenAI's word for the end of a text.
pub(super) fn finish_reason(reason: &FinishReason) -> &'static str {
    match reason {
        // Nobody reads the end of what was cancelled.
        FinishReason::End | FinishReason::StopString(_) | FinishReason::Cancelled => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
    }
}

/// Chat's form of logprobs.
#[derive(Debug, Serialize)]
pub(super) struct ChatLogprobs {
    content: Vec<Token>,
    refusal: Option<()>,
}

impl ChatLogprobs {
    pub(super) fn new<'t>(tokens: impl IntoIterator<Item = &'t TokenLogprob>) -> Self {
        let mut logprobs = Self { content: Vec::new(), refusal: None };
        logprobs.extend(tokens);
        logprobs
    }

    pub(super) fn extend<'t>(&mut self, tokens: impl IntoIterator<Item = &'t TokenLogprob>) {
        self.content.extend(tokens.into_iter().map(Token::chosen));
    }
}

/// The older form of logprobs, of raw completions: four lists of equal length.
#[derive(Debug, Default, Serialize)]
pub(super) struct CompletionLogprobs {
    tokens: Vec<String>,
    token_logprobs: Vec<f32>,
    top_logprobs: Vec<Map<String, Value>>,
    text_offset: Vec<usize>,
}

impl CompletionLogprobs {
    /// `offset_chars`: where in the choice's text the first of these tokens begins.
    pub(super) fn extend(&mut self, tokens: &[TokenLogprob], mut offset_chars: usize) {
        for token in tokens {
            let mut top = Map::new();
            // Tokens may share their text; the likelier keeps it.
            for alternative in token.top.iter().chain([&token.token]) {
                top.entry(name(alternative)).or_insert_with(|| logprob(alternative).into());
            }
            self.text_offset.push(offset_chars);
            offset_chars += text(&token.token).chars().count();
            self.tokens.push(name(&token.token));
            self.token_logprobs.push(logprob(&token.token));
            self.top_logprobs.push(top);
        }
    }
}

/// A token's text where it is text, else its bytes as OpenAI writes them (`bytes:\xe4`), since this form
/// of logprobs has no other place for them and lists alternatives by name.
fn name(token: &Alternative) -> String {
    let escaped = || token.bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
    str::from_utf8(&token.bytes).map_or_else(|_| format!("bytes:{}", escaped()), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_are_told_where_there_were_some() {
        let mut total = UsageTotal::new(1);
        let usage = worker_protocol::Usage { completion_tokens: 9, ..Default::default() };
        total.add(0, &usage);
        let without = serde_json::to_value(total.usage()).unwrap();
        assert_eq!(without.get("completion_tokens_details"), None);
        let guessed = worker_protocol::Usage { drafted_tokens: 7, accepted_tokens: 5, ..usage };
        total.add(1, &guessed);
        let with = serde_json::to_value(total.usage()).unwrap();
        let details = &with["completion_tokens_details"];
        assert_eq!(details["accepted_prediction_tokens"], 5);
        assert_eq!(details["rejected_prediction_tokens"], 2);
        assert_eq!(details.get("reasoning_tokens"), None);
        assert_eq!(with["completion_tokens"], 18, "what was rejected was not said");
        let thought = worker_protocol::Usage { reasoning_tokens: 3, ..usage };
        total.add(2, &thought);
        let with = serde_json::to_value(total.usage()).unwrap();
        assert_eq!(with["completion_tokens_details"]["reasoning_tokens"], 3);
        let timings = serde_json::to_value(crate::timings::Timings::new(&guessed)).unwrap();
        assert_eq!((&timings["draft_n"], &timings["draft_n_accepted"]), (&7.into(), &5.into()));
    }

    #[test]
    fn tokens_inside_a_character_are_told_apart_by_their_bytes() {
        let token = |id, bytes: &[u8], logprob| Alternative { id, bytes: bytes.to_vec(), logprob };
        let (first, second) = (token(1, &[0xe4, 0xbd], -0.5), token(2, &[0xe4, 0xb8], -0.75));
        let mut logprobs = CompletionLogprobs::default();
        let chosen = TokenLogprob { token: second.clone(), top: vec![first, second] };
        logprobs.extend(&[chosen], 3);
        let told = serde_json::to_value(&logprobs).unwrap();
        assert_eq!(told["tokens"][0], r"bytes:\xe4\xb8");
        assert_eq!(
            told["top_logprobs"][0],
            serde_json::json!({ r"bytes:\xe4\xbd": -0.5, r"bytes:\xe4\xb8": -0.75 })
        );
        assert_eq!(told["text_offset"][0], 3);
    }
}
