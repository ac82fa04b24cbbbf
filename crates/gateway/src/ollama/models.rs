//! Ollama's lists: what could be served, what is in memory, and what a model's file says of itself.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::USER_AGENT;
use axum::response::Response;
use dialect::Error;
use dialect::ollama::model::{self, Capability, Details, Model, Shown, Tensor};
use jiff::Timestamp;
use serde_json::{Map, Value};
use supervisor::gguf::{self, Header};
use supervisor::{Facts, Handle, ModelSummary, Place, ResidentState, Skills, read_header};

use super::in_its_words;
use crate::library::Library;
use crate::limits::FOR_EVER;
use crate::routes::Site;
use crate::{answer, name};

/// Roles are offered with the models, as what would answer first.
pub(crate) async fn tags(hub: &Handle) -> Response {
    let mut models = listed(hub).await;
    // The newest first, as Ollama lists them. RFC 3339 in UTC sorts by time.
    models.sort_by(|one, other| other.modified_at.cmp(&one.modified_at));
    answer::json(model::tags(&models))
}

pub(crate) async fn residents(hub: &Handle) -> Response {
    let models: BTreeMap<String, Model> =
        listed(hub).await.into_iter().map(|model| (model.name.clone(), model)).collect();
    let (now, is_gpu) = (Timestamp::now(), hub.place() != Place::Processor);
    // What has no model is a tool's memory.
    let row = |resident: supervisor::Resident| {
        let Model { digest, details, .. } = models.get(&resident.name)?.clone();
        let row = model::Resident {
            digest,
            details,
            size_bytes: resident.booked_bytes,
            gpu_bytes: if is_gpu { resident.booked_bytes } else { 0 },
            expires_at: (now + stays(&resident)).to_string(),
            context_tokens: resident.context_tokens.unwrap_or(0),
            name: resident.name,
        };
        Some(row)
    };
    let mut rows: Vec<_> = hub.residents().await.into_iter().filter_map(row).collect();
    rows.sort_by(|one, other| other.expires_at.cmp(&one.expires_at));
    answer::json(model::ps(&rows))
}

/// How long it is still there. One that leaves has no time left.
fn stays(resident: &supervisor::Resident) -> Duration {
    match resident.state {
        ResidentState::Stopping => Duration::ZERO,
        ResidentState::Loading { .. } | ResidentState::Ready => {
            let kept_for = resident.unload_in().or(resident.kept_for);
            kept_for.map_or(FOR_EVER, |kept_for| kept_for.min(FOR_EVER))
        }
    }
}

/// By which VS Code's Copilot calls itself. It shows a model by its base's name, which several may share.
const COPILOT: &str = "GitHubCopilotChat/";

pub(crate) async fn show(site: &Site, headers: &HeaderMap, body: Body) -> Result<Response, Error> {
    let asked = model::decode_show(&answer::read_body(body).await?)?;
    let name = name::known(&site.hub, &asked.model).await;
    let (hub, library, verbose) = (site.hub.clone(), site.library(), asked.verbose);
    let shown = tokio::task::spawn_blocking(move || shown(&hub, library.as_deref(), name, verbose));
    let shown = shown.await;
    let shown = shown.unwrap_or_else(|error| Err(Error::new(500, error.to_string())));
    let mut shown = shown.map_err(|error| in_its_words(error, &asked.model))?;
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    if agent.is_some_and(|agent| agent.starts_with(COPILOT)) {
        shown.info.insert("general.basename".to_owned(), asked.model.into());
    }
    Ok(answer::json(model::show(&shown)))
}

/// Reads the header of the file again, since nobody keeps all of it.
fn shown(
    hub: &Handle,
    library: Option<&dyn Library>,
    name: String,
    verbose: bool,
) -> Result<Shown, Error> {
    let candidates = hub.candidates(&name);
    let usable = |model: &String| hub.model(model).filter(|summary| summary.facts.is_ok());
    // A model comes before a role of its name.
    let summary = hub.model(&name).or_else(|| candidates.iter().find_map(usable));
    let Some(summary) = summary else {
        if hub.is_role(&name) && candidates.is_empty() {
            return Ok(bare(unforeseen(name), Map::new()));
        }
        let error = Error::new(404, "GET /api/tags lists what there is");
        return Err(error.at("model").code("model_not_found"));
    };
    let facts = summary.facts.clone();
    let facts = facts.map_err(|why| Error::invalid(why).at("model").code("model_unusable"))?;
    let (kind, file) = (summary.engine.kind(), summary.engine.file().cloned());
    let library = library.filter(|_| summary.kept.is_some());
    let about = library.and_then(|library| library.about(&summary.name));
    let model = Model { name, ..row(summary, &facts) };
    let Some(file) = file else {
        let context =
            facts.context_tokens.map(|tokens| (format!("{kind}.context_length"), tokens.into()));
        let architecture = ("general.architecture".to_owned(), kind.into());
        return Ok(bare(model, [architecture].into_iter().chain(context).collect()));
    };
    let header = read_header(&file.path).map_err(|why| Error::new(500, why))?;
    let (license, template) = (header.str("general.license"), header.chat_template());
    let (license, template) = (license.map(str::to_owned), template.map(str::to_owned));
    let written = about.as_ref().map(|about| about.licenses.join("\n"));
    let own_template = about.as_ref().and_then(|about| about.template.clone());
    Ok(Shown {
        model,
        license: written.filter(|written| !written.is_empty()).or(license),
        template: own_template.or(template),
        settings: about.map(|about| about.settings),
        info: info(&header, facts.context_tokens),
        tensors: verbose.then(|| header.tensors.iter().map(tensor).collect()),
    })
}

