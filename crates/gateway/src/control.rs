//! The control routes, for programs of the same person: what is resident, what could be and why it
//! is not; load it, stop it, pin it.
//!
//! The shapes are public, because the command line reads what is written here.

pub mod pulls;

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use dialect::Error;
use serde::{Deserialize, Serialize};
use supervisor::fleet::{Explanation, Turn, WorkerId};
use supervisor::{
    AcquireError, Facts, Handle, ModelSummary, Outlook, Resident, ResidentState, StopError,
};
use tokio::sync::oneshot;
use utoipa::ToSchema;

use crate::answer;
use crate::limits::KEEP_ALIVE_SECONDS_MAX;
use crate::routes::Site;

/// `GET /resident/v1/ps`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Residents {
    /// Ordered by name.
    pub residents: Vec<ResidentRow>,
    /// Bytes that all workers hold by the ledger.
    pub booked_bytes: u64,
    /// Bytes they may hold.
    pub budget_bytes: u64,
}

/// One worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
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
    /// Whether it never leaves for another.
    pub pinned: bool,
    /// Bytes it holds by the ledger.
    pub booked_bytes: u64,
    /// Bytes it was last seen to use.
    pub measured_bytes: Option<u64>,
    /// Its process.
    pub pid: Option<u32>,
    /// Milliseconds that loading took, by its worker's own account.
    pub load_ms: Option<u64>,
    /// Context cells that its requests share; null where only a foreign engine knows.
    pub context_tokens: Option<u32>,
    /// How its keys and values are kept, as `f16`; null where that is not for the hub to say.
    #[serde(default)]
    pub kv_type: Option<String>,
    /// Bytes of prefixes that it keeps in memory outside the context; they are among those booked.
    #[serde(default)]
    pub kept_ram_bytes: u64,
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Models {
    /// Ordered by name.
    pub models: Vec<ModelRow>,
    /// What may be named instead of a model; the built-in one is last.
    #[serde(default)]
    pub roles: Vec<RoleRow>,
}

/// One role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoleRow {
    /// The name that clients use.
    pub name: String,
    /// Whom it ends at, in order; empty when it picks by request.
    pub models: Vec<String>,
}

/// One model that could be served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ModelFacts {
    /// `general.architecture`.
    pub architecture: Option<String>,
    /// Number of parameters.
    pub parameters: Option<u64>,
    /// Name of the quantization.
    pub quantization: Option<String>,
    /// Context it would be loaded with, in tokens; null where only a foreign engine knows.
    pub context_tokens: Option<u32>,
    /// How its keys and values would be kept, as `f16`; null where it has none, or only a foreign
    /// engine knows.
    #[serde(default)]
    pub kv_type: Option<String>,
    /// Context it was trained with, in tokens.
    pub context_tokens_trained: Option<u32>,
    /// Whether it generates text; the others embed or rank.
    pub generates: bool,
    /// Whether it says how well documents answer a query.
    #[serde(default)]
    pub ranks: bool,
    /// Whether it answers conversations.
    #[serde(default)]
    pub chats: bool,
    /// Whether it can be offered tools.
    #[serde(default)]
    pub tools: bool,
    /// Whether it can look at images.
    #[serde(default)]
    pub images: bool,
    /// Whether it can listen to sounds in a conversation.
    #[serde(default)]
    pub sounds: bool,
    /// Memory it needs when loaded.
    pub needed_bytes: u64,
}

/// Body of `POST /resident/v1/stop`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// Name of the model to stop.
    pub model: String,
}

/// Body of `POST /resident/v1/warm`. The answer comes when the model is loaded; of a role, the first
/// of its models that can be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Warm {
    /// Name of the model to load, or of a role.
    pub model: String,
    /// How long it stays unused; its own setting when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_alive: Option<KeepAlive>,
}

/// What `POST /resident/v1/warm` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Warmed {
    /// Always so: what cannot be loaded is refused.
    pub loaded: bool,
    /// The model; of a role, the one that was chosen.
    pub model: String,
}

/// A span of time in a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum KeepAlive {
    /// Seconds.
    Seconds(u64),
    /// For example `90s`, `10m`, `1h` or `never`.
    Text(String),
}

