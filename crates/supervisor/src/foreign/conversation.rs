//! A conversation with a foreign engine: frames for a worker go in, and become exchanges over HTTP
//! whose answers come out as events.
//!
//! Each request is one task with one connection. It delivers no more events than its reader has
//! credit for: while there is none, nothing is read from the server, which makes it wait too.
//! Cancelling drops the connection. Whatever a server does, its request ends with exactly one last
//! event, and the others do not notice.
//!
//! Not here: starting the engine, and deciding that it is ready (whoever runs the task).

mod errand;
mod exchange;
mod probe;
mod tally;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, mpsc},
    task::{AbortHandle, JoinSet},
};
use worker_protocol::{
    Command, Constraint, Event, Failure, FailureKind, FinishReason, Finished, Prompt, RequestId,
    Stats, Usage, frame, limits::EVENT_CREDIT,
};

pub use self::errand::{Delivered, Errand};
pub(crate) use self::probe::served_models;
pub(crate) use self::{errand::Errands, probe::Probed};
use self::{
    exchange::{Reader, Work},
    tally::Tally,
};
use super::pool::Pool;
use crate::{
    engine::{Manner, Ready, Server},
    lease::cannot_count,
    limits,
    link::Link,
};

/// Speaks with the servers of one model.
pub(crate) struct Speaker {
    voice: Arc<Voice>,
}

/// What every exchange needs to know.
struct Voice {
    /// The model's name in the hub, for messages.
    name: String,
    /// The model's name at the servers.
    model: String,
    manner: Manner,
    ready: Ready,
    pool: Pool,
    waits: Waits,
    /// Exchanges that may be under way at once.
    slots: Semaphore,
    tally: Tally,
}

/// How long to wait for a server before it counts as broken. The defaults are in [`limits`]; tests
/// shorten them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Waits {
    /// To connect.
    pub(crate) connect: Duration,
    /// For the next sign of life in the middle of a request.
    pub(crate) silence: Duration,
    /// For a whole probe.
    pub(crate) probe: Duration,
    /// Between two looks at the servers of a pool.
    pub(crate) health: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            connect: limits::CONNECT_WAIT_MAX,
            silence: limits::SILENCE_WAIT_MAX,
            probe: limits::PROBE_WAIT_MAX,
            health: limits::HEALTH_INTERVAL,
        }
    }
}

impl Speaker {
    /// A speaker for the model that the hub calls `name` and, unless the manner has another name,
    /// the servers call `model`.
    ///
    /// # Errors
    /// A server's address or key cannot be used.
    pub(crate) fn new(
        name: &str,
        model: Option<&str>,
        servers: &[Server],
        manner: &Manner,
        ready: &Ready,
        waits: Waits,
    ) -> Result<Self, String> {
        let model = manner.model.as_deref().or(model).unwrap_or(name);
        let voice = Voice {
            name: name.to_owned(),
            model: model.to_owned(),
            manner: manner.clone(),
            ready: ready.clone(),
            pool: Pool::new(servers)?,
            waits,
            slots: Semaphore::new(limits::EXCHANGES_MAX),
            tally: Tally::default(),
        };
        Ok(Self { voice: Arc::new(voice) })
    }

    /// Whether the engine is ready: any of its servers. Everyone that was asked is remembered as
    /// well or not.
    ///
    /// # Errors
    /// Why none is, as a fragment that goes on after "it is not ready: ".
    pub(crate) async fn probe(&self) -> Result<Probed, String> {
        probe::all(&self.voice).await
    }

    /// Where errands to these servers are sent on.
    pub(crate) fn errands(&self) -> Errands {
        Errands(Arc::clone(&self.voice))
    }

    /// Requests that run and wait now, and tokens so far by the servers' own account.
    pub(crate) fn stats(&self) -> Stats {
        self.voice.tally.stats()
    }

    /// Answers what comes in `frames` until nobody can send there any more. Dropping the future ends
    /// every exchange.
    pub(crate) async fn converse(&self, frames: mpsc::Receiver<Vec<u8>>, link: &Arc<Link>) {
        let desk = Desk {
            voice: &self.voice,
            link,
            decoder: frame::Decoder::default(),
            open: BTreeMap::new(),
            tasks: JoinSet::new(),
        };
        desk.serve(frames).await;
    }

    /// Looks after the servers for as long as any of them is well. Returns why none is, as fragments
    /// that begin with each one's name.
    pub(crate) async fn all_down(&self) -> String {
        probe::watch(&self.voice).await
    }
}

/// The requests that are open, and what comes for them.
struct Desk<'a> {
    voice: &'a Arc<Voice>,
    link: &'a Arc<Link>,
    decoder: frame::Decoder,
    open: BTreeMap<RequestId, Open>,
    /// Dropping it ends them all.
    tasks: JoinSet<RequestId>,
}

