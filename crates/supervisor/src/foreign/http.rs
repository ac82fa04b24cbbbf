//! HTTP/1.1 as a client: one connection for each exchange, because dropping it is how a server is
//! told that nobody waits any more.
//!
//! Plain or over TLS. Redirects are not followed and proxies not asked, so that a key goes to the one
//! server it belongs to and nowhere else. Errors are fragments that go on after the server's name.

use std::{
    error::Error as _,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::{
    Method, Request, Response, Uri,
    body::{Body, Frame, Incoming, SizeHint},
    client::conn::http1::{self, SendRequest},
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};

use super::tls::Tls;
use crate::{engine::Server, tool::Pieces};

/// Where a server is, and what it wants to hear with every request.
pub(super) struct Endpoint {
    /// As people may see it.
    shown: String,
    host: String,
    port: u16,
    /// Plain HTTP without it.
    tls: Option<Tls>,
    /// Before every path.
    prefix: String,
    headers: HeaderMap,
}

impl Endpoint {
    /// The endpoint of a server.
    ///
    /// # Errors
    /// Says what is wrong with its address or key, as a whole sentence.
    pub(super) fn new(server: &Server) -> Result<Self, String> {
        let url = &server.base_url;
        let wrong = |why: &str| format!("the server's address {url:?} {why}");
        let uri: Uri = url.parse().map_err(|error| wrong(&format!("is no URL: {error}")))?;
        let is_secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(_) | None => return Err(wrong("must begin with http:// or https://")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
        if authority.as_str().contains('@') {
            // It would be shown wherever the address is.
            return Err("a server's address holds a user name; set `key` instead".to_owned());
        }
        if uri.query().is_some() {
            return Err(wrong("must not have a query"));
        }
        let path = uri.path().trim_end_matches('/');
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let mut headers = HeaderMap::new();
        // Without the usual port, as browsers write it: some servers look their name up.
        let is_usual = authority.port_u16() == Some(if is_secure { 443 } else { 80 });
        let named = if is_usual { authority.host() } else { authority.as_str() };
        let named = HeaderValue::try_from(named);
        headers.insert(HOST, named.map_err(|_| wrong("names no host"))?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = &server.key {
            let bearer = HeaderValue::try_from(format!("Bearer {key}"));
            let mut bearer = bearer
                .map_err(|_| format!("the key of {url} cannot be sent: it has line breaks"))?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        let tls = is_secure.then(|| Tls::to(host)).transpose().map_err(|why| wrong(&why))?;
        Ok(Self {
            shown: url.trim_end_matches('/').to_owned(),
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(if is_secure { 443 } else { 80 }),
            tls,
            // Written with or without it; our paths begin with it.
            prefix: path.strip_suffix("/v1").unwrap_or(path).to_owned(),
            headers,
        })
    }

    /// The address as people may see it; it holds no key.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// A connection. When this fails, no byte of a request has left.
    pub(super) async fn connect(&self, wait_max: Duration) -> Result<Connection, String> {
        let connecting = async {
            let socket = TcpStream::connect((self.host.as_str(), self.port)).await;
            let socket = socket
                .map_err(|error| format!("cannot be reached: {error}; see that it runs there"))?;
            // Without it a small request may wait for an acknowledgement; an error costs only that.
            socket.set_nodelay(true).ok();
            match &self.tls {
                Some(tls) => Connection::over(tls.greet(socket).await?).await,
                None => Connection::over(socket).await,
            }
        };
        let within = s(wait_max);
        timeout(wait_max, connecting).await.unwrap_or_else(|_| {
            Err(format!("cannot be reached: no connection within {within}; see that it runs there"))
        })
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Outgoing,
    ) -> Result<Request<Outgoing>, String> {
        let target = format!("{}/{}", self.prefix, path.trim_start_matches('/'));
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() =
            target.parse().map_err(|error| format!("has no path {target:?}: {error}"))?;
        request.headers_mut().clone_from(&self.headers);
        Ok(request)
    }
}

/// A connection on which nothing was said yet.
pub(super) struct Connection {
    sender: SendRequest<Outgoing>,
    driver: Driver,
}

/// Moves a connection's bytes; the socket is closed as soon as this is dropped.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    async fn over<S>(socket: S) -> Result<Self, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) =
            http1::handshake(TokioIo::new(socket)).await.map_err(|error| told(&error))?;
        let driver = Driver(tokio::spawn(async move {
            // Its error is the request's, or the body's, too.
            connection.await.ok();
        }));
        Ok(Self { sender, driver })
    }

    /// Sends a request with a JSON body and waits for the head of the reply.
    pub(super) async fn post(
        self,
        to: &Endpoint,
        path: &str,
        body: Vec<u8>,
        wait_max: Duration,
    ) -> Result<Reply, String> {
        self.send(to.request(Method::POST, path, Outgoing::of(body))?, wait_max).await
    }

    /// The same with a form that has a file in it.
    pub(super) async fn post_form(
        self,
        to: &Endpoint,
        path: &str,
        content_type: &str,
        form: Outgoing,
        wait_max: Duration,
    ) -> Result<Reply, String> {
        let mut request = to.request(Method::POST, path, form)?;
        let kind = HeaderValue::try_from(content_type);
        let kind = kind.map_err(|_| format!("cannot be sent what is {content_type:?}"))?;
        request.headers_mut().insert(CONTENT_TYPE, kind);
        self.send(request, wait_max).await
    }

    /// The same without a body.
    pub(super) async fn get(
        self,
        to: &Endpoint,
        path: &str,
        wait_max: Duration,
    ) -> Result<Reply, String> {
        self.send(to.request(Method::GET, path, Outgoing::of(Vec::new()))?, wait_max).await
    }

    async fn send(
        mut self,
        request: Request<Outgoing>,
        wait_max: Duration,
    ) -> Result<Reply, String> {
        let reply = timeout(wait_max, self.sender.send_request(request)).await;
        let reply = reply.map_err(|_| format!("did not answer for {}", s(wait_max)))?;
        let reply = reply.map_err(|error| told(&error))?;
        Ok(Reply { reply, _driver: self.driver })
    }
}

/// The body of a request: bytes, and perhaps a file that is read as it is sent.
pub(super) struct Outgoing {
    before: Bytes,
    file: Option<Pieces>,
    after: Bytes,
    bytes_left: u64,
}

impl Outgoing {
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        let bytes_left = bytes.len() as u64;
        Self { before: bytes.into(), file: None, after: Bytes::new(), bytes_left }
    }

    /// A file of this length between two pieces.
    pub(super) fn around(before: Vec<u8>, file: Pieces, file_bytes: u64, after: Vec<u8>) -> Self {
        let bytes_left = (before.len() + after.len()) as u64 + file_bytes;
        Self { before: before.into(), file: Some(file), after: after.into(), bytes_left }
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if !self.before.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.before))));
        }
        if let Some(file) = &mut self.file {
            match ready!(file.poll_next(context)) {
                None => self.file = None,
                piece @ Some(_) => return Poll::Ready(piece),
            }
        }
        let after = std::mem::take(&mut self.after);
        Poll::Ready((!after.is_empty()).then_some(Ok(after)))
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        let piece = ready!(this.poll_piece(context));
        if let Some(Ok(piece)) = &piece {
            this.bytes_left = this.bytes_left.saturating_sub(piece.len() as u64);
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes_left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes_left)
    }
}

