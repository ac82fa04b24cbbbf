//! What a server of OpenAI's API may answer: anything. A stream gives events of which exactly one is
//! a last one, however its bytes are cut; a reply that is no stream gives a failure, vectors or scores.

use dialect::openai::upstream::{Decoder, failure, figure, models, scores, sse, vectors};
use worker_protocol::Event;

/// Bytes of an event's text for each byte of the stream: what is not UTF-8 takes three.
const TEXT_BYTES_PER_BYTE_MAX: usize = 4;

/// The answer of a server, as a stream and as a whole body.
pub fn upstream(bytes: &[u8]) {
    let events = stream(bytes, bytes.len().max(1));
    assert_eq!(events.iter().filter(|event| event.is_last()).count(), 1, "{events:?}");
    assert!(events.last().is_some_and(Event::is_last), "{events:?}");
    let text_bytes: usize = events.iter().map(text_bytes).sum();
    assert!(text_bytes <= TEXT_BYTES_PER_BYTE_MAX * bytes.len(), "{text_bytes} bytes of text");
    // Compared as text, because not-a-number does not equal itself.
    let shown = format!("{events:?}");
    for piece_bytes in [1, 7] {
        assert_eq!(
            format!("{:?}", stream(bytes, piece_bytes)),
            shown,
            "in pieces of {piece_bytes}"
        );
    }
    for status in [200, 302, 400, 401, 404, 429, 500, 503] {
        assert!(!failure(status, Some("1"), bytes).message.is_empty());
    }
    if let Ok(answer) = vectors(bytes, 2) {
        assert_eq!(answer.vectors.len(), 2);
        assert!(answer.vectors.iter().flatten().all(|value| value.is_finite()));
    }
    if let Ok(answer) = scores(bytes, 2) {
        assert_eq!(answer.scores.len(), 2);
        assert!(answer.scores.iter().all(|score| score.is_finite()));
    }
    let _ = (models(bytes), figure(bytes, ["data", "0"]));
}

/// What the conversation with a server does with its stream.
fn stream(bytes: &[u8], piece_bytes: usize) -> Vec<Event> {
    let (mut parser, mut decoder) = (sse::Parser::default(), Decoder::new(true));
    let mut events = Vec::new();
    let mut sound = true;
    for piece in bytes.chunks(piece_bytes) {
        let mut said = Vec::new();
        sound = parser.push(piece, &mut said).is_ok();
        sound &= decode(&mut decoder, said, &mut events);
        if !sound {
            break;
        }
    }
    if sound {
        decode(&mut decoder, parser.end(), &mut events);
    }
    events.extend(decoder.end());
    events
}

/// Whether the stream can be followed any further.
fn decode(
    decoder: &mut Decoder,
    said: impl IntoIterator<Item = sse::Event>,
    events: &mut Vec<Event>,
) -> bool {
    for event in said {
        if event.is_error {
            events.extend(decoder.error(&event.data));
        } else {
            match decoder.data(&event.data) {
                Ok(decoded) => events.extend(decoded),
                Err(_) => return false,
            }
        }
    }
    true
}

fn text_bytes(event: &Event) -> usize {
    match event {
        Event::Text(piece) | Event::Reasoning(piece) => piece.text.len(),
        Event::ToolCall(call) => call.arguments.len() + call.name.as_ref().map_or(0, String::len),
        Event::Progress { .. }
        | Event::Embedded { .. }
        | Event::Ranked { .. }
        | Event::Finished(_)
        | Event::Failed(_) => 0,
    }
}
