//! OpenAI's request bodies: each gives words for the worker that fit its frames, or an error that
//! the client can read. Answers to what was read are written too, for a request decides their form.

use dialect::{
    Encode, Error,
    limits::{CHOICES_BYTES_MAX, CHOICES_MAX},
    openai::{chat, completion, embedding, image, speech, transcription},
};
use serde_json::Value;
use worker_protocol::{
    Command, Event, FinishReason, Finished, Generate, Piece, RequestId, Usage, frame,
};

/// A body may grow when it is written as frames: numbers get names, texts of escapes do not.
const FRAME_BYTES_PER_BODY_BYTE_MAX: usize = 16;
/// A frame's names and defaults.
const FRAME_BYTES_MIN: usize = 4096;

/// A body of `/v1/chat/completions`.
pub fn openai_chat(body: &[u8]) {
    let request = match chat::decode(body) {
        Ok(request) => request,
        Err(error) => return refused(&error),
    };
    generates(body, &request.model, &request.generates);
    let mut stream = chat::StreamEncoder::new(&request, "id", 1, &request.model);
    let mut whole = chat::WholeEncoder::new(&request, "id", 1, &request.model);
    let mut chunks = Vec::new();
    for (choice, event) in answers(request.generates.len()) {
        stream.event(choice, &event, &mut chunks);
        whole.event(choice, &event);
    }
    stream.finish(&mut chunks);
    assert!(!chunks.is_empty());
    chunks.iter().for_each(|chunk| json(chunk));
    answered(whole.finish());
}

/// A body of `/v1/completions`.
pub fn openai_completion(body: &[u8]) {
    let request = match completion::decode(body) {
        Ok(request) => request,
        Err(error) => return refused(&error),
    };
    generates(body, &request.model, &request.generates);
    let mut stream = completion::StreamEncoder::new(&request, "id", 1, &request.model);
    let mut whole = completion::WholeEncoder::new(&request, "id", 1, &request.model);
    let mut chunks = Vec::new();
    for (choice, event) in answers(request.generates.len()) {
        stream.event(choice, &event, &mut chunks);
        whole.event(choice, &event);
    }
    stream.finish(&mut chunks);
    assert!(!chunks.is_empty());
    chunks.iter().for_each(|chunk| json(chunk));
    answered(whole.finish());
}

