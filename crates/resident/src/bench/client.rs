//! A client that costs as little as a client can: one connection, streamed answers of
//! `/v1/completions`, the clock read when bytes come, and JSON read only after the end.
//!
//! The measuring side shares the machine with what it measures, so it must not parse while tokens
//! are being computed.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use gateway::control::Residents;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, StatusCode, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpStream, time};

use super::limits::{ANSWER_BYTES_MAX, REQUEST_WAIT};

/// One connection to the hub, used for one request after the other.
#[derive(Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    sender: http1::SendRequest<Full<Bytes>>,
}

/// A request for text: greedy, and past the end of text, so that the number of tokens is exact.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Completion {
    model: String,
    prompt: Vec<u32>,
    max_tokens: u32,
    temperature: f32,
    ignore_eos: bool,
    stream: bool,
    stream_options: StreamOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    json_schema: Option<serde_json::Value>,
}

#[derive(Debug, Clone, Serialize)]
struct StreamOptions {
    include_usage: bool,
}

impl Completion {
    /// `tokens` tokens after `prompt`.
    pub(crate) fn new(model: &str, prompt: Vec<u32>, tokens: u32) -> Self {
        Self {
            model: model.to_owned(),
            prompt,
            max_tokens: tokens,
            temperature: 0.0,
            ignore_eos: true,
            stream: true,
            stream_options: StreamOptions { include_usage: true },
            json_schema: None,
        }
    }

    /// The same, drawn at this temperature.
    pub(crate) fn at(self, temperature: f32) -> Self {
        Self { temperature, ..self }
    }

    /// The same, held to a JSON schema, by which it ends too.
    pub(crate) fn held_to(self, schema: serde_json::Value) -> Self {
        Self { json_schema: Some(schema), ignore_eos: false, ..self }
    }
}

/// What came back, and when.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Answer {
    /// When the request was about to be sent.
    pub(crate) begun: Instant,
    /// When the last byte had come.
    pub(crate) ended: Instant,
    /// Time that the worker took for it, by its own account.
    pub(crate) worker: Duration,
    /// Tokens of the answer.
    pub(crate) tokens: u32,
    /// Tokens of the prompt.
    pub(crate) prompt_tokens: u32,
    /// Tokens of the prompt that were found in the cache.
    pub(crate) cached_tokens: u32,
    /// Tokens that were guessed ahead and checked.
    pub(crate) drafted_tokens: u32,
    /// Those of them that came true.
    pub(crate) accepted_tokens: u32,
    /// Where these were, as far as the server says it.
    pub(crate) came: Came,
    /// Of the worker's time, from the beginning of the prompt to the first token.
    pub(crate) prompt: Duration,
    /// Of the worker's time, from the first token to the last.
    pub(crate) predicted: Duration,
}

/// Tokens of a prompt by the tier of the cache that they came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Came {
    /// In the context.
    pub(crate) live: u32,
    /// In memory outside the context.
    pub(crate) ram: u32,
    /// In files.
    pub(crate) ssd: u32,
}

impl Answer {
    /// What the client waited.
    pub(crate) fn wall(&self) -> Duration {
        self.ended - self.begun
    }

    /// What the client waited beyond the worker's own time, in seconds. Never more exact than the
    /// microseconds that the worker reports.
    pub(crate) fn added_seconds(&self) -> f64 {
        self.wall().as_secs_f64() - self.worker.as_secs_f64()
    }
}

impl Client {
    /// Connects to the hub at `address`.
    ///
    /// # Errors
    /// When nobody listens there.
    pub(crate) async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // The connection ends with its sender; an error of it is an error of the request too.
        tokio::spawn(connection);
        Ok(Self { address, sender })
    }

    /// Whether the hub answers `GET path` with success.
    ///
    /// # Errors
    /// When the connection breaks.
    pub(crate) async fn is_fine(&mut self, path: &str) -> anyhow::Result<bool> {
        let request = self.request("GET", path).body(Full::default())?;
        let answer = time::timeout(REQUEST_WAIT, self.sender.send_request(request)).await??;
        let is_fine = answer.status() == StatusCode::OK;
        answer.into_body().collect().await?;
        Ok(is_fine)
    }

    /// What is in the hub's memory.
    ///
    /// # Errors
    /// When the hub refuses or the connection breaks.
    pub(crate) async fn residents(&mut self, token: &str) -> anyhow::Result<Residents> {
        let request = self
            .request("GET", "/resident/v1/ps")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(Full::default())?;
        let answer = time::timeout(REQUEST_WAIT, self.sender.send_request(request)).await??;
        let body = answer.into_body().collect().await?.to_bytes();
        serde_json::from_slice(&body).context("the hub does not say what is in memory")
    }

    /// Sends a request for text and waits for the whole answer.
    ///
    /// # Errors
    /// When the hub refuses it, the answer breaks off, or it takes longer than [`REQUEST_WAIT`].
    pub(crate) async fn complete(&mut self, completion: &Completion) -> anyhow::Result<Answer> {
        let body = Full::new(Bytes::from(serde_json::to_vec(completion)?));
        let request = self
            .request("POST", "/v1/completions")
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)?;
        time::timeout(REQUEST_WAIT, self.answer(request))
            .await
            .with_context(|| format!("a request took longer than {REQUEST_WAIT:?}"))?
    }

    /// Sends a JSON document and waits for the answer, which is one too.
    ///
    /// # Errors
    /// When it is refused, the answer is no JSON, or it takes longer than [`REQUEST_WAIT`].
    pub(crate) async fn post(
        &mut self,
        path: &str,
        document: &serde_json::Value,
    ) -> anyhow::Result<serde_json::Value> {
        let request = self
            .request("POST", path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(document.to_string())))?;
        self.sender.ready().await.context("the server closed the connection")?;
        let answer = time::timeout(REQUEST_WAIT, self.sender.send_request(request)).await??;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        if status != StatusCode::OK {
            bail!("{path} answered {status}: {}", String::from_utf8_lossy(&body).trim());
        }
        serde_json::from_slice(&body).with_context(|| format!("{path} did not answer in JSON"))
    }

    fn request(&self, method: &str, path: &str) -> hyper::http::request::Builder {
        Request::builder().method(method).uri(path).header(header::HOST, self.address.to_string())
    }

    async fn answer(&mut self, request: Request<Full<Bytes>>) -> anyhow::Result<Answer> {
        self.sender.ready().await.context("the hub closed the connection")?;
        let begun = Instant::now();
        let answer = self.sender.send_request(request).await.context("the hub did not answer")?;
        let status = answer.status();
        let mut body = answer.into_body();
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.context("the answer broke off")?;
            if let Some(data) = frame.data_ref() {
                bytes.extend_from_slice(data);
            }
            ensure!(bytes.len() <= ANSWER_BYTES_MAX, "the answer is over {ANSWER_BYTES_MAX} bytes");
        }
        let ended = Instant::now();
        let text = String::from_utf8(bytes).context("the answer is not text")?;
        if status != StatusCode::OK {
            bail!("the hub answered {status}: {}", text.trim());
        }
        let report = read(&text)?;
        Ok(Answer {
            begun,
            ended,
            worker: span(report.timings.total_ms())?,
            tokens: report.usage.completion_tokens,
            prompt_tokens: report.usage.prompt_tokens,
            cached_tokens: report.usage.prompt_tokens_details.cached_tokens,
            drafted_tokens: report.timings.draft_n,
            accepted_tokens: report.timings.draft_n_accepted,
            came: report.timings.cached_by,
            prompt: span(report.timings.prompt_ms)?,
            predicted: span(report.timings.predicted_ms)?,
        })
    }
}

