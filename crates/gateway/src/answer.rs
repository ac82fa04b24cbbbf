//! Whole answers: errors, lists, and generations that are not streamed. The generating routes come
//! in here and turn to `stream` when the client wants one.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::{Body, HttpBody};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use axum::response::Response;
use bytes::Bytes;
use dialect::openai::{chat, completion, embedding, model};
use dialect::{CachedBy, Error};
use futures_util::StreamExt;
use http_body_util::BodyExt;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use supervisor::{
    AcquireError, Answer, Handle, Lease, Loss, ModelSummary, Priority, Purpose, Served, Watch, Wish,
};
use worker_protocol::{Embed, Event, Generate, Rank};

use crate::knowledge::consult::{self, Cites};
use crate::limits::{BODY_BYTES_MAX, BODY_WAIT_MAX, DRAIN_BYTES_MAX, DRAIN_WAIT_MAX};
use crate::name;
use crate::routes::Site;
use crate::stream::{self, Framing};

/// Where an answer says which cached tokens came from where.
const CACHE_HEADER: HeaderName = HeaderName::from_static("x-resident-cache");

// Generations.

pub(crate) async fn chat(site: &Arc<Site>, body: Body) -> Result<Response, Error> {
    let request = chat::decode(&read_body(body).await?)?;
    site.guard().check_grammars(&request.generates)?;
    let (id, created) = (new_id(), now_unix_s());
    if request.stream {
        let encoder = chat::StreamEncoder::new(&request, &id, created, &request.model);
        let tells_progress = request.include_progress;
        let job = Job::new(request.model, Work::Generate(request.generates), request.wish);
        let (encoder, framing) = (Box::new(encoder), Framing::Events);
        return stream::respond(Arc::clone(site), job, encoder, framing, tells_progress).await;
    }
    let mut encoder = chat::WholeEncoder::new(&request, &id, created, &request.model);
    let job = Job::new(request.model, Work::Generate(request.generates), request.wish);
    let (choices, model) = job.begin(site, None).await?;
    if let Some(model) = model {
        encoder.served_by(&model);
    }
    collect(site, choices, |choice, event| encoder.event(choice, event)).await;
    let cached = encoder.cached();
    Ok(with_cached(json(encoder.finish()?), cached))
}

pub(crate) async fn completions(site: &Arc<Site>, body: Body) -> Result<Response, Error> {
    let request = completion::decode(&read_body(body).await?)?;
    site.guard().check_grammars(&request.generates)?;
    let (id, created) = (new_id(), now_unix_s());
    if request.stream {
        let encoder = completion::StreamEncoder::new(&request, &id, created, &request.model);
        let job = Job::new(request.model, Work::Generate(request.generates), request.wish);
        let (encoder, framing) = (Box::new(encoder), Framing::Events);
        return stream::respond(Arc::clone(site), job, encoder, framing, false).await;
    }
    let mut encoder = completion::WholeEncoder::new(&request, &id, created, &request.model);
    let job = Job::new(request.model, Work::Generate(request.generates), request.wish);
    let (choices, model) = job.begin(site, None).await?;
    if let Some(model) = model {
        encoder.served_by(&model);
    }
    collect(site, choices, |choice, event| encoder.event(choice, event)).await;
    let cached = encoder.cached();
    Ok(with_cached(json(encoder.finish()?), cached))
}

pub(crate) async fn embeddings(site: &Arc<Site>, body: Body) -> Result<Response, Error> {
    let request = embedding::decode(&read_body(body).await?)?;
    let mut encoder = embedding::WholeEncoder::new(&request, &request.model);
    let job = Job::new(request.model.clone(), Work::Embed(request.embed), request.wish);
    let (choices, model) = job.begin(site, None).await?;
    encoder.served_by(model.as_deref().unwrap_or(&request.model));
    collect(site, choices, |_, event| encoder.event(event)).await;
    Ok(json(encoder.finish()?))
}

/// What a request asks of the hub.
pub(crate) struct Job {
    /// A model, or a role.
    pub(crate) model: String,
    pub(crate) work: Work,
    pub(crate) wish: Wish,
    /// Collections of files that are to answer, beside those behind the model's name.
    pub(crate) knowledge: Vec<String>,
}

