//! A collection and its folder, step by step: what the other tests of this area share, and what needs few files.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use half::f16;
use knowledge::{
    chunk::{self, Sizes},
    index::{Filter, Index, Labels, Point, exact::Exact},
    ingest::{Control, Error, Event, Extract, Ingest, Outcome, Scope},
    search::{Embed, Failed, Purpose},
    source,
    store::{self, Collection, File, State, Store},
    words,
};

use crate::support::{Hashed, Lines, Operations, Plain};

/// A folder, a store and an index.
pub(crate) struct Place {
    pub(crate) home: tempfile::TempDir,
    pub(crate) folder: PathBuf,
    pub(crate) store: Store,
    pub(crate) index: Lines,
    pub(crate) operations: Arc<Operations>,
    /// Everything that was done, as the operations call it.
    pub(crate) done: Arc<Mutex<Vec<String>>>,
}

impl Place {
    pub(crate) fn new() -> Place {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().canonicalize().unwrap().join("folder");
        fs::create_dir(&folder).unwrap();
        let done = Arc::<Mutex<Vec<String>>>::default();
        let noted = Arc::clone(&done);
        let operations =
            Operations::new(move |_, what| noted.lock().unwrap().push(what.to_owned()));
        let store = Store::open(&home.path().join("store.sqlite")).unwrap();
        let index = Lines::open(&home.path().join("index"), &operations);
        let place = Place { home, folder, store, index, operations, done };
        place.add(&[], &[]);
        place
    }

    pub(crate) fn add(&self, include: &[&str], exclude: &[&str]) {
        let owned =
            |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect::<Vec<String>>();
        let source = source::parse(&self.folder, &owned(include), &owned(exclude), false).unwrap();
        let collection = self.store.collection_or_new("files").unwrap();
        self.store.add_source(&collection, &source).unwrap();
    }

    pub(crate) fn collection(&self) -> Collection {
        self.store.collection("files").unwrap()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn run(&self) -> (Outcome, Vec<String>) {
        self.run_with(&Plain { operations: self.operations.clone() }, &Scope::Everything)
    }

    /// Runs, and says what happened, with paths below the folder.
    pub(crate) fn run_with(&self, extract: &dyn Extract, scope: &Scope) -> (Outcome, Vec<String>) {
        let embed = Hashed::new(&self.operations);
        let mut events = Vec::new();
        let ingest = Ingest {
            store: &self.store,
            collection: "files",
            extract,
            embed: Some(&embed),
            index: &self.index,
            readers: 2,
        };
        let outcome = ingest
            .run(scope, &Control::default(), &mut |event| events.extend(self.told(event)))
            .unwrap();
        (outcome, events)
    }

    pub(crate) fn told(&self, event: &Event<'_>) -> Option<String> {
        let short =
            |path: &Path| path.strip_prefix(&self.folder).unwrap_or(path).display().to_string();
        match event {
            Event::Walked(_) | Event::Progress(_) | Event::Stored(_) => None,
            Event::Indexed(path) => Some(format!("indexed {}", short(path))),
            Event::Skipped(path, reason) => Some(format!("skipped {}: {reason}", short(path))),
            Event::Moved(from, to) => Some(format!("moved {} {}", short(from), short(to))),
            Event::Removed(path) => Some(format!("removed {}", short(path))),
            Event::Kept(path, why) => Some(format!("kept {}: {why}", short(path))),
        }
    }

    pub(crate) fn files(&self) -> Vec<File> {
        let collection = self.collection().id;
        let mut files = Vec::new();
        loop {
            let page = self
                .store
                .files(collection, files.last().map_or(0, |file: &File| file.id))
                .unwrap();
            if page.is_empty() {
                return files;
            }
            files.extend(page);
        }
    }

    /// How often this was done since it was last asked.
    pub(crate) fn done(&self, what: &str) -> usize {
        let mut done = self.done.lock().unwrap();
        let count = done.iter().filter(|done| done.starts_with(what)).count();
        done.retain(|done| !done.starts_with(what));
        count
    }

    /// The disk, the store and the index say the same.
    pub(crate) fn agree(&self) {
        agree(&self.store, &self.index, &self.folder);
    }
}

/// All files below a folder that do not hide, found another way than the program does.
pub(crate) fn files_below(folder: &Path) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files.extend(files_below(&entry.path()));
        } else if kind.is_file() {
            files.insert(entry.path());
        }
    }
    files
}

