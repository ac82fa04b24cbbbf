//! The client of a hub on this machine: control requests, and answers as they stream.
//!
//! It connects to the hub's own address and nowhere else, one connection per request. Before
//! anything is said, the hub must show that it is ours (see [`Client::find`]): whatever listens at
//! the address could be another program, or another user's. Not here: showing anything.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use dialect::openai::upstream::sse;
use gateway::control::{ExplainedName, Warm, Warmed};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::TcpStream, time::timeout};

use crate::{
    config::Settings,
    exit::{self, Code},
    limits::{
        CONNECT_WAIT_MAX, CONTROL_WAIT_MAX, LOAD_WAIT_MAX, PROOF_WAIT_MAX, REPLY_BYTES_MAX,
        STREAM_SILENCE_MAX,
    },
    token,
};

/// The control request that a hub proves itself with; it changes nothing.
const PROOF_PATH: &str = "/resident/v1/ps";

/// The error code of a hub that misses the token.
const PROOF_CODE: &str = "invalid_control_token";

/// Why a request was not answered as hoped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Nothing listens at the address.
    #[error("no hub runs at {address}; start one with: resident serve")]
    NoHub {
        /// Where it was looked for.
        address: SocketAddr,
    },
    /// Something listens, but it is not a hub of this data folder.
    #[error("{address} is in use by something else: {what}; choose another address with --listen")]
    NotOurs {
        /// Where it was looked for.
        address: SocketAddr,
        /// What is known about it.
        what: String,
    },
    /// The hub refused.
    #[error("{message}")]
    Refused {
        /// HTTP's status.
        status: StatusCode,
        /// The hub's message, which is complete.
        message: String,
    },
    /// The connection broke, or what came makes no sense.
    #[error("the hub at {address} broke off: {what}")]
    Broken {
        /// The hub.
        address: SocketAddr,
        /// What happened.
        what: String,
    },
}

impl Error {
    /// The error with its exit code, for the edge.
    pub(crate) fn with_code(self) -> anyhow::Error {
        let code = match &self {
            Self::NoHub { .. } => Code::NoHub,
            Self::NotOurs { .. } => Code::AddressTaken,
            Self::Refused { status, .. } if *status == StatusCode::NOT_FOUND => Code::Model,
            Self::Refused { .. } | Self::Broken { .. } => Code::Failure,
        };
        exit::error(code, self.to_string())
    }
}

/// A hub that has shown to be ours.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    token: String,
    key: Option<String>,
}

impl Client {
    /// The hub at the address of `settings`, once it has shown to be ours: it knows the shape of a
    /// control request that lacks the token, and accepts the token of our data folder. The token is
    /// not sent to anything that fails the first.
    ///
    /// # Errors
    /// [`Error::NoHub`] when nothing is there, [`Error::NotOurs`] when something else is.
    pub(crate) async fn find(settings: &Settings) -> Result<Self, Error> {
        let address = reachable(settings.listen);
        let not_ours = |what: &str| Error::NotOurs { address, what: what.to_owned() };
        let proof = |secret| async move {
            let request = request(address, Method::GET, PROOF_PATH, secret, Bytes::new());
            let exchange = async {
                let response = send(address, request).await?;
                Ok((response.status(), read(address, response).await?))
            };
            match timeout(PROOF_WAIT_MAX, exchange).await {
                Ok(Ok(proved)) => Ok(proved),
                Ok(Err(Error::NoHub { address })) => Err(Error::NoHub { address }),
                Ok(Err(_)) | Err(_) => Err(not_ours("it does not answer as a hub does")),
            }
        };
        let (status, body) = proof(None).await?;
        let code = serde_json::from_slice::<serde_json::Value>(&body).ok();
        let code = code.as_ref().and_then(|value| value["error"]["code"].as_str());
        if status != StatusCode::UNAUTHORIZED || code != Some(PROOF_CODE) {
            return Err(not_ours("it is not Resident"));
        }
        let file = settings.token_file();
        let token = token::read(&file).map_err(|error| not_ours(&error.to_string()))?;
        let other = || {
            not_ours(&format!(
                "a hub with another data folder than {}",
                settings.data_dir.display()
            ))
        };
        let token = token.ok_or_else(other)?;
        match proof(Some(token.as_str())).await? {
            (StatusCode::OK, _) => Ok(Self { address, token, key: settings.key.clone() }),
            _ => Err(other()),
        }
    }

    /// A client of a hub whose token is known, because this process started it.
    pub(crate) fn of(address: SocketAddr, token: String, key: Option<String>) -> Self {
        Self { address: reachable(address), token, key }
    }

