//! A plain HTTP client: one connection per request, and nothing sent that the test did not say.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Request, Response, StatusCode, body::Incoming, client::conn::http1::handshake,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpStream, task::JoinHandle};

/// Far above what anything here takes: running into it is a failure, not a measurement.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// What to send.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Ask {
    pub(crate) fn new(method: &'static str, path: &str) -> Self {
        Self { method, path: path.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub(crate) fn post(path: &str, body: &Value) -> Self {
        Self::new("POST", path).with("content-type", "application/json").body(body.to_string())
    }

    /// A raw completion of the model `m`; the prompt tells the fixture what to do.
    pub(crate) fn completion(prompt: &str, more: Value) -> Self {
        let mut body = json!({ "model": "m", "prompt": prompt });
        let Value::Object(more) = more else { panic!("{more} is no object") };
        body.as_object_mut().unwrap().extend(more);
        Self::post("/v1/completions", &body)
    }

    pub(crate) fn with(mut self, header: &'static str, value: &str) -> Self {
        self.headers.push((header, value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it and waits for the head of the answer. Dropping the result breaks the connection.
    pub(crate) async fn open(&self, address: SocketAddr) -> Open {
        let socket = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = handshake(TokioIo::new(socket)).await.unwrap();
        let connection = Connection(tokio::spawn(async move {
            // The other side may end it in any way; the test looks at what came until then.
            let _ = connection.await;
        }));
        let mut request = Request::builder().method(self.method).uri(&self.path);
        if self.headers.iter().all(|(name, _)| *name != "host") {
            request = request.header("host", address.to_string());
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(Bytes::from(self.body.clone()))).unwrap();
        let response = within(sender.send_request(request)).await.unwrap();
        Open { response, _connection: connection }
    }

    /// Sends it and reads the whole answer.
    pub(crate) async fn send(&self, address: SocketAddr) -> Answer {
        let Open { response, _connection } = self.open(address).await;
        let (head, body) = response.into_parts();
        let body = within(body.collect()).await.unwrap().to_bytes();
        Answer {
            status: head.status,
            words: Words::of(&self.path, &self.headers),
            headers: head.headers,
            text: String::from_utf8_lossy(&body).into_owned(),
            bytes: body,
        }
    }
}

/// Ends with whoever holds it, so that a test can vanish from a connection.
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An answer whose head is there.
pub(crate) struct Open {
    pub(crate) response: Response<Incoming>,
    _connection: Connection,
}

impl Open {
    /// The next piece of the body as it came; `None` at its end.
    pub(crate) async fn piece(&mut self) -> Option<String> {
        let frame = within(self.response.body_mut().frame()).await?.unwrap();
        Some(String::from_utf8(frame.into_data().unwrap().into()).unwrap())
    }
}

/// Whose words an answer is told in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Words {
    OpenAi,
    Anthropic,
    Ollama,
}

impl Words {
    fn of(path: &str, headers: &[(&'static str, String)]) -> Self {
        let path = path.split('?').next().unwrap_or_default();
        let is_message = path == "/v1/messages" || path.starts_with("/v1/messages/");
        let is_model = path == "/v1/models" || path.starts_with("/v1/models/");
        let is_its_client = headers.iter().any(|(name, _)| *name == "anthropic-version");
        if is_message || (is_model && is_its_client) {
            Self::Anthropic
        } else if path.starts_with("/api/") && !path.starts_with("/api/tools/") {
            Self::Ollama
        } else {
            Self::OpenAi
        }
    }
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// Whose words it is told in.
    words: Words,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) bytes: Bytes,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.headers["content-type"], "application/json", "{}", self.text);
        serde_json::from_str(&self.text).unwrap()
    }

    /// The JSON of a success.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()
    }

    /// The error of an answer with this status: OpenAI's with its four keys, Anthropic's with two, Ollama's
    /// a text.
    #[track_caller]
    pub(crate) fn error(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        let whole = self.json();
        let error = whole["error"].clone();
        let keys: &[&str] = match self.words {
            Words::OpenAi => &["message", "type", "param", "code"],
            Words::Anthropic => {
                assert_eq!(whole["type"], "error", "{}", self.text);
                assert_eq!(whole["request_id"], self.headers["request-id"].to_str().unwrap());
                &["message", "type"]
            }
            Words::Ollama => {
                assert!(error.is_string() && whole.as_object().unwrap().len() == 1);
                &[]
            }
        };
        for key in keys {
            assert!(error.get(key).is_some(), "no {key}: {}", self.text);
        }
        error
    }
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("this takes far too long")
}

/// Waits for something that only the passing of much time brings, and lets it pass quickly. The
/// clock moves in small steps, with a moment of real time between them for what is on the wire.
pub(crate) async fn time_flies<T>(future: impl Future<Output = T>) -> T {
    const STEP: Duration = Duration::from_millis(100);
    const STEPS_MAX: u32 = 500;
    tokio::time::pause();
    tokio::pin!(future);
    for _ in 0..STEPS_MAX {
        tokio::select! {
            biased;
            output = &mut future => {
                tokio::time::resume();
                return output;
            }
            () = tokio::task::yield_now() => {}
        }
        std::thread::sleep(Duration::from_millis(1));
        tokio::time::advance(STEP).await;
    }
    panic!("nothing came of {:?}", STEP * STEPS_MAX);
}
