//! How well passages are found, as one table.
//!
//! Terms alone need nothing. For meaning, name an embedder: `RESIDENT_EMBEDDER=http://127.0.0.1:11434/v1/embeddings`
//! and `RESIDENT_EMBEDDER_MODEL`; what it makes of the sets is kept below `target`. `RETRIEVAL_PASSAGES_MAX=700` makes
//! that quicker, with the passages that answer something and so many others, which is an easier task.

#![expect(clippy::print_stdout, reason = "a bench prints its table")]
#![expect(clippy::unwrap_used, reason = "a bench fails where it cannot measure")]

#[path = "retrieval/hub.rs"]
mod hub;
#[path = "../tests/it/sets.rs"]
mod sets;

use std::collections::HashSet;
use std::time::Instant;

use hub::Hub;
use knowledge::index::{Embedder, Filter, Hit, Index};
use knowledge::limits::LEG_HITS;
use knowledge::search::{Embed, Failed, Known, Passage, Passages, Request, Searcher, fuse::fuse};
use knowledge::words;
use sets::{CUTOFF, Set, Text};

fn main() {
    println!("{:<10}{:<26}{:>8}{:>8}{:>10}", "set", "by", "nDCG@10", "wanted", "query ms");
    let sets = [("scifact", 0.68, Some(0.71)), ("cmrc", 0.97, None), ("drcd", 0.97, None)];
    let mut by_terms = Vec::new();
    for (name, wanted, _) in sets {
        let Some(set) = Set::load(name) else { continue };
        let index = set.indexed(None, None);
        by_terms.push(row(&set, name, "terms", Some(wanted), |_, query| {
            index.lexical(&words::query(&query.text), &Filter::default(), CUTOFF).unwrap()
        }));
    }
    let set = Set::identifiers();
    let missed = set.missed(&set.indexed(None, None)).len();
    println!(
        "identifiers and numbers: {} of {} found first",
        set.queries.len() - missed,
        set.queries.len()
    );

    let Some(hub) = Hub::from_environment() else {
        return println!("meaning was not measured: RESIDENT_EMBEDDER names no embedder");
    };
    let known = Known::examine(&hub).unwrap();
    println!("{} understands {known:?}", hub.name());
    // DRCD is as CMRC, and costs as much again.
    for ((name, _, wanted), by_terms) in sets.into_iter().zip(by_terms).take(2) {
        let mut set = Set::load(name).unwrap();
        let mut by_terms = by_terms;
        if let Some(most) =
            std::env::var("RETRIEVAL_PASSAGES_MAX").ok().and_then(|most| most.parse().ok())
        {
            trim(&mut set, most);
            let index = set.indexed(None, None);
            by_terms = row(
                &set,
                name,
                &format!("terms, {} passages", set.passages.len()),
                None,
                |_, query| {
                    index.lexical(&words::query(&query.text), &Filter::default(), CUTOFF).unwrap()
                },
            );
        }
        with_meaning(&set, name, &hub, &known, wanted.unwrap_or(by_terms - 0.01));
    }
}

/// Leaves the passages that answer something, and others until there are `most`.
fn trim(set: &mut Set, most: usize) {
    let answers: HashSet<&String> = set.answers.values().flatten().collect();
    let mut others = most.saturating_sub(answers.len());
    set.passages.retain(|passage| {
        let is_answer = answers.contains(&passage.id);
        if !is_answer && others > 0 {
            others -= 1;
            return true;
        }
        is_answer
    });
}

/// A set by its vectors alone, by both legs as they come, and by a search as the hub does it.
fn with_meaning(set: &Set, name: &str, hub: &Hub, known: &Known, wanted: f64) {
    let vectors = hub.vectors(&format!("{name}.{}", set.passages.len()), &set.passages);
    let questions = hub.vectors(&format!("{name}.queries"), &set.queries);
    let embedder = Embedder { name: hub.name().to_owned(), dimension: hub.dimension() };
    let index = set.indexed(Some(embedder), Some(&vectors));
    let dense =
        |at: usize, limit| index.nearest(&questions[at], &Filter::default(), limit).unwrap();
    row(set, name, "meaning", None, |at, _| dense(at, CUTOFF));
    row(set, name, "both, without the guard", None, |at, query| {
        let lexical =
            index.lexical(&words::query(&query.text), &Filter::default(), LEG_HITS).unwrap();
        fuse(&[(&dense(at, LEG_HITS), 1.0), (&lexical, 1.0)])
    });
    let asked = Asked { hub, set, questions: &questions };
    let searcher = Searcher {
        index: &index,
        passages: &Shelf(set),
        embedder: Some((&asked, known)),
        reranker: None,
    };
    row(set, name, "search", Some(wanted), |_, query| {
        let request = Request {
            query: &query.text,
            filter: Filter::default(),
            glob: None,
            limit: CUTOFF,
            per_file_max: CUTOFF,
            neighbours: 0,
        };
        let found = searcher.search(&request).unwrap().found;
        found.into_iter().map(|found| Hit { id: found.passage.id, score: found.score }).collect()
    });
}

/// Prints a row of the table, and returns its measure.
fn row(
    set: &Set,
    name: &str,
    by: &str,
    wanted: Option<f64>,
    find: impl FnMut(usize, &Text) -> Vec<Hit>,
) -> f64 {
    let start = Instant::now();
    let found = set.score(find);
    let query_ms = start.elapsed().as_secs_f64() * 1e3 / set.queries.len() as f64;
    let wanted = wanted.map_or_else(String::new, |wanted| format!("{wanted:.3}"));
    println!("{name:<10}{by:<26}{found:>8.4}{wanted:>8}{query_ms:>10.2}");
    found
}

/// The embedder with the vectors of the questions at hand.
struct Asked<'a> {
    hub: &'a Hub,
    set: &'a Set,
    questions: &'a [Vec<f32>],
}

impl Embed for Asked<'_> {
    fn name(&self) -> &str {
        self.hub.name()
    }
    fn dimension(&self) -> usize {
        self.hub.dimension()
    }
    fn tokens_max(&self) -> usize {
        self.hub.tokens_max()
    }
    fn count_tokens(&self, texts: &[&str]) -> Result<Vec<usize>, Failed> {
        self.hub.count_tokens(texts)
    }
    fn embed(
        &self,
        texts: &[&str],
        _: knowledge::search::Purpose,
    ) -> Result<Vec<Vec<f32>>, Failed> {
        let vector = |text: &&str| {
            let at = self.set.queries.iter().position(|query| query.text == *text);
            at.map(|at| self.questions[at].clone())
                .ok_or_else(|| Failed("no question of the set".to_owned()))
        };
        texts.iter().map(vector).collect()
    }
}

/// The set's own passages, each a file of its own.
struct Shelf<'a>(&'a Set);

impl Passages for Shelf<'_> {
    fn load(&self, ids: &[u64]) -> Result<Vec<Passage>, Failed> {
        let passage = |&id: &u64| {
            let text = &self.0.passages[usize::try_from(id).unwrap()];
            Passage { id, file: id, path: text.id.clone(), text: text.text.clone() }
        };
        Ok(ids.iter().map(passage).collect())
    }
    fn neighbours(&self, _: u64, _: u32, _: u32) -> Result<Vec<Passage>, Failed> {
        Ok(Vec::new())
    }
}
