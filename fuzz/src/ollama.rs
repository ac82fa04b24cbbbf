//! Ollama's request bodies, as OpenAI's.

use dialect::{
    Encode, Error,
    ollama::{self, Ask, Form, Request, StreamEncoder, WholeEncoder},
};

use crate::openai::{answered, answers, generates, json};

/// A body of `/api/chat`.
pub fn ollama_chat(body: &[u8]) {
    asked(body, Form::Chat, ollama::chat::decode(body));
}

/// A body of `/api/generate`.
pub fn ollama_generate(body: &[u8]) {
    asked(body, Form::Generate, ollama::generate::decode(body));
}

fn asked(body: &[u8], form: Form, request: Result<Request, Error>) {
    let Request { model, ask, .. } = match request {
        Ok(request) => request,
        Err(error) => {
            assert!((400..500).contains(&error.status), "{}", error.status);
            return json(&ollama::error_body(&error));
        }
    };
    let generate = match ask {
        Ask::Load => return json(&ollama::loaded(form, "", &model, false)),
        Ask::Generate(generate) => *generate,
    };
    generates(body, &model, &[generate]);
    let mut stream = StreamEncoder::new(form, "id", "", &model);
    let mut whole = WholeEncoder::new(form, "id", "", &model);
    let mut lines = vec![stream.nothing()];
    for (choice, event) in answers(1) {
        stream.event(choice, &event, &mut lines);
        whole.event(&event);
    }
    lines.iter().for_each(|line| json(line));
    assert!(lines.iter().all(|line| !line.contains('\n')), "a line is broken");
    answered(whole.finish());
}
