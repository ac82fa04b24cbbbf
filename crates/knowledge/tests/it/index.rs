//! One contract for every form of index.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use knowledge::index::cluster::{Cluster, Server};
use knowledge::index::exact::Exact;
use knowledge::index::segments::Segments;
use knowledge::index::{Embedder, Error, Filter, Hit, Index, Optimized, Point};
use knowledge::words;

use crate::sets::labels;
use crate::support::qdrant;

/// Opens the form under test in a folder.
type Open = fn(&Path, Option<Embedder>) -> Result<Box<dyn Index>, Error>;

fn exact(_: &Path, embedder: Option<Embedder>) -> Result<Box<dyn Index>, Error> {
    Ok(Box::new(Exact::in_memory(embedder)))
}

fn segments(folder: &Path, embedder: Option<Embedder>) -> Result<Box<dyn Index>, Error> {
    Ok(Box::new(Segments::open(folder, embedder)?))
}

/// One on the Qdrant that the environment names, which knows the folder's index by its name.
fn cluster(folder: &Path, embedder: Option<Embedder>) -> Result<Box<dyn Index>, Error> {
    let url = qdrant().expect("it is asked for where there is one");
    let server = Arc::new(Server::new(&url, None)?);
    Ok(Box::new(Cluster::open(&server, folder, embedder)?))
}

