//! Ollama's routes that answer a prompt; `models` has its lists, `library` what changes them.

pub(crate) mod library;
pub(crate) mod models;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use dialect::Error;
use dialect::ollama::{self, Ask, Form, embed};
use supervisor::{Handle, Wish};

use crate::answer::{self, Job, Work};
use crate::name;
use crate::routes::Site;
use crate::stream::{self, Framing};

/// By which clients know that they have found one.
pub(crate) const GREETING: &str = "Ollama is running";

/// The release of Ollama whose API is answered here. Clients compare it with what they need.
const VERSION: &str = "0.33.0";

pub(crate) fn version() -> Response {
    answer::json(format!(r#"{{"version":"{VERSION}"}}"#))
}

/// What Ollama's app asks about models that run elsewhere: there are none, by this hub's configuration.
const STATUS: &str = r#"{"cloud":{"disabled":true,"source":"config"}}"#;

pub(crate) fn status() -> Response {
    answer::json(STATUS.to_owned())
}

pub(crate) async fn chat(site: &Arc<Site>, body: Body) -> Result<Response, Error> {
    let request = ollama::chat::decode(&answer::read_body(body).await?)?;
    respond(site, Form::Chat, request).await
}

pub(crate) async fn generate(site: &Arc<Site>, body: Body) -> Result<Response, Error> {
    let request = ollama::generate::decode(&answer::read_body(body).await?)?;
    respond(site, Form::Generate, request).await
}

pub(crate) async fn embed(
    site: &Arc<Site>,
    form: embed::Form,
    body: Body,
) -> Result<Response, Error> {
    let request = embed::decode(form, &answer::read_body(body).await?)?;
    let asked = request.model.clone();
    embedded(site, form, request).await.map_err(|error| match form {
        embed::Form::Embed => in_its_words(error, &asked),
        embed::Form::Embeddings => in_its_older_words(error, &asked),
    })
}

async fn embedded(
    site: &Arc<Site>,
    form: embed::Form,
    request: embed::Request,
) -> Result<Response, Error> {
    let begun = Instant::now();
    if request.embed.inputs.is_empty() {
        load(&site.hub, &request.model, answer::wish(&request.wish)).await?;
        return Ok(answer::json(embed::loaded(form, &request.model, begun.elapsed())));
    }
    let mut encoder = embed::WholeEncoder::new(form, &request, &request.model);
    let job = Job::new(request.model, Work::Embed(request.embed), request.wish);
    let (choices, model) = job.begin(site, None).await?;
    encoder.served_by(model.as_deref(), begun.elapsed());
    answer::collect(site, choices, |_, event| encoder.event(event)).await;
    Ok(answer::json(encoder.finish()?))
}

async fn respond(
    site: &Arc<Site>,
    form: Form,
    request: ollama::Request,
) -> Result<Response, Error> {
    let asked = request.model.clone();
    answered(site, form, request).await.map_err(|error| in_its_words(error, &asked))
}

/// Clients know by these words that a name is unknown.
pub(crate) fn in_its_words(error: Error, asked: &str) -> Error {
    if error.status != 404 {
        return error;
    }
    let message = format!("model '{asked}' not found: {error}");
    Error { message, ..error }
}

/// The same by the older route.
fn in_its_older_words(error: Error, asked: &str) -> Error {
    if error.status != 404 {
        return error;
    }
    let message = format!("model \"{asked}\" not found, try pulling it first: {error}");
    Error { message, ..error }
}

async fn answered(
    site: &Arc<Site>,
    form: Form,
    request: ollama::Request,
) -> Result<Response, Error> {
    let ollama::Request { model: asked, ask, stream, wish } = request;
    let created_at = jiff::Timestamp::now().to_string();
    let generate = match ask {
        Ask::Generate(generate) => generate,
        Ask::Load => {
            let is_unloaded = load(&site.hub, &asked, answer::wish(&wish)).await?;
            return Ok(answer::json(ollama::loaded(form, &created_at, &asked, is_unloaded)));
        }
    };
    let id = answer::new_id();
    let job = Job::new(asked.clone(), Work::Generate(vec![*generate]), wish);
    if stream {
        let encoder = ollama::StreamEncoder::new(form, &id, &created_at, &asked);
        let framing = Framing::Lines { nothing: encoder.nothing() };
        return stream::respond(Arc::clone(site), job, Box::new(encoder), framing, false).await;
    }
    let mut encoder = ollama::WholeEncoder::new(form, &id, &created_at, &asked);
    let begun = Instant::now();
    let (choices, model) = job.begin(site, None).await?;
    encoder.served_by(model.as_deref(), begun.elapsed());
    answer::collect(site, choices, |_, event| encoder.event(event)).await;
    let cached = encoder.cached();
    Ok(answer::with_cached(answer::json(encoder.finish()?), cached))
}

/// Loads a model, or lets one go that is to be kept for no time; says whether it was that. Of a role, what
/// is in memory goes.
async fn load(hub: &Handle, asked: &str, wish: Wish) -> Result<bool, Error> {
    let refusal = |error| answer::refusal(&error);
    // Collections of files take no memory.
    let asked = match name::with_collections(hub, asked).await {
        Some((model, _)) => &*model.clone(),
        None => &*name::known(hub, asked).await,
    };
    if wish.keep_alive != Some(Duration::ZERO) {
        hub.warm(asked, wish.keep_alive).await.map_err(refusal)?;
        return Ok(false);
    }
    // A model comes before a role of its name.
    let names = match name::of_model(hub, asked).await {
        Some(name) => vec![name],
        None if hub.is_role(asked) => hub.candidates(asked),
        None => return Err(Error::new(404, "the hub does not know it")),
    };
    for resident in hub.residents().await {
        // What nobody has loaded is not loaded to be unloaded.
        if names.contains(&resident.name) {
            hub.warm(&resident.name, wish.keep_alive).await.map_err(refusal)?;
        }
    }
    Ok(true)
}
