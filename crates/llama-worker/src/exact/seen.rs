//! Pictures through the engine as it ships, beside mtmd's own loop over llama.cpp.
//!
//! A picture, its neighbours and their order are computed here in the steps in which mtmd computes them
//! where a conversation is alone and begins anew. What comes from a kept prefix or is computed beside
//! others is rounded differently, so that texts may part where the two likeliest tokens are as good as
//! equal. Not here: reading files (`picture`), which rows are in which step (`planner::batch`).

use std::cell::RefCell;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc::{Sender, channel};

use engine::{Inbox, Outbox, logprobs};
use image::{ImageFormat, RgbImage};
use kv_store::Tiers;
use planner::footprint::CacheType;
use worker_protocol::limits::EVENT_CREDIT_BATCH;
use worker_protocol::{
    Chat, Command, Event, FailureKind, Generate, LoadFailureKind, Media, MediaKind, Message,
    Prompt, Report, RequestId, Role, Sampling, Speculation, Usage, frame,
};

use super::{life, models};
use crate::llama::{Bitmap, CacheTypes, Context, ContextShape, Eyes, Threads, Weights};
use crate::log;
use crate::model::LlamaModel;
use crate::{picture, sound};

/// Tokens of each answer.
const ANSWER_TOKENS: u32 = 12;

/// A lead of the likeliest token below this is a near tie.
const NEAR: f32 = 0.05;

/// A model and its projector.
struct Pair {
    model: PathBuf,
    projector: PathBuf,
}

/// Architectures with the projectors they are tried with: windows with rows that look at each other, full
/// attention, convolutions beside attention, and rows that share positions in both kinds of models.
const PAIRS: [(&str, &str); 6] = [
    ("gemma3", "gemma3"),
    ("llama", "mlp"),
    ("qwen3", "mlp"),
    ("lfm2", "gemma3"),
    ("qwen3vl", "qwen2vl"),
    ("qwen35", "qwen2vl"),
];

/// Models that carry a state, which stands behind the last answer.
const WITH_STATE: [&str; 2] = ["lfm2", "qwen35"];

/// Models whose rows share positions; of these only what stands before the first picture is kept in files.
const SHARES_POSITIONS: [&str; 2] = ["qwen3vl", "qwen35"];

fn made(architecture: &str, projector: &str, folder: &Path) -> Pair {
    let model = models::made(architecture, "f16", folder);
    let projector = models::made_projector(projector, architecture, "tiny", folder);
    Pair { model, projector }
}

impl Pair {
    fn load(&self) -> LlamaModel {
        models::load_seeing(&self.model, (&self.projector, true), 3).unwrap()
    }
}

