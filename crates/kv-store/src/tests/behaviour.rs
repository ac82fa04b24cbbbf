//! What callers rely on, one by one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::*;
use crate::limits::WATCH_MAX;

#[test]
fn a_conversation_survives_its_process() {
    let place = Place::new();
    let tokens = run(&[(1, 300), (2, 64)]);
    let known = Known::of(&[&tokens]);
    for need in [Need::Cells, Need::CellsAndState, Need::State] {
        let identity = place.model(&format!("{need:?}"), need);
        let tiers = Tiers::open(place.settings(), identity.clone());
        keep(&tiers, &tokens);
        assert_eq!(tiers.flush(LONG), 0);
        drop(tiers);
        let tiers = Tiers::open(place.settings(), identity);
        assert_eq!(restore(&tiers, &tokens, &known), Ok(364));
        let stats = tiers.stats();
        assert_eq!(stats.from_ram.entries, 0);
        assert_eq!((stats.hits, stats.misses), (1, 0));
        let tokens_back = if need == Need::State { 0 } else { 364 };
        assert_eq!(stats.from_ssd.tokens, tokens_back);
    }
}

/// Cells of the same tokens that a model computed with other scales of its adapters are other cells.
#[test]
fn a_branch_finds_what_it_kept_itself_and_nothing_else() {
    let place = Place::new();
    let tokens = run(&[(1, 300), (2, 64)]);
    for need in [Need::Cells, Need::CellsAndState, Need::State] {
        let identity = place.model(&format!("{need:?}"), need);
        let trunk = Tiers::open(place.settings(), identity.clone());
        let half = trunk.branch(b"half");
        keep(&trunk, &tokens);
        assert_eq!((trunk.find(&tokens).tokens, half.find(&tokens).tokens), (364, 0));
        keep(&half, &tokens[..310]);
        drop(trunk);
        assert_eq!(half.flush(LONG), 0, "the thread goes on for the branch that is left");
        drop(half);
        let trunk = Tiers::open(place.settings(), identity);
        let branches = [&b"half"[..], b"whole", b""].map(|way| trunk.branch(way));
        let found = branches.each_ref().map(|branch| branch.find(&tokens).tokens);
        assert_eq!(found, [310, 0, 0]);
        assert_eq!(trunk.find(&tokens).tokens, 364);
        let known = Known::of(&[&tokens, &tokens[..310]]);
        assert_eq!(restore(&branches[0], &tokens, &known), Ok(310));
    }
}

#[test]
fn off_keeps_nothing_and_touches_nothing() {
    let place = Place::new();
    let tiers = place.open_with(Settings { mode: Mode::Off, ..place.settings() }, Need::Cells);
    assert_eq!(tiers.put(Kind::Cells, &[1], vec![1]), Put::Full);
    assert_eq!(tiers.find(&[1]).tokens, 0);
    tiers.prefetch(u64::MAX);
    assert_eq!(tiers.flush(LONG), 0);
    let memory = place.open_with(Settings { mode: Mode::Ram, ..place.settings() }, Need::Cells);
    keep(&memory, &[1, 2]);
    assert_eq!((memory.flush(LONG), memory.find(&[1, 2]).tokens), (0, 2));
    assert!(!place.path().exists());
}

#[test]
fn memory_gives_without_a_file_and_says_so() {
    let place = Place::new();
    let tiers = place.open(Need::Cells);
    let tokens = run(&[(1, 300)]);
    keep(&tiers, &tokens);
    tiers.flush(LONG);
    for file in place.files() {
        std::fs::remove_file(file).unwrap();
    }
    let found = tiers.find(&tokens);
    assert!(found.pieces.iter().all(|piece| piece.tier == Tier::Ram));
    assert_eq!(restore(&tiers, &tokens, &Known::of(&[&tokens])), Ok(300));
    assert_eq!(tiers.stats().from_ram.tokens, 300);
    assert_eq!(tiers.shrink(0), 1_200);
    assert!(restore(&tiers, &tokens, &Known::of(&[&tokens])).is_err());
}

#[test]
fn what_memory_lost_since_it_was_found_is_read_from_its_file() {
    let place = Place::new();
    let tiers = place.open(Need::Cells);
    let tokens = run(&[(1, 90)]);
    keep(&tiers, &tokens);
    tiers.flush(LONG);
    let found = tiers.find(&tokens);
    tiers.shrink(0);
    let mut fetch = tiers.fetch(found, Box::new(|| {}));
    let Step::Ready(piece, bytes) = fetch.wait() else { panic!("a miss") };
    assert_eq!((piece.tier, &*bytes), (Tier::Ssd, &state_of(Kind::Cells, &tokens)));
    assert!(matches!(fetch.wait(), Step::Done));
}

