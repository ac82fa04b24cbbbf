//! What there is, what is in memory, and what a model's file says of itself.

use super::super::shape::{Fields, Shape, count, fields, list, object, text, truth, word};
use super::super::{Operation, Words, shared};
use super::{TAG, short_name};

pub(super) fn greeting() -> Operation {
    Operation::get("/", Words::OpenAi, "ollama_greeting", "Says that something is here")
        .tag(TAG)
        .answers_as("text/plain", text())
}

pub(super) fn version() -> Operation {
    let answer =
        fields("A version.").has("version", "The release of Ollama whose API this is.", text());
    Operation::get("/api/version", Words::Ollama, "ollama_version", "Says which API is answered")
        .tag(TAG)
        .answers(answer.named("OllamaVersion"))
}

pub(super) fn status() -> Operation {
    let cloud = fields("Models of somebody else's.")
        .has("disabled", "Always true: nothing leaves this machine.", truth())
        .has("source", "Who says so.", text());
    let answer = fields("What Ollama's own app asks.").has("cloud", "Always off.", cloud.shape());
    Operation::get("/api/status", Words::Ollama, "ollama_status", "Says that there is no cloud")
        .tag(TAG)
        .answers(answer.named("OllamaStatus"))
}

pub(super) fn tags() -> Operation {
    let row = row("A model or role that can be served.")
        .has("modified_at", "When its file was last changed.", shared::time())
        .has("capabilities", "What it can do.", capabilities())
        .named("OllamaModel");
    let answer = fields("Models, the newest first.").has("models", "What there is.", list(row));
    Operation::get("/api/tags", Words::Ollama, "ollama_tags", "Lists models and roles")
        .tag(TAG)
        .answers(answer.named("OllamaModels"))
}

pub(super) fn residents() -> Operation {
    let row = row("A model in memory.")
        .has("expires_at", "When it leaves if nobody asks.", shared::time())
        .has("size_vram", "Bytes in a GPU's memory.", count())
        .has("context_length", "Tokens that its requests share; 0 where nobody knows.", count())
        .named("OllamaResident");
    let answer = fields("Models in memory.").has("models", "What is there.", list(row));
    Operation::get("/api/ps", Words::Ollama, "ollama_ps", "Lists what is in memory")
        .tag(TAG)
        .answers(answer.named("OllamaResidents"))
}

pub(super) fn show() -> Operation {
    let request = fields("Which model. What is not named here is ignored.")
        .may("model", "Its name.", short_name())
        .may("name", "Its name, as it was said before.", short_name())
        .may("verbose", "Whether its tensors are listed.", truth())
        .named("OllamaShowRequest");
    Operation::post("/api/show", Words::Ollama, "ollama_show", "Says what a model is")
        .tag(TAG)
        .takes_untyped(request)
        .answers(shown())
        .fails(&[404, 500])
}

fn shown() -> Shape {
    let tensor = fields("A tensor.")
        .has("name", "Its name.", text())
        .has("type", "How its numbers are encoded.", text())
        .has("shape", "Elements along each dimension.", list(count()));
    let said = fields("Something that was said.").has("role", "By whom.", text()).has(
        "content",
        "What.",
        text(),
    );
    fields("A model.")
        .at_times("license", "Its licence: its text, or what its file calls it.", text())
        .at_times("modelfile", "Of the library: all that goes with it, as a Modelfile.", text())
        .at_times("parameters", "Of the library: its parameters, one a line.", text())
        .at_times("template", "Its chat template, as Jinja or in Go's form.", text())
        .at_times("system", "Of the library: its instructions.", text())
        .at_times("messages", "Of the library: what was said before.", list(said.shape()))
        .has("details", "What it is.", details())
        .has("model_info", "What its file says of itself; long lists are null.", object())
        .at_times("tensors", "With `verbose`.", list(tensor.shape()))
        .has("capabilities", "What it can do.", capabilities())
        .has("modified_at", "When its file was last changed.", shared::time())
        .named("OllamaShown")
}

/// What both lists have in common.
fn row(about: &str) -> Fields {
    fields(about)
        .has("name", "Its name, with a tag.", text())
        .has("model", "The same.", text())
        .has("size", "Bytes.", count())
        .has("digest", "What changes whenever its file does: of the library, its SHA-256.", text())
        .has("details", "What it is.", details())
}

fn details() -> Shape {
    fields("What a model is. What nobody knows is empty.")
        .has("parent_model", "Always empty.", text())
        .has("format", "`gguf`.", text())
        .has("family", "Its architecture.", text())
        .has("families", "The same.", list(text()))
        .has("parameter_size", "How many parameters.", text())
        .has("quantization_level", "How they are encoded.", text())
        .at_times("context_length", "Tokens that it is served with.", count())
        .at_times("embedding_length", "Width of a token's vector.", count())
        .named("OllamaDetails")
}

fn capabilities() -> Shape {
    list(word(&["completion", "tools", "thinking", "vision", "insert", "embedding", "rerank"]))
}
