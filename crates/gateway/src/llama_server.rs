//! llama-server's own route that editors' completion plugins ask.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use dialect::Error;
use dialect::llama_server::infill;

use crate::answer::{self, Job, Work};
use crate::routes::Site;
use crate::stream::{self, Framing};

pub(crate) async fn infill(site: &Arc<Site>, body: Body) -> Result<Response, Error> {
    let request = infill::decode(&answer::read_body(body).await?)?;
    let asked = request.model.clone();
    let wish = answer::wish(request.wish);
    let job = Job { model: request.model, work: Work::Generate(vec![request.generate]), wish };
    if request.stream {
        let encoder = Box::new(infill::StreamEncoder::new(&asked));
        return stream::respond(Arc::clone(site), job, encoder, Framing::Events, false).await;
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