/// A reply whose body is still to come. Dropping it closes the connection.
pub(super) struct Reply {
    reply: Response<Incoming>,
    _driver: Driver,
}

impl Reply {
    pub(super) fn status(&self) -> u16 {
        self.reply.status().as_u16()
    }

    pub(super) fn is_success(&self) -> bool {
        self.reply.status().is_success()
    }

    /// When a busy server wants to be asked again, in its words.
    pub(super) fn retry_after(&self) -> Option<String> {
        self.header(&RETRY_AFTER)
    }

    /// What the body is, if it says.
    pub(super) fn content_type(&self) -> Option<String> {
        self.header(&CONTENT_TYPE)
    }

    /// What the body is, unless it is a stream of events or does not say.
    pub(super) fn other_than_stream(&self) -> Option<String> {
        self.header(&CONTENT_TYPE).filter(|kind| {
            let kind = kind.split(';').next().unwrap_or_default();
            !kind.trim().eq_ignore_ascii_case("text/event-stream")
        })
    }

    /// The next bytes of the body; `None` at its end.
    pub(super) async fn next(&mut self, wait_max: Duration) -> Result<Option<Bytes>, String> {
        loop {
            let frame = timeout(wait_max, self.reply.body_mut().frame()).await;
            let Some(frame) = frame.map_err(|_| format!("said nothing for {}", s(wait_max)))?
            else {
                return Ok(None);
            };
            if let Ok(bytes) = frame.map_err(|error| told(&error))?.into_data() {
                return Ok(Some(bytes));
            }
        }
    }

