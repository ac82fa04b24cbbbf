//! Questions to several collections, with models that the tests play.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;
use crate::{
    document::{Document, Inside, Part, Role},
    ingest::Unread,
    search::{Script, guard::probes},
    source,
};

/// Takes a file as one paragraph.
struct Plain;

impl Extract for Plain {
    fn extract(&self, path: &Path, _: &AtomicBool) -> Result<Document, Unread> {
        let read = fs::read_to_string(path);
        let text = read.map_err(|error| Unread { reason: error.to_string(), again: false })?;
        let place = Place { inside: Inside::Whole, bytes: Some(0..text.len() as u64) };
        let parts = vec![Part { text, role: Role::Paragraph, place }];
        Ok(Document { title: None, parts, gaps: Vec::new() })
    }
}

/// Ranks what answers a probe first, and otherwise short passages; or as it is told.
struct Judge {
    name: &'static str,
    says: fn(f32) -> Result<f32, Failed>,
    asked: AtomicUsize,
}

impl Judge {
    fn new(name: &'static str, says: fn(f32) -> Result<f32, Failed>) -> Self {
        Self { name, says, asked: AtomicUsize::new(0) }
    }

    fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::Relaxed)
    }
}

impl Rerank for Judge {
    fn name(&self) -> &str {
        self.name
    }

    fn rank(&self, query: &str, passages: &[&str]) -> Result<Vec<f32>, Failed> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let answers = |passage: &str| {
            let of = |script| probes(script).contains(&(query, passage));
            of(Script::Latin) || of(Script::Han)
        };
        let score = |passage: &&str| {
            (self.says)(if answers(passage) { 1.0 } else { -(passage.chars().count() as f32) })
        };
        passages.iter().map(score).collect()
    }
}

/// A base with a collection for each of the lists, a file for each text.
fn base(collections: &[&[String]]) -> (tempfile::TempDir, Base) {
    let folder = tempfile::tempdir().unwrap();
    let base = Base::open(&folder.path().join("base"), Form::default()).unwrap();
    for (number, texts) in collections.iter().enumerate() {
        let (name, files) = (format!("c{number}"), folder.path().join(number.to_string()));
        fs::create_dir(&files).unwrap();
        for (number, text) in texts.iter().enumerate() {
            fs::write(files.join(format!("{number:03}.txt")), text).unwrap();
        }
        let collection = base.store().collection_or_new(&name).unwrap();
        let source = source::parse(&files, &[], &[], false).unwrap();
        base.store().add_source(&collection, &source).unwrap();
        let means = Means { extract: &Plain, embed: None };
        let work = Work::Scan(Scope::Everything);
        let done = base.work(&name, &work, means, &Control::default(), &mut |_| {}).unwrap();
        assert!(done.is_done);
    }
    (folder, base)
}

fn ask(base: &Base, limit: usize, rerank: Option<&Judge>) -> (Vec<String>, Vec<String>) {
    let question = Question { text: "zinc", limit, ..Question::default() };
    let rerank = rerank.map(|judge| judge as &dyn Rerank);
    let answer = base.search(&question, None, rerank).unwrap();
    let scores: Vec<f32> = answer.found.iter().map(|found| found.score).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    (answer.found.into_iter().map(|found| found.passage.text).collect(), answer.notes)
}

