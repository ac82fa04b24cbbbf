//! A server of one large file over plain threads, as fast or as slow as is said, for benches.

#![allow(dead_code, clippy::allow_attributes, reason = "each bench uses its part of it")]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use library::digest::{Hasher, Sha256};

/// The content repeats after so many bytes: a prime, so that no two pieces of a power of two are alike.
const PERIOD: usize = 8_388_593;

/// What is written at once when nothing slows it.
const WRITE_BYTES: usize = 1 << 20;

/// How a connection behaves.
#[derive(Clone, Copy, Default)]
pub(crate) struct Behaviour {
    /// Bytes per second of each connection.
    pub(crate) rate: Option<u64>,
    /// Behind so many bytes, a connection has this rate.
    pub(crate) crawl: Option<(u64, u64)>,
}

/// A file that is served.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) bytes: u64,
    sent_bytes: Arc<AtomicU64>,
}

impl Served {
    /// Serves `bytes` bytes until the process ends.
    pub(crate) fn start(bytes: u64, behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let served = Self {
            address: listener.local_addr().expect("bound"),
            bytes,
            sent_bytes: Arc::default(),
        };
        let sent_bytes = Arc::clone(&served.sent_bytes);
        let content: Arc<[u8]> = content().into();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (content, sent_bytes) = (Arc::clone(&content), Arc::clone(&sent_bytes));
                std::thread::spawn(move || {
                    // A client that hangs up is what replaced connections do.
                    let _hung_up = serve(&stream, &content, bytes, behaviour, &sent_bytes);
                });
            }
        });
        served
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/file.bin", self.address)
    }

    /// Bytes of bodies that were sent so far.
    pub(crate) fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn digest(&self) -> Sha256 {
        let (content, mut hasher, mut left) = (content(), Hasher::new(), self.bytes);
        while left > 0 {
            let bytes = left.min(PERIOD as u64);
            hasher.update(&content[..bytes as usize]);
            left -= bytes;
        }
        hasher.finish()
    }
}

/// Two periods, so that any place can be followed by a whole write.
fn content() -> Vec<u8> {
    let mut state = 1_u64;
    let period = std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    });
    let mut content: Vec<u8> = period.take(PERIOD).collect();
    content.extend_from_within(..);
    content
}

fn serve(
    mut stream: &TcpStream,
    content: &[u8],
    whole: u64,
    behaviour: Behaviour,
    sent_bytes: &AtomicU64,
) -> std::io::Result<()> {
    let (mut reader, mut served) = (BufReader::new(stream), 0);
    stream.set_nodelay(true)?;
    loop {
        let mut range = None;
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let asked = line.trim_end().to_ascii_lowercase();
            if let Some((first, last)) =
                asked.strip_prefix("range: bytes=").and_then(|range| range.split_once('-'))
            {
                let last = last.parse().unwrap_or(whole - 1).min(whole - 1);
                range = first.parse().ok().map(|first: u64| (first, last));
            }
        }
        let (first, last) = range.unwrap_or((0, whole - 1));
        let status = range.map_or("200 OK\r\n".to_owned(), |_| {
            format!("206 Partial Content\r\ncontent-range: bytes {first}-{last}/{whole}\r\n")
        });
        let head = format!(
            "HTTP/1.1 {status}accept-ranges: bytes\r\netag: \"1\"\r\ncontent-length: {}\r\n\r\n",
            last + 1 - first
        );
        stream.write_all(head.as_bytes())?;
        let (mut at, end) = (first, last + 1);
        while at < end {
            let rate = match behaviour.crawl {
                Some((behind, rate)) if served >= behind => Some(rate),
                Some(_) | None => behaviour.rate,
            };
            let began = Instant::now();
            // Fifty writes a second.
            let most =
                rate.map_or(WRITE_BYTES as u64, |rate| (rate / 50).clamp(1, WRITE_BYTES as u64));
            let bytes = most.min(end - at);
            let place = (at % PERIOD as u64) as usize;
            stream.write_all(&content[place..place + bytes as usize])?;
            sent_bytes.fetch_add(bytes, Ordering::Relaxed);
            (at, served) = (at + bytes, served + bytes);
            if let Some(rate) = rate {
                let due = Duration::from_secs_f64(bytes as f64 / rate as f64);
                std::thread::sleep(due.saturating_sub(began.elapsed()));
            }
        }
    }
}
