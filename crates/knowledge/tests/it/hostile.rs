//! Folders, disks and stores as they should not be.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::channel,
    },
    time::Duration,
};

use knowledge::{
    document::Document,
    ingest::{Control, Error, Extract, Ingest, Scope, Unread},
    source::{self, Absence, Changed, Proof, Walk, Watch},
    store::{self, State, Store},
};

use crate::{
    folder::{Random, document},
    ingest::Place,
    support::{Hashed, Lines, Operations, Plain},
};

fn names(place: &Place) -> Vec<String> {
    let mut names: Vec<String> = place
        .files()
        .into_iter()
        .map(|file| file.path.strip_prefix(&place.folder).unwrap().display().to_string())
        .collect();
    names.sort();
    names
}

#[cfg(unix)]
#[test]
fn links_pipes_and_sockets_cost_nothing() {
    use std::os::unix::{fs::symlink, net::UnixListener};
    let place = Place::new();
    let real = place.write("real/a.txt", "A real file.");
    symlink(&place.folder, place.folder.join("real/loop")).unwrap();
    symlink("itself", place.folder.join("itself")).unwrap();
    symlink(&real, place.folder.join("link.txt")).unwrap();
    symlink("/etc", place.folder.join("etc")).unwrap();
    symlink("/nowhere", place.folder.join("dangling")).unwrap();
    make_pipe(&place.folder.join("pipe.txt"));
    let _socket = UnixListener::bind(place.folder.join("socket")).unwrap();
    let (outcome, mut events) = place.run();
    events.sort();
    assert_eq!(
        events,
        [
            "indexed real/a.txt",
            "skipped pipe.txt: it is a named pipe, not a file",
            "skipped socket: it is a socket, not a file"
        ]
    );
    assert!(outcome.is_done && outcome.unreadable.is_empty());
    let (_, events) = place.run();
    assert!(events.is_empty(), "they are not looked at again: {events:?}");
    // A pipe takes the place of a file.
    fs::remove_file(&real).unwrap();
    make_pipe(&real);
    place.run();
    assert!(place.files().iter().all(|file| matches!(file.state, State::Skipped(_))));
    assert!(place.index.points().is_empty());
    // One that takes its place after the walk is not waited for.
    let error = source::hash(&real, &AtomicBool::new(false)).unwrap_err();
    assert!(error.to_string().contains("named pipe"), "{error}");
    assert!(source::hash(&place.folder.join("link.txt"), &AtomicBool::new(false)).is_err());
}

#[cfg(unix)]
fn make_pipe(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_no_text_are_names() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let place = Place::new();
    let name = |bytes: &'static [u8]| place.folder.join(OsStr::from_bytes(bytes));
    fs::write(name(b"\xff\xfe.txt"), "First.").unwrap();
    fs::write(name(b"\xff\xfd.txt"), "Second.").unwrap();
    fs::create_dir(name(b"\xc3\x28")).unwrap();
    fs::write(name(b"\xc3\x28/new\nline.txt"), "Third.").unwrap();
    place.run();
    place.agree();
    fs::rename(name(b"\xff\xfe.txt"), name(b"\xff\xfc.txt")).unwrap();
    fs::remove_file(name(b"\xff\xfd.txt")).unwrap();
    place.run();
    place.agree();
    let mut exported = Vec::new();
    place.store.export(place.collection().id, &mut exported).unwrap();
    let exported = String::from_utf8(exported).unwrap();
    assert!(exported.contains("fffc2e747874"), "bytes of the name are told: {exported}");
    assert_eq!(exported.lines().count(), 4);
}

/// A reader during which something happens to the file.
struct Meanwhile<F: Fn(&Path) + Sync>(Plain, F);

impl<F: Fn(&Path) + Sync> Extract for Meanwhile<F> {
    fn extract(&self, path: &Path, stop: &AtomicBool) -> Result<Document, Unread> {
        let read = self.0.extract(path, stop);
        self.1(path);
        read
    }
}

