//! Every operation on files fails, tears, or is the last one of its process, one after the other.
//! Whatever happens: no wrong byte, no panic, the budget held, chains whole, and the next store
//! works.

use super::rigged::{Fault, Watch};
use super::*;

/// All conversations fit, and not what is left of them halfway.
const BUDGET_BYTES: u64 = 12_300;

fn conversations() -> [Vec<u32>; 3] {
    [run(&[(1, 300), (2, 300)]), run(&[(1, 300), (3, 100)]), run(&[(4, 256), (5, 10)])]
}

/// A life of a store: it reads its index, writes, evicts, supersedes, restores, flushes.
fn live(place: &Place, disk: &Arc<Rigged>, known: &Known) {
    let settings = Settings { ssd_bytes: BUDGET_BYTES, ram_bytes: 6_000, ..place.settings() };
    let tiers = place.open_on(disk, settings, place.identity(Need::CellsAndState));
    for tokens in &conversations() {
        // An operation that fails is a miss, so any outcome will do that `restore` accepts.
        let _ = restore(&tiers, tokens, known);
        keep(&tiers, &tokens[..tokens.len() / 2]);
        tiers.flush(LONG);
        keep(&tiers, tokens);
        tiers.flush(LONG);
        let _ = restore(&tiers, &tokens[..tokens.len() - 1], known);
    }
    tiers.prefetch(u64::MAX);
    tiers.flush(LONG);
}

fn all_known() -> Known {
    let mut known = Known::default();
    for tokens in &conversations() {
        known.add_all(tokens);
        known.add_all(&tokens[..tokens.len() / 2]);
    }
    known
}

/// Lives with this fault at every operation in turn, and a life without any after each.
fn every_operation(fault: Fault) {
    let known = all_known();
    let watch =
        |place: &Place| Watch { folder: place.path(), bytes_max: BUDGET_BYTES, free_min: 0 };
    // What an earlier life left behind is there to be read and to be evicted.
    let before = Place::new();
    live(&before, &Arc::default(), &known);
    let mut at = 0;
    loop {
        let place = Place::new();
        copy(&before.path(), &place.path());
        let disk = Arc::new(Rigged::default());
        disk.watch(watch(&place));
        disk.set_fault(at, fault);
        live(&place, &disk, &known);
        let reached = disk.reached();
        disk.mend();
        let settings = Settings { ssd_bytes: BUDGET_BYTES, ..place.settings() };
        let tiers = place.open_on(&disk, settings, place.identity(Need::CellsAndState));
        for tokens in &conversations() {
            // A file that the fault has torn may be found and dropped, but only once.
            let _ = restore(&tiers, tokens, &known);
            keep(&tiers, tokens);
            assert_eq!(tiers.flush(LONG), 0, "operation {at}");
            assert_eq!(restore(&tiers, tokens, &known), Ok(tokens.len()), "operation {at}");
        }
        let half_made = place.files().iter().any(|file| file.extension().unwrap() == "tmp");
        assert!(!half_made, "operation {at}");
        assert!(place.file_bytes() <= BUDGET_BYTES);
        if !reached {
            break;
        }
        at += 1;
    }
    assert!(at > 100, "only {at} operations");
}

/// Copies a folder with what is in it, times included.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).unwrap();
            let modified = from.metadata().unwrap().modified().unwrap();
            std::fs::File::options().write(true).open(to).unwrap().set_modified(modified).unwrap();
        }
    }
}

#[test]
fn a_disk_without_space() {
    every_operation(Fault::Once(28));
}

#[test]
fn a_disk_that_fails() {
    every_operation(Fault::Once(5));
}

#[test]
fn a_folder_that_becomes_read_only() {
    every_operation(Fault::ReadOnly);
}

#[test]
fn a_process_that_dies_before() {
    every_operation(Fault::Killed);
}

#[test]
fn a_process_that_dies_within() {
    every_operation(Fault::Torn);
}

#[test]
fn a_process_that_dies_after() {
    every_operation(Fault::KilledAfter);
}

#[test]
fn a_read_only_folder_is_read_and_said_to_be_so_once() {
    let place = Place::new();
    let tokens = run(&[(1, 700)]);
    let known = Known::of(&[&tokens, &run(&[(2, 100)])]);
    keep(&place.open(Need::Cells), &tokens);
    let tiers = place.open(Need::Cells);
    keep(&tiers, &tokens);
    tiers.flush(LONG);
    drop(tiers);
    let disk = Arc::new(Rigged::default());
    disk.set_read_only();
    let settings = Settings { ram_bytes: 3_000, ..place.settings() };
    let tiers = place.open_on(&disk, settings, place.identity(Need::Cells));
    assert_eq!(restore(&tiers, &tokens, &known), Ok(700));
    for word in 2..9 {
        keep(&tiers, &run(&[(word, 100)]));
    }
    let left = tiers.flush(LONG);
    // Tried three times, and not once for each entry.
    let errors = tiers.stats().write_errors;
    assert!(left > 0 && errors <= 2 * u64::from(limits::WRITE_TRIES), "{errors} errors");
    // Memory goes on as if there were no files.
    keep(&tiers, &run(&[(9, 600)]));
    assert_eq!(tiers.find(&run(&[(9, 600)])).tokens, 600);
    disk.mend();
    assert_eq!(tiers.flush(LONG), 0);
}

/// After a pause, the next entry is the occasion to try again.
#[test]
fn writing_is_tried_again_after_a_pause() {
    let place = Place::new();
    let disk = Arc::new(Rigged::default());
    let tiers = place.open_on(&disk, place.settings(), place.identity(Need::Cells));
    disk.set_read_only();
    keep(&tiers, &[1]);
    tiers.flush(LONG);
    let failed = disk.changes();
    disk.mend();
    keep(&tiers, &[2]);
    // `stats` is asked until the thread has nothing more to do: it is paused, and does nothing.
    assert_eq!((tiers.stats().unwritten_bytes, disk.changes()), (8, failed));
    disk.pass_days(1);
    keep(&tiers, &[3]);
    tiers.flush(LONG);
    assert_eq!(place.files().len(), 3);
}

#[test]
fn a_folder_that_is_removed_while_running_is_made_again() {
    let place = Place::new();
    let tiers = place.open(Need::Cells);
    let shared = run(&[(1, 300)]);
    keep(&tiers, &shared);
    tiers.flush(LONG);
    let root = place.path().join("v1").join(place.identity(Need::Cells).root.to_string());
    for (folder, tail) in [(place.path(), 2), (root, 3)] {
        std::fs::remove_dir_all(folder).unwrap();
        let tokens = run(&[(1, 300), (tail, 30)]);
        keep(&tiers, &tokens);
        assert_eq!(tiers.flush(LONG), 0);
        // With what it comes after, which memory still had.
        let known = Known::of(&[&tokens]);
        assert_eq!(restore(&place.open(Need::Cells), &tokens, &known), Ok(330));
    }
}

#[test]
fn a_folder_that_cannot_be_made_leaves_memory() {
    let place = Place::new();
    std::fs::write(place.path(), b"a file where the folder should be").unwrap();
    let tiers = place.open(Need::Cells);
    let tokens = run(&[(1, 300)]);
    keep(&tiers, &tokens);
    assert!(tiers.flush(LONG) > 0);
    assert_eq!(restore(&tiers, &tokens, &Known::of(&[&tokens])), Ok(300));
}
