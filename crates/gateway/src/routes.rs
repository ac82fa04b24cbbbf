//! The one table of routes, each with its policy, and the way every request takes through it.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW,
    HeaderValue, VARY,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use dialect::Error;
use dialect::ollama::embed::Form;
use dialect::rerank::Route as Rerank;
use supervisor::Handle;
use tokio::sync::{Semaphore, mpsc};

use crate::guard::Guard;
use crate::knowledge::vector_stores;
use crate::library::Library;
use crate::limits::BLOBS_MAX;
use crate::metrics::Metrics;
use crate::shelf::Shelf;
use crate::tools::{self, Tools};
use crate::{
    ChangeAsked, Config, answer, anthropic, control, knowledge, llama_server, ollama, openapi,
    rerank, responses, stream,
};

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Anyone who may reach the hub at all.
    Open,
    /// Anyone with the key, if there is one.
    Inference,
    /// Only who can read the control token.
    Control,
    /// Programs of this machine, unless the configuration wants the control token of them too, and who has that.
    Manage,
}

/// What kind of body a route takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    Json,
    /// A form with a file.
    Form,
    /// A file as it is.
    Bytes,
    /// JSON by whatever name: Ollama's clients name none, nor do the `curl` lines that people copy.
    Untyped,
    /// A file as it is, by whatever name: Ollama's clients name none, or call it JSON.
    Raw,
}

/// What a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Health,
    Described,
    Metrics,
    Models,
    Model,
    Chat,
    Responses,
    ResponseTokens,
    Response,
    DeleteResponse,
    Completions,
    Embeddings,
    Rerank(Rerank),
    Infill,
    Messages,
    CountTokens,
    Speech,
    Transcriptions,
    Images,
    Moderations,
    Tool,
    OllamaGreeting,
    OllamaVersion,
    OllamaStatus,
    OllamaChat,
    OllamaGenerate,
    OllamaEmbed,
    OllamaEmbeddings,
    OllamaTags,
    OllamaResidents,
    OllamaShow,
    OllamaPull,
    OllamaPush,
    OllamaCreate,
    OllamaCopy,
    OllamaDelete,
    OllamaHasBlob,
    OllamaPutBlob,
    VectorStores(VectorStores),
    Knowledge(Knowledge),
    Control(Control),
}

/// What a route of a person's files does in OpenAI's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum VectorStores {
    List,
    One,
    Search,
    Refused,
}

/// What a route of a person's files does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Knowledge {
    List,
    One,
    Search,
    Read,
    Add,
    Change,
    Remove,
}

/// What a route for programs of the same person does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Control {
    Residents,
    Models,
    Stop,
    Warm,
    Pin,
    Reload,
    Explain,
    WhatIf,
    Requests,
    Events,
    Pulls,
    PullEvents,
    Pull,
    BeginPull,
    ChangePull,
}

/// One row of the table. A path that ends in `/` is the beginning of a name.
#[derive(Debug)]
struct Route {
    method: Method,
    path: &'static str,
    policy: Policy,
    takes: Takes,
    endpoint: Endpoint,
}

const fn get(path: &'static str, policy: Policy, endpoint: Endpoint) -> Route {
    Route { method: Method::GET, path, policy, takes: Takes::Json, endpoint }
}

const fn post(path: &'static str, policy: Policy, endpoint: Endpoint) -> Route {
    Route { method: Method::POST, path, policy, takes: Takes::Json, endpoint }
}

const fn delete(path: &'static str, policy: Policy, endpoint: Endpoint) -> Route {
    Route { method: Method::DELETE, path, policy, takes: Takes::Json, endpoint }
}

const fn head(path: &'static str, policy: Policy, endpoint: Endpoint) -> Route {
    Route { method: Method::HEAD, path, policy, takes: Takes::Json, endpoint }
}

const fn upload(path: &'static str, policy: Policy, takes: Takes, endpoint: Endpoint) -> Route {
    Route { method: Method::POST, path, policy, takes, endpoint }
}

