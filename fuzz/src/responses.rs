//! OpenAI's responses: their request bodies, as OpenAI's others, and what becomes of an answer on its way.

use std::sync::Arc;

use dialect::{
    Encode,
    openai::responses::{
        self, Beginning, Earlier, Entry, Kept, StreamEncoder, Told, Turn, WholeEncoder,
    },
};
use worker_protocol::{
    Event, Failure, FailureKind, FinishReason, Finished, Piece, Prompt, ToolCallPiece, Usage,
};

use crate::openai::{answers, generates, json, refused};

/// A body of `/v1/responses`. It may go on from an answer `r`, whose items are called `i`.
pub fn responses_request(body: &[u8]) {
    let request = match responses::decode(body, &OneAnswer) {
        Ok(request) => request,
        Err(error) => return refused(&error),
    };
    match &request.generate.prompt {
        Prompt::Chat(chat) => assert!(!chat.messages.is_empty()),
        Prompt::Text(_) | Prompt::Tokens(_) | Prompt::Infill(_) => panic!("it is no conversation"),
    }
    generates(body, &request.model, &[request.generate]);
    let events: Vec<Event> = answers(1).map(|(_, event)| event).collect();
    told(request.told, &events);
}

/// What a worker may say of an answer: the first byte says how it is told, each line behind it is an event,
/// whose first byte says which.
pub fn responses_stream(bytes: &[u8]) {
    let Some((how, lines)) = bytes.split_first() else { return };
    let summary = if how & 1 == 0 { "none" } else { "auto" };
    let include = if how & 2 == 0 { "" } else { "\"reasoning.encrypted_content\"" };
    let body = format!(
        r#"{{"model":"m","input":"a","reasoning":{{"summary":"{summary}"}},"include":[{include}],
            "tools":[{{"type":"function","name":"f"}},{{"type":"custom","name":"g"}},
                     {{"type":"namespace","name":"n","tools":[{{"type":"custom","name":"g"}}]}}]}}"#
    );
    let request = match responses::decode(body.as_bytes(), &()) {
        Ok(request) => request,
        Err(error) => panic!("a good request is refused: {error}"),
    };
    let events: Vec<Event> =
        lines.split(|byte| *byte == b'\n').filter_map(|line| event(line.split_first()?)).collect();
    told(request.told, &events);
}

fn event((kind, rest): (&u8, &[u8])) -> Option<Event> {
    let text = String::from_utf8_lossy(rest).into_owned();
    let piece = |text| Piece { text, logprobs: Vec::new() };
    let call = |index, name: Option<&str>, arguments| {
        Event::ToolCall(ToolCallPiece { index, name: name.map(str::to_owned), arguments })
    };
    let finished = |reason| Event::Finished(Finished { reason, usage: Usage::default() });
    Some(match kind {
        b't' => Event::Text(piece(text)),
        b'r' => Event::Reasoning(piece(text)),
        b'f' => call(0, Some("f"), text),
        b'g' => call(1, Some("g"), text),
        b'n' => call(2, Some("n__g"), text),
        b'c'..=b'e' => call(u32::from(kind - b'c'), None, text),
        b'x' => call(u32::MAX, Some(&text), String::new()),
        b'.' => finished(FinishReason::End),
        b'/' => finished(FinishReason::Length),
        b'!' => Event::Failed(Failure { kind: FailureKind::Broken, message: text }),
        _ => return None,
    })
}

/// Whole and streamed, an answer has one end, and what is kept of it is read again.
fn told(told: Told, events: &[Event]) {
    let beginning = Beginning::new(told, "1", 1, "m");
    let (mut stream, mut whole) =
        (StreamEncoder::new(beginning.clone()), WholeEncoder::new(beginning));
    let mut out = Vec::new();
    let end = events.iter().position(Event::is_last).map_or(events.len(), |last| last + 1);
    for (number, event) in events.iter().enumerate() {
        stream.event(0, event, &mut out);
        if number < end {
            whole.event(event);
        }
    }
    let kept = stream.kept();
    stream.finish(&mut out);
    for event in &out {
        match event.split_once("\ndata: ") {
            Some((name, data)) => {
                assert!(name.starts_with("event: response.") && !name.contains('\n'), "{event}");
                assert!(!data.contains('\n'), "a line is broken: {event}");
                json(data);
            }
            None => panic!("an event without data: {event}"),
        }
    }
    let is_end = |event: &&String| {
        ["completed", "incomplete", "failed"]
            .iter()
            .any(|end| event.starts_with(&format!("event: response.{end}\n")))
    };
    assert_eq!(out.iter().filter(is_end).count(), 1);
    assert!(out.last().as_ref().is_some_and(is_end), "something comes behind the end");
    let whole = match whole.finish() {
        Ok((whole, kept)) => {
            json(&whole);
            kept
        }
        Err(_) => None,
    };
    assert_eq!(kept, whole);
    if let Some(kept) = kept {
        goes_on(kept);
    }
}

/// Whatever was answered, a request can go on from it.
fn goes_on(kept: Kept) {
    let body = br#"{"model":"m","previous_response_id":"resp_1","input":"a"}"#;
    if let Err(error) = responses::decode(body, &Last(Arc::new(kept))) {
        panic!("what was kept cannot be read: {error}");
    }
}

struct Last(Arc<Kept>);

impl Earlier for Last {
    fn answer(&self, _id: &str) -> Option<Arc<Kept>> {
        Some(Arc::clone(&self.0))
    }

    fn item(&self, _id: &str) -> Option<String> {
        None
    }
}

struct OneAnswer;

impl Earlier for OneAnswer {
    fn answer(&self, id: &str) -> Option<Arc<Kept>> {
        let json = self.item("i")?;
        let input = vec![Entry { id: "i".to_owned(), json }];
        let turn = Arc::new(Turn { answer: "r".to_owned(), input, output: Vec::new() });
        let kept = Kept { id: id.to_owned(), response: "{}".to_owned(), turns: vec![turn] };
        (id == "r").then(|| Arc::new(kept))
    }

    fn item(&self, id: &str) -> Option<String> {
        let call = r#"{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}"#;
        (id == "i").then(|| call.to_owned())
    }
}
