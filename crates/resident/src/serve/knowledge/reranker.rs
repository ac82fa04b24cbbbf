//! The fleet's model that ranks, as `knowledge` asks for it: leased like for any other request.

use knowledge::search::{Failed, Rerank};
use supervisor::{Handle, ModelSummary, Priority, Purpose, Served, Wish};
use tokio::runtime;
use worker_protocol::{Event, Rank};

/// The role that ranks where it is configured.
const ROLE: &str = "rerank";

/// A model that ranks, for one question. It blocks, so it is used where blocking is allowed.
pub(super) struct Reranker {
    hub: Handle,
    runtime: runtime::Handle,
    name: String,
}

impl Reranker {
    /// The first model of the role `rerank`, or else one that does nothing but rank, rather one that is in memory; as
    /// `/v1/rerank` has it where no model is named.
    pub(super) fn find(hub: &Handle, runtime: &runtime::Handle) -> Option<Self> {
        let ranks = |model: &ModelSummary| {
            model.facts.as_ref().is_ok_and(|facts| facts.ranks && !facts.generates)
        };
        let name = if hub.is_role(ROLE) {
            hub.candidates(ROLE).into_iter().next()
        } else {
            let all = hub.models().into_iter().filter(ranks).map(|model| model.name);
            let mut all: Vec<String> = all.collect();
            if all.len() > 1 {
                let residents = runtime.block_on(hub.residents());
                let is_resident =
                    |name: &String| residents.iter().any(|resident| resident.name == *name);
                all.sort_by_key(|name| !is_resident(name));
            }
            all.into_iter().next()
        };
        let (hub, runtime) = (hub.clone(), runtime.clone());
        name.map(|name| Self { hub, runtime, name })
    }

    async fn ranked(&self, rank: Rank) -> Result<Vec<f32>, Failed> {
        let wish = Wish { priority: Priority::Interactive, keep_alive: None };
        let served = self.hub.serve(&self.name, Purpose::Rank(&rank), wish, None).await;
        let Served { lease, model: _ } = served.map_err(|error| Failed(error.to_string()))?;
        // What was not said is no number, and is refused by whoever asked.
        let mut scores = vec![f32::NAN; rank.documents.len()];
        let mut answer = lease.rank(rank);
        while let Some(event) = answer.next().await {
            match event {
                Event::Ranked { index, score } => {
                    if let Some(place) = scores.get_mut(index as usize) {
                        *place = score;
                    }
                }
                Event::Finished(_) => return Ok(scores),
                Event::Failed(failure) => {
                    return Err(Failed(format!("{}: {}", self.name, failure.message)));
                }
                Event::Progress { .. }
                | Event::Text(_)
                | Event::Reasoning(_)
                | Event::ToolCall(_)
                | Event::Embedded { .. } => {}
            }
        }
        Err(Failed(format!("{} broke off", self.name)))
    }
}

impl Rerank for Reranker {
    fn name(&self) -> &str {
        &self.name
    }

    fn rank(&self, query: &str, passages: &[&str]) -> Result<Vec<f32>, Failed> {
        let documents = passages.iter().map(|passage| (*passage).to_owned()).collect();
        // A passage that is too long beside the question is read as far as there is room.
        let (query, truncate) = (query.to_owned(), true);
        self.runtime.block_on(self.ranked(Rank {
            query,
            documents,
            truncate,
            document_tokens_max: None,
        }))
    }
}
