//! A web server that does what a test says, right or wrong, and counts the bytes it sends.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use library::sources::{Access, Options};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    sync::watch,
};

use crate::model::File;

/// Nothing that a test waits for takes nearly as long, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The buffer of the system between server and client, in bytes. Small, so that what was sent is
/// about what was read.
const SEND_BUFFER_BYTES: u32 = 64 << 10;

/// How a connection begins that wants to be encrypted.
const TLS_HANDSHAKE: u8 = 22;

/// The most bytes a body is made of at once.
const CHUNK_BYTES: u64 = 64 << 10;

/// A request, as much of it as matters here.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) path: String,
    /// First and last byte asked for.
    pub(crate) range: Option<(u64, u64)>,
    pub(crate) authorization: Option<String>,
}

/// What the server does with one.
pub(crate) struct Answer {
    /// Status line and headers, each with its line end.
    pub(crate) head: String,
    pub(crate) body: Body,
}

/// What follows the head.
pub(crate) enum Body {
    /// These bytes.
    Bytes(Vec<u8>),
    /// Bytes `from..to` of a file, whose weights are zeros.
    File { header: Arc<Vec<u8>>, from: u64, to: u64 },
    /// Zeros without end.
    Endless,
    /// These bytes, and then silence on an open connection.
    Stalled(Vec<u8>),
    /// These bytes, one each 50 ms.
    Dripping(Vec<u8>),
    /// Bytes `from..to` of a file that repeats `period`, at `rate` bytes per second.
    Paced { period: Arc<Vec<u8>>, from: u64, to: u64, rate: u64 },
    /// Not even a head: the connection closes.
    HangUp,
}

/// A running server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    sent_bytes: Arc<AtomicU64>,
    requests: Arc<Mutex<Vec<Request>>>,
    /// Connections that are served now.
    connections: Arc<watch::Sender<usize>>,
}

impl Server {
    /// Serves with `answer` until the runtime ends.
    pub(crate) async fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0", answer).await
    }

    /// The same at an address of this machine.
    pub(crate) async fn start_at(
        address: &str,
        answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(SEND_BUFFER_BYTES).unwrap();
        socket.bind(address.parse().unwrap()).unwrap();
        let listener = socket.listen(64).unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            sent_bytes: Arc::default(),
            requests: Arc::default(),
            connections: Arc::default(),
        };
        let (sent_bytes, requests) = (server.sent_bytes.clone(), server.requests.clone());
        let connections = Arc::clone(&server.connections);
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (sent_bytes, requests) = (sent_bytes.clone(), requests.clone());
                let (answer, connections) = (answer.clone(), connections.clone());
                connections.send_modify(|count| *count += 1);
                tokio::spawn(async move {
                    // A client that hangs up early is what some tests are about.
                    let _hung_up = serve(stream, &*answer, &sent_bytes, &requests).await;
                    connections.send_modify(|count| *count -= 1);
                });
            }
        });
        server
    }

    /// The address of `path` on it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Bytes of bodies that the system took from it.
    pub(crate) fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::SeqCst)
    }

    /// Waits until all that was begun was answered, or the client has hung up.
    pub(crate) async fn is_done(&self) {
        let mut connections = self.connections.subscribe();
        let done = connections.wait_for(|count| *count == 0);
        tokio::time::timeout(PATIENCE, done).await.unwrap().unwrap();
    }

    /// What was asked so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Access for which this is every source, with waits fit for a test.
    pub(crate) fn access(&self) -> Access {
        Access::new(&self.options()).unwrap()
    }

    /// How it is reached.
    pub(crate) fn options(&self) -> Options {
        Options {
            hugging_face: self.url(""),
            hugging_face_token: Some("hf_secret".to_owned()),
            model_scope: self.url("/ms"),
            ollama: self.url("/ollama"),
            proxies: false,
            connect_wait_max: PATIENCE,
            silence_max: PATIENCE,
            whole_wait_max: PATIENCE,
            ..Options::default()
        }
    }
}

