//! Pictures in conversations: what the cache holds of them is what their vectors say, whatever runs
//! beside, and nothing is computed again that is there.

use kv_store::Mode;
use worker_protocol::{Media, MediaKind};

use super::*;
use crate::fake::{Look, picture, seen_tokens};

/// What a message is made of.
#[derive(Debug, Clone)]
enum Piece {
    Text(&'static str),
    Picture(Vec<u8>),
}

use Piece::{Picture, Text};

fn message(role: Role, pieces: &[Piece]) -> Message {
    let mut message = Message::text(role, "");
    let mut content = String::new();
    for piece in pieces {
        match piece {
            Text(text) => content.push_str(text),
            Picture(bytes) => message.media.push(Media {
                at: u32::try_from(content.len()).unwrap(),
                kind: MediaKind::Image,
                bytes: bytes.clone(),
            }),
        }
    }
    message.content = Some(content);
    message
}

fn asked(messages: Vec<Message>) -> Prompt {
    Prompt::Chat(Chat { messages, ..Chat::default() })
}

fn ask(pieces: &[Piece]) -> Prompt {
    asked(vec![message(Role::User, pieces)])
}

/// What the fake's cache holds of a message.
fn tokens_of(role: &str, pieces: &[Piece]) -> Vec<u32> {
    let bytes = |text: &str| text.bytes().map(u32::from).collect::<Vec<u32>>();
    let mut tokens = bytes(&format!("[{role}]"));
    for piece in pieces {
        tokens.extend(match piece {
            Text(text) => bytes(text),
            Picture(file) => seen_tokens(file),
        });
    }
    tokens
}

fn answer_to(prompt: Prompt) -> Generate {
    Generate { sampling: Sampling::greedy(), tokens_max: Some(30), ..Generate::new(prompt) }
}

#[track_caller]
fn check(hub: &mut Hub, request: u64, pieces: &[Piece]) -> Usage {
    hub.generate(request, answer_to(ask(pieces)));
    let answer = hub.read(request);
    let tokens = tokens_of("user", pieces);
    assert_eq!(answer.text, expected(&tokens, 30));
    let usage = answer.finished().usage;
    assert_eq!(usage.prompt_tokens as usize, tokens.len());
    usage
}

const LOOKS: [Look; 4] = [Look::Plain, Look::Whole, Look::Steps, Look::Parts];

#[test]
fn a_conversation_with_pictures_reads_as_they_stand_in_it() {
    for (request, look) in (0..).zip(LOOKS) {
        let mut hub = Hub::start(Fake::seeing(512, 2, true));
        let cat = || Picture(picture(30, look, "cat"));
        let dog = || Picture(picture(9, look, "dog"));
        check(&mut hub, request, &[Text("what is "), cat(), Text(" and "), dog(), Text("?")]);
        check(&mut hub, 10 + request, &[cat(), dog(), dog(), Text("same?")]);
        // In the middle of a history, and at its beginning.
        let turns = [
            ("user", vec![dog(), Text("who?")]),
            ("assistant", vec![Text("a residentmedia0x0. dog")]),
            ("user", vec![Text("and "), cat(), Text("¿who?")]),
        ];
        let messages = turns.iter().map(|(role, pieces)| {
            message(if *role == "user" { Role::User } else { Role::Assistant }, pieces)
        });
        hub.generate(20, answer_to(asked(messages.collect())));
        let tokens: Vec<u32> =
            turns.iter().flat_map(|(role, pieces)| tokens_of(role, pieces)).collect();
        assert_eq!(hub.read(20).text, expected(&tokens, 30), "{look:?}");
    }
}

#[test]
fn a_picture_is_computed_once_and_found_again() {
    for (look, trims) in
        [(Look::Plain, true), (Look::Whole, true), (Look::Steps, true), (Look::Whole, false)]
    {
        let model = Fake::seeing(2048, 4, trims);
        let encoded = Arc::clone(&model.encoded);
        let mut hub = Hub::start(model);
        let show = |name| [Text("look at this: "), Picture(picture(32, look, name)), Text("ok?")];
        let tokens = tokens_of("user", &show("cat")).len();
        assert_eq!(check(&mut hub, 1, &show("cat")).cached_tokens, 0);
        let again = check(&mut hub, 2, &show("cat")).cached_tokens as usize;
        // Where nothing can be trimmed, the answer stands behind the prompt.
        assert_eq!(again, if trims { tokens - 1 } else { 0 });
        assert_eq!(encoded.load(Ordering::Relaxed), 1);
        let other = check(&mut hub, 3, &show("dog")).cached_tokens as usize;
        assert!(other <= tokens - 32 - "ok?".len(), "{other} tokens of another picture");
        assert_eq!(encoded.load(Ordering::Relaxed), 2);
    }
}

#[test]
fn pictures_beside_streams_change_no_text() {
    for trims in [true, false] {
        let mut hub = Hub::start(Fake::seeing(300, 4, trims));
        let names = ["cat", "dog", "cow"];
        let pieces = |request: u64| {
            let at = request as usize;
            let file = picture(5 + 9 * (at % 3) as u8, LOOKS[at % 4], names[at / 2 % 3]);
            [Text(["", "a", "what is this? "][at % 3]), Picture(file), Text("well?")]
        };
        for request in 0..20 {
            let words = prompt(request as u32 % 5, 60);
            hub.generate(100 + request, greedy(words, 60));
            hub.generate(request, answer_to(ask(&pieces(request))));
        }
        for request in 0..20 {
            let words = prompt(request as u32 % 5, 60);
            assert_eq!(hub.read(100 + request).text, expected(&words, 60));
            let tokens = tokens_of("user", &pieces(request));
            assert_eq!(hub.read(request).text, expected(&tokens, 30), "{request}, {trims}");
        }
    }
}

#[test]
fn what_is_cancelled_before_its_picture_is_begun_costs_nothing() {
    let mut model = Fake::seeing(512, 4, true);
    let (open, gate) = channel();
    model.gate = Some(gate);
    let encoded = Arc::clone(&model.encoded);
    let mut hub = Hub::start(model);
    let show = |name| [Picture(picture(20, Look::Whole, name)), Text("?")];
    hub.generate(1, answer_to(ask(&show("cat"))));
    hub.generate(2, answer_to(ask(&show("dog"))));
    hub.send(Command::Cancel { request: RequestId(2) });
    open.send(()).unwrap();
    assert_eq!(hub.read(1).text, expected(&tokens_of("user", &show("cat")), 30));
    assert_eq!(hub.read(2).finished().reason, FinishReason::Cancelled);
    drop(open);
    check(&mut hub, 3, &show("cow"));
    assert_eq!(encoded.load(Ordering::Relaxed), 2, "cat and cow");
}

#[test]
fn a_broken_picture_fails_its_request_alone_and_says_which() {
    let mut hub = Hub::start(Fake::seeing(512, 4, true));
    let whole = || Picture(picture(20, Look::Whole, "cat"));
    for (request, look, why) in
        [(1, Look::NoHead, "it has no head"), (2, Look::NoBody, "it ends in its middle")]
    {
        hub.generate(10, greedy(prompt(1, 30), 60));
        hub.generate(request, answer_to(ask(&[whole(), Picture(picture(9, look, "")), Text("?")])));
        let answer = hub.read(request);
        let Failure { kind, message } = answer.failed();
        assert_eq!(*kind, FailureKind::Invalid);
        assert!(message.contains("file 2") && message.contains(why), "{message}");
        assert_eq!(hub.read(10).text, expected(&prompt(1, 30), 60));
        check(&mut hub, 20 + request, &[whole(), Text("?")]);
    }
}

#[test]
fn what_cannot_be_taken_is_refused_with_the_reason() {
    let mut hub = Hub::start(Fake::seeing(128, 4, true));
    let mut refused = |prompt| {
        hub.generate(1, answer_to(prompt));
        hub.read(1).failed().clone()
    };
    let shown = |rows, look| Picture(picture(rows, look, "cat"));
    let sound = |bytes| Media { at: 0, kind: MediaKind::Audio, bytes };
    let mut heard = message(Role::User, &[Text("what?")]);
    heard.media.push(sound(picture(9, Look::Plain, "meow")));
    let mut astray = message(Role::User, &[Text("añ"), shown(9, Look::Plain), Text("?")]);
    astray.media[0].at = 2;
    let mut behind = message(Role::User, &[shown(9, Look::Plain), Text("?")]);
    behind.media[0].at = 7;
    let many = vec![shown(1, Look::Plain); crate::limits::MEDIA_FILES_MAX + 1];
    for (prompt, why) in [
        (asked(vec![heard]), "hears no sounds"),
        (asked(vec![astray]), "at byte 2"),
        (asked(vec![behind]), "at byte 7"),
        (ask(&many), "at most 256"),
        (ask(&[shown(33, Look::Whole), Text("?")]), "a step of it holds 32"),
        (ask(&[shown(0, Look::Plain), Text("?")]), "makes nothing of it"),
    ] {
        let Failure { kind, message } = refused(prompt);
        assert!(message.contains(why), "{message}");
        assert_eq!(kind, FailureKind::Invalid, "{message}");
    }
    let long = refused(ask(&[shown(200, Look::Plain), Text("?")]));
    let kind = FailureKind::ContextLength { prompt_tokens: 209, context_tokens: 128 };
    assert_eq!(long.kind, kind);
    let mut blind = Hub::start(Fake::new(128, 4, true));
    blind.generate(1, answer_to(ask(&[shown(9, Look::Plain), Text("?")])));
    assert!(blind.read(1).failed().message.contains("sees no pictures"));
}

#[test]
fn a_template_that_leaves_a_picture_out_is_said() {
    let mut model = Fake::seeing(512, 4, true);
    model.template = "{% for m in messages %}{% if m.role == 'user' %}{{ m.content | upper }}!{% endif %}{% endfor %}";
    let mut hub = Hub::start(model);
    let shown = [Picture(picture(9, Look::Plain, "cat")), Text("?")];
    hub.generate(1, answer_to(asked(vec![message(Role::System, &shown)])));
    let message = hub.read(1).failed().message.clone();
    assert!(message.contains("chat template leaves it out"), "{message}");
    hub.generate(2, answer_to(ask(&shown)));
    let message = hub.read(2).failed().message.clone();
    assert!(message.contains("chat template leaves it out"), "{message}");
}

#[test]
fn a_picture_outlives_its_engine() {
    for (look, trims) in
        [(Look::Plain, true), (Look::Whole, true), (Look::Steps, true), (Look::Whole, false)]
    {
        let folder = tempfile::tempdir().unwrap();
        let life = || {
            let tiers = kept::tiers(folder.path(), Mode::Ssd, trims);
            let model = Fake::seeing(4096, 4, trims);
            let encoded = Arc::clone(&model.encoded);
            (Hub::start_with(model, Some(tiers)), encoded)
        };
        // The first block ends within the run.
        let pieces = [
            Text("now "),
            Text(
                "................................................................................",
            ),
            Text(
                "................................................................................",
            ),
            Text(
                "................................................................................",
            ),
            Picture(picture(32, look, "cat")),
            Text("ok?"),
        ];
        let (mut hub, _) = life();
        let tokens = check(&mut hub, 1, &pieces).prompt_tokens;
        drop(hub);
        let (mut hub, encoded) = life();
        let usage = check(&mut hub, 1, &pieces);
        assert_eq!(usage.cached_ssd_tokens, tokens - 1, "{look:?} {trims}");
        assert_eq!(encoded.load(Ordering::Relaxed), 0, "it is there");
    }
}

#[test]
fn tokens_of_a_conversation_are_counted_with_its_pictures() {
    let mut hub = Hub::start(Fake::seeing(512, 4, true));
    let pieces = [Text("¿what?"), Picture(picture(20, Look::Parts, "cat")), Text("?")];
    hub.send(Command::Count { request: RequestId(1), prompt: ask(&pieces) });
    let usage = hub.read(1).finished().usage;
    assert_eq!(usage.prompt_tokens as usize, tokens_of("user", &pieces).len());
}
