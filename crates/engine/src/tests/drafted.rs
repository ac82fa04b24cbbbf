//! Guessing ahead: whatever is guessed, and by whom, the events are those without.

use kv_store::Mode;
use proptest::prelude::*;
use worker_protocol::{SpeculationSource, Usage};

use super::*;
use crate::fake::Speech;
use crate::model::Guessing;

fn guessing(tokens: Option<u32>) -> Speculation {
    Speculation { source: SpeculationSource::Lookup, tokens }
}

/// A model whose text goes round, so that lookups are often right.
fn round(cells: u32, sequences: u32, trims: bool) -> Fake {
    let mut model = Fake::new(cells, sequences, trims);
    model.speech = Speech::Round(7);
    model.takes_back_max = if trims { u32::MAX } else { 4 };
    model
}

fn said(tokens: &[u32], tokens_max: usize) -> String {
    let tokens = Speech::Round(7).expected_tokens(tokens, tokens_max);
    tokens.iter().map(|token| char::from(*token as u8)).collect()
}

/// A prompt after which it says so much, and at least `least` of it again and again.
fn talkative(least: usize) -> Vec<u32> {
    (0..).map(|seed| letters(seed, 20)).find(|p| said(p, least).len() >= least).unwrap()
}

/// As [`prompt`], of letters alone, since it comes back in the text.
fn letters(seed: u32, length: usize) -> Vec<u32> {
    prompt(seed, length).into_iter().map(|token| u32::from(b'a') + token % 26).collect()
}

#[test]
fn guesses_from_the_text_come_true_and_are_counted() {
    for trims in [true, false] {
        let mut hub = Hub::start_guessing(round(512, 2, trims), None, guessing(Some(8)));
        let tokens = talkative(100);
        hub.generate(1, greedy(tokens.clone(), 100));
        let answer = hub.read(1);
        assert_eq!(answer.text, said(&tokens, 100));
        let Usage { completion_tokens, drafted_tokens, accepted_tokens, .. } =
            answer.finished().usage;
        assert_eq!(completion_tokens, 100);
        assert!(accepted_tokens >= 50, "{accepted_tokens} of {drafted_tokens}, trims: {trims}");
        assert!(accepted_tokens <= drafted_tokens);
        while hub.stats.drafted_tokens != u64::from(drafted_tokens) {
            hub.receive();
        }
        assert_eq!(hub.stats.accepted_tokens, u64::from(accepted_tokens));
    }
}

#[test]
fn nothing_is_guessed_when_it_is_off_or_cannot_be_taken_back() {
    let stiff = || {
        let mut model = round(512, 2, false);
        model.takes_back_max = 0;
        model
    };
    let tokens = talkative(60);
    for (model, speculation) in
        [(round(512, 2, true), Speculation::default()), (stiff(), guessing(Some(8)))]
    {
        let mut hub = Hub::start_guessing(model, None, speculation);
        hub.generate(1, greedy(tokens.clone(), 60));
        let answer = hub.read(1);
        assert_eq!(answer.text, said(&tokens, 60));
        assert_eq!(answer.finished().usage.drafted_tokens, 0);
    }
}

#[test]
fn a_model_that_guesses_is_asked_and_checked() {
    let mut model = Fake::new(512, 2, true);
    model.guessing = Guessing::Tokens(5);
    let mut hub = Hub::start_guessing(model, None, guessing(Some(5)));
    let tokens = (0..).map(|seed| prompt(seed, 9)).find(|p| expected(p, 80).len() == 80).unwrap();
    hub.generate(1, greedy(tokens.clone(), 80));
    let answer = hub.read(1);
    assert_eq!(answer.text, expected(&tokens, 80));
    let usage = answer.finished().usage;
    assert!(usage.accepted_tokens > 40, "{usage:?}");
    assert!(usage.drafted_tokens > usage.accepted_tokens, "one in five is wrong: {usage:?}");
}

#[test]
fn a_text_ends_among_its_guesses_as_it_would_without() {
    let tokens = talkative(100);
    let text = said(&tokens, 100);
    let mut hub = Hub::start_guessing(round(120, 1, true), None, guessing(Some(16)));
    for (request, end) in (0..).zip(1..60_usize) {
        hub.generate(request, greedy(tokens.clone(), end as u32));
        let answer = hub.read(request);
        assert_eq!(answer.text, text[..end]);
        assert_eq!(answer.finished().reason, FinishReason::Length);
        assert_eq!(answer.finished().usage.completion_tokens as usize, end);
    }
    for (request, at) in (100..).zip(10..50_usize) {
        let stop = text[at..at + 4].to_owned();
        let found = text.find(&stop).unwrap();
        hub.generate(request, Generate { stop: vec![stop], ..greedy(tokens.clone(), 100) });
        let answer = hub.read(request);
        assert_eq!(answer.text, text[..found]);
        assert!(matches!(answer.finished().reason, FinishReason::StopString(_)));
    }
    hub.generate(900, Generate { tokens_max: None, ..greedy(tokens, 0) });
    let answer = hub.read(900);
    assert_eq!(answer.text, text[..100], "the context is full");
}

