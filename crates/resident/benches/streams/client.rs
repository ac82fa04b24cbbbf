//! Many streams at once, each on a connection of its own: the clock is read when bytes come, and what
//! they say is read after the end.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, ensure};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, StatusCode, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpStream, task::JoinSet};

use crate::{Beat, INTERVAL, STREAMS, TOKENS, TOKENS_SPARED, engine::MARK};

/// The name under which the engine is served.
pub(crate) const MODEL: &str = "scripted";

/// How a client asks, and how it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    OpenAiChat,
    OpenAiText,
    Ollama,
    Anthropic,
}

impl Dialect {
    pub(crate) const ALL: [Self; 4] =
        [Self::OpenAiChat, Self::OpenAiText, Self::Ollama, Self::Anthropic];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::OpenAiChat => "chat",
            Self::OpenAiText => "completions",
            Self::Ollama => "ollama",
            Self::Anthropic => "anthropic",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::OpenAiChat => "/v1/chat/completions",
            Self::OpenAiText => "/v1/completions",
            Self::Ollama => "/api/chat",
            Self::Anthropic => "/v1/messages",
        }
    }

    fn body(self, beat: Beat) -> Value {
        let script = format!("{} {TOKENS} {}", beat.word(), INTERVAL.as_millis());
        match self {
            Self::OpenAiText => json!({"model": MODEL, "prompt": script, "stream": true}),
            Self::OpenAiChat | Self::Ollama | Self::Anthropic => json!({
                "model": MODEL,
                "messages": [{"role": "user", "content": script}],
                "max_tokens": TOKENS,
                "stream": true,
            }),
        }
    }
}

/// How late each token came that counts.
pub(crate) async fn measure(
    address: SocketAddr,
    dialect: Dialect,
    beat: Beat,
) -> anyhow::Result<Vec<Duration>> {
    let mut streams = JoinSet::new();
    for _ in 0..STREAMS {
        streams.spawn(stream(address, dialect, beat));
    }
    let mut delays = Vec::new();
    while let Some(stream) = streams.join_next().await {
        delays.extend(stream??);
    }
    Ok(delays)
}

async fn stream(
    address: SocketAddr,
    dialect: Dialect,
    beat: Beat,
) -> anyhow::Result<Vec<Duration>> {
    let connection = TcpStream::connect(address).await?;
    connection.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(connection)).await?;
    // It ends with its sender; an error of it is an error of the request too.
    tokio::spawn(connection);
    let request = Request::post(dialect.path())
        .header(header::HOST, address.to_string())
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(dialect.body(beat).to_string())))?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let mut body = answer.into_body();
    let mut pieces = Vec::new();
    while let Some(frame) = body.frame().await {
        let came = SystemTime::now().duration_since(UNIX_EPOCH)?;
        pieces.extend(frame?.into_data().ok().map(|bytes| (came, bytes)));
    }
    ensure!(status == StatusCode::OK, "{} answered {status}: {pieces:?}", dialect.path());
    let mut delays = Vec::new();
    for (came, bytes) in pieces {
        for ready in moments(&bytes)? {
            delays.push(came.checked_sub(ready).context("a token came before it was ready")?);
        }
    }
    ensure!(delays.len() == TOKENS, "{} tokens came instead of {TOKENS}", delays.len());
    Ok(delays.split_off(TOKENS_SPARED))
}

/// What the engine wrote into the tokens of these bytes. No dialect escapes it.
fn moments(bytes: &[u8]) -> anyhow::Result<Vec<Duration>> {
    let text = std::str::from_utf8(bytes)?;
    let mut moments = Vec::new();
    for behind in text.split(MARK).skip(1) {
        let digits = behind.find(|next: char| !next.is_ascii_digit()).context("a token is cut")?;
        moments.push(Duration::from_nanos(behind[..digits].parse()?));
    }
    Ok(moments)
}
