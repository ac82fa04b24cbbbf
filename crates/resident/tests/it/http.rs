//! A small HTTP client: one request per connection, whole answers and streams of events.
//!
//! It is deliberately plain, so that tests can send what no library would, and see when exactly a
//! byte arrives. What the OpenAI library makes of the hub is in `openai_client`.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// A hub that says nothing for so long hangs.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// What to send.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    silence_max: Duration,
}

impl Request {
    pub(crate) fn get(path: &str) -> Self {
        Self {
            method: "GET",
            path: path.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            silence_max: SILENCE_MAX,
        }
    }

    /// Bears so long a silence, for a machine that may have little time for the hub.
    #[cfg(target_os = "linux")]
    pub(crate) fn patient(mut self, silence_max: Duration) -> Self {
        self.silence_max = silence_max;
        self
    }

    pub(crate) fn post(path: &str, body: &Value) -> Self {
        Self::post_bytes(path, body.to_string().into_bytes())
    }

    pub(crate) fn post_bytes(path: &str, body: Vec<u8>) -> Self {
        let mut request = Self { method: "POST", body, ..Self::get(path) };
        request.headers.push(("content-type".to_owned(), "application/json".to_owned()));
        request
    }

    #[cfg(unix)]
    pub(crate) fn delete(path: &str, body: &Value) -> Self {
        Self { method: "DELETE", ..Self::post(path, body) }
    }

    /// Sets a header, in place of the one that would be sent otherwise.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn head(&self, address: SocketAddr) -> String {
        let mut head = format!("{} {} HTTP/1.1\r\nconnection: close\r\n", self.method, self.path);
        if self.headers.iter().all(|(name, _)| name != "host") {
            head += &format!("host: {address}\r\n");
        }
        if !self.body.is_empty() {
            head += &format!("content-length: {}\r\n", self.body.len());
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head + "\r\n"
    }

    /// Sends it and reads the head of the answer.
    pub(crate) fn open(&self, address: SocketAddr) -> io::Result<Stream> {
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(self.silence_max))?;
        socket.set_write_timeout(Some(SILENCE_MAX))?;
        let mut writer = socket.try_clone()?;
        let head = self.head(address);
        let body = self.body.clone();
        // A hub may answer before it read everything, so the answer is read meanwhile. That it
        // does not take the rest then is its right.
        thread::spawn(move || {
            let _ = writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(&body));
        });
        Stream::read_head(socket)
    }

    /// Sends it and reads the whole answer.
    pub(crate) fn send(&self, address: SocketAddr) -> io::Result<Answer> {
        self.open(address)?.rest()
    }
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!("status {}, not JSON ({error}): {}", self.status, self.text())
        })
    }

    /// For answers that must be a success, whatever they say.
    #[track_caller]
    pub(crate) fn ok_status(&self) {
        assert_eq!(self.status, 200, "{}", self.text());
    }

    /// The JSON of an answer that must be a success.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }

    /// The error object of an answer that must have this status, in OpenAI's form.
    #[track_caller]
    pub(crate) fn error(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        let error = self.json()["error"].take();
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
        assert!(error["type"].is_string(), "{error}");
        for key in ["param", "code"] {
            let value = error.get(key).unwrap_or_else(|| panic!("`{key}` is missing: {error}"));
            assert!(value.is_null() || value.is_string(), "{error}");
        }
        error
    }
}

/// An answer that is still coming.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    body: BufReader<Body>,
}

impl Stream {
    fn read_head(socket: TcpStream) -> io::Result<Self> {
        let mut reader = BufReader::new(socket);
        let status = line(&mut reader)?;
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| invalid("no status line"))?;
        let mut headers = Vec::new();
        loop {
            let line = line(&mut reader)?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| invalid("no header"))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let value = |wanted: &str| {
            headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
        };
        let left = if value("transfer-encoding") == Some("chunked") {
            Left::Chunk(0)
        } else {
            value("content-length")
                .and_then(|text| text.parse().ok())
                .map_or(Left::All, Left::Bytes)
        };
        Ok(Self { status, headers, body: BufReader::new(Body { reader, left }) })
    }

    /// The whole answer, or what of it was not read as events.
    pub(crate) fn rest(mut self) -> io::Result<Answer> {
        let mut body = Vec::new();
        self.body.read_to_end(&mut body)?;
        Ok(Answer { status: self.status, body })
    }

    /// The next event's data; `None` when the answer has ended as HTTP wants it.
    pub(crate) fn next_data(&mut self) -> io::Result<Option<String>> {
        loop {
            let mut line = String::new();
            if self.body.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            let line = line.trim_end();
            if let Some(data) = line.strip_prefix("data: ") {
                return Ok(Some(data.to_owned()));
            }
            assert!(line.is_empty() || line.starts_with(':'), "not an event: {line:?}");
        }
    }

    /// All events until the stream's end, which must be announced by `[DONE]`.
    #[track_caller]
    pub(crate) fn events(mut self) -> Vec<Value> {
        assert_eq!(self.status, 200);
        let kind = self.headers.iter().find(|(name, _)| name == "content-type");
        assert!(kind.is_some_and(|(_, kind)| kind.starts_with("text/event-stream")), "{kind:?}");
        let mut events = Vec::new();
        while let Some(data) = self.next_data().expect("an unbroken stream") {
            if data == "[DONE]" {
                assert_eq!(self.next_data().expect("a clean end"), None, "nothing follows [DONE]");
                return events;
            }
            events.push(serde_json::from_str(&data).expect("events are JSON"));
        }
        panic!("the stream ended without [DONE] after {events:?}");
    }
}

/// What is left to read of a body.
#[derive(Debug)]
enum Left {
    /// All until the connection ends.
    All,
    /// So many bytes.
    Bytes(usize),
    /// So many bytes of this chunk, then more chunks.
    Chunk(usize),
    /// Nothing.
    Nothing,
}

#[derive(Debug)]
struct Body {
    reader: BufReader<TcpStream>,
    left: Left,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Left::Chunk(0) = self.left {
            let size = line(&mut self.reader)?;
            let size = usize::from_str_radix(size.trim(), 16)
                .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "no chunk size"))?;
            self.left = Left::Chunk(size);
            if size == 0 {
                line(&mut self.reader)?;
                self.left = Left::Nothing;
            }
        }
        let most = match self.left {
            Left::All => buffer.len(),
            Left::Bytes(left) | Left::Chunk(left) => left.min(buffer.len()),
            Left::Nothing => 0,
        };
        if most == 0 {
            return Ok(0);
        }
        let count = self.reader.read(&mut buffer[..most])?;
        match &mut self.left {
            Left::All | Left::Nothing => {}
            Left::Bytes(_) | Left::Chunk(_) if count == 0 => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Left::Bytes(left) => *left -= count,
            Left::Chunk(left) => {
                *left -= count;
                if *left == 0 {
                    line(&mut self.reader)?;
                }
            }
        }
        Ok(count)
    }
}

fn line(reader: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}
