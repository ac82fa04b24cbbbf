//! One request at a server, from its queue to its last event.

use std::{collections::VecDeque, fmt::Display, sync::Arc, time::Duration};

use dialect::openai::upstream::{self, Decoder, sse};
use tokio::{sync::Semaphore, time::Instant};
use worker_protocol::{
    Embed, EmbedInput, Event, Failure, FailureKind, FinishReason, Finished, Generate, Rank,
    RequestId, Usage,
};

use super::{
    super::{
        http::{Connection, Endpoint, Reply},
        pool::{Fault, Round, Seat},
    },
    Voice,
};
use crate::{
    limits::{
        EMBED_BYTES_MAX, EMBED_INPUTS_MAX, RANK_BYTES_MAX, RANK_DOCUMENTS_MAX, REFUSAL_BYTES_MAX,
        REFUSAL_WAIT_MAX,
    },
    link::{Delivery, Link},
};

/// What is asked of an engine.
pub(super) enum Work {
    Generate(Box<Generate>),
    Embed(Embed),
    Rank(Rank),
}

/// Whoever waits for a request's events. It gets exactly one last event: the link passes on the
/// first alone, and dropping this without one says that the exchange was given up.
pub(super) struct Reader {
    link: Arc<Link>,
    request: RequestId,
    credit: Arc<Semaphore>,
    engine: String,
}

impl Reader {
    pub(super) fn new(
        link: Arc<Link>,
        request: RequestId,
        credit: Arc<Semaphore>,
        engine: &str,
    ) -> Self {
        Self { link, request, credit, engine: engine.to_owned() }
    }

    /// Hands over an event, as soon as there is credit for it.
    async fn give(&self, event: Event) {
        // Nobody closes the semaphore.
        if let Ok(permit) = self.credit.acquire().await {
            permit.forget();
        }
        match self.link.deliver(self.request, event) {
            Delivery::Done => {}
            Delivery::OverCredit => {
                tracing::error!("more events were delivered than there was credit for");
                // Without a gap in the text: its reader hears that the answer broke off.
                self.link.forget(self.request);
            }
        }
    }

    /// Hands over the last event, which needs no credit.
    pub(super) fn end(&self, event: Event) {
        self.link.deliver(self.request, event);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let message = format!("engine '{}' was given up in the middle of its answer", self.engine);
        self.end(Event::Failed(Failure { kind: FailureKind::Broken, message }));
    }
}

/// Does one piece of work, whatever comes of it.
pub(super) async fn run(voice: &Voice, reader: Reader, work: Work) {
    let begun = Instant::now();
    let mut place = voice.tally.enter();
    // Nobody closes the semaphore; without a slot the request would only be less polite.
    let _slot = voice.slots.acquire().await.ok();
    place.run();
    let ended = match work {
        Work::Generate(request) => generate(voice, &reader, &request, begun).await,
        Work::Embed(request) => embed(voice, &reader, &request, begun).await,
        Work::Rank(request) => rank(voice, &reader, &request, begun).await,
    };
    drop(place);
    reader.end(match ended {
        Ok(finished) => {
            voice.tally.add(&finished.usage);
            Event::Finished(finished)
        }
        Err(failure) => Event::Failed(failure),
    });
}

async fn generate(
    voice: &Voice,
    reader: &Reader,
    generate: &Generate,
    begun: Instant,
) -> Result<Finished, Failure> {
    let mut times = Times::new(begun);
    let (mut seat, mut round) = voice.pool.begin();
    let (mut stream, mut event) = loop {
        match voice.first_event(&seat, generate).await {
            Ok(first) => break first,
            Err(trouble) => seat = voice.move_on(seat, &mut round, trouble)?,
        }
    };
    seat.answers();
    loop {
        match event {
            Event::Finished(finished) => {
                seat.answered();
                return Ok(Finished { usage: times.measured(finished.usage), ..finished });
            }
            Event::Failed(failure) => return Err(voice.give_up(seat, failure)),
            event @ (Event::Progress { .. }
            | Event::Text(_)
            | Event::Reasoning(_)
            | Event::ToolCall(_)
            | Event::Embedded { .. }
            | Event::Ranked { .. }) => {
                times.progressed();
                reader.give(event).await;
            }
        }
        event = stream.next().await;
    }
}

async fn embed(
    voice: &Voice,
    reader: &Reader,
    embed: &Embed,
    begun: Instant,
) -> Result<Finished, Failure> {
    let mut times = Times::new(begun);
    let (mut index, mut usage) = (0, Usage::default());
    let kind = |input: &EmbedInput| matches!(input, EmbedInput::Text(_));
    // Few servers take texts and tokens together.
    let alike = embed.inputs.chunk_by(|one, next| kind(one) == kind(next));
    for inputs in alike.flat_map(|alike| alike.chunks(EMBED_INPUTS_MAX)) {
        let (mut seat, mut round) = voice.pool.begin();
        let answer = loop {
            match voice.vectors(&seat, inputs).await {
                Ok(answer) => break answer,
                Err(trouble) => seat = voice.move_on(seat, &mut round, trouble)?,
            }
        };
        seat.answered();
        times.progressed();
        usage.prompt_tokens = usage.prompt_tokens.saturating_add(answer.prompt_tokens);
        for vector in answer.vectors {
            reader.give(Event::Embedded { index, vector }).await;
            index += 1;
        }
    }
    Ok(Finished { reason: FinishReason::End, usage: times.measured(usage) })
}