#[derive(Debug)]
struct Account {
    usage: Usage,
    timings: Timings,
}

#[derive(Debug, Deserialize)]
struct Chunk {
    usage: Option<Usage>,
    timings: Option<Timings>,
    error: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct Usage {
    prompt_tokens: u32,
    completion_tokens: u32,
    #[serde(default)]
    prompt_tokens_details: PromptDetails,
}

#[derive(Debug, Default, Deserialize)]
struct PromptDetails {
    cached_tokens: u32,
}

/// The worker's own account of its time, in milliseconds.
#[derive(Debug, Deserialize)]
struct Timings {
    /// `llama-server` has no such figure.
    #[serde(default)]
    queue_ms: f64,
    prompt_ms: f64,
    predicted_ms: f64,
    /// Only where something was guessed.
    #[serde(default)]
    draft_n: u32,
    #[serde(default)]
    draft_n_accepted: u32,
    /// Absent where nothing was cached, and from other servers.
    #[serde(default)]
    cached_by: Came,
}

impl Timings {
    fn total_ms(&self) -> f64 {
        self.queue_ms + self.prompt_ms + self.predicted_ms
    }
}

fn span(ms: f64) -> anyhow::Result<Duration> {
    Duration::try_from_secs_f64(ms / 1000.0).with_context(|| format!("{ms} ms is not a time"))
}

/// Reads the events of a stream. The last ones say what it took; the text does not matter here.
fn read(text: &str) -> anyhow::Result<Account> {
    let (mut usage, mut timings, mut is_done) = (None, None, false);
    for line in text.lines() {
        let Some(data) = line.strip_prefix("data:").map(str::trim) else { continue };
        if data == "[DONE]" {
            is_done = true;
            continue;
        }
        let chunk: Chunk = serde_json::from_str(data)
            .with_context(|| format!("cannot read an event of the answer: {data}"))?;
        if let Some(error) = chunk.error {
            bail!("the answer failed: {error}");
        }
        usage = chunk.usage.or(usage);
        timings = chunk.timings.or(timings);
    }
    ensure!(is_done, "the answer ended without [DONE]");
    let usage = usage.context("the answer does not say how many tokens it has")?;
    let timings = timings.context("the answer does not say what time it took")?;
    Ok(Account { usage, timings })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"data: {"choices":[{"text":"a"}]}"#;
    const END: &str = r#"data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":4}},"timings":{"queue_ms":0.5,"prompt_ms":1.25,"predicted_ms":2.0,"cached_by":{"live":1,"ram":0,"ssd":3}}}"#;

    #[test]
    fn an_account_is_read_from_the_end_of_a_stream() {
        let account = read(&format!("{TEXT}\n\n{END}\n\ndata: [DONE]\n\n")).unwrap();
        assert_eq!(account.usage.completion_tokens, 2);
        assert_eq!(account.usage.prompt_tokens_details.cached_tokens, 4);
        assert_eq!(span(account.timings.total_ms()).unwrap(), Duration::from_micros(3750));
        assert_eq!(account.timings.cached_by, Came { live: 1, ram: 0, ssd: 3 });
    }

    #[test]
    fn a_stream_that_breaks_off_or_fails_is_not_measured() {
        let error = r#"data: {"error":{"message":"the worker died"}}"#;
        for (stream, part) in [
            (format!("{TEXT}\n\n{END}\n\n"), "[DONE]"),
            (format!("{TEXT}\n\ndata: [DONE]\n\n"), "how many tokens"),
            (format!("{TEXT}\n\n{error}\n\n"), "the worker died"),
            ("data: {\n\n".to_owned(), "cannot read"),
        ] {
            let message = format!("{:#}", read(&stream).unwrap_err());
            assert!(message.contains(part), "'{part}' is missing in: {message}");
        }
    }
}
