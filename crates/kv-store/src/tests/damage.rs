//! Files that are cut, changed, exchanged or planted.

use super::*;

/// A store of one conversation of two blocks and a tail.
fn filled(need: Need) -> (Place, Vec<u32>, Known) {
    let place = Place::new();
    let tokens = run(&[(1, 256), (2, 256), (3, 20)]);
    let known = Known::of(&[&tokens]);
    let tiers = place.open(need);
    keep(&tiers, &tokens);
    tiers.flush(LONG);
    (place, tokens, known)
}

/// Damages the file of the last cells in this way; what comes back is right, and it mends.
fn survives(damage: impl Fn(&mut Vec<u8>), place: &Place, tokens: &[u32], known: &Known) {
    let file = place.files().into_iter().find(|f| f.to_string_lossy().ends_with("-4.kv")).unwrap();
    let whole = std::fs::read(&file).unwrap();
    let mut bytes = whole.clone();
    damage(&mut bytes);
    if bytes == whole {
        return;
    }
    // Found damaged when the folder is opened ...
    std::fs::write(&file, &bytes).unwrap();
    let tiers = place.open(Need::Cells);
    if let Ok(restored) = restore(&tiers, tokens, known) {
        assert_eq!(restored, 512);
    }
    assert!(!file.exists());
    tiers.flush(LONG);
    // ... and while it is open, when it is read.
    std::fs::write(&file, &whole).unwrap();
    let tiers = place.open(Need::Cells);
    std::fs::write(&file, &bytes).unwrap();
    assert!(restore(&tiers, tokens, known).is_err());
    assert!(!file.exists());
    assert_eq!(restore(&tiers, tokens, known), Ok(512));
    assert_eq!(tiers.stats().dropped.values().sum::<u64>(), 1);
    keep(&tiers, tokens);
    tiers.flush(LONG);
    assert_eq!(std::fs::read(&file).unwrap(), whole);
}

#[test]
fn a_file_cut_at_any_byte_is_a_miss() {
    let (place, tokens, known) = filled(Need::Cells);
    let length = format::header_bytes(20, 1, false) + 80;
    for cut in 0..length {
        survives(|bytes| bytes.truncate(cut), &place, &tokens, &known);
    }
    survives(|bytes| bytes.push(0), &place, &tokens, &known);
}

#[test]
fn a_file_with_any_byte_changed_is_a_miss() {
    let (place, tokens, known) = filled(Need::Cells);
    let length = format::header_bytes(20, 1, false) + 80;
    for at in 0..length {
        survives(|bytes| bytes[at] ^= 1 << (at % 8), &place, &tokens, &known);
    }
}

#[test]
fn the_parts_before_a_damaged_one_are_good() {
    let place = Place::new();
    let tokens = run(&[(1, 512)]);
    let tiers = place.open(Need::Cells);
    keep(&tiers, &tokens);
    tiers.flush(LONG);
    let tiers = place.open(Need::Cells);
    let file = place.files().into_iter().find(|f| f.to_string_lossy().ends_with("-2.kv")).unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let mut fetch = tiers.fetch(tiers.find(&tokens), Box::new(|| {}));
    let mut ends = Vec::new();
    let reason = loop {
        match fetch.wait() {
            Step::Ready(piece, _) => ends.push(piece.range.end),
            Step::Failed(reason) => break reason,
            Step::Pending | Step::Done => panic!("the damage is not seen"),
        }
    };
    assert_eq!(ends, [96, 192, 256, 352, 448]);
    assert!(reason.contains("checksum"), "{reason}");
    assert!(!file.exists());
}

#[test]
fn a_file_under_another_name_is_a_miss() {
    let (place, tokens, known) = filled(Need::Cells);
    let files = place.files();
    std::fs::copy(&files[0], &files[1]).unwrap();
    let tiers = place.open(Need::Cells);
    assert_eq!(tiers.stats().dropped.len(), 1);
    assert!(restore(&tiers, &tokens, &known).unwrap() < tokens.len());
    assert!(!files[1].exists());
}

#[test]
fn a_file_of_another_model_is_a_miss() {
    let (place, tokens, known) = filled(Need::Cells);
    let other = place.model("other", Need::Cells);
    let to = place.path().join("v1").join(other.root.to_string());
    std::fs::create_dir(&to).unwrap();
    for file in place.files() {
        std::fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
    }
    let tiers = Tiers::open(place.settings(), other);
    tiers.flush(LONG);
    assert_eq!(tiers.find(&tokens).tokens, 0);
    assert_eq!(tiers.stats().dropped.values().sum::<u64>(), 3);
    assert_eq!(restore(&place.open(Need::Cells), &tokens, &known), Ok(532));
}

/// A model file that is replaced under its name has another digest, so another root.
#[test]
fn weights_replaced_under_the_same_name_meet_nothing() {
    let (place, tokens, _) = filled(Need::Cells);
    let root = Fingerprint::default().with("name", "model").with("file", "other").root();
    let identity = Identity { root, ..place.identity(Need::Cells) };
    let tiers = Tiers::open(place.settings(), identity);
    tiers.flush(LONG);
    assert_eq!(tiers.find(&tokens).tokens, 0);
}

#[test]
fn foreign_files_are_left_alone() {
    let (place, tokens, known) = filled(Need::Cells);
    let root = place.path().join("v1").join(place.identity(Need::Cells).root.to_string());
    let mine = [
        place.path().join("notes.txt"),
        place.path().join("v1/notes.txt"),
        root.join("notes.txt"),
        root.join("00.kv"),
        root.join(format!("{}-007.kv", "00".repeat(32))),
    ];
    for file in &mine {
        std::fs::write(file, b"mine").unwrap();
    }
    let stale = [root.join("0.tmp"), place.path().join("v1/0.tmp")];
    for file in &stale {
        std::fs::write(file, b"half").unwrap();
    }
    let tiers = place.open(Need::Cells);
    keep(&tiers, &[9]);
    tiers.flush(LONG);
    assert_eq!(restore(&tiers, &tokens, &known), Ok(532));
    assert!(mine.iter().all(|file| file.exists()));
    assert!(!stale.iter().any(|file| file.exists()));
}

#[test]
fn a_damaged_lock_file_is_written_anew() {
    let (place, tokens, known) = filled(Need::Cells);
    let lock = place.path().join("v1/lock");
    for content in [&b""[..], &[0xff; 80], &[7; 13], &[0; 500]] {
        std::fs::write(&lock, content).unwrap();
        let tiers = place.open(Need::Cells);
        keep(&tiers, &run(&[(content.len() as u32, 30)]));
        assert_eq!(tiers.flush(LONG), 0);
        assert_eq!(restore(&tiers, &tokens, &known), Ok(532));
    }
}

#[test]
fn a_damaged_card_makes_a_model_gone_and_is_written_anew() {
    let (place, _, _) = filled(Need::Cells);
    let root = place.identity(Need::Cells).root;
    let card = place.path().join("v1").join(root.to_string()).join("model.json");
    let whole = std::fs::read(&card).unwrap();
    for content in [&b""[..], b"{", b"{}", b"\xff"] {
        std::fs::write(&card, content).unwrap();
        assert!(!folder::ls(&place.path()).unwrap()[0].is_current);
    }
    let tiers = place.open(Need::Cells);
    keep(&tiers, &[9]);
    tiers.flush(LONG);
    assert_eq!(std::fs::read(&card).unwrap(), whole);
}
