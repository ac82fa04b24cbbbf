//! The retrieval sets of `../shared/retrieval`, and how good an order of their passages is.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use knowledge::index::exact::Exact;
use knowledge::index::{Embedder, Filter, Hit, Index, Labels, Point};
use knowledge::words;
use serde::Deserialize;

/// How many passages of an answer are looked at.
pub(crate) const CUTOFF: usize = 10;

/// A set of passages and questions, with what answers what.
pub(crate) struct Set {
    pub(crate) passages: Vec<Text>,
    pub(crate) queries: Vec<Text>,
    /// For each question the passages that answer it.
    pub(crate) answers: HashMap<String, HashSet<String>>,
}

/// A passage or a question.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Text {
    pub(crate) id: String,
    pub(crate) text: String,
}

/// The folder with the sets, or nothing, said aloud, where it is absent.
pub(crate) fn folder() -> Option<PathBuf> {
    let shared = std::env::var_os("RESIDENT_SHARED_DIR").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let folder = shared.join("retrieval");
    if folder.is_dir() {
        return Some(folder);
    }
    say_skipped(&folder);
    None
}

#[expect(clippy::print_stderr, reason = "whoever reads the log must see what was not tested")]
fn say_skipped(folder: &Path) {
    eprintln!("skipped: {} is absent; set RESIDENT_SHARED_DIR", folder.display());
}

impl Set {
    /// A set by its name: `scifact`, `cmrc`, `drcd`.
    pub(crate) fn load(name: &str) -> Option<Set> {
        let folder = folder()?;
        let lines = |kind: &str| -> Vec<Text> {
            let text = fs::read_to_string(folder.join(format!("{name}.{kind}.jsonl"))).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        let judgements = fs::read_to_string(folder.join(format!("{name}.qrels.tsv"))).unwrap();
        let mut answers: HashMap<String, HashSet<String>> = HashMap::new();
        for line in judgements.lines() {
            let (query, passage) = line.split_once('\t').unwrap();
            answers.entry(query.to_owned()).or_default().insert(passage.to_owned());
        }
        Some(Set { passages: lines("docs"), queries: lines("queries"), answers })
    }

    /// Passages that differ in their numbers and identifiers alone, and questions that name one as a person would
    /// write it, alone or in a sentence, which is not always as the passage writes it.
    pub(crate) fn identifiers() -> Set {
        let (mut passages, mut queries, mut answers) = (Vec::new(), Vec::new(), HashMap::new());
        for n in 0..60_u32 {
            let (year, month, day) = (2000 + n / 10, 1 + n % 12, 1 + n % 28);
            let (thousands, rest) = (1 + n, (n * 137) % 1000);
            let code = 20_240_000 + n * 13;
            // The same identifier as it is written, and as it is looked for.
            let kinds = [
                (
                    format!("INV-{code}"),
                    vec![format!("inv-{code}"), format!("INV-{code}"), code.to_string()],
                ),
                (format!("{thousands},{rest:03}.50"), vec![format!("{thousands}{rest:03}.50")]),
                (
                    format!("{year}年{month}月{day}日"),
                    vec![
                        format!("{year}-{month:02}-{day:02}"),
                        format!("{year}{month:02}{day:02}"),
                    ],
                ),
                (format!("load{n}Queue{n}Header"), vec![format!("load{n}queue{n}header")]),
                (format!("max_size_{n}_bytes"), vec![format!("MAX_SIZE_{n}_BYTES")]),
                (
                    format!("src/part{n}/main_{n}.rs"),
                    vec![format!("main_{n}.rs"), format!("src/part{n}/main_{n}.rs")],
                ),
                (
                    format!("clerk.{n}@example{n}.com"),
                    vec![format!("Clerk.{n}@example{n}.com"), format!("example{n}.com")],
                ),
                (
                    format!("v{}.{}.{}", n / 50, n % 50, n % 7),
                    vec![format!("{}.{}.{}", n / 50, n % 50, n % 7)],
                ),
                (
                    format!("10.{}.{}.{n}", n % 9, n % 11),
                    vec![format!("10.{}.{}.{n}", n % 9, n % 11)],
                ),
            ];
            for (kind, (written, looked_for)) in kinds.into_iter().enumerate() {
                let id = format!("{kind}-{n}");
                let text = if n % 2 == 0 {
                    format!("The clerk noted {written} in the ledger of the office and closed it.")
                } else {
                    format!("办事员把{written}记入办公室的账簿，然后合上了它。")
                };
                passages.push(Text { id: id.clone(), text });
                for name in looked_for {
                    for text in [
                        name.clone(),
                        format!("where is {name} noted?"),
                        format!("{name}记在哪里？"),
                    ] {
                        let query = format!("q{}", queries.len());
                        answers.insert(query.clone(), HashSet::from([id.clone()]));
                        queries.push(Text { id: query, text });
                    }
                }
            }
        }
        Set { passages, queries, answers }
    }

    /// The questions whose best passage is no answer.
    pub(crate) fn missed(&self, index: &dyn Index) -> Vec<String> {
        let is_missed = |query: &&Text| {
            let hits = index.lexical(&words::query(&query.text), &Filter::default(), 1).unwrap();
            let best = hits.first().map(|hit| &self.passages[usize::try_from(hit.id).unwrap()].id);
            !best.is_some_and(|best| self.answers[&query.id].contains(best))
        };
        self.queries.iter().filter(is_missed).map(|query| query.text.clone()).collect()
    }

    /// The set in an index of its own, with vectors where there are any. A passage's number is its place in the set.
    pub(crate) fn indexed(
        &self,
        embedder: Option<Embedder>,
        vectors: Option<&[Vec<f32>]>,
    ) -> Exact {
        let index = Exact::in_memory(embedder);
        index.upsert(self.points(vectors)).unwrap();
        index
    }

    /// The passages as an index takes them.
    pub(crate) fn points(&self, vectors: Option<&[Vec<f32>]>) -> Vec<Point> {
        let point = |(at, passage): (usize, &Text)| Point {
            id: at as u64,
            dense: vectors.map(|vectors| vectors[at].clone()),
            sparse: words::passage(&passage.text),
            labels: labels("set", at as u64, &format!("{}.txt", passage.id)),
        };
        self.passages.iter().enumerate().map(point).collect()
    }

    /// The mean nDCG@10 of what `find` answers to each question that has an answer.
    pub(crate) fn score(&self, mut find: impl FnMut(usize, &Text) -> Vec<Hit>) -> f64 {
        let (mut sum, mut asked) = (0.0, 0_u32);
        for (at, query) in self.queries.iter().enumerate() {
            let Some(answers) = self.answers.get(&query.id) else { continue };
            let hits = find(at, query);
            let is_answer =
                |hit: &Hit| answers.contains(&self.passages[usize::try_from(hit.id).unwrap()].id);
            let gains = hits.iter().take(CUTOFF).enumerate().filter(|(_, hit)| is_answer(hit));
            let gained: f64 = gains.map(|(rank, _)| discount(rank)).sum();
            let ideal: f64 = (0..answers.len().min(CUTOFF)).map(discount).sum();
            sum += gained / ideal;
            asked += 1;
        }
        sum / f64::from(asked)
    }
}

fn discount(rank: usize) -> f64 {
    1.0 / (rank as f64 + 2.0).log2()
}

/// Labels of which only these matter to a test.
pub(crate) fn labels(collection: &str, file: u64, path: &str) -> Labels {
    Labels {
        collection: collection.to_owned(),
        file,
        kind: path.rsplit('.').next().unwrap_or_default().to_owned(),
        modified_s: 1_700_000_000,
        path: path.to_owned(),
    }
}