async fn rank(
    voice: &Voice,
    reader: &Reader,
    rank: &Rank,
    begun: Instant,
) -> Result<Finished, Failure> {
    let mut times = Times::new(begun);
    let (mut index, mut usage) = (0, Usage::default());
    for documents in rank.documents.chunks(RANK_DOCUMENTS_MAX) {
        let (mut seat, mut round) = voice.pool.begin();
        let answer = loop {
            match voice.scores(&seat, rank, documents).await {
                Ok(answer) => break answer,
                Err(trouble) => seat = voice.move_on(seat, &mut round, trouble)?,
            }
        };
        seat.answered();
        times.progressed();
        usage.prompt_tokens = usage.prompt_tokens.saturating_add(answer.prompt_tokens);
        for score in answer.scores {
            reader.give(Event::Ranked { index, score }).await;
            index += 1;
        }
    }
    Ok(Finished { reason: FinishReason::End, usage: times.measured(usage) })
}

/// Why a server gave nothing of an answer.
pub(super) struct Trouble {
    fault: Fault,
    /// A fragment that goes on after the server's name.
    failure: Failure,
}

/// Of a server that was reached.
impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self { fault: Fault::of(failure.kind), failure }
    }
}

impl Voice {
    pub(super) async fn connect(&self, seat: &Seat) -> Result<Connection, Trouble> {
        let connected = seat.connect(self.waits.connect).await;
        connected.map_err(|message| {
            let failure = Failure { kind: FailureKind::Broken, message };
            Trouble { fault: Fault::Unreachable, failure }
        })
    }

    /// An answer and its first event, which is none of failure.
    async fn first_event(
        &self,
        seat: &Seat,
        generate: &Generate,
    ) -> Result<(Stream, Event), Trouble> {
        let connection = self.connect(seat).await?;
        let mut stream = Stream::begin(self, seat.endpoint(), connection, generate).await?;
        match stream.next().await {
            Event::Failed(failure) => Err(failure.into()),
            event @ (Event::Progress { .. }
            | Event::Text(_)
            | Event::Reasoning(_)
            | Event::ToolCall(_)
            | Event::Embedded { .. }
            | Event::Ranked { .. }
            | Event::Finished(_)) => Ok((stream, event)),
        }
    }

    async fn vectors(
        &self,
        seat: &Seat,
        inputs: &[EmbedInput],
    ) -> Result<upstream::Vectors, Trouble> {
        let connection = self.connect(seat).await?;
        Ok(vectors(self, seat.endpoint(), connection, inputs).await?)
    }

    async fn scores(
        &self,
        seat: &Seat,
        rank: &Rank,
        documents: &[String],
    ) -> Result<upstream::Scores, Trouble> {
        let connection = self.connect(seat).await?;
        Ok(scores(self, seat.endpoint(), connection, rank, documents).await?)
    }

    /// The next server for a request of which nobody has seen any answer: computing it again costs
    /// time and nothing else. Or the failure, if none is left that could do better.
    pub(super) fn move_on(
        &self,
        seat: Seat,
        round: &mut Round<'_>,
        trouble: Trouble,
    ) -> Result<Seat, Failure> {
        let Trouble { fault, failure } = trouble;
        let blamed = self.blame(seat.endpoint().shown(), failure.clone());
        seat.failed(fault, &failure.message);
        let next = if fault.moves_on() { round.next() } else { None };
        let Some(next) = next else { return Err(blamed) };
        tracing::info!(failure = blamed.message, next = next.endpoint().shown(), "on to the next");
        Ok(next)
    }

    /// The failure of an answer that somebody has seen a part of.
    pub(super) fn give_up(&self, seat: Seat, failure: Failure) -> Failure {
        let blamed = self.blame(seat.endpoint().shown(), failure.clone());
        seat.failed(Fault::of(failure.kind), &failure.message);
        blamed
    }
}

/// The vectors of some inputs.
pub(super) async fn vectors(
    voice: &Voice,
    endpoint: &Endpoint,
    connection: Connection,
    inputs: &[EmbedInput],
) -> Result<upstream::Vectors, Failure> {
    let silence = voice.waits.silence;
    let request = upstream::embed(inputs, &voice.model, &voice.manner.drops);
    let reply = connection.post(endpoint, request.path, request.body, silence).await;
    let reply = accepted(reply.map_err(broken)?).await?;
    let body = reply.whole(EMBED_BYTES_MAX, silence).await.map_err(broken)?;
    upstream::vectors(&body, inputs.len()).map_err(broken)
}