pub(crate) enum Work {
    /// Text: one answer for each choice.
    Generate(Vec<Generate>),
    Embed(Embed),
    Rank(Rank),
    /// How many tokens the prompt of this has, which nobody answers.
    Count(Box<Generate>),
}

impl Job {
    pub(crate) fn new(model: String, work: Work, mut wish: dialect::Wish) -> Self {
        let knowledge = std::mem::take(&mut wish.knowledge);
        Self { model, work, wish: self::wish(&wish), knowledge }
    }

    /// Gets the model and begins the answers; returns when the first event came. With them comes the
    /// model's name, if a role was asked for. `watch` shows meanwhile what is waited for.
    ///
    /// A request of which nothing was seen is put elsewhere: to the next worker, once, when it came
    /// just as its worker had died, before the hub saw it; and along the models of its role, each
    /// once, when the one that was to answer is broken.
    pub(crate) async fn begin(
        mut self,
        site: &Site,
        watch: Option<&Watch>,
    ) -> Result<(Choices, Option<String>), Error> {
        let hub = &site.hub;
        let cites =
            consult::consult(site, &mut self.model, &mut self.work, &self.knowledge).await?;
        self.model = name::known(hub, &self.model).await;
        let served = hub.serve(&self.model, self.work.purpose(), self.wish, watch).await;
        let Served { mut lease, mut model } = served.map_err(|error| refusal(&error))?;
        let mut losses = Losses::default();
        loop {
            let mut choices = Choices::new(self.work.answers(&lease));
            drop(lease);
            choices.heard = choices.next().await;
            let Some(loss) = choices.loss().await else {
                choices.cites = cites;
                return Ok((choices, model));
            };
            match self.elsewhere(loss, model.as_deref(), &mut losses, hub).await {
                Ok(Some(served)) => (lease, model) = (served.lease, served.model),
                Ok(None) => return Ok((choices, model)),
                Err(error) => {
                    tracing::info!(%error, "a lost request found nobody else");
                    return Ok((choices, model));
                }
            }
        }
    }

    /// Who serves what was lost; `None` when nobody else can. `model` is the one that lost it, where
    /// a role was asked for.
    async fn elsewhere(
        &self,
        loss: Loss,
        model: Option<&str>,
        losses: &mut Losses,
        hub: &Handle,
    ) -> Result<Option<Served>, AcquireError> {
        let purpose = self.work.purpose();
        if loss == Loss::Died && !std::mem::replace(&mut losses.has_restarted, true) {
            let again = hub.serve(model.unwrap_or(&self.model), purpose, self.wish, None).await;
            match (again, model) {
                (Ok(Served { lease, model: _ }), _) => {
                    return Ok(Some(Served { lease, model: model.map(str::to_owned) }));
                }
                (Err(error), None) => return Err(error),
                (Err(error), Some(model)) => tracing::info!(model, %error, "it does not come back"),
            }
        }
        let Some(model) = model else { return Ok(None) };
        losses.lost_by.push(model.to_owned());
        let next = hub.serve_without(&losses.lost_by, &self.model, purpose, self.wish, None);
        next.await.map(Some)
    }
}

/// What a request went through before it was answered.
#[derive(Default)]
struct Losses {
    /// Whether a worker's death was made good by another of the same model.
    has_restarted: bool,
    /// Models of the role that were asked and are broken.
    lost_by: Vec<String>,
}

impl Work {
    fn purpose(&self) -> Purpose<'_> {
        match self {
            Self::Generate(generates) => Purpose::Generate(generates),
            Self::Embed(embed) => Purpose::Embed(embed),
            Self::Rank(rank) => Purpose::Rank(rank),
            // Of a role the one that would answer counts.
            Self::Count(generate) => Purpose::Generate(std::slice::from_ref(generate)),
        }
    }

    fn answers(&self, lease: &Lease) -> Vec<Option<Answer>> {
        match self {
            Self::Generate(generates) => {
                generates.iter().map(|generate| Some(lease.generate(generate.clone()))).collect()
            }
            Self::Embed(embed) => vec![Some(lease.embed(embed.clone()))],
            Self::Rank(rank) => vec![Some(lease.rank(rank.clone()))],
            Self::Count(generate) => vec![Some(lease.count(generate.prompt.clone()))],
        }
    }
}

