//! The store by itself: what it keeps, shares, counts and refuses.

use super::*;
use crate::{
    chunk::{Passage, Piece},
    document::{Gap, Inside, Place, Role, Why},
};

fn passage(text: &str) -> Passage {
    let place = Place { inside: Inside::Page(2), bytes: None };
    let piece = Piece { text: 0..text.len() as u32, part: 0, at: 0, role: Role::Paragraph, place };
    Passage {
        text: text.to_owned(),
        context: "Manual".to_owned(),
        headings: vec!["Manual".to_owned(), "保养".to_owned()],
        pieces: vec![piece],
        tokens: 3,
    }
}

fn read(name: &str, texts: &[&str]) -> Read {
    let passages = texts.iter().map(|text| passage(text)).collect();
    let gaps = vec![Gap { inside: Inside::Page(3), why: Why::NeedsOcr }];
    Read {
        path: name.into(),
        stat: Stat { size: 10, modified_ns: 5, device: u64::MAX, inode: u64::MAX - 1 },
        hash: Some([7; 32]),
        outcome: Outcome::Passages { title: Some("Title".to_owned()), gaps, passages },
    }
}

struct Made {
    _home: tempfile::TempDir,
    store: Store,
    collection: Collection,
    source: u64,
}

fn made() -> Made {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(&home.path().join("store.sqlite")).unwrap();
    let collection = store.collection_or_new("notes").unwrap();
    store.embedded_by(&collection, Some(("model", 4))).unwrap();
    let collection = store.collection("notes").unwrap();
    let source = Source {
        id: 0,
        kind: Kind::Folder,
        path: "/folder".into(),
        include: vec!["*.md".to_owned()],
        exclude: Vec::new(),
        hidden: true,
    };
    let id = store.add_source(&collection, &source).unwrap();
    assert_eq!(store.sources(collection.id).unwrap(), [Source { id, ..source }]);
    Made { _home: home, store, collection, source: id }
}

#[test]
fn what_is_put_in_comes_out_again() {
    let Made { store, collection, source, .. } = &made();
    let texts = ["first", "second", "third", "fourth", "fifth"];
    store
        .put_files(
            collection,
            *source,
            &[read("/folder/a.md", &texts), read("/folder/b.md", &["other"])],
        )
        .unwrap();
    let due = store.due(collection, 0, 100).unwrap();
    assert_eq!(due.len(), 6);
    assert_eq!(due[0].embedded(), "Manual\n\nfirst");
    let third = store.passages(&[due[2].id, 999, due[0].id]).unwrap();
    assert_eq!(
        third.iter().map(|found| found.text.as_str()).collect::<Vec<_>>(),
        ["third", "first"]
    );
    assert_eq!(third[0].pieces, passage("third").pieces);
    assert_eq!(
        (third[0].headings.len(), third[0].ordinal, third[0].collection.as_str()),
        (2, 2, "notes")
    );
    assert_eq!(third[0].places(1..2), [Place { inside: Inside::Page(2), bytes: None }]);
    let around = |id, before, after| -> Vec<String> {
        store.neighbours(id, before, after).unwrap().into_iter().map(|found| found.text).collect()
    };
    assert_eq!(around(due[2].id, 1, 2), ["second", "third", "fourth", "fifth"]);
    assert_eq!(around(due[0].id, 9, 0), ["first"], "no other file's");
    let file = store.file_at(collection.id, Path::new("/folder/a.md")).unwrap().unwrap();
    assert_eq!((file.state, file.passages, file.gaps.len()), (State::Stored, 5, 1));
    let mut exported = Vec::new();
    assert_eq!(store.export(collection.id, &mut exported).unwrap(), 8);
    for line in String::from_utf8(exported).unwrap().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(
            line["path"].is_string() || line["pieces"][0]["place"]["inside"]["page"] == 2,
            "{line}"
        );
    }
}

