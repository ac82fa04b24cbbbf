//! What the user wrote about models and the servers that run them.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;
use worker_protocol::Scale;

use super::KvCache;

/// One `[models.NAME]`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Model {
    /// Its GGUF file.
    pub(crate) path: Option<PathBuf>,
    /// Its context, in tokens.
    pub(crate) context: Option<u32>,
    /// A preset that says how to start the program that runs it.
    pub(crate) engine: Option<String>,
    /// Program and arguments, instead of a preset.
    pub(crate) command: Option<Vec<String>>,
    /// What the program is to load: a file, a folder or a name.
    pub(crate) model: Option<String>,
    /// Where the preset's program is.
    pub(crate) program: Option<String>,
    /// Further arguments behind those of the preset.
    pub(crate) arguments: Option<Vec<String>>,
    /// Variables of the program.
    pub(crate) environment: Option<BTreeMap<String, String>>,
    /// The hub's own variables that the program gets too.
    pub(crate) environment_from: Option<Vec<String>>,
    /// Memory the program takes, as `6GB`.
    pub(crate) memory: Option<String>,
    /// How to see that it is ready: a path such as `/health`, or `completion`.
    pub(crate) ready: Option<String>,
    /// How long it may take to be ready, as `2m`.
    pub(crate) ready_wait: Option<String>,
    /// How it is told to stop: `terminate` or `interrupt`.
    pub(crate) stop: Option<String>,
    /// How long it may take to stop, as `10s`.
    pub(crate) stop_grace: Option<String>,
    /// How the program's API differs from OpenAI's.
    #[serde(default)]
    pub(crate) api: Api,
    /// Whether it is never stopped for another's sake.
    pub(crate) pin: Option<bool>,
    /// The group it belongs to, or `none`.
    pub(crate) group: Option<String>,
    /// How long it stays when idle, as `1h` or `never`.
    pub(crate) idle_unload: Option<String>,
    /// Where its prefixes are kept.
    pub(crate) kv_cache: Option<KvCache>,
    /// How its keys and values are encoded, as `q8_0`.
    pub(crate) kv_type: Option<String>,
    /// What it guesses ahead from.
    pub(crate) speculation: Option<Speculation>,
    /// The model that guesses for it: a name of the catalogue, or a GGUF file.
    pub(crate) draft: Option<String>,
    /// Guesses in each step, instead of as many as pay.
    pub(crate) draft_tokens: Option<u32>,
    /// LoRA adapters that change it.
    pub(crate) adapters: Option<Vec<Adapter>>,
    /// What turns pictures and sounds into its vectors.
    pub(crate) projector: Option<Projector>,
    /// What is put before a question that it embeds for a person's files.
    pub(crate) query_prefix: Option<String>,
    /// What is put before a passage of a file.
    pub(crate) passage_prefix: Option<String>,
}

/// What turns pictures and sounds into a model's vectors.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(
    untagged,
    expecting = "projector must be a GGUF file such as \"mmproj-F16.gguf\", or false to leave the model to \
                 text"
)]
pub(crate) enum Projector {
    /// Whether the one beside the model is taken.
    Beside(bool),
    /// This file.
    File(PathBuf),
}

/// One of a model's `adapters`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Adapter {
    /// Its GGUF file.
    pub(crate) path: PathBuf,
    /// How strongly it acts; 1 when left out.
    pub(crate) scale: Option<Scale>,
    /// What people call it; the name of its file when left out.
    pub(crate) name: Option<String>,
}

/// What a model guesses ahead from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Speculation {
    /// The model's draft where it has one, else the text
    Auto,
    /// Nothing
    Off,
    /// The text itself, where it repeats
    Lookup,
    /// The text and the model's draft
    Draft,
    /// The text and the model's own layers that guess ahead (multi-token prediction)
    Mtp,
}

/// How a server's API differs from OpenAI's. What is left out is as the preset says.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Api {
    /// Value of `model` in requests.
    pub(crate) model: Option<String>,
    /// Fields that it refuses.
    pub(crate) drops: Option<Vec<String>>,
    /// Whether it answers conversations.
    pub(crate) chat: Option<bool>,
    /// Whether it continues text.
    pub(crate) completions: Option<bool>,
    /// Whether it heeds what follows a gap in a text.
    pub(crate) infill: Option<bool>,
    /// Whether it embeds.
    pub(crate) embeddings: Option<bool>,
    /// Whether it calls tools.
    pub(crate) tools: Option<bool>,
    /// Whether it looks at images.
    pub(crate) images: Option<bool>,
    /// Whether it can be held to a JSON schema.
    pub(crate) json_schema: Option<bool>,
    /// Where it writes down what is said; empty where it does not.
    pub(crate) transcriptions: Option<String>,
    /// Where it says what is written; empty where it does not.
    pub(crate) speech: Option<String>,
    /// Where it says how well documents answer a query; empty where it does not.
    pub(crate) rerank: Option<String>,
    /// Whether documents are called `texts` there.
    pub(crate) rerank_texts: Option<bool>,
    /// Context of its model, in tokens.
    pub(crate) context: Option<u32>,
    /// Where its context is read, as `health.context_window`.
    pub(crate) context_from: Option<String>,
}

/// One `[upstreams.NAME]`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Upstream {
    /// A preset that says what kind of server it is.
    pub(crate) kind: Option<String>,
    /// Where the servers are; several share the requests.
    pub(crate) servers: Option<Vec<String>>,
    /// The variable that holds the key.
    pub(crate) key_variable: Option<String>,
    /// The file that holds the key.
    pub(crate) key_file: Option<PathBuf>,
    /// Read only to say where a key belongs.
    pub(crate) key: Option<String>,
    /// Names that are served through it; all of its own when left out.
    pub(crate) models: Option<ServedNames>,
    /// How its API differs from what its kind says.
    #[serde(default)]
    pub(crate) api: Api,
}

/// Names of an upstream's models.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(
    untagged,
    expecting = "models must be a list of names such as [\"a\", \"b\"], or a table of names here and \
                 there such as { a = \"org/a-8b\" }"
)]
pub(crate) enum ServedNames {
    /// As the server calls them.
    Same(Vec<String>),
    /// By our name, what the server calls each.
    Renamed(BTreeMap<String, String>),
}
