//! Anthropic's routes. Its list of models is OpenAI's, in other words (`openai::model`).

use super::shape::{
    Fields, Shape, count, either, fields, integer, list, list_of, object, text, text_of, truth,
    word,
};
use super::{Operation, Words, error, shared};
use crate::limits::{MESSAGES_MAX, SHORT_VALUE_BYTES_MAX, TOOLS_MAX};

const TAG: &str = "Anthropic";

pub(super) fn operations() -> Vec<Operation> {
    vec![messages(), count_tokens()]
}

fn messages() -> Operation {
    Operation::post("/v1/messages", Words::Anthropic, "message", "Answers a conversation")
        .tag(TAG)
        .about("A stream is server-sent events with names, which are the types of their data.")
        .takes(request())
        .answers(message("An answer.", "AnthropicMessage"))
        .streams(event())
        .says_what_was_cached()
        .asks_a_model()
}

fn count_tokens() -> Operation {
    let answer = fields("How long a prompt is.").has("input_tokens", "Its tokens.", count());
    let summary = "Says how many tokens a prompt has";
    Operation::post("/v1/messages/count_tokens", Words::Anthropic, "count_tokens", summary)
        .tag(TAG)
        .about("The model is loaded for it.")
        .takes(
            conversation(
                "A conversation whose tokens are counted. What is not named here is ignored.",
            )
            .named("AnthropicCountRequest"),
        )
        .answers(answer.named("AnthropicCount"))
        .asks_a_model()
}

fn request() -> Shape {
    conversation("A conversation that is to be answered. What is not named here is ignored.")
        .has("max_tokens", "Most tokens of the answer.", integer(1..=u32::MAX.into()))
        .may("stream", "Whether the answer comes as server-sent events.", truth())
        .may("stop_sequences", "Where the text ends.", shared::stop())
        .may("output_format", "What a beta called `output_config.format`.", format())
        .with(shared::sampling)
        .named("AnthropicRequest")
}

/// What both requests have in common.
fn conversation(about: &str) -> Fields {
    let choice = fields("Whether.")
        .has("type", "Which.", word(&["auto", "any", "tool", "none"]))
        .may("name", "Of `tool`: which.", text())
        .may("disable_parallel_tool_use", "Whether there is one call at most.", truth());
    let thinking =
        fields("Whether.").has("type", "Which.", word(&["enabled", "adaptive", "disabled"]));
    let output = fields("How.")
        .may(
            "effort",
            "How much is thought, for templates that know it.",
            text_of(0..=SHORT_VALUE_BYTES_MAX),
        )
        .may(
            "format",
            "What the answer must look like; it is held to it while it is written.",
            format(),
        );
    fields(about)
        .with(shared::model)
        .has("messages", "The conversation.", list_of(turn(), 1..=MESSAGES_MAX))
        .may("system", "Instructions.", texts())
        .may("tools", "Tools that the model may call.", list_of(tool(), 0..=TOOLS_MAX))
        .may(
            "tool_choice",
            "Whether the model may, need not or must call tools, and which.",
            choice.shape(),
        )
        .may("thinking", "Whether the model thinks before it answers.", thinking.shape())
        .may("output_config", "How the answer is made.", output.shape())
        .with(shared::wish)
}

fn format() -> Shape {
    fields("A form of answers.")
        .has("type", "Which kind.", word(&["json_schema"]))
        .has("schema", "A JSON schema.", object())
        .named("AnthropicFormat")
}

fn turn() -> Shape {
    let block = either([said(), picture(), thought(), redacted(), call(), result()]);
    let block = block.named("AnthropicBlock");
    fields("What one side said.")
        .has("role", "Who.", word(&["user", "assistant", "system"]))
        .has("content", "What: a text, or blocks.", either([text(), list(block)]))
        .named("AnthropicTurn")
}

fn said() -> Shape {
    kind("Text.", "text").has("text", "What it says.", text()).named("AnthropicText")
}

fn picture() -> Shape {
    let source = fields("The picture itself.")
        .has("type", "How it is sent.", word(&["base64"]))
        .may("media_type", "Of which type the client takes it to be.", text())
        .has("data", "The file in base64.", text());
    kind("A picture, of the user or of a tool.", "image")
        .has("source", "The picture itself.", source.shape())
        .named("AnthropicPicture")
}

/// One text, or blocks that are all text.
fn texts() -> Shape {
    either([text(), list(said())])
}

fn thought() -> Shape {
    kind("What the assistant thought.", "thinking").has("thinking", "What it was.", text()).shape()
}