#[test]
fn a_file_is_indexed_when_all_its_passages_are() {
    let Made { store, collection, source, .. } = &made();
    store.put_files(collection, *source, &[read("/folder/a.md", &["first", "second"])]).unwrap();
    let due: Vec<u64> = store.due(collection, 0, 10).unwrap().iter().map(|due| due.id).collect();
    assert_eq!(store.indexed(&due[..1]).unwrap(), Vec::<PathBuf>::new());
    assert_eq!(store.indexed(&due[1..]).unwrap(), [PathBuf::from("/folder/a.md")]);
    assert_eq!(store.indexed(&due).unwrap(), Vec::<PathBuf>::new(), "it is told once");
    assert_eq!(store.indexed_ids(collection.id, 0, 10).unwrap(), due);
    let counts = store.counts(collection.id).unwrap();
    assert_eq!(
        (counts.files, counts.indexed, counts.passages, counts.due, counts.with_gaps),
        (1, 1, 2, 0, 1)
    );
    store.not_indexed(collection.id, Some(&due[..1])).unwrap();
    assert_eq!(store.counts(collection.id).unwrap().indexed, 0);
}

#[test]
fn numbers_are_never_used_twice_and_gone_ones_are_told_until_forgotten() {
    let Made { store, collection, source, .. } = &made();
    let mut seen = Vec::new();
    for round in 0..3 {
        let text = format!("round {round}");
        store.put_files(collection, *source, &[read("/folder/a.md", &[&text])]).unwrap();
        let due = store.due(collection, 0, 10).unwrap();
        assert_eq!((due.len(), seen.contains(&due[0].id)), (1, false));
        assert_eq!(store.gone(collection.id, 10).unwrap(), seen);
        seen.push(due[0].id);
    }
    store.remove_collection(collection.id).unwrap();
    let next = store.collection_or_new("next").unwrap();
    assert_ne!(next.id, collection.id);
    assert_eq!(
        store.gone(next.id, 10).unwrap(),
        seen,
        "those of a collection that is gone are told to any other"
    );
    store.forget_gone(&seen).unwrap();
    assert_eq!(store.gone(next.id, 10).unwrap(), Vec::<u64>::new());
    assert_eq!(store.unknown_ids(&seen).unwrap(), seen);
}

#[test]
fn vectors_are_shared_and_leave_with_the_last_passage() {
    let Made { store, collection, source, .. } = &made();
    let files = [read("/folder/a.md", &["same", "own"]), read("/folder/b.md", &["same"])];
    store.put_files(collection, *source, &files).unwrap();
    let due = store.due(collection, 0, 10).unwrap();
    assert_eq!((due[0].key, due[0].key == due[1].key), (due[2].key, false));
    let vectors: Vec<_> =
        due[..2].iter().map(|due| (due.key.unwrap(), vec![0.5, -1.0, 0.25, 3.0])).collect();
    store.put_vectors(&vectors).unwrap();
    let due = store.due(collection, 0, 10).unwrap();
    assert!(due.iter().all(|due| due.vector.as_deref() == Some(&[0.5, -1.0, 0.25, 3.0])));
    let count = || {
        store.read(|reader| {
            reader.query_row("SELECT count(*) FROM vectors", [], |row| row.get::<_, u32>(0))
        })
    };
    store.remove_files(&[due[0].file]).unwrap();
    assert_eq!(count().unwrap(), 1);
    store.remove_source(*source).unwrap();
    assert_eq!(count().unwrap(), 0);
    let other = vector_key("model", 5, "Manual\n\nsame");
    assert_ne!(Some(other), due[0].key);
}

#[test]
fn names_of_collections_are_names() {
    let Made { store, .. } = &made();
    for name in ["", " ", "-x", ".x", "a/b", "a+b", "a b", &"长".repeat(65)] {
        assert!(matches!(store.collection_or_new(name), Err(Error::Name { .. })), "{name}");
    }
    for name in ["日记", "daily-notes_2.0", "Ω"] {
        assert_eq!(store.collection_or_new(name).unwrap().name, name);
    }
    let told = store.collection("dairy").unwrap_err().to_string();
    assert!(told.contains("notes, Ω, 日记"), "{told}");
}

#[test]
fn two_that_write_wait_for_each_other() {
    let Made { store, .. } = &made();
    let other = Store::open(store.path()).unwrap();
    std::thread::scope(|scope| {
        for (store, letter) in [(store, "a"), (&other, "b"), (store, "c")] {
            scope.spawn(move || {
                for number in 0..20 {
                    store.collection_or_new(&format!("{letter}{number}")).unwrap();
                }
            });
        }
    });
    assert_eq!(store.collections().unwrap().len(), 61);
}
