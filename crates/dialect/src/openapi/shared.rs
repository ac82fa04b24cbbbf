//! What several routes read or answer in the same form.

use worker_protocol::limits::{ADAPTER_SCALE_MAX, ADAPTERS_MAX};

use super::shape::{
    Fields, Shape, count, either, fields, integer, list, list_of, map, number, number_in, object,
    text, text_like, text_of, truth, whole, word,
};
use crate::limits::{
    DIMENSIONS_MAX, DRY_BREAKER_BYTES_MAX, DRY_BREAKERS_MAX, KNOWLEDGE_MAX, LOGIT_BIAS_MAX,
    MODEL_NAME_BYTES_MAX, SHORT_VALUE_BYTES_MAX, STOP_BYTES_MAX, STOP_STRINGS_MAX, TOOLS_MAX,
};

// What is read.

/// The name of a model, or of a role.
pub(super) fn model(fields: Fields) -> Fields {
    fields.has("model", MODEL, text_of(1..=MODEL_NAME_BYTES_MAX))
}

/// The same where the hub chooses if none is named.
pub(super) fn model_if_named(fields: Fields) -> Fields {
    fields.may("model", MODEL, text_of(1..=MODEL_NAME_BYTES_MAX))
}

const MODEL: &str = "Name of a model, or of a role such as `auto`; `GET /v1/models` lists them.";

/// What a request wishes beside its answer.
pub(super) fn wish(fields: Fields) -> Fields {
    fields
        .may(
            "keep_alive",
            "How long the model stays unused after this request: a time such as `10m` or `1h30m`, a number of \
             seconds, 0 to unload at once, or -1 for ever.",
            either([number(), text_of(0..=SHORT_VALUE_BYTES_MAX)]),
        )
        .may(
            "service_tier",
            "`flex` lets others go first; the rest makes no difference.",
            word(&["auto", "default", "flex", "scale", "priority", "standard_only"]),
        )
        .may(
            "priority",
            "`background` lets requests that somebody waits for go first.",
            word(&["interactive", "background"]),
        )
        .may(
            "knowledge",
            "Collections of files that are to answer, as in `/api/knowledge`.",
            either([
                text_of(0..=SHORT_VALUE_BYTES_MAX),
                list_of(text_of(0..=SHORT_VALUE_BYTES_MAX), 0..=KNOWLEDGE_MAX),
            ]),
        )
}

/// How strongly the model's adapters act.
pub(super) fn adapters(fields: Fields) -> Fields {
    let most = f64::from(ADAPTER_SCALE_MAX);
    let adapter = self::fields("A LoRA adapter.")
        .has(
            "id",
            "Which one of the model's: its place, counted from 0, or its name.",
            either([integer(0..=u32::MAX.into()), text_of(0..=SHORT_VALUE_BYTES_MAX)]),
        )
        .has("scale", "How strongly it acts; 1 as it was trained.", number_in(-most..=most))
        .named("AdapterScale");
    fields.may(
        "lora",
        "How strongly adapters that the model was configured with act in this request. One that is not \
         listed does not; without the list all act as they are configured.",
        list_of(adapter, 0..=ADAPTERS_MAX),
    )
}