/// What a client wishes, as the hub is told.
pub(crate) fn wish(wish: &dialect::Wish) -> Wish {
    let priority = if wish.background { Priority::Background } else { Priority::Interactive };
    Wish { priority, keep_alive: wish.keep_alive }
}

/// Events of all choices in the order in which they come. Dropping it cancels what still runs.
pub(crate) struct Choices {
    answers: Vec<Option<Answer>>,
    /// Where the search for the next event begins, so that no choice starves the others.
    first: usize,
    /// An event that was waited for already.
    heard: Option<(u32, Event)>,
    /// What the answers may cite.
    cites: Option<Cites>,
    /// The end of a choice, which comes behind what it cites.
    ended: Option<(u32, Event)>,
}

impl Choices {
    fn new(answers: Vec<Option<Answer>>) -> Self {
        Self { answers, first: 0, heard: None, cites: None, ended: None }
    }

    /// The next event of any choice, and which; `None` when all have ended.
    pub(crate) async fn next(&mut self) -> Option<(u32, Event)> {
        if let Some(ended) = self.ended.take() {
            return Some(ended);
        }
        let (choice, event) = match self.heard.take() {
            Some(heard) => heard,
            None => self.next_event().await?,
        };
        if let Some(cites) = &mut self.cites
            && let Some(sources) = cites.below(choice, &event).await
        {
            self.ended = Some((choice, event));
            return Some((choice, sources));
        }
        Some((choice, event))
    }

    /// How the answer was lost, if what was heard says that it was.
    async fn loss(&self) -> Option<Loss> {
        let Some((choice, Event::Failed(_))) = &self.heard else { return None };
        self.answers.get(usize::try_from(*choice).ok()?)?.as_ref()?.loss().await
    }

    async fn next_event(&mut self) -> Option<(u32, Event)> {
        // Nearly every request has one choice, and this runs for each of its tokens.
        if let [Some(only)] = &mut *self.answers {
            return Some((0, only.next().await?));
        }
        loop {
            let count = self.answers.len();
            let (before, after) = self.answers.split_at_mut(self.first.min(count));
            let rotated = (self.first..).zip(after).chain((0..).zip(before));
            let mut waits: futures_util::stream::FuturesUnordered<_> = rotated
                .filter_map(|(choice, answer)| Some((choice, answer.as_mut()?)))
                .map(|(choice, answer)| async move { (choice, answer.next().await) })
                .collect();
            let (choice, event) = waits.next().await?;
            drop(waits);
            self.first = choice + 1;
            if let Some(event) = event {
                return Some((u32::try_from(choice).unwrap_or(u32::MAX), event));
            }
            self.answers[choice] = None;
        }
    }
}

/// Feeds a whole answer's events to its encoder. The first failure ends it: there is nothing to
/// tell then but the failure, so the other choices are cancelled.
pub(crate) async fn collect(
    site: &Arc<Site>,
    mut choices: Choices,
    mut take: impl FnMut(u32, &Event),
) {
    while let Some((choice, event)) = choices.next().await {
        count(site, &event);
        take(choice, &event);
        if matches!(event, Event::Failed(_)) {
            break;
        }
    }
}

/// Adds an ended answer to the metrics.
pub(crate) fn count(site: &Site, event: &Event) {
    if let Event::Finished(finished) = event {
        site.metrics.usage(&finished.usage);
    }
}

/// Why there is no room, as the client hears it.
pub(crate) fn refusal(error: &AcquireError) -> Error {
    let message = error.to_string();
    match error {
        AcquireError::UnknownModel { .. } => {
            Error::new(404, message).at("model").code("model_not_found")
        }
        AcquireError::Unusable { .. } => {
            Error::new(400, message).at("model").code("model_unusable")
        }
        AcquireError::TakesNone { .. } => {
            Error::new(400, message).at("model").code("model_takes_text_only")
        }
        AcquireError::NoSuchAdapter { .. } => Error::no_such_adapter(message),
        AcquireError::TooLarge { .. } => {
            Error::new(400, message).at("model").code("model_too_large")
        }
        // It may load later, and is not even tried before.
        AcquireError::LoadFailed { retry_after: wait @ Some(_), .. } => {
            Error::new(503, message).code("model_load_failed").retry_after(*wait)
        }
        AcquireError::LoadFailed { retry_after: None, .. } => {
            Error::new(500, message).code("model_load_failed")
        }
        AcquireError::Overloaded { .. } => Error::new(503, message).code("overloaded"),
        AcquireError::Stopped { .. } => Error::new(503, message).code("model_stopped"),
        AcquireError::NobodyServes { last, is_too_long, retry_after, .. } => match last {
            // The last one's failure says best what kind of trouble it is.
            Some(last) => Error { message, ..refusal(last) },
            None if *is_too_long => {
                Error::new(400, message).at("model").code("context_length_exceeded")
            }
            None if retry_after.is_some() => {
                Error::new(503, message).code("model_load_failed").retry_after(*retry_after)
            }
            None => Error::new(400, message).at("model").code("no_suitable_model"),
        },
        AcquireError::ShuttingDown => Error::new(503, message).code("shutting_down"),
    }
}

