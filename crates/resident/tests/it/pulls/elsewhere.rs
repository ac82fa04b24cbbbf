//! A server that speaks like Hugging Face and has one repository, with ranges and digests.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use library::digest::Hasher;

use crate::gguf::File;

/// The state that the repository is at.
const REVISION: &str = "0123456789abcdef0123456789abcdef01234567";

/// Where the server says what the repository has.
const REPOSITORY: &str = "/api/models/o/r-GGUF";

/// The server. It lives as long as the test's process.
pub(super) struct Elsewhere {
    address: SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    /// Bytes of files that were asked for.
    file_bytes: AtomicU64,
    /// Whether files come but for their ends, and who waits for that to change.
    is_held: Mutex<bool>,
    released: Condvar,
}

impl Elsewhere {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::<Counts>::default();
        let counted = Arc::clone(&counts);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let counted = Arc::clone(&counted);
                // A client that hangs up is no failure of the server's.
                thread::spawn(move || drop(answer(stream.unwrap(), &counted)));
            }
        });
        Self { address, counts }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on only the first half of each file comes, until [`Self::release`].
    #[cfg(unix)]
    pub(super) fn hold(&self) {
        *self.counts.is_held.lock().unwrap() = true;
    }

    #[cfg(unix)]
    pub(super) fn release(&self) {
        *self.counts.is_held.lock().unwrap() = false;
        self.counts.released.notify_all();
    }

    pub(super) fn requests(&self) -> u64 {
        self.counts.requests.load(Ordering::SeqCst)
    }

    pub(super) fn file_bytes(&self) -> u64 {
        self.counts.file_bytes.load(Ordering::SeqCst)
    }
}

/// Names and contents of what the repository has.
fn files() -> [(&'static str, Vec<u8>); 2] {
    let small = File::small().bytes();
    // Twice as long, as it would be with twice the bits; its header is never read.
    let large = [small.clone(), vec![0; small.len()]].concat();
    [("m-F32.gguf", small), ("m-BF16.gguf", large)]
}

fn answer(mut stream: TcpStream, counts: &Counts) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let mut range = None;
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        range = line.strip_prefix("range: bytes=").map(str::to_owned).or(range);
    }
    counts.requests.fetch_add(1, Ordering::SeqCst);
    let target = request.split(' ').nth(1).unwrap_or_default();
    let (path, _query) = target.split_once('?').unwrap_or((target, ""));
    let name = path.strip_prefix("/o/r-GGUF/resolve/").and_then(|rest| rest.split_once('/'));
    let file = name.and_then(|(_, name)| files().into_iter().find(|(known, _)| *known == name));
    let (status, headers, body) = match (path, file) {
        ("/api/models", _) => ok(r#"[{"id":"o/r-GGUF","downloads":7,"likes":1}]"#.to_owned()),
        (_, Some((_, content))) => {
            let (head, body) = part(&content, range.as_deref());
            counts.file_bytes.fetch_add(body.len() as u64, Ordering::SeqCst);
            let status = if range.is_some() { "206 Partial Content" } else { "200 OK" };
            return send_file(stream, status, &head, &body, counts);
        }
        (path, None) => match path.strip_prefix(REPOSITORY) {
            Some("/revision/main") => ok(format!(r#"{{"sha":"{REVISION}"}}"#)),
            Some(rest) if rest.starts_with("/tree/") => ok(list()),
            Some(_) | None => ("404 Not Found", String::new(), Vec::new()),
        },
    };
    stream.write_all(head(status, &headers, body.len()).as_bytes())?;
    stream.write_all(&body)
}

fn head(status: &str, headers: &str, length: usize) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}connection: close\r\n\r\n")
}

/// Sends a file: its first half, and the rest once nobody holds it.
fn send_file(
    mut stream: TcpStream,
    status: &str,
    headers: &str,
    body: &[u8],
    counts: &Counts,
) -> std::io::Result<()> {
    stream.write_all(head(status, headers, body.len()).as_bytes())?;
    let (first, rest) = body.split_at(body.len() / 2);
    for piece in [first, rest] {
        stream.write_all(piece)?;
        let held = counts.is_held.lock().unwrap();
        drop(counts.released.wait_while(held, |is_held| *is_held).unwrap());
    }
    Ok(())
}

fn ok(body: String) -> (&'static str, String, Vec<u8>) {
    ("200 OK", String::new(), body.into_bytes())
}

fn list() -> String {
    let entry = |(name, content): &(&str, Vec<u8>)| {
        let mut hasher = Hasher::new();
        hasher.update(content);
        let digest = hasher.finish().hex();
        let bytes = content.len();
        format!(
            r#"{{"type":"file","path":"{name}","size":134,"lfs":{{"oid":"{digest}","size":{bytes}}}}}"#
        )
    };
    let entries: Vec<String> = files().iter().map(entry).collect();
    format!("[{}]", entries.join(","))
}

/// The part of a file that a range means, with the headers that say so.
fn part(content: &[u8], range: Option<&str>) -> (String, Vec<u8>) {
    let etag = "etag: \"1\"\r\naccept-ranges: bytes\r\n";
    let Some((first, last)) = range.and_then(|range| range.split_once('-')) else {
        return (etag.to_owned(), content.to_vec());
    };
    let first: usize = first.parse().unwrap();
    let end = last.parse().map_or(content.len(), |last: usize| content.len().min(last + 1));
    let head = format!("{etag}content-range: bytes {first}-{}/{}\r\n", end - 1, content.len());
    (head, content[first..end].to_vec())
}