/// How well some documents answer the query.
async fn scores(
    voice: &Voice,
    endpoint: &Endpoint,
    connection: Connection,
    rank: &Rank,
    documents: &[String],
) -> Result<upstream::Scores, Failure> {
    let (manner, silence) = (&voice.manner, voice.waits.silence);
    let Rank { query, truncate, document_tokens_max, .. } = rank;
    let question = upstream::Question {
        query,
        truncate: *truncate,
        document_tokens_max: *document_tokens_max,
    };
    let asking =
        upstream::Asking { model: &voice.model, drops: &manner.drops, texts: manner.rerank_texts };
    // Whoever has no path was refused before.
    let path = manner.rerank.as_deref().unwrap_or("/v1/rerank");
    let body = upstream::rank(&question, documents, &asking);
    let reply = connection.post(endpoint, path, body, silence).await;
    let reply = accepted(reply.map_err(broken)?).await?;
    let body = reply.whole(RANK_BYTES_MAX, silence).await.map_err(broken)?;
    upstream::scores(&body, documents.len()).map_err(broken)
}

/// A reply that says yes; the other ones as the failure they are.
pub(super) async fn accepted(reply: Reply) -> Result<Reply, Failure> {
    if reply.is_success() {
        return Ok(reply);
    }
    let (status, retry_after) = (reply.status(), reply.retry_after());
    let body = reply.beginning(REFUSAL_BYTES_MAX, REFUSAL_WAIT_MAX).await;
    Err(upstream::failure(status, retry_after.as_deref(), &body))
}

/// The failure that a fault of the server is.
pub(super) fn broken(what: impl Display) -> Failure {
    Failure { kind: FailureKind::Broken, message: format!("{what}; send the request again") }
}

/// An answer as it streams. Failures are fragments that go on after the server's name.
pub(super) struct Stream {
    reply: Reply,
    silence: Duration,
    parser: sse::Parser,
    decoder: Decoder,
    /// Events that came together with the one that was given.
    events: VecDeque<Event>,
}

impl Stream {
    /// Asks for an answer, and waits until the server has agreed to give one.
    pub(super) async fn begin(
        voice: &Voice,
        endpoint: &Endpoint,
        connection: Connection,
        generate: &Generate,
    ) -> Result<Self, Failure> {
        let silence = voice.waits.silence;
        let request = upstream::generate(generate, &voice.model, &voice.manner.drops);
        let reply = connection.post(endpoint, request.path, request.body, silence).await;
        let reply = accepted(reply.map_err(broken)?).await?;
        if let Some(kind) = reply.other_than_stream() {
            let body = reply.beginning(REFUSAL_BYTES_MAX, REFUSAL_WAIT_MAX).await;
            return Err(upstream::not_a_stream(&kind, &body));
        }
        let decoder = Decoder::new(generate.logprobs.is_some());
        let (parser, events) = (sse::Parser::default(), VecDeque::new());
        Ok(Self { reply, silence, parser, decoder, events })
    }

    /// The next event. After a last one there is nothing more to ask for.
    pub(super) async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            let fault = match self.read().await {
                Ok(true) => continue,
                Ok(false) => None,
                Err(fault) => Some(fault),
            };
            // Whatever happens after the server has said why its answer ended, it is whole.
            let last = self.decoder.end();
            match (fault, last) {
                (None, Some(last)) | (Some(_), Some(last @ Event::Finished(_))) => {
                    self.events.push_back(last);
                }
                (Some(fault), Some(_) | None) => {
                    self.events.push_back(Event::Failed(broken(fault)));
                }
                (None, None) if self.events.is_empty() => {
                    self.events.push_back(Event::Failed(broken("has nothing more to say")));
                }
                (None, None) => {}
            }
        }
    }

    /// Reads some bytes and decodes them; whether more may come.
    async fn read(&mut self) -> Result<bool, String> {
        let mut said = Vec::new();
        let bytes = self.reply.next(self.silence).await?;
        let parsed = match &bytes {
            Some(bytes) => self.parser.push(bytes, &mut said),
            None => {
                said.extend(std::mem::take(&mut self.parser).end());
                Ok(())
            }
        };
        for event in said {
            if event.is_error {
                self.events.extend(self.decoder.error(&event.data));
            } else {
                let decoded = self.decoder.data(&event.data);
                self.events.extend(decoded.map_err(|bad| bad.to_string())?);
            }
        }
        parsed.map_err(|fault| fault.to_string())?;
        Ok(bytes.is_some())
    }
}

/// When a request came how far. The hub's own clock, for servers measure different things.
struct Times {
    begun: Instant,
    asked: Instant,
    first: Option<Instant>,
    last: Instant,
}

impl Times {
    /// The request is asked now.
    fn new(begun: Instant) -> Self {
        let now = Instant::now();
        Self { begun, asked: now, first: None, last: now }
    }

    fn progressed(&mut self) {
        self.last = Instant::now();
        self.first.get_or_insert(self.last);
    }

    fn measured(&self, usage: Usage) -> Usage {
        let us = |from: Instant, to: Instant| {
            u64::try_from(to.duration_since(from).as_micros()).unwrap_or(u64::MAX)
        };
        let first = self.first.unwrap_or(self.last);
        Usage {
            queue_us: us(self.begun, self.asked),
            prefill_us: us(self.asked, first),
            decode_us: us(first, self.last),
            ..usage
        }
    }
}
