//! Responses: the request, answers whole and streamed, and those that are kept.

use super::super::shape::{
    Shape, anything, count, either, fields, integer, list, list_of, object, text, truth, word,
};
use super::super::{Operation, Words, shared};
use super::TAG;
use crate::limits::{INCLUDES_MAX, INPUT_ITEMS_MAX, LOGPROBS_MAX, MESSAGES_MAX, TOOLS_MAX};

pub(super) fn operations() -> [Operation; 5] {
    let id = || text();
    [
        Operation::post("/v1/responses", Words::OpenAi, "respond", "Answers a conversation of items")
            .tag(TAG)
            .about(
                "A stream is server-sent events with names and numbers; the last one holds the whole answer. \
                 Answers are kept in memory unless `store` is false.",
            )
            .takes(request())
            .answers(response())
            .streams(event())
            .says_what_was_cached()
            .fails(&[404])
            .asks_a_model(),
        Operation::post(
            "/v1/responses/input_tokens",
            Words::OpenAi,
            "count_response",
            "Counts the tokens of such a request",
        )
        .tag(TAG)
        .takes(request())
        .answers(counted())
        .asks_a_model(),
        Operation::get("/v1/responses/{id}", Words::OpenAi, "response", "An answer that is kept")
            .tag(TAG)
            .name_in_path("id", "The answer's id.", id())
            .answers(response())
            .fails(&[404]),
        Operation::get(
            "/v1/responses/{id}/input_items",
            Words::OpenAi,
            "response_input",
            "What an answer answers, a page of it",
        )
        .tag(TAG)
        .name_in_path("id", "The answer's id.", id())
        .may_query("limit", "Items of the page, 20 unless it is said.", {
            integer(1..=i64::try_from(INPUT_ITEMS_MAX).unwrap_or(i64::MAX))
        })
        .may_query("order", "`desc`, the newest first, unless it is said.", word(&["asc", "desc"]))
        .may_query("after", "The id of the item behind which the page begins.", text())
        .answers(input_items())
        .fails(&[400, 404]),
        Operation::delete("/v1/responses/{id}", Words::OpenAi, "forget_response", "Forgets an answer")
            .tag(TAG)
            .name_in_path("id", "The answer's id.", id())
            .answers(forgotten())
            .fails(&[404]),
    ]
}

fn request() -> Shape {
    fields("A conversation that is to be answered. What is not named here is ignored.")
        .with(shared::model)
        .may(
            "input",
            "A text of the user, or items.",
            either([text(), list_of(item(), 0..=MESSAGES_MAX)]),
        )
        .may("instructions", "What stands in front of it.", text())
        .may("previous_response_id", "The answer that this goes on from.", text())
        .may("stream", "Whether the answer comes as server-sent events.", truth())
        .may("store", "Whether it is kept, in memory.", truth())
        .may("tools", "Tools that the model may call; what OpenAI runs itself is not offered.", {
            list_of(tool(), 0..=TOOLS_MAX)
        })
        .may("tool_choice", "Whether the model may, need not or must call tools, and which.", {
            either([word(&["auto", "none", "required", "any"]), object()])
        })
        .may("parallel_tool_calls", "Whether there may be several calls.", truth())
        .may("text", "What the answer must look like, in `format`.", object())
        .may("reasoning", "How much is thought, and whether it is told as a summary.", object())
        .may(
            "max_output_tokens",
            "Most tokens of the answer; -1 for no bound.",
            shared::tokens_max(),
        )
        .may(
            "top_logprobs",
            "How many alternatives to each token.",
            integer(0..=LOGPROBS_MAX.into()),
        )
        .may("include", "What the answer should hold besides.", list_of(text(), 0..=INCLUDES_MAX))
        .may(
            "truncation",
            "Whether a conversation longer than the context loses its oldest turns; else it is refused.",
            word(&["auto", "disabled"]),
        )
        .may("metadata", "Is repeated in the answer.", object())
        .may("stop", "Where the text ends.", shared::stop())
        .with(shared::sampling)
        .with(shared::wish)
        .named("ResponsesRequest")
}

/// Items are of so many kinds that only what all have in common is described.
fn item() -> Shape {
    fields("An item: a message, a call of a tool, its result, or reasoning.")
        .may("type", "Which kind; a message where it has a `role`.", text())
        .shape()
}

fn tool() -> Shape {
    fields("A tool.")
        .has("type", "`function`, `custom`, `namespace`, or what OpenAI runs itself.", text())
        .shape()
}