/// Runs rules of the contract against a form of index.
macro_rules! contract {
    ($form:ident: $($rule:ident),* $(,)?) => {
        $(#[test] fn $rule() { super::$rule(super::$form); })*
    };
}

/// Runs each rule of the contract against each form, and those about files against those that have some.
macro_rules! contracts {
    (all: { $($rule:ident),* $(,)? } in_files: { $($of_files:ident),* $(,)? }) => {
        mod in_memory {
            contract!(exact: $($rule),*);
        }
        mod in_segments {
            contract!(segments: $($rule),*);
            contract!(segments: $($of_files),*);
        }
        /// One test, so that without a Qdrant one line says so.
        #[test]
        fn in_cluster() {
            if qdrant().is_some() {
                $($rule(cluster);)*
                $($of_files(cluster);)*
            }
        }
    };
}

contracts!(
    all: {
        nearest_are_the_nearest_and_come_first,
        terms_find_what_has_them_and_nothing_else,
        rare_terms_count_more,
        filters_choose,
        what_is_put_in_again_replaces,
        what_is_removed_is_found_no_more,
        a_passage_may_have_no_vector_or_no_terms,
        an_index_without_an_embedder_takes_no_vectors,
        a_vector_of_another_length_is_refused_and_changes_nothing,
        numbers_are_listed_in_pages,
        tidying_keeps_every_answer,
        an_empty_index_answers,
    }
    in_files: {
        what_was_flushed_is_there_after_opening_again,
        another_embedder_is_refused_with_the_way_out,
        a_second_opening_is_refused,
    }
);

fn embedder() -> Option<Embedder> {
    Some(Embedder { name: "test".to_owned(), dimension: 4 })
}

fn point(id: u64, dense: [f32; 4], text: &str) -> Point {
    Point {
        id,
        dense: Some(dense.to_vec()),
        sparse: words::passage(text),
        labels: labels("notes", id / 10, &format!("notes/{}.md", id / 10)),
    }
}

fn ids(hits: &[Hit]) -> Vec<u64> {
    hits.iter().map(|hit| hit.id).collect()
}

fn by_terms(index: &dyn Index, text: &str, filter: &Filter) -> Vec<u64> {
    ids(&index.lexical(&words::query(text), filter, 10).unwrap())
}

fn with(open: Open, run: impl FnOnce(&dyn Index)) {
    let folder = tempfile::tempdir().unwrap();
    run(open(folder.path(), embedder()).unwrap().as_ref());
}

/// Three passages that differ in every way.
fn three() -> Vec<Point> {
    vec![
        point(11, [1.0, 0.0, 0.0, 0.0], "the copper mine"),
        point(12, [0.8, 0.6, 0.0, 0.0], "the zinc mine"),
        point(21, [0.0, 0.0, 1.0, 0.0], "a silver river"),
    ]
}

fn nearest_are_the_nearest_and_come_first(open: Open) {
    with(open, |index| {
        index.upsert(three()).unwrap();
        for find in [Index::nearest, Index::nearest_exact] {
            // The length of a vector means nothing.
            let hits = find(index, &[5.0, 0.0, 0.0, 0.0], &Filter::default(), 2).unwrap();
            assert_eq!(ids(&hits), [11, 12]);
            assert!((hits[0].score - 1.0).abs() < 0.02, "{hits:?}");
            assert!((hits[1].score - 0.8).abs() < 0.02, "{hits:?}");
        }
    });
}

fn terms_find_what_has_them_and_nothing_else(open: Open) {
    with(open, |index| {
        index.upsert(three()).unwrap();
        assert_eq!(by_terms(index, "zinc", &Filter::default()), [12]);
        assert_eq!(by_terms(index, "mines", &Filter::default()).len(), 2);
        assert!(by_terms(index, "gold", &Filter::default()).is_empty());
        assert!(by_terms(index, "", &Filter::default()).is_empty());
    });
}

fn rare_terms_count_more(open: Open) {
    with(open, |index| {
        let mut points: Vec<Point> =
            (100..120).map(|id| point(id, [0.0, 1.0, 0.0, 0.0], "common words")).collect();
        points.push(point(200, [0.0, 1.0, 0.0, 0.0], "rare words"));
        index.upsert(points).unwrap();
        assert_eq!(by_terms(index, "common rare", &Filter::default())[0], 200);
        // The score is BM25's: the weight of the passage's term times how rare the term is among 21.
        let sparse = words::passage("rare words");
        let term = words::term_id("rare");
        let weight = sparse.terms.iter().find(|entry| entry.0 == term).unwrap().1;
        let wanted = weight * (1.0_f32 + (21.0 - 1.0 + 0.5) / (1.0 + 0.5)).ln();
        let hits = index.lexical(&words::query("rare"), &Filter::default(), 1).unwrap();
        assert!((hits[0].score - wanted).abs() < 0.02, "{} instead of {wanted}", hits[0].score);
    });
}

fn filters_choose(open: Open) {
    with(open, |index| {
        let mut points = Vec::new();
        for (id, collection, path, modified_s) in [
            (1, "notes", "home/notes/a.md", 100),
            (2, "notes", "home/notes/sub/b.pdf", 200),
            (3, "mail", "home/notesX/c.md", 300),
        ] {
            let mut point = point(id, [1.0, 0.0, 0.0, 0.0], "zinc");
            point.labels = labels(collection, id + 1000, path);
            point.labels.modified_s = modified_s;
            points.push(point);
        }
        index.upsert(points).unwrap();
        let some = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        for (filter, wanted) in [
            (Filter::default(), vec![1, 2, 3]),
            (Filter { collections: some(&["notes"]), ..Filter::default() }, vec![1, 2]),
            (Filter { collections: some(&["notes", "mail"]), ..Filter::default() }, vec![1, 2, 3]),
            (Filter { files: vec![1001, 1003], ..Filter::default() }, vec![1, 3]),
            (Filter { folders: some(&["home/notes"]), ..Filter::default() }, vec![1, 2]),
            (Filter { folders: some(&["home/notes/"]), ..Filter::default() }, vec![1, 2]),
            (
                Filter {
                    folders: some(&["home/notes/sub", "home/notesX/c.md"]),
                    ..Filter::default()
                },
                vec![2, 3],
            ),
            (Filter { folders: some(&["other"]), ..Filter::default() }, vec![]),
            (Filter { kinds: some(&["md"]), ..Filter::default() }, vec![1, 3]),
            (Filter { modified_s: Some(200..300), ..Filter::default() }, vec![2]),
            (
                Filter { kinds: some(&["md"]), collections: some(&["mail"]), ..Filter::default() },
                vec![3],
            ),
        ] {
            let dense = index.nearest(&[1.0, 0.0, 0.0, 0.0], &filter, 10).unwrap();
            for found in [ids(&dense), by_terms(index, "zinc", &filter)] {
                assert_eq!(
                    BTreeSet::from_iter(found),
                    BTreeSet::from_iter(wanted.clone()),
                    "{filter:?}"
                );
            }
            assert_eq!(index.count(&filter).unwrap(), wanted.len() as u64, "{filter:?}");
        }
    });
}

fn what_is_put_in_again_replaces(open: Open) {
    with(open, |index| {
        index.upsert(three()).unwrap();
        let mut changed = point(11, [0.0, 0.0, 0.0, 1.0], "cobalt");
        changed.labels.kind = "pdf".to_owned();
        index.upsert(vec![changed]).unwrap();
        assert_eq!(index.count(&Filter::default()).unwrap(), 3);
        assert!(by_terms(index, "copper", &Filter::default()).is_empty());
        assert_eq!(by_terms(index, "cobalt", &Filter::default()), [11]);
        let hits = index.nearest(&[0.0, 0.0, 0.0, 1.0], &Filter::default(), 1).unwrap();
        assert_eq!(ids(&hits), [11]);
        let pdf = Filter { kinds: vec!["pdf".to_owned()], ..Filter::default() };
        assert_eq!(index.count(&pdf).unwrap(), 1);
    });
}

fn what_is_removed_is_found_no_more(open: Open) {
    with(open, |index| {
        index.upsert(three()).unwrap();
        index.remove(&[11, 999]).unwrap();
        assert_eq!(index.ids(None, 10).unwrap(), [12, 21]);
        assert_eq!(by_terms(index, "mine", &Filter::default()), [12]);
        index.remove_files(&[2, 77]).unwrap();
        assert_eq!(index.ids(None, 10).unwrap(), [12]);
        let hits = index.nearest(&[0.0, 0.0, 1.0, 0.0], &Filter::default(), 10).unwrap();
        assert_eq!(ids(&hits), [12]);
        index.remove(&[]).unwrap();
        index.remove_files(&[]).unwrap();
        assert_eq!(index.count(&Filter::default()).unwrap(), 1);
    });
}

fn a_passage_may_have_no_vector_or_no_terms(open: Open) {
    with(open, |index| {
        let mut without_vector = point(1, [0.0; 4], "zinc");
        without_vector.dense = None;
        let without_terms = point(2, [1.0, 0.0, 0.0, 0.0], "");
        index.upsert(vec![without_vector, without_terms]).unwrap();
        assert_eq!(by_terms(index, "zinc", &Filter::default()), [1]);
        let hits = index.nearest(&[1.0, 0.0, 0.0, 0.0], &Filter::default(), 10).unwrap();
        assert_eq!(ids(&hits), [2]);
        assert_eq!(index.ids(None, 10).unwrap(), [1, 2]);
        // The vector may come later.
        index.upsert(vec![point(1, [1.0, 0.0, 0.0, 0.0], "zinc")]).unwrap();
        let hits = index.nearest(&[1.0, 0.0, 0.0, 0.0], &Filter::default(), 10).unwrap();
        assert_eq!(hits.len(), 2);
    });
}

fn what_was_flushed_is_there_after_opening_again(open: Open) {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..3_u64 {
        let index = open(folder.path(), embedder()).unwrap();
        assert_eq!(index.count(&Filter::default()).unwrap(), round * 3);
        let mut points = three();
        points.iter_mut().for_each(|point| point.id += round * 100);
        index.upsert(points).unwrap();
        index.flush().unwrap();
    }
    let index = open(folder.path(), embedder()).unwrap();
    index.remove(&[11]).unwrap();
    index.flush().unwrap();
    drop(index);
    let index = open(folder.path(), embedder()).unwrap();
    assert_eq!(index.ids(None, 100).unwrap(), [12, 21, 111, 112, 121, 211, 212, 221]);
    assert_eq!(by_terms(index.as_ref(), "copper", &Filter::default()).len(), 2);
    let hits = index.nearest(&[1.0, 0.0, 0.0, 0.0], &Filter::default(), 2).unwrap();
    assert_eq!(BTreeSet::from_iter(ids(&hits)), BTreeSet::from([111, 211]));
}

fn an_index_without_an_embedder_takes_no_vectors(open: Open) {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path(), None).unwrap();
    let refused = index.upsert(three()).unwrap_err();
    assert!(matches!(refused, Error::Dimension { wanted: 0, got: 4 }), "{refused}");
    let points = three().into_iter().map(|point| Point { dense: None, ..point });
    index.upsert(points.collect()).unwrap();
    assert_eq!(by_terms(index.as_ref(), "zinc", &Filter::default()), [12]);
}