/// Each file of `folder` is in the store with the passages that it has now, and in the index with their vectors;
/// nothing else is in either.
pub(crate) fn agree(store: &Store, index: &Lines, folder: &Path) {
    assert_eq!(index.points(), expected(store, folder), "the index has something else");
}

/// The index answers as one with exactly these passages, with scores that differ by at most such a part.
pub(crate) fn answers_as(index: &dyn Index, points: &BTreeMap<u64, Point>, part: f32) {
    let ids: Vec<u64> = points.keys().copied().collect();
    assert_eq!(index.ids(None, usize::MAX >> 1).unwrap(), ids);
    let exact = Exact::in_memory(index.description().embedder.clone());
    exact.upsert(points.values().cloned().collect()).unwrap();
    let all = Filter::default();
    let close = |one: f32, other: f32| (one - other).abs() < part * other.abs().max(1.0);
    // One in seven, of which each asks in seven ways.
    for point in points.values().step_by(7) {
        let dense = point.dense.as_ref().unwrap();
        let nearest = index.nearest(dense, &all, 3).unwrap();
        let wanted = exact.nearest(dense, &all, 3).unwrap();
        assert_eq!((nearest.len(), nearest[0].id), (wanted.len(), point.id));
        assert!(nearest.iter().zip(&wanted).all(|(one, other)| close(one.score, other.score)));
        let lexical = index.lexical(&point.sparse, &all, 3).unwrap();
        let wanted = exact.lexical(&point.sparse, &all, 3).unwrap();
        assert_eq!((lexical.len(), lexical[0].id), (wanted.len(), wanted[0].id));
        assert!(
            lexical.iter().zip(&wanted).all(|(one, other)| close(one.score, other.score)),
            "{lexical:?} and not {wanted:?}"
        );
        let Labels { collection, file, kind, modified_s, path } = &point.labels;
        for filter in [
            Filter { collections: vec![collection.clone()], ..Filter::default() },
            Filter { files: vec![*file], ..Filter::default() },
            Filter { kinds: vec![kind.clone()], ..Filter::default() },
            Filter { folders: vec![path.clone()], ..Filter::default() },
            Filter { modified_s: Some(*modified_s..modified_s + 1), ..Filter::default() },
        ] {
            assert_eq!(index.count(&filter).unwrap(), exact.count(&filter).unwrap(), "{filter:?}");
        }
    }
}

/// Each file of `folder` is in the store with the passages that it has now, and nothing else is: what an index of it
/// should hold.
pub(crate) fn expected(store: &Store, folder: &Path) -> BTreeMap<u64, Point> {
    let operations = Operations::new(|_, _| {});
    let extract = Plain { operations: operations.clone() };
    let embed = Hashed::new(&operations);
    let collection = store.collection("files").unwrap();
    let mut points = BTreeMap::new();
    let files = files_below(folder);
    for path in &files {
        let file = store.file_at(collection.id, path).unwrap();
        let file = file.unwrap_or_else(|| panic!("{} is not in the store", path.display()));
        let Ok(document) = extract.extract(path, &AtomicBool::new(false)) else {
            assert!(matches!(file.state, State::Skipped(_)), "{}", path.display());
            assert_eq!(file.passages, 0);
            continue;
        };
        assert_eq!(file.state, State::Indexed, "{}", path.display());
        assert_eq!(file.hash, Some(*blake3::hash(&fs::read(path).unwrap()).as_bytes()));
        let passages = chunk::passages(&document, Sizes::for_window(embed.window), &embed).unwrap();
        let found = store.passages_of(file.id).unwrap();
        assert_eq!(found.len(), passages.len(), "{}", path.display());
        for (passage, found) in passages.iter().zip(found) {
            assert_eq!(
                (
                    &passage.text,
                    &passage.context,
                    &passage.headings,
                    &passage.pieces,
                    passage.tokens
                ),
                (&found.text, &found.context, &found.headings, &found.pieces, found.tokens)
            );
            let vector = embed.vector(&passage.embedded());
            let vector = vector.into_iter().map(|value| f16::from_f32(value).to_f32()).collect();
            let expected = Point {
                id: found.id,
                dense: Some(vector),
                sparse: words::passage(&passage.embedded()),
                labels: Labels {
                    collection: "files".to_owned(),
                    file: file.id,
                    kind: file.kind.clone(),
                    modified_s: file.modified_ns.unwrap().div_euclid(1_000_000_000),
                    path: path.to_string_lossy().into_owned(),
                },
            };
            assert!(points.insert(found.id, expected).is_none(), "twice: {}", path.display());
        }
    }
    let counts = store.counts(collection.id).unwrap();
    assert_eq!(
        counts.files + counts.skipped,
        files.len() as u64,
        "the store has files that are not there"
    );
    assert_eq!((counts.passages, counts.due), (points.len() as u64, 0));
    assert!(store.gone(collection.id, 1).unwrap().is_empty());
    store.check().unwrap();
    points
}