fn texts(all: &[&str]) -> Vec<String> {
    all.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn what_is_found_in_all_collections_is_read_together_by_a_model_that_is_examined_once() {
    let one = texts(&["zinc zinc zinc zinc", "zinc is a metal that lies in the ground"]);
    let two = texts(&["zinc", "zinc and tin"]);
    let (_folder, base) = base(&[&one, &two]);
    let judge = Judge::new("judge", Ok);
    let examined = probes(Script::Latin).len() + probes(Script::Han).len();
    let (found, notes) = ask(&base, 3, Some(&judge));
    assert_eq!(found, ["zinc", "zinc and tin", "zinc zinc zinc zinc"], "the shortest first");
    assert_eq!((notes.len(), judge.asked()), (0, examined + 1));
    ask(&base, 3, Some(&judge));
    assert_eq!(judge.asked(), 1);
}

#[test]
fn one_that_ranks_wrongly_is_never_asked_again_and_one_that_cannot_be_asked_is() {
    let (_folder, base) = base(&[&texts(&["zinc", "zinc and tin"])]);
    let without = ask(&base, 3, None);
    let wrong = Judge::new("wrong", |score| Ok(-score));
    for round in 0..2 {
        let (found, notes) = ask(&base, 3, Some(&wrong));
        assert_eq!(found, without.0);
        assert!(notes[0].contains("the reranker wrong is not used"), "{notes:?}");
        assert_eq!(wrong.asked() > 0, round == 0);
    }
    let broken = Judge::new("broken", |_| Err(Failed("out of memory".to_owned())));
    for _ in 0..2 {
        let (found, notes) = ask(&base, 3, Some(&broken));
        assert_eq!((found, broken.asked()), (without.0.clone(), 1));
        assert!(notes[0].contains("broken could not be examined: out of memory"), "{notes:?}");
    }
}

#[test]
fn what_it_does_not_read_stays_behind_what_it_reads() {
    let many: Vec<String> =
        (0..RERANKED_MAX + 6).map(|number| format!("zinc {}", "x ".repeat(number))).collect();
    let (_folder, base) = base(&[&many]);
    let (found, _) = ask(&base, many.len(), Some(&Judge::new("judge", Ok)));
    assert_eq!(found.len(), many.len());
    assert!(found[..RERANKED_MAX].is_sorted_by_key(String::len), "{found:?}");
}

#[test]
fn work_that_cannot_begin_has_failed_and_nobody_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let base = Base::open(folder.path(), nowhere()).unwrap();
    base.store().collection_or_new("c").unwrap();
    let (work, means) = (Work::Rebuild, Means { extract: &Plain, embed: None });
    let failed = base.work("c", &work, means, &Control::default(), &mut |_| {}).unwrap_err();
    base.note_failed("c", &failed.to_string()).unwrap();
    let job = base.collection("c").unwrap().job;
    assert_eq!((job.state, job.error), (JobState::Failed, Some(failed.to_string())));
    assert!(base.note_failed("other", "why").is_err());
}

/// A form whose server answers nobody.
fn nowhere() -> Form {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = index::cluster::Server::new(&format!("http://127.0.0.1:{port}"), None).unwrap();
    Form::Cluster(Arc::new(server))
}

#[test]
fn a_collection_is_forgotten_though_its_index_cannot_be_removed() {
    let folder = tempfile::tempdir().unwrap();
    let base = Base::open(folder.path(), nowhere()).unwrap();
    base.store().collection_or_new("c").unwrap();
    assert!(base.index(&base.store().collection("c").unwrap()).is_err());
    base.remove("c").unwrap();
    assert!(base.collection("c").is_err());
    // What the server was told of it is known, until it can be told otherwise.
    let left = || fs::read_dir(folder.path().join(INDEX)).unwrap().count();
    assert_eq!(left(), 1);
    base.remove_orphans().unwrap();
    assert_eq!(left(), 1);
    Base::open(folder.path(), Form::default()).unwrap().remove_orphans().unwrap();
    assert_eq!(left(), 0);
}

#[test]
fn an_empty_collection_whose_embedder_changes_gets_another_index() {
    let folder = tempfile::tempdir().unwrap();
    let base = Base::open(folder.path(), Form::default()).unwrap();
    let collection = base.store().collection_or_new("c").unwrap();
    assert_eq!(base.index(&collection).unwrap().description().embedder, None);
    base.store().embedded_by(&collection, Some(("small", 384))).unwrap();
    let changed = base.store().collection("c").unwrap();
    assert_eq!(changed.generation, collection.generation);
    let wanted = Some(Embedder { name: "small".to_owned(), dimension: 384 });
    assert_eq!(base.index(&changed).unwrap().description().embedder, wanted);
}

#[test]
fn what_is_paused_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let base = Base::open(folder.path(), Form::default()).unwrap();
    assert!(base.paused().is_empty());
    let names = BTreeSet::from(["a".to_owned(), "笔记".to_owned()]);
    base.note_paused(&names).unwrap();
    assert_eq!(Base::open(folder.path(), Form::default()).unwrap().paused(), names);
    base.note_paused(&BTreeSet::new()).unwrap();
    assert!(base.paused().is_empty());
}

#[test]
fn indexes_of_collections_that_are_gone_are_removed() {
    let (folder, base) = base(&[&texts(&["zinc"])]);
    let home = folder.path().join("base");
    let index = |name: &str| home.join(INDEX).join(name);
    let collection = base.store().collection("c0").unwrap();
    let own = base.index_folder(&collection);
    drop(base);
    fs::create_dir(index("999-0")).unwrap();
    fs::write(index("no number"), "").unwrap();
    let base = Base::open(&home, Form::default()).unwrap();
    base.remove_orphans().unwrap();
    assert!(own.is_dir() && !index("999-0").exists() && index("no number").exists());
    assert_eq!(ask(&base, 3, None).0, ["zinc"]);
}
