//! What models take of the disk, and whether they are what they were.

use std::{fs, ops::ControlFlow, time::Duration};

use super::{goes_on, manifest, name, stored};
use crate::{
    manifest::Role,
    store::{Error, ModelUsage, Progress, Store, Usage},
};

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("library")).unwrap();
    (folder, store)
}

#[test]
fn usage_says_what_each_model_would_free() {
    let (folder, store) = store();
    let shared = stored(&store, Role::Model, "a.gguf", &[1; 5000]);
    let own = stored(&store, Role::Projector, "p.gguf", &[2; 300]);
    let elsewhere = folder.path().join("b.gguf");
    fs::write(&elsewhere, [3; 70]).unwrap();
    let mut there = stored(&store, Role::Draft, "b.gguf", &[3; 70]);
    there.at = Some(elsewhere);
    store.put(&manifest("a", vec![shared.clone(), own])).unwrap();
    store.put(&manifest("b", vec![shared, there])).unwrap();
    fs::create_dir_all(store.pulls().join("x")).unwrap();
    fs::write(store.pulls().join("x/half"), [0; 4096]).unwrap();
    fs::write(store.folder.join("manifests/torn.json"), "{").unwrap();
    fs::write(store.folder.join("blobs/new-1-1"), [0; 9]).unwrap();

    let usage = store.usage();
    let of = |called, bytes, own_bytes, elsewhere_bytes| ModelUsage {
        name: name(called),
        bytes,
        own_bytes,
        elsewhere_bytes,
    };
    let expected = Usage {
        models: vec![of("a", 5300, 300, 0), of("b", 5070, 0, 70)],
        blobs: 3,
        blobs_bytes: 5370,
        linked_bytes: 0,
        shared_bytes: 5000,
        elsewhere_bytes: 70,
        half_pulled_bytes: usage.half_pulled_bytes,
        // While a manifest cannot be read, no content is known to be garbage.
        garbage_bytes: 9,
        problems: usage.problems.clone(),
    };
    assert_eq!((usage.problems.len(), usage.half_pulled_bytes >= 4096), (1, true), "{usage:?}");
    assert_eq!(usage, expected);
    fs::remove_file(store.folder.join("manifests/torn.json")).unwrap();
    assert_eq!(store.usage().garbage_bytes, 9 + 70);
}

#[cfg(unix)]
#[test]
fn what_another_program_has_as_well_is_counted() {
    let (folder, store) = store();
    let file = stored(&store, Role::Model, "a.gguf", &[1; 5000]);
    store.put(&manifest("a", vec![file.clone()])).unwrap();
    assert_eq!(store.usage().linked_bytes, 0);
    fs::hard_link(store.path_of(&file), folder.path().join("another name")).unwrap();
    assert_eq!(store.usage().linked_bytes, 5000);
}

#[test]
fn what_is_damaged_is_named_with_its_models_and_moved_aside() {
    let (folder, store) = store();
    let good = stored(&store, Role::Model, "a.gguf", b"good");
    let bad = stored(&store, Role::Projector, "p.gguf", b"was good");
    let elsewhere = folder.path().join("b.gguf");
    fs::write(&elsewhere, b"else").unwrap();
    let mut there = stored(&store, Role::Model, "b.gguf", b"was else");
    (there.at, there.bytes) = (Some(elsewhere.clone()), 4);
    store.put(&manifest("a", vec![good.clone(), bad.clone()])).unwrap();
    store.put(&manifest("b", vec![good.clone(), bad.clone()])).unwrap();
    store.put(&manifest("c", vec![there])).unwrap();
    let mut seen = Vec::new();
    let verified = store.verify(&[name("A")], &mut |progress: &Progress<'_>| {
        seen.push((progress.what.to_owned(), progress.done_bytes, progress.whole_bytes));
        ControlFlow::Continue(())
    });
    assert_eq!(verified.unwrap().damaged, []);
    seen.sort();
    assert_eq!(seen, [("a.gguf".to_owned(), 4, 4), ("p.gguf".to_owned(), 8, 8)]);

    fs::write(store.path_of(&bad), "was bad!").unwrap();
    let verified = store.verify(&[], &mut goes_on).unwrap();
    assert_eq!((verified.files, verified.bytes, verified.is_stopped), (3, 16, false));
    let [first, second] = &verified.damaged[..] else { panic!("{verified:?}") };
    let (ours, others) = if first.moved_to.is_some() { (first, second) } else { (second, first) };
    assert_eq!((ours.digest, &ours.models[..]), (bad.digest, &[name("a"), name("b")][..]));
    assert_eq!(fs::read(ours.moved_to.as_ref().unwrap()).unwrap(), b"was bad!");
    assert_eq!((&others.path, &others.models[..]), (&elsewhere, &[name("c")][..]));
    assert!(elsewhere.exists(), "it is somebody else's");

    // A pull finds that it has to get it again, and then all is well.
    assert!(!store.has(&bad.digest) && store.models().models.len() == 1);
    stored(&store, Role::Projector, "p.gguf", b"was good");
    store.put(&store.find(&name("a")).unwrap()).unwrap();
    assert_eq!(fs::read(store.folder.join("names/a/p.gguf")).unwrap(), b"was good");
    assert_eq!(store.models().models.len(), 3);
    assert_eq!(store.usage().garbage_bytes, 8 + 8);
    store.collect_garbage(Duration::ZERO).unwrap();
    assert_eq!(store.usage().garbage_bytes, 0);
}

/// A link that leads to itself cannot be read by anybody, not even by root.
#[cfg(unix)]
#[test]
fn what_cannot_be_read_is_told_and_stays() {
    let (_folder, store) = store();
    let file = stored(&store, Role::Model, "a.gguf", b"good");
    store.put(&manifest("a", vec![file.clone()])).unwrap();
    let blob = store.path_of(&file);
    fs::remove_file(&blob).unwrap();
    std::os::unix::fs::symlink(blob.file_name().unwrap(), &blob).unwrap();
    let verified = store.verify(&[], &mut goes_on).unwrap();
    let [damage] = &verified.damaged[..] else { panic!("{verified:?}") };
    assert!(damage.why.starts_with("it cannot be read: "), "{}", damage.why);
    assert_eq!((damage.moved_to.as_ref(), &damage.models[..]), (None, &[name("a")][..]));
    // As with a file that a disk gives only now and then.
    assert!(fs::symlink_metadata(&blob).is_ok(), "it was moved away");
}

#[test]
fn a_look_can_be_stopped_and_needs_names_that_exist() {
    let (_folder, store) = store();
    let file = stored(&store, Role::Model, "a.gguf", b"good");
    store.put(&manifest("a", vec![file])).unwrap();
    let verified = store.verify(&[], &mut |_: &Progress<'_>| ControlFlow::Break(())).unwrap();
    assert_eq!((verified.files, verified.is_stopped), (0, true));
    let error = store.verify(&[name("b")], &mut goes_on).unwrap_err();
    assert!(matches!(error, Error::NoModel { .. }), "{error}");
}
