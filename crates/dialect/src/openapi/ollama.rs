//! Ollama's routes. Requests stream unless they say that they do not.

mod library;
mod model;

use super::shape::{
    Fields, Shape, anything, count, either, fields, integer, list, list_of, object, text, text_of,
    truth, word,
};
use super::{Operation, Words, error, shared};
use crate::limits::{EMBED_INPUTS_MAX, LOGPROBS_MAX, MESSAGES_MAX, TOOLS_MAX};

const TAG: &str = "Ollama";

pub(super) fn operations() -> Vec<Operation> {
    let operations = vec![
        model::greeting(),
        model::version(),
        model::status(),
        chat(),
        generate(),
        embed(),
        embeddings(),
        model::tags(),
        model::residents(),
        model::show(),
    ];
    operations.into_iter().chain(library::operations()).collect()
}

fn chat() -> Operation {
    let answer = answer("A part of an answer, or all of it.", |fields| {
        fields.has("message", "What was said.", said())
    });
    let answer = answer.named("OllamaChatAnswer");
    Operation::post("/api/chat", Words::Ollama, "ollama_chat", "Answers a conversation")
        .tag(TAG)
        .about(
            "A request without messages loads the model, or unloads it with a `keep_alive` of 0.",
        )
        .takes_untyped(chat_request())
        .answers(answer.clone())
        .streams_lines(either([answer, error::ollama()]))
        .says_what_was_cached()
        .asks_a_model()
}

fn generate() -> Operation {
    let answer = answer("A part of an answer, or all of it.", |fields| {
        fields
            .has("response", "The text.", text())
            .at_times("thinking", "What was thought before.", text())
            .at_times("tool_calls", "What is called.", list(tool_call_said()))
    });
    let answer = answer.named("OllamaGenerateAnswer");
    Operation::post(
        "/api/generate",
        Words::Ollama,
        "ollama_generate",
        "Answers or continues a text",
    )
    .tag(TAG)
    .about("A request without a prompt loads the model, or unloads it with a `keep_alive` of 0.")
    .takes_untyped(generate_request())
    .answers(answer.clone())
    .streams_lines(either([answer, error::ollama()]))
    .says_what_was_cached()
    .asks_a_model()
}

fn embed() -> Operation {
    let request = fields("Texts that are to become vectors. What is not named here is ignored.")
        .with(shared::model)
        .may(
            "input",
            "One text or several; without any the model is loaded.",
            either([text(), list_of(text(), 0..=EMBED_INPUTS_MAX)]),
        )
        .with(vectors)
        .named("OllamaEmbedRequest");
    let answer = fields("Vectors.")
        .has("model", "Who made them.", text())
        .has("embeddings", "One for each text.", list(shared::vector()))
        .has("total_duration", "Nanoseconds in all.", count())
        .has("load_duration", "Nanoseconds that the model was waited for.", count())
        .has("prompt_eval_count", "Tokens of the texts.", count())
        .named("OllamaEmbedAnswer");
    Operation::post("/api/embed", Words::Ollama, "ollama_embed", "Makes vectors of texts")
        .tag(TAG)
        .takes_untyped(request)
        .answers(answer)
        .asks_a_model()
}

fn embeddings() -> Operation {
    let request = fields("A text that is to become a vector. What is not named here is ignored.")
        .with(shared::model)
        .may("prompt", "The text; without one the model is loaded.", text())
        .with(vectors)
        .named("OllamaEmbeddingsRequest");
    let answer = fields("A vector.")
        .has("embedding", "Its numbers.", shared::vector())
        .named("OllamaEmbeddingsAnswer");
    let summary = "Makes a vector of a text, as it was done before";
    Operation::post("/api/embeddings", Words::Ollama, "ollama_embeddings", summary)
        .tag(TAG)
        .takes_untyped(request)
        .answers(answer)
        .asks_a_model()
}

fn vectors(fields: Fields) -> Fields {
    fields
        .may("truncate", "Whether a text that is too long is cut; true unless it is said.", truth())
        .may("dimensions", "Cut vectors to this width; 0 leaves them whole.", shared::dimensions(0))
        .with(shared::wish)
}

fn chat_request() -> Shape {
    asked("A conversation that is to be answered. What is not named here is ignored.")
        .may("messages", "The conversation.", list_of(message(), 0..=MESSAGES_MAX))
        .may(
            "truncate",
            "Whether a conversation longer than the context loses its oldest turns; else it is refused.",
            truth(),
        )
        .with(shared::tools)
        .named("OllamaChatRequest")
}