#[test]
fn files_that_vanish_or_change_while_they_are_read() {
    let place = Place::new();
    for name in ["a.txt", "stable.txt", "growing.txt", "once.txt"] {
        place.write(name, &format!("This is {name}."));
    }
    let plain = || Plain { operations: place.operations.clone() };
    let once = AtomicBool::new(true);
    let append = |path: &Path| {
        let mut file = fs::File::options().append(true).open(path).unwrap();
        std::io::Write::write_all(&mut file, b" More.").unwrap();
    };
    let meanwhile =
        Meanwhile(plain(), |path: &Path| match path.file_name().unwrap().to_str().unwrap() {
            "a.txt" => fs::remove_file(path).unwrap(),
            "growing.txt" => append(path),
            "once.txt" if once.swap(false, Ordering::SeqCst) => append(path),
            _ => {}
        });
    let (_, mut events) = place.run_with(&meanwhile, &Scope::Everything);
    events.sort();
    assert_eq!(events[..2], ["indexed once.txt", "indexed stable.txt"]);
    assert!(events[2].starts_with("skipped growing.txt: it changes"), "{events:?}");
    assert_eq!(place.done("extract"), 1 + 3 + 2 + 1, "one try, three, two and one");
    // It is tried again although nothing says that it changed since.
    let (_, events) = place.run();
    assert_eq!(events, ["indexed growing.txt"]);
    place.agree();

    // Of a file that was known, what is known stays meanwhile.
    append(&place.folder.join("growing.txt"));
    let growing = Meanwhile(plain(), append);
    place.run_with(&growing, &Scope::Everything);
    let file =
        place.store.file_at(place.collection().id, &place.folder.join("growing.txt")).unwrap();
    assert_eq!(file.unwrap().state, State::Indexed);
    place.run();
    place.agree();
}

#[test]
fn nothing_leaves_without_proof() {
    let place = Place::new();
    place.write("deep/a.txt", "Words.");
    place.write("b.txt", "More words.");
    place.run();
    // The folder is away, as on a disk that is not there.
    let away = place.home.path().join("away");
    fs::rename(&place.folder, &away).unwrap();
    let (outcome, events) = place.run();
    assert_eq!((outcome.progress.removed, outcome.unreadable.len()), (0, 1));
    assert!(
        events.iter().all(|event| event.starts_with("kept")) && events.len() == 2,
        "{events:?}"
    );
    assert_eq!(names(&place), ["b.txt", "deep/a.txt"]);
    fs::rename(&away, &place.folder).unwrap();
    let (_, events) = place.run();
    assert!(events.is_empty());

    // Errors of a walk hide what is below them.
    let walk = Walk {
        unreadable: vec![(place.folder.join("deep"), "no entry".to_owned())],
        ..Walk::default()
    };
    let mut proof = Proof::new(&place.folder, &walk, Vec::new());
    let device = source::stat_of(&place.folder).unwrap().device;
    assert_eq!(
        proof.of(&place.folder.join("deep/x.txt"), device),
        Absence::Unproven("no entry".to_owned())
    );
    assert_eq!(proof.of(&place.folder.join("x.txt"), device), Absence::Gone);
    assert_eq!(proof.of(&place.folder.join("b.txt"), device), Absence::Present);
    #[cfg(unix)]
    {
        let other = proof.of(&place.folder.join("x.txt"), device + 1);
        assert!(matches!(other, Absence::Unproven(_)), "another disk");
        let mut proof = Proof::new(&place.folder, &walk, vec![(device + 1, device)]);
        assert_eq!(
            proof.of(&place.folder.join("x.txt"), device + 1),
            Absence::Gone,
            "its new number"
        );
    }
    let blind = Walk { blind: true, ..Walk::default() };
    let mut proof = Proof::new(&place.folder, &blind, Vec::new());
    assert!(matches!(proof.of(&place.folder.join("x.txt"), device), Absence::Unproven(_)));
}

#[cfg(unix)]
#[test]
fn folders_that_may_not_be_read_keep_what_is_known() {
    use std::os::unix::fs::PermissionsExt;
    if rustix::process::geteuid().is_root() {
        println!("skipped: root may read every folder");
        return;
    }
    let place = Place::new();
    place.write("closed/a.txt", "Words.");
    place.write("open/b.txt", "More words.");
    place.run();
    let closed = place.folder.join("closed");
    for mode in [0o000, 0o111] {
        fs::set_permissions(&closed, fs::Permissions::from_mode(mode)).unwrap();
        let (outcome, events) = place.run();
        assert_eq!((outcome.unreadable.len(), outcome.progress.removed), (1, 0), "{events:?}");
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
    }
    place.run();
    place.agree();
}

