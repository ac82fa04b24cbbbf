//! Prefixes that outlive their context: the same text, and tokens that are not computed again.

use std::path::Path;

use kv_store::{Fingerprint, Identity, Mode, Need, Settings, Tiers};
use proptest::prelude::*;
use worker_protocol::Usage;

use super::*;

const CELLS: u32 = 4096;

fn settings(folder: &Path, mode: Mode) -> Settings {
    Settings {
        mode,
        folder: folder.to_owned(),
        ram_bytes: 1 << 20,
        ssd_bytes: 64 << 20,
        model_ssd_bytes: None,
        free_floor_bytes: 0,
        day_write_bytes: u64::MAX,
        compress: false,
        encryption_key: None,
    }
}

pub(super) fn tiers(folder: &Path, mode: Mode, trims: bool) -> Tiers {
    open(settings(folder, mode), trims)
}

fn open(settings: Settings, trims: bool) -> Tiers {
    let identity = Identity {
        root: Fingerprint::default().with("model", "fake").root(),
        model: "fake".to_owned(),
        path: settings.folder.clone(),
        need: if trims { Need::Cells } else { Need::CellsAndState },
    };
    Tiers::open(settings, identity)
}

/// A hub whose engine keeps prefixes in `folder`; dropping it ends the engine, which flushes.
fn hub(folder: &Path, trims: bool) -> Hub {
    let tiers = tiers(folder, Mode::Ssd, trims);
    Hub::start_with(Fake::new(CELLS, 4, trims), Some(tiers))
}

/// Asks and checks the text.
fn ask(hub: &mut Hub, request: u64, tokens: &[u32], tokens_max: u32) -> Usage {
    hub.generate(request, greedy(tokens.to_vec(), tokens_max));
    let answer = hub.read(request);
    assert_eq!(answer.text, expected(tokens, tokens_max as usize));
    answer.finished().usage
}

#[test]
fn a_prompt_comes_back_after_a_restart_but_for_its_last_token() {
    for trims in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let lengths = [1_usize, 2, 100, 256, 257, 258, 300, 512, 700, 1000];
        let mut first = hub(folder.path(), trims);
        for (request, length) in (0..).zip(lengths) {
            let usage = ask(&mut first, request, &prompt(request as u32, length), 3);
            assert_eq!(usage.cached_ssd_tokens, 0);
        }
        drop(first);
        let mut second = hub(folder.path(), trims);
        for (request, length) in (0..).zip(lengths) {
            let usage = ask(&mut second, request, &prompt(request as u32, length), 3);
            assert_eq!(usage.cached_ssd_tokens as usize, length - 1, "trims: {trims}");
            assert_eq!(usage.cached_tokens, usage.cached_ssd_tokens);
        }
    }
}

/// A hub whose tiers are opened later, and what gives them to it.
fn late(trims: bool) -> (Hub, Sender<Tiers>) {
    let (give, given) = channel();
    let model = Fake::new(CELLS, 4, trims);
    (Hub::start_behind(channel(), model, Some(given), Speculation::default()), give)
}

#[test]
fn what_was_answered_before_the_tiers_were_open_is_kept_too() {
    for trims in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let (mut first, give) = late(trims);
        let tokens = prompt(1, 700);
        ask(&mut first, 0, &tokens, 3);
        give.send(tiers(folder.path(), Mode::Ssd, trims)).unwrap();
        // Nobody asks for anything more, and the counters tell all the same.
        while first.stats.kept_ram_bytes == 0 {
            first.receive();
        }
        drop(first);
        let mut second = hub(folder.path(), trims);
        let usage = ask(&mut second, 0, &[tokens, expected_tokens(&prompt(1, 700), 3)].concat(), 3);
        assert!(usage.cached_ssd_tokens >= 700, "trims: {trims}, {usage:?}");
    }
}

