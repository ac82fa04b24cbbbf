//! What the user wrote about roles.

use serde::Deserialize;

/// One line of `[roles]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(
    untagged,
    expecting = "a role must be a list of models such as [\"qwen3-8b\", { model = \"apple\", \
                 context_max = 4096 }], or a table such as { models = [\"qwen3-8b\"], \
                 prefer_resident = false }"
)]
pub(crate) enum Role {
    /// Who may serve it, in order.
    Candidates(Vec<Candidate>),
    /// The same, and what differs for this role.
    Differing(Differing),
}

/// A role with settings of its own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Differing {
    /// Who may serve it, in order.
    pub(crate) models: Vec<Candidate>,
    /// Whether a resident model may stand in for one that would have to be loaded.
    pub(crate) prefer_resident: Option<bool>,
}

/// One who may serve a role.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Candidate {
    /// A model, a tool or another role.
    Name(String),
    /// The same with limits.
    Limited(Limited),
}

/// A candidate with limits.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limited {
    /// A model, a tool or another role.
    pub(crate) model: String,
    /// Requests that may be longer are not for it.
    pub(crate) context_max: Option<u32>,
    /// Whether requests with tools are for it.
    pub(crate) tools: Option<bool>,
    /// Whether requests with images are for it.
    pub(crate) images: Option<bool>,
}