    /// A control request that reads.
    ///
    /// # Errors
    /// [`Error`].
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let request = request(self.address, Method::GET, path, Some(&self.token), Bytes::new());
        self.parse(self.whole(request, CONTROL_WAIT_MAX).await?)
    }

    /// A request that reads, as any client makes it.
    ///
    /// # Errors
    /// [`Error`].
    pub(crate) async fn get_as_client<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let key = self.key.as_deref();
        let request = request(self.address, Method::GET, path, key, Bytes::new());
        self.parse(self.whole(request, CONTROL_WAIT_MAX).await?)
    }

    /// A request that asks something, as any client makes it. A model may have to be loaded for the answer.
    ///
    /// # Errors
    /// [`Error`].
    pub(crate) async fn post_as_client<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        let body = serde_json::to_vec(body).map_err(|error| self.broken(error))?;
        let key = self.key.as_deref();
        let request = request(self.address, Method::POST, path, key, body.into());
        self.parse(self.whole(request, LOAD_WAIT_MAX).await?)
    }

    /// A control request that deletes something.
    ///
    /// # Errors
    /// [`Error`].
    pub(crate) async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let request = request(self.address, Method::DELETE, path, Some(&self.token), Bytes::new());
        self.parse(self.whole(request, CONTROL_WAIT_MAX).await?)
    }

    /// A control request that changes something.
    ///
    /// # Errors
    /// [`Error`].
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        let body = serde_json::to_vec(body).map_err(|error| self.broken(error))?;
        let request = request(self.address, Method::POST, path, Some(&self.token), body.into());
        self.parse(self.whole(request, CONTROL_WAIT_MAX).await?)
    }

    /// What would happen to a request for a model or a role now.
    ///
    /// # Errors
    /// [`Error`]; an unknown name is refused.
    pub(crate) async fn explain(&self, model: &str) -> Result<ExplainedName, Error> {
        let model: String = form_urlencoded::byte_serialize(model.as_bytes()).collect();
        self.get(&format!("/resident/v1/explain?model={model}")).await
    }

    /// Loads a model, and returns when it is loaded: which one, where a role was named.
    ///
    /// # Errors
    /// [`Error`]; a load that failed is refused in words.
    pub(crate) async fn warm(&self, warm: &Warm) -> Result<String, Error> {
        let body = serde_json::to_vec(warm).map_err(|error| self.broken(error))?;
        let path = "/resident/v1/warm";
        let request = request(self.address, Method::POST, path, Some(&self.token), body.into());
        let warmed: Warmed = self.parse(self.whole(request, LOAD_WAIT_MAX).await?)?;
        Ok(warmed.model)
    }

    /// Whether clients must send a key, asked of a route that costs nothing.
    ///
    /// # Errors
    /// [`Error`].
    pub(crate) async fn wants_key(&self) -> Result<bool, Error> {
        let request = request(self.address, Method::GET, "/api/version", None, Bytes::new());
        match self.whole(request, CONTROL_WAIT_MAX).await {
            Ok(_) => Ok(false),
            Err(Error::Refused { status, .. }) if status == StatusCode::UNAUTHORIZED => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Starts an answer that streams.
    ///
    /// # Errors
    /// [`Error`]; the hub refuses before the stream begins, or not at all.
    pub(crate) async fn stream(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<Stream, Error> {
        let body = body.to_string().into_bytes();
        let request = request(self.address, Method::POST, path, self.key.as_deref(), body.into());
        // The hub answers within seconds even while a model loads, so the same bound holds.
        let response = timeout(STREAM_SILENCE_MAX, send(self.address, request)).await;
        let response = response.map_err(|_| self.broken("it does not answer"))??;
        if !response.status().is_success() {
            return Err(refused(response.status(), &read(self.address, response).await?));
        }
        Ok(Stream {
            address: self.address,
            body: response.into_body(),
            parser: sse::Parser::default(),
        })
    }

    /// Starts a control request whose answer may be larger than memory.
    ///
    /// # Errors
    /// [`Error`]; the hub refuses before the first piece, or not at all.
    pub(crate) async fn pieces(&self, path: &str) -> Result<Pieces, Error> {
        let request = request(self.address, Method::GET, path, Some(&self.token), Bytes::new());
        let response = timeout(STREAM_SILENCE_MAX, send(self.address, request)).await;
        let response = response.map_err(|_| self.broken("it does not answer"))??;
        if !response.status().is_success() {
            return Err(refused(response.status(), &read(self.address, response).await?));
        }
        Ok(Pieces { address: self.address, body: response.into_body() })
    }

    async fn whole(
        &self,
        request: Request<Full<Bytes>>,
        wait_max: Duration,
    ) -> Result<Bytes, Error> {
        let exchange = async {
            let response = send(self.address, request).await?;
            let status = response.status();
            let body = read(self.address, response).await?;
            if status.is_success() { Ok(body) } else { Err(refused(status, &body)) }
        };
        let late = |_| self.broken(format_args!("no answer in {} s", wait_max.as_secs()));
        timeout(wait_max, exchange).await.map_err(late)?
    }

    fn parse<T: DeserializeOwned>(&self, body: Bytes) -> Result<T, Error> {
        serde_json::from_slice(&body).map_err(|error| self.broken(error))
    }

    fn broken(&self, what: impl std::fmt::Display) -> Error {
        Error::Broken { address: self.address, what: what.to_string() }
    }
}

/// An answer piece by piece.
#[derive(Debug)]
pub(crate) struct Pieces {
    address: SocketAddr,
    body: Incoming,
}

impl Pieces {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Broken`] when the connection ends in the middle, or is silent for long.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let broken = |what: String| Error::Broken { address: self.address, what };
        loop {
            let frame = timeout(STREAM_SILENCE_MAX, self.body.frame()).await;
            let silent = |_| broken(format!("nothing came for {} s", STREAM_SILENCE_MAX.as_secs()));
            let Some(frame) = frame.map_err(silent)? else { return Ok(None) };
            if let Ok(piece) = frame.map_err(|error| broken(error.to_string()))?.into_data() {
                return Ok(Some(piece));
            }
        }
    }
}

/// An answer as it streams.
#[derive(Debug)]
pub(crate) struct Stream {
    address: SocketAddr,
    body: Incoming,
    parser: sse::Parser,
}

impl Stream {
    /// The data of the events that came next, at least one; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Broken`] when the connection ends in the middle.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<String>>, Error> {
        let broken = |what: String| Error::Broken { address: self.address, what };
        let silent = format!("nothing came for {} s", STREAM_SILENCE_MAX.as_secs());
        loop {
            let frame = timeout(STREAM_SILENCE_MAX, self.body.frame()).await;
            let Some(frame) = frame.map_err(|_| broken(silent.clone()))? else { return Ok(None) };
            let frame = frame.map_err(|error| broken(error.to_string()))?;
            let Some(bytes) = frame.data_ref() else { continue };
            let mut events = Vec::new();
            let pushed = self.parser.push(bytes, &mut events);
            pushed.map_err(|error| broken(format!("it {error}")))?;
            if !events.is_empty() {
                return Ok(Some(events.into_iter().map(|event| event.data).collect()));
            }
        }
    }
}

/// Where a client on this machine reaches a hub that listens at `address`.
pub(crate) fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    address
}