fn response() -> Shape {
    let reason = fields("Why it is cut.").has("reason", "Which.", text());
    let error = fields("Why it failed.").has("code", "A class.", text()).has(
        "message",
        "What to do.",
        text(),
    );
    fields("An answer. What the request said is repeated in it.")
        .has("id", "Its name.", text())
        .has("object", "What kind of object this is.", word(&["response"]))
        .has("created_at", "When, in seconds since 1970.", count())
        .at_times("completed_at", "When it ended.", count().or_null())
        .has(
            "status",
            "How far it is.",
            word(&["in_progress", "completed", "incomplete", "failed"]),
        )
        .has("background", "Always false.", truth())
        .has("error", "Why it failed.", error.shape().or_null())
        .has("incomplete_details", "Why it is cut.", reason.shape().or_null())
        .has("model", "The model that answers; of a role, the one that was chosen.", text())
        .has("output", "What was thought, said and called.", list(output_item()))
        .has("usage", "What it took; null until it has ended.", usage().or_null())
        .at_times("timings", "What it took in time.", shared::timings())
        .with(|mut response| {
            for key in REPEATED {
                response = response.has(key, "As the request said it.", anything());
            }
            response
        })
        .named("Response")
}

/// What an answer repeats of its request.
const REPEATED: [&str; 19] = [
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt_cache_key",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "temperature",
    "text",
    "tool_choice",
    "top_logprobs",
    "top_p",
    "user",
    "truncation",
    "tools",
];

fn output_item() -> Shape {
    fields("An item of the answer.")
        .has(
            "type",
            "Which kind.",
            word(&["message", "reasoning", "function_call", "custom_tool_call"]),
        )
        .has("id", "Its name.", text())
        .has("status", "How far it is.", word(&["in_progress", "completed", "incomplete"]))
        .at_times("role", "Of a message.", word(&["assistant"]))
        .at_times("content", "Of a message or of reasoning.", list(output_part()))
        .at_times("summary", "Of reasoning, where a summary was asked for.", list(output_part()))
        .at_times(
            "encrypted_content",
            "Of reasoning: a form that its client sends back.",
            text().or_null(),
        )
        .at_times("call_id", "Of a call: by which its result refers to it.", text())
        .at_times("namespace", "Of a call: where its tool is from.", text())
        .at_times("name", "Of a call: its tool.", text())
        .at_times("arguments", "Of a call of a function: JSON in a text.", text())
        .at_times("input", "Of a call of a tool of free text.", text())
        .named("ResponseItem")
}

fn output_part() -> Shape {
    fields("A part of what is said or thought.")
        .has("type", "Which kind.", word(&["output_text", "reasoning_text", "summary_text"]))
        .has("text", "What it says.", text())
        .at_times("annotations", "Always empty.", list(anything()))
        .at_times("logprobs", "Of a text, where they were asked for.", list(shared::token()))
        .named("ResponsePart")
}

fn usage() -> Shape {
    let input = fields("Of the prompt.").has("cached_tokens", "Found in the cache.", count());
    let output =
        fields("Of the answer.").has("reasoning_tokens", "Thought before the answer.", count());
    fields("Tokens.")
        .has("input_tokens", "Of the prompt, cached ones too.", count())
        .has("input_tokens_details", "More about the prompt.", input.shape())
        .has("output_tokens", "Of the answer.", count())
        .has("output_tokens_details", "More about the answer.", output.shape())
        .has("total_tokens", "Both.", count())
        .shape()
}

fn event() -> Shape {
    fields("An event of a stream.")
        .has("type", "Which, such as `response.output_text.delta`.", text())
        .has("sequence_number", "Its number, from 0.", count())
        .at_times("response", "Of those that tell of the whole answer.", response())
        .at_times("output_index", "Which item.", count())
        .at_times("item_id", "The item's name.", text())
        .at_times("item", "The item that begins or ends.", output_item())
        .at_times("content_index", "Which part of the item.", count())
        .at_times("summary_index", "Which part of the summary.", count())
        .at_times("part", "The part that begins or ends.", output_part())
        .at_times("delta", "What is added.", text())
        .at_times("text", "All of the text.", text())
        .at_times("logprobs", "Of what is added.", list(shared::token()))
        .at_times("name", "The tool that was called.", text())
        .at_times("arguments", "All of the arguments.", text())
        .at_times("input", "All of the input.", text())
        .named("ResponseEvent")
}

fn counted() -> Shape {
    fields("How many tokens a request is.")
        .has("object", "What kind of object this is.", word(&["response.input_tokens"]))
        .has("input_tokens", "So many.", count())
        .named("ResponseTokens")
}

/// Items of an input are shown as they came, with a type and an id.
fn input_items() -> Shape {
    let item = fields("An item, as it was sent.")
        .has("type", "Which kind.", text())
        .has("id", "Its name.", text())
        .at_times("content", "Of a message: what it says.", anything());
    fields("Items of an input.")
        .has("object", "What kind of object this is.", word(&["list"]))
        .has("data", "The items.", list(item.named("ResponseInputItem")))
        .has("first_id", "The first one's name; null where there are none.", text().or_null())
        .has("last_id", "The last one's name; null where there are none.", text().or_null())
        .has("has_more", "Whether more come behind them.", truth())
        .named("ResponseInput")
}

fn forgotten() -> Shape {
    fields("An answer that is gone.")
        .has("id", "Its name.", text())
        .has("object", "What kind of object this was.", text())
        .has("deleted", "Always true.", truth())
        .named("ResponseDeleted")
}
