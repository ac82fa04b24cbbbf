//! OpenAI's routes.

mod chat;
mod completion;
mod embedding;
mod image;
mod model;
mod responses;
mod sound;

use super::Operation;

const TAG: &str = "OpenAI";

/// What is streamed comes as server-sent events, whose data is one of these; `[DONE]` ends it.
const EVENTS: &str = "text/event-stream";

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
    operations
}
