//! One connection: asks for a range, holds the answer against what is known, and writes what comes.
//!
//! It ends when its range is there, when it is told to, or with a fault; what it received by then is written. Not
//! here: which range (`plan`), from where (`origins`), and what a fault leads to (`drive`).

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use reqwest::{
    Response,
    header::{ACCEPT_ENCODING, CONNECTION, HeaderName, RANGE},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::Instant,
};

use super::{
    Error, Rate, Wanted,
    head::{self, Facts, Met, Refusal},
    journal::Identity,
    keep::{Growing, Keep},
};
use crate::{
    limits,
    outside::{self, Outside, Place, of_request, of_status, shown},
};

/// What happens on a connection.
pub(super) enum Event {
    /// The answer is one for the wanted file.
    Answered { slot: usize, place: Place, whole: Option<u64> },
    /// So many more bytes are written and recorded.
    Wrote { slot: usize, range: Range<u64> },
    /// It is over.
    Ended { slot: usize, outcome: Result<Outcome, Fault> },
}

/// How it went without a fault.
pub(super) enum Outcome {
    /// The range is there, or as much of it as the server sends at once, or it was told to stop.
    Over,
    /// The file ends here, which nobody knew before.
    EndsAt(u64),
}

/// What went wrong.
pub(super) enum Fault {
    /// Later it may go well.
    Passing { why: outside::Error, after: Option<Duration>, is_crowded: bool },
    /// The address does not have it, or not for us; or not any more, if it was used before.
    Refused { why: outside::Error, was_known_place: bool },
    /// The server knows no ranges.
    NoRanges,
    /// It says what cannot be.
    Lie(String),
    /// The file is another one than before.
    Changed(Identity),
    /// Nobody is to be asked for anything.
    Final(Error),
}

/// The range of a connection, which may be shortened while it works.
pub(super) struct Reach(Mutex<Range<u64>>);

impl Reach {
    pub(super) fn new(range: Range<u64>) -> Self {
        Self(Mutex::new(range))
    }

    /// Takes the next bytes, at most `bytes`.
    fn claim(&self, bytes: u64) -> u64 {
        let mut range = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let claimed = bytes.min(range.end.saturating_sub(range.start));
        range.start += claimed;
        claimed
    }

    fn is_over(&self) -> bool {
        let range = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        range.start >= range.end
    }

    /// Lets it end at `at`, unless it has taken what lies behind that.
    pub(super) fn cut(&self, at: u64) -> bool {
        let mut range = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_ahead = range.start <= at && at < range.end;
        if is_ahead {
            range.end = at;
        }
        is_ahead
    }
}

/// A connection to be made.
pub(super) struct Lane {
    pub(super) outside: Outside,
    pub(super) wanted: Arc<Wanted>,
    pub(super) keep: Arc<Keep>,
    pub(super) slot: usize,
    /// Which of the addresses.
    pub(super) origin: usize,
    /// Where that led to before.
    pub(super) place: Option<Place>,
    pub(super) range: Range<u64>,
    pub(super) reach: Arc<Reach>,
    /// Whether ranges are asked for; else all comes, and what lies before the range is passed over.
    pub(super) has_ranges: bool,
    /// Whether the connection serves this range alone.
    pub(super) is_alone: bool,
    pub(super) rate: Option<Arc<Rate>>,
    pub(super) flush: Duration,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) events: mpsc::UnboundedSender<Event>,
}

impl Lane {
    /// Works until it is over, and says so last.
    pub(super) async fn run(mut self) {
        let outcome = self.fetch().await;
        // Whoever listened is gone when the whole transfer is.
        let _gone = self.events.send(Event::Ended { slot: self.slot, outcome });
    }

    async fn fetch(&mut self) -> Result<Outcome, Fault> {
        let mut stop = self.stop.clone();
        let answer = tokio::select! {
            biased;
            () = stopped(&mut stop) => return Ok(Outcome::Over),
            answer = self.ask() => answer?,
        };
        let (response, facts) = answer;
        let mut writer = Writer::new(self, Growing::new(self.range.start));
        let outcome = self.receive(response, &facts, &mut writer).await;
        writer.finish().await.map_err(Fault::Final)?;
        outcome
    }

