//! Chat: the request, and the answer whole and streamed.

use super::super::shape::{
    Fields, Shape, count, either, fields, integer, list, list_of, object, text, truth, word,
};
use super::super::{Operation, Words, error, shared};
use super::TAG;
use crate::limits::{CHOICES_PER_PROMPT_MAX, DOCUMENTS_MAX, LOGPROBS_MAX, MESSAGES_MAX, TOOLS_MAX};

pub(super) fn operation() -> Operation {
    Operation::post("/v1/chat/completions", Words::OpenAi, "chat", "Answers a conversation")
        .tag(TAG)
        .about("A stream is server-sent events, each with a chunk; `[DONE]` is the last.")
        .takes(request())
        .answers(whole())
        .streams_until_done(either([chunk(), error::openai()]))
        .says_what_was_cached()
        .asks_a_model()
}

fn request() -> Shape {
    fields("A conversation that is to be answered. What is not named here is ignored.")
        .with(shared::model)
        .has("messages", "The conversation.", list_of(message(), 1..=MESSAGES_MAX))
        .with(streaming)
        .with(shared::tools)
        .may(
            "tool_choice",
            "Whether the model may, need not or must call tools, and which.",
            either([word(&["auto", "none", "required", "any"]), object()]),
        )
        .may("parallel_tool_calls", "Whether there may be several calls.", truth())
        .may(
            "max_completion_tokens",
            "Most tokens of the answer; -1 for no bound.",
            shared::tokens_max(),
        )
        .may("max_tokens", "The same, as it was called before.", shared::tokens_max())
        .may("logprobs", "Whether log-probabilities of the tokens are told.", truth())
        .may(
            "top_logprobs",
            "How many alternatives to each token; needs `logprobs`.",
            integer(0..=LOGPROBS_MAX.into()),
        )
        .may("stop", "Where the text ends.", shared::stop())
        .may("reasoning_effort", "How much is thought, for templates that know it.", text())
        .may("chat_template_kwargs", "Variables of the chat template.", object())
        .may(
            "documents",
            "Documents, for templates that know them.",
            list_of(either([text(), object()]), 0..=DOCUMENTS_MAX),
        )
        .may("modalities", "What the answer is made of.", list(word(&["text"])))
        .with(shared::constraint)
        .with(shared::sampling)
        .with(shared::adapters)
        .with(shared::wish)
        .named("ChatRequest")
}

/// Whether and how an answer is streamed, and how many there are.
pub(super) fn streaming(request: Fields) -> Fields {
    let options = fields("What a stream holds beside the text.")
        .may("include_usage", "Whether a last chunk holds the usage.", truth())
        .may(
            "include_progress",
            "Whether the stream tells as reasoning how far the model is loaded.",
            truth(),
        );
    request
        .may("stream", "Whether the answer comes as server-sent events.", truth())
        .may("stream_options", "What a stream holds beside the text.", options.shape())
        .may("n", "Answers to each prompt.", integer(1..=CHOICES_PER_PROMPT_MAX.into()))
}

fn message() -> Shape {
    let role = word(&["system", "developer", "user", "assistant", "tool", "function"]);
    fields("What one side said.")
        .has("role", "Who.", role)
        .may(
            "content",
            "What; only the assistant and tools may have said nothing.",
            either([text(), list(part())]),
        )
        .may("reasoning_content", "What the assistant thought before.", text())
        .may("reasoning", "The same, as others call it.", text())
        .may("tool_calls", "What the assistant called.", list_of(tool_call(), 0..=TOOLS_MAX))
        .may("tool_call_id", "Which call this is the result of.", text())
        .may("name", "Which tool's result this is.", text())
        .named("ChatMessage")
}

fn part() -> Shape {
    let said = fields("Text.")
        .has("type", "Which kind.", word(&["text", "input_text", "output_text"]))
        .has("text", "What it says.", text());
    let refusal = fields("What the assistant refused.")
        .has("type", "Which kind.", word(&["refusal"]))
        .has("refusal", "What it said.", text());
    let url = fields("A picture.").has("url", "`data:image/png;base64,…`.", text());
    let picture = fields("A picture, of the user or of a tool.")
        .has("type", "Which kind.", word(&["image_url", "input_image"]))
        .has("image_url", "The picture itself.", either([text(), url.shape()]));
    let sound = fields("A sound.").has("data", "The file in base64.", text()).may(
        "format",
        "Which kind of file.",
        word(&["wav", "mp3", "flac"]),
    );
    let sound = fields("A sound, of the user or of a tool.")
        .has("type", "Which kind.", word(&["input_audio"]))
        .has("input_audio", "The sound itself.", sound.shape());
    either([text(), said.shape(), refusal.shape(), picture.shape(), sound.shape()])
        .named("ChatPart")
}

