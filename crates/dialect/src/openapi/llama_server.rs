//! llama-server's own route.

use super::shape::{
    Shape, count, either, fields, integer, list_of, number, object, text, text_of, truth, word,
};
use super::{Operation, Words, error, shared};
use crate::limits::{RESPONSE_FIELDS_MAX, SHORT_VALUE_BYTES_MAX, SNIPPETS_MAX};

pub(super) fn operations() -> Vec<Operation> {
    vec![infill()]
}

fn infill() -> Operation {
    let told = object().about("Only the fields that `response_fields` names, by their paths.");
    let streamed = either([part(), answer(), told.clone(), error::openai()]);
    Operation::post("/infill", Words::OpenAi, "infill", "Writes what stands between two texts")
        .tag("llama-server")
        .about("Answered by models with tokens for it. As llama-server has it.")
        .takes(request())
        .answers(either([answer(), told]))
        .streams(streamed)
        .says_what_was_cached()
        .asks_a_model()
}

fn request() -> Shape {
    let snippet = fields("A part of another file.").has("text", "What is in it.", text()).may(
        "filename",
        "What it is called.",
        text_of(0..=SHORT_VALUE_BYTES_MAX),
    );
    fields("What is to be filled in.")
        .may(
            "model",
            "Name of a model or role; without one it is a model that can.",
            text_of(0..=SHORT_VALUE_BYTES_MAX),
        )
        .has("input_prefix", "What stands before.", text())
        .has("input_suffix", "What stands behind.", text())
        .may("prompt", "What of it is written already.", text())
        .may("input_extra", "Parts of other files.", list_of(snippet.shape(), 0..=SNIPPETS_MAX))
        .may(
            "n_predict",
            "Most tokens of the answer; -1 for no bound, 0 only computes the prompt.",
            integer(-1..=u32::MAX.into()),
        )
        .may("stream", "Whether the answer comes as server-sent events.", truth())
        .may("stop", "Where the text ends.", shared::stop())
        .may(
            "response_fields",
            "Only these fields of the answer, each a path such as `timings/prompt_n`.",
            list_of(text(), 0..=RESPONSE_FIELDS_MAX),
        )
        .with(shared::constraint)
        .with(shared::sampling)
        .with(shared::adapters)
        .with(shared::wish)
        .named("InfillRequest")
}

fn answer() -> Shape {
    let timings = shared::timing_fields("What it took.")
        .has("prompt_per_second", "Tokens of the prompt in a second.", number())
        .has("predicted_per_second", "Tokens of the answer in a second.", number());
    fields("What was filled in; the last event of a stream, without the text.")
        .has("index", "Always 0.", count())
        .has("content", "The text.", text())
        .has("model", "Who wrote it.", text())
        .has("stop", "True: nothing comes behind it.", truth())
        .has("stop_type", "Why it ended.", word(&["eos", "word", "limit", "none"]))
        .has("stopping_word", "The stop string that ended it.", text())
        .has("truncated", "Always false: a prompt that is too long is refused.", truth())
        .has("tokens_predicted", "Tokens of the answer.", count())
        .has("tokens_evaluated", "Tokens of the prompt.", count())
        .has("tokens_cached", "Tokens of the prompt that were found in the cache.", count())
        .has("timings", "What it took.", timings.shape())
        .named("InfillAnswer")
}

fn part() -> Shape {
    fields("A part of what is filled in.")
        .has("index", "Always 0.", count())
        .has("content", "The text.", text())
        .has("stop", "False: more comes.", truth())
        .named("InfillPart")
}
