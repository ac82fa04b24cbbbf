//! A registry as Ollama's is, with one model in it: a manifest, and blobs that are served in ranges.
//!
//! It runs in this process until the tests end. Not here: what a registry may do wrong, which `library` tests.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::{collections::BTreeMap, fs};

use library::digest::{Hasher, Sha256};
use serde_json::{Value, json};

/// What Ollama calls the kinds of a model's parts.
const MODEL: &str = "application/vnd.ollama.image.model";
const SYSTEM: &str = "application/vnd.ollama.image.system";
const PARAMETERS: &str = "application/vnd.ollama.image.params";
const LICENSE: &str = "application/vnd.ollama.image.license";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// A model in parts, each by its digest.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) manifest: String,
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
}

impl Image {
    /// A model of this file, which is told to answer with at most so many tokens and to be brief.
    pub(crate) fn of(file: &Path, tokens_max: u32) -> Self {
        let mut blobs = BTreeMap::new();
        let mut layer = |kind: &str, bytes: Vec<u8>| {
            let digest = digest(&bytes).to_string();
            let size = bytes.len();
            blobs.insert(digest.clone(), bytes);
            json!({ "mediaType": kind, "digest": digest, "size": size })
        };
        let parameters =
            json!({ "num_predict": tokens_max, "stop": ["NEVER SAID"], "temperature": 0 });
        let config = layer(CONFIG, br#"{"model_format":"gguf","model_family":"llama"}"#.to_vec());
        let layers = [
            layer(MODEL, fs::read(file).unwrap()),
            layer(SYSTEM, b"You are brief.".to_vec()),
            layer(LICENSE, b"A licence.".to_vec()),
            layer(PARAMETERS, parameters.to_string().into_bytes()),
        ];
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
        Self { manifest: manifest.to_string(), blobs }
    }

    /// The digest of its weights.
    pub(crate) fn weights(&self) -> String {
        let manifest: Value = serde_json::from_str(&self.manifest).unwrap();
        manifest["layers"][0]["digest"].as_str().unwrap().to_owned()
    }

    /// Lays it out as Ollama's own store does, under this name.
    pub(crate) fn lay_out(&self, store: &Path, name: &str) {
        let manifests = store.join("manifests/registry.ollama.ai/library").join(name);
        fs::create_dir_all(&manifests).unwrap();
        fs::write(manifests.join("latest"), &self.manifest).unwrap();
        fs::create_dir_all(store.join("blobs")).unwrap();
        for (digest, bytes) in &self.blobs {
            fs::write(store.join("blobs").join(digest.replace(':', "-")), bytes).unwrap();
        }
    }

    /// Serves it as `library/NAME:latest` of a registry.
    pub(crate) fn serve(self, name: &str) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (image, root) = (Arc::new(self), format!("/v2/library/{name}"));
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (image, root) = (Arc::clone(&image), root.clone());
                // Whoever breaks off does so for its own reasons.
                thread::spawn(move || image.answer(connection, &root).ok());
            }
        });
        address
    }

    fn answer(&self, mut connection: TcpStream, root: &str) -> io::Result<()> {
        let (method, path, range) = request(&connection)?;
        let has_body = method != "HEAD";
        let rest = path.strip_prefix(root).unwrap_or_default();
        if rest == "/manifests/latest" {
            return respond(&mut connection, self.manifest.as_bytes(), MANIFEST, None, has_body);
        }
        let blob = rest.strip_prefix("/blobs/").and_then(|digest| self.blobs.get(digest));
        match blob {
            Some(bytes) => {
                respond(&mut connection, bytes, "application/octet-stream", range, has_body)
            }
            None => write!(
                connection,
                "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            ),
        }
    }
}

/// SHA-256 of what a file holds.
pub(crate) fn digest(bytes: &[u8]) -> Sha256 {
    let mut hasher = Hasher::new();
    hasher.update(bytes);
    hasher.finish()
}

/// Method, path, and the first and last byte of the range that is wanted.
type Asked = (String, String, Option<(usize, usize)>);

/// Method and path of a request, and the first and last byte that it asks for.
fn request(connection: &TcpStream) -> io::Result<Asked> {
    let mut reader = BufReader::new(connection);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut range = None;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        let lower = line.to_lowercase();
        if let Some(bytes) = lower.trim().strip_prefix("range: bytes=")
            && let Some((first, last)) = bytes.split_once('-')
        {
            let first = first.parse().map_err(io::Error::other)?;
            range = Some((first, last.parse().unwrap_or(usize::MAX)));
        }
    }
    let mut words = first.split(' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    Ok((word(), word(), range))
}

fn respond(
    connection: &mut TcpStream,
    whole: &[u8],
    kind: &str,
    range: Option<(usize, usize)>,
    has_body: bool,
) -> io::Result<()> {
    let last = whole.len().saturating_sub(1);
    let range = range.map(|(first, to)| (first, to.min(last)));
    let body = range.map_or(Some(whole), |(first, to)| whole.get(first..=to)).unwrap_or_default();
    let mut head = match range {
        Some((first, to)) => {
            format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {first}-{to}/{}\r\n",
                whole.len()
            )
        }
        None => "HTTP/1.1 200 OK\r\n".to_owned(),
    };
    write!(
        head,
        "Content-Type: {kind}\r\nContent-Length: {}\r\nAccept-Ranges: bytes\r\nConnection: close\r\n\r\n",
        body.len()
    )
    .map_err(io::Error::other)?;
    connection.write_all(head.as_bytes())?;
    if has_body { connection.write_all(body) } else { Ok(()) }
}
