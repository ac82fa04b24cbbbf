//! Encrypted and compressed stores.

use super::*;

fn sealed(place: &Place) -> Settings {
    Settings { encryption_key: Some(place.folder.path().join("keys/kv.key")), ..place.settings() }
}

#[test]
fn a_sealed_store_gives_back_and_shows_nothing() {
    let place = Place::new();
    let tokens: Vec<u32> = (1_000..1_600).collect();
    let known = Known::of(&[&tokens]);
    for compress in [false, true] {
        let settings = Settings { compress, ..sealed(&place) };
        let tiers = place.open_with(settings.clone(), Need::CellsAndState);
        keep(&tiers, &tokens);
        assert_eq!(tiers.flush(LONG), 0);
        drop(tiers);
        let tiers = place.open_with(settings, Need::CellsAndState);
        assert_eq!(restore(&tiers, &tokens, &known), Ok(600));
    }
    // Neither tokens, nor states, nor keys that one could compute from a guess.
    let identity = place.identity(Need::Cells);
    let guess = key::entry(identity.root, Kind::Cells, &tokens[..256]);
    for file in place.files() {
        let bytes = std::fs::read(&file).unwrap();
        for secret in [key::token_bytes(&tokens[256..260]), state_of(Kind::Cells, &tokens[..256])] {
            assert!(!bytes.windows(16).any(|part| part == &secret[..16]));
        }
        assert!(!file.to_string_lossy().contains(&guess.to_string()));
        assert!(!bytes.windows(32).any(|part| part == guess.0));
    }
}

#[test]
fn with_another_key_or_none_nothing_is_read_and_the_rest_is_removed() {
    let place = Place::new();
    let tokens = run(&[(1, 600)]);
    let known = Known::of(&[&tokens]);
    let plain = place.settings();
    let one = sealed(&place);
    let other =
        Settings { encryption_key: Some(place.folder.path().join("other.key")), ..plain.clone() };
    for settings in [&plain, &one, &other, &plain] {
        let tiers = place.open_with(settings.clone(), Need::Cells);
        assert_eq!(tiers.find(&tokens).tokens, 0);
        assert_eq!(place.files(), Vec::<PathBuf>::new(), "what cannot be read is of no use");
        keep(&tiers, &tokens);
        assert_eq!(tiers.flush(LONG), 0);
        drop(tiers);
        let tiers = place.open_with(settings.clone(), Need::Cells);
        assert_eq!(restore(&tiers, &tokens, &known), Ok(600));
    }
}

#[test]
fn a_key_is_made_once_and_is_private() {
    let place = Place::new();
    let path = place.folder.path().join("keys/kv.key");
    let _ = place.open_with(sealed(&place), Need::Cells);
    let key = std::fs::read(&path).unwrap();
    assert_eq!(key.len(), 32);
    assert_ne!(key, [0; 32]);
    let _ = place.open_with(sealed(&place), Need::Cells);
    assert_eq!(std::fs::read(&path).unwrap(), key);
    // A key that is damaged is not replaced: what it sealed would be lost without a word.
    std::fs::write(&path, &key[..31]).unwrap();
    let tiers = place.open_with(sealed(&place), Need::Cells);
    keep(&tiers, &[1]);
    assert_eq!(tiers.flush(LONG), 0);
    assert_eq!(std::fs::read(&path).unwrap().len(), 31);
    assert_eq!(place.files(), Vec::<PathBuf>::new());
    // Memory goes on.
    assert_eq!(tiers.find(&[1]).tokens, 1);
}

#[cfg(unix)]
#[test]
fn files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let tiers = place.open_with(sealed(&place), Need::CellsAndState);
    keep(&tiers, &[1, 2, 3]);
    tiers.flush(LONG);
    let mut folders = vec![place.path(), place.folder.path().join("keys")];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files += 1;
                let mode = path.metadata().unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600, "{}", path.display());
            }
        }
    }
    // The lock, the card, two entries, the key.
    assert_eq!(files, 5);
    // A key that others can read seals nothing.
    let key = place.folder.path().join("keys/kv.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let tiers = place.open_with(sealed(&place), Need::CellsAndState);
    assert_eq!(tiers.find(&[1, 2, 3]).tokens, 0);
    keep(&tiers, &[4]);
    tiers.flush(LONG);
    assert_eq!(place.files().len(), 2);
}

#[test]
fn compressed_files_are_smaller_and_the_same() {
    let place = Place::new();
    let settings = Settings { compress: true, ..place.settings() };
    let tiers = place.open_with(settings, Need::State);
    let state = vec![7; 100_000];
    tiers.put(Kind::State, &[1, 2], state.clone());
    tiers.flush(LONG);
    assert!(place.file_bytes() < 1_000);
    // The setting is of writing; whoever reads goes by the file.
    let tiers = place.open(Need::State);
    let found = tiers.find(&[1, 2]);
    assert_eq!((found.tokens, found.pieces[0].bytes), (2, 100_000));
    let mut fetch = tiers.fetch(found, Box::new(|| {}));
    let Step::Ready(_, bytes) = fetch.wait() else { panic!("a miss") };
    assert!(*bytes == state);
}