/// Body of `POST /resident/v1/pin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// Name of the model.
    pub model: String,
    /// The operator's word on whether it ever leaves for another; null takes it back, so that the
    /// configuration counts.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required)]
    pub pinned: Option<bool>,
}

/// What `POST /resident/v1/reload` answers when the changed configuration was taken. It takes no
/// body; a configuration that is refused is a 400 with the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// What the person should know though it stops nothing.
    pub notes: Vec<String>,
}

/// Body of `POST /resident/v1/what-if`: a model that nobody has configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WhatIf {
    /// What to call it.
    pub name: String,
    /// What it would need.
    pub bytes: u64,
    /// Its group, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// `GET /resident/v1/explain?model=NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ExplainedName {
    /// The name is a role's.
    Role(ExplainedRole),
    /// The name is a model's.
    Model(Explained),
}

/// Whom a short request for a role would go to now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainedRole {
    /// Name of the role.
    pub role: String,
    /// What the request would ask for, as in "generate text".
    pub asked_to: String,
    /// Those that would be tried, in this order, and then those that would not.
    pub candidates: Vec<CandidateRow>,
}

/// One who may serve a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CandidateRow {
    /// Name of the model.
    pub model: String,
    /// The roles on the way to it, the asked one first.
    pub by: Vec<String>,
    /// Whether it would be tried.
    pub tried: bool,
    /// Why it stands where it stands, or is not tried.
    pub why: String,
}

/// What is known of a model, and what `POST /resident/v1/what-if` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// Name of the model in question.
    pub model: String,
    /// Why it is not loaded, and what would happen if it were wanted now.
    #[serde(flatten)]
    pub explanation: Explanation,
}

/// `GET /resident/v1/requests`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// Requests that wait or use a model, in the order of their arrival.
    pub requests: Vec<RequestRow>,
    /// Name of the model of each worker.
    pub workers: BTreeMap<WorkerId, String>,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRow {
    /// Its number since the start of the hub.
    pub request: u64,
    /// What it wants or uses.
    pub model: String,
    /// Where it stands.
    pub turn: Turn,
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
    answer::serialized(&Models { models, roles: roles(hub) })
}

/// What may be named instead of a model.
#[must_use]
pub fn roles(hub: &Handle) -> Vec<RoleRow> {
    let row = |name: String| RoleRow { models: hub.candidates(&name), name };
    hub.roles().into_iter().map(row).collect()
}