const ROUTES: &[Route] = &[
    get("/health", Policy::Open, Endpoint::Health),
    get("/openapi.json", Policy::Open, Endpoint::Described),
    get("/metrics", Policy::Inference, Endpoint::Metrics),
    get("/v1/models", Policy::Inference, Endpoint::Models),
    get("/v1/models/", Policy::Inference, Endpoint::Model),
    post("/v1/chat/completions", Policy::Inference, Endpoint::Chat),
    post("/v1/responses", Policy::Inference, Endpoint::Responses),
    post("/v1/responses/input_tokens", Policy::Inference, Endpoint::ResponseTokens),
    get("/v1/responses/", Policy::Inference, Endpoint::Response),
    delete("/v1/responses/", Policy::Inference, Endpoint::DeleteResponse),
    post("/v1/completions", Policy::Inference, Endpoint::Completions),
    post("/v1/embeddings", Policy::Inference, Endpoint::Embeddings),
    post("/v1/rerank", Policy::Inference, Endpoint::Rerank(Rerank::V1)),
    post("/rerank", Policy::Inference, Endpoint::Rerank(Rerank::V1)),
    post("/v1/reranking", Policy::Inference, Endpoint::Rerank(Rerank::V1)),
    post("/reranking", Policy::Inference, Endpoint::Rerank(Rerank::V1)),
    post("/v2/rerank", Policy::Inference, Endpoint::Rerank(Rerank::V2)),
    post("/infill", Policy::Inference, Endpoint::Infill),
    post("/v1/messages", Policy::Inference, Endpoint::Messages),
    post("/v1/messages/count_tokens", Policy::Inference, Endpoint::CountTokens),
    post("/v1/audio/speech", Policy::Inference, Endpoint::Speech),
    upload("/v1/audio/transcriptions", Policy::Inference, Takes::Form, Endpoint::Transcriptions),
    post("/v1/images/generations", Policy::Inference, Endpoint::Images),
    post("/v1/moderations", Policy::Inference, Endpoint::Moderations),
    get("/v1/vector_stores", Policy::Inference, Endpoint::VectorStores(VectorStores::List)),
    get("/v1/vector_stores/", Policy::Inference, Endpoint::VectorStores(VectorStores::One)),
    post("/v1/vector_stores/", Policy::Inference, Endpoint::VectorStores(VectorStores::Search)),
    post("/v1/vector_stores", Policy::Inference, Endpoint::VectorStores(VectorStores::Refused)),
    delete("/v1/vector_stores/", Policy::Inference, Endpoint::VectorStores(VectorStores::Refused)),
    upload("/api/tools/", Policy::Inference, Takes::Bytes, Endpoint::Tool),
    get("/", Policy::Inference, Endpoint::OllamaGreeting),
    get("/api/version", Policy::Inference, Endpoint::OllamaVersion),
    get("/api/status", Policy::Inference, Endpoint::OllamaStatus),
    upload("/api/chat", Policy::Inference, Takes::Untyped, Endpoint::OllamaChat),
    upload("/api/generate", Policy::Inference, Takes::Untyped, Endpoint::OllamaGenerate),
    upload("/api/embed", Policy::Inference, Takes::Untyped, Endpoint::OllamaEmbed),
    upload("/api/embeddings", Policy::Inference, Takes::Untyped, Endpoint::OllamaEmbeddings),
    get("/api/tags", Policy::Inference, Endpoint::OllamaTags),
    get("/api/ps", Policy::Inference, Endpoint::OllamaResidents),
    upload("/api/show", Policy::Inference, Takes::Untyped, Endpoint::OllamaShow),
    post("/api/pull", Policy::Manage, Endpoint::OllamaPull),
    post("/api/push", Policy::Manage, Endpoint::OllamaPush),
    post("/api/create", Policy::Manage, Endpoint::OllamaCreate),
    post("/api/copy", Policy::Manage, Endpoint::OllamaCopy),
    delete("/api/delete", Policy::Manage, Endpoint::OllamaDelete),
    head("/api/blobs/", Policy::Manage, Endpoint::OllamaHasBlob),
    upload("/api/blobs/", Policy::Manage, Takes::Raw, Endpoint::OllamaPutBlob),
    get("/api/knowledge", Policy::Inference, Endpoint::Knowledge(Knowledge::List)),
    post("/api/knowledge/search", Policy::Inference, Endpoint::Knowledge(Knowledge::Search)),
    post("/api/knowledge/read", Policy::Inference, Endpoint::Knowledge(Knowledge::Read)),
    post("/api/knowledge", Policy::Control, Endpoint::Knowledge(Knowledge::Add)),
    post("/api/knowledge/", Policy::Control, Endpoint::Knowledge(Knowledge::Change)),
    get("/api/knowledge/", Policy::Control, Endpoint::Knowledge(Knowledge::One)),
    delete("/api/knowledge/", Policy::Control, Endpoint::Knowledge(Knowledge::Remove)),
    get("/resident/v1/ps", Policy::Control, Endpoint::Control(Control::Residents)),
    get("/resident/v1/models", Policy::Control, Endpoint::Control(Control::Models)),
    post("/resident/v1/stop", Policy::Control, Endpoint::Control(Control::Stop)),
    post("/resident/v1/warm", Policy::Control, Endpoint::Control(Control::Warm)),
    post("/resident/v1/pin", Policy::Control, Endpoint::Control(Control::Pin)),
    post("/resident/v1/reload", Policy::Control, Endpoint::Control(Control::Reload)),
    get("/resident/v1/explain", Policy::Control, Endpoint::Control(Control::Explain)),
    post("/resident/v1/what-if", Policy::Control, Endpoint::Control(Control::WhatIf)),
    get("/resident/v1/requests", Policy::Control, Endpoint::Control(Control::Requests)),
    get("/resident/v1/events", Policy::Control, Endpoint::Control(Control::Events)),
    get("/resident/v1/pulls", Policy::Control, Endpoint::Control(Control::Pulls)),
    get("/resident/v1/pulls/events", Policy::Control, Endpoint::Control(Control::PullEvents)),
    get("/resident/v1/pulls/", Policy::Control, Endpoint::Control(Control::Pull)),
    post("/resident/v1/pulls", Policy::Control, Endpoint::Control(Control::BeginPull)),
    post("/resident/v1/pulls/", Policy::Control, Endpoint::Control(Control::ChangePull)),
];