/// A small disk of its own, where the test may make one.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path, size: &str) -> Option<Disk> {
        let options = format!("size={size}");
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(at)
            .output()
            .is_ok_and(|output| output.status.success());
        if !mounted {
            println!("skipped: this test may not mount a small disk");
        }
        mounted.then(|| Disk(at.to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _over = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_disk_that_is_not_mounted_keeps_its_files() {
    let place = Place::new();
    let inner = place.folder.join("disk");
    fs::create_dir(&inner).unwrap();
    let Some(disk) = Disk::mount(&inner, "1m") else { return };
    place.write("disk/a.txt", "On a disk.");
    place.write("b.txt", "Not on it.");
    place.run();
    drop(disk);
    let (_, events) = place.run();
    assert!(events.len() == 1 && events[0].starts_with("kept disk/a.txt: "), "{events:?}");
    assert_eq!(names(&place), ["b.txt", "disk/a.txt"]);
    fs::remove_file(place.folder.join("b.txt")).unwrap();
    place.run();
    assert_eq!(names(&place), ["disk/a.txt"], "what is beside it may go");
}

#[test]
fn a_full_disk_is_told_and_nothing_is_lost() {
    let place = Place::new();
    let random = &mut Random(3);
    for number in 0..400 {
        place.write(&format!("{number}.md"), &format!("{number}\n\n{}", document(random, "md")));
    }
    let small = place.home.path().join("small");
    fs::create_dir(&small).unwrap();
    let Some(_disk) = Disk::mount(&small, "3m") else { return };
    let path = small.join("store.sqlite");
    let store = Store::open(&path).unwrap();
    let collection = store.collection_or_new("files").unwrap();
    store.add_source(&collection, &source::parse(&place.folder, &[], &[], false).unwrap()).unwrap();
    let embed = Hashed::new(&place.operations);
    let plain = Plain { operations: place.operations.clone() };
    let ingest = Ingest {
        store: &store,
        collection: "files",
        extract: &plain,
        embed: Some(&embed),
        index: &place.index,
        readers: 1,
    };
    let mut acknowledged = Vec::new();
    let mut run = || {
        ingest.run(&Scope::Everything, &Control::default(), &mut |event| {
            if let knowledge::ingest::Event::Indexed(path) = event {
                acknowledged.push(path.to_path_buf());
            }
        })
    };
    let error = run().unwrap_err();
    assert!(matches!(error, Error::Store(store::Error::Full { .. })), "{error:?}");
    assert!(error.to_string().contains("make room"), "{error}");
    let again = run().unwrap_err();
    assert!(matches!(again, Error::Store(store::Error::Full { .. })), "{again:?}");
    store.check().unwrap();
    assert!(!acknowledged.is_empty(), "the disk was too small for anything");
    for path in acknowledged {
        assert_eq!(store.file_at(collection.id, &path).unwrap().unwrap().state, State::Indexed);
    }
    // There is room again.
    let more =
        std::process::Command::new("mount").args(["-o", "remount,size=64m"]).arg(&small).status();
    assert!(more.unwrap().success());
    ingest.run(&Scope::Everything, &Control::default(), &mut |_| {}).unwrap();
    crate::ingest::agree(&store, &place.index, &place.folder);
}

#[test]
fn a_million_files_are_walked_in_bounded_memory() {
    // By hand: WALK_FILES=1000000 cargo test --release -p knowledge --test it a_million -- --nocapture
    let count: usize = std::env::var("WALK_FILES").map_or(3000, |value| value.parse().unwrap());
    let place = Place::new();
    for number in 0..count {
        let folder = place.folder.join(format!("{}", number / 50_000));
        if number % 50_000 == 0 {
            fs::create_dir(&folder).unwrap();
        }
        fs::write(folder.join(format!("{number}.txt")), format!("File {number}.")).unwrap();
    }
    let index = Lines::of_numbers(&place.home.path().join("numbers"), &Operations::new(|_, _| {}));
    let before = memory_peak();
    let began = std::time::Instant::now();
    let outcome = run_quietly(&place, &index);
    let took = began.elapsed();
    assert_eq!((outcome.progress.files_done, outcome.is_done), (count as u64, true));
    let began = std::time::Instant::now();
    let outcome = run_quietly(&place, &index);
    assert_eq!(outcome.progress.files, 0);
    let counts = place.store.counts(place.collection().id).unwrap();
    assert_eq!((counts.indexed, counts.due), (count as u64, 0));
    println!(
        "{count} files: read in {took:.1?}, looked at again in {:.1?}, peak memory {before} to {} KiB",
        began.elapsed(),
        memory_peak()
    );
}

/// Without noting what is done, which would grow with the files.
fn run_quietly(place: &Place, index: &Lines) -> knowledge::ingest::Outcome {
    let operations = Operations::new(|_, _| {});
    let embed = Hashed::new(&operations);
    let ingest = Ingest {
        store: &place.store,
        collection: "files",
        extract: &Plain { operations: operations.clone() },
        embed: Some(&embed),
        index,
        readers: 2,
    };
    ingest.run(&Scope::Everything, &Control::default(), &mut |_| {}).unwrap()
}

/// The most memory that this process has had, in KiB; 0 where the system does not say.
fn memory_peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

#[test]
fn stores_of_others_and_damaged_ones_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("store.sqlite");
    let collection =
        |store: &Store| store.collection_or_new("files").map(|collection| collection.id);
    drop(Store::open(&path).unwrap());

    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.pragma_update(None, "user_version", 99).unwrap();
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, store::Error::Newer { found: 99, .. }), "{error}");
    assert!(error.to_string().contains("newer program"));
    raw.pragma_update(None, "user_version", 1).unwrap();
    raw.pragma_update(None, "application_id", 7).unwrap();
    assert!(matches!(Store::open(&path).unwrap_err(), store::Error::Foreign { .. }));
    drop(raw);

    let text = home.path().join("notes.txt");
    fs::write(&text, "This is no store, but a text that somebody wrote. ".repeat(300)).unwrap();
    let error = Store::open(&text).unwrap_err();
    assert!(matches!(error, store::Error::Damaged { .. }), "{error}");
    assert!(fs::read_to_string(&text).unwrap().starts_with("This is no store"), "it is as it was");

    // A page in the middle is lost.
    let place = Place::new();
    for number in 0..300 {
        place.write(&format!("{number}.txt"), &format!("File {number}. ").repeat(60));
    }
    place.run();
    let damaged = home.path().join("damaged.sqlite");
    let raw = rusqlite::Connection::open(place.store.path()).unwrap();
    raw.execute("VACUUM INTO ?", [damaged.to_str().unwrap()]).unwrap();
    let mut bytes = fs::read(&damaged).unwrap();
    let end = bytes.len() - 8192 * 4;
    bytes[8192 * 4..end].fill(0x5a);
    fs::write(&damaged, bytes).unwrap();
    let store = Store::open(&damaged).unwrap();
    let error = store.check().unwrap_err();
    assert!(matches!(error, store::Error::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("add the folders again"), "{error}");
    let id = collection(&store);
    let mut sink = std::io::sink();
    let exported = id.and_then(|id| store.export(id, &mut sink));
    assert!(matches!(exported, Err(store::Error::Damaged { .. })), "{exported:?}");
}

