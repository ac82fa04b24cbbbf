//! What is known about a model before a process is started for it: its header is read and its
//! memory predicted, so that a hopeless start is refused with the reason.
//!
//! Not here: the format (`planner::gguf`), the formulas (`planner::footprint`).

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use planner::{fleet, footprint::Place, gguf};

use crate::{
    config::Config,
    error::AcquireError,
    limits::CONTEXT_TOKENS_DEFAULT,
    model::{Facts, Model, ModelSummary},
};

mod header;

pub use header::read_header;

/// Looks at files and remembers those that can be used, until they change.
#[derive(Debug)]
pub(crate) struct Preflight {
    context_tokens: Option<u32>,
    sequences_max: u32,
    place: Place,
    /// The last look at each file. As many as there are model files.
    seen: Mutex<BTreeMap<PathBuf, Look>>,
}

/// What a worker for a model would be and need.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// The model, as the fleet names it.
    pub(crate) model: fleet::Model,
    /// Its file.
    pub(crate) path: PathBuf,
    /// Context cells to load it with.
    pub(crate) context_tokens: u32,
    /// Memory it needs by prediction.
    pub(crate) needed_bytes: u64,
}

#[derive(Debug, Clone)]
struct Look {
    stamp: Stamp,
    facts: Arc<Result<Facts, String>>,
}

/// While this stays the same, so does what a look would find.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Stamp {
    file_bytes: u64,
    modified_unix_s: u64,
    context_tokens: Option<u32>,
}

impl Preflight {
    /// Looks for workers that are started as `config` says.
    pub(crate) fn new(config: &Config) -> Self {
        let Config { context_tokens, sequences_max, place, .. } = *config;
        Self { context_tokens, sequences_max, place, seen: Mutex::new(BTreeMap::new()) }
    }

    /// The model and what its header says.
    pub(crate) fn summary(&self, model: &Model) -> ModelSummary {
        ModelSummary {
            name: model.name.clone(),
            path: model.path.clone(),
            file_bytes: model.file_bytes,
            modified_unix_s: model.modified_unix_s,
            facts: (*self.look(model)).clone(),
        }
    }

    /// What to start for this model.
    pub(crate) fn launch(&self, model: &Model) -> Result<Launch, AcquireError> {
        match &*self.look(model) {
            Ok(facts) => Ok(Launch {
                model: fleet::Model {
                    name: model.name.as_str().into(),
                    version: self.version(model),
                },
                path: model.path.clone(),
                context_tokens: facts.context_tokens,
                needed_bytes: facts.needed_bytes,
            }),
            Err(message) => {
                Err(AcquireError::Unusable { name: model.name.clone(), message: message.clone() })
            }
        }
    }

    fn look(&self, model: &Model) -> Arc<Result<Facts, String>> {
        let stamp = self.stamp(model);
        let known = self.lock().get(&model.path).cloned();
        if let Some(look) = known
            && look.stamp == stamp
        {
            return look.facts;
        }
        // Outside the lock: a slow disk must not hold up requests for other models. Two that look
        // at the same file at once find the same.
        let facts = Arc::new(self.read(model, &stamp));
        // A problem may be solved without a trace in the stamp: by permissions, by a disk that is
        // plugged in, by the missing part of a split model.
        if facts.is_ok() {
            self.lock().insert(model.path.clone(), Look { stamp, facts: Arc::clone(&facts) });
        }
        facts
    }

    fn read(&self, model: &Model, stamp: &Stamp) -> Result<Facts, String> {
        let header = read_header(&model.path)?;
        if !header.is_model() {
            let path = model.path.display();
            return Err(format!(
                "{path} is a companion file (a projector, adapter or vocabulary), not a model; \
                 name the model's own file"
            ));
        }
        Ok(self.facts(&header, stamp.context_tokens))
    }

    fn facts(&self, header: &gguf::Header, context_tokens: Option<u32>) -> Facts {
        let trained = header.context_trained_tokens().and_then(|tokens| u32::try_from(tokens).ok());
        let context_tokens = context_tokens
            .unwrap_or_else(|| {
                CONTEXT_TOKENS_DEFAULT.min(trained.unwrap_or(CONTEXT_TOKENS_DEFAULT))
            })
            .max(1);
        // Encoders know no position beyond those they were trained with, and the worker takes no more.
        let most = trained.filter(|_| header.encodes()).unwrap_or(u32::MAX);
        let context_tokens = context_tokens.min(most.max(1));
        let needs = header::needs(header, context_tokens, self.sequences_max, self.place);
        Facts {
            architecture: header.architecture().to_owned(),
            parameters: header.parameters(),
            quantization: header.quantization(),
            context_tokens_trained: trained,
            context_tokens,
            generates: header.generates(),
            chat_template: header.chat_template().is_some(),
            needed_bytes: needs.iter().fold(0, |sum: u64, need| sum.saturating_add(need.bytes)),
            needs,
        }
    }

    fn stamp(&self, model: &Model) -> Stamp {
        Stamp {
            file_bytes: model.file_bytes,
            modified_unix_s: model.modified_unix_s,
            context_tokens: model.context_tokens.or(self.context_tokens),
        }
    }

    /// Tells two files of one name apart, and two ways to load one file. Lives in this process
    /// only, so the hash needs no stability.
    fn version(&self, model: &Model) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&model.path, self.stamp(model)).hash(&mut hasher);
        hasher.finish()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<PathBuf, Look>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use planner::{
        catalogue,
        footprint::{self, Layout},
    };
    use worker_protocol::limits::INTERNAL_SEQUENCES;

    use super::*;
    use crate::config::Patience;

    fn preflight(place: Place) -> Preflight {
        Preflight::new(&Config {
            worker: PathBuf::new(),
            logs_dir: PathBuf::new(),
            budget_bytes: 0,
            idle_unload: Duration::MAX,
            sequences_max: 8,
            threads: None,
            context_tokens: None,
            place,
            patience: Patience::default(),
        })
    }

    #[test]
    fn what_a_model_needs_is_predicted_for_where_its_layers_lie() {
        let header = catalogue::builtin().find("qwen3-8b").unwrap().header("Q4_K_M").unwrap();
        let places = [Place::Processor, Place::SharedGpu, Place::DiscreteGpu];
        let needed = places.map(|place| {
            let facts = preflight(place).facts(&header, None);
            let layout = Layout::new(facts.context_tokens, 8 + INTERNAL_SEQUENCES);
            let planned = footprint::predict(&header, &Layout { place, ..layout });
            assert_eq!(facts.needed_bytes, planned.total_bytes(), "{place:?}");
            facts.needed_bytes
        });
        // Otherwise the place would not matter, and the above would prove nothing.
        assert_ne!(needed[0], needed[1]);
    }
}
