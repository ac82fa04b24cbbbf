//! An output on its way to the client: from the disk or from a server, in pieces, so that whoever reads
//! slowly holds no more than some of them.

use std::io;

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, HeaderValue};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use supervisor::{Delivered, ToolOutput};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::timeout;

use crate::answer;
use crate::limits::{CLIENT_WAIT_MAX, FILE_PIECES_MAX};

/// Where an output comes from.
pub(super) enum Source {
    Tool(ToolOutput),
    Server(Delivered),
}

impl Source {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        match self {
            Self::Tool(output) => output.next().await,
            Self::Server(delivered) => {
                delivered.next().await.map_err(|failure| io::Error::other(failure.message))
            }
        }
    }
}

/// The output as the answer, of this kind unless its server knows better. `place` is held until the client has it, or has taken nothing for so long
/// that it is as good as gone; then the connection breaks, so that nobody takes a part for the whole.
pub(super) fn answer(kind: &str, source: Source, place: OwnedSemaphorePermit) -> Response {
    let (kind, bytes) = match &source {
        Source::Tool(output) => (kind, Some(output.bytes())),
        Source::Server(delivered) => (delivered.content_type.as_deref().unwrap_or(kind), None),
    };
    let kind = HeaderValue::from_str(kind).unwrap_or(HeaderValue::from_static(super::UNKNOWN));
    let (sender, pieces) = channel(FILE_PIECES_MAX);
    tokio::spawn(async move {
        let gone = sender.clone();
        tokio::select! {
            () = gone.closed() => {}
            () = send(source, sender) => {}
        }
        drop(place);
    });
    let body = stream::unfold(pieces, |mut pieces| async {
        let piece = pieces.recv().await?;
        Some((piece, pieces))
    });
    let mut response = answer::typed(kind, Body::from_stream(body));
    if let Some(bytes) = bytes {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    }
    response
}

async fn send(mut source: Source, sender: Sender<io::Result<Bytes>>) {
    while let Some(piece) = source.next().await.transpose() {
        let is_last = piece.is_err();
        let sent = timeout(CLIENT_WAIT_MAX, sender.send(piece)).await;
        if is_last || !sent.is_ok_and(|sent| sent.is_ok()) {
            return;
        }
    }
}