#[test]
fn logprobs_are_those_of_each_token() {
    let tokens = talkative(50);
    let mut answers = Vec::new();
    for speculation in [Speculation::default(), guessing(Some(6))] {
        let mut hub = Hub::start_guessing(round(256, 1, true), None, speculation);
        hub.generate(1, Generate { logprobs: Some(2), ..greedy(tokens.clone(), 50) });
        let mut logprobs = Vec::new();
        loop {
            match hub.next(1) {
                Event::Text(piece) => logprobs.extend(piece.logprobs),
                Event::Finished(_) => break,
                _ => {}
            }
        }
        answers.push(logprobs);
    }
    assert_eq!(answers[0].len(), 50);
    assert_eq!(answers[0], answers[1]);
}

#[derive(Debug, Clone)]
enum Act {
    Ask {
        seed: u32,
        length: usize,
        tokens_max: u32,
        stop: Option<u32>,
    },
    Cancel(u64),
    /// Reads one event of a request.
    Read(u64),
    Embed(usize),
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    let length = prop_oneof![4 => 1..60_usize, 1 => 60..300_usize];
    let stop = prop::option::of(0..26_u32);
    prop_oneof![
        8 => (0..4_u32, length, 1..120_u32, stop).prop_map(|(seed, length, tokens_max, stop)| {
            Act::Ask { seed, length, tokens_max, stop }
        }),
        1 => (0..40_u64).prop_map(Act::Cancel),
        3 => (0..40_u64).prop_map(Act::Read),
        1 => (1..100_usize).prop_map(Act::Embed),
        1 => Just(Act::Restart),
    ]
}

fn engine(folder: &std::path::Path, trims: bool, by_model: bool, tokens: Option<u32>) -> Hub {
    let mut model = round(512, 3, trims);
    if by_model {
        model.guessing = Guessing::Tokens(5);
    }
    let tiers = kept::tiers(folder, Mode::Ssd, trims);
    Hub::start_guessing(model, Some(tiers), guessing(tokens))
}

/// What a request says, as far as its stop string.
fn full_text(tokens: &[u32], tokens_max: u32, stop: Option<&str>) -> String {
    let text = said(tokens, tokens_max as usize);
    match stop.and_then(|stop| text.find(stop)) {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Random histories with all kinds of guesses, kept prefixes, restarts, cancels, slow readers and
    /// embeddings: always the text that the tokens have. What was saved of a guess that was wrong
    /// would come back as another text.
    #[test]
    fn every_text_is_what_it_would_be_without(
        trims: bool,
        by_model: bool,
        tokens in prop_oneof![Just(None), (1..17_u32).prop_map(Some)],
        acts in prop::collection::vec(act(), 1..30),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut hub = engine(folder.path(), trims, by_model, tokens);
        let mut open: BTreeMap<u64, String> = BTreeMap::new();
        let mut said_so_far: BTreeMap<u64, String> = BTreeMap::new();
        for (request, act) in (0..).zip(acts) {
            match act {
                Act::Ask { seed, length, tokens_max, stop } => {
                    let prompt = letters(seed, length);
                    let stop = stop.map(|at| {
                        let letter = |shift| char::from(b'a' + ((at + shift) % 26) as u8);
                        [letter(0), letter(7)].iter().collect::<String>()
                    });
                    open.insert(request, full_text(&prompt, tokens_max, stop.as_deref()));
                    let stop = stop.into_iter().collect();
                    hub.generate(request, Generate { stop, ..greedy(prompt, tokens_max) });
                }
                Act::Cancel(request) => {
                    if open.remove(&request).is_some() {
                        hub.send(Command::Cancel { request: RequestId(request) });
                    }
                }
                Act::Read(request) if open.contains_key(&request) => {
                    let event = hub.next(request);
                    hub.send(Command::Credit { request: RequestId(request), events: 1 });
                    match event {
                        Event::Text(piece) => {
                            said_so_far.entry(request).or_default().push_str(&piece.text);
                        }
                        Event::Finished(_) => {
                            let text = said_so_far.remove(&request).unwrap_or_default();
                            prop_assert_eq!(Some(text), open.remove(&request));
                        }
                        _ => {}
                    }
                }
                Act::Read(_) => {}
                Act::Embed(length) => {
                    hub.embed(1000 + request, vec![EmbedInput::Tokens(prompt(3, length))]);
                }
                Act::Restart => {
                    finish(&mut hub, &mut open, &mut said_so_far);
                    drop(hub);
                    hub = engine(folder.path(), trims, by_model, tokens);
                }
            }
        }
        finish(&mut hub, &mut open, &mut said_so_far);
    }
}

fn finish(hub: &mut Hub, open: &mut BTreeMap<u64, String>, said: &mut BTreeMap<u64, String>) {
    for (request, expected) in std::mem::take(open) {
        let mut text = said.remove(&request).unwrap_or_default();
        text.push_str(&hub.read(request).text);
        assert_eq!(text, expected);
    }
}
