//! The control routes, for programs of the same person: what is resident, what could be, stop it.
//!
//! The shapes are public, because the command line reads what is written here.

use axum::body::Body;
use axum::response::Response;
use dialect::Error;
use serde::{Deserialize, Serialize};
use supervisor::{Facts, Handle, ModelSummary, Resident, ResidentState, StopError};

use crate::answer;

/// `GET /resident/v1/ps`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Residents {
    /// Ordered by name.
    pub residents: Vec<ResidentRow>,
    /// Bytes that all workers hold by the ledger.
    pub booked_bytes: u64,
    /// Bytes they may hold.
    pub budget_bytes: u64,
}

/// One worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResidentRow {
    /// Name of its model.
    pub name: String,
    /// What runs it: `worker`, `command` or `upstream`.
    pub engine: String,
    /// Its file, where the hub knows one.
    pub path: Option<String>,
    /// `loading`, `ready` or `stopping`.
    pub state: String,
    /// While loading, the share that is loaded, from 0 to 1.
    pub loaded_fraction: Option<f32>,
    /// Bytes it holds by the ledger.
    pub booked_bytes: u64,
    /// Bytes it was last seen to use.
    pub measured_bytes: Option<u64>,
    /// Its process.
    pub pid: Option<u32>,
    /// Context cells that its requests share; null where only a foreign engine knows.
    pub context_tokens: Option<u32>,
    /// Requests that hold it.
    pub leased: u32,
    /// Requests that wait for it.
    pub waiting: u32,
    /// Context cells in use.
    pub cells_used: u32,
    /// Threads of its last step.
    pub threads: u32,
    /// Seconds since the last request ended, when none is left.
    pub idle_s: Option<u64>,
    /// Seconds until it is unloaded if nobody asks.
    pub unload_in_s: Option<u64>,
}

/// `GET /resident/v1/models`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Models {
    /// Ordered by name.
    pub models: Vec<ModelRow>,
}

/// One model that could be served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRow {
    /// The name that clients use.
    pub name: String,
    /// What runs it: `worker`, `command` or `upstream`.
    pub engine: String,
    /// Its file, where the hub knows one.
    pub path: Option<String>,
    /// Length of the file.
    pub file_bytes: Option<u64>,
    /// What is known about it, when it can be used.
    pub facts: Option<ModelFacts>,
    /// Why it cannot be used.
    pub error: Option<String>,
}

/// What is known about a model before it is loaded. Only a file has an architecture, parameters, a
/// quantization and a context it was trained with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// `general.architecture`.
    pub architecture: Option<String>,
    /// Number of parameters.
    pub parameters: Option<u64>,
    /// Name of the quantization.
    pub quantization: Option<String>,
    /// Context it would be loaded with, in tokens; null where only a foreign engine knows.
    pub context_tokens: Option<u32>,
    /// Context it was trained with, in tokens.
    pub context_tokens_trained: Option<u32>,
    /// Whether it generates text; the others embed.
    pub generates: bool,
    /// Memory it needs when loaded.
    pub needed_bytes: u64,
}

/// Body of `POST /resident/v1/stop`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// Name of the model to stop.
    pub model: String,
}

pub(crate) async fn residents(hub: &Handle) -> Result<Response, Error> {
    let residents = hub.residents().await.into_iter().map(resident_row).collect();
    let metrics = hub.metrics().await;
    answer::serialized(&Residents {
        residents,
        booked_bytes: metrics.booked_bytes,
        budget_bytes: metrics.budget_bytes,
    })
}

pub(crate) async fn models(hub: &Handle) -> Result<Response, Error> {
    let models = answer::list_models(hub).await.into_iter().map(model_row).collect();
    answer::serialized(&Models { models })
}

pub(crate) async fn stop(hub: &Handle, body: Body) -> Result<Response, Error> {
    let body = answer::read_body(body).await?;
    let stop: Stop = serde_json::from_slice(&body).map_err(|error| {
        Error::invalid(format!("the body must be {{\"model\": NAME}}: {error}"))
    })?;
    match hub.stop(&stop.model).await {
        Ok(()) => Ok(answer::json(r#"{"stopped":true}"#.to_owned())),
        Err(error @ StopError::NotRunning { .. }) => Err(Error::new(404, error.to_string())),
        Err(error @ StopError::ShuttingDown) => Err(Error::new(503, error.to_string())),
    }
}

fn resident_row(resident: Resident) -> ResidentRow {
    let (state, loaded_fraction) = match resident.state {
        ResidentState::Loading { fraction } => ("loading", Some(fraction)),
        ResidentState::Ready => ("ready", None),
        ResidentState::Stopping => ("stopping", None),
    };
    let stats = resident.stats.unwrap_or_default();
    ResidentRow {
        name: resident.name,
        engine: resident.engine.to_owned(),
        path: resident.path.map(|path| path.display().to_string()),
        state: state.to_owned(),
        loaded_fraction,
        booked_bytes: resident.booked_bytes,
        measured_bytes: resident.measured_bytes,
        pid: resident.pid,
        context_tokens: resident.context_tokens,
        leased: resident.leased,
        waiting: resident.waiting,
        cells_used: stats.cells_used,
        threads: stats.threads,
        idle_s: resident.idle_for.map(|idle| idle.as_secs()),
        unload_in_s: resident.unload_in.map(|left| left.as_secs()),
    }
}

fn model_row(model: ModelSummary) -> ModelRow {
    let (facts, error) = match model.facts {
        Ok(facts) => (Some(model_facts(facts)), None),
        Err(error) => (None, Some(error)),
    };
    let file = model.engine.file();
    ModelRow {
        engine: model.engine.kind().to_owned(),
        path: file.map(|file| file.path.display().to_string()),
        file_bytes: file.map(|file| file.file_bytes),
        name: model.name,
        facts,
        error,
    }
}

fn model_facts(facts: Facts) -> ModelFacts {
    let header = facts.header.as_ref();
    ModelFacts {
        architecture: header.map(|header| header.architecture.clone()),
        parameters: header.map(|header| header.parameters),
        quantization: header.map(|header| header.quantization.clone()),
        context_tokens_trained: header.and_then(|header| header.context_tokens_trained),
        context_tokens: facts.context_tokens,
        generates: facts.generates,
        needed_bytes: facts.needed_bytes,
    }
}
