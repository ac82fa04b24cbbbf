//! Errands: work at a server whose answer is bytes and no events, as of servers that speak and that
//! write down what is said. Bytes go both ways as they come, and the model is held meanwhile.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use dialect::openai::{speech, transcription, upstream};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use worker_protocol::{Failure, FailureKind};

use super::{
    super::{
        http::{Outgoing, Reply},
        pool::Seat,
        unguessable,
    },
    Voice,
    exchange::{Trouble, accepted, broken},
};
use crate::{
    lease::Lease,
    limits::{ENGINE_END_WAIT, ERRAND_BYTES_MAX, ERRAND_PIECES_MAX},
    tool::Content,
};

/// What a server is asked to do.
#[derive(Debug)]
pub enum Errand {
    /// To say something.
    Speak(speech::Request),
    /// To write down what is said.
    Listen {
        /// How.
        request: transcription::Request,
        /// The sound.
        content: Content,
    },
}

/// What a server brings, as it comes. Dropping it breaks the connection.
#[derive(Debug)]
pub struct Delivered {
    /// What it is, if the server says.
    pub content_type: Option<String>,
    pieces: mpsc::Receiver<Piece>,
    lease: Lease,
}

/// A piece, the end, or why there is no more.
type Piece = Result<Option<Bytes>, Failure>;

impl Delivered {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// It broke off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        self.pieces.recv().await.unwrap_or_else(|| Err(self.lease.failure()))
    }
}

/// Where errands are sent on.
#[derive(Clone)]
pub(crate) struct Errands(pub(super) Arc<Voice>);

impl fmt::Debug for Errands {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Errands").field(&self.0.name).finish()
    }
}

impl Errands {
    /// Asks, and waits until the server has agreed. What was not begun is put to the next server.
    pub(crate) async fn run(&self, lease: Lease, errand: Errand) -> Result<Delivered, Failure> {
        self.0.refuse(&errand)?;
        let (begun, begins) = oneshot::channel();
        let (sender, pieces) = mpsc::channel(ERRAND_PIECES_MAX);
        let (voice, held) = (Arc::clone(&self.0), lease.clone());
        // The line counts it among the requests and says when the engine is going.
        let (request, mut events) = lease.link().begin()?;
        tokio::spawn(async move {
            let gone = sender.clone();
            let end = tokio::select! {
                () = gone.closed() => None,
                _ = events.recv() => None,
                end = voice.carry(&errand, begun, &sender) => end,
            };
            // What broke off may be the first that is seen of an engine's end, which says more.
            let is_over = match &end {
                Some(Err(_)) => timeout(ENGINE_END_WAIT, events.recv()).await.is_ok(),
                Some(Ok(_)) | None => false,
            };
            if let Some(end) = end.filter(|_| !is_over) {
                // Nobody is left to tell when the client is gone.
                sender.send(end).await.ok();
            }
            held.link().forget(request);
        });
        let content_type = begins.await.unwrap_or_else(|_| Err(lease.failure()))?;
        Ok(Delivered { content_type, pieces, lease })
    }
}

impl Voice {
    fn refuse(&self, errand: &Errand) -> Result<(), Failure> {
        let what = match errand {
            Errand::Speak(_) if self.manner.speech.is_none() => "speech",
            Errand::Listen { .. } if self.manner.transcriptions.is_none() => "transcriptions",
            Errand::Speak(_) | Errand::Listen { .. } => return Ok(()),
        };
        let message = format!("engine '{}' does not do {what}; ask a model that does", self.name);
        Err(Failure { kind: FailureKind::Invalid, message })
    }

    /// Sends on what comes, and gives the last piece; `None` when nobody is there to take it.
    async fn carry(
        &self,
        errand: &Errand,
        begun: oneshot::Sender<Result<Option<String>, Failure>>,
        sender: &mpsc::Sender<Piece>,
    ) -> Option<Piece> {
        let mut place = self.tally.enter();
        // Nobody closes the semaphore; without a slot the request would only be less polite.
        let _slot = self.slots.acquire().await.ok();
        place.run();
        let (seat, mut reply) = match self.agreed(errand).await {
            Ok(agreed) => agreed,
            Err(failure) => {
                begun.send(Err(failure)).ok();
                return None;
            }
        };
        begun.send(Ok(reply.content_type())).ok();
        let mut bytes = 0;
        let end = loop {
            match reply.next(self.waits.silence).await {
                Ok(Some(piece)) => {
                    bytes += piece.len() as u64;
                    if bytes > ERRAND_BYTES_MAX {
                        break Err(broken(format!(
                            "answered with more than {ERRAND_BYTES_MAX} bytes"
                        )));
                    }
                    // While nobody takes it, the server waits too.
                    sender.send(Ok(Some(piece))).await.ok()?;
                }
                Ok(None) => break Ok(None),
                Err(reason) => break Err(broken(reason)),
            }
        };
        Some(match end {
            Ok(end) => {
                seat.answered();
                Ok(end)
            }
            Err(failure) => Err(self.give_up(seat, failure)),
        })
    }

    /// A server that has agreed, and its answer.
    async fn agreed(&self, errand: &Errand) -> Result<(Seat, Reply), Failure> {
        let (mut seat, mut round) = self.pool.begin();
        loop {
            match self.sent(&seat, errand).await {
                Ok(reply) => {
                    seat.answers();
                    return Ok((seat, reply));
                }
                Err(trouble) => seat = self.move_on(seat, &mut round, trouble)?,
            }
        }
    }

    async fn sent(&self, seat: &Seat, errand: &Errand) -> Result<Reply, Trouble> {
        let connection = self.connect(seat).await?;
        let (model, manner, to) = (self.model.as_str(), &self.manner, seat.endpoint());
        let silence = self.waits.silence;
        let reply = match errand {
            Errand::Speak(request) => {
                let body = upstream::speak(request, model, &manner.drops);
                let path = manner.speech.as_deref().unwrap_or_default();
                connection.post(to, path, body, silence).await
            }
            Errand::Listen { request, content } => {
                let boundary = unguessable().map_err(broken)?;
                let upstream::Form { content_type, before, after } =
                    upstream::listen(request, model, &manner.drops, &boundary);
                let sound = content.pieces().map_err(broken)?;
                let form = Outgoing::around(before, sound, content.bytes(), after);
                let path = manner.transcriptions.as_deref().unwrap_or_default();
                connection.post_form(to, path, &content_type, form, silence).await
            }
        };
        Ok(accepted(reply.map_err(broken)?).await?)
    }
}
