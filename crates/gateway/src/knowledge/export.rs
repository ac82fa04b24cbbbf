//! A collection on its way to the client: written by whoever keeps it, piece by piece, so that a collection of any size
//! takes some pieces of memory and a client that reads slowly makes the writer wait.

use std::io::{self, BufWriter, Write};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use dialect::Error;
use futures_util::stream::unfold;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::timeout;

use super::of;
use crate::limits::{CLIENT_WAIT_MAX, EXPORT_PIECE_BYTES, FILE_PIECES_MAX};
use crate::routes::Site;
use crate::stream;

/// All of a collection. What goes wrong before the first piece is an answer of its own; later the connection breaks,
/// so that nobody takes a part for the whole.
pub(crate) async fn export(site: &Site, name: String) -> Result<Response, Error> {
    let knowledge = of(site)?;
    streamed(move |out| knowledge.export(&name, out)).await
}

async fn streamed(
    export: impl FnOnce(&mut dyn Write) -> Result<(), Error> + Send + 'static,
) -> Result<Response, Error> {
    let (sender, mut pieces) = channel(FILE_PIECES_MAX);
    let written = tokio::task::spawn_blocking(move || write(export, sender));
    let Some(first) = pieces.recv().await else {
        let written = written.await.unwrap_or_else(|error| Err(Error::new(500, error.to_string())));
        return written.map(|()| stream::lines(Body::empty()));
    };
    let body = unfold((Some(first), pieces), |(first, mut pieces)| async move {
        let piece = match first {
            Some(first) => first,
            None => pieces.recv().await?,
        };
        Some((piece, (None, pieces)))
    });
    Ok(stream::lines(Body::from_stream(body)))
}

fn write(
    export: impl FnOnce(&mut dyn Write) -> Result<(), Error>,
    sender: Sender<io::Result<Bytes>>,
) -> Result<(), Error> {
    let pieces = Pieces { sender: sender.clone(), runtime: Handle::current(), sent: 0 };
    let mut out = BufWriter::with_capacity(EXPORT_PIECE_BYTES, pieces);
    let written = export(&mut out)
        .and_then(|()| out.flush().map_err(|error| Error::new(500, error.to_string())));
    // What is left in the buffer is not to be sent behind an error.
    let (pieces, _) = out.into_parts();
    if let Err(error) = &written
        && pieces.sent > 0
    {
        // Where the client has gone, which is the usual reason, nobody is left to tell.
        sender.blocking_send(Err(io::Error::other(error.message.clone()))).ok();
    }
    written
}

/// What was written, as pieces for the connection.
struct Pieces {
    sender: Sender<io::Result<Bytes>>,
    runtime: Handle,
    sent: usize,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Ok(Bytes::copy_from_slice(bytes));
        let sent = self.runtime.block_on(timeout(CLIENT_WAIT_MAX, self.sender.send(piece)));
        match sent {
            Ok(Ok(())) => {
                self.sent += 1;
                Ok(bytes.len())
            }
            Ok(Err(_)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "the client has gone")),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::body::to_bytes;
    use futures_util::StreamExt;

    use super::*;

    const LINE: [u8; 1024] = [b'x'; 1024];

    fn refused() -> Error {
        Error::new(404, "no such collection")
    }

    #[tokio::test]
    async fn what_goes_wrong_at_once_is_an_answer_and_later_breaks_the_connection() {
        let at_once = streamed(|_| Err(refused())).await;
        assert_eq!(at_once.unwrap_err().message, "no such collection");
        let nothing = streamed(|_| Ok(())).await.unwrap();
        assert_eq!(to_bytes(nothing.into_body(), usize::MAX).await.unwrap(), Bytes::new());
        let later = streamed(|out| {
            for _ in 0..200 {
                out.write_all(&LINE).unwrap();
            }
            Err(refused())
        });
        let mut pieces = later.await.unwrap().into_body().into_data_stream();
        let mut bytes = 0;
        let broke = loop {
            match pieces.next().await {
                Some(Ok(piece)) => bytes += piece.len(),
                Some(Err(_)) => break true,
                None => break false,
            }
        };
        assert!(broke && bytes > 0, "{bytes}");
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_makes_the_writer_wait_and_one_that_goes_ends_it() {
        let written = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&written);
        let (said, ended) = tokio::sync::oneshot::channel();
        let endless = streamed(move |out| {
            let error = loop {
                match out.write_all(&LINE) {
                    Ok(()) => counts.fetch_add(LINE.len(), Ordering::Relaxed),
                    Err(error) => break error,
                };
            };
            said.send(error.kind()).unwrap();
            Err(Error::new(500, error.to_string()))
        });
        let response = endless.await.unwrap();
        // The first piece is here, some wait, one is being sent, one is in the buffer.
        let most = (FILE_PIECES_MAX + 3) * EXPORT_PIECE_BYTES;
        assert!(written.load(Ordering::Relaxed) <= most);
        drop(response);
        assert_eq!(ended.await.unwrap(), io::ErrorKind::BrokenPipe);
    }
}
