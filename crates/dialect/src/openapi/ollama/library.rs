//! What changes which models there are: pulled, made, copied, deleted.

use super::super::shape::{
    Shape, bytes, count, either, fields, list_of, map, object, text, text_of, truth, word,
};
use super::super::{Access, Operation, Words, error};
use super::TAG;
use crate::limits::{
    LAYERS_MAX, LICENSES_MAX, MESSAGES_MAX, SHORT_VALUE_BYTES_MAX, SOURCE_BYTES_MAX,
};

pub(super) fn operations() -> Vec<Operation> {
    vec![pull(), push(), create(), copy(), delete(), has_blob(), put_blob()]
}

fn manage(operation: Operation) -> Operation {
    operation.tag(TAG).access(Access::Manage)
}

fn pull() -> Operation {
    let request = fields("Which model. What is not named here is ignored.")
        .may("model", "Its name, which says where it is from.", source())
        .may("name", "The same, as it was said before.", source())
        .may("stream", "Whether the answer comes as lines; true unless it is said.", truth())
        .named("OllamaPullRequest");
    let operation = Operation::post("/api/pull", Words::Ollama, "ollama_pull", "Pulls a model")
        .about(
            "From Ollama's registry, or from where its name says: `hf.co/OWNER/REPO:QUANTIZATION`, `ms:OWNER/REPO`, \
             an address. When nobody reads the answer any more the pull stops, and goes on from there when it is \
             asked for again.",
        )
        .takes(request);
    tells_steps(manage(operation)).fails(&[404, 500, 503])
}

fn push() -> Operation {
    let operation = Operation::post(
        "/api/push",
        Words::Ollama,
        "ollama_push",
        "Is refused: nothing is uploaded",
    );
    manage(operation).about("It takes any JSON, and answers 400.").takes(object())
}

fn create() -> Operation {
    let layers = |about| map(text_of(0..=SHORT_VALUE_BYTES_MAX), LAYERS_MAX).about(about);
    let message = fields("Something that was said.")
        .has("role", "`system`, `user` or `assistant`, in any case.", text())
        .may("content", "What.", text());
    let licenses = either([text(), list_of(text(), 0..=LICENSES_MAX)]);
    let request = fields("What it is made of. What is not named here is ignored.")
        .may("model", "What it is to be called.", source())
        .may("name", "The same, as it was said before.", source())
        .may("from", "A model that it begins with.", source())
        .may("files", "Digests of its files, by their names.", layers("Digests by names."))
        .may("adapters", "Digests of adapters, by their names.", layers("Digests by names."))
        .may("draft_files", "Digests of a model that guesses for it.", layers("Digests by names."))
        .may("template", "Its chat template.", text())
        .may("license", "Its licence or licences.", licenses)
        .may("system", "Its instructions.", text())
        .may("parameters", "Its parameters, as in `options` of a request.", object())
        .may("messages", "What was said before.", list_of(message.shape(), 0..=MESSAGES_MAX))
        .may("modelfile", "All of it as a Modelfile, as older clients say it.", text())
        .may("stream", "Whether the answer comes as lines; true unless it is said.", truth())
        .named("OllamaCreateRequest");
    let operation = Operation::post(
        "/api/create",
        Words::Ollama,
        "ollama_create",
        "Makes a model of what is here",
    );
    tells_steps(manage(operation).takes(request)).fails(&[404, 500, 503])
}

fn copy() -> Operation {
    let request = fields("Which model. What is not named here is ignored.")
        .has("source", "The model.", text_of(0..=SHORT_VALUE_BYTES_MAX))
        .has("destination", "Its other name.", text_of(0..=SHORT_VALUE_BYTES_MAX))
        .named("OllamaCopyRequest");
    let summary = "Gives a model another name beside its own";
    let operation = Operation::post("/api/copy", Words::Ollama, "ollama_copy", summary);
    manage(operation).takes(request).answers_nothing(&[200]).fails(&[404, 500, 503])
}

fn delete() -> Operation {
    let request = fields("Which model. What is not named here is ignored.")
        .may("model", "Its name.", source())
        .may("name", "The same, as it was said before.", source())
        .named("OllamaDeleteRequest");
    let operation =
        Operation::delete("/api/delete", Words::Ollama, "ollama_delete", "Deletes a model");
    manage(operation).takes(request).answers_nothing(&[200]).fails(&[404, 500, 503])
}

fn has_blob() -> Operation {
    let operation = Operation::head(
        "/api/blobs/{digest}",
        Words::Ollama,
        "ollama_has_blob",
        "Says whether a file is here",
    );
    manage(operation)
        .name_in_path("digest", "`sha256:` and 64 digits.", text())
        .answers_nothing(&[200])
        .fails(&[400, 404, 500, 503])
}

fn put_blob() -> Operation {
    let operation =
        Operation::post("/api/blobs/{digest}", Words::Ollama, "ollama_put_blob", "Takes a file in");
    manage(operation)
        .name_in_path("digest", "`sha256:` and 64 digits, which its content must have.", text())
        .takes_as("application/octet-stream", bytes())
        .answers_nothing(&[200, 201])
        .fails(&[500, 503])
}

/// A stream of steps, or the last of them.
fn tells_steps(operation: Operation) -> Operation {
    let step = fields("A step of what is done.")
        .has("status", "What, in a few words.", text())
        .at_times("digest", "Of a file that comes: its digest.", text())
        .at_times("total", "Of a file that comes: its bytes.", count())
        .at_times("completed", "Of a file that comes: those that are here.", count())
        .named("OllamaStep");
    let done = fields("That it is done.").has("status", "`success`.", word(&["success"]));
    operation.answers(done.named("OllamaDone")).streams_lines(either([step, error::ollama()]))
}

/// A name that may say where a model is from, where an empty one counts as none.
fn source() -> Shape {
    text_of(0..=SOURCE_BYTES_MAX)
}
