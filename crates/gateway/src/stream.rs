//! Streamed answers: server-sent events with or without names, or lines.
//!
//! A task per stream takes events, encodes them and hands chunks to the connection. It ends when
//! the client goes away, and its answers are cancelled with it. Until the first chunk is there the
//! status is open, so that a refusal is a real status and not an event; after some time the stream
//! begins anyway, and comments keep it alive. What the fleet decides streams in the same way, until
//! its reader leaves.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use axum::response::Response;
use bytes::Bytes;
use dialect::openai::responses;
use dialect::{CachedBy, Encode, Error, anthropic, ollama};
use futures_util::stream::unfold;
use supervisor::{Handle, Happening, Watch};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;
use worker_protocol::{Event, Piece};

use crate::answer::{Choices, Job, count, with_cached};
use crate::limits::{
    CLIENT_WAIT_MAX, FIRST_EVENT_WAIT_MAX, KEEP_ALIVE_INTERVAL, PROGRESS_INTERVAL,
    STREAM_CHUNKS_MAX,
};
use crate::routes::Site;

/// A comment that every parser skips. One line break: some clients take the second for an empty
/// event.
const PING: Bytes = Bytes::from_static(b": ping\n");
/// What lines of JSON are called.
const NDJSON: &str = "application/x-ndjson";
/// The end, exactly once, also after an error.
const DONE: &str = "data: [DONE]\n\n";

/// How payloads become a stream.
#[derive(Debug, Clone)]
pub(crate) enum Framing {
    /// Server-sent events, as OpenAI's clients read them. Comments keep a silent stream alive.
    Events,
    /// The same without a word that ends them: llama-server's own routes say so in the last one.
    BareEvents,
    /// Server-sent events with names, as Anthropic's clients read them; each brings its own. One that says
    /// nothing keeps a silent stream alive.
    NamedEvents,
    /// Server-sent events with names and numbers, as those read them who ask for OpenAI's responses; each
    /// brings its own. Comments keep a silent stream alive.
    NumberedEvents {
        /// What is said of an answer that fails before it begins.
        beginning: Box<responses::Beginning>,
    },
    /// A line each, as Ollama's clients read them. A line that says nothing keeps a silent stream alive:
    /// there are no comments, and an empty line is a broken one to some.
    Lines { nothing: String },
}

impl Framing {
    fn content_type(&self) -> &'static str {
        match self {
            Self::Events | Self::BareEvents | Self::NamedEvents | Self::NumberedEvents { .. } => {
                "text/event-stream"
            }
            Self::Lines { .. } => NDJSON,
        }
    }

    fn framed(&self, payloads: &mut Vec<String>) -> Bytes {
        let (before, after) = match self {
            Self::Events | Self::BareEvents => ("data: ", "\n\n"),
            Self::NamedEvents | Self::NumberedEvents { .. } => ("", "\n\n"),
            Self::Lines { .. } => ("", "\n"),
        };
        let around = before.len() + after.len();
        let mut text = String::with_capacity(payloads.iter().map(|one| one.len() + around).sum());
        for payload in payloads.drain(..) {
            text.extend([before, &payload, after]);
        }
        text.into()
    }

    /// What keeps a stream alive, with what is waited for.
    fn silence(&self, news: Option<String>) -> Bytes {
        match (self, news) {
            (Self::Events | Self::BareEvents | Self::NumberedEvents { .. }, Some(news)) => {
                format!(": {news}\n").into()
            }
            (Self::Events | Self::BareEvents | Self::NumberedEvents { .. }, None) => PING,
            (Self::NamedEvents, _) => format!("{}\n\n", anthropic::PING).into(),
            (Self::Lines { nothing }, _) => format!("{nothing}\n").into(),
        }
    }

    /// An error that came after the status was sent, as the last of a stream.
    fn failed(&self, error: &Error) -> Bytes {
        match self {
            Self::Events => format!("data: {}\n\n{DONE}", error.to_json()).into(),
            Self::BareEvents => format!("data: {}\n\n", error.to_json()).into(),
            Self::NamedEvents => format!("{}\n\n", anthropic::error_event(error)).into(),
            Self::NumberedEvents { beginning } => self.framed(&mut beginning.failed(error)),
            Self::Lines { .. } => format!("{}\n", ollama::error_body(error)).into(),
        }
    }

    /// What ends it, exactly once, also after an error.
    fn end(&self) -> &'static str {
        match self {
            Self::Events => DONE,
            // The last event or line says so itself.
            Self::BareEvents
            | Self::NamedEvents
            | Self::NumberedEvents { .. }
            | Self::Lines { .. } => "",
        }
    }
}

/// What the task hands to the connection; an error only before any chunk.
type Chunk = Result<Bytes, Error>;

