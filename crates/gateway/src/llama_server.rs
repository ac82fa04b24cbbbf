//! llama-server's own route that editors' completion plugins ask.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use dialect::llama_server::infill;
use dialect::{CachedBy, Error};
use worker_protocol::Event;

use crate::answer::{self, Job, Work};
use crate::routes::Site;
use crate::stream::{self, Encode, Framing};

pub(crate) async fn infill(site: &Arc<Site>, body: Body) -> Result<Response, Error> {
    let request = infill::decode(&answer::read_body(body).await?)?;
    let asked = request.model.clone();
    let wish = answer::wish(request.wish);
    let job = Job { model: request.model, work: Work::Generate(vec![request.generate]), wish };
    if request.stream {
        let encoder = Box::new(infill::StreamEncoder::new(&asked));
        return stream::respond(Arc::clone(site), job, encoder, false).await;
    }
    let mut encoder = infill::WholeEncoder::new(&asked);
    let (choices, model) = job.begin(&site.hub, None).await?;
    if let Some(model) = model {
        encoder.served_by(&model);
    }
    answer::collect(site, choices, |_, event| encoder.event(event)).await;
    let cached = encoder.cached();
    Ok(answer::with_cached(answer::json(encoder.finish()?), cached))
}

impl Encode for infill::StreamEncoder {
    /// Its requests have one choice.
    fn event(&mut self, _choice: u32, event: &Event, payloads: &mut Vec<String>) {
        self.event(event, payloads);
    }

    fn finish(&mut self, _payloads: &mut Vec<String>) {}

    fn begun(&mut self, model: Option<&str>, _waited: Duration) {
        if let Some(model) = model {
            self.served_by(model);
        }
    }

    fn cached(&self) -> Option<CachedBy> {
        self.cached()
    }

    fn framing(&self) -> Framing {
        Framing::Events
    }
}