    /// Asks, and holds the answer against what is known of the file.
    async fn ask(&self) -> Result<(Response, Facts), Fault> {
        let url = &self.wanted.addresses[self.origin];
        let range = format!("bytes={}-{}", self.range.start, self.range.end.saturating_sub(1));
        let mut headers: Vec<(HeaderName, &str)> = vec![(ACCEPT_ENCODING, "identity")];
        if self.has_ranges {
            headers.push((RANGE, &range));
        }
        if self.is_alone {
            headers.push((CONNECTION, "close"));
        }
        let answer = self.outside.ask_from(url, self.place.as_ref(), &headers).await;
        let (response, place) = answer.map_err(|why| self.unanswered(why))?;
        let asked = self.has_ranges.then_some(&self.range);
        let facts = head::read(asked, response.status(), response.headers())
            .map_err(|refusal| self.refused(refusal, &response))?;
        self.meet(&facts)?;
        // There is no such range, it says, of a file in which there is.
        let is_empty = facts.end.is_some_and(|end| end <= self.range.start);
        if self.has_ranges && is_empty && facts.whole.is_some_and(|all| all > self.range.start) {
            return Err(Fault::NoRanges);
        }
        if self.has_ranges && facts.start != self.range.start {
            // Only a server that says that there is no such range begins elsewhere.
            return if facts.whole == Some(0) {
                Ok((response, facts))
            } else {
                Err(Fault::NoRanges)
            };
        }
        let _gone =
            self.events.send(Event::Answered { slot: self.slot, place, whole: facts.whole });
        Ok((response, facts))
    }

    fn meet(&self, facts: &Facts) -> Result<(), Fault> {
        let url = &self.wanted.addresses[self.origin];
        match self.keep.meet(&self.wanted, url, facts).map_err(Fault::Final)? {
            Met::New(_) | Met::Same => Ok(()),
            Met::Changed(identity) => Err(Fault::Changed(identity)),
            Met::Wrong(what) => Err(Fault::Lie(what)),
        }
    }

    fn unanswered(&self, why: outside::Error) -> Fault {
        match why {
            outside::Error::Unreachable { .. }
            | outside::Error::Silent { .. }
            | outside::Error::Broken { .. } => {
                Fault::Passing { why, after: None, is_crowded: false }
            }
            outside::Error::Redirect { .. } | outside::Error::Refused { .. } => {
                Fault::Refused { why, was_known_place: self.place.is_some() }
            }
            outside::Error::Offline { .. }
            | outside::Error::Setting { .. }
            | outside::Error::Client { .. } => Fault::Final(why.into()),
        }
    }

    fn refused(&self, refusal: Refusal, response: &Response) -> Fault {
        let url = &self.wanted.addresses[self.origin];
        let why = || of_status(url, response.status(), None, None);
        match refusal {
            Refusal::Later { status, after } => {
                Fault::Passing { why: why(), after, is_crowded: matches!(status, 429 | 503) }
            }
            Refusal::No { .. } => {
                Fault::Refused { why: why(), was_known_place: self.place.is_some() }
            }
            Refusal::NoRanges => Fault::NoRanges,
            Refusal::Lie(what) => Fault::Lie(what),
        }
    }

    /// Takes the body, as much of it as is wanted.
    async fn receive(
        &self,
        mut response: Response,
        facts: &Facts,
        writer: &mut Writer,
    ) -> Result<Outcome, Fault> {
        let mut stop = self.stop.clone();
        let end = facts.end.unwrap_or(u64::MAX);
        self.reach.cut(end);
        // Where the next byte of the body belongs.
        let mut at = facts.start;
        while !self.reach.is_over() {
            let chunk = tokio::select! {
                biased;
                () = stopped(&mut stop) => return Ok(Outcome::Over),
                () = writer.is_due() => {
                    writer.flush().await.map_err(Fault::Final)?;
                    continue;
                }
                chunk = response.chunk() => chunk,
            };
            let Some(mut chunk) = chunk.map_err(|error| self.broken(&error))? else {
                return self.ended(at, facts);
            };
            let passed = self.range.start.saturating_sub(at).min(chunk.len() as u64);
            at += chunk.len() as u64;
            // Both are at most the length of the chunk.
            drop(chunk.split_to(usize::try_from(passed).unwrap_or(usize::MAX)));
            let claimed = self.reach.claim(chunk.len() as u64);
            chunk.truncate(usize::try_from(claimed).unwrap_or(usize::MAX));
            writer.take(chunk).await.map_err(Fault::Final)?;
            if let Some(rate) = &self.rate {
                // It may be a long wait, which no byte should spend in memory.
                writer.flush().await.map_err(Fault::Final)?;
                tokio::select! {
                    biased;
                    () = stopped(&mut stop) => return Ok(Outcome::Over),
                    () = rate.take(claimed) => {}
                }
            }
        }
        Ok(Outcome::Over)
    }