pub(crate) async fn stop(hub: &Handle, body: Body) -> Result<Response, Error> {
    let body = answer::read_body(body).await?;
    let stop: Stop = parse(&body, r#"{"model": NAME}"#)?;
    match hub.stop(&stop.model).await {
        Ok(()) => Ok(answer::json(r#"{"stopped":true}"#.to_owned())),
        Err(error @ StopError::NotRunning { .. }) => Err(Error::new(404, error.to_string())),
        Err(error @ StopError::ShuttingDown) => Err(Error::new(503, error.to_string())),
    }
}

pub(crate) async fn warm(site: &Site, body: Body) -> Result<Response, Error> {
    let body = answer::read_body(body).await?;
    let warm: Warm = parse(&body, r#"{"model": NAME, "keep_alive": "10m" or seconds}"#)?;
    let keep_alive = warm.keep_alive.as_ref().map(KeepAlive::span).transpose()?;
    let candidates = site.hub.candidates(&warm.model);
    if !candidates.is_empty() && candidates.iter().all(|name| site.tools.has(name)) {
        let message = format!(
            "'{}' is served by tools, which run anew for each request; there is nothing to load",
            warm.model
        );
        return Err(Error::invalid(message).at("model"));
    }
    let loaded = site.hub.warm(&warm.model, keep_alive).await;
    let chosen = loaded.map_err(|error| answer::refusal(&error))?;
    answer::serialized(&Warmed { loaded: true, model: chosen.unwrap_or(warm.model) })
}

pub(crate) async fn pin(hub: &Handle, body: Body) -> Result<Response, Error> {
    let body = answer::read_body(body).await?;
    let pin: Pin = parse(&body, r#"{"model": NAME, "pinned": true, false or null}"#)?;
    match hub.pin(&pin.model, pin.pinned).await {
        Ok(()) => answer::serialized(&pin),
        Err(AcquireError::UnknownModel { .. }) if hub.is_role(&pin.model) => {
            Err(no_pin_of_role(&pin.model, &hub.candidates(&pin.model)))
        }
        Err(error) => Err(answer::refusal(&error)),
    }
}

pub(crate) async fn reload(site: &Site) -> Result<Response, Error> {
    let down = |_| Error::new(503, "the hub is shutting down").code("shutting_down");
    let Some(changes) = &site.changes else {
        let message =
            "this hub was not started by `resident serve`, so it reads no configuration again";
        return Err(Error::new(409, message));
    };
    let (reply, taken) = oneshot::channel();
    changes.send(reply).await.map_err(|_| down(()))?;
    let taken = taken.await.map_err(|_| down(()))?;
    let notes = taken.map_err(Error::invalid)?;
    answer::serialized(&Reloaded { notes })
}

pub(crate) async fn explain(site: &Site, query: Option<&str>) -> Result<Response, Error> {
    let mut pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let model = pairs.find(|(key, _)| key == "model").map(|(_, model)| model.into_owned());
    let model = model.ok_or_else(|| {
        Error::invalid("say which model, as in /resident/v1/explain?model=NAME").at("model")
    })?;
    let refused = |error: AcquireError| answer::refusal(&error);
    if let Some(outlook) = site.hub.outlook(&model).await.map_err(refused)? {
        let mut explained = ExplainedRole::new(model, &outlook);
        explained.tell_of_tools(|name| site.tools.has(name));
        return answer::serialized(&explained);
    }
    let explanation = site.hub.explain(&model).await.map_err(refused)?;
    answer::serialized(&Explained { model, explanation })
}

pub(crate) async fn what_if(hub: &Handle, body: Body) -> Result<Response, Error> {
    let body = answer::read_body(body).await?;
    let asked: WhatIf = parse(&body, r#"{"name": NAME, "bytes": N, "group": GROUP}"#)?;
    let explanation = hub.what_if(&asked.name, asked.bytes, asked.group.as_deref()).await;
    let explanation = explanation.map_err(|error| answer::refusal(&error))?;
    answer::serialized(&Explained { model: asked.name, explanation })
}

pub(crate) async fn requests(hub: &Handle) -> Result<Response, Error> {
    answer::serialized(&Requests::from(hub.requests().await))
}

/// A pin is a promise of memory, and a role is no one's in particular.
fn no_pin_of_role(role: &str, models: &[String]) -> Error {
    let which = match models {
        [] => "it takes whichever model fits the request; pin a model".to_owned(),
        models => format!("pin one of its models: {}", models.join(", ")),
    };
    Error::invalid(format!("'{role}' is a role, and only models are pinned; {which}")).at("model")
}

pub(crate) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8], shape: &str) -> Result<T, Error> {
    serde_json::from_slice(body)
        .map_err(|error| Error::invalid(format!("the body must be {shape}: {error}")))
}

impl ExplainedRole {
    /// As people and programs read it.
    #[must_use]
    pub fn new(role: String, outlook: &Outlook) -> Self {
        let Outlook { kind, choice } = outlook;
        let tried = choice.tries.iter().map(|tried| CandidateRow {
            model: tried.model.clone(),
            by: tried.by.clone(),
            tried: true,
            why: tried.why.to_string(),
        });
        let left_out = choice.left_out.iter().map(|left| CandidateRow {
            model: left.model.clone(),
            by: left.by.clone(),
            tried: false,
            why: left.reason.to_string(),
        });
        Self { role, asked_to: kind.to_string(), candidates: tried.chain(left_out).collect() }
    }

    /// Tools are in no list of models, and whoever is one is always there.
    fn tell_of_tools(&mut self, is_tool: impl Fn(&str) -> bool) {
        let tools = self.candidates.iter_mut().filter(|candidate| is_tool(&candidate.model));
        for tool in tools {
            tool.tried = true;
            "a tool, which runs anew for each request".clone_into(&mut tool.why);
        }
        if !self.candidates.is_empty() && self.candidates.iter().all(|it| is_tool(&it.model)) {
            "run a tool".clone_into(&mut self.asked_to);
        }
    }
}

impl KeepAlive {
    /// The span; "never" is the longest there is.
    fn span(&self) -> Result<Duration, Error> {
        let seconds = match self {
            Self::Seconds(seconds) => Some(*seconds),
            Self::Text(text) if text == "never" => return Ok(Duration::MAX),
            Self::Text(text) => [("s", 1), ("m", 60), ("h", 3600)].iter().find_map(|(unit, s)| {
                text.strip_suffix(unit)?.trim_end().parse::<u64>().ok()?.checked_mul(*s)
            }),
        };
        match seconds {
            Some(seconds) if seconds <= KEEP_ALIVE_SECONDS_MAX => Ok(Duration::from_secs(seconds)),
            Some(_) | None => Err(Error::invalid(format!(
                "keep_alive must be seconds, or for example \"90s\", \"10m\", \"1h\" or \"never\", \
                 and at most {KEEP_ALIVE_SECONDS_MAX} s"
            ))
            .at("keep_alive")),
        }
    }
}

impl From<supervisor::Requests> for Requests {
    fn from(requests: supervisor::Requests) -> Self {
        let name = |worker: &WorkerId| requests.workers.get(worker).map(|model| &model.name);
        let row = |(request, turn): &(supervisor::fleet::RequestId, Turn)| {
            let model = match turn {
                Turn::Using(worker) => name(worker),
                Turn::Waiting(wait) => Some(&wait.model.name),
            };
            // The supervisor names every worker that somebody uses.
            let model = model.map_or_else(String::new, ToString::to_string);
            RequestRow { request: request.0, model, turn: turn.clone() }
        };
        Self {
            requests: requests.turns.iter().map(row).collect(),
            workers: requests
                .workers
                .iter()
                .map(|(id, model)| (*id, model.name.to_string()))
                .collect(),
        }
    }
}

fn resident_row(resident: Resident) -> ResidentRow {
    let (state, loaded_fraction) = match resident.state {
        ResidentState::Loading { fraction } => ("loading", Some(fraction)),
        ResidentState::Ready => ("ready", None),
        ResidentState::Stopping => ("stopping", None),
    };
    let stats = resident.stats.unwrap_or_default();
    let unload_in = resident.unload_in();
    ResidentRow {
        name: resident.name,
        engine: resident.engine.to_owned(),
        path: resident.path.map(|path| path.display().to_string()),
        state: state.to_owned(),
        pinned: resident.pinned,
        loaded_fraction,
        booked_bytes: resident.booked_bytes,
        measured_bytes: resident.measured_bytes,
        pid: resident.pid,
        load_ms: resident.load_ms,
        context_tokens: resident.context_tokens,
        kv_type: resident.kv_type.map(|kind| kind.name().to_owned()),
        kept_ram_bytes: stats.kept_ram_bytes,
        leased: resident.leased,
        waiting: resident.waiting,
        cells_used: stats.cells_used,
        threads: stats.threads,
        idle_s: resident.idle_for.map(|idle| idle.as_secs()),
        unload_in_s: unload_in.map(|left| left.as_secs()),
    }
}

/// A model as the list of models shows it.
#[must_use]
pub fn model_row(model: ModelSummary) -> ModelRow {
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
        kv_type: facts.kv_type.map(|kind| kind.name().to_owned()),
        generates: facts.generates,
        ranks: facts.ranks,
        chats: facts.chats,
        tools: facts.skills.tools,
        images: facts.skills.images,
        sounds: facts.skills.sounds,
        needed_bytes: facts.needed_bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_of_a_role_are_there_though_no_model_has_their_name() {
        let row = |model: &str| CandidateRow {
            model: model.to_owned(),
            by: vec!["speak".to_owned()],
            tried: false,
            why: "not installed".to_owned(),
        };
        let mut explained = ExplainedRole {
            role: "speak".to_owned(),
            asked_to: "generate text".to_owned(),
            candidates: vec![row("espeak"), row("gone")],
        };
        explained.tell_of_tools(|name| name == "espeak");
        let tried: Vec<bool> = explained.candidates.iter().map(|row| row.tried).collect();
        assert_eq!(tried, [true, false]);
        assert_eq!(explained.asked_to, "generate text");
        explained.candidates.pop();
        explained.tell_of_tools(|name| name == "espeak");
        assert_eq!(explained.asked_to, "run a tool");
    }
}