#[test]
fn files_come_change_move_and_go() {
    let place = Place::new();
    place.write("a.md", "# Coffee\n\nNine bars.\n\n# Tea\n\nNo bars at all.\n");
    place.write("deep/b.txt", "Something else.\n\nAnd more.\n");
    place.write("deep/c.csv", "name,price\nbolt,3\nnut,1\n");
    place.write("d.bin", "");
    fs::write(place.folder.join("d.bin"), [0xff, 0xfe, 0x00]).unwrap();
    let (outcome, events) = place.run();
    assert!(outcome.is_done && outcome.unreadable.is_empty());
    assert_eq!(events.iter().filter(|event| event.starts_with("indexed")).count(), 3);
    assert!(events.contains(&"skipped d.bin: it is no text".to_owned()), "{events:?}");
    place.agree();
    assert_eq!(place.done("extract"), 4);

    let (outcome, events) = place.run();
    assert_eq!((outcome.progress.files, events), (0, vec![]), "nothing has changed");
    assert_eq!(place.done("extract"), 0);

    let embedded = place.done("embed");
    assert!(embedded > 0);
    place.write("a.md", "# Coffee\n\nNine bars.\n\n# Tea\n\nTwo bars now.\n");
    fs::rename(place.folder.join("deep"), place.folder.join("moved")).unwrap();
    fs::remove_file(place.folder.join("d.bin")).unwrap();
    let (_, mut events) = place.run();
    events.sort();
    assert_eq!(
        events,
        [
            "indexed a.md",
            "indexed moved/b.txt",
            "indexed moved/c.csv",
            "moved deep/b.txt moved/b.txt",
            "moved deep/c.csv moved/c.csv",
            "removed d.bin"
        ]
    );
    assert_eq!((place.done("extract"), place.done("embed")), (1, 1), "only what is new");
    place.agree();
}

#[test]
fn a_file_that_was_only_touched_is_not_read() {
    let place = Place::new();
    let path = place.write("a.txt", "The same words.");
    place.run();
    place.done("");
    let later =
        fs::metadata(&path).unwrap().modified().unwrap() + std::time::Duration::from_secs(7);
    fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
    place.run();
    assert_eq!((place.done("extract"), place.done("embed")), (0, 0));
    place.agree();
}

#[test]
fn the_same_content_is_embedded_once() {
    let place = Place::new();
    let text: String =
        (0..30).map(|number| format!("Paragraph {number} says little.\n\n")).collect();
    for name in ["a.txt", "b.txt", "c/d.txt"] {
        place.write(name, &text);
    }
    place.run();
    let passages = place.store.counts(place.collection().id).unwrap().passages as usize;
    assert_eq!(place.done("embed") * 3, passages);
    place.agree();

    // Vectors stay as long as one file has their text.
    fs::remove_file(place.folder.join("a.txt")).unwrap();
    place.run();
    place.write("e.txt", &text);
    place.run();
    assert_eq!(place.done("embed"), 0);
    place.agree();
}

#[test]
fn two_files_that_change_places_are_what_they_are() {
    let place = Place::new();
    let (a, b) = (place.write("a.txt", "First."), place.write("b.txt", "Second."));
    place.run();
    place.done("");
    let other = place.folder.join("c.txt");
    fs::rename(&a, &other).unwrap();
    fs::rename(&b, &a).unwrap();
    fs::rename(&other, &b).unwrap();
    place.run();
    place.agree();
    assert_eq!(place.done("embed"), 0, "their vectors are known");
}

