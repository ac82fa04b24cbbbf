//! An ingest that is killed at any moment: what was acknowledged stays, nothing is there twice, and in the end the store
//! and the index are what they are without a kill.
//!
//! It is done with an index whose every entry can be looked at, with the one that ships, and with a Qdrant where
//! `KNOWLEDGE_QDRANT` names one.
//!
//! Half of the processes kill themselves at an operation, the others are killed when they have said so many lines, which
//! is anywhere in what comes next. `INGEST_KILLS=1000 INGEST_SEED=7` is the long run.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use knowledge::{
    index::{Filter, Index, Point},
    store::{State, Store},
};

use crate::{
    folder::{Random, document},
    ingest::{answers_as, expected, files_below},
    support::{Lines, Operations, Watched, form, qdrant},
};

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |value| value.parse().unwrap())
}

/// Files when it begins: a run has some hundred operations.
const FILES: u64 = 150;
/// Texts that one call embeds, so that a kill may cost them.
const EMBEDDED_AT_ONCE: u64 = 32;

#[derive(Default)]
struct Said {
    lines: Vec<String>,
    is_done: bool,
}

/// An ingest that is killed.
struct Site<'a> {
    home: &'a Path,
    folder: &'a Path,
    /// The form of its index: `lines`, `segments`, or the address of a Qdrant.
    form: &'a str,
}

impl Site<'_> {
    fn store(&self) -> Store {
        Store::open(&self.home.join("store.sqlite")).unwrap()
    }

    fn index(&self) -> Box<dyn Index> {
        let (path, operations) = (self.home.join("index"), Operations::new(|_, _| {}));
        match self.form {
            "lines" => Box::new(Lines::open(&path, &operations)),
            name => Box::new(Watched::open(&form(name), &path, &operations)),
        }
    }

    /// The store, the index and the folder have the same.
    fn agree(&self) -> BTreeMap<u64, Point> {
        let points = expected(&self.store(), self.folder);
        if self.form == "lines" {
            let lines = Lines::open(&self.home.join("index"), &Operations::new(|_, _| {}));
            assert_eq!(lines.points(), points);
        } else {
            // A Qdrant counts what is gone among those that have a term, until it tidies.
            let part = if self.form == "segments" { 0.01 } else { 0.25 };
            answers_as(&*self.index(), &points, part);
        }
        points
    }

    /// Everything but numbers, which depend on the way here.
    fn content(&self) -> BTreeSet<String> {
        let store = self.store();
        let mut content = BTreeSet::new();
        for (id, entry) in self.agree() {
            let found = store.passages(&[id]).unwrap().remove(0);
            let passage = (found.path, found.ordinal, found.text, found.context, found.headings);
            let labels = (entry.labels.path, entry.labels.kind, entry.labels.modified_s);
            let line = format!("{passage:?} {:?} {:?} {labels:?}", found.pieces, entry.dense);
            assert!(content.insert(line), "{id} is there twice");
        }
        content
    }
}