/// An engine's loop is woken, and finds everything without ever waiting.
#[test]
fn readers_wake_the_one_who_does_not_wait() {
    let place = Place::new();
    let tokens = run(&[(1, 256), (2, 256), (3, 256), (4, 256), (5, 256), (6, 3)]);
    let tiers = place.open(Need::Cells);
    keep(&tiers, &tokens);
    tiers.flush(LONG);
    let tiers = place.open(Need::Cells);
    let wakes = Arc::new(AtomicUsize::new(0));
    let (wake, woken) = std::sync::mpsc::channel();
    let count = Arc::clone(&wakes);
    let mut fetch = tiers.fetch(
        tiers.find(&tokens),
        Box::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
            let _ = wake.send(());
        }),
    );
    let mut ranges = Vec::new();
    loop {
        match fetch.wait_for(Duration::ZERO) {
            Step::Ready(piece, _) => ranges.push(piece.range),
            Step::Pending => woken.recv_timeout(LONG).unwrap(),
            Step::Done => break,
            Step::Failed(reason) => panic!("{reason}"),
        }
    }
    let starts: Vec<usize> = ranges.iter().map(|range| range.start).collect();
    let blocks: Vec<usize> = starts.iter().copied().filter(|start| start % 256 == 0).collect();
    assert_eq!(blocks, [0, 256, 512, 768, 1024, 1280]);
    assert!(wakes.load(Ordering::Relaxed) <= starts.len());
}

#[test]
fn a_restore_that_is_dropped_ends() {
    let place = Place::new();
    let tokens = run(&[(1, 256), (2, 256), (3, 256)]);
    let tiers = place.open(Need::Cells);
    keep(&tiers, &tokens);
    tiers.flush(LONG);
    tiers.shrink(0);
    for _ in 0..50 {
        let mut fetch = tiers.fetch(tiers.find(&tokens), Box::new(|| {}));
        let _ = fetch.wait_for(Duration::ZERO);
    }
    assert_eq!(restore(&tiers, &tokens, &Known::of(&[&tokens])), Ok(768));
}

#[test]
fn a_slow_disk_is_waited_for_as_long_as_is_asked() {
    let place = Place::new();
    let disk = Arc::new(Rigged::default());
    let tokens = run(&[(1, 256), (2, 256)]);
    let tiers = place.open_on(&disk, place.settings(), place.identity(Need::Cells));
    keep(&tiers, &tokens);
    tiers.flush(LONG);
    tiers.shrink(0);
    disk.hold_reads(true);
    let mut fetch = tiers.fetch(tiers.find(&tokens), Box::new(|| {}));
    for wait_max in [Duration::ZERO, WATCH_MAX / 2, WATCH_MAX * 3] {
        let begun = Instant::now();
        assert!(matches!(fetch.wait_for(wait_max), Step::Pending));
        assert!(begun.elapsed() >= wait_max);
    }
    // It comes when nobody watches any more.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(WATCH_MAX * 10);
            disk.hold_reads(false);
        });
        assert!(matches!(fetch.wait(), Step::Ready(..)));
    });
    while matches!(fetch.wait_for(LONG), Step::Ready(..)) {}
    assert!(matches!(fetch.wait_for(LONG), Step::Done));
}

#[test]
fn while_a_model_loads_its_last_conversation_is_read_ahead() {
    let place = Place::new();
    let disk = Arc::new(Rigged::default());
    let tiers = place.open_on(&disk, place.settings(), place.identity(Need::Cells));
    let (old, new) = (run(&[(1, 300)]), run(&[(2, 600)]));
    for tokens in [&new, &old] {
        keep(&tiers, tokens);
        tiers.flush(LONG);
    }
    restore(&tiers, &new, &Known::of(&[&new])).unwrap();
    tiers.flush(LONG);
    drop(tiers);
    let tiers = place.open_on(&disk, place.settings(), place.identity(Need::Cells));
    tiers.prefetch(u64::MAX);
    tiers.flush(LONG);
    let ranks: Vec<String> = disk
        .read_ahead()
        .iter()
        .map(|path| path.file_stem().unwrap().to_string_lossy()[65..].to_owned())
        .collect();
    assert_eq!(ranks, ["0", "2", "4", "0", "2"]);
    let found = tiers.find(&new);
    let first = &disk.read_ahead()[0];
    assert!(first.to_string_lossy().contains(&found.pieces[0].key.to_string()));
    let bytes = |path: &PathBuf| std::fs::metadata(path).unwrap().len();
    let sizes: Vec<u64> = disk.read_ahead().iter().map(bytes).collect();
    assert_eq!(tiers.stats().read_ahead_bytes, sizes.iter().sum::<u64>());
    drop(tiers);
    let tiers = place.open_on(&disk, place.settings(), place.identity(Need::Cells));
    tiers.prefetch(sizes[0] + sizes[1] + sizes[2] - 1);
    tiers.flush(LONG);
    assert_eq!(disk.read_ahead().len(), ranks.len() + 2, "no more than it may");
    assert_eq!(tiers.stats().read_ahead_bytes, sizes[0] + sizes[1]);
}