// Lists.

pub(crate) async fn models(site: &Site) -> Result<Response, Error> {
    Ok(json(model::list(&listed(site).await)))
}

pub(crate) async fn model(site: &Site, name: &str) -> Result<Response, Error> {
    Ok(json(model::one(&found(site, name).await?)))
}

/// Models, and behind them roles.
pub(crate) async fn listed(site: &Site) -> Vec<model::Model> {
    let models = list_models(&site.hub).await;
    let roles = site.hub.roles().into_iter().map(role_row);
    models.iter().map(model_row).chain(roles).collect()
}

/// The model or role of this name, as it stands in a path.
pub(crate) async fn found(site: &Site, name: &str) -> Result<model::Model, Error> {
    let name = name::known(&site.hub, &percent_decode_str(name).decode_utf8_lossy()).await;
    let models = list_models(&site.hub).await;
    if let Some(found) = models.iter().find(|model| model.name == name) {
        return Ok(model_row(found));
    }
    if let Some(role) = site.hub.roles().into_iter().find(|role| *role == name) {
        return Ok(role_row(role));
    }
    let message = format!("no model is named '{name}'; GET /v1/models lists them");
    Err(Error::new(404, message).at("model").code("model_not_found"))
}

fn model_row(model: &ModelSummary) -> model::Model {
    // What a foreign engine serves has no date, and clients expect a number.
    let created_unix_s = model.engine.file().map_or(0, |file| file.modified_unix_s);
    model::Model { id: model.name.clone(), created_unix_s }
}

/// Clients that offer the list to a person offer roles with it. They have no date either.
fn role_row(role: String) -> model::Model {
    model::Model { id: role, created_unix_s: 0 }
}

/// Reading headers touches the disk, so it leaves the thread that serves connections.
pub(crate) async fn list_models(hub: &Handle) -> Vec<ModelSummary> {
    hub.look_elsewhere().await;
    let hub = hub.clone();
    tokio::task::spawn_blocking(move || hub.models()).await.unwrap_or_default()
}

/// Nothing here judges texts. It is no status that clients try again.
pub(crate) async fn moderations(body: Body) -> Result<Response, Error> {
    read_body(body).await?;
    let message = "this hub serves no model that judges texts; turn moderation off in the client, or ask a \
                   chat model and hold its answer to a schema with response_format";
    Err(Error::new(404, message).code("unsupported_endpoint"))
}

// Bodies.

/// The whole body, up to the limit of what is not an upload.
pub(crate) async fn read_body(body: Body) -> Result<Bytes, Error> {
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut incoming = Incoming::new(BODY_BYTES_MAX, body);
    let mut read = Vec::with_capacity(declared.min(BODY_BYTES_MAX));
    while let Some(piece) = incoming.next().await? {
        read.extend_from_slice(&piece);
    }
    Ok(read.into())
}

/// A body as it comes, within its bounds.
pub(crate) struct Incoming {
    body: Body,
    bytes_max: usize,
    bytes: usize,
}

impl Incoming {
    pub(crate) fn new(bytes_max: usize, body: Body) -> Self {
        Self { body, bytes_max, bytes: 0 }
    }

