//! Ollama's routes that change which models there are.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use dialect::Error;
use dialect::ollama::error_body;
use dialect::ollama::library::{
    Copy, Pull, decode_copy, decode_create, decode_delete, decode_pull, push_refused,
};
use dialect::ollama::progress::{self, Step};
use futures_util::stream::unfold;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::answer::{self, Incoming};
use crate::library::{self, Steps};
use crate::limits::{BLOB_BYTES_MAX, BLOB_PIECES_MAX, BLOBS_MAX, KEEP_ALIVE_INTERVAL};
use crate::routes::Site;
use crate::stream;

pub(crate) async fn pull(site: &Site, body: Body) -> Result<Response, Error> {
    let Pull { model, stream } = decode_pull(&answer::read_body(body).await?)?;
    told(library::ask(site, move |library| library.pull(&model)).await?, stream).await
}

pub(crate) async fn create(site: &Site, body: Body) -> Result<Response, Error> {
    let create = decode_create(&answer::read_body(body).await?)?;
    let stream = create.stream;
    told(library::ask(site, move |library| library.create(create)).await?, stream).await
}

pub(crate) async fn push(body: Body) -> Result<Response, Error> {
    answer::read_body(body).await?;
    Err(push_refused())
}

pub(crate) async fn copy(site: &Site, body: Body) -> Result<Response, Error> {
    let Copy { source, destination } = decode_copy(&answer::read_body(body).await?)?;
    library::ask(site, move |library| library.copy(&source, &destination)).await?;
    Ok(nothing(StatusCode::OK))
}

pub(crate) async fn delete(site: &Site, body: Body) -> Result<Response, Error> {
    let name = decode_delete(&answer::read_body(body).await?)?;
    library::ask(site, move |library| library.delete(&name)).await?;
    Ok(nothing(StatusCode::OK))
}

/// `digest` is the path behind `/api/blobs/`.
pub(crate) async fn has_blob(site: &Site, digest: &str) -> Result<Response, Error> {
    if is_here(site, digest).await? {
        return Ok(nothing(StatusCode::OK));
    }
    Err(Error::new(404, format!("there is no blob {digest}")))
}

/// Takes a file in. One that is here already is not read again.
pub(crate) async fn put_blob(site: &Site, digest: &str, body: Body) -> Result<Response, Error> {
    let Ok(_place) = site.blobs.try_acquire() else {
        let message =
            format!("{BLOBS_MAX} files are coming in already; send it when one of them is here");
        return Err(Error::new(503, message).code("overloaded"));
    };
    if is_here(site, digest).await? {
        return Ok(nothing(StatusCode::OK));
    }
    let (sender, pieces) = mpsc::channel(BLOB_PIECES_MAX);
    let digest = digest.to_owned();
    let kept = library::ask(site, move |library| library.put_blob(&digest, pieces));
    let sent = async {
        let mut incoming = Incoming::new(BLOB_BYTES_MAX, body);
        while let Some(piece) = incoming.next().await? {
            // Whoever keeps it says why it takes no more.
            if sender.send(piece).await.is_err() {
                break;
            }
        }
        drop(sender);
        Ok::<(), Error>(())
    };
    let (kept, sent) = tokio::join!(kept, sent);
    // A body that breaks off has another digest too, which says less.
    sent?;
    kept?;
    Ok(nothing(StatusCode::CREATED))
}

async fn is_here(site: &Site, digest: &str) -> Result<bool, Error> {
    let digest = digest.to_owned();
    library::ask(site, move |library| library.has_blob(&digest)).await
}

/// What is done, as lines or as its end.
async fn told(mut steps: Steps, stream: bool) -> Result<Response, Error> {
    let broke_off = || Error::new(500, "it broke off before its end; try again");
    // Until the first is there, a refusal is a real status.
    let first = steps.recv().await.ok_or_else(broke_off)??;
    if stream {
        return Ok(stream::lines(lines(first, steps)));
    }
    let mut last = first;
    while let Some(step) = steps.recv().await {
        last = step?;
    }
    if last == Step::Success { Ok(answer::json(progress::line(&last))) } else { Err(broke_off()) }
}

/// The steps as lines. Where none comes for long, the last is told again.
fn lines(first: Step, steps: Steps) -> Body {
    let first = (Some(progress::line(&first)), String::new());
    let stream = unfold((first, steps), |((next, said), mut steps)| async move {
        let line = match next {
            Some(line) => line,
            None => match timeout(KEEP_ALIVE_INTERVAL, steps.recv()).await {
                Ok(Some(Ok(step))) => progress::line(&step),
                // Nothing comes after it.
                Ok(Some(Err(error))) => error_body(&error),
                Ok(None) => return None,
                Err(_) => said,
            },
        };
        let chunk = Bytes::from(format!("{line}\n"));
        Some((Ok::<_, Infallible>(chunk), ((None, line), steps)))
    });
    Body::from_stream(stream)
}

fn nothing(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