/// What a message is made of.
#[derive(Debug, Clone, Copy)]
enum Piece<'a> {
    Text(&'a str),
    Picture(&'a [u8]),
    Sound(&'a [u8]),
}

use Piece::{Picture, Sound, Text};

/// A picture of nothing, in a file.
fn drawn(seed: u32) -> Vec<u8> {
    let shade = |x: u32, y: u32, channel: u32| {
        let wave = (x * (seed + 1) / 3) ^ (y * (2 * seed + channel) / 5);
        (wave * 37 + seed * 71 + channel * 90) as u8
    };
    let draw = |x, y| image::Rgb([shade(x, y, 0), shade(x, y, 1), shade(x, y, 2)]);
    // Where a picture becomes as many rows as it has patches, they are in four lines and more columns.
    let picture = RgbImage::from_fn(150 + 28 * seed, 112, draw);
    let mut file = Cursor::new(Vec::new());
    picture.write_to(&mut file, ImageFormat::Png).unwrap();
    file.into_inner()
}

/// A second of a tone, in a file.
fn played(hertz: f32) -> Vec<u8> {
    const RATE: u32 = 16_000;
    let sample = |at: u32| (at as f32 / RATE as f32 * hertz * std::f32::consts::TAU).sin();
    let samples: Vec<u8> =
        (0..RATE).flat_map(|at| ((sample(at) * 20_000.0) as i16).to_le_bytes()).collect();
    let length = samples.len() as u32;
    let mut file = b"RIFF".to_vec();
    file.extend((36 + length).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(RATE.to_le_bytes());
    file.extend((2 * RATE).to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend(length.to_le_bytes());
    file.extend(samples);
    file
}

/// One message of the user.
fn asked(pieces: &[Piece<'_>]) -> Generate {
    let mut message = Message::text(Role::User, "");
    let mut content = String::new();
    for piece in pieces {
        let (kind, bytes) = match piece {
            Text(text) => {
                content.push_str(text);
                continue;
            }
            Picture(file) => (MediaKind::Image, file.to_vec()),
            Sound(file) => (MediaKind::Audio, file.to_vec()),
        };
        message.media.push(Media { at: u32::try_from(content.len()).unwrap(), kind, bytes });
    }
    message.content = Some(content);
    Generate {
        sampling: Sampling::greedy(),
        tokens_max: Some(ANSWER_TOKENS),
        ignore_end: true,
        logprobs: Some(0),
        ..Generate::new(Prompt::Chat(Chat { messages: vec![message], ..Chat::default() }))
    }
}

/// By how much the log-probability of a token may differ because of other steps.
const ROUNDED: f32 = 0.03;

/// A token with its log-probability, and by how much it leads the next one, in logits.
type Chosen = (u32, f32, f32);

/// What mtmd's own loop answers.
fn own_answer(pair: &Pair, pieces: &[Piece<'_>]) -> Vec<Chosen> {
    log::silence();
    let weights = Rc::new(Weights::load(&pair.model, false, |_| {}).unwrap());
    let eyes = Eyes::load(&pair.projector, &weights, 1, true, None).unwrap();
    let shape = ContextShape {
        cells: 2048,
        sequences: 1,
        step_tokens: 512,
        outputs: 1,
        unified: true,
        flash_attention: true,
        cache: CacheTypes::both(CacheType::F16),
        whole_windows: true,
        pooling: None,
        taken_back_max: 0,
        is_head: false,
    };
    let mut context = Context::new(Rc::clone(&weights), shape, Threads::start(1)).unwrap();
    let mut text = "<|im_start|>user\n".to_owned();
    let mut bitmaps = Vec::new();
    for piece in pieces {
        match piece {
            Text(piece) => text.push_str(piece),
            Picture(file) => {
                text.push_str("<__media__>");
                let picture::Pixels { width, height, bytes } = picture::read(file).unwrap();
                bitmaps.push(Bitmap::of_pixels(width, height, &bytes).unwrap());
            }
            Sound(file) => {
                text.push_str("<__media__>");
                let samples = sound::read(file, eyes.sound_rate().unwrap()).unwrap();
                bitmaps.push(Bitmap::of_sound(&samples).unwrap());
            }
        }
    }
    text.push_str("<|im_end|>\n<|im_start|>assistant\n");
    let (mut logits, mut position) = context.evaluate(&eyes, &text, &bitmaps).unwrap();
    let mut answer = Vec::new();
    loop {
        let chosen = likeliest(&logits);
        answer.push(chosen);
        if answer.len() == ANSWER_TOKENS as usize {
            return answer;
        }
        let row = crate::llama::BatchRow { token: chosen.0, position, sequence: 0, output: true };
        context.decode(&[row]).unwrap();
        logits = context.logits(0).to_vec();
        position += 1;
    }
}

fn likeliest(logits: &[f32]) -> Chosen {
    let mut best = (0, f32::NEG_INFINITY);
    let mut second = f32::NEG_INFINITY;
    for (token, logit) in (0..).zip(logits) {
        if *logit > best.1 {
            second = best.1;
            best = (token, *logit);
        } else {
            second = second.max(*logit);
        }
    }
    (best.0, logprobs::read(logits, best.0, 0).0, best.1 - second)
}

/// How a request ended.
#[derive(Debug, Default, Clone)]
struct Answer {
    /// With their log-probabilities.
    tokens: Vec<(u32, f32)>,
    usage: Usage,
    failed: Option<(FailureKind, String)>,
}

/// What the engine answers to these, one after the other or all at once.
fn answers(
    model: LlamaModel,
    tiers: Option<Tiers>,
    asked: &[Generate],
    at_once: bool,
) -> Vec<Answer> {
    let (commands, inbox) = channel();
    let tiers = tiers.map(|tiers| {
        let (give, given) = channel();
        give.send(tiers).unwrap();
        given
    });
    let answers = Rc::new(RefCell::new(vec![Answer::default(); asked.len()]));
    let mut reader = Reader {
        decoder: frame::Decoder::default(),
        commands: Some(commands),
        waiting: asked.iter().cloned().enumerate().rev().collect(),
        answers: Rc::clone(&answers),
        left: asked.len(),
    };
    for _ in 0..if at_once { asked.len() } else { 1 } {
        reader.ask();
    }
    let (inbox, outbox) = (Inbox::new(inbox), Outbox::new(reader));
    engine::run(model, &inbox, outbox, tiers, &Speculation::default()).unwrap();
    answers.take()
}

/// The hub's end.
struct Reader {
    decoder: frame::Decoder,
    commands: Option<Sender<Command>>,
    /// The next one last.
    waiting: Vec<(usize, Generate)>,
    answers: Rc<RefCell<Vec<Answer>>>,
    left: usize,
}

impl Reader {
    fn ask(&mut self) {
        let Some((request, generate)) = self.waiting.pop() else { return };
        self.send(Command::Generate { request: RequestId(request as u64), generate });
    }

    fn send(&self, command: Command) {
        self.commands.as_ref().unwrap().send(command).unwrap();
    }

    fn take(&mut self, request: RequestId, event: Event) {
        let mut answers = self.answers.borrow_mut();
        let answer = &mut answers[usize::try_from(request.0).unwrap()];
        match event {
            Event::Text(piece) => {
                let tokens = piece.logprobs.iter().map(|said| (said.token.id, said.token.logprob));
                answer.tokens.extend(tokens);
            }
            Event::Progress { .. } => {}
            Event::Finished(finished) => answer.usage = finished.usage,
            Event::Failed(failure) => answer.failed = Some((failure.kind, failure.message)),
            Event::Reasoning(_)
            | Event::ToolCall(_)
            | Event::Embedded { .. }
            | Event::Ranked { .. } => {
                panic!("{event:?}")
            }
        }
        let is_over = answer.failed.is_some() || answer.usage != Usage::default();
        drop(answers);
        if is_over {
            self.left -= 1;
            self.ask();
            if self.left == 0 {
                self.commands = None;
            }
        } else {
            self.send(Command::Credit { request, events: EVENT_CREDIT_BATCH });
        }
    }
}

impl Write for Reader {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.decoder.push(bytes);
        while let Some(report) = self.decoder.take::<Report>().unwrap() {
            if let Report::Event { request, event } = report {
                self.take(request, event);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Whether the answer is mtmd's own, but for what follows a near tie.
#[track_caller]
fn check(answer: &Answer, own: &[Chosen], what: &str) {
    assert_eq!(answer.failed, None, "{what}");
    assert_eq!(answer.tokens.len(), own.len(), "{what}");
    for ((token, logprob), (own, own_logprob, lead)) in answer.tokens.iter().zip(own) {
        let apart = (logprob - own_logprob).abs();
        assert!(apart < ROUNDED, "{what}: {token} is {apart} less likely than {own}");
        if token != own {
            assert!(*lead < NEAR, "{what}: {token} in place of {own}, which leads by {lead}");
            return;
        }
    }
}

fn ids(own: &[Chosen]) -> Vec<u32> {
    own.iter().map(|(token, ..)| *token).collect()
}

#[test]
fn a_conversation_with_pictures_is_answered_as_mtmd_answers_it() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (drawn(1), drawn(2));
    let conversations: [&[Piece<'_>]; 5] = [
        &[Picture(&one), Text("what is this?")],
        &[Text("here it is: "), Picture(&one), Text(" and now?")],
        &[Picture(&one), Text(" beside "), Picture(&two), Text("?")],
        &[Picture(&two), Picture(&one), Text(".")],
        &[Text("and without any?")],
    ];
    for (architecture, projector) in PAIRS {
        let pair = made(architecture, projector, folder.path());
        let mut said = Vec::new();
        for pieces in conversations {
            // Each from nothing, in mtmd's steps: equal to the last token.
            let answer = answers(pair.load(), None, &[asked(pieces)], false).remove(0);
            let own = own_answer(&pair, pieces);
            assert_eq!(answer.failed, None);
            let tokens: Vec<u32> = answer.tokens.iter().map(|(token, _)| *token).collect();
            assert_eq!(tokens, ids(&own), "{architecture} {pieces:?}");
            said.push(tokens);
        }
        said.dedup();
        assert!(said.len() > 3, "{architecture}: pictures change what is said: {said:?}");
    }
}

#[test]
fn the_same_picture_is_found_and_another_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (drawn(1), drawn(2));
    let before = "there is a picture here, and it is to be looked at with care: ";
    for (architecture, projector) in PAIRS {
        let pair = made(architecture, projector, folder.path());
        let pieces = |file| [Text(before), Picture(file), Text("what is it?")];
        let requests = [&one, &one, &two, &one].map(|file| asked(&pieces(file)));
        let answered = answers(pair.load(), None, &requests, false);
        for (answer, file) in answered.iter().zip([&one, &one, &two, &one]) {
            check(answer, &own_answer(&pair, &pieces(file)), architecture);
        }
        if WITH_STATE.contains(&architecture) {
            continue;
        }
        let [first, again, other, _] = &answered[..] else { panic!() };
        assert_eq!(first.usage.cached_tokens, 0);
        assert_eq!(again.usage.cached_tokens, first.usage.prompt_tokens - 1, "{architecture}");
        let rows = first.usage.prompt_tokens - other.usage.cached_tokens;
        assert!(rows > 16, "{architecture}: {rows} tokens of another picture are computed");
        assert!(other.usage.cached_tokens > 20, "{architecture}: what stands before it is found");
    }
}

#[test]
fn pictures_beside_streams_change_no_text() {
    let folder = tempfile::tempdir().unwrap();
    let files = [drawn(1), drawn(2), drawn(3)];
    for (architecture, projector) in PAIRS {
        let pair = made(architecture, projector, folder.path());
        let conversations: Vec<Vec<Piece<'_>>> = (0..8)
            .map(|at| match at % 4 {
                0 => vec![Text("a stream without any picture, which runs beside others")],
                1 => vec![Picture(&files[at % 3]), Text("?")],
                2 => vec![Text("look: "), Picture(&files[at % 3]), Picture(&files[0]), Text("!")],
                _ => vec![Text("again "), Picture(&files[1]), Text(" and again")],
            })
            .collect();
        let requests: Vec<Generate> = conversations.iter().map(|pieces| asked(pieces)).collect();
        let answered = answers(pair.load(), None, &requests, true);
        for (answer, pieces) in answered.iter().zip(&conversations) {
            check(answer, &own_answer(&pair, pieces), architecture);
        }
    }
}

#[test]
fn a_picture_comes_back_from_files() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (drawn(1), drawn(2));
    for (architecture, projector) in PAIRS {
        let pair = made(architecture, projector, folder.path());
        let store = tempfile::tempdir().unwrap();
        let pieces =
            [Text("here: "), Picture(&one), Text("and "), Picture(&two), Text("what is it?")];
        let mut restored = None;
        for life in 0..3 {
            let model = pair.load();
            let tiers = life::open(&model, "made", store.path());
            let answer = answers(model, Some(tiers), &[asked(&pieces)], false).remove(0);
            check(&answer, &own_answer(&pair, &pieces), architecture);
            let usage = answer.usage;
            if SHARES_POSITIONS.contains(&architecture) {
                assert!(usage.cached_ssd_tokens < 40, "{architecture}");
            } else {
                let expected = if life == 0 { 0 } else { usage.prompt_tokens - 1 };
                assert_eq!(usage.cached_ssd_tokens, expected, "{architecture}");
            }
            if life > 0 {
                // The same cells and the same steps.
                let restored = restored.get_or_insert(answer.tokens.clone());
                assert_eq!(answer.tokens, *restored, "{architecture}");
            }
        }
    }
}

#[test]
fn what_cannot_be_seen_fails_its_request_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let pair = made("gemma3", "gemma3", folder.path());
    let whole = drawn(1);
    let cut = &whole[..whole.len() / 2];
    let mut bomb = whole.clone();
    bomb[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
    let requests = [
        asked(&[Picture(&whole), Text("?")]),
        asked(&[Picture(&whole), Picture(cut), Text("?")]),
        asked(&[Picture(&bomb), Text("?")]),
        asked(&[Picture(b"<html>"), Text("?")]),
        asked(&[Picture(&whole), Text("?")]),
    ];
    let own = own_answer(&pair, &[Picture(&whole), Text("?")]);
    for at_once in [false, true] {
        let answered = answers(pair.load(), None, &requests, at_once);
        // Each in steps of its own, which round in their own way.
        for answer in [&answered[0], &answered[4]] {
            check(answer, &own, "beside what cannot be seen");
        }
        for (answer, why) in answered[1..4].iter().zip(["file 2", "file 1", "neither PNG"]) {
            let (kind, message) = answer.failed.as_ref().unwrap();
            assert_eq!(*kind, FailureKind::Invalid);
            assert!(message.contains(why), "{message}");
        }
    }
}

#[test]
fn a_projector_that_does_not_fit_is_named_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let pair = made("qwen3", "mlp", folder.path());
    let wide = models::made_projector("mlp", "qwen3", "small", folder.path());
    let cut = folder.path().join("cut.gguf");
    let bytes = std::fs::read(&pair.projector).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let away = folder.path().join("away.gguf");
    for (projector, expected) in [
        (&wide, LoadFailureKind::Unusable),
        (&pair.model, LoadFailureKind::Unusable),
        (&cut, LoadFailureKind::Unusable),
        (&away, LoadFailureKind::Unreadable),
    ] {
        let load = |is_named| models::load_seeing(&pair.model, (projector, is_named), 1);
        let failure = load(true).map(|_| ()).unwrap_err();
        assert_eq!(failure.kind, expected, "{}", failure.message);
        let name = projector.display().to_string();
        assert!(failure.message.contains(&name), "{}", failure.message);
        // One that merely lies there must not take the text away.
        let facts = engine::Model::facts(&load(false).unwrap()).clone();
        assert!(facts.generates && !facts.sees && !facts.hears);
    }
}

#[test]
fn sounds_are_heard_as_mtmd_hears_them() {
    let folder = tempfile::tempdir().unwrap();
    let pair = made("qwen3", "ultravox", folder.path());
    let (low, high) = (played(200.0), played(3000.0));
    let conversations: [&[Piece<'_>]; 4] = [
        &[Sound(&low), Text("what is this?")],
        &[Text("listen: "), Sound(&high), Text("well?")],
        &[Text("listen: "), Sound(&low), Text("well?")],
        &[Text("listen: "), Sound(&low), Text("well?")],
    ];
    let mut requests: Vec<Generate> = conversations.iter().map(|pieces| asked(pieces)).collect();
    let cut = [Sound(&low[..30]), Text("?")];
    let seen = drawn(1);
    requests.extend([asked(&cut), asked(&[Picture(&seen), Text("?")])]);
    let answered = answers(pair.load(), None, &requests, false);
    for (answer, pieces) in answered.iter().zip(conversations) {
        check(answer, &own_answer(&pair, pieces), "a sound");
    }
    let [_, high, low, again, cut, picture] = &answered[..] else { panic!() };
    assert_ne!(high.tokens, low.tokens);
    assert_eq!(again.usage.cached_tokens, low.usage.prompt_tokens - 1);
    for (answer, why) in [(cut, "broken or cut"), (picture, "sees no pictures")] {
        let (kind, message) = answer.failed.as_ref().unwrap();
        assert_eq!(*kind, FailureKind::Invalid);
        assert!(message.contains(why), "{message}");
    }
}