/// A request that is under way.
struct Open {
    /// Events that its reader has room for.
    credit: Arc<Semaphore>,
    task: AbortHandle,
}

impl Desk<'_> {
    async fn serve(mut self, mut frames: mpsc::Receiver<Vec<u8>>) {
        loop {
            tokio::select! {
                frame = frames.recv() => match frame {
                    Some(frame) => self.take(&frame),
                    None => return,
                },
                Some(ended) = self.tasks.join_next() => match ended {
                    Ok(request) => drop(self.open.remove(&request)),
                    // It was cancelled, or panicked; its reader has been told already.
                    Err(_) => self.open.retain(|_, open| !open.task.is_finished()),
                },
            }
        }
    }

    fn take(&mut self, frame: &[u8]) {
        self.decoder.push(frame);
        loop {
            match self.decoder.take() {
                Ok(Some(command)) => self.obey(command),
                Ok(None) => return,
                // The hub makes these frames itself.
                Err(error) => {
                    tracing::error!(%error, "a frame for an engine was not understood");
                    self.decoder = frame::Decoder::default();
                    return;
                }
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Load(_) => tracing::error!("a foreign engine was told to load a file"),
            Command::Trim => tracing::error!("a foreign engine was told to trim"),
            Command::Generate { request, generate } => {
                self.begin(request, Work::Generate(Box::new(generate)));
            }
            Command::Embed { request, embed } => self.begin(request, Work::Embed(embed)),
            Command::Rank { request, rank } => self.begin(request, Work::Rank(rank)),
            // Its lease refuses it before it comes here.
            Command::Count { request, .. } => {
                self.link.deliver(request, Event::Failed(cannot_count()));
            }
            Command::Cancel { request } => self.cancel(request),
            Command::Credit { request, events } => {
                if let Some(open) = self.open.get(&request) {
                    open.credit.add_permits(events as usize);
                }
            }
        }
    }

    fn begin(&mut self, request: RequestId, work: Work) {
        let credit = Arc::new(Semaphore::new(EVENT_CREDIT as usize));
        let reader =
            Reader::new(Arc::clone(self.link), request, Arc::clone(&credit), &self.voice.name);
        if let Some(failure) = self.voice.refusal(&work) {
            return reader.end(Event::Failed(failure));
        }
        let voice = Arc::clone(self.voice);
        let task = self.tasks.spawn(async move {
            exchange::run(&voice, reader, work).await;
            request
        });
        self.open.insert(request, Open { credit, task });
    }

    fn cancel(&mut self, request: RequestId) {
        if let Some(open) = self.open.remove(&request) {
            let finished = Finished { reason: FinishReason::Cancelled, usage: Usage::default() };
            self.link.deliver(request, Event::Finished(finished));
            open.task.abort();
        }
    }
}

impl Voice {
    /// Why the engine cannot take this at all.
    fn refusal(&self, work: &Work) -> Option<Failure> {
        let manner = &self.manner;
        let holds_to_schemas =
            manner.json_schema && manner.drops.iter().all(|dropped| dropped != "response_format");
        let lacking = match work {
            Work::Generate(generate) => match &generate.prompt {
                _ if matches!(generate.constraint, Some(Constraint::Lark(_))) => {
                    Some("grammars (`grammar`)")
                }
                _ if generate.adapters.is_some() => Some("adapters of a request's own (`lora`)"),
                _ if generate.constraint.is_some() && !holds_to_schemas => {
                    Some("JSON schemas (`response_format`)")
                }
                Prompt::Chat(_) if !manner.chat => Some("chat (`messages`)"),
                Prompt::Chat(chat) if !manner.tools && !chat.tools.is_empty() => Some("`tools`"),
                Prompt::Text(_) | Prompt::Tokens(_) if !manner.completions => {
                    Some("raw completions (`prompt`)")
                }
                Prompt::Infill(_) if !(manner.completions && manner.infill) => {
                    Some("filling in between two texts (`suffix`)")
                }
                Prompt::Chat(_) | Prompt::Text(_) | Prompt::Tokens(_) | Prompt::Infill(_) => None,
            },
            Work::Embed(_) => (!manner.embeddings).then_some("embeddings (`input`)"),
            Work::Rank(_) => manner.rerank.is_none().then_some(
                "ranking (`documents`; `api.rerank` in its settings says where it does)",
            ),
        };
        lacking.map(|field| Failure {
            kind: FailureKind::Invalid,
            message: format!(
                "engine '{}' does not do {field}; ask a model that does, or leave that out",
                self.name
            ),
        })
    }

    /// A failure, said of the engine and the server that it came from.
    fn blame(&self, server: &str, failure: Failure) -> Failure {
        let message = format!("engine '{}' at {server} {}", self.name, failure.message);
        Failure { message, ..failure }
    }
}

#[cfg(test)]
mod tests;
