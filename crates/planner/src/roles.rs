//! Roles: names a person uses instead of models, and which model serves a request for one.
//!
//! A role is an ordered list of candidates with limits. A request goes to the first that can take
//! it and falls to the next when one cannot: its context is too short, it has no tools, it is not
//! installed, it keeps failing. The answer says who is tried in which order, who is not, and why,
//! as data. Not here: what is resident and what a switch costs (`fleet`).

mod auto;
mod check;
mod choose;
pub mod limits;
#[cfg(test)]
mod tests;
mod tokens;

use std::{collections::BTreeMap, fmt, time::Duration};

pub use check::{Wrong, check};
pub use choose::{Choice, LeftOut, Reason, Try, Why};
pub use tokens::Tokens;

/// The role that picks by request. It exists without being configured.
pub const AUTO: &str = "auto";

/// The names that everybody uses for roles. They mean something once they are configured; a person
/// may add their own.
pub const USUAL: [&str; 10] =
    ["daily", "code", "deep", "light", "embed", "rerank", "vision", "listen", "speak", "draw"];

/// One who may serve a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// A model, a tool, or another role, whose candidates then stand in this place.
    pub name: String,
    /// Requests that may be longer are not for it, whatever its own context is.
    pub context_tokens_max: Option<u32>,
    /// Whether requests with tools are for it.
    pub tools: bool,
    /// Whether requests with images are for it.
    pub images: bool,
}

impl Candidate {
    /// A candidate without limits of its own.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), context_tokens_max: None, tools: true, images: true }
    }
}

/// A name that a person uses instead of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Role {
    /// Who may serve it, the preferred one first.
    pub candidates: Vec<Candidate>,
    /// Whether a resident candidate that is at least as large goes first; `None` takes the
    /// general setting.
    pub prefer_resident: Option<bool>,
}

/// Roles that hold together: every name is known and none comes back to itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles {
    by_name: BTreeMap<String, Role>,
}

impl Roles {
    /// Whether `name` is a role, the built-in one included.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        name == AUTO || self.by_name.contains_key(name)
    }

    /// The configured roles by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Role)> {
        self.by_name.iter().map(|(name, role)| (name.as_str(), role))
    }

    /// Every model that `role` can end at, in order and each once; empty when it is no role.
    #[must_use]
    pub fn models<'a>(&'a self, role: &'a str) -> Vec<&'a str> {
        let mut models: Vec<&'a str> = Vec::new();
        for place in self.written_out(role) {
            if !models.contains(&place.model) {
                models.push(place.model);
            }
        }
        models
    }
}

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Text, in a conversation or not.
    Generate,
    /// Vectors of texts.
    Embed,
    /// Texts in the order of their relevance.
    Rerank,
    /// Speech to text.
    Listen,
    /// Text to speech.
    Speak,
    /// Pictures.
    Draw,
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Generate => "generate text",
            Self::Embed => "embed",
            Self::Rerank => "rerank",
            Self::Listen => "transcribe",
            Self::Speak => "speak",
            Self::Draw => "draw",
        })
    }
}

/// What a request needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// What it is about.
    pub kind: Kind,
    /// Length of its prompt, images included.
    pub prompt_tokens: Tokens,
    /// Tokens that the answer may have, if the request says.
    pub answer_tokens_max: Option<u32>,
    /// Whether it has images.
    pub images: bool,
    /// Whether it has sounds.
    pub sounds: bool,
    /// Whether it brings tools.
    pub tools: bool,
    /// Whether the answer must follow a JSON schema.
    pub json_schema: bool,
}

impl Ask {
    /// A plain request for text.
    #[must_use]
    pub fn generate(prompt_tokens: Tokens) -> Self {
        Self {
            kind: Kind::Generate,
            prompt_tokens,
            answer_tokens_max: None,
            images: false,
            sounds: false,
            tools: false,
            json_schema: false,
        }
    }
}

/// What is known about a model now. A name that nobody has a state for is not installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// What it can do.
    pub kinds: Vec<Kind>,
    /// Its context; `None` when that is not known.
    pub context_tokens: Option<u32>,
    /// Whether it takes tools.
    pub tools: bool,
    /// Whether it takes images.
    pub images: bool,
    /// Whether it takes sounds in a conversation.
    pub sounds: bool,
    /// Whether it can be held to a JSON schema.
    pub json_schema: bool,
    /// What to compare it by when a resident model may stand in for another: the larger is taken
    /// for the better one. `None` is never taken for better.
    pub size_bytes: Option<u64>,
    /// Whether it can be used.
    pub standing: Standing,
}

/// Whether a model can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// At once.
    Resident,
    /// After it is loaded.
    Loadable,
    /// Not until it has been left alone for a while, because it keeps failing.
    CoolingOff {
        /// When it will be tried again.
        retry_in: Duration,
    },
    /// Not at all.
    Unusable {
        /// Why, as a part of a sentence.
        why: String,
    },
}