fn another_embedder_is_refused_with_the_way_out(open: Open) {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path(), embedder()).unwrap());
    let other = |name: &str, dimension| Some(Embedder { name: name.to_owned(), dimension });
    for wanted in [other("test", 8), other("better", 4), None] {
        let refused = open(folder.path(), wanted).err().unwrap();
        assert!(matches!(refused, Error::Different { .. }), "{refused}");
        let words = refused.to_string();
        assert!(
            words.contains("test (4 numbers)") && words.contains("make the index anew"),
            "{words}"
        );
    }
    open(folder.path(), embedder()).unwrap();
}

fn a_vector_of_another_length_is_refused_and_changes_nothing(open: Open) {
    with(open, |index| {
        let mut points = three();
        points[1].dense = Some(vec![1.0; 5]);
        assert!(matches!(index.upsert(points), Err(Error::Dimension { wanted: 4, got: 5 })));
        assert_eq!(index.count(&Filter::default()).unwrap(), 0);
        let refused = index.nearest(&[1.0; 3], &Filter::default(), 1);
        assert!(matches!(refused, Err(Error::Dimension { wanted: 4, got: 3 })));
    });
}

fn a_second_opening_is_refused(open: Open) {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path(), embedder()).unwrap();
    assert!(matches!(open(folder.path(), embedder()), Err(Error::InUse { .. })));
    drop(first);
    open(folder.path(), embedder()).unwrap();
}