#[test]
fn rules_decide_what_is_read() {
    let place = Place::new();
    for name in [
        "a.md",
        "b.txt",
        "ignored.md",
        "drafts/c.md",
        "deep/drafts/d.md",
        ".hidden.md",
        "deep/e.md",
    ] {
        place.write(name, &format!("This is {name}."));
    }
    place.write(".gitignore", "ignored.md\n");
    let names = || -> Vec<String> {
        let inside =
            |file: File| file.path.strip_prefix(&place.folder).unwrap().display().to_string();
        let mut names: Vec<String> = place.files().into_iter().map(inside).collect();
        names.sort();
        names
    };
    place.run();
    assert_eq!(names(), ["a.md", "b.txt", "deep/drafts/d.md", "deep/e.md", "drafts/c.md"]);
    place.add(&["*.md"], &["drafts/"]);
    let (_, events) = place.run();
    assert_eq!(names(), ["a.md", "deep/e.md"]);
    assert_eq!(events.iter().filter(|event| event.starts_with("removed")).count(), 3, "{events:?}");
    place.add(&["/deep/**"], &["e.*"]);
    place.run();
    assert_eq!(names(), ["deep/drafts/d.md"]);
    place.write(".gitignore", "");
    place.add(&[], &[]);
    place.run();
    assert_eq!(names().len(), 6);
    assert!(matches!(
        source::parse(&place.folder, &["a[".to_owned()], &[], false),
        Err(source::Error::Glob { .. })
    ));
}

#[test]
fn a_look_at_some_paths_touches_nothing_else() {
    let place = Place::new();
    for name in ["a.txt", "b.txt", "deep/c.txt", "deep/d.txt"] {
        place.write(name, &format!("This is {name}."));
    }
    place.run();
    place.write("a.txt", "Changed.");
    place.write("b.txt", "Changed as well.");
    place.write("deep/new.txt", "New.");
    fs::remove_file(place.folder.join("deep/c.txt")).unwrap();
    let plain = Plain { operations: place.operations.clone() };
    let scope = Scope::Paths(vec![place.folder.join("deep"), place.folder.join("a.txt")]);
    let (_, mut events) = place.run_with(&plain, &scope);
    events.sort();
    assert_eq!(events, ["indexed a.txt", "indexed deep/new.txt", "removed deep/c.txt"]);
    let scope = Scope::Paths(vec![place.folder.join("b.txt")]);
    let (_, events) = place.run_with(&plain, &scope);
    assert_eq!(events, ["indexed b.txt"]);
    place.agree();
}

#[test]
fn standard_input_and_single_files_are_sources_too() {
    let place = Place::new();
    let other = place.home.path().canonicalize().unwrap().join("single.txt");
    fs::write(&other, "A single file.").unwrap();
    let collection = place.collection();
    let single = source::parse(&other, &[], &[], false).unwrap();
    place.store.add_source(&collection, &single).unwrap();
    let name = Path::new("minutes.md");
    place.store.add_text(&collection, name, b"# Minutes\n\nWe met.", 5_000_000_000).unwrap();
    place.run();
    let file = place.store.file_at(collection.id, name).unwrap().unwrap();
    let found = place.store.passages_of(file.id).unwrap();
    assert_eq!((found[0].text.as_str(), found[0].headings.len()), ("# Minutes\nWe met.", 1));
    assert_eq!(place.store.counts(collection.id).unwrap().indexed, 2);
    place.store.add_text(&collection, name, b"# Minutes\n\nWe parted.", 6_000_000_000).unwrap();
    fs::remove_file(&other).unwrap();
    let (_, events) = place.run();
    assert_eq!(events, ["indexed minutes.md".to_owned(), format!("removed {}", other.display())]);

    let sources = place.store.sources(collection.id).unwrap();
    let text = sources.iter().find(|source| source.path == name).unwrap();
    place.store.remove_source(text.id).unwrap();
    place.run();
    assert!(place.index.points().is_empty());
}

#[test]
fn sources_that_overlap_are_refused() {
    let place = Place::new();
    place.write("deep/a.txt", "Words.");
    let inner = source::parse(&place.folder.join("deep"), &[], &[], false).unwrap();
    let error = place.store.add_source(&place.collection(), &inner).unwrap_err();
    assert!(matches!(error, store::Error::Overlaps { .. }), "{error}");
    let other = place.store.collection_or_new("other").unwrap();
    place.store.add_source(&other, &inner).unwrap();
}

