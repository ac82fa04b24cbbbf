//! One edition of the configuration: what is served, under which names, and what was found out about
//! it. Everything that was found is of one edition and goes with it.
//!
//! Not here: who is told of another one (`handle`), what becomes of those that run (the fleet).

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use planner::{footprint::Place, roles::Roles};

use super::role::Look;
use crate::{
    config::Settings,
    error::AcquireError,
    limits::LOOKUPS_MAX,
    model::{Model, ModelSummary, Models},
    preflight::{Launch, Preflight},
    run_loop::{Message, NamesReply},
};

/// What is served, and what was found out about it.
pub struct Edition {
    number: u64,
    settings: Settings,
    pub(super) models: Arc<dyn Models>,
    pub(super) preflight: Preflight,
    /// What was found for each name, and when. At most [`LOOKUPS_MAX`].
    looked_up: Mutex<BTreeMap<String, (Instant, Launch)>>,
    pub(super) lookup_age_max: Duration,
    /// What was found for each role.
    pub(super) roles_looked_up: Mutex<BTreeMap<String, Look>>,
}

impl fmt::Debug for Edition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Edition").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Edition {
    pub(super) fn new(
        number: u64,
        settings: Settings,
        models: Arc<dyn Models>,
        place: Place,
        lookup_age_max: Duration,
    ) -> Self {
        Self {
            number,
            preflight: Preflight::new(number, &settings, place),
            settings,
            models,
            looked_up: Mutex::default(),
            lookup_age_max,
            roles_looked_up: Mutex::default(),
        }
    }

    /// All models with what their headers say, ordered by name. Reads the headers of files that
    /// are new or changed.
    #[must_use]
    pub fn models(&self) -> Vec<ModelSummary> {
        self.models.list().iter().map(|model| self.preflight.summary(model)).collect()
    }

    /// The model of exactly this name. Reads its header if the file is new or changed.
    #[must_use]
    pub fn model(&self, name: &str) -> Option<ModelSummary> {
        let model = self.models.find(name)?;
        Some(self.preflight.summary(&model))
    }

    /// Differs from that of every other edition.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Names to use instead of models.
    pub(super) fn roles(&self) -> &Roles {
        &self.settings.roles
    }

    /// Whether a resident model may stand in, where the role does not say.
    pub(super) fn prefers_resident(&self) -> bool {
        self.settings.prefer_resident
    }

    /// What the run loop is told when this comes into force.
    pub(super) fn changed(
        &self,
        launches: BTreeMap<Arc<str>, Option<Launch>>,
        reply: NamesReply,
    ) -> Message {
        Message::Changed { settings: Box::new(self.settings.clone()), launches, reply }
    }

    pub(super) fn fresh_lookup(&self, name: &str) -> Option<Launch> {
        let looked_up = self.looked_up.lock().unwrap_or_else(PoisonError::into_inner);
        let (when, launch) = looked_up.get(name)?;
        (when.elapsed() < self.lookup_age_max).then(|| launch.clone())
    }

    /// What would be started for this name. Touches the disk. Only names that were found are kept, and
    /// those that are no longer believed make room.
    pub(super) fn look_up(&self, name: &str) -> Result<Launch, AcquireError> {
        let Some(model) = self.models.find(name) else {
            return Err(unknown(name.to_owned(), &self.models.list()));
        };
        let launch = self.preflight.launch(&model)?;
        let mut looked_up = self.looked_up.lock().unwrap_or_else(PoisonError::into_inner);
        if looked_up.len() >= LOOKUPS_MAX {
            looked_up.retain(|_, (when, _)| when.elapsed() < self.lookup_age_max);
        }
        if looked_up.len() >= LOOKUPS_MAX {
            looked_up.pop_first();
        }
        looked_up.insert(name.to_owned(), (Instant::now(), launch.clone()));
        Ok(launch)
    }
}

fn unknown(name: String, models: &[Model]) -> AcquireError {
    let nearest = nearest(&name, models.iter().map(|model| model.name.as_str()));
    AcquireError::UnknownModel { name, nearest, offered: Vec::new() }
}

pub(super) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    /// Names less alike than this are a guess, not a slip of the finger.
    const LIKENESS_MIN: f64 = 0.7;
    let likely = names.map(|other| (strsim::jaro_winkler(other, name), other));
    let likely = likely.filter(|(likeness, _)| *likeness >= LIKENESS_MIN);
    likely.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, name)| name.to_owned())
}