#[test]
fn the_folder_is_shown_and_cleared() {
    let place = Place::new();
    assert_eq!(folder::ls(&place.path()).unwrap(), []);
    assert_eq!(folder::clear(&place.path(), &folder::Clear::All).unwrap(), Default::default());
    assert!(!place.path().exists(), "looking makes nothing");
    let names = ["small", "large", "gone"];
    let identities = names.map(|name| place.model(name, Need::Cells));
    for (identity, length) in identities.iter().zip([10, 900, 300]) {
        let tiers = Tiers::open(place.settings(), identity.clone());
        keep(&tiers, &run(&[(1, length)]));
        tiers.flush(LONG);
    }
    std::fs::remove_file(&identities[2].path).unwrap();
    let whole = folder::stats(&place.path()).unwrap();
    let shown: Vec<(&str, u64, bool)> = whole
        .models
        .iter()
        .map(|held| (held.model.as_ref().unwrap().0.as_str(), held.entries, held.is_current))
        .collect();
    assert_eq!(shown, [("large", 4, true), ("gone", 2, false), ("small", 1, true)]);
    assert_eq!((whole.entries, whole.bytes), (7, place.file_bytes()));
    assert_eq!(whole.written_today_bytes, whole.bytes);
    let clear = |what| folder::clear(&place.path(), &what).unwrap().entries;
    assert_eq!(clear(folder::Clear::Gone), 2);
    assert_eq!(clear(folder::Clear::Model("large".into())), 4);
    assert_eq!(clear(folder::Clear::Model("large".into())), 0);
    // A store that is open finds out, and goes on.
    let tiers = Tiers::open(place.settings(), identities[0].clone());
    tiers.flush(LONG);
    assert_eq!(clear(folder::Clear::All), 1);
    assert!(restore(&tiers, &run(&[(1, 10)]), &Known::default()).is_err());
    keep(&tiers, &run(&[(1, 10)]));
    assert_eq!(tiers.flush(LONG), 0);
    assert_eq!(folder::stats(&place.path()).unwrap().entries, 1);
}

#[test]
fn what_is_kept_of_a_deleted_model_is_told_from_what_lies_on_a_disk_that_is_away() {
    let place = Place::new();
    let folder = |name: &str| {
        let folder = place.path().with_file_name(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    };
    let (here, away) = (folder("here"), folder("away"));
    let files =
        [here.join("stays"), here.join("deleted"), here.join("replaced"), away.join("away")];
    for (number, file) in (1..).zip(&files) {
        std::fs::write(file, "x").unwrap();
        let (root, model) = (Key([number; 32]), file.display().to_string());
        let identity = Identity { root, model, path: file.clone(), need: Need::Cells };
        let tiers = Tiers::open(place.settings(), identity);
        keep(&tiers, &run(&[(1, 10)]));
        tiers.flush(LONG);
    }
    std::fs::remove_file(&files[1]).unwrap();
    std::fs::write(&files[2], "another").unwrap();
    #[cfg(unix)]
    {
        std::fs::remove_file(&files[0]).unwrap();
        std::os::unix::fs::symlink(&files[3], &files[0]).unwrap();
    }
    std::fs::remove_dir_all(&away).unwrap();
    assert_eq!(folder::clear(&place.path(), &folder::Clear::Deleted).unwrap().entries, 1);
    let left = folder::ls(&place.path()).unwrap().into_iter().map(|held| held.model.unwrap().1);
    let mut left: Vec<PathBuf> = left.collect();
    left.sort();
    assert_eq!(left, [files[3].clone(), files[2].clone(), files[0].clone()]);
}

#[test]
fn a_lock_that_is_held_is_not_waited_for_when_nobody_wants_it() {
    let place = Place::new();
    std::fs::create_dir_all(place.path()).unwrap();
    let path = place.path().join("lock");
    let held = ledger::Hold::take(&disk::System, &path, &|| true).unwrap();
    let refused = ledger::Hold::take(&disk::System, &path, &|| false);
    assert!(refused.is_err_and(|error| error.kind() == std::io::ErrorKind::TimedOut));
    drop(held);
    assert!(ledger::Hold::take(&disk::System, &path, &|| false).is_ok());
}

#[test]
fn memory_that_was_read_into_is_kept_for_the_next_restore_and_can_be_had_back() {
    let place = Place::new();
    let tokens = run(&[(1, 5 * BLOCK_TOKENS)]);
    let first = place.open(Need::Cells);
    keep(&first, &tokens);
    first.flush(LONG);
    drop(first);
    let tiers = place.open(Need::Cells);
    let part_bytes = 4 * PART_TOKENS as u64;
    for _ in 0..2 {
        assert_eq!(tiers.shrink(u64::MAX), 0, "there is none");
        for _ in 0..2 {
            assert_eq!(restore(&tiers, &tokens, &Known::of(&[&tokens])), Ok(tokens.len()));
        }
        let freed_bytes = tiers.shrink(u64::MAX);
        assert!((part_bytes..=15 * part_bytes).contains(&freed_bytes), "{freed_bytes}");
    }
}

#[test]
fn settings_travel() {
    let place = Place::new();
    let settings = Settings { encryption_key: Some("key".into()), ..place.settings() };
    let text = serde_json::to_string(&settings).unwrap();
    assert!(text.contains(r#""mode":"ssd""#));
    assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), settings);
}
