//! OpenAI's routes.

mod chat;
mod completion;
mod embedding;
mod image;
mod model;
mod sound;

use super::Operation;

const TAG: &str = "OpenAI";

pub(super) fn operations() -> Vec<Operation> {
    vec![
        model::all(),
        model::one(),
        chat::operation(),
        completion::operation(),
        embedding::operation(),
        sound::speech(),
        sound::transcription(),
        image::operation(),
        model::moderations(),
    ]
}
