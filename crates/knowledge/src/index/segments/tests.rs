//! The index beside the one that compares everything, and files that are not what they were.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::index::{Labels, exact::Exact};

const DIMENSION: usize = 6;

fn embedder() -> Option<Embedder> {
    Some(Embedder { name: "test".to_owned(), dimension: DIMENSION })
}

fn open(folder: &Path) -> Segments {
    Segments::open(folder, embedder()).unwrap()
}

/// What a history does.
#[derive(Debug, Clone)]
enum Step {
    Upsert(Vec<(u64, u32)>),
    Remove(Vec<u64>),
    RemoveFiles(Vec<u64>),
    Flush,
    Optimize,
    /// The process ends, and what was not flushed with it.
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let id = 1_u64..60;
    prop_oneof![
        4 => prop::collection::vec((id.clone(), any::<u32>()), 1..12).prop_map(Step::Upsert),
        1 => prop::collection::vec(id, 1..8).prop_map(Step::Remove),
        1 => prop::collection::vec(0_u64..8, 1..3).prop_map(Step::RemoveFiles),
        2 => Just(Step::Flush),
        1 => Just(Step::Optimize),
        1 => Just(Step::Reopen),
    ]
}

/// Numbers that can be written with 16 bits, so that nothing is lost.
fn vector(seed: u32) -> Vec<f32> {
    (0..DIMENSION as u32)
        .map(|at| {
            f32::from((seed.wrapping_mul(2_654_435_761).rotate_left(at * 5) % 201) as u8) - 100.0
        })
        .collect()
}

fn point(id: u64, seed: u32) -> Point {
    let words = ["copper", "zinc", "mine", "river", "silver", "tin"];
    let text: Vec<&str> =
        (0..4).map(|at| words[(seed.rotate_right(at * 3) % 6) as usize]).collect();
    Point {
        id,
        dense: (!seed.is_multiple_of(5)).then(|| vector(seed)),
        sparse: crate::words::passage(&text.join(" ")),
        labels: Labels {
            collection: if seed.is_multiple_of(2) { "even" } else { "odd" }.to_owned(),
            file: id % 8,
            kind: "md".to_owned(),
            modified_s: i64::from(seed % 100),
            path: format!("notes/{}.md", id % 8),
        },
    }
}

fn filters() -> Vec<Filter> {
    let collections = vec!["even".to_owned()];
    vec![
        Filter::default(),
        Filter { collections, ..Filter::default() },
        Filter { files: vec![1, 2], modified_s: Some(10..90), ..Filter::default() },
    ]
}

fn is_close(one: &[Hit], other: &[Hit]) {
    let scores = |hits: &[Hit]| hits.iter().map(|hit| hit.score).collect::<Vec<_>>();
    assert_eq!(one.len(), other.len());
    for (one, other) in scores(one).into_iter().zip(scores(other)) {
        assert!((one - other).abs() < 1e-3, "{one} and {other}");
    }
}

