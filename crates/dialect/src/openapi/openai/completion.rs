//! Raw completions: the request, and the answer whole and streamed.

use super::super::shape::{
    Fields, Shape, count, either, fields, integer, list, map, number, text, truth,
};
use super::super::{Operation, Words, error, shared};
use super::TAG;
use super::chat::{ended, head, may_have_ended, streaming, took, took_at_last};
use crate::limits::{CHOICES_MAX, COMPLETION_TOKENS_DEFAULT, LOGPROBS_MAX};

pub(super) fn operation() -> Operation {
    Operation::post("/v1/completions", Words::OpenAi, "complete", "Continues raw text")
        .tag(TAG)
        .about("A stream is server-sent events, each with a chunk; `[DONE]` is the last.")
        .takes(request())
        .answers(whole())
        .streams_until_done(either([chunk(), error::openai()]))
        .says_what_was_cached()
        .asks_a_model()
}

fn request() -> Shape {
    let length = format!(
        "Most tokens of each text, {COMPLETION_TOKENS_DEFAULT} unless it is said; -1 for no bound."
    );
    fields("Text that is to be continued. What is not named here is ignored.")
        .with(shared::model)
        .has(
            "prompt",
            "What is continued: one text or several, or their token ids.",
            shared::texts(CHOICES_MAX),
        )
        .may("suffix", "What stands behind; the model then fills in what is between.", text())
        .with(streaming)
        .may("max_tokens", &length, shared::tokens_max())
        .may("echo", "Whether each text begins with its prompt.", truth())
        .may("logprobs", "How many alternatives to each token.", integer(0..=LOGPROBS_MAX.into()))
        .may("best_of", "At most `n`, which is the same as leaving it out.", integer(0..=i64::MAX))
        .may("stop", "Where the text ends.", shared::stop())
        .with(shared::constraint)
        .with(shared::sampling)
        .with(shared::adapters)
        .with(shared::wish)
        .named("CompletionRequest")
}

fn whole() -> Shape {
    let choice = choice("One text.").with(ended);
    head("Texts.", "text_completion")
        .has(
            "choices",
            "Those of the first prompt, then of the second, and so on.",
            list(choice.shape()),
        )
        .with(took)
        .named("CompletionAnswer")
}

fn chunk() -> Shape {
    let choice = choice("What is added to one text.").with(may_have_ended);
    head("A part of texts.", "text_completion")
        .has("choices", "None in the chunk that holds the usage.", list(choice.shape()))
        .with(took_at_last)
        .named("CompletionChunk")
}

fn choice(about: &str) -> Fields {
    let alternatives = map(number(), LOGPROBS_MAX as usize + 1);
    let logprobs = fields("Log-probabilities in lists of equal length.")
        .has("tokens", "Texts of the tokens, or their bytes as `bytes:\\xe4`.", list(text()))
        .has("token_logprobs", "Log-probabilities of the tokens.", list(number()))
        .has("top_logprobs", "Alternatives to each, and itself.", list(alternatives))
        .has("text_offset", "Where each begins in the text, in characters.", list(count()));
    fields(about).has("text", "The text.", text()).has("index", "Its place.", count()).has(
        "logprobs",
        "Where they were asked for.",
        logprobs.named("CompletionLogprobs").or_null(),
    )
}