#[test]
fn tiers_that_come_with_the_end_are_used_and_those_that_never_come_are_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, give) = late(true);
    ask(&mut first, 0, &prompt(1, 700), 3);
    // They are there when the hub is gone, whichever of both the engine sees first.
    give.send(tiers(folder.path(), Mode::Ssd, true)).unwrap();
    drop(first);
    let mut second = hub(folder.path(), true);
    assert_eq!(ask(&mut second, 0, &prompt(1, 700), 3).cached_ssd_tokens, 699);

    let (mut third, give) = late(true);
    drop(give);
    ask(&mut third, 0, &prompt(1, 700), 3);
    ask(&mut third, 1, &prompt(2, 700), 3);
}

#[test]
fn a_conversation_goes_on_where_it_was() {
    for trims in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let mut talk = prompt(1, 300);
        for turn in 0..6 {
            // Each turn is another life of the engine.
            let mut hub = hub(folder.path(), trims);
            let usage = ask(&mut hub, turn, &talk, 20);
            let known = talk.len();
            talk.extend(expected_tokens(&talk, 20));
            talk.extend(prompt(turn as u32 + 7, 50));
            if turn > 0 {
                let least = known as u32 - 50 - 20;
                assert!(usage.cached_ssd_tokens >= least, "{usage:?} in turn {turn}");
            }
        }
    }
}

#[test]
fn memory_serves_what_the_context_had_no_room_for() {
    let folder = tempfile::tempdir().unwrap();
    let tiers = tiers(folder.path(), Mode::Ram, true);
    // Steps too short to tell the model's speed, which would be beyond any tier's.
    let mut model = Fake::new(600, 2, true);
    model.step_tokens = 8;
    let mut hub = Hub::start_with(model, Some(tiers));
    for request in 0..6 {
        ask(&mut hub, request, &prompt(request as u32, 400), 3);
        // It is saved when nobody asks for anything, which the counters tell.
        while hub.stats.kept_ram_bytes < (request + 1) * 400 * 4 {
            hub.receive();
        }
    }
    for request in 0..5 {
        let usage = ask(&mut hub, 10 + request, &prompt(request as u32, 400), 3);
        assert_eq!((usage.cached_tokens, usage.cached_ram_tokens), (399, 399));
    }
}

/// Otherwise it would be copied out again and again while nobody asks for anything, and to the last moment
/// when the engine is to leave.
#[test]
fn what_the_tiers_have_no_room_for_is_offered_to_them_once() {
    for trims in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        // Two of the four blocks, so that each of them would make room for itself by another's.
        let ram_bytes = 2 * 203 * 4 + 8;
        let tiers = open(Settings { ram_bytes, ..settings(folder.path(), Mode::Ram) }, trims);
        let model = Fake::new(CELLS, 4, trims);
        let saved = Arc::clone(&model.saved);
        let mut hub = Hub::start_with(model, Some(tiers));
        for request in 0..4 {
            ask(&mut hub, request, &prompt(request as u32, 200), 3);
        }
        drop(hub);
        let saved = saved.load(Ordering::Relaxed);
        assert!((4..40).contains(&saved), "{saved} copies, trims: {trims}");
    }
}

#[test]
fn a_trim_empties_the_memory_tier_and_the_counters_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let tiers = tiers(folder.path(), Mode::Ram, true);
    let mut hub = Hub::start_with(Fake::new(CELLS, 4, true), Some(tiers));
    let tokens = prompt(1, 700);
    ask(&mut hub, 1, &tokens, 3);
    while hub.stats.kept_ram_bytes < 700 * 4 {
        hub.receive();
    }
    hub.send(Command::Trim);
    // The counters are told again when work ends.
    ask(&mut hub, 2, &prompt(2, 9), 3);
    while hub.stats.kept_ram_bytes >= 700 * 4 {
        hub.receive();
    }
    let usage = ask(&mut hub, 3, &tokens, 3);
    assert_eq!((usage.cached_tokens, usage.cached_ram_tokens), (699, 0), "the context has it");
}

#[test]
fn what_diverges_inside_a_block_shares_what_is_before() {
    let folder = tempfile::tempdir().unwrap();
    let common = prompt(1, 350);
    let with = |tail: u32| [common.clone(), prompt(tail, 60)].concat();
    ask(&mut hub(folder.path(), true), 1, &with(2), 1);
    let usage = ask(&mut hub(folder.path(), true), 1, &with(3), 1);
    assert!(usage.cached_ssd_tokens >= 350, "{usage:?}");
}

