//! `/v1/rerank` and its like: documents by how well they answer a query.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use dialect::Error;
use dialect::rerank::{self, Route};
use supervisor::{Engine, Handle, ModelSummary};

use crate::answer::{self, Job, Work};
use crate::name;
use crate::routes::Site;

/// The role that is asked where no model is named.
const ROLE: &str = "rerank";

pub(crate) async fn rerank(site: &Arc<Site>, route: Route, body: Body) -> Result<Response, Error> {
    let request = rerank::decode(route, &answer::read_body(body).await?)?;
    let model = match &request.model {
        Some(model) => name::known(&site.hub, model).await,
        None => one_that_ranks(&site.hub).await?,
    };
    refuse_others(&site.hub, &model).await?;
    let mut encoder = rerank::WholeEncoder::new(&request, &answer::new_id(), &model);
    let job = Job::new(model, Work::Rank(request.rank), request.wish);
    let (choices, model) = job.begin(site, None).await?;
    if let Some(model) = model {
        encoder.served_by(&model);
    }
    answer::collect(site, choices, |_, event| encoder.event(event)).await;
    Ok(answer::json(encoder.finish()?))
}

/// The error in Cohere's own form.
pub(crate) fn refuse_as_cohere(error: &Error) -> Response {
    answer::refuse_with(error, rerank::cohere_error(error))
}

/// Who is asked where no model is named: the role of that name, else a model that does nothing else,
/// rather one that is in memory.
async fn one_that_ranks(hub: &Handle) -> Result<String, Error> {
    if hub.is_role(ROLE) {
        return Ok(ROLE.to_owned());
    }
    let only = |model: &ModelSummary| {
        model.facts.as_ref().is_ok_and(|facts| facts.ranks && !facts.generates)
    };
    let models = answer::list_models(hub).await.into_iter().filter(only);
    let models: Vec<String> = models.map(|model| model.name).collect();
    let residents = hub.residents().await;
    let is_resident = |name: &&String| residents.iter().any(|resident| resident.name == **name);
    models.iter().find(is_resident).or(models.first()).cloned().ok_or_else(|| {
        let message = "model is required: none here has a head for ranking; add a reranker, such as \
                       bge-reranker-v2-m3, and name it, or make it the role `rerank`";
        Error::invalid(message).at("model").code("missing_required_parameter")
    })
}

/// A model that cannot do it need not be loaded to say so.
async fn refuse_others(hub: &Handle, name: &str) -> Result<(), Error> {
    let (asked, wanted) = (hub.clone(), name.to_owned());
    // Reading a header touches the disk, so it leaves the thread that serves connections.
    let found = tokio::task::spawn_blocking(move || asked.model(&wanted)).await.ok().flatten();
    let Some(ModelSummary { engine, facts: Ok(facts), .. }) = found else { return Ok(()) };
    if facts.ranks {
        return Ok(());
    }
    let way_out = match engine {
        Engine::Worker(_) => {
            "its file has no head for ranking; name a reranker, such as bge-reranker-v2-m3"
        }
        Engine::Command(_) | Engine::Upstream(_) => {
            "its settings do not say that its server does; write where it does into them: \
             api = { rerank = \"/v1/rerank\" }"
        }
    };
    let message = format!("model '{name}' does not rank: {way_out}");
    Err(Error::invalid(message).at("model").code("model_unsuitable"))
}