/// Who is at the other end of a request's connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Everything a request may need.
pub(crate) struct Site {
    pub(crate) hub: Handle,
    pub(crate) metrics: Metrics,
    pub(crate) tools: Tools,
    /// What is kept of answers.
    pub(crate) shelf: Shelf,
    /// Who takes a changed configuration in, if anyone does.
    pub(crate) changes: Option<mpsc::Sender<ChangeAsked>>,
    /// Places for files that come in as parts of models.
    pub(crate) blobs: Semaphore,
    /// Who keeps a person's files, if anyone does.
    pub(crate) knowledge: Option<Arc<dyn knowledge::Knowledge>>,
    guard: RwLock<Arc<Guard>>,
    library: RwLock<Option<Arc<dyn Library>>>,
}

impl Site {
    /// Others may ask from now on.
    pub(crate) fn put_guard(&self, guard: Guard) {
        *self.guard.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(guard);
    }

    pub(crate) fn guard(&self) -> Arc<Guard> {
        Arc::clone(&self.guard.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Another keeps the models from now on.
    pub(crate) fn put_library(&self, library: Option<Arc<dyn Library>>) {
        *self.library.write().unwrap_or_else(PoisonError::into_inner) = library;
    }

    /// Who keeps the models, if anyone does.
    pub(crate) fn library(&self) -> Option<Arc<dyn Library>> {
        self.library.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The router that a connection calls. The table decides, so axum's own matching has one entry:
/// everything.
pub(crate) fn router(config: Config, address: SocketAddr, hub: Handle) -> (Router, Arc<Site>) {
    let guard = RwLock::new(Arc::new(Guard::new(&config, address)));
    let tools = Tools::new(config.tools);
    let changes = config.changes;
    let site = Arc::new(Site {
        hub,
        metrics: Metrics::new(),
        tools,
        shelf: Shelf::default(),
        changes,
        blobs: Semaphore::new(BLOBS_MAX),
        knowledge: config.knowledge,
        guard,
        library: RwLock::new(config.library),
    });
    (Router::new().fallback(enter).with_state(Arc::clone(&site)), site)
}

/// A path as it came, and what the table has for it.
enum Found<'a> {
    /// A route, and the rest of the path behind it.
    Route(&'static Route, &'a str),
    /// The path is known, but not with this method; these are.
    OtherMethods(Vec<&'static str>),
    Nothing,
}

fn find<'a>(method: &Method, path: &'a str) -> Found<'a> {
    let matches = |route: &Route| {
        let rest = path.strip_prefix(route.path)?;
        let takes_name = route.path.ends_with('/') && route.path != "/";
        (rest.is_empty() != takes_name).then_some(rest)
    };
    let known: Vec<(&Route, &str)> =
        ROUTES.iter().filter_map(|route| Some((route, matches(route)?))).collect();
    // A HEAD is a GET whose body is left out.
    let as_get = (*method == Method::HEAD).then_some(&Method::GET);
    for wanted in [Some(method), as_get].into_iter().flatten() {
        if let Some((route, rest)) = known.iter().find(|(route, _)| route.method == *wanted) {
            return Found::Route(route, rest);
        }
    }
    if known.is_empty() {
        return Found::Nothing;
    }
    Found::OtherMethods(known.iter().map(|(route, _)| route.method.as_str()).collect())
}

async fn enter(State(site): State<Arc<Site>>, request: Request) -> Response {
    let begun = Instant::now();
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let found = find(&parts.method, &path);
    let (policy, takes, label) = match &found {
        Found::Route(route, _) => (Some(route.policy), route.takes, route.path),
        Found::OtherMethods(_) | Found::Nothing => (None, Takes::Json, "other"),
    };
    let guard = site.guard();
    let peer = parts.extensions.get::<Peer>();
    let is_near = peer.is_some_and(|Peer(address)| address.is_loopback());
    let origin = guard.allowed_origin(&parts.headers).map(str::to_owned);
    let checked = guard.check(&parts, is_near, policy, takes);
    let mut response = match checked {
        Err(error) => speaks(&path, &parts.headers).refuse(&error),
        Ok(()) if parts.method == Method::OPTIONS => preflight(),
        Ok(()) => match found {
            Found::Route(route, rest) => serve(&site, route.endpoint, rest, &parts, body).await,
            Found::OtherMethods(methods) => other_method(&parts, &methods),
            Found::Nothing => speaks(&path, &parts.headers).refuse(&Error::new(
                404,
                format!(
                    "there is no {path} here; the OpenAI API begins at /v1/, Anthropic's at \
                     /v1/messages, Ollama's at /api/"
                ),
            )),
        },
    };
    allow_origin(&mut response, origin);
    site.metrics.request(label, response.status().as_u16(), begun.elapsed());
    response
}

async fn serve(
    site: &Arc<Site>,
    endpoint: Endpoint,
    rest: &str,
    parts: &Parts,
    body: Body,
) -> Response {
    let outcome = match endpoint {
        Endpoint::Health => Ok(answer::json(r#"{"status":"ok"}"#.to_owned())),
        Endpoint::Described => Ok(answer::json(openapi::document().to_owned())),
        Endpoint::Metrics => Ok(answer::text(site.metrics.render(&site.hub).await)),
        Endpoint::Models if anthropic::asks(&parts.headers) => Ok(anthropic::models(site).await),
        Endpoint::Models => answer::models(site).await,
        Endpoint::Model if anthropic::asks(&parts.headers) => anthropic::model(site, rest).await,
        Endpoint::Model => answer::model(site, rest).await,
        Endpoint::Chat => answer::chat(site, body).await,
        Endpoint::Responses => responses::create(site, body).await,
        Endpoint::ResponseTokens => responses::count_tokens(site, body).await,
        Endpoint::Response => responses::show(site, rest, parts.uri.query()),
        Endpoint::DeleteResponse => responses::delete(site, rest),
        Endpoint::Completions => answer::completions(site, body).await,
        Endpoint::Embeddings => answer::embeddings(site, body).await,
        Endpoint::Rerank(route) => rerank::rerank(site, route, body).await,
        Endpoint::Infill => llama_server::infill(site, body).await,
        Endpoint::Messages => anthropic::messages(site, body).await,
        Endpoint::CountTokens => anthropic::count_tokens(site, body).await,
        Endpoint::Speech => tools::speech(site, body).await,
        Endpoint::Transcriptions => tools::transcriptions(site, &parts.headers, body).await,
        Endpoint::Images => tools::images(site, body).await,
        Endpoint::Moderations => answer::moderations(body).await,
        Endpoint::Tool => tools::by_name(site, rest, parts.uri.query(), body).await,
        Endpoint::OllamaGreeting => Ok(answer::plain(ollama::GREETING)),
        Endpoint::OllamaVersion => Ok(ollama::version()),
        Endpoint::OllamaStatus => Ok(ollama::status()),
        Endpoint::OllamaChat => ollama::chat(site, body).await,
        Endpoint::OllamaGenerate => ollama::generate(site, body).await,
        Endpoint::OllamaEmbed => ollama::embed(site, Form::Embed, body).await,
        Endpoint::OllamaEmbeddings => ollama::embed(site, Form::Embeddings, body).await,
        Endpoint::OllamaTags => Ok(ollama::models::tags(&site.hub).await),
        Endpoint::OllamaResidents => Ok(ollama::models::residents(&site.hub).await),
        Endpoint::OllamaShow => ollama::models::show(site, &parts.headers, body).await,
        Endpoint::OllamaPull => ollama::library::pull(site, body).await,
        Endpoint::OllamaPush => ollama::library::push(body).await,
        Endpoint::OllamaCreate => ollama::library::create(site, body).await,
        Endpoint::OllamaCopy => ollama::library::copy(site, body).await,
        Endpoint::OllamaDelete => ollama::library::delete(site, body).await,
        Endpoint::OllamaHasBlob => ollama::library::has_blob(site, rest).await,
        Endpoint::OllamaPutBlob => ollama::library::put_blob(site, rest, body).await,
        Endpoint::VectorStores(asked) => stored(site, asked, rest, parts.uri.query(), body).await,
        Endpoint::Knowledge(asked) => known(site, asked, rest, body).await,
        Endpoint::Control(control) => controlled(site, control, rest, parts, body).await,
    };
    outcome.unwrap_or_else(|error| speaks(parts.uri.path(), &parts.headers).refuse(&error))
}

/// What the routes of a person's files do in OpenAI's words.
async fn stored(
    site: &Site,
    asked: VectorStores,
    rest: &str,
    query: Option<&str>,
    body: Body,
) -> Result<Response, Error> {
    match asked {
        VectorStores::List => vector_stores::list(site, query).await,
        VectorStores::One => vector_stores::one(site, rest).await,
        VectorStores::Search => vector_stores::search(site, rest, body).await,
        VectorStores::Refused => vector_stores::refused(body).await,
    }
}

/// What the routes of a person's files do.
async fn known(site: &Site, asked: Knowledge, rest: &str, body: Body) -> Result<Response, Error> {
    match asked {
        Knowledge::List => knowledge::list(site).await,
        Knowledge::One => knowledge::one(site, rest).await,
        Knowledge::Search => knowledge::search(site, body).await,
        Knowledge::Read => knowledge::read(site, body).await,
        Knowledge::Add => knowledge::add(site, body).await,
        Knowledge::Change => knowledge::change(site, rest, body).await,
        Knowledge::Remove => knowledge::remove(site, rest).await,
    }
}

/// What the control routes do.
async fn controlled(
    site: &Site,
    control: Control,
    rest: &str,
    parts: &Parts,
    body: Body,
) -> Result<Response, Error> {
    match control {
        Control::Residents => control::residents(&site.hub).await,
        Control::Models => control::models(&site.hub).await,
        Control::Stop => control::stop(&site.hub, body).await,
        Control::Warm => control::warm(site, body).await,
        Control::Pin => control::pin(&site.hub, body).await,
        Control::Reload => control::reload(site).await,
        Control::Explain => control::explain(site, parts.uri.query()).await,
        Control::WhatIf => control::what_if(&site.hub, body).await,
        Control::Requests => control::requests(&site.hub).await,
        Control::Events => Ok(stream::happenings(site.hub.happenings())),
        Control::Pulls => control::pulls::list(site).await,
        Control::PullEvents => control::pulls::events(site),
        Control::Pull => control::pulls::one(site, rest).await,
        Control::BeginPull => control::pulls::begin(site, body).await,
        Control::ChangePull => control::pulls::change(site, rest).await,
    }
}

/// Whose words an error is told in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaks {
    OpenAi,
    Anthropic,
    Ollama,
    Cohere,
}

impl Speaks {
    fn refuse(self, error: &Error) -> Response {
        match self {
            Self::OpenAi => answer::refuse(error),
            Self::Anthropic => anthropic::refuse(error),
            Self::Ollama => answer::refuse_with(error, dialect::ollama::error_body(error)),
            Self::Cohere => rerank::refuse_as_cohere(error),
        }
    }
}

/// Who calls this path, be there a route or not.
fn speaks(path: &str, headers: &HeaderMap) -> Speaks {
    let is_message = path == "/v1/messages" || path.starts_with("/v1/messages/");
    let is_model = path == "/v1/models" || path.starts_with("/v1/models/");
    let is_ours = path.starts_with("/api/tools/") || path.starts_with("/api/knowledge");
    if path.starts_with("/api/") && !is_ours {
        Speaks::Ollama
    } else if is_message || (is_model && anthropic::asks(headers)) {
        Speaks::Anthropic
    } else if path.starts_with("/v2/") {
        Speaks::Cohere
    } else {
        Speaks::OpenAi
    }
}

fn other_method(parts: &Parts, methods: &[&str]) -> Response {
    let (method, path) = (&parts.method, parts.uri.path());
    let methods = methods.join(", ");
    let error = Error::new(405, format!("{path} does not take {method}; it takes {methods}"));
    let mut response = speaks(path, &parts.headers).refuse(&error);
    if let Ok(methods) = HeaderValue::from_str(&methods) {
        response.headers_mut().insert(ALLOW, methods);
    }
    response
}

/// The answer to a browser that asks before it sends; [`allow_origin`] adds to whom it applies.
fn preflight() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// What a page may send: its key in either form, what Anthropic's clients add, and what the clients that
/// OpenAI and Anthropic publish say of themselves.
const HEADERS_ALLOWED: &str = "authorization, content-type, openai-beta, x-api-key, anthropic-version, \
     anthropic-beta, anthropic-dangerous-direct-browser-access, x-stainless-arch, \
     x-stainless-helper-method, x-stainless-lang, x-stainless-os, x-stainless-package-version, \
     x-stainless-retry-count, x-stainless-runtime, x-stainless-runtime-version, x-stainless-timeout";

/// Lets a page that passed the guard read the answer. Never `*`.
fn allow_origin(response: &mut Response, origin: Option<String>) {
    let Some(origin) = origin.and_then(|origin| HeaderValue::from_str(&origin).ok()) else {
        return;
    };
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, DELETE"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(HEADERS_ALLOWED));
    headers.insert(VARY, HeaderValue::from_static("origin"));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    /// A route that is added must be added here too, with a policy that somebody thought about.
    const POLICIES: &[&str] = &[
        "GET /health Open",
        "GET /openapi.json Open",
        "GET /metrics Inference",
        "GET /v1/models Inference",
        "GET /v1/models/ Inference",
        "POST /v1/chat/completions Inference",
        "POST /v1/responses Inference",
        "POST /v1/responses/input_tokens Inference",
        "GET /v1/responses/ Inference",
        "DELETE /v1/responses/ Inference",
        "POST /v1/completions Inference",
        "POST /v1/embeddings Inference",
        "POST /v1/rerank Inference",
        "POST /rerank Inference",
        "POST /v1/reranking Inference",
        "POST /reranking Inference",
        "POST /v2/rerank Inference",
        "POST /infill Inference",
        "POST /v1/messages Inference",
        "POST /v1/messages/count_tokens Inference",
        "POST /v1/audio/speech Inference",
        "POST /v1/audio/transcriptions Inference Form",
        "POST /v1/images/generations Inference",
        "POST /v1/moderations Inference",
        "GET /v1/vector_stores Inference",
        "GET /v1/vector_stores/ Inference",
        "POST /v1/vector_stores/ Inference",
        "POST /v1/vector_stores Inference",
        "DELETE /v1/vector_stores/ Inference",
        "POST /api/tools/ Inference Bytes",
        "GET / Inference",
        "GET /api/version Inference",
        "GET /api/status Inference",
        "POST /api/chat Inference Untyped",
        "POST /api/generate Inference Untyped",
        "POST /api/embed Inference Untyped",
        "POST /api/embeddings Inference Untyped",
        "GET /api/tags Inference",
        "GET /api/ps Inference",
        "POST /api/show Inference Untyped",
        "POST /api/pull Manage",
        "POST /api/push Manage",
        "POST /api/create Manage",
        "POST /api/copy Manage",
        "DELETE /api/delete Manage",
        "HEAD /api/blobs/ Manage",
        "POST /api/blobs/ Manage Raw",
        "GET /api/knowledge Inference",
        "POST /api/knowledge/search Inference",
        "POST /api/knowledge/read Inference",
        "POST /api/knowledge Control",
        "POST /api/knowledge/ Control",
        "GET /api/knowledge/ Control",
        "DELETE /api/knowledge/ Control",
        "GET /resident/v1/ps Control",
        "GET /resident/v1/models Control",
        "POST /resident/v1/stop Control",
        "POST /resident/v1/warm Control",
        "POST /resident/v1/pin Control",
        "POST /resident/v1/reload Control",
        "GET /resident/v1/explain Control",
        "POST /resident/v1/what-if Control",
        "GET /resident/v1/requests Control",
        "GET /resident/v1/events Control",
        "GET /resident/v1/pulls Control",
        "GET /resident/v1/pulls/events Control",
        "GET /resident/v1/pulls/ Control",
        "POST /resident/v1/pulls Control",
        "POST /resident/v1/pulls/ Control",
    ];

    #[test]
    fn every_route_has_its_policy() {
        let table: Vec<String> = ROUTES
            .iter()
            .map(|route| {
                let Route { method, path, policy, takes, .. } = route;
                match takes {
                    Takes::Json => format!("{method} {path} {policy:?}"),
                    Takes::Form | Takes::Bytes | Takes::Untyped | Takes::Raw => {
                        format!("{method} {path} {policy:?} {takes:?}")
                    }
                }
            })
            .collect();
        assert_eq!(table, POLICIES);
    }

    /// Who may ask, as the document says it.
    fn access(operation: &Value) -> Policy {
        let needed = operation["security"].as_array().unwrap();
        let needs = |scheme: &str| needed.iter().any(|one| one.get(scheme).is_some());
        let may_do_without = needed.iter().any(|one| one.as_object().unwrap().is_empty());
        match (needs("control_token"), needs("key")) {
            (true, false) if may_do_without => Policy::Manage,
            (true, false) => Policy::Control,
            (false, true) => Policy::Inference,
            (false, false) => Policy::Open,
            (true, true) => panic!("{operation}"),
        }
    }

    fn kind_of_body(operation: &Value) -> Option<&str> {
        let content = operation["requestBody"]["content"].as_object()?;
        content.keys().next().map(String::as_str)
    }

    #[test]
    fn the_document_has_every_route_and_no_other() {
        let document: Value = serde_json::from_str(openapi::document()).unwrap();
        let mut described = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            let table_path = path.split('{').next().unwrap();
            for (method, operation) in item.as_object().unwrap() {
                let is_it = |route: &&Route| {
                    route.path == table_path && route.method.as_str().eq_ignore_ascii_case(method)
                };
                let Some(route) = ROUTES.iter().find(is_it) else {
                    panic!("the document has {method} {path}, and the table has not");
                };
                assert_eq!(access(operation), route.policy, "{method} {path}");
                let wanted = match route.takes {
                    Takes::Json | Takes::Untyped => "application/json",
                    Takes::Form => "multipart/form-data",
                    Takes::Bytes | Takes::Raw => "application/octet-stream",
                };
                let takes = kind_of_body(operation);
                assert!(takes.is_none_or(|kind| kind == wanted), "{method} {path}: {takes:?}");
                let refuses_others = operation["responses"].get("415").is_some();
                let has_type = matches!(route.takes, Takes::Json | Takes::Form | Takes::Bytes);
                let is_managed = route.policy == Policy::Manage && route.method == Method::DELETE;
                let is_typed = has_type && (route.method == Method::POST || is_managed);
                assert_eq!(refuses_others, is_typed, "{method} {path}");
                // What stands behind a name in the path is told apart by who answers.
                described.insert((method, table_path));
            }
        }
        assert_eq!(described.len(), ROUTES.len(), "the document lacks a route of the table");
    }

    #[track_caller]
    fn check(method: &str, path: &str, expected: &str) {
        let seen = match find(&method.parse().unwrap(), path) {
            Found::Route(route, rest) => format!("{:?} {rest}", route.endpoint),
            Found::OtherMethods(methods) => methods.join(","),
            Found::Nothing => "nothing".to_owned(),
        };
        assert_eq!(seen.trim(), expected);
    }

    #[test]
    fn paths_are_taken_as_they_are() {
        check("GET", "/v1/models", "Models");
        check("HEAD", "/health", "Health");
        check("GET", "/v1/models/qwen/3", "Model qwen/3");
        check("GET", "/v1/models/", "nothing");
        check("POST", "/v1/models", "GET");
        check("GET", "/v1/chat/completions", "POST");
        check("POST", "/v1/chat/completions/", "nothing");
        check("POST", "//v1/chat/completions", "nothing");
        check("POST", "/resident/v1/../v1/stop", "nothing");
        check("POST", "/RESIDENT/v1/stop", "nothing");
        check("POST", "/v1/messages", "Messages");
        check("POST", "/v1/messages/count_tokens", "CountTokens");
        check("GET", "/v1/messages", "POST");
        check("POST", "/v1/messages/", "nothing");
        check("POST", "/v1/responses", "Responses");
        check("POST", "/v1/responses/input_tokens", "ResponseTokens");
        check("GET", "/v1/responses/resp_1/input_items", "Response resp_1/input_items");
        check("DELETE", "/v1/responses/resp_1", "DeleteResponse resp_1");
        check("POST", "/v1/responses/resp_1/cancel", "GET,DELETE");
        check("HEAD", "/", "OllamaGreeting");
        check("GET", "//", "nothing");
        check("HEAD", "/api/blobs/sha256:0", "OllamaHasBlob sha256:0");
        check("GET", "/api/blobs/sha256:0", "HEAD,POST");
        check("GET", "/resident/v1/pulls/events", "Control(PullEvents)");
        check("GET", "/resident/v1/pulls/7", "Control(Pull) 7");
        check("POST", "/resident/v1/pulls/7/pause", "Control(ChangePull) 7/pause");
        check("POST", "/v1/vector_stores/a%2Fb/search", "VectorStores(Search) a%2Fb/search");
        check("POST", "/api/knowledge/read", "Knowledge(Read)");
        check("POST", "/api/knowledge/read/scan", "Knowledge(Change) read/scan");
        check("GET", "/x", "nothing");
    }
}