/// A body of `/v1/embeddings`.
pub fn openai_embedding(body: &[u8]) {
    let request = match embedding::decode(body) {
        Ok(request) => request,
        Err(error) => return refused(&error),
    };
    assert!(!request.model.is_empty() && !request.embed.inputs.is_empty());
    let embed = Command::Embed { request: RequestId(1), embed: request.embed.clone() };
    through_a_frame(body, &embed);
    let mut whole = embedding::WholeEncoder::new(&request, &request.model);
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

/// A body of `/v1/audio/speech`.
pub fn openai_speech(body: &[u8]) {
    match speech::decode(body) {
        Ok(request) => {
            assert!(!request.input.is_empty() && request.speed > 0.0);
            named(request.model.as_deref());
        }
        Err(error) => refused(&error),
    }
}

/// A body of `/v1/images/generations`.
pub fn openai_image(body: &[u8]) {
    match image::decode(body) {
        Ok(request) => {
            assert!(!request.prompt.is_empty() && request.images > 0);
            named(request.model.as_deref());
            json(&image::answer(1, &vec![body.to_vec(); request.images as usize]));
        }
        Err(error) => refused(&error),
    }
}

/// Parts of a form of `/v1/audio/transcriptions`, one a line as `name=value`; and the whole as what
/// a listener wrote.
pub fn openai_transcription(bytes: &[u8]) {
    let part = |line: &[u8]| {
        let equals = line.iter().position(|byte| *byte == b'=').unwrap_or(line.len());
        let (name, value) = line.split_at(equals);
        (String::from_utf8_lossy(name).into_owned(), value.get(1..).unwrap_or_default().to_vec())
    };
    let parts: Vec<_> = bytes.split(|byte| *byte == b'\n').map(part).collect();
    let file = parts.iter().find(|(name, _)| name == "file");
    let name = file.map(|(_, value)| String::from_utf8_lossy(value).into_owned());
    let file = name
        .as_deref()
        .map(|name| transcription::File { name: Some(name), bytes: name.len() as u64 });
    match transcription::decode(parts, file) {
        Ok(request) => {
            assert!(file.is_some_and(|file| file.bytes > 0));
            assert!(!request.file_name.contains(['"', '/', '\r', '\n']));
            named(request.model.as_deref());
        }
        Err(error) => refused(&error),
    }
    for format in transcription::Format::ALL {
        for content_type in ["text/plain", "application/json"] {
            for follows_format in [false, true] {
                let heard = transcription::Heard { bytes, content_type, follows_format };
                match transcription::answer(format, heard) {
                    Ok(answer) if answer.content_type == "application/json" => json(&answer.body),
                    Ok(_) => {}
                    // What a listener got wrong is not the client's fault.
                    Err(error) => assert!([400, 500].contains(&error.status), "{error}"),
                }
            }
        }
    }
}

fn named(model: Option<&str>) {
    assert!(model.is_none_or(|name| !name.is_empty()));
}

pub(crate) fn generates(body: &[u8], model: &str, generates: &[Generate]) {
    assert!(!model.is_empty());
    assert!((1..=CHOICES_MAX).contains(&generates.len()), "{} choices", generates.len());
    let mut bytes = 0;
    for generate in generates {
        let command = Command::Generate { request: RequestId(1), generate: generate.clone() };
        bytes += through_a_frame(body, &command);
    }
    // What goes to the worker is bounded by what came in, choices included.
    let bytes_max = FRAME_BYTES_MIN * generates.len()
        + FRAME_BYTES_PER_BODY_BYTE_MAX * CHOICES_BYTES_MAX.min(body.len() * generates.len());
    assert!(bytes <= bytes_max, "{bytes} bytes of frames for a body of {}", body.len());
}

/// Writes and reads a command, and gives the bytes of its frame.
pub(crate) fn through_a_frame(body: &[u8], command: &Command) -> usize {
    let mut command = command.clone();
    // What a request says itself is the hub's to know.
    if let Command::Generate { generate, .. } = &mut command {
        generate.sampling.said.clear();
    }
    let command = &command;
    let bytes = match frame::encode(command) {
        Ok(bytes) => bytes,
        Err(error) => panic!("what the dialect let through has no frame: {error}"),
    };
    let bytes_max = FRAME_BYTES_MIN + FRAME_BYTES_PER_BODY_BYTE_MAX * body.len();
    assert!(bytes.len() <= bytes_max, "{} bytes for a body of {}", bytes.len(), body.len());
    let mut decoder = frame::Decoder::default();
    decoder.push(&bytes);
    match decoder.take::<Command>() {
        Ok(Some(again)) => assert_eq!(*command, again),
        Ok(None) => panic!("our own frame is cut"),
        Err(error) => panic!("our own frame is refused: {error}"),
    }
    bytes.len()
}

/// A short answer for each choice.
pub(crate) fn answers(choices: usize) -> impl Iterator<Item = (u32, Event)> {
    let piece = |text: &str| Piece { text: text.to_owned(), logprobs: Vec::new() };
    (0..).take(choices).flat_map(move |choice| {
        let events = [
            Event::Progress { processed: 1, total: 1, cached: 0, cached_ram: 0, cached_ssd: 0 },
            Event::Reasoning(piece("\u{1f600} \"")),
            Event::Text(piece("a\n\0\u{2028}")),
            finished(),
        ];
        events.map(|event| (choice, event))
    })
}

pub(crate) fn finished() -> Event {
    Event::Finished(Finished { reason: FinishReason::End, usage: Usage::default() })
}

pub(crate) fn answered(answer: Result<String, Error>) {
    match answer {
        Ok(answer) => json(&answer),
        Err(error) => panic!("an answer that ended well is no answer: {error}"),
    }
}

pub(crate) fn json(text: &str) {
    let value: Result<Value, _> = serde_json::from_str(text);
    assert!(value.is_ok_and(|value| value.is_object()), "not a JSON object: {text}");
}

/// A refusal is the client's fault and says so in OpenAI's form, with all four keys.
pub(crate) fn refused(error: &Error) {
    assert!((400..500).contains(&error.status), "{}", error.status);
    let value: Value = match serde_json::from_str(&error.to_json()) {
        Ok(value) => value,
        Err(error) => panic!("the error is no JSON: {error}"),
    };
    let inner = &value["error"];
    for key in ["message", "type", "param", "code"] {
        assert!(inner.get(key).is_some(), "{key} is missing: {value}");
    }
    assert!(inner["message"].as_str().is_some_and(|message| !message.is_empty()), "{value}");
}