/// Starts the stream and answers with it, or with the error that came before its first chunk.
pub(crate) async fn respond(
    site: Arc<Site>,
    job: Job,
    encoder: Box<dyn Encode>,
    framing: Framing,
    tells_progress: bool,
) -> Result<Response, Error> {
    let (sender, mut chunks) = channel(STREAM_CHUNKS_MAX);
    let wait = Wait { hub: site.hub.clone(), watch: Watch::default(), framing: framing.clone() };
    let cached = Arc::new(OnceLock::new());
    let production = Production {
        site,
        encoder,
        wait: wait.clone(),
        tells_progress,
        cached: Arc::clone(&cached),
        sender,
    };
    tokio::spawn(async move {
        let gone = production.sender.clone();
        tokio::select! {
            () = gone.closed() => {}
            () = production.run(job) => {}
        }
    });
    let first = match timeout(FIRST_EVENT_WAIT_MAX, chunks.recv()).await {
        Ok(Some(Ok(chunk))) => chunk,
        Ok(Some(Err(error))) => return Err(error),
        Ok(None) => return Err(Error::new(500, "the answer broke off before it began")),
        Err(_) => wait.silence().await,
    };
    let response = streamed(&framing, body(first, chunks, wait));
    // A stream that had to begin before its prompt did cannot say it any more.
    Ok(match cached.get() {
        Some(cached) => with_cached(response, *cached),
        None => response,
    })
}

/// What the fleet is told and decides from now on, one event each. A reader that falls behind is
/// told how many it missed, in place of them.
pub(crate) fn happenings(happenings: broadcast::Receiver<Arc<Happening>>) -> Response {
    let stream = unfold((true, happenings), |(first, mut happenings)| async move {
        // The head leaves with the first chunk, so there is one at once.
        if first {
            return Some((Ok::<_, std::convert::Infallible>(PING), (false, happenings)));
        }
        let happening = match timeout(KEEP_ALIVE_INTERVAL, happenings.recv()).await {
            Ok(Ok(happening)) => happening,
            Ok(Err(RecvError::Lagged(entries))) => Arc::new(Happening::Lost { entries }),
            Ok(Err(RecvError::Closed)) => return None,
            Err(_) => return Some((Ok(PING), (false, happenings))),
        };
        let payload = serde_json::to_string(&*happening).ok()?;
        Some((Ok(Framing::Events.framed(&mut vec![payload])), (false, happenings)))
    });
    streamed(&Framing::Events, Body::from_stream(stream))
}

/// Lines that somebody else makes.
pub(crate) fn lines(body: Body) -> Response {
    streamed_as(NDJSON, body)
}

fn streamed(framing: &Framing, body: Body) -> Response {
    streamed_as(framing.content_type(), body)
}