fn numbers_are_listed_in_pages(open: Open) {
    with(open, |index| {
        index
            .upsert((1..=25).rev().map(|id| point(id, [1.0, 0.0, 0.0, 0.0], "zinc")).collect())
            .unwrap();
        let mut all = Vec::new();
        let mut after = None;
        loop {
            let page = index.ids(after, 10).unwrap();
            let Some(&last) = page.last() else { break };
            assert!(page.len() <= 10);
            all.extend(page);
            after = Some(last);
        }
        assert_eq!(all, (1..=25).collect::<Vec<u64>>());
        assert!(index.ids(Some(u64::MAX), 10).unwrap().is_empty());
    });
}

/// Enough passages that an index which tidies by size has something to do.
fn tidying_keeps_every_answer(open: Open) {
    with(open, |index| {
        const PASSAGES: u64 = 3000;
        let passage = |id: u64| {
            // Two circles at speeds without a common measure, so that no two passages are too near to tell apart.
            let (one, other) = (id as f32 * 0.618, id as f32 * 0.414);
            point(
                id,
                [one.cos(), one.sin(), other.cos(), other.sin()],
                &format!("number {id} of zinc"),
            )
        };
        for from in (1..=PASSAGES).step_by(500) {
            index.upsert((from..from + 500).map(passage).collect()).unwrap();
        }
        index.remove(&(1..=1000).collect::<Vec<_>>()).unwrap();
        let stop = AtomicBool::new(true);
        index.optimize(&stop).unwrap();
        let stop = AtomicBool::new(false);
        assert_eq!(index.optimize(&stop).unwrap(), Optimized::Whole);
        index.flush().unwrap();
        assert_eq!(index.count(&Filter::default()).unwrap(), 2000);
        assert_eq!(by_terms(index, "2500", &Filter::default()), [2500]);
        assert!(by_terms(index, "500", &Filter::default()).is_empty());
        let asked = passage(2500).dense.unwrap();
        let hits = index.nearest(&asked, &Filter::default(), 5).unwrap();
        assert_eq!(hits[0].id, 2500, "{hits:?}");
        let one_file = Filter { files: vec![250], ..Filter::default() };
        assert_eq!(index.nearest(&asked, &one_file, 20).unwrap().len(), 10);
        // After it, changes go on as before.
        index.upsert(vec![point(9999, [0.0, 0.0, 1.0, 0.0], "selenium")]).unwrap();
        index.remove(&[2500]).unwrap();
        assert_eq!(by_terms(index, "selenium", &Filter::default()), [9999]);
        assert!(by_terms(index, "2500", &Filter::default()).is_empty());
    });
}

fn an_empty_index_answers(open: Open) {
    with(open, |index| {
        assert!(index.nearest(&[1.0, 0.0, 0.0, 0.0], &Filter::default(), 5).unwrap().is_empty());
        assert!(by_terms(index, "zinc", &Filter::default()).is_empty());
        assert_eq!(index.count(&Filter::default()).unwrap(), 0);
        assert!(index.ids(None, 5).unwrap().is_empty());
        assert_eq!(index.optimize(&AtomicBool::new(false)).unwrap(), Optimized::Whole);
        index.flush().unwrap();
    });
}
