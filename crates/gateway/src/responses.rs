//! OpenAI's `/v1/responses`: answers, what is kept of them, and how many tokens a request is.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use dialect::openai::responses::{
    self, Beginning, Earlier, Page, Request, StreamEncoder, WholeEncoder,
};
use dialect::{CachedBy, Encode, Error};
use worker_protocol::Event;

use crate::answer::{self, Job, Work};
use crate::routes::Site;
use crate::stream::{self, Framing};

pub(crate) async fn create(site: &Arc<Site>, body: Body) -> Result<Response, Error> {
    let request = responses::decode(&answer::read_body(body).await?, &site.shelf)?;
    let Request { model, generate, stream, wish, told } = request;
    // Whoever knows an id may read the answer, so nobody must be able to try them all.
    let id = answer::new_id() + &answer::new_id();
    let beginning = Beginning::new(told, &id, answer::now_unix_s(), &model);
    let job = Job::new(model, Work::Generate(vec![generate]), wish);
    if stream {
        let encoder = StreamEncoder::new(beginning.clone());
        let encoder = Box::new(Keeping { encoder, site: Arc::clone(site) });
        let framing = Framing::NumberedEvents { beginning: Box::new(beginning) };
        return stream::respond(Arc::clone(site), job, encoder, framing, false).await;
    }
    let mut encoder = WholeEncoder::new(beginning);
    let (choices, model) = job.begin(site, None).await?;
    if let Some(model) = model {
        encoder.served_by(&model);
    }
    answer::collect(site, choices, |_, event| encoder.event(event)).await;
    let cached = encoder.cached();
    let (response, kept) = encoder.finish()?;
    if let Some(kept) = kept {
        site.shelf.keep(kept);
    }
    Ok(answer::with_cached(answer::json(response), cached))
}

/// The model is loaded for it: nobody else knows its tokens, and whoever counts is about to ask.
pub(crate) async fn count_tokens(site: &Arc<Site>, body: Body) -> Result<Response, Error> {
    let request = responses::decode(&answer::read_body(body).await?, &site.shelf)?;
    let Request { model, generate, wish, .. } = request;
    let job = Job::new(model, Work::Count(Box::new(generate)), wish);
    let (mut choices, _) = job.begin(site, None).await?;
    // What was counted is no usage: nothing was computed.
    let broke_off = || Error::new(500, "the count broke off; try again");
    let (_, event) = choices.next().await.ok_or_else(broke_off)?;
    responses::counted(&event).map(answer::json)
}

/// An answer that is kept, or what was said to the model before it. `rest` is the path behind `/v1/responses/`.
pub(crate) fn show(site: &Site, rest: &str, query: Option<&str>) -> Result<Response, Error> {
    let query: Vec<_> = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).collect();
    let page = Page::decode(query.iter().map(|(key, value)| (&**key, &**value)))?;
    let (id, is_input) = match rest.strip_suffix("/input_items") {
        Some(id) => (id, true),
        None => (rest, false),
    };
    let kept = site.shelf.answer(id).ok_or_else(|| responses::not_found(id))?;
    let shown = if is_input { kept.input_items(&page)? } else { kept.response.clone() };
    Ok(answer::json(shown))
}

/// Throws away what is kept of an answer.
pub(crate) fn delete(site: &Site, id: &str) -> Result<Response, Error> {
    if !site.shelf.remove(id) {
        return Err(responses::not_found(id));
    }
    Ok(answer::json(responses::deleted(id)))
}

/// Keeps the answer of a stream before its reader hears that it has ended, for it may go on at once.
struct Keeping {
    encoder: StreamEncoder,
    site: Arc<Site>,
}

impl Encode for Keeping {
    fn begun(&mut self, model: Option<&str>, waited: Duration) {
        self.encoder.begun(model, waited);
    }

    fn event(&mut self, choice: u32, event: &Event, out: &mut Vec<String>) {
        self.encoder.event(choice, event, out);
        if let Some(kept) = self.encoder.kept() {
            self.site.shelf.keep(kept);
        }
    }

    fn finish(&mut self, out: &mut Vec<String>) {
        self.encoder.finish(out);
    }

    fn cached(&self) -> Option<CachedBy> {
        self.encoder.cached()
    }
}
