//! A question's answer in passages: what is near by meaning and what shares its terms, as one order.
//!
//! Both legs give their best [`LEG_HITS`]; `fuse` makes one order of their ranks, since their scores cannot be
//! compared. The leg of meaning is trusted only for scripts that the embedder was seen to understand (`guard`),
//! because an English embedder gives every Chinese question an answer, and a wrong one. The order may then be refined
//! by a model that reads question and passage together, if it has shown that it can (`rerank`). At last no file takes
//! all places, and passages come with their neighbours.
//!
//! Models and the store of passages are behind traits; nothing here waits for anything but them.

use std::collections::{HashMap, HashSet};

use globset::{GlobBuilder, GlobMatcher};

use crate::index::{self, Filter, Hit, Index};
use crate::limits::{GLOB_ROUNDS_MAX, GLOB_WIDENING, LEG_HITS, RERANKED_MAX};
use crate::words;

pub mod fuse;
pub mod guard;
pub mod rerank;

#[cfg(test)]
mod tests;

pub use guard::{Known, Script};
pub use rerank::Trusted;

/// A model that makes vectors of texts. Blocking; the hub supplies it.
pub trait Embed: Send + Sync {
    /// The model's name, with its version where it has one: another name means other vectors.
    fn name(&self) -> &str;

    /// How many numbers a vector has.
    fn dimension(&self) -> usize;

    /// How many tokens a text may have.
    fn tokens_max(&self) -> usize;

    /// How many tokens each of the texts has.
    ///
    /// # Errors
    ///
    /// When the model cannot be asked.
    fn count_tokens(&self, texts: &[&str]) -> Result<Vec<usize>, Failed>;

    /// A vector for each of the texts, in their order.
    ///
    /// # Errors
    ///
    /// When the model cannot be asked, or a text is too long for it.
    fn embed(&self, texts: &[&str], purpose: Purpose) -> Result<Vec<Vec<f32>>, Failed>;
}

/// What a text is embedded for. Many models want to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To be found.
    Passage,
    /// To find.
    Query,
}

/// A model that reads a question and a passage together. Blocking; the hub supplies it.
pub trait Rerank: Send + Sync {
    /// The model's name.
    fn name(&self) -> &str;

    /// How well each of the passages answers the question, higher is better, in their order.
    ///
    /// # Errors
    ///
    /// When the model cannot be asked, or a text is too long for it.
    fn rank(&self, query: &str, passages: &[&str]) -> Result<Vec<f32>, Failed>;
}

/// Where the texts of passages are.
pub trait Passages: Send + Sync {
    /// The passages with these numbers, in any order. Numbers that are gone are left out.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    fn load(&self, ids: &[u64]) -> Result<Vec<Passage>, Failed>;

    /// The passages of the same file that come before and after this one, in the file's order, without it.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    fn neighbours(&self, id: u64, before: u32, after: u32) -> Result<Vec<Passage>, Failed>;
}

/// A passage as a search needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// Its number.
    pub id: u64,
    /// Its file's number.
    pub file: u64,
    /// Its file's path, as in `index::Labels`.
    pub path: String,
    /// What it says, with the headings that it is read under.
    pub text: String,
}

/// Why a model or the store could not be asked; the words are for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failed(pub String);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The index cannot be searched.
    #[error(transparent)]
    Index(#[from] index::Error),
    /// The passages that were found cannot be read.
    #[error("the passages that were found cannot be read: {0}")]
    Passages(Failed),
    /// The glob is none.
    #[error("{glob:?} is no pattern for paths ({why}): use *, ** and ? as in notes/**/*.md")]
    Glob {
        /// What was given.
        glob: String,
        /// What is wrong with it.
        why: String,
    },
}

/// A question, and what may answer it.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The question.
    pub query: &'a str,
    /// Which passages may answer.
    pub filter: Filter,
    /// Which paths may answer: `*` stays in a folder, `**` does not.
    pub glob: Option<&'a str>,
    /// How many passages are wanted.
    pub limit: usize,
    /// How many of them one file may give.
    pub per_file_max: usize,
    /// How many passages before and after each are given with it.
    pub neighbours: u32,
}

/// What is searched, and with which models.
pub struct Searcher<'a> {
    /// Where passages are found.
    pub index: &'a dyn Index,
    /// Where their texts are.
    pub passages: &'a dyn Passages,
    /// What makes a vector of the question, with the scripts that it was seen to understand.
    pub embedder: Option<(&'a dyn Embed, &'a Known)>,
    /// What refines the order.
    pub reranker: Option<&'a Trusted<'a>>,
}

/// Passages for a question, and how they were found.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The passages, best first.
    pub found: Vec<Found>,
    /// What the leg of meaning did.
    pub meaning: Leg,
    /// What the reranker did.
    pub reranking: Leg,
}

/// A passage that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The passage.
    pub passage: Passage,
    /// What the order is by, to be compared within one answer only.
    pub score: f32,
    /// Its neighbours in the file's order, but for those that were given before or are found themselves.
    pub neighbours: Vec<Passage>,
}

/// Whether a model took part in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leg {
    /// It did.
    Used,
    /// There is none.
    Absent,
    /// It does not understand this script.
    Foreign(Script),
    /// It could not be asked. The answer was found without it.
    Failed(Failed),
}

