//! A tool's output on its way to the client: from the disk in pieces, whoever reads slowly holds no
//! more than one of them.

use std::io;

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, HeaderValue};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use supervisor::ToolOutput;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::timeout;

use crate::answer;
use crate::limits::{CLIENT_WAIT_MAX, FILE_PIECES_MAX};

/// The output as the answer. `place` is held until the client has it, or has taken nothing for so long
/// that it is as good as gone; then the connection breaks, so that nobody takes a part for the whole.
pub(super) fn answer(kind: &str, output: ToolOutput, place: OwnedSemaphorePermit) -> Response {
    let unknown = HeaderValue::from_static("application/octet-stream");
    let kind = HeaderValue::from_str(kind).unwrap_or(unknown);
    let bytes = output.bytes();
    let (sender, pieces) = channel(FILE_PIECES_MAX);
    tokio::spawn(async move {
        let gone = sender.clone();
        tokio::select! {
            () = gone.closed() => {}
            () = send(output, sender) => {}
        }
        drop(place);
    });
    let body = stream::unfold(pieces, |mut pieces| async {
        let piece = pieces.recv().await?;
        Some((piece, pieces))
    });
    let mut response = answer::typed(kind, Body::from_stream(body));
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    response
}

async fn send(mut output: ToolOutput, sender: Sender<io::Result<Bytes>>) {
    while let Some(piece) = output.next().await.transpose() {
        let is_last = piece.is_err();
        let sent = timeout(CLIENT_WAIT_MAX, sender.send(piece)).await;
        if is_last || !sent.is_ok_and(|sent| sent.is_ok()) {
            return;
        }
    }
}