    /// The whole body.
    pub(super) async fn whole(
        mut self,
        bytes_max: usize,
        wait_max: Duration,
    ) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        let reading = async {
            while let Some(bytes) = self.next(wait_max).await? {
                if body.len() + bytes.len() > bytes_max {
                    return Err(format!("answered with more than {bytes_max} bytes"));
                }
                body.extend_from_slice(&bytes);
            }
            Ok(())
        };
        let read = timeout(wait_max, reading).await;
        read.map_err(|_| format!("did not finish its answer within {}", s(wait_max)))??;
        Ok(body)
    }

    /// As much of the body as comes within these bounds, for a message.
    pub(super) async fn beginning(mut self, bytes_max: usize, wait_max: Duration) -> Vec<u8> {
        let mut body = Vec::new();
        let reading = async {
            while let Ok(Some(bytes)) = self.next(wait_max).await {
                let room = bytes_max - body.len();
                body.extend_from_slice(&bytes[..bytes.len().min(room)]);
                if body.len() == bytes_max {
                    return;
                }
            }
        };
        // What came until then has to do.
        timeout(wait_max, reading).await.ok();
        body
    }

    fn header(&self, name: &HeaderName) -> Option<String> {
        let value = self.reply.headers().get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    }
}

/// What HTTP says went wrong, with its cause.
fn told(error: &hyper::Error) -> String {
    match error.source() {
        Some(cause) => format!("broke the connection: {error}: {cause}"),
        None => format!("broke the connection: {error}"),
    }
}