fn redacted() -> Shape {
    kind("A thought that only Anthropic can read; it is left out.", "redacted_thinking").shape()
}

fn call() -> Shape {
    kind("What the assistant called.", "tool_use")
        .has("id", "By which its result refers to it.", text_of(1..=SHORT_VALUE_BYTES_MAX))
        .has("name", "What is called.", text_of(1..=SHORT_VALUE_BYTES_MAX))
        .may("input", "Its input.", object())
        .shape()
}

fn result() -> Shape {
    kind("What a tool said.", "tool_result")
        .has("tool_use_id", "Which call this is the result of.", text_of(1..=SHORT_VALUE_BYTES_MAX))
        .may("content", "What it said.", either([text(), list(either([said(), picture()]))]))
        .may("is_error", "Whether it failed.", truth())
        .shape()
}

/// An object that says in its type what it is.
fn kind(about: &str, kind: &str) -> Fields {
    fields(about).has("type", "What kind of object this is.", word(&[kind]))
}

/// Those that Anthropic runs itself have a type and no schema, and are not offered to the model.
fn tool() -> Shape {
    fields("A tool. One without `input_schema` needs another `type`, and is left out.")
        .at_times("type", "`custom`, or one of Anthropic's own.", text().or_null())
        .at_times("name", "What it is called.", text().or_null())
        .at_times("description", "What it does, for the model.", text().or_null())
        .at_times("input_schema", "A JSON schema of its input.", object().or_null())
        .named("AnthropicTool")
}

/// A message; in a stream its beginning, which says nothing yet.
fn message(about: &str, name: &str) -> Shape {
    kind(about, "message")
        .has("id", "Its name.", text())
        .has("role", "Who.", word(&["assistant"]))
        .has("model", "The model that answers; of a role, the one that was chosen.", text())
        .has("content", "Thoughts, texts and calls, one after the other.", list(block()))
        .with(ending)
        .has("usage", "What it took.", usage())
        .named(name)
}

fn ending(fields: Fields) -> Fields {
    let reason = word(&["end_turn", "max_tokens", "stop_sequence", "tool_use"]);
    fields.has("stop_reason", "Why it ended; null as long as it goes on.", reason.or_null()).has(
        "stop_sequence",
        "The stop string that ended it.",
        text().or_null(),
    )
}

fn block() -> Shape {
    let said = kind("Text.", "text").has("text", "What it says.", text());
    let thought = kind("A thought.", "thinking").has("thinking", "What it is.", text()).has(
        "signature",
        "What clients send back with it.",
        text(),
    );
    let call = kind("A call of a tool.", "tool_use")
        .has("id", "By which its result refers to it.", text())
        .has("name", "What is called.", text())
        .has("input", "Its input.", object());
    either([said.shape(), thought.shape(), call.shape()]).named("AnthropicAnswerBlock")
}

fn usage() -> Shape {
    fields("Tokens. All of the prompt are the sum of the first three.")
        .has("input_tokens", "Tokens of the prompt that were computed.", count())
        .has("cache_creation_input_tokens", "Always 0: nothing is paid for here.", count())
        .has(
            "cache_read_input_tokens",
            "Tokens of the prompt that were found in the cache.",
            count(),
        )
        .has("output_tokens", "Tokens of the answer.", count())
        .named("AnthropicUsage")
}

fn event() -> Shape {
    let index = |about: &str, name: &str| kind(about, name).has("index", "Which block.", count());
    let start = kind("It begins.", "message_start").has(
        "message",
        "The message without its content.",
        message("An answer.", "AnthropicMessage"),
    );
    let block_start = index("A block begins.", "content_block_start").has(
        "content_block",
        "The block without its content.",
        block(),
    );
    let block_delta =
        index("A block grows.", "content_block_delta").has("delta", "By what.", delta());
    let block_stop = index("A block ends.", "content_block_stop");
    let ends = kind("How it ends.", "message_delta")
        .has("delta", "Why.", fields("Why it ended.").with(ending).shape())
        .has("usage", "What it took.", usage());
    let events = [start, block_start, block_delta, block_stop, ends]
        .into_iter()
        .chain([kind("It has ended.", "message_stop"), kind("It goes on.", "ping")]);
    either(events.map(Fields::shape).chain([error::anthropic()])).named("AnthropicEvent")
}

fn delta() -> Shape {
    let deltas = [
        ("text_delta", "text"),
        ("thinking_delta", "thinking"),
        ("signature_delta", "signature"),
        ("input_json_delta", "partial_json"),
    ];
    either(deltas.map(|(name, key)| kind("More.", name).has(key, "What is added.", text()).shape()))
}
