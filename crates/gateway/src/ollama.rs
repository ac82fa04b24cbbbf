//! Ollama's routes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use dialect::Error;
use dialect::ollama::{self, Ask, Form};
use supervisor::{Handle, Wish};

use crate::answer::{self, Job, Work};
use crate::routes::Site;
use crate::stream::{self, Framing};

/// By which clients know that they have found one.
pub(crate) const GREETING: &str = "Ollama is running";

/// The release of Ollama whose API is answered here. Clients compare it with what they need.
const VERSION: &str = "0.33.0";

/// What a name without a tag means to Ollama's clients, some of which say it always.
const TAG_DEFAULT: &str = ":latest";

pub(crate) fn version() -> Response {
    answer::json(format!(r#"{{"version":"{VERSION}"}}"#))
}

pub(crate) async fn chat(site: &Arc<Site>, body: Body) -> Result<Response, Error> {
    let request = ollama::chat::decode(&answer::read_body(body).await?)?;
    respond(site, Form::Chat, request).await
}

pub(crate) async fn generate(site: &Arc<Site>, body: Body) -> Result<Response, Error> {
    let request = ollama::generate::decode(&answer::read_body(body).await?)?;
    respond(site, Form::Generate, request).await
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
fn in_its_words(error: Error, asked: &str) -> Error {
    if error.status != 404 {
        return error;
    }
    let message = format!("model '{asked}' not found: {error}");
    Error { message, ..error }
}

async fn answered(
    site: &Arc<Site>,
    form: Form,
    request: ollama::Request,
) -> Result<Response, Error> {
    let ollama::Request { model: asked, ask, stream, wish } = request;
    let wish = answer::wish(wish);
    let model = known(&site.hub, &asked).await;
    let created_at = jiff::Timestamp::now().to_string();
    let generate = match ask {
        Ask::Generate(generate) => generate,
        Ask::Load => {
            let is_unloaded = load(&site.hub, &model, wish).await?;
            return Ok(answer::json(ollama::loaded(form, &created_at, &asked, is_unloaded)));
        }
    };
    let id = answer::new_id();
    let job = Job { model, work: Work::Generate(vec![*generate]), wish };
    if stream {
        let encoder = ollama::StreamEncoder::new(form, &id, &created_at, &asked);
        let framing = Framing::Lines { nothing: encoder.nothing() };
        return stream::respond(Arc::clone(site), job, Box::new(encoder), framing, false).await;
    }
    let mut encoder = ollama::WholeEncoder::new(form, &id, &created_at, &asked);
    let begun = Instant::now();
    let (choices, model) = job.begin(&site.hub, None).await?;
    encoder.served_by(model.as_deref(), begun.elapsed());
    answer::collect(site, choices, |_, event| encoder.event(event)).await;
    let cached = encoder.cached();
    Ok(answer::with_cached(answer::json(encoder.finish()?), cached))
}

/// The hub's name for what is asked for: of a model, or of a role.
async fn known(hub: &Handle, asked: &str) -> String {
    let plain = asked.strip_suffix(TAG_DEFAULT).filter(|plain| !plain.is_empty());
    match plain {
        Some(plain) if !is_known(hub, asked).await && is_known(hub, plain).await => plain,
        Some(_) | None => asked,
    }
    .to_owned()
}

async fn is_known(hub: &Handle, name: &str) -> bool {
    hub.is_role(name) || is_model(hub, name).await
}

/// Reading a header touches the disk, so it leaves the thread that serves connections.
async fn is_model(hub: &Handle, name: &str) -> bool {
    let (hub, name) = (hub.clone(), name.to_owned());
    tokio::task::spawn_blocking(move || hub.model(&name).is_some()).await.unwrap_or(false)
}

/// Loads a model, or lets one go that is to be kept for no time; says whether it was that. Of a role, what
/// is in memory goes.
async fn load(hub: &Handle, asked: &str, wish: Wish) -> Result<bool, Error> {
    let refusal = |error| answer::refusal(&error);
    if wish.keep_alive != Some(Duration::ZERO) {
        hub.warm(asked, wish.keep_alive).await.map_err(refusal)?;
        return Ok(false);
    }
    // A model comes before a role of its name.
    let names = match is_model(hub, asked).await {
        true => vec![asked.to_owned()],
        false if hub.is_role(asked) => hub.candidates(asked),
        false => return Err(Error::new(404, "the hub does not know it")),
    };
    for resident in hub.residents().await {
        // What nobody has loaded is not loaded to be unloaded.
        if names.contains(&resident.name) {
            hub.warm(&resident.name, wish.keep_alive).await.map_err(refusal)?;
        }
    }
    Ok(true)
}