/// How tokens are chosen.
pub(super) fn sampling(fields: Fields) -> Fields {
    let breaker = text_of(1..=DRY_BREAKER_BYTES_MAX);
    let last = || integer(-1..=i32::MAX.into());
    fields
        .may(
            "temperature",
            "How freely tokens are drawn; 0 takes the likeliest.",
            number_in(0.0..=10.0),
        )
        .may(
            "top_k",
            "Only from so many likeliest tokens; 0 or -1: from all.",
            integer(-1..=i32::MAX.into()),
        )
        .may("top_p", "Only from the likeliest tokens of this share together.", probability())
        .may(
            "min_p",
            "Only from tokens at least this share as likely as the likeliest.",
            probability(),
        )
        .may("typical_p", "Only from tokens about as likely as is usual.", probability())
        .may(
            "repeat_penalty",
            "By how much repeated tokens are made less likely; 1 is off.",
            penalty(),
        )
        .may("repetition_penalty", "The same, as vLLM calls it.", penalty())
        .may("repeat_last_n", "How many last tokens that looks at; -1: all.", last())
        .may("presence_penalty", "Subtracted from tokens that occurred.", number_in(-2.0..=2.0))
        .may("frequency_penalty", "The same for each time they occurred.", number_in(-2.0..=2.0))
        .may(
            "dry_multiplier",
            "Strength of the DRY sampler, against repeated passages; 0 is off.",
            number_in(0.0..=100.0),
        )
        .may("dry_base", "How its penalty grows with length.", number_in(1.0..=10.0))
        .may("dry_allowed_length", "Tokens that may repeat for nothing.", integer(0..=1024))
        .may("dry_penalty_last_n", "How many last tokens it looks at; -1: all.", last())
        .may(
            "dry_sequence_breakers",
            "What no passage goes across.",
            list_of(breaker, 0..=DRY_BREAKERS_MAX),
        )
        .may(
            "xtc_probability",
            "How often the likeliest tokens are left out; 0 is off.",
            probability(),
        )
        .may("xtc_threshold", "How likely a token must be for that.", probability())
        .may("mirostat", "1 and 2 are the versions of Mirostat, 0 is off.", integer(0..=2))
        .may("mirostat_tau", "The surprise that it aims at.", number_in(0.0..=100.0))
        .may("mirostat_eta", "How quickly it learns.", probability())
        .may(
            "logit_bias",
            "Added to the logits of tokens: an object of token ids and numbers.",
            map(number_in(-100.0..=100.0), LOGIT_BIAS_MAX),
        )
        .may(
            "seed",
            "Where chance begins: the same seed gives the same text on the same machine.",
            whole(),
        )
}

fn probability() -> Shape {
    number_in(0.0..=1.0)
}

fn penalty() -> Shape {
    number_in(0.1..=10.0)
}

/// Stop strings, one or several.
pub(super) fn stop() -> Shape {
    let one = || text_of(0..=STOP_BYTES_MAX);
    either([one(), list_of(one(), 0..=STOP_STRINGS_MAX)])
}

/// A bound on generated tokens; -1 for none.
pub(super) fn tokens_max() -> Shape {
    either([integer(-1..=-1), integer(1..=u32::MAX.into())])
}

/// What an answer must look like, as OpenAI's and llama.cpp's clients say it.
pub(super) fn constraint(fields: Fields) -> Fields {
    fields
        .may(
            "response_format",
            "What the answer must look like; it is held to it while it is written.",
            response_format(),
        )
        .may(
            "json_schema",
            "A JSON schema for the answer, as llama.cpp's clients say it.",
            object(),
        )
        .may(
            "grammar",
            "A grammar in Lark, where the hub's configuration has `raw_grammars`.",
            text(),
        )
        .may("ignore_eos", "Whether the text goes on behind its end.", truth())
}

fn response_format() -> Shape {
    let plain = fields("Whatever the model says.").has("type", "Which form.", word(&["text"]));
    let json = fields("Any JSON object, or one of a schema as llama.cpp's clients say it.")
        .has("type", "Which form.", word(&["json_object"]))
        .may("schema", "A JSON schema.", object());
    let wrapped = fields("A schema with what people call it.")
        .has("schema", "A JSON schema.", object())
        .may("name", "For people.", text())
        .may("description", "For people.", text())
        .may("strict", "It is enforced in any case.", truth());
    let schema = fields("JSON of a schema.")
        .has("type", "Which form.", word(&["json_schema"]))
        .has("json_schema", "The schema.", wrapped.shape());
    either([plain.shape(), json.shape(), schema.shape()]).named("ResponseFormat")
}

/// Tools that a model may call, in the form that OpenAI and Ollama share.
pub(super) fn tools(fields: Fields) -> Fields {
    fields.may("tools", "Tools that the model may call.", list_of(tool(), 0..=TOOLS_MAX))
}

