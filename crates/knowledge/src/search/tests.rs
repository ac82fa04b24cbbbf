//! Searches over a few passages, with models that are known by heart.

use super::fuse::fuse;
use super::guard::probes;
use super::rerank::Untrusted;
use super::*;
use crate::index::exact::Exact;
use crate::index::{Embedder, Labels, Point};

const DIMENSION: usize = 8;

/// An embedder that understands some scripts: of a question there it knows the answer. All else it sees as vectors
/// that say nothing, or of texts of its own as they were given to it.
struct Scholar {
    scripts: Vec<Script>,
    texts: Vec<(&'static str, [f32; DIMENSION])>,
    fails: bool,
}

impl Scholar {
    fn of(scripts: &[Script]) -> Self {
        Scholar { scripts: scripts.to_vec(), texts: Vec::new(), fails: false }
    }

    fn vector(&self, text: &str) -> Vec<f32> {
        if let Some((_, vector)) = self.texts.iter().find(|(known, _)| *known == text) {
            return vector.to_vec();
        }
        let all = [Script::Latin, Script::Han, Script::Kana, Script::Hangul, Script::Cyrillic];
        for script in all.into_iter().filter(|script| self.scripts.contains(script)) {
            if let Some(at) =
                probes(script).iter().position(|&(query, passage)| query == text || passage == text)
            {
                return (0..DIMENSION).map(|number| if number == at { 1.0 } else { 0.1 }).collect();
            }
        }
        // By its length, which has nothing to do with what it says.
        let length = text.chars().count() as f32;
        (0..DIMENSION).map(|number| (length * (number as f32 + 1.0)).sin() + 1.5).collect()
    }
}

impl Embed for Scholar {
    fn name(&self) -> &str {
        "scholar"
    }
    fn dimension(&self) -> usize {
        DIMENSION
    }
    fn tokens_max(&self) -> usize {
        512
    }
    fn count_tokens(&self, texts: &[&str]) -> Result<Vec<usize>, Failed> {
        Ok(texts.iter().map(|text| text.len()).collect())
    }
    fn embed(&self, texts: &[&str], _: Purpose) -> Result<Vec<Vec<f32>>, Failed> {
        if self.fails {
            return Err(Failed("out of memory".to_owned()));
        }
        Ok(texts.iter().map(|text| self.vector(text)).collect())
    }
}

/// A reranker that does what a function says.
struct Judge(fn(&str, &[&str]) -> Vec<f32>);

impl Rerank for Judge {
    fn name(&self) -> &str {
        "judge"
    }
    fn rank(&self, query: &str, passages: &[&str]) -> Result<Vec<f32>, Failed> {
        Ok((self.0)(query, passages))
    }
}

/// Knows the probes, and otherwise likes short passages.
fn right(query: &str, passages: &[&str]) -> Vec<f32> {
    let answers = |passage: &&str| {
        [Script::Latin, Script::Han]
            .into_iter()
            .any(|script| probes(script).contains(&(query, *passage)))
    };
    let score =
        |passage: &&str| if answers(passage) { 1.0 } else { -(passage.chars().count() as f32) };
    passages.iter().map(score).collect()
}

struct Shelf(Vec<Passage>);

impl Passages for Shelf {
    fn load(&self, ids: &[u64]) -> Result<Vec<Passage>, Failed> {
        Ok(self.0.iter().filter(|passage| ids.contains(&passage.id)).cloned().collect())
    }
    fn neighbours(&self, id: u64, before: u32, after: u32) -> Result<Vec<Passage>, Failed> {
        let file = self.0.iter().find(|passage| passage.id == id).map(|passage| passage.file);
        let near = (id - u64::from(before))..=(id + u64::from(after));
        let is_near = |passage: &&Passage| {
            Some(passage.file) == file && near.contains(&passage.id) && passage.id != id
        };
        Ok(self.0.iter().filter(is_near).cloned().collect())
    }
}

/// Passages of three files, in an index with the scholar's vectors.
fn library(scholar: &Scholar) -> (Exact, Shelf) {
    let texts = [
        (11, "notes/zinc.md", "zinc is mined in the north"),
        (12, "notes/zinc.md", "the mine was closed in 1999"),
        (13, "notes/zinc.md", "zinc protects iron from rust, and zinc is cheap"),
        (21, "notes/old/river.txt", "a river of zinc"),
        (31, "中文/锌.md", "锌矿位于北方"),
        (32, "中文/锌.md", "这条河流经过城市"),
    ];
    let index =
        Exact::in_memory(Some(Embedder { name: "scholar".to_owned(), dimension: DIMENSION }));
    let passage = |&(id, path, text): &(u64, &str, &str)| Passage {
        id,
        file: id / 10,
        path: path.to_owned(),
        text: text.to_owned(),
    };
    let shelf = Shelf(texts.iter().map(passage).collect());
    let point = |passage: &Passage| Point {
        id: passage.id,
        dense: Some(scholar.vector(&passage.text)),
        sparse: words::passage(&passage.text),
        labels: Labels {
            collection: "notes".to_owned(),
            file: passage.file,
            kind: "md".to_owned(),
            modified_s: 0,
            path: passage.path.clone(),
        },
    };
    index.upsert(shelf.0.iter().map(point).collect()).unwrap();
    (index, shelf)
}

fn request(query: &str) -> Request<'_> {
    Request {
        query,
        filter: Filter::default(),
        glob: None,
        limit: 10,
        per_file_max: 10,
        neighbours: 0,
    }
}