/// One request on one connection.
async fn serve(
    mut stream: TcpStream,
    answer: &(impl Fn(&Request) -> Answer + Send + Sync),
    sent_bytes: &AtomicU64,
    requests: &Mutex<Vec<Request>>,
) -> std::io::Result<()> {
    let mut head = vec![stream.read_u8().await?];
    if head[0] == TLS_HANDSHAKE {
        return Ok(());
    }
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let request = parse(&String::from_utf8(head).unwrap());
    requests.lock().unwrap().push(request.clone());
    let Answer { head, body } = answer(&request);
    if matches!(body, Body::HangUp) {
        return Ok(());
    }
    let head = format!("HTTP/1.1 {head}connection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let send = async |stream: &mut TcpStream, bytes: &[u8]| {
        stream.write_all(bytes).await?;
        sent_bytes.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        Ok::<_, std::io::Error>(())
    };
    match body {
        Body::Bytes(bytes) => send(&mut stream, &bytes).await?,
        Body::File { header, mut from, to } => {
            while from < to {
                let bytes = slice(&header, from, to.min(from + CHUNK_BYTES));
                send(&mut stream, &bytes).await?;
                from += bytes.len() as u64;
            }
        }
        Body::Paced { period, mut from, to, rate } => {
            while from < to {
                let place = from as usize % period.len();
                // Fifty times a second, and no farther than the period.
                let most = (rate / 50).min(to - from) as usize;
                let bytes = &period[place..period.len().min(place + most)];
                send(&mut stream, bytes).await?;
                from += bytes.len() as u64;
                tokio::time::sleep(Duration::from_secs_f64(bytes.len() as f64 / rate as f64)).await;
            }
        }
        Body::HangUp => {}
        Body::Endless => loop {
            send(&mut stream, &[0; CHUNK_BYTES as usize]).await?;
        },
        Body::Stalled(bytes) => {
            send(&mut stream, &bytes).await?;
            // Until the client hangs up: it has nothing more to say.
            let _hung_up = stream.read_u8().await;
        }
        Body::Dripping(bytes) => {
            for byte in bytes {
                send(&mut stream, &[byte]).await?;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    stream.shutdown().await
}

fn parse(head: &str) -> Request {
    let header = |name: &str| {
        let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let range = header("range:").and_then(|range| {
        let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()?))
    });
    Request {
        path: head.split(' ').nth(1).unwrap().to_owned(),
        range,
        authorization: header("authorization:"),
    }
}

/// Bytes `from..to` of a file with this header.
fn slice(header: &[u8], from: u64, to: u64) -> Vec<u8> {
    let within = |at: u64| header.len().min(at as usize);
    let mut bytes = header[within(from)..within(to)].to_vec();
    bytes.resize((to - from) as usize, 0);
    bytes
}

impl Answer {
    /// A status, more headers with their line ends, and a body whose length is said.
    pub(crate) fn new(status: &str, headers: &str, body: &[u8]) -> Self {
        let head = format!("{status}\r\ncontent-length: {}\r\n{headers}", body.len());
        Self { head, body: Body::Bytes(body.to_vec()) }
    }

    /// Somewhere else.
    pub(crate) fn redirect(to: &str) -> Self {
        Self::new("302 Found", &format!("location: {to}\r\n"), b"")
    }

    /// What an honest server with ranges answers.
    pub(crate) fn ranged(file: &File, request: &Request) -> Self {
        let header = Arc::new(file.header.clone());
        let Some((first, last)) = request.range else { return Self::whole(file) };
        if first >= file.bytes {
            let range = format!("content-range: bytes */{}\r\n", file.bytes);
            return Self::new("416 Range Not Satisfiable", &range, b"");
        }
        let last = last.min(file.bytes - 1);
        let head = format!(
            "206 Partial Content\r\ncontent-length: {}\r\ncontent-range: bytes {first}-{last}/{}\r\n",
            last - first + 1,
            file.bytes
        );
        Self { head, body: Body::File { header, from: first, to: last + 1 } }
    }

    /// What a server without ranges answers.
    pub(crate) fn whole(file: &File) -> Self {
        let header = Arc::new(file.header.clone());
        let head = format!("200 OK\r\ncontent-length: {}\r\n", file.bytes);
        Self { head, body: Body::File { header, from: 0, to: file.bytes } }
    }
}
