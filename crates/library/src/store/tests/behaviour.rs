//! What the store keeps, refuses and forgets.

use std::{fs, time::Duration};

use super::{all_below, digest_of, manifest, name, stored};
use crate::{
    manifest::{File, Role},
    store::{Error, Store},
};

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("library")).unwrap();
    (folder, store)
}

fn called(store: &Store) -> Vec<String> {
    let scan = store.models();
    assert_eq!(scan.problems, Vec::<String>::new());
    scan.models.iter().map(|model| model.name.to_string()).collect()
}

#[test]
fn a_store_that_nobody_used_leaves_no_trace() {
    let (folder, store) = store();
    assert_eq!(store.models(), crate::store::Scan::default());
    assert_eq!(store.find(&name("a")), None);
    assert!(!store.has(&digest_of(b"a")));
    store.collect_garbage(Duration::ZERO).unwrap();
    assert_eq!(all_below(folder.path()), Vec::<String>::new());
}

#[test]
fn a_file_in_the_folders_place_is_no_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("library");
    fs::write(&path, "").unwrap();
    assert!(Store::open(&path).unwrap_err().to_string().contains("library"));
}

#[test]
fn a_model_is_kept_found_by_any_capitals_and_forgotten() {
    let (_folder, store) = store();
    let file = stored(&store, Role::Model, "a.gguf", b"weights");
    let kept = manifest("hf.co/Q/A:Q4", vec![file.clone()]);
    store.put(&kept).unwrap();

    assert_eq!(called(&store), ["hf.co/Q/A:Q4"]);
    assert_eq!(store.find(&name("hf.co/q/a:q4")), Some(kept.clone()));
    assert_eq!(fs::read(store.path_of(&file)).unwrap(), b"weights");
    assert_eq!(store.model_path(&kept), store.path_of(&file));
    let beside = store.folder.join("names/hf.co%2FQ%2FA%3AQ4/a.gguf");
    assert_eq!(fs::read(&beside).unwrap(), b"weights");

    store.remove(&name("HF.co/Q/A:q4")).unwrap();
    assert!(!store.has(&file.digest) && !beside.exists());
    assert_eq!(called(&store), [""; 0]);
    let error = store.remove(&kept.name).unwrap_err();
    assert!(matches!(&error, Error::NoModel { name } if *name == kept.name), "{error}");
}

#[test]
fn what_two_models_share_stays_until_both_are_gone() {
    let (_folder, store) = store();
    let shared = stored(&store, Role::Model, "a.gguf", b"weights");
    let own = stored(&store, Role::Projector, "p.gguf", b"sees");
    store.put(&manifest("a", vec![shared.clone(), own.clone()])).unwrap();
    assert_eq!(store.copy(&name("a"), &name("b")).unwrap().name, name("b"));
    // The first one becomes another model.
    store.put(&manifest("b", vec![shared.clone()])).unwrap();
    store.remove(&name("a")).unwrap();
    assert!(store.has(&shared.digest) && !store.has(&own.digest));
    store.remove(&name("b")).unwrap();
    assert!(!store.has(&shared.digest));
}

#[test]
fn names_that_differ_in_capitals_alone_are_refused() {
    let (_folder, store) = store();
    let file = stored(&store, Role::Model, "a.gguf", b"weights");
    store.put(&manifest("Qwen", vec![file.clone()])).unwrap();
    for error in [
        store.put(&manifest("qwen", vec![file])).unwrap_err(),
        store.copy(&name("Qwen"), &name("QWEN")).unwrap_err(),
    ] {
        assert!(matches!(&error, Error::Capitals { other, .. } if other.as_str() == "Qwen"));
    }
    assert_eq!(called(&store), ["Qwen"]);
}

