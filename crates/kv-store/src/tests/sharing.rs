//! Equal prefixes are stored once, shorter ones give way to longer ones, and several stores share a
//! folder.

use super::rigged::Watch;
use super::*;

#[test]
fn fifty_conversations_with_one_beginning_store_it_once() {
    let place = Place::new();
    let tiers = place.open(Need::Cells);
    let system = run(&[(7, 4_000)]);
    keep(&tiers, &system);
    tiers.flush(LONG);
    let one = place.file_bytes();
    let mut tails = 0;
    for conversation in 0..50_u32 {
        let mut tokens = system.clone();
        tokens.extend(run(&[(100 + conversation, 60)]));
        keep(&tiers, &tokens);
        tails += 60 * 4;
        assert_eq!(tiers.find(&tokens).tokens, 4_060);
    }
    tiers.flush(LONG);
    // The last block of the system prompt is partial: 4,000 is no multiple of 256. Each tail begins
    // in it, so each of them holds its 160 tokens once more, and that is part of a tail.
    let shared = 4_000 / BLOCK_TOKENS * BLOCK_TOKENS;
    tails += 50 * (4_000 - shared as u64) * 4;
    let headers = 50 * format::HEADER_BYTES_MAX as u64;
    let all = place.file_bytes();
    assert!(all - headers <= one * 11 / 10 + tails, "{all} bytes; one alone {one}, tails {tails}");
}

#[test]
fn a_longer_entry_takes_the_place_of_a_shorter_one() {
    let place = Place::new();
    let tiers = place.open(Need::Cells);
    let tokens = run(&[(1, 100), (2, 100), (3, 100)]);
    for length in [50, 120, 256, 300] {
        keep(&tiers, &tokens[..length]);
        tiers.flush(LONG);
    }
    // The full block, and the rest of 44.
    assert_eq!(place.files().len(), 2);
    assert_eq!(tiers.put(Kind::Cells, &tokens[..70], Vec::new()), Put::Known);
    // Another end stands beside it.
    keep(&tiers, &run(&[(1, 100), (9, 10)]));
    tiers.flush(LONG);
    assert_eq!(place.files().len(), 3);
    let known = Known::of(&[&tokens, &run(&[(1, 100), (9, 10)])]);
    assert_eq!(restore(&tiers, &run(&[(1, 100), (9, 5)]), &known), Ok(105));
    assert_eq!(restore(&tiers, &tokens, &known), Ok(300));
}

/// What waits to be written and is superseded is never written: SSDs wear.
#[test]
fn a_shorter_entry_that_still_waits_is_not_written() {
    let place = Place::new();
    let disk = Arc::new(Rigged::default());
    let tiers = place.open_on(&disk, place.settings(), place.identity(Need::Cells));
    keep(&tiers, &[1]);
    tiers.flush(LONG);
    let lock = disk::Disk::try_lock(&disk::System, &place.path().join("v1/lock")).unwrap().unwrap();
    let before = disk.written();
    for length in 10..=200 {
        keep(&tiers, &run(&[(4, length)]));
    }
    drop(lock);
    tiers.flush(LONG);
    // The first may have been in hand already.
    assert!(tiers.stats().written_entries <= 3, "{:?}", tiers.stats());
    assert!(disk.written() - before <= 2 * 2_000);
}

#[test]
fn two_stores_of_one_model_use_each_others_entries() {
    let place = Place::new();
    let (one, two) = (place.open(Need::Cells), place.open(Need::Cells));
    let [a, b, c] = [1, 2, 3].map(|word| run(&[(word, 400)]));
    let known = Known::of(&[&a, &b, &c]);
    keep(&one, &a);
    one.flush(LONG);
    assert_eq!(two.find(&a).tokens, 0, "it reads no folder that nobody told it of");
    keep(&two, &b);
    two.flush(LONG);
    // Who writes counts the folder first, and so learns of the others.
    assert_eq!(restore(&two, &a, &known), Ok(400));
    // The same entry put by both is written once.
    keep(&one, &c);
    one.flush(LONG);
    let files = place.files();
    keep(&two, &c);
    two.flush(LONG);
    assert_eq!(place.files(), files);
    assert_eq!(two.stats().written_entries, 2);
}

#[test]
fn an_entry_that_another_store_evicted_is_a_miss() {
    let place = Place::new();
    let disk = Arc::new(Rigged::default());
    let bytes_max = 3 * BLOCK_FILE_BYTES;
    disk.watch(Watch { folder: place.path(), bytes_max, free_min: 0 });
    let settings = Settings { ssd_bytes: bytes_max, ram_bytes: 2_100, ..place.settings() };
    let one = place.open_on(&disk, settings.clone(), place.identity(Need::Cells));
    let two = place.open_on(&disk, settings, place.identity(Need::Cells));
    let runs: Vec<Vec<u32>> = (0..6).map(|word| run(&[(word, 256)])).collect();
    let known = Known::of(&runs.iter().map(Vec::as_slice).collect::<Vec<_>>());
    for tokens in &runs[..3] {
        keep(&one, tokens);
        one.flush(LONG);
    }
    for tokens in &runs[3..] {
        keep(&two, tokens);
        two.flush(LONG);
    }
    // It is found, since nobody said it is gone, and then it is not there.
    assert_eq!(one.find(&runs[0]).tokens, 256);
    assert!(restore(&one, &runs[0], &known).is_err());
    assert_eq!(one.find(&runs[0]).tokens, 0);
    assert_eq!((one.stats().vanished, one.stats().read_errors), (1, 0));
    // So it is missing, and can be kept again.
    keep(&one, &runs[0]);
    one.flush(LONG);
    assert_eq!(restore(&place.open(Need::Cells), &runs[0], &known), Ok(256));
}

