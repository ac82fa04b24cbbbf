//! What can be served: the wall to whoever knows the models, and what their headers say.
//!
//! Not here: reading the headers (`preflight`).

use std::{sync::Arc, time::Duration};

use planner::footprint::CacheType;

use crate::{
    engine::{Engine, Server},
    habits::Habits,
};

/// A model that can be served, and how it is treated.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// The name that clients use.
    pub name: String,
    /// What runs it.
    pub engine: Engine,
    /// How it is treated while it holds memory.
    pub residence: Residence,
    /// What a library knows of it, if it is from one.
    pub kept: Option<Arc<Kept>>,
}

/// What a library knows of a model beside its file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Kept {
    /// SHA-256 of its file, of a split one its first: 64 hexadecimal digits.
    pub digest: String,
    /// When it came there, in seconds since 1970.
    pub added_unix_s: u64,
    /// What its requests have that do not say otherwise.
    pub habits: Habits,
}

/// How a model is treated while it holds memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Residence {
    /// Of an exclusive group at most one model holds memory.
    pub group: Option<Group>,
    /// Never stopped for another's sake.
    pub pinned: bool,
    /// How long it stays idle; `None` takes the hub's setting, `Duration::MAX` keeps it.
    pub idle_unload: Option<Duration>,
}

/// Which group a model is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Group {
    /// This one.
    Named(String),
    /// This one if it generates text and needs more than so many bytes, which its header says.
    OfLarge {
        /// Its name.
        name: String,
        /// What a model may need without being in it.
        above_bytes: u64,
    },
}

impl Group {
    /// The group of a model of which this is known.
    fn of(&self, facts: &Facts) -> Option<&str> {
        match self {
            Self::Named(name) => Some(name),
            Self::OfLarge { name, above_bytes } => {
                let is_large = facts.generates && facts.needed_bytes > *above_bytes;
                is_large.then_some(name)
            }
        }
    }
}

impl Residence {
    /// The group of a model of which this is known, if it is in one.
    pub(crate) fn group_of(&self, facts: &Facts) -> Option<&str> {
        self.group.as_ref().and_then(|group| group.of(facts))
    }
}

/// Who knows the models. Asked anew for every request, so that a file which appears is served
/// without a restart.
pub trait Models: Send + Sync {
    /// Every model, ordered by name.
    fn list(&self) -> Vec<Model>;
    /// The model of exactly this name. Within an open pool any name is one that may be there.
    fn find(&self, name: &str) -> Option<Model>;
    /// The pools whose models are whatever their servers have; [`Self::list`] knows none of these.
    /// This neither waits nor touches the disk.
    fn open_pools(&self) -> Vec<OpenPool>;
}

/// Servers whose models are served whatever they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPool {
    /// What stands before a model's name at the servers in its name here.
    pub prefix: String,
    /// The servers.
    pub servers: Vec<Server>,
}

/// A model and what is known about it before it is started.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSummary {
    /// The name that clients use.
    pub name: String,
    /// What runs it.
    pub engine: Engine,
    /// How it is treated while it holds memory.
    pub residence: Residence,
    /// What a library knows of it, if it is from one.
    pub kept: Option<Arc<Kept>>,
    /// What is known about it, or why it cannot be used.
    pub facts: Result<Facts, String>,
}

impl ModelSummary {
    /// The group it is in; of one that cannot be used, none.
    #[must_use]
    pub fn group(&self) -> Option<&str> {
        self.residence.group_of(self.facts.as_ref().ok()?)
    }
}

/// What is known about a model before it is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// What the header of its file says; a foreign engine shows none.
    pub header: Option<HeaderFacts>,
    /// Context it would be loaded with, in tokens; `None` where only a foreign engine knows.
    pub context_tokens: Option<u32>,
    /// How keys and values would be encoded in its cache; `None` where it has none, or only a foreign
    /// engine knows.
    pub kv_type: Option<CacheType>,
    /// Whether it can answer `Generate`; the others embed or rank.
    pub generates: bool,
    /// Whether it can answer `Rank`; a file's model that does does nothing else.
    pub ranks: bool,
    /// Whether it can answer conversations.
    pub chats: bool,
    /// What it can do beside that.
    pub skills: Skills,
    /// Memory it needs when loaded.
    pub needed_bytes: u64,
    /// What that memory is for.
    pub needs: Vec<Need>,
}

/// What a model can do beside continuing text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Skills {
    /// It can be offered tools.
    pub tools: bool,
    /// It can think before it answers.
    pub thinking: bool,
    /// It can look at images.
    pub images: bool,
    /// It can listen to sounds in a conversation.
    pub sounds: bool,
    /// It can fill in what stands between two texts.
    pub infill: bool,
}

/// What a model's header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderFacts {
    /// `general.name`, by which its makers know it.
    pub name: Option<String>,
    /// `general.architecture`.
    pub architecture: String,
    /// Number of parameters.
    pub parameters: u64,
    /// Name of the quantization, such as `Q4_K_M`.
    pub quantization: String,
    /// Context it was trained with, in tokens.
    pub context_tokens_trained: Option<u32>,
    /// Numbers in the vector of a token.
    pub embedding_width: Option<u32>,
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
