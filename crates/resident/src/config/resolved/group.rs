//! Groups: which models take turns, and how each is treated while it holds memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use planner::footprint::CacheType;
use supervisor::{Group, KeepMode, ProjectorFile};
use worker_protocol::Adapter;

use super::super::raw;
use crate::{limits::LARGE_MODEL_PARTS, models, size};

/// The group that large models are in by themselves.
pub(crate) const MAIN: &str = "main";

/// What keeps a model out of every group.
const NO_GROUP: &str = "none";

/// The groups and which of them are exclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Groups {
    /// By name, whether at most one model of it is in memory.
    by_name: BTreeMap<String, bool>,
}

impl Groups {
    pub(super) fn read(raw: BTreeMap<String, raw::Group>) -> Result<Self, String> {
        let mut by_name = BTreeMap::from([(MAIN.to_owned(), true)]);
        for (name, group) in raw {
            if name == NO_GROUP {
                return Err(format!(
                    "[groups.{name}] 'none' is what keeps a model out of every group; name it \
                     otherwise"
                ));
            }
            by_name.insert(name, group.exclusive.unwrap_or(true));
        }
        Ok(Self { by_name })
    }

    /// Groups of which at most one model is in memory.
    pub(crate) fn exclusive(&self) -> BTreeSet<&str> {
        let exclusive = self.by_name.iter().filter(|(_, exclusive)| **exclusive);
        exclusive.map(|(name, _)| name.as_str()).collect()
    }

    /// What `group = NAME` says.
    pub(super) fn membership(&self, name: &str) -> Result<Membership, String> {
        if name == NO_GROUP {
            return Ok(Membership::Alone);
        }
        if self.by_name.contains_key(name) {
            return Ok(Membership::In(name.to_owned()));
        }
        let names = self.by_name.keys().map(String::as_str).chain([NO_GROUP]);
        Err(match models::nearest(name, names) {
            Some(nearest) => format!("group '{name}' is not known; did you mean '{nearest}'?"),
            None => format!(
                "group '{name}' is not known; add a table [groups.{name}], or write main or none"
            ),
        })
    }

    /// The group of a model of our own worker, whose header says what it needs.
    pub(crate) fn of_file(membership: &Membership, budget_bytes: u64) -> Option<Group> {
        match membership {
            Membership::Alone => None,
            Membership::In(name) => Some(Group::Named(name.clone())),
            Membership::BySize => Some(Group::OfLarge {
                name: MAIN.to_owned(),
                above_bytes: budget_bytes / LARGE_MODEL_PARTS,
            }),
        }
    }

    /// The group of a model of which it is known that it takes so many bytes.
    pub(crate) fn of(
        &self,
        membership: &Membership,
        is_text: bool,
        bytes: u64,
        budget_bytes: u64,
    ) -> Option<String> {
        match membership {
            Membership::Alone => None,
            Membership::In(name) => Some(name.clone()),
            Membership::BySize => {
                let is_large = is_text && bytes > budget_bytes / LARGE_MODEL_PARTS;
                is_large.then(|| MAIN.to_owned())
            }
        }
    }
}

/// Which group a model wants to be in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Membership {
    /// `main` if it is large.
    #[default]
    BySize,
    /// None.
    Alone,
    /// This one.
    In(String),
}

/// How a model is treated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Treatment {
    /// Whether it is never stopped for another's sake.
    pub(crate) pinned: bool,
    /// Its group.
    pub(crate) membership: Membership,
    /// How long it stays idle; `None` takes the general setting.
    pub(crate) idle_unload: Option<Duration>,
    /// Where its prefixes are kept; `None` takes the general setting.
    pub(crate) keep: Option<KeepMode>,
    /// How its keys and values are encoded; `None` takes the general setting.
    pub(crate) kv_type: Option<CacheType>,
    /// What it guesses ahead from; `None` takes the general setting.
    pub(crate) guesses: Option<Guesses>,
    /// Guesses of a stream in each step; `None` makes as many as pay.
    pub(crate) draft_tokens: Option<u32>,
    /// What changes its weights.
    pub(crate) adapters: Vec<Adapter>,
    /// What turns pictures and sounds into its vectors.
    pub(crate) eyes: Eyes,
}

/// What turns pictures and sounds into a model's vectors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Eyes {
    /// The projector beside it, if one is clearly its own.
    #[default]
    Beside,
    /// Nothing: it is left to text.
    Closed,
    /// This projector.
    File(PathBuf),
}

impl Eyes {
    /// The projector of the model in this file, which is looked for now.
    pub(crate) fn of(&self, model: &Path) -> Option<ProjectorFile> {
        match self {
            Self::Beside => {
                let path = models::projector_beside(model)?;
                Some(ProjectorFile { path, is_named: false })
            }
            Self::Closed => None,
            Self::File(path) => Some(ProjectorFile { path: path.clone(), is_named: true }),
        }
    }
}

/// What a model guesses ahead from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Guesses {
    /// Nothing.
    Off,
    /// Its text.
    #[default]
    Lookup,
    /// Its text and a smaller model.
    Draft(Draft),
    /// Its text and its own layers that guess ahead.
    Head,
}

/// A smaller model of the same vocabulary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Draft {
    /// A file.
    File(PathBuf),
    /// What the catalogue calls so.
    Model(String),
}

/// A model that is promised to stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pin {
    /// Its name.
    pub(crate) name: String,
    /// What it takes.
    pub(crate) bytes: u64,
    /// Its group.
    pub(crate) group: Option<String>,
}

/// Whether all pins can be kept at the same time.
///
/// # Errors
/// A sentence with the sum written out.
pub(crate) fn check_pins(pins: &[Pin], groups: &Groups, budget_bytes: u64) -> Result<(), String> {
    let exclusive = groups.exclusive();
    for (place, pin) in pins.iter().enumerate() {
        let group = pin.group.as_deref().filter(|group| exclusive.contains(group));
        let Some(group) = group else { continue };
        let rival = pins[..place].iter().find(|other| other.group.as_deref() == Some(group));
        if let Some(rival) = rival {
            return Err(format!(
                "{} and {} are both pinned and both in group {group}, of which one is in memory \
                 at a time; unpin one, or write group = \"none\" for it",
                rival.name, pin.name
            ));
        }
    }
    let needed = pins.iter().fold(0_u64, |sum, pin| sum.saturating_add(pin.bytes));
    if needed <= budget_bytes {
        return Ok(());
    }
    let sum: Vec<String> =
        pins.iter().map(|pin| format!("{} {}", pin.name, size::format(pin.bytes))).collect();
    Err(format!(
        "the pinned models do not fit: {} = {}, and the budget is {}; unpin one, choose a smaller \
         one, or raise the budget",
        sum.join(" + "),
        size::format(needed),
        size::format(budget_bytes)
    ))
}
