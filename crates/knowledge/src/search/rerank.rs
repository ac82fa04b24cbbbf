//! Whether a model that ranks passages can be believed.
//!
//! Several rerankers give meaningless scores in the engine that runs them, without an error. So a model is asked
//! about pairs whose order is known, in both languages, before it may change any order.

use super::guard::probes;
use super::{Failed, Rerank, Script};
use crate::limits::RERANKED_MAX;

/// A reranker that has shown that it ranks what answers a question above what does not.
pub struct Trusted<'a>(&'a dyn Rerank);

/// Why a reranker is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// It ranked something else above the answer.
    #[error(
        "the reranker {name} is not used: asked {query:?} it ranked {preferred:?} above the answer; \
         name another model, or none"
    )]
    Wrong {
        /// The model.
        name: String,
        /// What it was asked.
        query: String,
        /// What it ranked first.
        preferred: String,
    },
    /// It could not be asked.
    #[error("the reranker {name} could not be examined: {failed}")]
    Failed {
        /// The model.
        name: String,
        /// Why not.
        failed: Failed,
    },
}

impl<'a> Trusted<'a> {
    /// Asks the model about questions with known answers in English and Chinese.
    ///
    /// # Errors
    ///
    /// [`Untrusted`], if it ranks one wrongly or cannot be asked.
    pub fn examine(reranker: &'a dyn Rerank) -> Result<Self, Untrusted> {
        let trusted = Trusted(reranker);
        for script in [Script::Latin, Script::Han] {
            let probes = probes(script);
            let passages: Vec<&str> = probes.iter().map(|&(_, passage)| passage).collect();
            for &(query, answer) in probes {
                let name = || reranker.name().to_owned();
                let scores = trusted
                    .rank(query, &passages)
                    .map_err(|failed| Untrusted::Failed { name: name(), failed })?;
                let best = passages.iter().zip(&scores).max_by(|a, b| a.1.total_cmp(b.1));
                let preferred = best.map_or("", |(&passage, _)| passage);
                if preferred != answer {
                    let (query, preferred) = (query.to_owned(), preferred.to_owned());
                    return Err(Untrusted::Wrong { name: name(), query, preferred });
                }
            }
        }
        Ok(trusted)
    }

    /// A model that has shown it before.
    pub(crate) fn known(reranker: &'a dyn Rerank) -> Self {
        Trusted(reranker)
    }

    /// Puts what was found, best first, into the model's order, with its scores. It reads no more than
    /// [`RERANKED_MAX`]; the rest stays behind those, with no higher scores than theirs.
    ///
    /// # Errors
    ///
    /// When it cannot be asked; then everything is as it was.
    pub(crate) fn order<T>(
        &self,
        query: &str,
        found: &mut [(T, f32)],
        text: impl Fn(&T) -> &str,
    ) -> Result<(), Failed> {
        let (read, rest) = found.split_at_mut(found.len().min(RERANKED_MAX));
        if read.is_empty() {
            return Ok(());
        }
        let texts: Vec<&str> = read.iter().map(|(found, _)| text(found)).collect();
        let scores = self.rank(query, &texts)?;
        read.iter_mut().zip(scores).for_each(|(found, score)| found.1 = score);
        read.sort_by(|a, b| b.1.total_cmp(&a.1));
        let lowest = read.last().map_or(0.0, |found| found.1);
        rest.iter_mut().for_each(|found| found.1 = found.1.min(lowest));
        Ok(())
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// A finite score for each passage.
    pub(super) fn rank(&self, query: &str, passages: &[&str]) -> Result<Vec<f32>, Failed> {
        let scores = self.0.rank(query, passages)?;
        if scores.len() != passages.len() || scores.iter().any(|score| !score.is_finite()) {
            let name = self.0.name();
            return Err(Failed(format!(
                "{name} gave {} scores for {} passages, or some that are no numbers",
                scores.len(),
                passages.len()
            )));
        }
        Ok(scores)
    }
}
