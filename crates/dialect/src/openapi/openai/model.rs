//! Lists of models, and what this hub has no models for.

use super::super::shape::{Shape, anything, count, either, fields, list, text, truth, word};
use super::super::{Operation, Words, shared};
use super::TAG;

pub(super) fn all() -> Operation {
    let summary = "Lists models, and behind them roles";
    Operation::get("/v1/models", Words::AsAsked, "models", summary)
        .tag(TAG)
        .about("With the header `anthropic-version` in Anthropic's form, which has all of them on one page.")
        .header("anthropic-version", FOR_ANTHROPIC, text())
        .answers(either([openai_list(), anthropic_list()]))
}

pub(super) fn one() -> Operation {
    Operation::get(
        "/v1/models/{id}",
        Words::AsAsked,
        "model",
        "Says what is known of a model or role",
    )
    .tag(TAG)
    .about("With the header `anthropic-version` in Anthropic's form.")
    .name_in_path("id", "Its name; a `/` in it may stay as it is.", text())
    .header("anthropic-version", FOR_ANTHROPIC, text())
    .answers(either([openai_model(), anthropic_model()]))
    .fails(&[404])
}

const FOR_ANTHROPIC: &str = "Sent by Anthropic's clients, who are answered in their own form.";

/// Clients that ask for it should hear why it is not here, and not that they are mistaken.
pub(super) fn moderations() -> Operation {
    Operation::post("/v1/moderations", Words::OpenAi, "moderate", "Refused: nothing here judges texts")
        .tag(TAG)
        .about("No model for it is served. Ask a chat model, and hold it to a schema with `response_format`.")
        .takes(fields("Whatever OpenAI takes.").at_times("input", "Left unread.", anything()).shape())
        .fails(&[404])
}

fn openai_list() -> Shape {
    fields("Models in OpenAI's form.")
        .has("object", "What kind of object this is.", word(&["list"]))
        .has("data", "Models, and behind them roles.", list(openai_model()))
        .named("ModelList")
}

fn openai_model() -> Shape {
    fields("A model or role in OpenAI's form.")
        .has("id", "The name that requests use.", text())
        .has("object", "What kind of object this is.", word(&["model"]))
        .has(
            "created",
            "When its file was last changed, in seconds since 1970; 0 where it has none.",
            count(),
        )
        .has("owned_by", "Whose it is.", word(&["resident"]))
        .named("Model")
}

fn anthropic_list() -> Shape {
    fields("Models in Anthropic's form.")
        .has("data", "Models, and behind them roles.", list(anthropic_model()))
        .has("has_more", "Always false.", truth())
        .has("first_id", "The first one's name.", text().or_null())
        .has("last_id", "The last one's name.", text().or_null())
        .named("AnthropicModelList")
}

fn anthropic_model() -> Shape {
    fields("A model or role in Anthropic's form.")
        .has("type", "What kind of object this is.", word(&["model"]))
        .has("id", "The name that requests use.", text())
        .has("display_name", "The same.", text())
        .has(
            "created_at",
            "When its file was last changed; 1970 where it has none.",
            shared::time(),
        )
        .named("AnthropicModel")
}