/// A file that was not there when it was read may have been written again by another store before this
/// one writes: it counts against the budget.
#[test]
fn what_was_gone_and_is_there_again_counts() {
    let place = Place::new();
    // The memory has room for the last one alone.
    let settings =
        Settings { ssd_bytes: 3 * BLOCK_FILE_BYTES, ram_bytes: 1_100, ..place.settings() };
    let tiers = place.open_with(settings, Need::Cells);
    let runs: Vec<Vec<u32>> = (0..5).map(|word| run(&[(word, 256)])).collect();
    let known = Known::of(&runs.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let write = |tokens: &[u32]| {
        keep(&tiers, tokens);
        tiers.flush(LONG);
    };
    write(&runs[0]);
    let file = place.files().pop().unwrap();
    write(&runs[1]);
    // Nothing is counted while another holds the lock.
    let lock = disk::Disk::try_lock(&disk::System, &place.path().join("v1/lock")).unwrap().unwrap();
    let elsewhere = place.folder.path().join("elsewhere");
    std::fs::rename(&file, &elsewhere).unwrap();
    assert!(restore(&tiers, &runs[0], &known).is_err());
    std::fs::rename(&elsewhere, &file).unwrap();
    drop(lock);
    assert_eq!(tiers.stats().vanished, 1);
    for tokens in &runs[2..] {
        write(tokens);
        assert!(place.files().len() <= 3);
    }
}

/// Another store has put longer cells in place of those of a state; who restores that state by an older
/// index uses the longer ones too, so that they do not leave before it.
#[test]
fn a_state_that_was_used_does_not_outlive_the_cells_that_took_the_place_of_its_own() {
    let place = Place::new();
    let settings = Settings { ssd_bytes: 6_000, ram_bytes: 2_000, ..place.settings() };
    let one = place.open_with(settings.clone(), Need::CellsAndState);
    let write = |tokens: &[u32]| {
        keep(&one, tokens);
        one.flush(LONG);
    };
    let (short, long) = (run(&[(1, 100)]), run(&[(1, 100), (2, 50)]));
    write(&short);
    let two = place.open_with(settings, Need::CellsAndState);
    write(&long);
    assert!(restore(&two, &short, &Known::of(&[&short, &long])).is_err());
    two.flush(LONG);
    assert_eq!(two.find(&short).tokens, 100, "it has learned of the longer ones");
    // Small ones, so that one leaves at a time.
    for word in 10..30 {
        write(&run(&[(word, 10)]));
        rigged::check_chains(&place.files());
    }
    assert_eq!(place.open(Need::CellsAndState).find(&short).tokens, 0, "all of them have left");
}

/// Several stores and threads at once: whatever comes back is right, and the budget holds.
#[test]
fn threads_and_stores_at_once_never_get_a_wrong_byte() {
    let place = Place::new();
    let settings = Settings { ssd_bytes: 30_000, ram_bytes: 20_000, ..place.settings() };
    let stores: Vec<Tiers> =
        (0..3).map(|_| place.open_with(settings.clone(), Need::CellsAndState)).collect();
    let runs: Vec<Vec<u32>> = (0..12_u32)
        .map(|number| run(&[(number % 3, 256 + 40 * number as usize), (number, 130)]))
        .collect();
    let known = Known::of(&runs.iter().map(Vec::as_slice).collect::<Vec<_>>());
    std::thread::scope(|scope| {
        for thread in 0..6_usize {
            let (stores, runs, known) = (&stores, &runs, &known);
            scope.spawn(move || {
                for turn in 0..20 {
                    let tiers = &stores[(thread + turn) % stores.len()];
                    let tokens = &runs[(thread * 5 + turn * 7) % runs.len()];
                    // A miss is allowed, since others evict; `restore` checks what comes.
                    let _ = restore(tiers, tokens, known);
                    keep(tiers, tokens);
                    if turn % 5 == 0 {
                        tiers.shrink(10_000);
                        tiers.shrink(u64::MAX);
                    }
                }
            });
        }
    });
    for tiers in &stores {
        tiers.flush(LONG);
        assert_eq!(tiers.stats().dropped.len(), 0, "{:?}", tiers.stats());
    }
    assert!(place.file_bytes() <= 30_000);
    rigged::check_chains(&place.files());
}