fn generate_request() -> Shape {
    asked("A text that is to be answered or continued. What is not named here is ignored.")
        .may("prompt", "What is asked.", text())
        .may("suffix", "What stands behind; the model then fills in what is between.", text())
        .may("system", "Instructions.", text())
        .may("raw", "Whether the prompt is continued as it is, without a template.", truth())
        .named("OllamaGenerateRequest")
}

/// What both requests for text have in common.
fn asked(about: &str) -> Fields {
    fields(about)
        .with(shared::model)
        .may("stream", "Whether the answer comes as lines; true unless it is said.", truth())
        .may(
            "think",
            "How much is thought before the answer.",
            either([truth(), word(&["low", "medium", "high", "max"])]),
        )
        .may(
            "format",
            "What the answer must look like: `json`, or a JSON schema.",
            either([word(&["json", ""]), object()]),
        )
        .may("logprobs", "Whether log-probabilities of the tokens are told.", truth())
        .may(
            "top_logprobs",
            "How many alternatives to each token.",
            integer(0..=LOGPROBS_MAX.into()),
        )
        .may(
            "options",
            "How tokens are chosen. What belongs to loading a model is ignored.",
            options(),
        )
        .with(shared::wish)
}

fn options() -> Shape {
    fields("How tokens are chosen, and where the text ends.")
        .may(
            "num_predict",
            "Most tokens of the answer; 0 and less for no bound.",
            integer(i32::MIN.into()..=u32::MAX.into()),
        )
        .may("stop", "Where the text ends.", shared::stop())
        .with(shared::sampling)
        .named("OllamaOptions")
}

fn message() -> Shape {
    fields("What one side said.")
        .has("role", "`system`, `user`, `assistant` or `tool`, in any case.", text())
        .may("content", "What.", text())
        .may("thinking", "What the assistant thought before.", text())
        .may("tool_calls", "What the assistant called.", list_of(tool_call(), 0..=TOOLS_MAX))
        .may("tool_call_id", "Which call this is the result of.", text())
        .may("tool_name", "Which tool's result this is.", text())
        .named("OllamaMessage")
}

fn tool_call() -> Shape {
    let function = fields("The function.").has("name", "What it is called.", text()).may(
        "arguments",
        "Its arguments.",
        object(),
    );
    fields("A call of a tool.")
        .may("id", "By which its result refers to it.", text())
        .has("function", "What is called.", function.shape())
        .named("OllamaToolCall")
}

fn said() -> Shape {
    fields("What was said.")
        .has("role", "Who.", word(&["assistant"]))
        .has("content", "The text.", text())
        .at_times("thinking", "What was thought before.", text())
        .at_times("tool_calls", "What is called.", list(tool_call_said()))
        .shape()
}

fn tool_call_said() -> Shape {
    let function = fields("The function.")
        .has("index", "Its place.", count())
        .has("name", "What it is called.", text())
        .has("arguments", "An object; what the model wrote where it is none.", anything());
    fields("A call of a tool.")
        .has("id", "By which its result refers to it.", text())
        .has("function", "What is called.", function.shape())
        .named("OllamaToolCallSaid")
}

/// What answers to both requests for text have in common.
fn answer(about: &str, said: fn(Fields) -> Fields) -> Fields {
    let reason = word(&["stop", "length", "load", "unload"]);
    fields(about)
        .has("model", "Who answers; of a role, the model that was chosen.", text())
        .has("created_at", "When it was asked.", shared::time())
        .with(said)
        .at_times(
            "logprobs",
            "Log-probabilities, where they were asked for.",
            list(shared::token()),
        )
        .has("done", "Whether this is the end.", truth())
        .at_times("done_reason", "At the end: why.", reason)
        .at_times("total_duration", "At the end: nanoseconds in all.", count())
        .at_times(
            "load_duration",
            "At the end: nanoseconds that the model was waited for.",
            count(),
        )
        .at_times(
            "prompt_eval_count",
            "At the end: tokens of the prompt, cached ones too.",
            count(),
        )
        .at_times("prompt_eval_duration", "At the end: nanoseconds for them.", count())
        .at_times("eval_count", "At the end: tokens of the answer.", count())
        .at_times("eval_duration", "At the end: nanoseconds for them.", count())
}

/// The name of a model where an empty one counts as none.
fn short_name() -> Shape {
    text_of(0..=crate::limits::SHORT_VALUE_BYTES_MAX)
}