fn tool() -> Shape {
    let function = fields("A function.")
        .has("name", "What it is called.", text())
        .at_times("description", "What it does, for the model.", text().or_null())
        .at_times("parameters", "A JSON schema of its arguments.", object().or_null());
    fields("A tool.")
        .has("type", "Which kind.", word(&["function"]))
        .has("function", "The function.", function.shape())
        .named("Tool")
}

/// A text, a list of texts, a list of token ids, or a list of lists of token ids.
pub(super) fn texts(texts_max: usize) -> Shape {
    let tokens = || list_of(integer(0..=i32::MAX.into()), 1..=usize::MAX);
    either([text(), list_of(either([text(), tokens()]), 1..=texts_max), tokens()])
}

/// The width that vectors are cut to.
pub(super) fn dimensions(least: i64) -> Shape {
    integer(least..=DIMENSIONS_MAX.into())
}

// What is answered.

/// A token with its alternatives.
pub(super) fn token() -> Shape {
    let alternative =
        token_fields("A token that could have been chosen.").named("TokenAlternative");
    token_fields("A token that was chosen.")
        .has("top_logprobs", "The likeliest tokens in its place.", list(alternative))
        .named("Token")
}

fn token_fields(about: &str) -> Fields {
    fields(about)
        .has("token", "Its text; what is no whole character is replaced.", text())
        .has("logprob", "Its log-probability; -9999 is as good as never.", number())
        .has("bytes", "Its bytes.", list(integer(0..=255)))
        .has("id", "Its number in the model's vocabulary.", count())
}

/// Log-probabilities as chat tells them.
pub(super) fn chat_logprobs() -> Shape {
    fields("Log-probabilities of the tokens.")
        .has("content", "One for each token.", list(token()))
        .has("refusal", "Always null.", text().or_null())
        .named("ChatLogprobs")
}

/// What an answer took, in OpenAI's words.
pub(super) fn usage() -> Shape {
    let prompt = fields("Of the prompt.").has(
        "cached_tokens",
        "Tokens that were found in the cache and not computed.",
        count(),
    );
    let completion = fields("Of the answer, as far as there were such tokens.")
        .at_times("reasoning_tokens", "Thought before the answer.", count())
        .at_times("accepted_prediction_tokens", "Guessed ahead, and right.", count())
        .at_times(
            "rejected_prediction_tokens",
            "Guessed ahead, and wrong; they are in no other count.",
            count(),
        );
    fields("Tokens of an answer, added up over its choices.")
        .has("prompt_tokens", "Tokens of the prompt, cached ones too.", count())
        .has("completion_tokens", "Tokens of the answer.", count())
        .has("total_tokens", "Both.", count())
        .has("prompt_tokens_details", "More about the prompt.", prompt.shape())
        .at_times("completion_tokens_details", "More about the answer.", completion.shape())
        .named("Usage")
}

/// What an answer took, in llama.cpp's words.
pub(super) fn timings() -> Shape {
    timing_fields("What an answer took, in llama.cpp's words.").named("Timings")
}

pub(super) fn timing_fields(about: &str) -> Fields {
    let cached = fields("Where cached tokens were found.")
        .has("live", "In the context of the engine.", count())
        .has("ram", "In memory beside it.", count())
        .has("ssd", "In files.", count());
    fields(about)
        .has("cache_n", "Tokens of the prompt that were found in the cache.", count())
        .at_times("cached_by", "Where they were.", cached.named("CachedBy"))
        .has("prompt_n", "Tokens of the prompt that were computed.", count())
        .has("prompt_ms", "Milliseconds for them.", number())
        .has("predicted_n", "Tokens of the answer.", count())
        .has("predicted_ms", "Milliseconds for them.", number())
        .has("queue_ms", "Milliseconds that the request waited in the worker.", number())
        .at_times("draft_n", "Tokens that were guessed ahead.", count())
        .at_times("draft_n_accepted", "Those of them that came true.", count())
}

/// A vector.
pub(super) fn vector() -> Shape {
    list(number())
}

/// A time as RFC 3339 writes it.
pub(super) fn time() -> Shape {
    text_like(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
}
