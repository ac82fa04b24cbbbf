//! llama-server's own route that editors' completion plugins ask.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use dialect::Error;
use dialect::llama_server::infill;
use supervisor::{Handle, ModelSummary};

use crate::answer::{self, Job, Work};
use crate::routes::Site;
use crate::stream::{self, Framing};

pub(crate) async fn infill(site: &Arc<Site>, body: Body) -> Result<Response, Error> {
    let request = infill::decode(&answer::read_body(body).await?)?;
    let infill::Request { model, generate, stream, wish, told } = request;
    let generates = vec![generate];
    site.guard().check_grammars(&generates)?;
    let model = match model {
        Some(model) => model,
        None => one_that_fills(&site.hub).await?,
    };
    let job = Job::new(model.clone(), Work::Generate(generates), wish);
    if stream {
        let encoder = Box::new(infill::StreamEncoder::new(&model, told));
        return stream::respond(Arc::clone(site), job, encoder, Framing::BareEvents, false).await;
    }
    let mut encoder = infill::WholeEncoder::new(&model, told);
    let (choices, model) = job.begin(site, None).await?;
    if let Some(model) = model {
        encoder.served_by(&model);
    }
    answer::collect(site, choices, |_, event| encoder.event(event)).await;
    let cached = encoder.cached();
    Ok(answer::with_cached(answer::json(encoder.finish()?), cached))
}

/// The model that is asked where none is named: one that says it can, rather one that is in memory.
async fn one_that_fills(hub: &Handle) -> Result<String, Error> {
    let can = |model: &ModelSummary| model.facts.as_ref().is_ok_and(|facts| facts.skills.infill);
    let models = answer::list_models(hub).await.into_iter().filter(can);
    let models: Vec<String> = models.map(|model| model.name).collect();
    let residents = hub.residents().await;
    let is_resident = |name: &&String| residents.iter().any(|resident| resident.name == **name);
    models.iter().find(is_resident).or(models.first()).cloned().ok_or_else(|| {
        let message = "model is required: none here says of itself that it can fill in; name one in the \
                       plugin's settings";
        Error::invalid(message).at("model").code("missing_required_parameter")
    })
}