    /// The body is over, sooner than the range.
    fn ended(&self, at: u64, facts: &Facts) -> Result<Outcome, Fault> {
        let known = self.wanted.bytes.or(self.keep.identity().bytes);
        if facts.end.is_none() && !self.has_ranges && known.is_none_or(|known| known == at) {
            return Ok(Outcome::EndsAt(at));
        }
        let why = outside::Error::Broken {
            url: shown(&self.wanted.addresses[self.origin]),
            why: format!("it ends after {} bytes", at - facts.start),
        };
        Err(Fault::Passing { why, after: None, is_crowded: false })
    }

    fn broken(&self, error: &reqwest::Error) -> Fault {
        let url = &self.wanted.addresses[self.origin];
        let why = of_request(url, error, self.outside.silence_max());
        Fault::Passing { why, after: None, is_crowded: false }
    }
}

/// Comes back when this connection is to stop, or nobody is there to say so.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

/// Writes what came on a thread that may wait for the disk, while more comes.
struct Writer {
    keep: Arc<Keep>,
    slot: usize,
    events: mpsc::UnboundedSender<Event>,
    flush: Duration,
    growing: Option<Growing>,
    busy: Option<JoinHandle<Result<Growing, Error>>>,
    pending: Vec<Bytes>,
    pending_bytes: usize,
    due: Option<Instant>,
}

impl Writer {
    fn new(lane: &Lane, growing: Growing) -> Self {
        Self {
            keep: Arc::clone(&lane.keep),
            slot: lane.slot,
            events: lane.events.clone(),
            flush: lane.flush,
            growing: Some(growing),
            busy: None,
            pending: Vec::new(),
            pending_bytes: 0,
            due: None,
        }
    }

    async fn take(&mut self, chunk: Bytes) -> Result<(), Error> {
        if chunk.is_empty() {
            return Ok(());
        }
        self.due.get_or_insert_with(|| Instant::now() + self.flush);
        self.pending_bytes += chunk.len();
        self.pending.push(chunk);
        if self.pending_bytes >= limits::WRITE_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Comes back when what came has waited long enough; never when there is nothing.
    async fn is_due(&self) {
        match self.due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// Begins to write what came, once what came before is written.
    async fn flush(&mut self) -> Result<(), Error> {
        self.is_written().await?;
        let Some(mut growing) = self.growing.take() else { return Ok(()) };
        let chunks = std::mem::take(&mut self.pending);
        (self.pending_bytes, self.due) = (0, None);
        let (keep, events, slot) = (Arc::clone(&self.keep), self.events.clone(), self.slot);
        self.busy = Some(tokio::task::spawn_blocking(move || {
            let start = growing.end();
            keep.write(&mut growing, &chunks)?;
            let range = start..growing.end();
            // Nobody listens any more when the transfer was dropped; the journal has it.
            let _gone = events.send(Event::Wrote { slot, range });
            Ok(growing)
        }));
        Ok(())
    }

    async fn is_written(&mut self) -> Result<(), Error> {
        let Some(busy) = self.busy.take() else { return Ok(()) };
        // A thread that panicked has written nothing that is recorded.
        match busy.await {
            Ok(written) => self.growing = Some(written?),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), Error> {
        if !self.pending.is_empty() {
            self.flush().await?;
        }
        self.is_written().await
    }
}
