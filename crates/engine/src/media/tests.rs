//! Marks in texts, and the tokens of rows.

use planner::batch::Cut;
use worker_protocol::{Message, Role};

use super::*;

fn file(at: u32, name: &str) -> File {
    File { at, kind: MediaKind::Image, bytes: name.as_bytes().to_vec() }
}

#[test]
fn a_mark_is_in_no_text_of_the_request_and_each_file_has_its_own() {
    let mut chat = Chat::default();
    let mut message = Message::text(Role::User, "ab");
    message.media = vec![file(0, "x"), file(1, "y"), file(1, "z"), file(2, "x")];
    chat.messages = vec![Message::text(Role::System, "residentmedia0x1."), message];
    chat.tools = vec![serde_json::json!({"name": "residentmedia1x"})];
    let (mark, files) = mark_files(&mut chat).unwrap();
    assert_eq!(files.iter().map(MediaFile::bytes).collect::<Vec<_>>(), [b"x", b"y", b"z", b"x"]);
    let marked = chat.messages[1].content.as_deref().unwrap();
    assert_eq!(marked.replace(&mark, "#"), "#0.a#1.#2.b#3.");
    assert!(chat.messages.iter().all(|message| message.media.is_empty()));
    // Another one for another text, so that none can be learnt and sent.
    let mut other = Chat::default();
    let message = Message::text(Role::User, &mark);
    other.messages = vec![Message { media: vec![file(0, "x")], ..message }];
    let (other_mark, _) = mark_files(&mut other).unwrap();
    assert_ne!(other_mark, mark);
    assert_eq!(other.messages[0].content, Some(format!("{other_mark}0.{mark}")));
}

/// Whoever writes what marks may begin with must not make the worker look for one that is free.
#[test]
fn a_text_full_of_marks_takes_no_longer_than_another() {
    let marks: String = (0..400_000).map(|number| format!("residentmedia{number}x")).collect();
    let mut chat = Chat::default();
    let message = Message::text(Role::User, &marks);
    chat.messages = vec![Message { media: vec![file(0, "x")], ..message }];
    let (mark, _) = mark_files(&mut chat).unwrap();
    assert!(!marks.contains(&mark));
}

#[test]
fn a_message_of_nothing_but_a_picture_has_a_text() {
    let mut chat = Chat::default();
    let mut message = Message::text(Role::User, "");
    message.content = None;
    message.media = vec![file(0, "x")];
    chat.messages = vec![message];
    let (mark, _) = mark_files(&mut chat).unwrap();
    assert_eq!(chat.messages[0].content, Some(format!("{mark}0.")));
}

#[test]
fn rows_are_called_by_what_they_are_computed_from() {
    let part = || MediaPart::Rows { rows: 9, cut: Cut::Nowhere };
    let parts = [part(), part()];
    let of = |projector: u8, kind, bytes: &str| {
        rows_of(&[projector; 32], &MediaFile::new(kind, bytes.as_bytes().to_vec()), &parts)
    };
    let image = MediaKind::Image;
    let known = of(1, image, "cat");
    assert_eq!(known, of(1, image, "cat"));
    assert!(known.iter().flatten().all(|token| *token >= MEDIA_TOKEN_MIN));
    let others = [of(2, image, "cat"), of(1, MediaKind::Audio, "cat"), of(1, image, "cow")];
    let others = others.iter().flatten().chain([&known[1]]);
    for other in others {
        let equal = known[0].iter().zip(other).filter(|(one, other)| one == other).count();
        assert!(equal < 2, "of 31 bits each");
    }
}