/// Of a model without a file.
fn bare(model: Model, info: Map<String, Value>) -> Shown {
    Shown { model, license: None, template: None, settings: None, info, tensors: None }
}

/// What a file says of itself. Clients read from it how long a prompt may be, so its context is the one
/// that the model is served with.
fn info(header: &Header, context_tokens: Option<u32>) -> Map<String, Value> {
    // It has a place of its own.
    let is_told = |key: &str| key != "tokenizer.chat_template";
    let told = header.metadata.iter().filter(|(key, _)| is_told(key));
    let mut info: Map<String, Value> =
        told.map(|(key, value)| (key.clone(), json(value))).collect();
    info.insert("general.parameter_count".to_owned(), header.parameters().into());
    if let Some(tokens) = context_tokens {
        let key = [header.architecture(), ".context_length"].concat();
        info.insert(key, tokens.into());
    }
    info
}

/// Vocabularies and what else is long are null, as where Ollama is not asked for them.
fn json(value: &gguf::Value) -> Value {
    match value {
        gguf::Value::Unsigned(number) => (*number).into(),
        gguf::Value::Signed(number) => (*number).into(),
        gguf::Value::Float(number) => (*number).into(),
        gguf::Value::Bool(truth) => (*truth).into(),
        gguf::Value::String(text) => text.as_str().into(),
        gguf::Value::LongString { .. } => Value::Null,
        gguf::Value::Array(array) => {
            array.kept.as_ref().map_or(Value::Null, |kept| kept.iter().map(json).collect())
        }
    }
}

fn tensor(tensor: &gguf::Tensor) -> Tensor {
    let dimensions = tensor.dimensions;
    // Behind the last one that counts, they are 1.
    let last = dimensions.iter().rposition(|&length| length != 1).unwrap_or(0);
    Tensor {
        name: tensor.name.clone(),
        kind: tensor.kind.name().to_uppercase(),
        shape: dimensions[..=last].to_vec(),
    }
}

/// Every model that can be used, and every role as the model that would answer first, by its own name.
async fn listed(hub: &Handle) -> Vec<Model> {
    let usable = |summary: ModelSummary| {
        let facts = summary.facts.as_ref().ok()?.clone();
        Some(row(summary, &facts))
    };
    let mut models: Vec<Model> =
        answer::list_models(hub).await.into_iter().filter_map(usable).collect();
    let role = |role: String| {
        let candidates = hub.candidates(&role);
        if candidates.is_empty() {
            return Some(unforeseen(role));
        }
        // One of tools alone, or of models that are not here, answers no conversation.
        let named = |name: &String| models.iter().find(|model| model.name == *name);
        let first = candidates.iter().find_map(named)?.clone();
        Some(Model { name: role, ..first })
    };
    let roles: Vec<Model> = hub.roles().into_iter().filter_map(role).collect();
    models.extend(roles);
    models
}

fn row(summary: ModelSummary, facts: &Facts) -> Model {
    let file = summary.engine.file();
    let (size_bytes, modified_unix_s) =
        file.map_or((0, 0), |file| (file.file_bytes, file.modified_unix_s));
    let (modified_unix_s, digest) = match summary.kept {
        Some(kept) => (kept.added_unix_s, kept.digest.clone()),
        None => (modified_unix_s, digest(&summary.name, size_bytes, modified_unix_s)),
    };
    Model {
        modified_at: answer::time(modified_unix_s),
        size_bytes,
        digest,
        details: details(facts),
        capabilities: capabilities(facts),
        name: summary.name,
    }
}

/// A role that picks by request: which model answers is not known before.
fn unforeseen(role: String) -> Model {
    Model {
        modified_at: answer::time(0),
        size_bytes: 0,
        digest: digest(&role, 0, 0),
        details: Details::unknown(None),
        capabilities: vec![Capability::Completion],
        name: role,
    }
}

fn details(facts: &Facts) -> Details {
    let Some(header) = &facts.header else { return Details::unknown(facts.context_tokens) };
    Details::of_file(
        &header.architecture,
        header.parameters,
        &header.quantization,
        facts.context_tokens,
        header.embedding_width,
    )
}

fn capabilities(facts: &Facts) -> Vec<Capability> {
    if !facts.generates {
        return vec![if facts.ranks { Capability::Rerank } else { Capability::Embedding }];
    }
    let Skills { tools, thinking, images, sounds, infill } = facts.skills;
    let more = [
        (tools, Capability::Tools),
        (thinking, Capability::Thinking),
        (images, Capability::Vision),
        (sounds, Capability::Audio),
        (infill, Capability::Insert),
    ];
    let more = more.into_iter().filter_map(|(can, what)| can.then_some(what));
    [Capability::Completion].into_iter().chain(more).collect()
}

/// Of what no library keeps. Hashing gigabytes to answer with a list is too slow, and Ollama's own digest is that of a small file
/// about a model too.
fn digest(name: &str, bytes: u64, modified_unix_s: u64) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&bytes.to_le_bytes());
    hasher.update(&modified_unix_s.to_le_bytes());
    hasher.update(name.as_bytes());
    hasher.finalize().to_hex().to_string()
}
