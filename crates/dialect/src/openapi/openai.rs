//! OpenAI's routes.

mod chat;
mod completion;
mod embedding;
mod image;
mod model;
mod responses;
mod sound;
mod vector_store;

use super::Operation;

const TAG: &str = "OpenAI";

pub(super) fn operations() -> Vec<Operation> {
    let mut operations = vec![
        model::all(),
        model::one(),
        chat::operation(),
        completion::operation(),
        embedding::operation(),
        sound::speech(),
        sound::transcription(),
        image::operation(),
        model::moderations(),
    ];
    operations.extend(responses::operations());
    operations.extend(vector_store::operations());
    operations
}
