//! Budgets, quotas, the floor, the day: they hold after every single operation, and nobody leaves
//! before those who come after them.

use proptest::prelude::*;

use super::rigged::Watch;
use super::*;

/// A conversation of some blocks of one word, then a tail of another.
fn conversation(word: u32, blocks: usize, tail: (u32, usize)) -> Vec<u32> {
    run(&[(word, blocks * BLOCK_TOKENS), tail])
}

#[derive(Debug, Clone)]
enum Act {
    Keep(usize, Vec<u32>),
    Restore(usize, Vec<u32>),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let tokens = (0..3_u32, 0..4_usize, 0..3_u32, 1..300_usize)
        .prop_map(|(word, blocks, tail, count)| conversation(word, blocks, (tail, count)));
    let act = (any::<bool>(), 0..3_usize, tokens).prop_map(|(keeps, model, tokens)| {
        if keeps { Act::Keep(model, tokens) } else { Act::Restore(model, tokens) }
    });
    prop::collection::vec(act, 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    /// Three models share a folder that is much too small for them.
    #[test]
    fn all_bounds_hold_after_every_operation(
        acts in acts(),
        budget in 3_000..9_000_u64,
        quota in prop::option::of(2_000..6_000_u64),
        capacity in prop::option::of(5_000..20_000_u64),
    ) {
        let place = Place::new();
        let disk = Arc::new(Rigged::default());
        let floor = if capacity.is_some() { 4_000 } else { 0 };
        if let Some(capacity) = capacity {
            disk.set_capacity(capacity);
        }
        disk.watch(Watch { folder: place.path(), bytes_max: budget, free_min: floor });
        let settings = Settings {
            ssd_bytes: budget,
            model_ssd_bytes: quota,
            free_floor_bytes: floor,
            ..place.settings()
        };
        let needs = [Need::Cells, Need::CellsAndState, Need::State];
        let models: Vec<Tiers> = needs.iter().enumerate().map(|(number, need)| {
            let identity = place.model(&format!("m{number}"), *need);
            place.open_on(&disk, settings.clone(), identity)
        }).collect();
        let mut known = Known::default();
        for act in &acts {
            match act {
                Act::Keep(model, tokens) => {
                    known.add_all(tokens);
                    keep(&models[*model], tokens);
                    models[*model].flush(LONG);
                    let root = place.model(&format!("m{model}"), Need::Cells).root;
                    let files = entry_files(&place.path().join("v1").join(root.to_string()));
                    let bytes: u64 = files.iter().map(|f| f.metadata().unwrap().len()).sum();
                    prop_assert!(bytes <= quota.unwrap_or(u64::MAX), "the quota is broken");
                }
                // Another model's worker may have evicted what this one still knows of.
                Act::Restore(model, tokens) => {
                    let _ = restore(&models[*model], tokens, &known);
                }
            }
        }
        for model in &models {
            prop_assert_eq!(model.stats().write_errors, 0);
        }
    }

    /// Memory alone: never more bytes than allowed, and chains stay whole from their beginning.
    #[test]
    fn memory_holds_its_bound(acts in acts(), ram_bytes in 500..6_000_u64) {
        let place = Place::new();
        let settings = Settings { mode: Mode::Ram, ram_bytes, ..place.settings() };
        let tiers = place.open_with(settings, Need::Cells);
        let mut all: Vec<Vec<u32>> = Vec::new();
        let mut known = Known::default();
        for act in &acts {
            let (Act::Keep(_, tokens) | Act::Restore(_, tokens)) = act;
            known.add_all(tokens);
            keep(&tiers, tokens);
            restore(&tiers, tokens, &known).unwrap();
            all.push(tokens.clone());
            prop_assert!(tiers.stats().ram_bytes <= ram_bytes);
            for tokens in &all {
                // What is missing is always the end.
                let missing = tiers.missing(tokens);
                let have = missing.first().map_or(tokens.len(), |first| first.start);
                let blocks = missing.iter().map(|range| range.len()).sum::<usize>();
                prop_assert_eq!(have + blocks, tokens.len());
            }
        }
    }
}

/// Puts all of a chain, as an engine does that nobody asks for anything.
fn put_all(tiers: &Tiers, tokens: &[u32]) -> Put {
    let mut settled = 0;
    while let Some(next) = tiers.missing(tokens).first().cloned() {
        let prefix = &tokens[..next.end];
        if tiers.put(Kind::Cells, prefix, state_of(Kind::Cells, prefix)) == Put::Full {
            let (now, goes_on) = tiers.wait_for_room(LONG);
            if now == std::mem::replace(&mut settled, now) && !goes_on {
                return Put::Full;
            }
        }
    }
    Put::Known
}

/// What is written makes room for what comes after it, so that memory bounds no conversation.
#[test]
fn a_chain_longer_than_memory_is_written_whole() {
    let (place, tokens) = (Place::new(), run(&[(1, 10 * 256 + 44)]));
    let settings = Settings { ram_bytes: 3_500, ..place.settings() };
    let tiers = place.open_with(settings.clone(), Need::Cells);
    assert_eq!(put_all(&tiers, &tokens), Put::Known);
    assert!(tiers.stats().ram_bytes <= settings.ram_bytes);
    assert_eq!(tiers.flush(LONG), 0);
    let known = Known::of(&[&tokens]);
    assert_eq!(restore(&tiers, &tokens, &known), Ok(tokens.len()));
    drop(tiers);
    let tiers = place.open_with(settings, Need::Cells);
    assert_eq!(restore(&tiers, &tokens, &known), Ok(tokens.len()));
}

/// Without files it does, and waiting for room has an end.
#[test]
fn memory_alone_takes_the_beginning_of_a_chain() {
    let (place, tokens) = (Place::new(), run(&[(1, 10 * 256)]));
    let settings = Settings { mode: Mode::Ram, ram_bytes: 3_500, ..place.settings() };
    let tiers = place.open_with(settings, Need::Cells);
    assert_eq!(put_all(&tiers, &tokens), Put::Full);
    assert_eq!(restore(&tiers, &tokens, &Known::of(&[&tokens])), Ok(3 * 256));
}

/// The day is everybody's, and the second half of it is for what is likely to be read again.
#[test]
fn a_day_of_writing_holds_and_its_second_half_is_for_what_is_wanted() {
    let place = Place::new();
    let disk = Arc::new(Rigged::default());
    let settings = Settings { day_write_bytes: 8 * BLOCK_FILE_BYTES + 100, ..place.settings() };
    let open = || place.open_on(&disk, settings.clone(), place.identity(Need::Cells));
    let tiers = open();
    let write = |tiers: &Tiers, word: u32| {
        let tokens = run(&[(word, 256)]);
        keep(tiers, &tokens);
        tiers.flush(LONG);
        tokens
    };
    let first: Vec<Vec<u32>> = (0..8).map(|word| write(&tiers, word)).collect();
    // Four of them are the first half.
    assert_eq!(place.files().len(), 4);
    let why = tiers.stats().declined;
    assert!(why.keys().all(|why| why.contains("half of the day")), "{why:?}");
    // What was restored is worth continuing ...
    let known = Known::of(&[&first[0]]);
    restore(&tiers, &first[0], &known).unwrap();
    keep(&tiers, &run(&[(0, 256), (9, 256)]));
    // ... and what two requests asked for is worth keeping.
    for _ in 0..2 {
        let _ = tiers.find(&run(&[(20, 256)]));
        let _ = tiers.find(&run(&[(21, 256)]));
    }
    write(&tiers, 20);
    assert_eq!(place.files().len(), 6);
    // The other worker, and the next one, count the same day.
    drop(tiers);
    let tiers = open();
    for word in 30..40 {
        for other in [29, word] {
            let _ = tiers.find(&run(&[(word, 256), (other, 1)]));
            let _ = tiers.find(&run(&[(word, 256), (other + 1, 256)]));
        }
        write(&tiers, word);
    }
    assert_eq!(place.files().len(), 8);
    assert!(disk.written() <= 8 * BLOCK_FILE_BYTES + 100);
    assert!(tiers.stats().declined.keys().any(|why| why.contains("used up")));
    // A new day begins, and what memory still has is written: eight more, all of them wanted.
    disk.pass_days(1);
    tiers.flush(LONG);
    assert_eq!(place.files().len(), 16);
}

#[test]
fn a_model_that_is_gone_or_replaced_leaves_first() {
    let place = Place::new();
    let disk = Arc::new(Rigged::default());
    let settings = Settings { ssd_bytes: 4 * BLOCK_FILE_BYTES, ..place.settings() };
    let open = |identity| place.open_on(&disk, settings.clone(), identity);
    let fill = |tiers: &Tiers, word: u32| {
        keep(tiers, &run(&[(word, 256)]));
        tiers.flush(LONG);
    };
    let of = |identity: &Identity| {
        entry_files(&place.path().join("v1").join(identity.root.to_string())).len()
    };
    let [old, deleted, replaced, new] =
        ["old", "deleted", "replaced", "new"].map(|name| place.model(name, Need::Cells));
    for identity in [&old, &deleted, &replaced] {
        fill(&open(identity.clone()), 1);
    }
    std::fs::remove_file(&deleted.path).unwrap();
    std::fs::write(&replaced.path, b"other weights under the same name").unwrap();
    let tiers = open(new.clone());
    for word in 0..3 {
        fill(&tiers, word);
    }
    assert_eq!([of(&old), of(&deleted), of(&replaced), of(&new)], [1, 0, 0, 3]);
    fill(&tiers, 7);
    assert_eq!([of(&old), of(&new)], [0, 4], "the last used stays");
    // Folders of models without entries do not pile up.
    assert!(!place.path().join("v1").join(deleted.root.to_string()).exists());
}

#[test]
fn what_was_restored_outlives_what_was_not() {
    let place = Place::new();
    let disk = Arc::new(Rigged::default());
    let settings =
        Settings { ssd_bytes: 4 * BLOCK_FILE_BYTES, ram_bytes: 1_100, ..place.settings() };
    let tiers = place.open_on(&disk, settings, place.identity(Need::Cells));
    let words: Vec<Vec<u32>> = (0..5).map(|word| run(&[(word, 256)])).collect();
    for tokens in &words[..4] {
        keep(&tiers, tokens);
        tiers.flush(LONG);
    }
    let known = Known::of(&[&words[0]]);
    assert_eq!(restore(&tiers, &words[0], &known), Ok(256));
    tiers.flush(LONG);
    keep(&tiers, &words[4]);
    tiers.flush(LONG);
    let left: Vec<usize> = words.iter().map(|tokens| tiers.find(tokens).tokens).collect();
    assert_eq!(left, [256, 0, 256, 256, 256]);
}

#[test]
fn an_entry_that_cannot_fit_costs_nobody_his_place() {
    let place = Place::new();
    let tiers = place.open_with(
        Settings { ssd_bytes: 6_000, model_ssd_bytes: Some(3_000), ..place.settings() },
        Need::Cells,
    );
    let first = run(&[(1, 256)]);
    keep(&tiers, &first);
    tiers.flush(LONG);
    // The second block comes after the first one, which must not leave for it.
    keep(&tiers, &run(&[(1, 512)]));
    assert_eq!(tiers.put(Kind::State, &[5], vec![0; 9_000]), Put::Taken);
    tiers.flush(LONG);
    assert_eq!(place.files().len(), 1);
    assert!(tiers.stats().declined.contains_key("it does not fit the budget"));
    drop(tiers);
    assert_eq!(place.open(Need::Cells).find(&first).tokens, 256);
}

#[test]
fn memory_full_of_what_waits_takes_no_more() {
    let place = Place::new();
    let disk = Arc::new(Rigged::default());
    let settings = Settings { ram_bytes: 2_500, ..place.settings() };
    let tiers = place.open_on(&disk, settings, place.identity(Need::Cells));
    // The folder is locked by somebody else, so nothing is written.
    keep(&tiers, &[1]);
    tiers.flush(LONG);
    let lock = disk::Disk::try_lock(&disk::System, &place.path().join("v1/lock")).unwrap().unwrap();
    let runs: Vec<Vec<u32>> = (2..6).map(|word| run(&[(word, 256)])).collect();
    let puts: Vec<Put> =
        runs.iter().map(|t| tiers.put(Kind::Cells, t, state_of(Kind::Cells, t))).collect();
    assert_eq!(puts, [Put::Taken, Put::Taken, Put::Full, Put::Full]);
    assert_eq!(tiers.put(Kind::Cells, &runs[0], Vec::new()), Put::Known);
    assert_eq!(tiers.stats().unwritten_bytes, 2_048);
    // Under pressure even what waits goes.
    assert_eq!(tiers.shrink(1_100), 1_028);
    assert_eq!(tiers.find(&runs[0]).tokens + tiers.find(&runs[1]).tokens, 256);
    drop(lock);
    assert_eq!(tiers.flush(LONG), 0);
    assert_eq!(tiers.put(Kind::Cells, &runs[2], state_of(Kind::Cells, &runs[2])), Put::Taken);
    // With room given back, it is as before.
    tiers.shrink(u64::MAX);
    assert_eq!(tiers.put(Kind::Cells, &runs[3], state_of(Kind::Cells, &runs[3])), Put::Taken);
    assert_eq!(tiers.flush(LONG), 0);
    assert_eq!(place.files().len(), 4);
}

/// A clock that was set back makes no entry look older than those that come after it.
#[test]
fn a_clock_that_is_set_back_breaks_no_chain() {
    let place = Place::new();
    let watched = |days| {
        let disk = Arc::new(Rigged::default());
        disk.pass_days(days);
        disk.watch(Watch { folder: place.path(), bytes_max: 3 * BLOCK_FILE_BYTES, free_min: 0 });
        disk
    };
    let settings = Settings {
        ssd_bytes: 3 * BLOCK_FILE_BYTES,
        day_write_bytes: 5 * BLOCK_FILE_BYTES,
        ..place.settings()
    };
    let mut written = 0;
    for (turn, days) in [30, 0, 10].into_iter().enumerate() {
        let disk = watched(days);
        let tiers = place.open_on(&disk, settings.clone(), place.identity(Need::Cells));
        for word in 0..2 {
            // What was asked for twice is written in the second half of a day, too.
            let tokens = run(&[(1, 256), (10 * turn as u32 + word, 256)]);
            for last in [5, 6] {
                let _ = tiers.find(&[tokens.clone(), vec![last]].concat());
            }
            keep(&tiers, &tokens);
            tiers.flush(LONG);
        }
        written += disk.written();
    }
    assert!(written > 0 && written <= 5 * BLOCK_FILE_BYTES, "nobody gets a day twice");
}

#[test]
fn the_number_of_entries_is_bounded() {
    use crate::census::{Census, Counted, Wanted};
    use std::collections::HashSet;
    use std::time::{Duration, SystemTime};
    let place = Place::new();
    let root = place.identity(Need::Cells).root;
    let mut census = Census::default();
    for number in 0..limits::ENTRIES_MAX {
        let key = key::entry(root, Kind::Cells, &[number as u32]);
        let used = SystemTime::UNIX_EPOCH + Duration::from_secs(number as u64);
        census.insert(root, key, Counted { bytes: 1, used, rank: 0 });
    }
    let before = HashSet::new();
    let path = Path::new("model.gguf");
    let wanted = Wanted { root, path, bytes: 1, before: &before, free_bytes: u64::MAX };
    let victims = census.victims(&disk::System, &place.settings(), &wanted).unwrap();
    assert_eq!(victims, [(root, key::entry(root, Kind::Cells, &[0]))]);
    assert_eq!((census.count, census.bytes), (limits::ENTRIES_MAX, limits::ENTRIES_MAX as u64));
}

/// The same file with other types of its cache is another root, and the same model.
#[test]
fn a_quota_is_of_a_model_whatever_its_settings() {
    let place = Place::new();
    let settings = Settings { model_ssd_bytes: Some(2 * BLOCK_FILE_BYTES), ..place.settings() };
    let other = place.model("other", Need::Cells);
    let root = Fingerprint::default().with("types", "q8_0").root();
    let requantised = Identity { root, ..place.identity(Need::Cells) };
    for (identity, files) in [(other, 2), (place.identity(Need::Cells), 4), (requantised, 4)] {
        let tiers = Tiers::open(settings.clone(), identity);
        for word in 0..3 {
            keep(&tiers, &run(&[(word, 256)]));
            tiers.flush(LONG);
        }
        assert_eq!(place.files().len(), files);
    }
}
