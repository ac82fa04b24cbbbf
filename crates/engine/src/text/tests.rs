//! The whole way from token bytes to events.
#![expect(clippy::wildcard_enum_match_arm, reason = "a test panics on whatever else comes")]

use worker_protocol::Alternative;

use super::*;

fn logprob(id: u32, bytes: &[u8]) -> TokenLogprob {
    let token = Alternative { id, bytes: bytes.to_vec(), logprob: -1.0 };
    TokenLogprob { token, top: Vec::new() }
}

/// Pushes tokens; returns text pieces with the ids of their log-probabilities, and the stop.
fn run(stops: &[&str], tokens: &[&[u8]]) -> (Vec<(String, Vec<u32>)>, Option<String>) {
    let stops = stops.iter().map(ToString::to_string).collect();
    let mut text = Text::new(stops, Markup::default());
    let mut events = Vec::new();
    let mut stop = None;
    for (id, bytes) in (0_u32..).zip(tokens) {
        stop = text.push(bytes, false, Some(logprob(id, bytes)), &mut events);
        if stop.is_some() {
            break;
        }
    }
    if stop.is_none() {
        text.finish(&mut events);
    }
    let pieces = events.into_iter().map(|event| match event {
        Event::Text(piece) => {
            (piece.text, piece.logprobs.iter().map(|logprob| logprob.token.id).collect())
        }
        other => panic!("{other:?}"),
    });
    (pieces.collect(), stop)
}

#[test]
fn each_token_is_reported_with_the_piece_that_brings_its_last_byte() {
    let crab = "🦀".as_bytes();
    let (pieces, _) = run(&[], &[b"a", &crab[..1], &crab[1..3], &crab[3..], b"b"]);
    assert_eq!(
        pieces,
        [("a".to_owned(), vec![0]), ("🦀".to_owned(), vec![1, 2, 3]), ("b".to_owned(), vec![4])]
    );
}

#[test]
fn tokens_of_a_stop_string_are_not_reported() {
    let (pieces, stop) = run(&["END"], &[b"x", b"E", b"N", b"D"]);
    assert_eq!(pieces, [("x".to_owned(), vec![0])]);
    assert_eq!(stop.as_deref(), Some("END"));
}

#[test]
fn tokens_held_for_a_stop_that_did_not_come_are_reported_in_the_end() {
    let (pieces, stop) = run(&["END"], &[b"x", b"E", b"N"]);
    let all: Vec<u32> = pieces.iter().flat_map(|(_, ids)| ids.clone()).collect();
    let text: String = pieces.into_iter().map(|(text, _)| text).collect();
    assert_eq!((text.as_str(), stop, all), ("xEN", None, vec![0, 1, 2]));
}

#[test]
fn a_text_that_ends_inside_a_character_is_still_whole_utf8() {
    let (pieces, _) = run(&[], &[b"a", b"\xf0\x9f"]);
    let text: String = pieces.into_iter().map(|(text, _)| text).collect();
    assert_eq!(text, "a\u{fffd}");
}