impl Searcher<'_> {
    /// The passages that answer a question best. Where a model fails the answer is found without it, and says so.
    ///
    /// # Errors
    ///
    /// When the index or the store cannot be read, or the glob is none.
    pub fn search(&self, request: &Request<'_>) -> Result<Answer, Error> {
        let glob = request.glob.map(matcher).transpose()?;
        let (vector, meaning) = self.vector(request.query);
        let terms = words::query(request.query);
        let wanted = request.limit.max(if self.reranker.is_some() { RERANKED_MAX } else { 0 });
        let mut leg_hits = LEG_HITS.max(request.limit);
        let mut rounds = 0;
        loop {
            rounds += 1;
            let lexical = self.index.lexical(&terms, &request.filter, leg_hits)?;
            let dense = match &vector {
                Some(vector) => self.index.nearest(vector, &request.filter, leg_hits)?,
                None => Vec::new(),
            };
            let has_more = lexical.len().max(dense.len()) == leg_hits;
            let fused = fuse::fuse(&[(&dense, 1.0), (&lexical, 1.0)]);
            let candidates = self.load(&fused, glob.as_ref(), request, wanted)?;
            // A glob is not the index's to know: where it takes too much away, more is asked for.
            if glob.is_none()
                || candidates.len() >= wanted
                || !has_more
                || rounds == GLOB_ROUNDS_MAX
            {
                let (order, reranking) = self.refine(request.query, candidates);
                return Ok(Answer { found: self.finish(order, request)?, meaning, reranking });
            }
            leg_hits *= GLOB_WIDENING;
        }
    }

    /// What the question's vector is, if its script is one that the embedder understands.
    fn vector(&self, query: &str) -> (Option<Vec<f32>>, Leg) {
        let Some((embedder, known)) = self.embedder else { return (None, Leg::Absent) };
        if let Some(script) = known.foreign(query) {
            return (None, Leg::Foreign(script));
        }
        match embedder.embed(&[query], Purpose::Query) {
            Ok(vectors) => match vectors.into_iter().next() {
                Some(vector) => (Some(vector), Leg::Used),
                None => (None, Leg::Failed(Failed(format!("{} gave no vector", embedder.name())))),
            },
            Err(failed) => (None, Leg::Failed(failed)),
        }
    }

    /// The best of the fused hits with their texts, as many as are wanted and no more of a file than it may give.
    fn load(
        &self,
        fused: &[Hit],
        glob: Option<&GlobMatcher>,
        request: &Request<'_>,
        wanted: usize,
    ) -> Result<Vec<(Passage, f32)>, Error> {
        let ids: Vec<u64> = fused.iter().map(|hit| hit.id).collect();
        let loaded = self.passages.load(&ids).map_err(Error::Passages)?;
        let mut loaded: HashMap<u64, Passage> =
            loaded.into_iter().map(|passage| (passage.id, passage)).collect();
        let mut of_file: HashMap<u64, usize> = HashMap::new();
        let mut candidates = Vec::new();
        for hit in fused {
            // The store has forgotten what the index has not yet.
            let Some(passage) = loaded.remove(&hit.id) else { continue };
            let count = of_file.entry(passage.file).or_default();
            if *count >= request.per_file_max
                || !glob.is_none_or(|glob| glob.is_match(&passage.path))
            {
                continue;
            }
            *count += 1;
            candidates.push((passage, hit.score));
            if candidates.len() == wanted {
                break;
            }
        }
        Ok(candidates)
    }

    /// The candidates in the reranker's order, as far as it reads them.
    fn refine(
        &self,
        query: &str,
        mut candidates: Vec<(Passage, f32)>,
    ) -> (Vec<(Passage, f32)>, Leg) {
        let Some(reranker) = self.reranker else { return (candidates, Leg::Absent) };
        match reranker.order(query, &mut candidates, |passage| &passage.text) {
            Ok(()) => (candidates, Leg::Used),
            Err(failed) => (candidates, Leg::Failed(failed)),
        }
    }

    fn finish(
        &self,
        mut order: Vec<(Passage, f32)>,
        request: &Request<'_>,
    ) -> Result<Vec<Found>, Error> {
        order.truncate(request.limit);
        let mut given: HashSet<u64> = order.iter().map(|(passage, _)| passage.id).collect();
        let mut found = Vec::with_capacity(order.len());
        for (passage, score) in order {
            let mut neighbours = Vec::new();
            if request.neighbours > 0 {
                neighbours = self
                    .passages
                    .neighbours(passage.id, request.neighbours, request.neighbours)
                    .map_err(Error::Passages)?;
                neighbours.retain(|neighbour| given.insert(neighbour.id));
            }
            found.push(Found { passage, score, neighbours });
        }
        Ok(found)
    }
}

fn matcher(glob: &str) -> Result<GlobMatcher, Error> {
    let built = GlobBuilder::new(glob).literal_separator(true).build();
    let built = built
        .map_err(|error| Error::Glob { glob: glob.to_owned(), why: error.kind().to_string() })?;
    Ok(built.compile_matcher())
}