/// Runs the fixture. It kills itself at an operation, or is killed after so many lines, or neither.
fn run(site: &Site<'_>, kill_at: u64, kill_after: Option<u64>) -> Said {
    let mut child = Command::new(env!("CARGO_BIN_EXE_knowledge-fixture-ingest"))
        .args([
            &site.home.join("store.sqlite"),
            &site.home.join("index"),
            site.folder,
            Path::new(&kill_at.to_string()),
            Path::new(site.form),
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = Said::default();
    let output = BufReader::new(child.stdout.take().unwrap());
    for line in output.lines() {
        said.lines.push(line.unwrap());
        if kill_after == Some(said.lines.len() as u64) {
            child.kill().unwrap();
        }
    }
    let status = child.wait().unwrap();
    said.is_done = status.success();
    let failed = said.lines.iter().find(|line| line.starts_with("failed"));
    assert!(failed.is_none() && status.code().is_none_or(|code| code == 0), "{status} {failed:?}");
    said
}

#[test]
fn nothing_is_lost_or_doubled_at_fifty_kills() {
    kills_cost_nothing("lines");
}

#[test]
fn nothing_is_lost_or_doubled_at_fifty_kills_with_the_index_that_ships() {
    kills_cost_nothing("segments");
}

#[test]
fn nothing_is_lost_or_doubled_at_fifty_kills_with_a_qdrant() {
    if let Some(url) = qdrant() {
        kills_cost_nothing(&url);
    }
}

fn kills_cost_nothing(form: &str) {
    let kills = setting("INGEST_KILLS", 50);
    let seed = setting("INGEST_SEED", 1);
    let random = &mut Random(seed);
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().canonicalize().unwrap().join("folder");
    fs::create_dir(&folder).unwrap();
    let site = Site { home: home.path(), folder: &folder, form };
    let mut number = 0;
    for _ in 0..FILES {
        write_new(&folder, random, &mut number);
    }
    let mut known = Known::default();
    let mut killed = 0;
    let mut rounds = 0;
    while killed < kills {
        rounds += 1;
        assert!(
            rounds < 4 * kills,
            "too few runs are killed before their end: {killed} of {rounds}"
        );
        let at = 1 + random.below(if rounds < kills / 2 { 450 } else { 150 });
        let said = match random.below(2) {
            0 => run(&site, at, None),
            _ => run(&site, 0, Some(at)),
        };
        killed += u64::from(!said.is_done);
        for path in said.lines.iter().filter_map(|line| line.strip_prefix("extract ")) {
            assert!(
                !known.acknowledged.contains_key(Path::new(path)),
                "{path} is read after it was indexed"
            );
        }
        told_once(&said, &known.changed);
        known.note(&said);
        check(&site, &known.acknowledged);
        if said.is_done {
            site.agree();
        }
        if said.is_done || random.below(4) == 0 {
            change(&folder, random, &mut number, &mut known);
        }
    }
    let said = run(&site, 0, None);
    assert!(said.is_done);
    told_once(&said, &known.changed);
    known.note(&said);
    check(&site, &known.acknowledged);
    site.agree();

    let clean = tempfile::tempdir().unwrap();
    let clean = Site { home: clean.path(), ..site };
    assert!(run(&clean, 0, None).is_done);
    assert_eq!(site.content(), clean.content(), "seed {seed}");
    if form.starts_with("http") {
        let form = self::form(form);
        for home in [site.home, clean.home] {
            form.remove(&home.join("index")).unwrap();
        }
    }

    let embedded = known.embedded;
    let again: u64 = embedded.values().map(|times| times - 1).sum();
    println!(
        "{killed} kills in {rounds} runs, {} texts embedded, {again} of them again",
        embedded.len()
    );
    assert!(again <= killed * EMBEDDED_AT_ONCE, "{again} texts were embedded again");
}

fn write_new(folder: &Path, random: &mut Random, number: &mut u64) {
    *number += 1;
    let kind = ["md", "txt", "csv"][random.below(3) as usize];
    let inside = folder.join(format!("folder {}", random.below(4)));
    fs::create_dir_all(&inside).unwrap();
    // The number makes each text the only one of its kind, so that embedding it twice is a fault.
    let text = document(random, kind).replace("Part", &format!("Part {number}"));
    fs::write(inside.join(format!("file {number}.{kind}")), format!("{number} {text}")).unwrap();
}

/// Changes, moves, removes and adds files while no process runs.
fn change(folder: &Path, random: &mut Random, number: &mut u64, known: &mut Known) {
    for path in files_below(folder) {
        match random.below(12) {
            0 | 1 => {
                fs::remove_file(&path).unwrap();
                write_new(folder, random, number);
                known.changed(path);
            }
            2 => {
                let mut text = fs::read_to_string(&path).unwrap();
                *number += 1;
                text.push_str(&format!("\n\nA line that came later, {number}.\n"));
                fs::write(&path, text).unwrap();
                known.changed(path);
            }
            3 => {
                let kind = path.extension().unwrap().to_str().unwrap();
                *number += 1;
                fs::rename(&path, folder.join(format!("moved {number}.{kind}"))).unwrap();
                known.changed(path);
            }
            _ => {}
        }
    }
}

/// What the processes said.
#[derive(Default)]
struct Known {
    /// What was told as indexed, with what the file held then.
    acknowledged: BTreeMap<PathBuf, blake3::Hash>,
    /// Files that changed since they were read last: what is told of them is of what they held before.
    changed: BTreeSet<PathBuf>,
    /// How often each text was embedded.
    embedded: HashMap<String, u64>,
}

impl Known {
    fn note(&mut self, said: &Said) {
        for line in &said.lines {
            if let Some(path) = line.strip_prefix("stored ") {
                self.changed.remove(Path::new(path));
            } else if let Some(path) = line.strip_prefix("indexed ") {
                if !self.changed.contains(Path::new(path)) {
                    self.acknowledged.insert(path.into(), blake3::hash(&fs::read(path).unwrap()));
                }
            } else if let Some(text) = line.strip_prefix("embed ") {
                *self.embedded.entry(text.to_owned()).or_default() += 1;
            }
        }
    }

    fn changed(&mut self, path: PathBuf) {
        self.acknowledged.remove(&path);
        self.changed.insert(path);
    }
}

/// What was acknowledged is there, in the store and in the index, once.
fn check(site: &Site<'_>, acknowledged: &BTreeMap<PathBuf, blake3::Hash>) {
    let store = site.store();
    let Ok(collection) = store.collection("files") else {
        assert!(acknowledged.is_empty());
        return;
    };
    let index = site.index();
    let ids = index.ids(None, usize::MAX >> 1).unwrap();
    for (path, hash) in acknowledged {
        let file = store.file_at(collection.id, path).unwrap();
        let file = file.unwrap_or_else(|| panic!("{} is missing", path.display()));
        assert_eq!(
            (file.state, file.hash),
            (State::Indexed, Some(*hash.as_bytes())),
            "{}",
            path.display()
        );
        let passages = store.passages_of(file.id).unwrap();
        assert!(!passages.is_empty());
        assert!(passages.iter().all(|passage| ids.binary_search(&passage.id).is_ok()));
        let of_it = Filter { files: vec![file.id], ..Filter::default() };
        let count = index.count(&of_it).unwrap();
        assert!(count >= passages.len() as u64, "{count} of {}", path.display());
    }
    // Of the entries whose passages the store has, none is there twice; the others are noted to be forgotten.
    let unknown: BTreeSet<u64> = store.unknown_ids(&ids).unwrap().into_iter().collect();
    let gone: BTreeSet<u64> =
        store.gone(collection.id, usize::MAX >> 1).unwrap().into_iter().collect();
    assert!(unknown.is_subset(&gone), "the index has passages that nobody will remove");
}

/// No file was told twice, but for those that had changed: what they held before may have been due still.
fn told_once(said: &Said, changed: &BTreeSet<PathBuf>) {
    let mut indexed = BTreeSet::new();
    for path in said.lines.iter().filter_map(|line| line.strip_prefix("indexed ")) {
        let is_new = indexed.insert(path);
        assert!(is_new || changed.contains(Path::new(path)), "{path} was told twice");
    }
}
