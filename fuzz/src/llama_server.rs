//! llama-server's request bodies, as OpenAI's.

use dialect::{
    Encode,
    llama_server::infill::{self, StreamEncoder, WholeEncoder},
};

use crate::openai::{answered, answers, generates, json, refused};

/// A body of `/infill`.
pub fn infill(body: &[u8]) {
    let request = match infill::decode(body) {
        Ok(request) => request,
        Err(error) => return refused(&error),
    };
    generates(body, "m", &[request.generate]);
    let mut stream = StreamEncoder::new("m", request.told.clone());
    let mut whole = WholeEncoder::new("m", request.told);
    let mut payloads = Vec::new();
    for (_, event) in answers(1) {
        stream.event(0, &event, &mut payloads);
        whole.event(&event);
    }
    assert!(!payloads.is_empty());
    payloads.iter().for_each(|payload| json(payload));
    answered(whole.finish());
}
