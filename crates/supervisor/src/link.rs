//! The line to one worker, shared by its tasks and by everyone who holds a lease on it: where
//! frames go in, and who waits for which events.
//!
//! Not here: moving bytes (`worker`).

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::{Notify, mpsc};
use worker_protocol::{Event, Failure, RequestId};

use crate::limits::EVENTS_WAITING_MAX;

/// The line to one worker.
#[derive(Debug)]
pub(crate) struct Link {
    frames: mpsc::Sender<Vec<u8>>,
    requests_begun: AtomicU64,
    line: Mutex<Line>,
    /// Told when the line ends.
    ended: Notify,
}

/// Who waits for events; after the worker's end, why nobody does.
#[derive(Debug)]
enum Line {
    Open(BTreeMap<RequestId, mpsc::Sender<Event>>),
    Closed(Closed),
}

/// How a line ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Closed {
    /// What is said to whoever still waited.
    pub(crate) failure: Failure,
    /// Whether the worker ended by itself, and not because somebody wanted it gone.
    pub(crate) unasked: bool,
}

/// What became of an event that a worker sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Its reader has it, or nobody waits for it any more.
    Done,
    /// Its reader has not taken as many events as the worker had credit for.
    OverCredit,
}

impl Link {
    /// A line whose frames go into `frames`.
    pub(crate) fn new(frames: mpsc::Sender<Vec<u8>>) -> Self {
        Self {
            frames,
            requests_begun: AtomicU64::new(0),
            line: Mutex::new(Line::Open(BTreeMap::new())),
            ended: Notify::new(),
        }
    }

    /// Where frames go in.
    pub(crate) fn frames(&self) -> &mpsc::Sender<Vec<u8>> {
        &self.frames
    }

    /// How many requests were ever begun; a change means that the worker is in use.
    pub(crate) fn requests_begun(&self) -> u64 {
        self.requests_begun.load(Ordering::Relaxed)
    }

    /// Whether some request is open.
    pub(crate) fn is_busy(&self) -> bool {
        match &*self.line() {
            Line::Open(open) => !open.is_empty(),
            Line::Closed(_) => false,
        }
    }

    /// A number for a new request and where its events come out, or why the worker is gone.
    pub(crate) fn begin(&self) -> Result<(RequestId, mpsc::Receiver<Event>), Failure> {
        let request = RequestId(self.requests_begun.fetch_add(1, Ordering::Relaxed));
        match &mut *self.line() {
            Line::Open(open) => {
                let (sender, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
                open.insert(request, sender);
                Ok((request, receiver))
            }
            Line::Closed(closed) => Err(closed.failure.clone()),
        }
    }

    /// Nobody waits for this request any more.
    pub(crate) fn forget(&self, request: RequestId) {
        match &mut *self.line() {
            Line::Open(open) => drop(open.remove(&request)),
            Line::Closed(_) => {}
        }
    }

    /// Hands an event to whoever waits for it.
    pub(crate) fn deliver(&self, request: RequestId, event: Event) -> Delivery {
        let mut line = self.line();
        let Line::Open(open) = &mut *line else { return Delivery::Done };
        let reader =
            if event.is_last() { open.remove(&request) } else { open.get(&request).cloned() };
        drop(line);
        match reader.map(|reader| reader.try_send(event)) {
            Some(Err(mpsc::error::TrySendError::Full(_))) => Delivery::OverCredit,
            Some(Ok(()) | Err(mpsc::error::TrySendError::Closed(_))) | None => Delivery::Done,
        }
    }

    /// Ends every open request. The first reason stays: what comes after it is only its echo.
    pub(crate) fn close(&self, closed: Closed) {
        let mut line = self.line();
        match &*line {
            Line::Open(_) => *line = Line::Closed(closed),
            Line::Closed(_) => {}
        }
        self.ended.notify_waiters();
    }

    /// How the line ended; waits for the end when its worker takes nothing more, and `None` while it
    /// does.
    pub(crate) async fn end(&self) -> Option<Closed> {
        let ended = self.ended.notified();
        match self.closed() {
            Some(closed) => Some(closed),
            None if self.frames.is_closed() => {
                ended.await;
                self.closed()
            }
            None => None,
        }
    }

    /// How the line ended, if it did.
    pub(crate) fn closed(&self) -> Option<Closed> {
        match &*self.line() {
            Line::Open(_) => None,
            Line::Closed(closed) => Some(closed.clone()),
        }
    }

    /// No caller runs foreign code while it holds the lock, so a poisoned one is still sound.
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
