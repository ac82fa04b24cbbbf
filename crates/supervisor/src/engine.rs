//! What runs a model: our own worker on a file, a program that is started and spoken to over HTTP,
//! or servers that somebody else runs.
//!
//! These are settings, already checked by whoever read them. Not here: starting and stopping
//! (`worker`, `foreign`), reading settings (`resident`).

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc, time::Duration};

use planner::footprint::CacheType;
use worker_protocol::{Adapter, Speculation};

use crate::config::KeepMode;

/// What runs a model.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Engine {
    /// Our own worker, `resident-llama`, on this file.
    Worker(GgufFile),
    /// A program that is started for it and stopped again.
    Command(Arc<ManagedCommand>),
    /// Servers that run already.
    Upstream(Arc<Upstream>),
}

/// A model's file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GgufFile {
    /// Where it is; of a split model, its first part.
    pub path: PathBuf,
    /// Length of the file; of a split model, of all parts.
    pub file_bytes: u64,
    /// When the file was last changed, in seconds since 1970.
    pub modified_unix_s: u64,
    /// Context to load it with; `None` takes the hub's setting.
    pub context_tokens: Option<u32>,
    /// How keys and values are encoded in its cache; `None` takes the hub's setting.
    pub kv_type: Option<CacheType>,
    /// Where its prefixes are kept outside the context; `None` takes the hub's setting.
    pub keep: Option<KeepMode>,
    /// How it guesses ahead.
    pub speculation: Speculation,
    /// What changes its weights.
    pub adapters: Vec<Adapter>,
    /// Its chat template, as Jinja; `None` takes the one in the file.
    pub chat_template: Option<Arc<str>>,
    /// What turns pictures and sounds into its vectors; `None` leaves it to text.
    pub projector: Option<ProjectorFile>,
}

/// The file of what turns pictures and sounds into a model's vectors.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProjectorFile {
    /// Where it is.
    pub path: PathBuf,
    /// Whether the user named it. One that merely lies beside the model and cannot be used leaves the
    /// model to text.
    pub is_named: bool,
}

/// A program that is started, spoken to over HTTP on a port of this machine, and stopped.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ManagedCommand {
    /// Program and arguments, never a shell; `{port}`, `{model}` and `{key}` are replaced inside each
    /// argument.
    pub argv: Vec<String>,
    /// Variables that are added to the few of the hub's that every engine gets. `{key}` is replaced in
    /// their values, by a key that each start gets anew and that the hub then sends with every
    /// request; everybody on this machine can read arguments, so this is the better place for it.
    pub environment: BTreeMap<String, String>,
    /// What `{model}` means, and the value of `model` in requests unless the manner has another.
    pub model: Option<String>,
    /// Memory it is promised to take.
    pub memory_bytes: u64,
    /// How to see that it is ready.
    pub ready: Ready,
    /// From its start until it must be ready.
    pub ready_wait_max: Duration,
    /// How it is told to stop.
    pub stop_signal: StopSignal,
    /// From that signal until it is killed.
    pub stop_grace: Duration,
    /// How to talk to it.
    pub manner: Manner,
}

/// How to see that a server is ready.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Ready {
    /// `GET` of this path gives 200.
    Path(String),
    /// A completion of one token succeeds: for servers that say they are well while they load.
    Completion,
}

/// How a program is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StopSignal {
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
}

/// How a server of OpenAI's API differs from OpenAI.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Manner {
    /// Value of `model` to send; `None` sends the name that the hub uses.
    pub model: Option<String>,
    /// Request fields that it refuses; they are left out.
    pub drops: Vec<String>,
    /// Whether it answers `/v1/chat/completions`.
    pub chat: bool,
    /// Whether it answers `/v1/completions`.
    pub completions: bool,
    /// Whether it heeds `suffix` there; many servers take it and go on as if it were not there.
    pub infill: bool,
    /// Whether it answers `/v1/embeddings`.
    pub embeddings: bool,
    /// Whether it calls tools.
    pub tools: bool,
    /// Whether it looks at images, and perhaps listens to sounds in a conversation.
    pub images: bool,
    /// Whether it can be held to a JSON schema.
    pub json_schema: bool,
    /// Where it takes sound and writes down what is said, as OpenAI's `/v1/audio/transcriptions`.
    pub transcriptions: Option<String>,
    /// Where it takes text and says it, as OpenAI's `/v1/audio/speech`.
    pub speech: Option<String>,
    /// Where it says how well documents answer a query, as Jina's `/v1/rerank`.
    pub rerank: Option<String>,
    /// Whether documents are called `texts` there, as Text Embeddings Inference calls them.
    pub rerank_texts: bool,
    /// Context of its model; `None` is unknown.
    pub context_tokens: Option<u32>,
    /// Where the context is read once it is ready, such as `health.context_window`: the path, then
    /// the field.
    pub context_from: Option<String>,
}

/// Servers that somebody else runs; several form a pool.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Upstream {
    /// At least one.
    pub servers: Vec<Server>,
    /// How to talk to them.
    pub manner: Manner,
    /// How to see that one is well.
    pub health: Ready,
}

/// One server of a pool.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Server {
    /// `http://host:port` or `https://host:port`, without `/v1`.
    pub base_url: String,
    /// What it wants as a bearer token.
    pub key: Option<String>,
}

/// Where a program's settings want the key of its start.
pub(crate) const KEY_PLACE: &str = "{key}";

impl ManagedCommand {
    /// Whether it is told a key, without which it answers nobody.
    pub(crate) fn takes_key(&self) -> bool {
        let mut texts = self.argv.iter().chain(self.environment.values());
        texts.any(|text| text.contains(KEY_PLACE))
    }
}

impl Engine {
    /// Its file, if it is a worker.
    #[must_use]
    pub fn file(&self) -> Option<&GgufFile> {
        match self {
            Self::Worker(file) => Some(file),
            Self::Command(_) | Self::Upstream(_) => None,
        }
    }

    /// How to talk to it, if it is not a worker.
    #[must_use]
    pub fn manner(&self) -> Option<&Manner> {
        match self {
            Self::Worker(_) => None,
            Self::Command(command) => Some(&command.manner),
            Self::Upstream(upstream) => Some(&upstream.manner),
        }
    }

    /// Its kind as people read it: `worker`, `command` or `upstream`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Worker(_) => "worker",
            Self::Command(_) => "command",
            Self::Upstream(_) => "upstream",
        }
    }
}

/// OpenAI's own.
impl Default for Manner {
    fn default() -> Self {
        Self {
            model: None,
            drops: Vec::new(),
            chat: true,
            completions: true,
            infill: false,
            embeddings: true,
            tools: true,
            images: true,
            json_schema: true,
            transcriptions: Some("/v1/audio/transcriptions".to_owned()),
            speech: Some("/v1/audio/speech".to_owned()),
            rerank: None,
            rerank_texts: false,
            context_tokens: None,
            context_from: None,
        }
    }
}

/// A key must not reach a log.
impl fmt::Debug for Server {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.as_ref().map(|_| "...");
        out.debug_struct("Server").field("base_url", &self.base_url).field("key", &key).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_shown() {
        let key = Some("sk-secret".to_owned());
        let server = Server { base_url: "http://lab:8000".to_owned(), key };
        let upstream = Upstream {
            servers: vec![server],
            manner: Manner::default(),
            health: Ready::Path("/health".to_owned()),
        };
        let shown = format!("{:?}", Engine::Upstream(Arc::new(upstream)));
        assert!(shown.contains("http://lab:8000") && !shown.contains("secret"), "{shown}");
    }
}
