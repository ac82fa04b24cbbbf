//! What the library knows of a model: its files, where they are from, and what goes with them.
//!
//! A manifest is a small JSON file. Fields that a later version adds are passed over. Not here: where manifests
//! and blobs lie (`store`), and what files of a source become one (`sources`).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{digest::Sha256, name::Name};

/// A model of this machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// What it is called here.
    pub name: Name,
    /// Where it is from, as the user would write it again: `hf:Qwen/Qwen3-8B-GGUF:Q4_K_M`.
    pub source: String,
    /// What the source calls this state of it: a commit, or the digest of its manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// When it came here, in seconds since 1970.
    pub added_unix_s: u64,
    /// How its weights are encoded, as its source says: `Q4_K_M`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<String>,
    /// Its files: those of the model first, in the order of their parts.
    pub files: Vec<File>,
    /// What goes with the weights.
    #[serde(flatten)]
    pub settings: Settings,
}

/// One file of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// What it is for.
    pub role: Role,
    /// What people call it: a plain file name.
    pub name: String,
    /// Hash of its content, which the blob is called by.
    pub digest: Sha256,
    /// Its length.
    pub bytes: u64,
    /// Where it lies, when that is not in the store: an import that could not be linked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<PathBuf>,
    /// When the file that it was imported from was last written, in nanoseconds since 1970. If it lies there still
    /// (`at`) and was written since, it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified_unix_ns: Option<u64>,
}

/// What a file of a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The weights, or a part of them.
    Model,
    /// What turns pictures or sounds into something that the model reads.
    Projector,
    /// A LoRA adapter.
    Adapter,
    /// A smaller model that guesses ahead.
    Draft,
}

/// What a Modelfile says beside the weights.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The chat template as it was written: Jinja, or Go's as Ollama has it, which [`crate::template`] translates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// What a conversation begins with that has no system message of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Parameters of requests that do not name them, by Ollama's names: `temperature`, `stop`, `num_ctx`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub parameters: Map<String, Value>,
    /// What was said before the first request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<Message>,
    /// Its licences, each a text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub licenses: Vec<String>,
    /// What Ollama would make the prompt with instead of the template; kept to be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renderer: Option<String>,
    /// What Ollama would take answers apart with; kept to be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parser: Option<String>,
    /// The version of Ollama that it asks for; kept to be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires: Option<String>,
}

/// Something that was said before the first request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// The text.
    pub content: String,
}

impl File {
    /// A file that lies in the store.
    #[must_use]
    pub fn new(role: Role, name: impl Into<String>, digest: Sha256, bytes: u64) -> Self {
        Self { role, name: name.into(), digest, bytes, at: None, modified_unix_ns: None }
    }
}

impl Manifest {
    /// Files for `role`, in their order.
    pub fn files_for(&self, role: Role) -> impl Iterator<Item = &File> {
        self.files.iter().filter(move |file| file.role == role)
    }

    /// Length of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum: u64, file| sum.saturating_add(file.bytes))
    }
}