fn tool_call() -> Shape {
    let function = fields("The function.").has("name", "What it is called.", text()).may(
        "arguments",
        "Its arguments: a JSON object, as a text or as it is.",
        either([text(), object()]),
    );
    fields("A call of a tool.")
        .may("id", "By which its result refers to it.", text())
        .has("function", "What is called.", function.shape())
        .named("ChatToolCall")
}

fn whole() -> Shape {
    let choice = fields("One answer.")
        .has("index", "Its place.", count())
        .has("message", "What was said.", said())
        .has(
            "logprobs",
            "Log-probabilities, where they were asked for.",
            shared::chat_logprobs().or_null(),
        )
        .with(ended);
    head("An answer.", "chat.completion")
        .has("choices", "One for each that was asked for.", list(choice.shape()))
        .with(took)
        .named("ChatAnswer")
}

fn said() -> Shape {
    let call = fields("A call of a tool.")
        .has("id", "By which its result refers to it.", text())
        .has("type", "Which kind.", word(&["function"]))
        .has("function", "What is called.", {
            fields("The function.")
                .has("name", "What it is called.", text())
                .has("arguments", "Its arguments: JSON in a text.", text())
                .shape()
        });
    fields("What was said.")
        .has("role", "Who.", word(&["assistant"]))
        .has("content", "The text; null where it only calls.", text().or_null())
        .has("refusal", "Always null.", text().or_null())
        .at_times("reasoning_content", "What was thought before.", text())
        .at_times("reasoning", "The same, as others call it.", text())
        .at_times("tool_calls", "What is called.", list(call.shape()))
        .shape()
}

fn chunk() -> Shape {
    let choice = fields("What is added to one answer.")
        .has("index", "Which.", count())
        .has("delta", "What is added.", delta())
        .has(
            "logprobs",
            "Log-probabilities, where they were asked for.",
            shared::chat_logprobs().or_null(),
        )
        .with(may_have_ended);
    head("A part of an answer.", "chat.completion.chunk")
        .has("choices", "None in the chunk that holds the usage.", list(choice.shape()))
        .with(took_at_last)
        .named("ChatChunk")
}

fn delta() -> Shape {
    let call = fields("A part of a call.")
        .has("index", "Which call.", count())
        .at_times("id", "With its first part.", text())
        .at_times("type", "With its first part.", word(&["function"]))
        .has("function", "What is called.", {
            fields("The function.")
                .at_times("name", "With its first part.", text())
                .has("arguments", "More of its arguments.", text())
                .shape()
        });
    fields("What is added.")
        .at_times("role", "With the first part.", word(&["assistant"]))
        .at_times("content", "More text.", text())
        .at_times("reasoning_content", "More of what is thought.", text())
        .at_times("reasoning", "The same, as others call it.", text())
        .at_times("tool_calls", "More of a call.", list(call.shape()))
        .shape()
}

/// What every answer and chunk begins with.
pub(super) fn head(about: &str, object: &str) -> Fields {
    fields(about)
        .has("id", "Its name.", text())
        .has("object", "What kind of object this is.", word(&[object]))
        .has("created", "When, in seconds since 1970.", count())
        .has("model", "The model that answers; of a role, the one that was chosen.", text())
}

/// What every answer ends with.
pub(super) fn took(answer: Fields) -> Fields {
    answer.has("usage", "What it took.", shared::usage()).at_times(
        "timings",
        "What it took in time, of a single choice.",
        shared::timings(),
    )
}

/// What every chunk ends with.
pub(super) fn took_at_last(chunk: Fields) -> Fields {
    chunk
        .at_times(
            "usage",
            "With `include_usage`: null until the last chunk.",
            shared::usage().or_null(),
        )
        .at_times(
            "timings",
            "What it took in time, with the end of each choice.",
            shared::timings(),
        )
}

/// What every choice of an answer ends with.
pub(super) fn ended(choice: Fields) -> Fields {
    choice.has("finish_reason", "Why it ended.", finish_reason())
}

/// What every choice of a chunk ends with.
pub(super) fn may_have_ended(choice: Fields) -> Fields {
    choice.has(
        "finish_reason",
        "Why it ended; null as long as it goes on.",
        finish_reason().or_null(),
    )
}

fn finish_reason() -> Shape {
    word(&["stop", "length", "tool_calls"])
}