/// A wait as people read it.
fn s(wait: Duration) -> String {
    format!("{} s", wait.as_secs_f32())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{
        ClientConfig, RootCertStore, ServerConfig, crypto::ring, pki_types::PrivatePkcs8KeyDer,
    };
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };
    use tokio_rustls::TlsAcceptor;

    use super::*;

    fn endpoint(base_url: &str, key: Option<&str>) -> Result<Endpoint, String> {
        Endpoint::new(&Server { base_url: base_url.to_owned(), key: key.map(str::to_owned) })
    }

    #[test]
    fn addresses_are_taken_apart() {
        for (url, host, port, prefix) in [
            ("http://127.0.0.1:8080", "127.0.0.1", 8080, ""),
            ("http://lab/", "lab", 80, ""),
            ("http://[::1]:1234/v1/", "::1", 1234, ""),
            ("http://lab:8000/serve/v1", "lab", 8000, "/serve"),
        ] {
            let endpoint = endpoint(url, None).unwrap();
            let seen = (endpoint.host.as_str(), endpoint.port, endpoint.prefix.as_str());
            assert_eq!(seen, (host, port, prefix), "{url}");
        }
    }

    #[test]
    fn an_address_of_https_has_its_own_port() {
        for (url, port, named) in [
            ("https://api.example/v1", 443, "api.example"),
            ("https://api.example:443", 443, "api.example"),
            ("https://127.0.0.1:80", 80, "127.0.0.1:80"),
        ] {
            let endpoint = endpoint(url, None).unwrap();
            assert!(endpoint.tls.is_some() && endpoint.port == port, "{url}");
            assert_eq!(endpoint.headers[HOST], named, "{url}");
        }
    }

    /// A server that shows a certificate for localhost and 127.0.0.1, and answers one request.
    async fn secure_server() -> u16 {
        let certificate = include_bytes!("../../tests/tls/certificate.der").as_slice().into();
        let key = PrivatePkcs8KeyDer::from(include_bytes!("../../tests/tls/key.der").as_slice());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key.into())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            // Whoever does not trust it goes away.
            let Ok(mut socket) = TlsAcceptor::from(Arc::new(config)).accept(socket).await else {
                return;
            };
            let mut request = [0; 1024];
            let length = socket.read(&mut request).await.unwrap();
            assert!(request[..length].starts_with(b"GET /health HTTP/1.1"));
            socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            socket.shutdown().await.ok();
        });
        port
    }

    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_server_of_https_is_asked_only_when_its_certificate_is_trusted() {
        let server = format!("https://127.0.0.1:{}", secure_server().await);
        let stranger = endpoint(&server, None).unwrap();
        let error = stranger.connect(PATIENCE).await.err().expect("nobody trusts it");
        assert!(error.starts_with("cannot be trusted: "), "{error}");

        let server = format!("https://127.0.0.1:{}", secure_server().await);
        let mut known = endpoint(&server, None).unwrap();
        let mut roots = RootCertStore::empty();
        let certificate = include_bytes!("../../tests/tls/certificate.der").as_slice();
        roots.add(certificate.into()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        known.tls.as_mut().unwrap().config = Arc::new(config);
        let connection = known.connect(PATIENCE).await.unwrap();
        let reply = connection.get(&known, "/health", PATIENCE).await.unwrap();
        assert_eq!(reply.whole(10, PATIENCE).await.unwrap(), b"ok");
    }

    #[tokio::test]
    async fn a_server_of_plain_http_is_not_taken_for_one_of_https() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("https://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        });
        let error = endpoint(&server, None).unwrap().connect(PATIENCE).await.err().unwrap();
        assert!(error.contains("write http:// if it speaks no TLS"), "{error}");
    }

    #[test]
    fn paths_go_below_the_prefix_however_they_begin() {
        let endpoint = endpoint("http://lab/serve/v1", None).unwrap();
        for path in ["/health", "health"] {
            let request = endpoint.request(Method::GET, path, Outgoing::of(Vec::new())).unwrap();
            assert_eq!(request.uri(), "/serve/health");
        }
        assert!(
            endpoint
                .request(Method::GET, "a b", Outgoing::of(Vec::new()))
                .is_err_and(|error| error.contains("a b"))
        );
    }

    #[test]
    fn addresses_that_cannot_be_used_are_refused_with_the_reason() {
        for (url, why) in [
            ("localhost:8080", "must begin with http://"),
            ("ftp://lab", "must begin with http://"),
            ("https://a_b!", "no certificate can name"),
            ("http://", "is no URL"),
            ("http://me:secret@lab", "set `key` instead"),
            ("http://lab?key=secret", "must not have a query"),
        ] {
            let error = endpoint(url, None).err().unwrap_or_else(|| panic!("{url} was taken"));
            assert!(error.contains(why), "{url}: {error}");
        }
        let error = endpoint("http://lab", Some("a\nb")).err().unwrap();
        assert!(error.contains("line breaks") && !error.contains("a\nb"), "{error}");
    }
}