#[test]
fn what_is_not_there_or_cannot_be_is_refused() {
    let (_folder, store) = store();
    let file = |name: &str| stored(&store, Role::Model, name, b"weights");
    let nowhere = File::new(Role::Model, "a.gguf", digest_of(b"nothing"), 7);
    let error = store.put(&manifest("a", vec![nowhere])).unwrap_err();
    assert!(matches!(error, Error::NoBlob { .. }), "{error}");
    let mut longer = file("a.gguf");
    longer.bytes += 1;
    let mut relative = file("a.gguf");
    relative.at = Some("a.gguf".into());
    let projector = stored(&store, Role::Projector, "p.gguf", b"sees");
    for (files, why) in [
        (vec![], "no file with weights"),
        (vec![projector], "no file with weights"),
        (vec![file("a.gguf"), file("A.gguf")], "two of its files are called A.gguf"),
        (vec![file("../a.gguf")], "no plain file name"),
        (vec![file("..")], "no plain file name"),
        (vec![file("a/b")], "no plain file name"),
        (vec![file("a\\b")], "no plain file name"),
        (vec![file("c:b")], "no plain file name"),
        (vec![file("")], "no plain file name"),
        (vec![file("a\n")], "no plain file name"),
        (vec![file("a.")], "no plain file name"),
        (vec![relative], "not absolute"),
        (vec![longer], "7 bytes and should have 8"),
        (vec![file("a.gguf"); 5000], "5000 files"),
    ] {
        let error = store.put(&manifest("a", files)).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    assert_eq!(called(&store), [""; 0]);
}

#[test]
fn uploads_are_hashed_and_nothing_stays_of_others() {
    let (_folder, store) = store();
    let error = store.add(&mut &b"other"[..], &digest_of(b"weights")).unwrap_err();
    assert!(matches!(error, Error::Digest { found, .. } if found == digest_of(b"other")));
    assert_eq!(all_below(&store.folder), ["blobs"]);

    struct Breaks;
    impl std::io::Read for Breaks {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::ConnectionReset.into())
        }
    }
    use std::io::Read as _;
    let mut content = b"wei".chain(Breaks);
    assert!(store.add(&mut content, &digest_of(b"weights")).is_err());
    assert_eq!(all_below(&store.folder), ["blobs"]);
}

#[test]
fn a_whole_file_is_taken_and_not_kept_twice() {
    let (folder, store) = store();
    let digest = digest_of(b"weights");
    for _ in 0..2 {
        let path = folder.path().join("whole");
        fs::write(&path, "weights").unwrap();
        store.adopt(&path, &digest).unwrap();
        assert!(store.has(&digest) && !path.exists());
    }
    assert_eq!(fs::read_dir(store.folder.join("blobs")).unwrap().count(), 1);
    assert!(store.adopt(&folder.path().join("nowhere"), &digest).is_err());
}

#[test]
fn a_blob_that_was_cut_gives_way_to_a_whole_one() {
    let (folder, store) = store();
    let file = stored(&store, Role::Model, "a.gguf", b"weights");
    let kept = manifest("a", vec![file.clone()]);
    store.put(&kept).unwrap();
    // As a disk does that was full.
    fs::File::options().write(true).open(store.path_of(&file)).unwrap().set_len(3).unwrap();
    assert_eq!(store.models().models, []);
    let path = folder.path().join("whole");
    fs::write(&path, "weights").unwrap();
    store.adopt(&path, &file.digest).unwrap();
    store.put(&kept).unwrap();
    assert_eq!(store.models().models, [kept]);
    assert_eq!(fs::read(store.folder.join("names/a/a.gguf")).unwrap(), b"weights");
}

#[test]
fn parts_lie_side_by_side_by_their_names() {
    let (_folder, store) = store();
    let names = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"];
    let parts = names.map(|name| stored(&store, Role::Model, name, name.as_bytes()));
    let model = manifest("m", parts.to_vec());
    store.put(&model).unwrap();
    let is_linked = || {
        let path = store.model_path(&model);
        assert_eq!(path, store.folder.join("names/m").join(names[0]));
        names.map(|name| fs::read(path.with_file_name(name)).unwrap()) == names.map(Vec::from)
    };
    assert!(is_linked());
    // As when the process had ended before they were linked.
    fs::remove_dir_all(store.folder.join("names")).unwrap();
    assert!(is_linked());
    // A model of the same name and files' names is another.
    let parts = names.map(|name| stored(&store, Role::Model, name, &name.as_bytes()[1..]));
    store.put(&manifest("m", parts.to_vec())).unwrap();
    let path = store.folder.join("names/m").join(names[1]);
    assert_eq!(fs::read(path).unwrap(), names[1].as_bytes()[1..]);
}

