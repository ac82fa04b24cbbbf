//! What the user wrote about pulling models.

use serde::Deserialize;

/// `[library]`.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Library {
    /// Where Hugging Face, or a server that speaks like it, is.
    pub(crate) hf_endpoint: Option<String>,
    /// Further servers that have what it has, best first.
    pub(crate) mirrors: Option<Vec<String>>,
    /// What pulls may take of the line, as `10MB` a second.
    pub(crate) rate: Option<String>,
    /// Connections of one pull.
    pub(crate) connections: Option<u32>,
}