fn ids(answer: &Answer) -> Vec<u64> {
    answer.found.iter().map(|found| found.passage.id).collect()
}

fn hits(ids: &[u64]) -> Vec<Hit> {
    ids.iter().map(|&id| Hit { id, score: 0.5 }).collect()
}

#[test]
fn ranks_of_both_legs_add_up() {
    let (one, other) = (hits(&[1, 2, 3]), hits(&[3, 4]));
    let fused = fuse(&[(&one, 1.0), (&other, 1.0)]);
    assert_eq!(fused.iter().map(|hit| hit.id).collect::<Vec<_>>(), [3, 1, 2, 4]);
    assert!((fused[0].score - (1.0 / 63.0 + 1.0 / 61.0)).abs() < 1e-6);
    // Of no weight, of no effect; equal ranks go by number.
    assert_eq!(fuse(&[(&one, 0.0), (&other, 1.0)]).len(), 2);
    let tied = fuse(&[(&hits(&[9]), 1.0), (&hits(&[8]), 1.0)]);
    assert_eq!(tied.iter().map(|hit| hit.id).collect::<Vec<_>>(), [8, 9]);
    // A heavier leg leads.
    assert_eq!(fuse(&[(&hits(&[9]), 2.0), (&hits(&[8]), 1.0)])[0].id, 9);
}

#[test]
fn an_embedder_is_believed_in_the_scripts_it_answers() {
    let all = [Script::Latin, Script::Han, Script::Kana, Script::Hangul, Script::Cyrillic];
    for known in [&[Script::Latin][..], &[Script::Han, Script::Hangul], &[], &all] {
        let seen = Known::examine(&Scholar::of(known)).unwrap();
        for script in all {
            assert_eq!(seen.knows(script), known.contains(&script), "{script:?} of {known:?}");
        }
        assert_eq!(seen.knows(Script::Other), known.len() == all.len());
    }
}

#[test]
fn vectors_that_are_no_numbers_are_nearest_to_nothing() {
    struct Broken;
    impl Embed for Broken {
        fn name(&self) -> &str {
            "broken"
        }
        fn dimension(&self) -> usize {
            2
        }
        fn tokens_max(&self) -> usize {
            512
        }
        fn count_tokens(&self, _: &[&str]) -> Result<Vec<usize>, Failed> {
            Ok(Vec::new())
        }
        fn embed(&self, texts: &[&str], _: Purpose) -> Result<Vec<Vec<f32>>, Failed> {
            Ok(texts.iter().map(|_| vec![f32::NAN; 2]).collect())
        }
    }
    assert!(!Known::examine(&Broken).unwrap().knows(Script::Latin));
}

