//! Pictures.

use super::super::shape::{
    Shape, count, either, fields, integer, list, text, text_like, text_of, word,
};
use super::super::{Operation, Words, shared};
use super::TAG;
use crate::limits::{IMAGE_PROMPT_BYTES_MAX, IMAGE_SIDE_PIXELS_MAX, IMAGES_MAX};

pub(super) fn operation() -> Operation {
    Operation::post("/v1/images/generations", Words::OpenAi, "draw", "Draws pictures")
        .tag(TAG)
        .about("Answered by a tool with `serves = \"draw\"`.")
        .takes(request())
        .answers(answer())
        .asks_a_model()
        .fails(&[504])
}

fn request() -> Shape {
    let size = format!("How large, with sides of 1 to {IMAGE_SIDE_PIXELS_MAX} pixels.");
    fields("What is to be drawn. What is not named here is ignored.")
        .with(shared::model_if_named)
        .has("prompt", "What to draw.", text_of(1..=IMAGE_PROMPT_BYTES_MAX))
        .may("n", "How many pictures.", integer(1..=IMAGES_MAX.into()))
        .may("size", &size, either([word(&["auto", ""]), text_like(r"^\+?[0-9]+x\+?[0-9]+$")]))
        .may("seed", "Where chance begins; the same picture twice.", integer(0..=u32::MAX.into()))
        .may(
            "response_format",
            "Pictures are not kept, so they come in the answer.",
            word(&["b64_json"]),
        )
        .named("ImageRequest")
}

fn answer() -> Shape {
    let entry = fields("A picture.").has("b64_json", "Its file, in base64.", text());
    fields("Pictures.")
        .has("created", "When, in seconds since 1970.", count())
        .has("data", "In their order.", list(entry.shape()))
        .named("ImageAnswer")
}
