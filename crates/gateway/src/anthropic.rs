//! Anthropic's routes.

use std::sync::Arc;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{HeaderName, HeaderValue};
use axum::response::Response;
use dialect::Error;
use dialect::anthropic::{self, count, messages, model};
use dialect::openai::model::Model;
use worker_protocol::Generate;

use crate::answer::{self, Job, Work};
use crate::routes::Site;
use crate::stream::{self, Framing};

/// Where clients look for what they can ask about.
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// By which clients say which of Anthropic's API they know; nobody else sends it.
const VERSION: HeaderName = HeaderName::from_static("anthropic-version");

/// Whether it is one of Anthropic's clients that asks, where others ask the same path.
pub(crate) fn asks(headers: &HeaderMap) -> bool {
    headers.contains_key(VERSION)
}

/// The list of models.
pub(crate) async fn models(site: &Site) -> Response {
    let models: Vec<model::Model> = answer::listed(site).await.into_iter().map(row).collect();
    answer::json(model::list(&models))
}

/// One of them.
pub(crate) async fn model(site: &Site, name: &str) -> Result<Response, Error> {
    Ok(answer::json(model::one(&row(answer::found(site, name).await?))))
}

fn row(model: Model) -> model::Model {
    model::Model { created_at: answer::time(model.created_unix_s), id: model.id }
}

pub(crate) async fn messages(site: &Arc<Site>, body: Body) -> Result<Response, Error> {
    let request = messages::decode(&answer::read_body(body).await?)?;
    let messages::Request { model, generate, stream, wish } = request;
    let id = answer::new_id();
    let work = Work::Generate(vec![generate]);
    let job = Job::new(model.clone(), work, wish);
    if stream {
        let encoder = Box::new(anthropic::StreamEncoder::new(&id, &model));
        return stream::respond(Arc::clone(site), job, encoder, Framing::NamedEvents, false).await;
    }
    let mut encoder = anthropic::WholeEncoder::new(&id, &model);
    let (choices, model) = job.begin(site, None).await?;
    if let Some(model) = model {
        encoder.served_by(&model);
    }
    answer::collect(site, choices, |_, event| encoder.event(event)).await;
    let cached = encoder.cached();
    Ok(answer::with_cached(answer::json(encoder.finish()?), cached))
}

/// The model is loaded for it: nobody else knows its tokens, and whoever counts is about to ask.
pub(crate) async fn count_tokens(site: &Arc<Site>, body: Body) -> Result<Response, Error> {
    let count::Request { model, prompt, wish } = count::decode(&answer::read_body(body).await?)?;
    let work = Work::Count(Box::new(Generate::new(prompt)));
    let job = Job::new(model, work, wish);
    let (mut choices, _) = job.begin(site, None).await?;
    // What was counted is no usage: nothing was computed.
    let broke_off = || Error::new(500, "the count broke off; try again");
    let (_, event) = choices.next().await.ok_or_else(broke_off)?;
    count::answer(&event).map(answer::json)
}

/// The error as an answer, with what the person can ask about.
pub(crate) fn refuse(error: &Error) -> Response {
    let id = format!("req_{}", answer::new_id());
    tracing::debug!(request_id = id, %error, "refused");
    let mut response = answer::refuse_with(error, anthropic::error_body(error, Some(&id)));
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}