#[test]
fn a_request_that_is_cancelled_on_its_way_back_costs_nobody_anything() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = prompt(1, 3000);
    ask(&mut hub(folder.path(), true), 1, &tokens, 1);
    let mut hub = hub(folder.path(), true);
    for request in 0..20 {
        hub.generate(request, greedy(tokens.clone(), 3));
        hub.send(Command::Cancel { request: RequestId(request) });
    }
    ask(&mut hub, 100, &tokens, 3);
    ask(&mut hub, 101, &prompt(2, 3000), 3);
}

#[test]
fn damaged_files_are_computed_again() {
    let folder = tempfile::tempdir().unwrap();
    for trims in [true, false] {
        let tokens = prompt(1, 1000);
        ask(&mut hub(folder.path(), trims), 1, &tokens, 3);
        let mut files = Vec::new();
        list(folder.path(), &mut files);
        let entries: Vec<_> =
            files.iter().filter(|file| file.extension().is_some_and(|end| end == "kv")).collect();
        assert!(entries.len() >= 4, "{entries:?}");
        for (at, file) in entries.into_iter().enumerate() {
            let mut bytes = std::fs::read(file).unwrap();
            let last = bytes.len() - 1;
            match at % 3 {
                0 => bytes[last] ^= 1,
                1 => bytes.truncate(last),
                _ => bytes[9] ^= 0x40,
            }
            std::fs::write(file, bytes).unwrap();
        }
        // A restore ends at the first damage, which is mended by the next life.
        let mut cached = 0;
        for life in 0..6 {
            let usage = ask(&mut hub(folder.path(), trims), 1, &tokens, 3);
            assert!(usage.cached_tokens >= cached && (life > 0 || usage.cached_tokens == 0));
            cached = usage.cached_tokens;
        }
        assert_eq!(cached, 999, "what was computed again was kept again");
    }
}

fn list(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { list(&path, files) } else { files.push(path) }
    }
}

#[derive(Debug, Clone)]
enum Act {
    /// A prompt of pieces that other prompts share.
    Ask {
        pieces: Vec<(u32, usize)>,
        tokens_max: u32,
    },
    Cancel(u64),
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    let piece = (0..3_u32, prop_oneof![Just(256_usize), Just(40), 1..300_usize]);
    prop_oneof![
        8 => (prop::collection::vec(piece, 1..5), 1..30_u32)
            .prop_map(|(pieces, tokens_max)| Act::Ask { pieces, tokens_max }),
        1 => (0..40_u64).prop_map(Act::Cancel),
        1 => Just(Act::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Random trees of prompts, several at once, with cancels and restarts: always the text that the
    /// tokens have.
    #[test]
    fn every_text_is_what_it_would_be_without(
        trims: bool,
        acts in prop::collection::vec(act(), 1..40),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut engine = hub(folder.path(), trims);
        let mut open: BTreeMap<u64, (Vec<u32>, u32)> = BTreeMap::new();
        for (request, act) in (0..).zip(acts) {
            match act {
                Act::Ask { pieces, tokens_max } => {
                    let tokens: Vec<u32> =
                        pieces.iter().flat_map(|(seed, length)| prompt(*seed, *length)).collect();
                    engine.generate(request, greedy(tokens.clone(), tokens_max));
                    open.insert(request, (tokens, tokens_max));
                }
                Act::Cancel(request) => {
                    if open.remove(&request).is_some() {
                        engine.send(Command::Cancel { request: RequestId(request) });
                    }
                }
                Act::Restart => {
                    finish(&mut engine, &mut open);
                    drop(engine);
                    engine = hub(folder.path(), trims);
                }
            }
        }
        finish(&mut engine, &mut open);
    }
}

fn finish(engine: &mut Hub, open: &mut BTreeMap<u64, (Vec<u32>, u32)>) {
    for (request, (tokens, tokens_max)) in std::mem::take(open) {
        let answer = engine.read(request);
        assert_eq!(answer.text, expected(&tokens, tokens_max as usize));
    }
}