fn streamed_as(kind: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Asks nginx and its kin not to gather the stream.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// The chunks as a body, with a comment whenever they are silent for long.
fn body(first: Bytes, chunks: Receiver<Chunk>, wait: Wait) -> Body {
    let stream = unfold((Some(first), chunks, wait), |(first, mut chunks, wait)| async move {
        if let Some(first) = first {
            return Some((Ok::<_, std::convert::Infallible>(first), (None, chunks, wait)));
        }
        let chunk = match timeout(KEEP_ALIVE_INTERVAL, chunks.recv()).await {
            Ok(Some(Ok(chunk))) => chunk,
            Ok(Some(Err(error))) => wait.framing.failed(&error),
            Ok(None) => return None,
            Err(_) => wait.silence().await,
        };
        Some((Ok(chunk), (None, chunks, wait)))
    });
    Body::from_stream(stream)
}

/// What a stream waits for before its answer begins.
#[derive(Clone)]
struct Wait {
    hub: Handle,
    watch: Watch,
    framing: Framing,
}

impl Wait {
    /// What is going on, in one line.
    async fn news(&self) -> Option<String> {
        let progress = self.hub.progress(&self.watch).await?;
        // A line break would end the comment, and a name may have one.
        Some(progress.to_string().replace(char::is_control, " "))
    }

    /// What keeps the stream alive meanwhile.
    async fn silence(&self) -> Bytes {
        self.framing.silence(self.news().await)
    }
}

/// The task that makes a stream.
struct Production {
    site: Arc<Site>,
    encoder: Box<dyn Encode>,
    wait: Wait,
    /// Whether the reader wants to be told as reasoning what is waited for.
    tells_progress: bool,
    /// Where cached tokens were found, for the head; told once, before the chunk that it goes with.
    cached: Arc<OnceLock<CachedBy>>,
    sender: Sender<Chunk>,
}

impl Production {
    /// Runs the job and encodes its events until the end or until nobody takes them.
    async fn run(mut self, job: Job) {
        let mut payloads = Vec::new();
        let mut begun = false;
        let asked = Instant::now();
        let mut choices = match self.begin(job, &mut begun).await {
            Ok((choices, model)) => {
                self.encoder.begun(model.as_deref(), asked.elapsed());
                choices
            }
            Err(error) => {
                // Nobody is left to tell when the client is gone.
                let _ = self.sender.send(Err(error)).await;
                return;
            }
        };
        while let Some((choice, event)) = choices.next().await {
            count(&self.site, &event);
            if let (Event::Failed(failure), false) = (&event, begun) {
                let _ = self.sender.send(Err(Error::from(failure))).await;
                return;
            }
            self.encoder.event(choice, &event, &mut payloads);
            if !begun && let Some(cached) = self.encoder.cached() {
                self.cached.get_or_init(|| cached);
            }
            if matches!(event, Event::Failed(_)) {
                // The failure ends the whole stream, so what other choices run is cancelled.
                break;
            }
            if payloads.is_empty() {
                continue;
            }
            begun = true;
            if !hand_over(&self.sender, self.wait.framing.framed(&mut payloads)).await {
                return;
            }
        }
        self.encoder.finish(&mut payloads);
        let framing = &self.wait.framing;
        let last = [&framing.framed(&mut payloads), framing.end().as_bytes()].concat();
        hand_over(&self.sender, last.into()).await;
    }

    /// Begins the answers, and tells meanwhile what is waited for if the reader wants that.
    async fn begin(
        &mut self,
        job: Job,
        begun: &mut bool,
    ) -> Result<(Choices, Option<String>), Error> {
        let (wait, site) = (self.wait.clone(), Arc::clone(&self.site));
        let beginning = job.begin(&site, Some(&wait.watch));
        if !self.tells_progress {
            return beginning.await;
        }
        tokio::pin!(beginning);
        let mut told = None;
        loop {
            if let Ok(outcome) = timeout(PROGRESS_INTERVAL, &mut beginning).await {
                return outcome;
            }
            let news = wait.news().await;
            if news.is_none() || news == told {
                continue;
            }
            let line = news.as_deref().unwrap_or_default();
            *begun |= tell(&self.sender, &mut *self.encoder, &wait.framing, line);
            told = news;
        }
    }
}

/// Tells as reasoning what is waited for, if there is room; says whether there was. A reader that takes
/// nothing is not waited for: what is waited for may be granted meanwhile, and would be held for it.
fn tell(sender: &Sender<Chunk>, encoder: &mut dyn Encode, framing: &Framing, news: &str) -> bool {
    let Ok(place) = sender.try_reserve() else { return false };
    let piece = Piece { text: format!("{news}\n"), logprobs: Vec::new() };
    let mut payloads = Vec::new();
    encoder.event(0, &Event::Reasoning(piece), &mut payloads);
    place.send(Ok(framing.framed(&mut payloads)));
    true
}

/// Whether the connection took the chunk. A client that takes nothing for very long has gone in
/// all but name; its place on the worker is given to others.
async fn hand_over(sender: &Sender<Chunk>, chunk: Bytes) -> bool {
    timeout(CLIENT_WAIT_MAX, sender.send(Ok(chunk))).await.is_ok_and(|sent| sent.is_ok())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt as _;

    use super::*;

    /// Says what it is told.
    struct Plain;

    impl Encode for Plain {
        fn event(&mut self, _choice: u32, event: &Event, payloads: &mut Vec<String>) {
            if let Event::Reasoning(piece) = event {
                payloads.push(piece.text.trim_end().to_owned());
            }
        }

        fn finish(&mut self, _payloads: &mut Vec<String>) {}

        fn begun(&mut self, _model: Option<&str>, _waited: Duration) {}

        fn cached(&self) -> Option<CachedBy> {
            None
        }
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_is_told_nothing_more_and_holds_up_nobody() {
        let (sender, mut chunks) = channel(1);
        assert!(tell(&sender, &mut Plain, &Framing::Events, "waiting"));
        assert!(!tell(&sender, &mut Plain, &Framing::Events, "loading"));
        assert_eq!(chunks.recv().await.unwrap().unwrap(), "data: waiting\n\n");
        assert!(tell(&sender, &mut Plain, &Framing::Events, "loaded"));
        drop(sender);
        assert_eq!(chunks.recv().await.unwrap().unwrap(), "data: loaded\n\n");
        assert!(chunks.recv().await.is_none());
    }

    #[tokio::test]
    async fn a_reader_that_falls_behind_is_told_how_far() {
        let (sender, receiver) = broadcast::channel(2);
        for entries in 1..=5 {
            sender.send(Arc::new(Happening::Lost { entries })).unwrap();
        }
        drop(sender);
        let response = happenings(receiver);
        assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let lost = |entries: u64| format!("data: {{\"lost\":{{\"entries\":{entries}}}}}\n\n");
        let expected = format!(": ping\n{}{}{}", lost(3), lost(4), lost(5));
        assert_eq!(body, expected.as_bytes(), "three were lost, the last two were kept");
    }
}