fn request(
    address: SocketAddr,
    method: Method,
    path: &str,
    secret: Option<&str>,
    body: Bytes,
) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    // Our own paths are plain ASCII; one that is not would be our bug and is answered with 404.
    *request.uri_mut() = path.parse().unwrap_or_default();
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let host = HeaderValue::try_from(address.to_string());
    headers.extend(host.ok().map(|host| (HOST, host)));
    let bearer = secret.and_then(|secret| HeaderValue::try_from(format!("Bearer {secret}")).ok());
    if let Some(mut bearer) = bearer {
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
    }
    request
}

/// Sends on a new connection.
async fn send(
    address: SocketAddr,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, Error> {
    let socket = match timeout(CONNECT_WAIT_MAX, TcpStream::connect(address)).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(_)) | Err(_) => return Err(Error::NoHub { address }),
    };
    let broken = |error: hyper::Error| Error::Broken { address, what: error.to_string() };
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await.map_err(broken)?;
    // Ends with the response's body or when either is dropped; its error is the sender's too.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(broken)
}

async fn read(address: SocketAddr, response: Response<Incoming>) -> Result<Bytes, Error> {
    let body = http_body_util::Limited::new(response.into_body(), REPLY_BYTES_MAX);
    let body = body.collect().await;
    body.map(|body| body.to_bytes())
        .map_err(|error| Error::Broken { address, what: error.to_string() })
}

/// The message in an error body of OpenAI's form, else the body as it is.
fn refused(status: StatusCode, body: &[u8]) -> Error {
    let parsed = serde_json::from_slice::<serde_json::Value>(body).ok();
    let message = parsed.as_ref().and_then(|value| value["error"]["message"].as_str());
    let message = match message {
        Some(message) => message.to_owned(),
        None => format!("{status}: {}", String::from_utf8_lossy(body).trim()),
    };
    Error::Refused { status, message: crate::terminal::inert(&message) }
}
