//! The right to use a loaded model, and the ticket that every request holds from its wait to its
//! end.

use std::{sync::Arc, time::Duration};

use planner::fleet::{Priority, RequestId, WorkerId};
use tokio::{sync::mpsc, time::timeout};
use worker_protocol::{Command, Embed, Failure, FailureKind, Generate, Loaded, Prompt, Rank};

use crate::{
    answer::Answer,
    assignment::Opened,
    foreign::{Delivered, Errand},
    limits::LOST_WAIT_MAX,
    link::Link,
    model::Kept,
    senses,
};

/// How a model is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// Who comes first when several wait for memory.
    pub priority: Priority,
    /// How long the model is to stay idle after this request, instead of what holds for it; zero
    /// lets it go with its last user.
    pub keep_alive: Option<Duration>,
}

/// A person waits, and nothing special holds.
impl Default for Wish {
    fn default() -> Self {
        Self { priority: Priority::Interactive, keep_alive: None }
    }
}

/// The right to use a loaded model. While it or a clone or an [`Answer`] of it exists, the model
/// is not unloaded, except by the operator's hand or at shutdown.
#[derive(Debug, Clone)]
pub struct Lease {
    held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    grant: Grant,
    /// What a library knows of the model.
    kept: Option<Arc<Kept>>,
    /// Released when the last clone is dropped.
    _ticket: Ticket,
}

/// What the run loop gives to a request that may go on.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub(crate) worker: WorkerId,
    pub(crate) link: Arc<Link>,
    pub(crate) opened: Arc<Opened>,
}

/// One request, waiting or leased. Dropping it tells the run loop that the request ended; its
/// place in that queue was taken at the start, so that this never waits and never fails.
#[derive(Debug)]
pub(crate) struct Ticket {
    request: RequestId,
    ended: Option<mpsc::OwnedPermit<RequestId>>,
}

impl Lease {
    pub(crate) fn new(grant: Grant, ticket: Ticket, kept: Option<Arc<Kept>>) -> Self {
        Self { held: Arc::new(Held { grant, kept, _ticket: ticket }) }
    }

    /// What our worker said about the model; a foreign engine says nothing of the kind.
    #[must_use]
    pub fn loaded(&self) -> Option<&Loaded> {
        self.held.grant.opened.loaded.as_deref()
    }

    /// Context that all its requests share, where the engine says so.
    #[must_use]
    pub fn context_tokens(&self) -> Option<u32> {
        self.held.grant.opened.context_tokens
    }

    /// Asks for text, with what the model has for requests that do not say otherwise. The answer's first
    /// event says so if the worker is gone or overloaded.
    #[must_use]
    pub fn generate(&self, mut generate: Generate) -> Answer {
        if let Some(kept) = &self.held.kept {
            kept.habits.fill_in(&mut generate);
        }
        if let Some(failure) = senses::lacking(self.loaded(), &generate.prompt) {
            return Answer::refused(self.clone(), failure);
        }
        Answer::begin(self.clone(), |request| Command::Generate { request, generate })
    }

    /// Asks for embeddings. The answer's first event says so if the worker is gone or overloaded.
    #[must_use]
    pub fn embed(&self, embed: Embed) -> Answer {
        Answer::begin(self.clone(), |request| Command::Embed { request, embed })
    }

    /// Asks how well documents answer a query. The answer's first event says so if the model does not
    /// rank, and if the worker is gone or overloaded.
    #[must_use]
    pub fn rank(&self, rank: Rank) -> Answer {
        match self.loaded() {
            Some(loaded) if !loaded.ranks => {
                Answer::refused(self.clone(), cannot_rank(&loaded.architecture))
            }
            Some(_) | None => {
                Answer::begin(self.clone(), |request| Command::Rank { request, rank })
            }
        }
    }

    /// Asks how many tokens a prompt has, which computes nothing. The answer is one event: `Finished`,
    /// whose usage says it, or `Failed`, also where the engine has no word for it.
    #[must_use]
    pub fn count(&self, mut prompt: Prompt) -> Answer {
        if let Some(kept) = &self.held.kept {
            kept.habits.begin(&mut prompt);
        }
        if let Some(failure) = senses::lacking(self.loaded(), &prompt) {
            return Answer::refused(self.clone(), failure);
        }
        if self.held.grant.opened.counts {
            return Answer::begin(self.clone(), |request| Command::Count { request, prompt });
        }
        Answer::refused(self.clone(), cannot_count())
    }

    /// Has a server do work whose answer is bytes, and waits until it has agreed.
    ///
    /// # Errors
    /// The engine does no such work, or the server refuses.
    pub async fn run(&self, errand: Errand) -> Result<Delivered, Failure> {
        match &self.held.grant.opened.errands {
            Some(errands) => errands.run(self.clone(), errand).await,
            None => {
                let message = "this model reads and writes text only; ask one that hears or speaks";
                Err(Failure { kind: FailureKind::Invalid, message: message.to_owned() })
            }
        }
    }

    pub(crate) fn worker(&self) -> WorkerId {
        self.held.grant.worker
    }

    pub(crate) fn link(&self) -> &Link {
        &self.held.grant.link
    }

    /// Why the worker is gone.
    pub(crate) fn failure(&self) -> Failure {
        self.link().closed().map_or_else(
            || Failure {
                kind: FailureKind::Broken,
                message: "the model's worker is going away; send the request again".to_owned(),
            },
            |closed| closed.failure,
        )
    }

    /// Whether the worker ended by itself. One that is about to end is waited for, since until then
    /// the next request would be sent to it too.
    pub(crate) async fn has_died(&self) -> bool {
        let end = timeout(LOST_WAIT_MAX, self.link().end()).await;
        end.ok().flatten().is_some_and(|closed| closed.unasked)
    }
}

fn cannot_rank(architecture: &str) -> Failure {
    let message = format!(
        "this model of architecture {architecture} has no head for ranking; ask a reranker, such as \
         bge-reranker-v2-m3 or qwen3-reranker-0.6b"
    );
    Failure { kind: FailureKind::Invalid, message }
}

/// What is said for an engine that has no word for counting.
pub(crate) fn cannot_count() -> Failure {
    let message = "the engine of this model cannot count tokens; ask a model that the built-in worker \
                   serves, or send the request itself, whose answer says how many there were";
    Failure { kind: FailureKind::Invalid, message: message.to_owned() }
}

impl Ticket {
    pub(crate) fn new(request: RequestId, ended: mpsc::OwnedPermit<RequestId>) -> Self {
        Self { request, ended: Some(ended) }
    }

    pub(crate) fn request(&self) -> RequestId {
        self.request
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            ended.send(self.request);
        }
    }
}
