//! The process ends before each operation, and in the middle of each that can be torn; afterwards every
//! model is as it was or as it was to be, and what is left over is found.

use std::{fs, path::Path, sync::Arc, time::Duration};

use super::{End, all_below, digest_of, goes_on, manifest, model, name, stored};
use crate::{
    manifest::{File, Role},
    store::{Error, Place, Store},
};

/// What is there before: a model of two parts, a second one that shares one of them, and a whole file.
fn before(folder: &Path) -> Store {
    let mut store = Store::open(&folder.join("library")).unwrap();
    store.disk.end = Some(Arc::new(End::never()));
    let first = stored(&store, Role::Model, "m-00001-of-00002.gguf", b"first");
    let second = stored(&store, Role::Model, "m-00002-of-00002.gguf", b"second");
    store.put(&manifest("parts", vec![first.clone(), second])).unwrap();
    store.put(&manifest("one", vec![first])).unwrap();
    fs::write(folder.join("whole"), "new").unwrap();
    fs::create_dir(folder.join("elsewhere")).unwrap();
    fs::write(folder.join("elsewhere/whole"), "new").unwrap();
    store
}

fn file(content: &[u8]) -> File {
    File::new(Role::Model, "m.gguf", digest_of(content), content.len() as u64)
}

/// Something that changes a store.
type Change = fn(&Store, &Path) -> Result<(), Error>;

const CHANGES: [(&str, Change); 9] = [
    ("add", |store, _| store.add(&mut &b"added"[..], &digest_of(b"added"))),
    ("adopt", |store, folder| store.adopt(&folder.join("whole"), &digest_of(b"new"))),
    ("adopt from elsewhere", |store, folder| {
        store.adopt(&folder.join("elsewhere/whole"), &digest_of(b"new"))
    }),
    ("import and put", |store, folder| {
        let path = folder.join("m.gguf");
        fs::write(&path, model(7)).unwrap();
        let imported = store.import(&Place::File(path), Some(&name("new")), &mut goes_on)?;
        assert_eq!((imported.models.len(), imported.skipped.len()), (1, 0), "{imported:?}");
        Ok(())
    }),
    ("adopt and put", |store, folder| {
        store.adopt(&folder.join("whole"), &digest_of(b"new"))?;
        store.put(&manifest("new", vec![file(b"new")]))
    }),
    ("replace", |store, _| {
        let first = File::new(Role::Model, "m-00001-of-00002.gguf", digest_of(b"second"), 6);
        let second = File::new(Role::Model, "m-00002-of-00002.gguf", digest_of(b"first"), 5);
        store.put(&manifest("parts", vec![first, second]))
    }),
    ("copy", |store, _| store.copy(&name("parts"), &name("copied")).map(|_| ())),
    ("remove", |store, _| store.remove(&name("parts"))),
    ("remove both", |store, _| {
        store.remove(&name("one"))?;
        store.remove(&name("parts"))?;
        store.collect_garbage(Duration::ZERO).map(|_| ())
    }),
];

/// Each model that is there can be used, by its parts' names too, and says one thing only.
fn check(folder: &Path, what: &str) {
    let store = Store::open(&folder.join("library")).unwrap();
    let scan = store.models();
    assert_eq!(scan.problems, Vec::<String>::new(), "{what}");
    for model in &scan.models {
        for part in &model.files {
            assert_eq!(digest_of(&fs::read(store.path_of(part)).unwrap()), part.digest, "{what}");
            let path = store.model_path(model);
            if model.files.len() > 1 {
                let content = fs::read(path.with_file_name(&part.name)).unwrap();
                assert_eq!(digest_of(&content), part.digest, "{what}: {}", part.name);
            }
        }
    }
    let names: Vec<_> = scan.models.iter().map(|model| model.name.as_str()).collect();
    let expected: &[&[&str]] = match what {
        "adopt and put" | "import and put" => &[&["one", "parts"], &["new", "one", "parts"]],
        "copy" => &[&["one", "parts"], &["copied", "one", "parts"]],
        "remove" => &[&["one", "parts"], &["one"]],
        "remove both" => &[&["one", "parts"], &["parts"], &[]],
        _ => &[&["one", "parts"]],
    };
    assert!(expected.contains(&&names[..]), "{what}: {names:?}");

    // Nothing is left over that is not found.
    store.collect_garbage(Duration::ZERO).unwrap();
    let blobs = all_below(&store.folder).into_iter().filter(|path| path.starts_with("blobs/"));
    let files = scan.models.iter().flat_map(|model| &model.files);
    let mut named: Vec<_> = files.filter(|file| file.at.is_none()).collect();
    named.sort_by_key(|file| file.digest);
    named.dedup_by_key(|file| file.digest);
    let named: Vec<_> = named.iter().map(|f| format!("blobs/sha256-{}", f.digest.hex())).collect();
    assert_eq!(blobs.collect::<Vec<_>>(), named, "{what}");
    assert_eq!(store.models(), scan, "{what}");
}

#[test]
fn wherever_the_process_ends_each_model_is_as_it_was_or_shall_be() {
    for (what, change) in CHANGES {
        for in_the_middle in [false, true] {
            let mut ends = 0;
            loop {
                let folder = tempfile::tempdir().unwrap();
                let mut store = before(folder.path());
                let end = Arc::new(End::new(ends, in_the_middle));
                end.set_elsewhere(&folder.path().join("elsewhere"));
                store.disk.end = Some(Arc::clone(&end));
                let result = change(&store, folder.path());
                if !end.was_reached() {
                    result.unwrap();
                    check(folder.path(), what);
                    break;
                }
                check(folder.path(), what);
                ends += 1;
            }
            assert!(ends > 2, "{what} has {ends} operations");
        }
    }
}

#[test]
fn a_disk_that_lives_on_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = before(folder.path());
    store.disk.end = Some(Arc::new(End::never()));
    let (_, change) = CHANGES.into_iter().find(|(what, _)| *what == "adopt and put").unwrap();
    change(&store, folder.path()).unwrap();
    check(folder.path(), "adopt and put");
}