#[test]
fn what_makes_a_text_foreign_is_its_most_frequent_unknown_script() {
    let english = Known::examine(&Scholar::of(&[Script::Latin])).unwrap();
    for (text, foreign) in [
        ("where is the invoice?", None),
        ("2024-03-15", None),
        ("发票在哪里？", Some(Script::Han)),
        ("iPhone 电池更换", Some(Script::Han)),
        ("請求書はどこですか", Some(Script::Kana)),
        ("청구서", Some(Script::Hangul)),
        ("где счёт", Some(Script::Cyrillic)),
        ("το τιμολόγιο", Some(Script::Other)),
        ("the poem by 李白 that everybody learns at school in the first year of reading", None),
    ] {
        assert_eq!(english.foreign(text), foreign, "{text}");
    }
    let chinese = Known::examine(&Scholar::of(&[Script::Latin, Script::Han])).unwrap();
    assert_eq!(chinese.foreign("iPhone 电池更换"), None);
    assert_eq!(
        chinese.foreign("請求書はどこですか"),
        Some(Script::Kana),
        "Han among kana is Japanese"
    );
}

#[test]
fn an_english_embedder_does_not_touch_the_order_of_a_chinese_question() {
    // Its vector of the question is that of a passage that has nothing to do with it.
    let mut scholar = Scholar::of(&[Script::Latin]);
    let query = "锌矿在哪里";
    scholar.texts = vec![(query, [9.0; DIMENSION]), ("这条河流经过城市", [9.0; DIMENSION])];
    let (index, shelf) = library(&scholar);
    let known = Known::examine(&scholar).unwrap();
    let mut searcher = Searcher {
        index: &index,
        passages: &shelf,
        embedder: Some((&scholar, &known)),
        reranker: None,
    };
    let guarded = searcher.search(&request(query)).unwrap();
    assert_eq!(guarded.meaning, Leg::Foreign(Script::Han));
    searcher.embedder = None;
    let lexical = searcher.search(&request(query)).unwrap();
    assert_eq!(lexical.meaning, Leg::Absent);
    assert_eq!(ids(&guarded), ids(&lexical));
    assert_eq!(ids(&guarded)[0], 31);
    // Who knows both scripts is asked.
    let scholar = Scholar {
        scripts: vec![Script::Latin, Script::Han],
        texts: scholar.texts.clone(),
        fails: false,
    };
    let known = Known::examine(&scholar).unwrap();
    searcher.embedder = Some((&scholar, &known));
    let answer = searcher.search(&request(query)).unwrap();
    assert_eq!(answer.meaning, Leg::Used);
    assert!(ids(&answer).contains(&32), "what is near by meaning is found without a shared term");
}

#[test]
fn what_is_near_by_meaning_is_found_without_a_word_in_common() {
    let mut scholar = Scholar::of(&[Script::Latin]);
    let mut near = [0.0; DIMENSION];
    near[0] = 1.0;
    scholar.texts =
        vec![("when did the pit shut down?", near), ("the mine was closed in 1999", near)];
    let (index, shelf) = library(&scholar);
    let known = Known::examine(&scholar).unwrap();
    let searcher = Searcher {
        index: &index,
        passages: &shelf,
        embedder: Some((&scholar, &known)),
        reranker: None,
    };
    let answer = searcher.search(&request("when did the pit shut down?")).unwrap();
    assert_eq!(ids(&answer)[0], 12);
}

#[test]
fn a_failing_embedder_costs_its_leg_and_not_the_answer() {
    let scholar = Scholar::of(&[Script::Latin]);
    let (index, shelf) = library(&scholar);
    let known = Known::examine(&scholar).unwrap();
    let failing = Scholar { fails: true, ..scholar };
    let searcher = Searcher {
        index: &index,
        passages: &shelf,
        embedder: Some((&failing, &known)),
        reranker: None,
    };
    let answer = searcher.search(&request("zinc")).unwrap();
    assert_eq!(answer.meaning, Leg::Failed(Failed("out of memory".to_owned())));
    assert_eq!(HashSet::from_iter(ids(&answer)), HashSet::from([11, 13, 21]));
}

