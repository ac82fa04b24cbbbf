//! The stream of events that answers one request.

use tokio::sync::mpsc;
use worker_protocol::{
    Command, Event, Failure, FailureKind, RequestId, frame, limits::EVENT_CREDIT_BATCH,
};

use crate::lease::Lease;

/// The events that answer one request, ending with exactly one `Finished` or `Failed`. Keeps its
/// lease; dropping it before its end cancels the request.
#[derive(Debug)]
pub struct Answer {
    lease: Lease,
    state: State,
    heard: Heard,
}

/// What came back so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// Nothing but, perhaps, the news that the worker died.
    Nothing,
    /// That the engine broke before it had begun.
    Breakage,
    /// The answer, or why there is none.
    Answer,
}

/// How an answer was lost before anything of it was there, so that nobody saw a part of it and the
/// same request may be put elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The worker died before it had even begun the prompt, which it would have said. Another worker
    /// of the same model may do better.
    Died,
    /// The engine is there and broken, as one is whose servers do not answer. Another model may do
    /// better.
    Broke,
}

#[derive(Debug)]
enum State {
    /// The worker was told and has not ended the request yet.
    Open(Open),
    /// It cannot be begun; this is still to be said.
    Refused(Failure),
    /// The last event was taken.
    Ended,
}

#[derive(Debug)]
struct Open {
    request: RequestId,
    events: mpsc::Receiver<Event>,
    /// Events taken since credit was last granted.
    taken: u32,
    /// A place in the queue of frames, held from the start, so that a cancel can always be sent.
    cancel: mpsc::OwnedPermit<Vec<u8>>,
}

impl Answer {
    /// Begins a request whose frame `command` makes for the number it was given.
    pub(crate) fn begin(lease: Lease, command: impl FnOnce(RequestId) -> Command) -> Self {
        let state = match open(&lease, command) {
            Ok(open) => State::Open(open),
            Err(failure) => State::Refused(failure),
        };
        Self { lease, state, heard: Heard::Nothing }
    }

    /// One that is not even asked for.
    pub(crate) fn refused(lease: Lease, failure: Failure) -> Self {
        Self { lease, state: State::Refused(failure), heard: Heard::Answer }
    }

    /// The next event; `None` after `Finished` or `Failed`. The end of the worker is a
    /// `Failed(Broken)` that says what happened to it.
    ///
    /// Cancel-safe: no event is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Event> {
        let open = match &mut self.state {
            State::Open(open) => open,
            State::Refused(failure) => {
                let event = Event::Failed(failure.clone());
                self.state = State::Ended;
                return Some(event);
            }
            State::Ended => return None,
        };
        if open.taken >= EVENT_CREDIT_BATCH {
            grant_credit(&self.lease, open).await;
        }
        let event = match open.events.recv().await {
            Some(event) => {
                self.heard = self.heard.and(&event);
                event
            }
            None => Event::Failed(self.lease.failure()),
        };
        open.taken += 1;
        if event.is_last() {
            self.state = State::Ended;
        }
        Some(event)
    }
}

impl Answer {
    /// How the answer was lost, if it was. To be asked after its last event.
    pub async fn loss(&self) -> Option<Loss> {
        match self.heard {
            Heard::Nothing => self.lease.has_died().await.then_some(Loss::Died),
            Heard::Breakage => Some(Loss::Broke),
            Heard::Answer => None,
        }
    }
}

impl Heard {
    fn and(self, event: &Event) -> Self {
        match (self, event) {
            (Self::Nothing, Event::Failed(Failure { kind: FailureKind::Broken, .. })) => {
                Self::Breakage
            }
            (Self::Nothing | Self::Breakage | Self::Answer, _) => Self::Answer,
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Open(open) => {
                self.lease.link().forget(open.request);
                if let Ok(frame) = frame::encode(&Command::Cancel { request: open.request }) {
                    open.cancel.send(frame);
                }
            }
            State::Refused(_) | State::Ended => {}
        }
    }
}

fn open(lease: &Lease, command: impl FnOnce(RequestId) -> Command) -> Result<Open, Failure> {
    let link = lease.link();
    let places = || link.frames().clone().try_reserve_owned();
    let begin = places().map_err(|error| refusal(lease, &error))?;
    let cancel = places().map_err(|error| refusal(lease, &error))?;
    let (request, events) = link.begin()?;
    match frame::encode(&command(request)) {
        Ok(frame) => {
            begin.send(frame);
            Ok(Open { request, events, taken: 0, cancel })
        }
        Err(error) => {
            link.forget(request);
            Err(Failure { kind: FailureKind::Invalid, message: format!("the request: {error}") })
        }
    }
}

fn refusal<T>(lease: &Lease, error: &mpsc::error::TrySendError<T>) -> Failure {
    match error {
        mpsc::error::TrySendError::Full(_) => Failure {
            kind: FailureKind::Overloaded,
            message: "too many answers of this model are open; try again later".to_owned(),
        },
        mpsc::error::TrySendError::Closed(_) => lease.failure(),
    }
}

/// Waits only while the worker does not read its commands, which ends with the worker if not
/// before. Counts down after the frame is on its way, so that nothing is lost when dropped.
async fn grant_credit(lease: &Lease, open: &mut Open) {
    let Ok(place) = lease.link().frames().reserve().await else { return };
    let credit = Command::Credit { request: open.request, events: EVENT_CREDIT_BATCH };
    if let Ok(frame) = frame::encode(&credit) {
        place.send(frame);
    }
    open.taken -= EVENT_CREDIT_BATCH;
}