    /// The next piece; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let to_come = usize::try_from(self.body.size_hint().lower()).unwrap_or(usize::MAX);
        if self.bytes.saturating_add(to_come) > self.bytes_max {
            return Err(self.too_large().await);
        }
        loop {
            let frame = tokio::time::timeout(BODY_WAIT_MAX, self.body.frame()).await;
            let frame = frame.map_err(|_| Error::new(408, "the rest of the body did not come"))?;
            let Some(frame) = frame else { return Ok(None) };
            let frame =
                frame.map_err(|error| Error::invalid(format!("the body broke off: {error}")))?;
            let Ok(piece) = frame.into_data() else { continue };
            self.bytes += piece.len();
            if self.bytes > self.bytes_max {
                return Err(self.too_large().await);
            }
            return Ok(Some(piece));
        }
    }

    /// The refusal of a body over the limit, once its rest is out of the way.
    async fn too_large(&mut self) -> Error {
        drain(std::mem::take(&mut self.body)).await;
        let most = self.bytes_max >> 20;
        let message = format!("the body is larger than {most} MiB; send less in one request");
        Error::new(413, message).code("body_too_large")
    }
}

/// Throws the rest of a body away.
async fn drain(mut body: Body) {
    let throw_away = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > DRAIN_BYTES_MAX {
                return;
            }
        }
    };
    // Whoever sends for longer than this gets a broken pipe.
    let _ = tokio::time::timeout(DRAIN_WAIT_MAX, throw_away).await;
}

/// Says in the head where cached tokens were found.
pub(crate) fn with_cached(mut response: Response, cached: CachedBy) -> Response {
    let said = match (cached.tokens(), cached) {
        (0, _) => Ok(HeaderValue::from_static("none")),
        (_, CachedBy { live, ram, ssd }) => {
            HeaderValue::from_str(&format!("live={live}, ram={ram}, ssd={ssd}"))
        }
    };
    // Digits and commas are always a header's value.
    if let Ok(said) = said {
        response.headers_mut().insert(CACHE_HEADER, said);
    }
    response
}

pub(crate) fn json(body: String) -> Response {
    respond(StatusCode::OK, "application/json", body)
}

pub(crate) fn serialized(value: &impl Serialize) -> Result<Response, Error> {
    let body = serde_json::to_string(value);
    body.map(json).map_err(|error| Error::new(500, format!("cannot write the answer: {error}")))
}

pub(crate) fn text(body: String) -> Response {
    respond(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", body)
}

pub(crate) fn plain(body: &'static str) -> Response {
    respond(StatusCode::OK, "text/plain; charset=utf-8", body.to_owned())
}

/// The error as an answer.
pub(crate) fn refuse(error: &Error) -> Response {
    refuse_with(error, error.to_json())
}

/// The same, told in a dialect's own words.
pub(crate) fn refuse_with(error: &Error, body: String) -> Response {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = respond(status, "application/json", body);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        // Rounded up, so that whoever obeys is not too early.
        let wait_s = error.retry_after.map_or(1, |wait| wait.as_secs() + 1);
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait_s));
    }
    response
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response {
    let mut response = typed(HeaderValue::from_static(kind), body.into());
    *response.status_mut() = status;
    response
}

/// A success of any kind.
pub(crate) fn typed(kind: HeaderValue, body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// An id that no other answer of this or another run has.
pub(crate) fn new_id() -> String {
    format!("{:016x}", unforeseen())
}

/// A number that nobody foresees, another one each time.
pub(crate) fn unforeseen() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    // `RandomState` is keyed by the system's randomness.
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u64(COUNT.fetch_add(1, Ordering::Relaxed));
    hasher.finish()
}

pub(crate) fn now_unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A time as RFC 3339 writes it.
pub(crate) fn time(unix_s: u64) -> String {
    let seconds = i64::try_from(unix_s).ok();
    seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()).unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn whoever_may_try_again_later_hears_when() {
        let failed = |retry_after| AcquireError::LoadFailed {
            name: "m".to_owned(),
            message: "it is odd".to_owned(),
            retry_after,
        };
        let later = refuse(&refusal(&failed(Some(Duration::from_millis(59_500)))));
        assert_eq!(
            (later.status().as_u16(), &later.headers()[RETRY_AFTER]),
            (503, &HeaderValue::from(60))
        );
        let never = refuse(&refusal(&failed(None)));
        assert_eq!((never.status().as_u16(), never.headers().get(RETRY_AFTER)), (500, None));
    }
}