#[test]
fn paths_files_and_limits_are_kept() {
    let scholar = Scholar::of(&[Script::Latin]);
    let (index, shelf) = library(&scholar);
    let searcher = Searcher { index: &index, passages: &shelf, embedder: None, reranker: None };
    let found = |request: Request<'_>| ids(&searcher.search(&request).unwrap());
    let zinc = || request("zinc");
    assert_eq!(
        found(Request { glob: Some("notes/*"), ..zinc() }).len(),
        2,
        "a star stays in its folder"
    );
    assert_eq!(found(Request { glob: Some("notes/**/*.txt"), ..zinc() }), [21]);
    assert!(found(Request { glob: Some("**/*.pdf"), ..zinc() }).is_empty());
    let old = Filter { folders: vec!["notes/old".to_owned()], ..Filter::default() };
    assert_eq!(found(Request { filter: old, ..zinc() }), [21]);
    assert_eq!(found(Request { limit: 1, ..zinc() }).len(), 1);
    let one_each = found(Request { per_file_max: 1, ..zinc() });
    assert_eq!(one_each.len(), 2, "{one_each:?}");
    assert!(one_each.contains(&21));
    let refused = searcher.search(&Request { glob: Some("a{b"), ..zinc() }).unwrap_err();
    assert!(refused.to_string().contains("a{b"), "{refused}");
}

#[test]
fn neighbours_come_once_and_never_beside_themselves() {
    let scholar = Scholar::of(&[Script::Latin]);
    let (index, shelf) = library(&scholar);
    let searcher = Searcher { index: &index, passages: &shelf, embedder: None, reranker: None };
    let answer = searcher.search(&Request { neighbours: 1, ..request("zinc") }).unwrap();
    let mut all: Vec<u64> = ids(&answer);
    all.extend(answer.found.iter().flat_map(|found| &found.neighbours).map(|passage| passage.id));
    all.sort_unstable();
    assert_eq!(all, [11, 12, 13, 21], "12 stands between two that were found, and comes once");
}

#[test]
fn what_the_store_has_forgotten_is_left_out() {
    let scholar = Scholar::of(&[Script::Latin]);
    let (index, mut shelf) = library(&scholar);
    shelf.0.retain(|passage| passage.id != 13);
    let searcher = Searcher { index: &index, passages: &shelf, embedder: None, reranker: None };
    let answer = searcher.search(&request("zinc")).unwrap();
    assert_eq!(HashSet::from_iter(ids(&answer)), HashSet::from([11, 21]));
}

#[test]
fn a_reranker_must_show_that_it_can() {
    let wrong =
        Judge(|query, passages| right(query, passages).into_iter().map(|score| -score).collect());
    let refused = Trusted::examine(&wrong).err().unwrap();
    assert!(matches!(&refused, Untrusted::Wrong { name, .. } if name == "judge"), "{refused}");
    // English alone is not enough.
    let english =
        Judge(
            |query, passages| {
                if query.is_ascii() { right(query, passages) } else { vec![0.0; passages.len()] }
            },
        );
    assert!(matches!(Trusted::examine(&english), Err(Untrusted::Wrong { .. })));
    let no_numbers = Judge(|_, passages| vec![f32::NAN; passages.len()]);
    assert!(matches!(Trusted::examine(&no_numbers), Err(Untrusted::Failed { .. })));

    let judge = Judge(right);
    let trusted = Trusted::examine(&judge).unwrap();
    let scholar = Scholar::of(&[Script::Latin]);
    let (index, shelf) = library(&scholar);
    let searcher =
        Searcher { index: &index, passages: &shelf, embedder: None, reranker: Some(&trusted) };
    let answer = searcher.search(&request("zinc")).unwrap();
    assert_eq!(answer.reranking, Leg::Used);
    assert_eq!(ids(&answer), [21, 11, 13], "the shortest first");
}

#[test]
fn a_reranker_that_fails_later_leaves_the_order() {
    let moody =
        Judge(|query, passages| if query == "zinc" { Vec::new() } else { right(query, passages) });
    let trusted = Trusted::examine(&moody).unwrap();
    let scholar = Scholar::of(&[Script::Latin]);
    let (index, shelf) = library(&scholar);
    let mut searcher =
        Searcher { index: &index, passages: &shelf, embedder: None, reranker: Some(&trusted) };
    let answer = searcher.search(&request("zinc")).unwrap();
    assert!(matches!(answer.reranking, Leg::Failed(_)));
    searcher.reranker = None;
    assert_eq!(ids(&answer), ids(&searcher.search(&request("zinc")).unwrap()));
}