#[test]
fn another_embedder_is_refused_until_the_collection_is_rebuilt() {
    let place = Place::new();
    let long: String =
        (0..40).map(|number| format!("Sentence {number} of a long paragraph. ")).collect();
    place.write("a.md", &format!("# Heading\n\n{long}\n\nShort."));
    place.run();
    place.done("");
    let plain = Plain { operations: place.operations.clone() };
    for (name, dimension) in [("other", 16), ("hashed", 24)] {
        let embed = Hashed {
            name: name.to_owned(),
            dimension,
            window: 256,
            ..Hashed::new(&place.operations)
        };
        let ingest = Ingest {
            store: &place.store,
            collection: "files",
            extract: &plain,
            embed: Some(&embed),
            index: &place.index,
            readers: 1,
        };
        let error = ingest.run(&Scope::Everything, &Control::default(), &mut |_| {}).unwrap_err();
        let told = error.to_string();
        assert!(
            told.contains("rebuild") && told.contains(&format!("{name} ({dimension} ")),
            "{told}"
        );
        assert_eq!(place.done(""), 0, "nothing was done");

        // The file is out of reach, and still the passages are cut for the other window.
        let file = place.folder.join("a.md");
        fs::rename(&file, place.home.path().join("away")).unwrap();
        ingest.rebuild(&Control::default(), &mut |_| {}).unwrap();
        fs::rename(place.home.path().join("away"), &file).unwrap();
        let document = plain.extract(&file, &AtomicBool::new(false)).unwrap();
        let expected = chunk::passages(&document, Sizes::for_window(256), &embed).unwrap();
        let file = place.store.file_at(place.collection().id, &file).unwrap().unwrap();
        let found = place.store.passages_of(file.id).unwrap();
        let texts = |passages: Vec<store::Found>| -> Vec<String> {
            passages.into_iter().map(|passage| passage.text).collect()
        };
        assert_eq!(
            texts(found),
            expected.iter().map(|passage| passage.text.clone()).collect::<Vec<_>>()
        );
        let entries = place.index.points();
        assert_eq!(entries.len(), expected.len());
        for (entry, passage) in entries.values().zip(&expected) {
            let vector = embed.vector(&passage.embedded());
            let vector =
                vector.into_iter().map(|value| f16::from_f32(value).to_f32()).collect::<Vec<_>>();
            assert_eq!(entry.dense.as_ref(), Some(&vector));
        }
        place.done("");
    }
}

#[test]
fn an_index_is_made_again_without_reading_or_embedding() {
    let place = Place::new();
    for number in 0..20 {
        place.write(&format!("{number}.txt"), &format!("File {number}.\n\nIts second paragraph."));
    }
    place.run();
    let before = place.index.points();
    place.done("");

    // Some entries are lost, some are nobody's.
    let lost: Vec<u64> = before.keys().copied().step_by(3).collect();
    place.index.remove(&lost).unwrap();
    let stranger = Point { id: 1_000_000, ..before.values().next().unwrap().clone() };
    place.index.upsert(vec![stranger]).unwrap();
    place.run();
    assert_eq!(place.index.points(), before);

    let fresh = Lines::open(&place.home.path().join("fresh"), &place.operations);
    let embed = Hashed::new(&place.operations);
    let ingest = Ingest {
        store: &place.store,
        collection: "files",
        extract: &Plain { operations: place.operations.clone() },
        embed: Some(&embed),
        index: &fresh,
        readers: 1,
    };
    ingest.reindex(&Control::default(), &mut |_| {}).unwrap();
    assert_eq!(fresh.points(), before);
    assert_eq!((place.done("extract"), place.done("embed")), (0, 0));
}

#[test]
fn without_an_embedder_passages_have_no_vectors() {
    let place = Place::new();
    place.write("a.txt", "Words alone.");
    let ingest = Ingest {
        store: &place.store,
        collection: "files",
        extract: &Plain { operations: place.operations.clone() },
        embed: None,
        index: &place.index,
        readers: 1,
    };
    ingest.run(&Scope::Everything, &Control::default(), &mut |_| {}).unwrap();
    let entries = place.index.points();
    assert_eq!(entries.values().map(|entry| entry.dense.is_none()).collect::<Vec<_>>(), [true]);
}