#[test]
fn hostile_and_torn_manifests_are_told_and_stop_no_other() {
    let (_folder, store) = store();
    let file = stored(&store, Role::Model, "a.gguf", b"weights");
    store.put(&manifest("good", vec![file.clone()])).unwrap();
    let manifests = store.folder.join("manifests");
    let good = fs::read_to_string(manifests.join("good.json")).unwrap();
    let bad = [
        ("torn.json", good[..good.len() / 2].to_owned()),
        ("other.json", good.clone()),
        ("a b.json", good.clone()),
        ("..json", good.clone()),
        ("latest%3Alatest.json", good.replace("good", "latest")),
        ("path.json", good.replace("\"good\"", "\"path\"").replace("a.gguf", "../../a.gguf")),
        ("role.json", good.replace("\"good\"", "\"role\"").replace("\"model\"", "\"virus\"")),
        ("digest.json", good.replace("\"good\"", "\"digest\"").replace("sha256:", "../")),
        ("empty.json", String::new()),
        ("list.json", "[".repeat(100_000)),
    ];
    for (name, content) in &bad {
        fs::write(manifests.join(name), content).unwrap();
    }
    fs::create_dir(manifests.join("folder.json")).unwrap();
    fs::write(manifests.join("new-1-2"), "half").unwrap();
    let scan = store.models();
    assert_eq!(scan.models.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(), ["good"]);
    assert_eq!(scan.problems.len(), bad.len() + 1, "{:#?}", scan.problems);
    // What they name is not known, so nothing goes.
    let unused = stored(&store, Role::Model, "b.gguf", b"unused");
    store.put(&manifest("other", vec![file])).unwrap();
    let collected = store.collect_garbage(Duration::ZERO).unwrap();
    assert_eq!((collected.files, store.has(&unused.digest)), (1, true));
    assert!(!collected.problems.is_empty());
    // One that cannot be read can be removed, and replaced.
    store.remove(&name("torn")).unwrap();
    assert_eq!(store.models().problems.len(), bad.len() - 1);
}

#[test]
fn a_manifest_of_a_later_version_is_read() {
    let (_folder, store) = store();
    let file = stored(&store, Role::Model, "a.gguf", b"weights");
    let kept = manifest("good", vec![file]);
    store.put(&kept).unwrap();
    let path = store.folder.join("manifests/good.json");
    let text = fs::read_to_string(&path).unwrap().replacen('{', "{\"later\": [1],", 1);
    fs::write(&path, text).unwrap();
    assert_eq!(store.models().models, [kept]);
}

#[test]
fn a_model_without_its_files_is_left_out_and_can_be_removed() {
    let (folder, store) = store();
    let file = stored(&store, Role::Model, "a.gguf", b"weights");
    store.put(&manifest("gone", vec![file.clone()])).unwrap();
    fs::remove_file(store.path_of(&file)).unwrap();
    let elsewhere = folder.path().join("b.gguf");
    fs::write(&elsewhere, "weights").unwrap();
    let mut there = File::new(Role::Model, "b.gguf", digest_of(b"weights"), 7);
    there.at = Some(elsewhere.clone());
    there.modified_unix_ns =
        crate::store::links::modified_unix_ns(&fs::metadata(&elsewhere).unwrap());
    store.put(&manifest("changed", vec![there])).unwrap();
    assert_eq!(store.models().models.len(), 1);
    let file = fs::File::options().append(true).open(&elsewhere).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    let scan = store.models();
    assert_eq!((scan.models.len(), scan.problems.len()), (0, 2), "{:?}", scan.problems);
    for called in ["gone", "changed"] {
        assert!(scan.problems.iter().any(|problem| problem.contains(&format!("rm {called}"))));
        store.remove(&name(called)).unwrap();
    }
    // What lies elsewhere is somebody else's.
    assert!(elsewhere.exists());
}

#[test]
fn garbage_goes_after_its_grace_and_nothing_else_does() {
    let (_folder, store) = store();
    let used = stored(&store, Role::Model, "a.gguf", b"used");
    let unused = stored(&store, Role::Model, "b.gguf", b"unused");
    store.put(&manifest("a", vec![used.clone()])).unwrap();
    fs::create_dir_all(store.pulls().join("x")).unwrap();
    fs::write(store.pulls().join("x/half"), "half").unwrap();
    fs::create_dir_all(store.folder.join("names/nobody")).unwrap();
    fs::write(store.folder.join("names/nobody/a.gguf"), "").unwrap();
    fs::write(store.folder.join("blobs/new-1-1"), "begun").unwrap();
    fs::write(store.folder.join("blobs/README"), "not ours").unwrap();

    let collected = store.collect_garbage(Duration::from_secs(3600)).unwrap();
    assert_eq!((collected.files, store.has(&unused.digest)), (0, true));
    let collected = store.collect_garbage(Duration::ZERO).unwrap();
    assert_eq!((collected.files, collected.bytes, collected.problems.len()), (2, 11, 0));
    let left = [
        "blobs".to_owned(),
        "blobs/README".to_owned(),
        format!("blobs/sha256-{}", used.digest.hex()),
        "lock".to_owned(),
        "manifests".to_owned(),
        "manifests/a.json".to_owned(),
        "names".to_owned(),
        "names/a".to_owned(),
        "names/a/a.gguf".to_owned(),
        "pulls".to_owned(),
        "pulls/x".to_owned(),
        "pulls/x/half".to_owned(),
    ];
    assert_eq!(all_below(&store.folder), left);
}
