//! What can be served: the wall to whoever knows the models, and what their headers say.
//!
//! Not here: reading the headers (`preflight`).

use std::path::PathBuf;

/// A model that can be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The name that clients use.
    pub name: String,
    /// Its GGUF file.
    pub path: PathBuf,
    /// Length of the file.
    pub file_bytes: u64,
    /// When the file was last changed, in seconds since 1970.
    pub modified_unix_s: u64,
    /// Context to load it with; `None` takes the hub's setting.
    pub context_tokens: Option<u32>,
}

/// Who knows the models. Asked anew for every request, so that a file which appears is served
/// without a restart.
pub trait Models: Send + Sync {
    /// Every model, ordered by name.
    fn list(&self) -> Vec<Model>;
    /// The model of exactly this name.
    fn find(&self, name: &str) -> Option<Model>;
}

/// A model and what its header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSummary {
    /// The name that clients use.
    pub name: String,
    /// Its GGUF file.
    pub path: PathBuf,
    /// Length of the file.
    pub file_bytes: u64,
    /// When the file was last changed, in seconds since 1970.
    pub modified_unix_s: u64,
    /// What the header says, or why the model cannot be used.
    pub facts: Result<Facts, String>,
}

/// What a model's header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// `general.architecture`.
    pub architecture: String,
    /// Number of parameters.
    pub parameters: u64,
    /// Name of the quantization, such as `Q4_K_M`.
    pub quantization: String,
    /// Context it was trained with, in tokens.
    pub context_tokens_trained: Option<u32>,
    /// Context it would be loaded with, in tokens.
    pub context_tokens: u32,
    /// Whether it can answer `Generate`; the others embed.
    pub generates: bool,
    /// Whether it carries a chat template.
    pub chat_template: bool,
    /// Memory it needs when loaded.
    pub needed_bytes: u64,
    /// What that memory is for.
    pub needs: Vec<Need>,
}

/// One line of the memory that a model needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// What it is.
    pub what: String,
    /// How much of it.
    pub bytes: u64,
    /// Where the figure comes from.
    pub why: String,
}
