//! What clients send for tools: large, so it goes to the disk as it comes and never whole into memory.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderMap};
use bytes::Bytes;
use dialect::Error;
use futures_util::stream;
use multer::{Field, Multipart, parse_boundary};
use supervisor::Content;
use tokio::time::timeout;

use crate::answer::Incoming;
use crate::limits::{FORM_PARTS_MAX, FORM_TEXT_BYTES_MAX, UPLOAD_BYTES_MAX, UPLOAD_WAIT_MAX};

/// A form with a file.
pub(super) struct Form {
    /// The parts that are no file, by name and in their order.
    pub(super) texts: Vec<(String, Vec<u8>)>,
    pub(super) file: Option<File>,
}

/// The file of a form.
pub(super) struct File {
    /// As the client calls it.
    pub(super) name: Option<String>,
    pub(super) content: Content,
}

/// The body as it is.
pub(super) async fn whole(body: Body) -> Result<Content, Error> {
    let mut incoming = Incoming::new(UPLOAD_BYTES_MAX, body);
    in_time(async {
        let mut content = Content::empty().await.map_err(unkept)?;
        while let Some(piece) = incoming.next().await? {
            content.write(&piece).await.map_err(unkept)?;
        }
        Ok(content)
    })
    .await
}

/// What is in memory already.
pub(super) async fn of(content: &[u8]) -> Result<Content, Error> {
    Content::of(content).await.map_err(unkept)
}

/// The parts of a form whose file is called `file_name`.
pub(super) async fn form(headers: &HeaderMap, body: Body, file_name: &str) -> Result<Form, Error> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let boundary = parse_boundary(kind).map_err(broken)?;
    let pieces = stream::unfold(Incoming::new(UPLOAD_BYTES_MAX, body), |mut incoming| async {
        let piece = incoming.next().await.transpose()?;
        Some((piece, incoming))
    });
    let mut parts = Multipart::new(pieces, boundary);
    in_time(async {
        let mut form = Form { texts: Vec::new(), file: None };
        let mut text_bytes = 0;
        while let Some(part) = parts.next_field().await.map_err(broken)? {
            if form.texts.len() == FORM_PARTS_MAX {
                let message = format!("the form has more than {FORM_PARTS_MAX} parts; send fewer");
                return Err(Error::invalid(message));
            }
            match part.name().unwrap_or_default() {
                name if name == file_name => form.file = Some(file(part).await?),
                name => {
                    let name = name.to_owned();
                    form.texts.push((name, text(part, &mut text_bytes).await?));
                }
            }
        }
        Ok(form)
    })
    .await
}

async fn file(mut part: Field<'_>) -> Result<File, Error> {
    let name = part.file_name().map(str::to_owned);
    let mut content = Content::empty().await.map_err(unkept)?;
    while let Some(piece) = part.chunk().await.map_err(broken)? {
        content.write(&piece).await.map_err(unkept)?;
    }
    Ok(File { name, content })
}

async fn text(mut part: Field<'_>, bytes: &mut usize) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    while let Some(piece) = part.chunk().await.map_err(broken)? {
        *bytes += Bytes::len(&piece);
        if *bytes > FORM_TEXT_BYTES_MAX {
            let most = FORM_TEXT_BYTES_MAX >> 20;
            let message = format!(
                "the fields of the form hold more than {most} MiB beside the file; send less"
            );
            return Err(Error::new(413, message).code("body_too_large"));
        }
        text.extend_from_slice(&piece);
    }
    Ok(text)
}

/// Nobody takes a place for longer than this by sending slowly.
async fn in_time<T>(upload: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(UPLOAD_WAIT_MAX, upload).await.unwrap_or_else(|_| {
        let wait_s = UPLOAD_WAIT_MAX.as_secs();
        let message = format!("the body did not come within {wait_s} s; send less in one request");
        Err(Error::new(408, message))
    })
}

fn broken(error: multer::Error) -> Error {
    if let multer::Error::StreamReadFailed(source) = error {
        // What befell the body itself.
        return match source.downcast::<Error>() {
            Ok(error) => *error,
            Err(source) => Error::invalid(format!("the body broke off: {source}")),
        };
    }
    Error::invalid(format!("the form cannot be read: {error}; send it as multipart/form-data"))
}

/// The hub's disk is not the client's fault.
fn unkept(error: std::io::Error) -> Error {
    let message = format!(
        "what was sent cannot be kept: {error}; make room where temporary files are on the hub's disk"
    );
    Error::new(500, message).code("storage_failed")
}
