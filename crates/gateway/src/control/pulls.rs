//! The control routes of pulls: what is pulled, how far it is, and what becomes of it.
//!
//! These pulls go on whoever looks; those of `/api/pull` are listed with them.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use dialect::Error;
use futures_util::stream::unfold;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use utoipa::ToSchema;

use super::parse;
use crate::library::{self, Library, PullChange};
use crate::limits::{KEEP_ALIVE_INTERVAL, PULLS_INTERVAL};
use crate::routes::Site;
use crate::{answer, stream};

/// `GET /resident/v1/pulls`, and each line of `GET /resident/v1/pulls/events`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pulls {
    /// In the order in which they come to their turn.
    pub pulls: Vec<Pull>,
}

/// One pull.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pull {
    /// Its number; no other pull of this library has it.
    pub id: u64,
    /// Where the model is from.
    pub source: String,
    /// What the model is or will be called; null until that is known.
    pub name: Option<String>,
    /// `waiting`, `running`, `paused`, `failed` or `done`.
    pub state: String,
    /// Why it failed; while it waits, why it could not go on the last time, which is tried again.
    pub error: Option<String>,
    /// While it runs: `manifest`, `files`, `verifying` or `writing`.
    pub stage: Option<String>,
    /// Bytes that are here.
    pub done_bytes: u64,
    /// Bytes in all; null until that is known.
    pub whole_bytes: Option<u64>,
    /// Bytes a second, lately.
    pub bytes_per_s: u64,
    /// Seconds that it will take at this rate.
    pub left_s: Option<u64>,
    /// Connections that bring it.
    pub connections: u32,
    /// What a person should know, such as whom it waits for.
    pub note: Option<String>,
    /// Its files.
    pub files: Vec<PullFile>,
}

/// One file of a pull.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PullFile {
    /// What it is called.
    pub name: String,
    /// Bytes that are here.
    pub done_bytes: u64,
    /// Its length; null until that is known.
    pub whole_bytes: Option<u64>,
}

/// Body of `POST /resident/v1/pulls`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPull {
    /// Where the model is from, as `resident pull` takes it: `hf:OWNER/REPO:Q4_K_M`, `ollama:NAME`, an address.
    pub source: String,
    /// What it is to be called; without it, what its source suggests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

pub(crate) async fn list(site: &Site) -> Result<Response, Error> {
    let pulls = library::ask(site, |library| Ok(library.pulls())).await?;
    answer::serialized(&Pulls { pulls })
}

pub(crate) async fn one(site: &Site, rest: &str) -> Result<Response, Error> {
    let id = number(rest)?;
    let pulls = library::ask(site, |library| Ok(library.pulls())).await?;
    let found = pulls.into_iter().find(|pull| pull.id == id).ok_or_else(|| unknown(rest))?;
    answer::serialized(&found)
}

pub(crate) async fn begin(site: &Site, body: Body) -> Result<Response, Error> {
    let body = answer::read_body(body).await?;
    let new: NewPull = parse(&body, r#"{"source": SOURCE, "name": NAME}"#)?;
    answer::serialized(&library::ask(site, move |library| library.begin_pull(&new)).await?)
}

/// `rest` is the path behind `/resident/v1/pulls/`: a number and what is to become of it.
pub(crate) async fn change(site: &Site, rest: &str) -> Result<Response, Error> {
    let (id, change) = match rest.rsplit_once('/') {
        Some((id, "pause")) => (id, PullChange::Pause),
        Some((id, "resume")) => (id, PullChange::Resume),
        Some((id, "cancel")) => (id, PullChange::Cancel),
        Some(_) | None => {
            let message = format!(
                "'{rest}' is no pull and what becomes of it; write ID/pause, ID/resume or ID/cancel"
            );
            return Err(Error::new(404, message));
        }
    };
    let id = number(id)?;
    answer::serialized(&library::ask(site, move |library| library.change_pull(id, change)).await?)
}

fn number(text: &str) -> Result<u64, Error> {
    text.parse().map_err(|_| unknown(text))
}

fn unknown(text: &str) -> Error {
    let message = format!("there is no pull '{text}'; GET /resident/v1/pulls lists them");
    Error::new(404, message).code("pull_not_found")
}

/// All pulls now and whenever something has changed, a line each time, without an end.
pub(crate) fn events(site: &Site) -> Result<Response, Error> {
    let library = library::of(site)?;
    let changes = library.pulls_changed();
    let stream = unfold((true, library, changes), |(first, library, mut changes)| async move {
        if !first && !changed(&mut changes).await {
            return None;
        }
        let line = line(&library).await?;
        Some((Ok::<_, Infallible>(line), (false, library, changes)))
    });
    Ok(stream::lines(Body::from_stream(stream)))
}

/// Waits for a change, or for long enough that a sign of life is due; false when there will be none.
async fn changed(changes: &mut watch::Receiver<u64>) -> bool {
    // Bytes come all the time, and nobody reads so fast.
    sleep(PULLS_INTERVAL).await;
    match timeout(KEEP_ALIVE_INTERVAL, changes.changed()).await {
        Ok(seen) => seen.is_ok(),
        Err(_) => true,
    }
}

async fn line(library: &Arc<dyn Library>) -> Option<Bytes> {
    let library = Arc::clone(library);
    let pulls = tokio::task::spawn_blocking(move || library.pulls()).await.ok()?;
    let line = serde_json::to_string(&Pulls { pulls }).ok()?;
    Some(format!("{line}\n").into())
}