#[test]
fn what_changes_is_told_and_what_is_read_is_not() {
    let place = Place::new();
    place.write("a.txt", "Words.");
    place.write("deep/b.txt", "More words.");
    place.run();
    let (sender, told) = channel();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let mut watch = Watch::new(std::slice::from_ref(&place.folder));
        if let Some(why) = watch.blind() {
            println!("skipped: {why}");
            return;
        }
        let stop = &stop;
        scope.spawn(move || {
            while let Some(changed) = watch.next(stop) {
                if sender.send(changed).is_err() {
                    return;
                }
            }
        });
        let plain = Plain { operations: place.operations.clone() };
        // What is told is looked at until the store says what the disk says; reading in between must not be told.
        let until = |is_so: &dyn Fn() -> bool| {
            while !is_so() {
                let changed = told.recv_timeout(Duration::from_secs(60)).expect("a change is told");
                let scope = match changed {
                    Changed::Paths(paths) => Scope::Paths(paths),
                    Changed::Everything => Scope::Everything,
                };
                place.run_with(&plain, &scope);
            }
        };
        place.write("a.txt", "Other words.");
        place.write("deep/new/c.txt", "New words.");
        until(&|| {
            names(&place).len() == 3
                && place.store.counts(1).unwrap().due == 0
                && holds(&place, "Other")
        });
        place.agree();
        fs::rename(place.folder.join("deep"), place.folder.join("elsewhere")).unwrap();
        until(&|| names(&place) == ["a.txt", "elsewhere/b.txt", "elsewhere/new/c.txt"]);
        place.agree();
        fs::remove_dir_all(place.folder.join("elsewhere")).unwrap();
        until(&|| names(&place) == ["a.txt"]);
        place.agree();
        place.write(".gitignore", "a.txt\n");
        until(&|| names(&place).is_empty());
        stop.store(true, Ordering::Relaxed);
    });
}

fn holds(place: &Place, word: &str) -> bool {
    let ids: Vec<u64> = place.index.points().into_keys().collect();
    place.store.passages(&ids).unwrap().iter().any(|found| found.text.contains(word))
}

#[test]
fn an_index_that_is_newer_than_the_store_forgets_what_nobody_knows() {
    let place = Place::new();
    place.write("a.txt", "Words.");
    place.run();
    let copy = place.home.path().join("index");
    let other = Lines::open(&copy, &place.operations);
    // A store that was put back from before, or was begun anew.
    let store = Store::open(&place.home.path().join("other.sqlite")).unwrap();
    let collection = store.collection_or_new("files").unwrap();
    let ingest = Ingest {
        store: &store,
        collection: &collection.name,
        extract: &Plain { operations: place.operations.clone() },
        embed: Some(&Hashed::new(&place.operations)),
        index: &other,
        readers: 1,
    };
    ingest.run(&Scope::Everything, &Control::default(), &mut |_| {}).unwrap();
    assert!(other.points().is_empty());
}