#[test]
fn work_that_is_stopped_goes_on_from_there() {
    let place = Place::new();
    for number in 0..40 {
        place.write(&format!("{number}.txt"), &format!("File {number} is one of many."));
    }
    let embed = Hashed::new(&place.operations);
    let mut runs = 0;
    loop {
        let control = Arc::new(Control::default());
        let (seen, stopped) = (Arc::new(AtomicU64::new(0)), Arc::clone(&control));
        // Each run is stopped at its seventh file.
        let operations = Operations::new({
            let noted = Arc::clone(&place.done);
            move |_, what| {
                noted.lock().unwrap().push(what.to_owned());
                if what.starts_with("extract") && seen.fetch_add(1, Ordering::SeqCst) == 6 {
                    stopped.stop();
                }
            }
        });
        let ingest = Ingest {
            store: &place.store,
            collection: "files",
            extract: &Plain { operations },
            embed: Some(&embed),
            index: &place.index,
            readers: 1,
        };
        // Paused work waits, and goes on when it may.
        control.pause(true);
        let outcome = std::thread::scope(|scope| {
            scope.spawn(|| {
                while place.store.job(1).unwrap().state != store::JobState::Paused
                    && !control.is_stopped()
                {
                    std::thread::yield_now();
                }
                control.pause(false);
            });
            let outcome = ingest.run(&Scope::Everything, &control, &mut |_| {}).unwrap();
            control.stop();
            outcome
        });
        runs += 1;
        let job = place.store.job(place.collection().id).unwrap();
        if outcome.is_done {
            assert_eq!(job.state, store::JobState::Done);
            break;
        }
        assert_eq!(job.state, store::JobState::Stopped);
        assert!(runs < 40, "it never ends");
    }
    assert!(runs > 3, "{runs}");
    place.agree();
}

#[test]
fn an_embedder_that_fails_or_lies_loses_nothing() {
    enum Fault {
        Fails,
        Shortens,
        Forgets,
        NotANumber,
    }
    struct Faulty<'a>(&'a Hashed, Fault);
    impl Embed for Faulty<'_> {
        fn name(&self) -> &str {
            &self.0.name
        }
        fn dimension(&self) -> usize {
            self.0.dimension()
        }
        fn tokens_max(&self) -> usize {
            self.0.tokens_max()
        }
        fn count_tokens(&self, texts: &[&str]) -> Result<Vec<usize>, Failed> {
            self.0.count_tokens(texts)
        }
        fn embed(&self, texts: &[&str], purpose: Purpose) -> Result<Vec<Vec<f32>>, Failed> {
            let mut vectors = self.0.embed(texts, purpose)?;
            match self.1 {
                Fault::Fails => return Err(Failed("it left".to_owned())),
                Fault::Shortens => vectors.iter_mut().for_each(|vector| vector.truncate(3)),
                Fault::Forgets => vectors.truncate(1),
                Fault::NotANumber => vectors[0][0] = f32::NAN,
            }
            Ok(vectors)
        }
    }
    let place = Place::new();
    for number in 0..5 {
        place.write(&format!("{number}.txt"), &format!("File {number}."));
    }
    let hashed = Hashed::new(&place.operations);
    for fault in [Fault::Fails, Fault::Shortens, Fault::Forgets, Fault::NotANumber] {
        let ingest = Ingest {
            store: &place.store,
            collection: "files",
            extract: &Plain { operations: place.operations.clone() },
            embed: Some(&Faulty(&hashed, fault)),
            index: &place.index,
            readers: 1,
        };
        let error = ingest.run(&Scope::Everything, &Control::default(), &mut |_| {}).unwrap_err();
        assert!(matches!(error, Error::Embed(_) | Error::Shape { .. }), "{error}");
        let job = place.store.job(place.collection().id).unwrap();
        assert_eq!((job.state, job.error), (store::JobState::Failed, Some(error.to_string())));
    }
    assert_eq!(place.done("extract"), 5, "what was read once is not read again");
    place.run();
    place.agree();
}

#[test]
fn a_collection_is_brought_in_step_by_one_at_a_time() {
    let place = Place::new();
    place.write("a.txt", "Words.");
    let embed = Hashed::new(&place.operations);
    let ingest = Ingest {
        store: &place.store,
        collection: "files",
        extract: &Plain { operations: place.operations.clone() },
        embed: Some(&embed),
        index: &place.index,
        readers: 1,
    };
    let mut refused = 0;
    ingest
        .run(&Scope::Everything, &Control::default(), &mut |event| {
            if matches!(event, Event::Indexed(_)) {
                let again = ingest.run(&Scope::Everything, &Control::default(), &mut |_| {});
                assert!(matches!(again, Err(Error::Running { .. })));
                refused += 1;
            }
        })
        .unwrap();
    assert_eq!(refused, 1);
    place.run();
    place.agree();
}
