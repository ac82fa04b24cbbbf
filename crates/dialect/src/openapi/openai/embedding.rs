//! Embeddings.

use super::super::shape::{Shape, count, either, fields, list, text, word};
use super::super::{Operation, Words, shared};
use super::TAG;
use crate::limits::EMBED_INPUTS_MAX;

pub(super) fn operation() -> Operation {
    Operation::post("/v1/embeddings", Words::OpenAi, "embed", "Makes vectors of texts")
        .tag(TAG)
        .takes(request())
        .answers(answer())
        .asks_a_model()
}

fn request() -> Shape {
    fields("Texts that are to become vectors. What is not named here is ignored.")
        .with(shared::model)
        .has(
            "input",
            "One text or several, or their token ids; none is empty.",
            shared::texts(EMBED_INPUTS_MAX),
        )
        .may("encoding_format", "How vectors are written.", word(&["float", "base64"]))
        .may(
            "dimensions",
            "Cut vectors to this width and make them length 1 again.",
            shared::dimensions(1),
        )
        .with(shared::wish)
        .named("EmbeddingRequest")
}

fn answer() -> Shape {
    let entry = fields("One vector.")
        .has("object", "What kind of object this is.", word(&["embedding"]))
        .has("index", "Which text's.", count())
        .has(
            "embedding",
            "The numbers, or their little-endian 32 bits in base64.",
            either([shared::vector(), text()]),
        );
    let usage = fields("What it took.").has("prompt_tokens", "Tokens of the texts.", count()).has(
        "total_tokens",
        "The same.",
        count(),
    );
    fields("Vectors.")
        .has("object", "What kind of object this is.", word(&["list"]))
        .has("data", "One for each text.", list(entry.shape()))
        .has("model", "Who made them.", text())
        .has("usage", "What it took.", usage.shape())
        .named("EmbeddingAnswer")
}
