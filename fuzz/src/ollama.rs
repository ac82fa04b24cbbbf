//! Ollama's request bodies, as OpenAI's.

use std::time::Duration;

use dialect::{
    Encode, Error,
    ollama::{self, Ask, Form, Request, StreamEncoder, WholeEncoder, embed},
};
use worker_protocol::{Command, Event, RequestId};

use crate::openai::{answered, answers, finished, generates, json, through_a_frame};

/// A body of `/api/chat`.
pub fn ollama_chat(body: &[u8]) {
    asked(body, Form::Chat, ollama::chat::decode(body));
}

/// A body of `/api/generate`.
pub fn ollama_generate(body: &[u8]) {
    asked(body, Form::Generate, ollama::generate::decode(body));
}

/// A body of `/api/embed` and of `/api/embeddings`.
pub fn ollama_embed(body: &[u8]) {
    for form in [embed::Form::Embed, embed::Form::Embeddings] {
        let request = match embed::decode(form, body) {
            Ok(request) => request,
            Err(error) => {
                assert!((400..500).contains(&error.status), "{}", error.status);
                json(&ollama::error_body(&error));
                continue;
            }
        };
        json(&embed::loaded(form, &request.model, Duration::ZERO));
        let embed = Command::Embed { request: RequestId(1), embed: request.embed.clone() };
        through_a_frame(body, &embed);
        let mut whole = embed::WholeEncoder::new(form, &request, &request.model);
        for (index, _) in (0..).zip(&request.embed.inputs) {
            whole.event(&Event::Embedded { index, vector: vec![0.6, 0.8] });
        }
        whole.event(&finished());
        match whole.finish() {
            Ok(answer) => json(&answer),
            // More dimensions were asked for than the vectors above have.
            Err(error) => assert!(request.dimensions.is_some_and(|width| width > 2), "{error}"),
        }
    }
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
