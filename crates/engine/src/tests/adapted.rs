//! Requests that choose how strongly the model's adapters act: each gets the text that it would get alone,
//! and nothing that was computed with other scales is ever gone on from, wherever it was kept.

use kv_store::Mode;
use proptest::prelude::*;
use worker_protocol::{ChosenAdapter, Scale, WhichAdapter};

use super::kept::tiers;
use super::*;
use crate::fake::expected_adapted;

const OWN: [f32; 2] = [1.0, 0.25];

/// Adapters that a request chooses, by place, and how strongly each acts.
type Chosen = Option<&'static [(u32, f32)]>;

/// What requests choose, and what that comes to.
const CHOICES: [(Chosen, [f32; 2]); 5] = [
    (None, OWN),
    (Some(&[]), [0.0, 0.0]),
    (Some(&[(0, 0.5)]), [0.5, 0.0]),
    (Some(&[(1, 0.5)]), [0.0, 0.5]),
    // Its own, in other words.
    (Some(&[(1, 0.25), (0, 1.0)]), OWN),
];

fn model(cells: u32, trims: bool) -> Fake {
    Fake::adapted(cells, 4, trims, &OWN)
}

fn choosing(choice: usize, tokens: Vec<u32>, tokens_max: u32) -> Generate {
    let chosen = |(place, scale): &(u32, f32)| ChosenAdapter {
        adapter: WhichAdapter::Place(*place),
        scale: Scale(*scale),
    };
    let adapters = CHOICES[choice].0.map(|chosen_of| chosen_of.iter().map(chosen).collect());
    Generate { adapters, ..greedy(tokens, tokens_max) }
}

fn text(choice: usize, tokens: &[u32], tokens_max: usize) -> String {
    let answer = expected_adapted(tokens, &CHOICES[choice].1, tokens_max);
    answer.iter().map(|token| *token as u8 as char).collect()
}

/// Asks and checks the text; how many tokens were found, and how many of them in files.
#[track_caller]
fn ask(hub: &mut Hub, request: u64, choice: usize, tokens: &[u32]) -> (u32, u32) {
    hub.generate(request, choosing(choice, tokens.to_vec(), 3));
    let answer = hub.read(request);
    assert_eq!(answer.text, text(choice, tokens, 3), "choice {choice}");
    let usage = answer.finished().usage;
    (usage.cached_tokens, usage.cached_ssd_tokens)
}

#[test]
fn scales_change_the_text() {
    let tokens = prompt(1, 40);
    let texts = [0, 1, 2, 3].map(|choice| text(choice, &tokens, 20));
    assert_eq!(text(4, &tokens, 20), texts[0]);
    assert_eq!(texts[1], expected(&tokens, 20), "none acts");
    assert!((0..3).all(|one| !texts[one + 1..].contains(&texts[one])), "{texts:?}");
}

#[test]
fn a_prefix_in_the_context_is_for_those_with_its_scales() {
    for trims in [true, false] {
        let mut hub = Hub::start(model(4096, trims));
        let tokens = prompt(1, 300);
        assert_eq!(ask(&mut hub, 1, 0, &tokens).0, 0);
        assert_eq!(ask(&mut hub, 2, 2, &tokens).0, 0);
        assert_eq!(ask(&mut hub, 3, 3, &tokens).0, 0);
        let again = if trims { 299 } else { 0 };
        assert_eq!(ask(&mut hub, 4, 0, &tokens).0, again);
        assert_eq!(ask(&mut hub, 5, 4, &tokens).0, again, "the model's own, however it is said");
        assert_eq!(ask(&mut hub, 6, 2, &tokens).0, again);
    }
}

#[test]
fn what_is_kept_outside_comes_back_to_those_with_its_scales() {
    for trims in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let tokens = prompt(1, 600);
        let start = || {
            let tiers = tiers(folder.path(), Mode::Ssd, trims);
            // Steps too short to tell the model's speed, which would be beyond any tier's.
            let mut model = model(1300, trims);
            model.step_tokens = 8;
            Hub::start_with(model, Some(tiers))
        };
        let mut first = start();
        assert_eq!(ask(&mut first, 1, 0, &tokens).1, 0);
        assert_eq!(ask(&mut first, 2, 2, &tokens), (0, 0));
        drop(first);
        let mut second = start();
        assert_eq!(ask(&mut second, 1, 3, &tokens), (0, 0), "trims: {trims}");
        assert_eq!(ask(&mut second, 2, 2, &tokens), (599, 599), "trims: {trims}");
        drop(second);
        let mut third = start();
        assert_eq!(ask(&mut third, 1, 4, &tokens), (599, 599), "trims: {trims}");
        assert_eq!(ask(&mut third, 2, 3, &tokens), (599, 599), "trims: {trims}");
        assert_eq!(ask(&mut third, 3, 1, &tokens), (0, 0), "trims: {trims}");
    }
}

#[test]
fn what_the_model_has_not_is_refused_and_the_others_go_on() {
    let mut hub = Hub::start(model(512, true));
    hub.generate(1, choosing(2, prompt(1, 30), 40));
    let adapter = WhichAdapter::Name("law".to_owned());
    let adapters = Some(vec![ChosenAdapter { adapter, scale: Scale(1.0) }]);
    hub.generate(2, Generate { adapters, ..greedy(prompt(1, 30), 40) });
    let failure = hub.read(2).failed().clone();
    assert_eq!(failure.kind, FailureKind::Invalid);
    assert!(failure.message.contains("'law'"), "{failure}");
    assert!(failure.message.contains("0 'adapter-0', 1 'adapter-1'"), "{failure}");
    assert_eq!(hub.read(1).text, text(2, &prompt(1, 30), 40));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever runs beside it, with which scales and from which prefixes, in a context that is too small
    /// for all and with tiers outside.
    #[test]
    fn each_request_gets_the_text_it_would_get_alone(
        trims: bool,
        is_kept: bool,
        asked in prop::collection::vec((0..CHOICES.len(), 0..3_u32, 1..300_usize, 1..40_u32), 1..24),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let tiers = is_kept.then(|| tiers(folder.path(), Mode::Ram, trims));
        let mut hub = Hub::start_with(model(700, trims), tiers);
        for (request, (choice, seed, length, tokens_max)) in (0..).zip(&asked) {
            hub.generate(request, choosing(*choice, prompt(*seed, *length), *tokens_max));
            if request % 5 == 0 {
                hub.embed(1000 + request, vec![EmbedInput::Tokens(prompt(*seed, *length))]);
            }
        }
        for (request, (choice, seed, length, tokens_max)) in (0..).zip(&asked) {
            let answer = hub.read(request);
            prop_assert_eq!(answer.text, text(*choice, &prompt(*seed, *length), *tokens_max as usize));
        }
    }
}