fn answers_alike(index: &Segments, exact: &Exact) {
    assert_eq!(index.ids(None, 1000).unwrap(), exact.ids(None, 1000).unwrap());
    assert_eq!(index.ids(Some(20), 5).unwrap(), exact.ids(Some(20), 5).unwrap());
    for filter in filters() {
        assert_eq!(index.count(&filter).unwrap(), exact.count(&filter).unwrap());
        for seed in [3, 1_000_003] {
            let vector = vector(seed);
            let wanted = exact.nearest_exact(&vector, &filter, 10).unwrap();
            is_close(&index.nearest_exact(&vector, &filter, 10).unwrap(), &wanted);
            is_close(&index.nearest(&vector, &filter, 10).unwrap(), &wanted);
        }
        for words in ["zinc", "mines of copper", "gold"] {
            let query = crate::words::query(words);
            let wanted = exact.lexical(&query, &filter, 100).unwrap();
            is_close(&index.lexical(&query, &filter, 100).unwrap(), &wanted);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever was done, and wherever the process ended, it answers as the index that compares everything does.
    #[test]
    fn histories_end_alike(steps in prop::collection::vec(step(), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        let mut index = Some(open(folder.path()));
        let mut now: BTreeMap<u64, Point> = BTreeMap::new();
        let mut flushed = now.clone();
        for step in steps {
            let it = index.as_ref().unwrap();
            match step {
                Step::Upsert(points) => {
                    let points: Vec<Point> = points.into_iter().map(|(id, seed)| point(id, seed)).collect();
                    now.extend(points.iter().map(|point| (point.id, point.clone())));
                    it.upsert(points).unwrap();
                }
                Step::Remove(ids) => {
                    now.retain(|id, _| !ids.contains(id));
                    it.remove(&ids).unwrap();
                }
                Step::RemoveFiles(files) => {
                    now.retain(|_, point| !files.contains(&point.labels.file));
                    it.remove_files(&files).unwrap();
                }
                Step::Flush => {
                    it.flush().unwrap();
                    flushed = now.clone();
                }
                Step::Optimize => {
                    it.optimize(&AtomicBool::new(false)).unwrap();
                    flushed = now.clone();
                }
                Step::Reopen => {
                    drop(index.take());
                    index = Some(open(folder.path()));
                    now = flushed.clone();
                }
            }
        }
        let exact = Exact::in_memory(embedder());
        exact.upsert(now.into_values().collect()).unwrap();
        answers_alike(index.as_ref().unwrap(), &exact);
    }

    /// Bytes that are no list are refused, and never a row that there is not.
    #[test]
    fn any_bytes_are_a_list_or_none(bytes in prop::collection::vec(any::<u8>(), 0..40), count in 0_usize..12) {
        if let Some(list) = postings::Weights::with_step(0.1).decode(&bytes, count, 50) {
            prop_assert_eq!(list.len(), count);
            prop_assert!(list.iter().all(|(row, _)| *row < 50));
        }
    }
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let is_segment =
        |path: &PathBuf| path.extension().is_some_and(|extension| extension == "segment");
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(is_segment).collect()
}

#[test]
fn sizes_are_joined_so_that_few_segments_are_left() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path());
    for batch in 0..20_u64 {
        index.upsert((0..50).map(|at| point(1 + batch * 50 + at, at as u32)).collect()).unwrap();
        index.flush().unwrap();
    }
    assert_eq!(segments(folder.path()).len(), 20);
    assert_eq!(index.optimize(&AtomicBool::new(true)).unwrap(), Optimized::Stopped);
    assert_eq!(index.optimize(&AtomicBool::new(false)).unwrap(), Optimized::Whole);
    assert_eq!(segments(folder.path()).len(), 1);
    assert_eq!(index.count(&Filter::default()).unwrap(), 1000);
    // What is mostly gone is written anew.
    let before = fs::metadata(&segments(folder.path())[0]).unwrap().len();
    index.remove(&(1..=600).collect::<Vec<_>>()).unwrap();
    index.optimize(&AtomicBool::new(false)).unwrap();
    let after = fs::metadata(&segments(folder.path())[0]).unwrap().len();
    assert!(after * 2 < before, "{after} of {before}");
    // And what is gone altogether is not there at all.
    index.remove(&(1..=1000).collect::<Vec<_>>()).unwrap();
    index.flush().unwrap();
    assert!(segments(folder.path()).is_empty());
}

#[test]
fn a_file_that_was_changed_or_cut_is_an_error_and_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path());
    index.upsert((1..300).map(|id| point(id, id as u32)).collect()).unwrap();
    index.flush().unwrap();
    drop(index);
    let path = segments(folder.path()).pop().unwrap();
    let whole = fs::read(&path).unwrap();
    for cut in [0, 10, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..cut]).unwrap();
        let refused = Segments::open(folder.path(), embedder()).err().unwrap();
        assert!(matches!(refused, Error::Damaged { .. }), "{cut}: {refused}");
    }
    // The table, the outline and the end have checksums; lists are checked as they are read.
    let mut failed = 0;
    for at in (0..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        fs::write(&path, &bytes).unwrap();
        match Segments::open(folder.path(), embedder()) {
            Err(refused) => {
                assert!(matches!(refused, Error::Damaged { .. }), "{at}: {refused}");
                failed += 1;
            }
            Ok(index) => {
                for words in ["zinc", "copper", "river"] {
                    let query = crate::words::query(words);
                    failed += u32::from(index.lexical(&query, &Filter::default(), 9).is_err());
                }
                index.nearest(&vector(1), &Filter::default(), 9).unwrap();
            }
        }
    }
    assert!(failed > 0);
    fs::write(&path, &whole).unwrap();
    assert_eq!(open(folder.path()).count(&Filter::default()).unwrap(), 299);
}

#[test]
fn what_a_process_left_behind_is_removed_and_never_read() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path());
    index.upsert(vec![point(1, 1)]).unwrap();
    index.flush().unwrap();
    drop(index);
    let one = segments(folder.path()).pop().unwrap();
    fs::copy(&one, folder.path().join("7.segment")).unwrap();
    fs::write(folder.path().join("8.new"), b"half").unwrap();
    let index = open(folder.path());
    assert_eq!(index.ids(None, 10).unwrap(), [1]);
    assert_eq!(segments(folder.path()), [one]);
    assert!(!folder.path().join("8.new").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path());
    index.upsert(vec![point(1, 1)]).unwrap();
    index.flush().unwrap();
    index.upsert(vec![point(2, 2)]).unwrap();
    // A device that is always full stands where the segment is to be written.
    std::os::unix::fs::symlink("/dev/full", folder.path().join("1.new")).unwrap();
    let refused = index.flush().unwrap_err();
    assert!(matches!(refused, Error::File { .. }), "{refused}");
    assert_eq!(index.ids(None, 10).unwrap(), [1, 2]);
    index.flush().unwrap();
    drop(index);
    assert_eq!(open(folder.path()).ids(None, 10).unwrap(), [1, 2]);
}
