//! Files fetched from servers that behave: whole, in parts, paused, resumed, twice at once.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use library::{
    digest::{Hasher, Sha256},
    outside::{Options, Outside},
    transfer::{Error, Fetched, Pace, Rate, Seen, Terms, Wanted, fetch, forget, kept_bytes},
};
use tokio::sync::watch;

use crate::server::{Answer, Body, Request, Server};

/// Content that repeats nowhere, so that a byte in the wrong place is a wrong byte.
pub(crate) fn content(bytes: usize) -> Arc<Vec<u8>> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = (0..bytes.div_ceil(8)).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    Arc::new(words.take(bytes).collect())
}

pub(crate) fn digest(content: &[u8]) -> Sha256 {
    let mut hasher = Hasher::new();
    hasher.update(content);
    hasher.finish()
}

/// A server of ranges, as they should be.
pub(crate) fn ranged(content: &Arc<Vec<u8>>, request: &Request, headers: &str) -> Answer {
    let whole = content.len() as u64;
    let Some((first, last)) = request.range else {
        let head = format!("200 OK\r\ncontent-length: {whole}\r\n{headers}");
        return Answer { head, body: Body::File { header: content.clone(), from: 0, to: whole } };
    };
    if first >= whole {
        let range = format!("content-range: bytes */{whole}\r\n");
        return Answer::new("416 Range Not Satisfiable", &range, b"");
    }
    let last = last.min(whole - 1);
    let head = format!(
        "206 Partial Content\r\ncontent-length: {}\r\ncontent-range: bytes {first}-{last}/{whole}\r\n{headers}",
        last - first + 1,
    );
    Answer { head, body: Body::File { header: content.clone(), from: first, to: last + 1 } }
}

/// Waits and sizes at which a test takes no time.
pub(crate) fn terms() -> Terms {
    let pace = Pace {
        range_bytes_min: 64 << 10,
        range_bytes_max: 256 << 10,
        back_off: Duration::from_millis(2),
        back_off_max: Duration::from_millis(50),
        flush: Duration::from_millis(5),
        ..Pace::default()
    };
    Terms { connections: 4, rate: None, pace }
}

pub(crate) fn outside() -> Outside {
    Outside::new(Options { proxies: false, ..Options::default() }).unwrap()
}

pub(crate) fn wanted(server: &Server, content: &[u8]) -> Wanted {
    Wanted {
        addresses: vec![server.url("/file").parse().unwrap()],
        bytes: Some(content.len() as u64),
        digest: Some(digest(content)),
        name: "file".to_owned(),
    }
}

pub(crate) async fn pull(wanted: &Wanted, folder: &Path) -> Result<Fetched, Error> {
    let seen = watch::Sender::new(Seen::default());
    let work = async { fetch(&outside(), wanted, folder, &terms(), &seen).await };
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("it ends")
}

#[track_caller]
pub(crate) fn is_whole(fetched: &Fetched, content: &[u8]) {
    assert_eq!(fetched.bytes, content.len() as u64);
    assert_eq!(fetched.digest, digest(content));
    assert!(std::fs::read(&fetched.path).unwrap() == content, "other bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_any_length_come_whole() {
    for bytes in [0, 1, 1000, (64 << 10) + 1, 3_000_000] {
        let content = content(bytes);
        let served = Arc::clone(&content);
        let server = Server::start(move |request| ranged(&served, request, "")).await;
        let folder = tempfile::tempdir().unwrap();
        for (digest, said) in [(true, true), (true, false), (false, false)] {
            let mut wanted = wanted(&server, &content);
            wanted.digest = wanted.digest.filter(|_| digest);
            wanted.bytes = wanted.bytes.filter(|_| said);
            let fetched = pull(&wanted, folder.path()).await.unwrap();
            is_whole(&fetched, &content);
            fetched.taken().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_is_never_fetched_again() {
    let content = content(4_000_000);
    let served = Arc::clone(&content);
    let server = Server::start(move |request| ranged(&served, request, "etag: \"a\"\r\n")).await;
    let folder = tempfile::tempdir().unwrap();
    let (mut wanted, outside) = (wanted(&server, &content), outside());
    for has_digest in [true, false] {
        wanted.digest = wanted.digest.filter(|_| has_digest);
        let sent_before = server.sent_bytes();
        let mut kept = 0;
        for pause_at in [500_000, 1_500_000, 3_000_000] {
            let seen = watch::Sender::new(Seen::default());
            let mut watched = seen.subscribe();
            let limited = Terms { rate: Some(Arc::new(Rate::new(4_000_000))), ..terms() };
            tokio::select! {
                done = fetch(&outside, &wanted, folder.path(), &limited, &seen) => {
                    done.unwrap();
                }
                _ = watched.wait_for(|seen| seen.done_bytes >= pause_at) => {}
            }
            let now = kept_bytes(&wanted, folder.path());
            assert!(now > kept && now >= pause_at, "{kept} {now}");
            kept = now;
        }
        let fetched = pull(&wanted, folder.path()).await.unwrap();
        is_whole(&fetched, &content);
        server.is_done().await;
        let sent = server.sent_bytes() - sent_before;
        // What was on its way at each pause, in four connections.
        assert!(sent < 4_000_000 + 3 * 4 * 300_000, "{sent}");
        // And there it stays for whoever asks for it once more.
        drop(fetched);
        is_whole(&pull(&wanted, folder.path()).await.unwrap(), &content);
        assert!(forget(&wanted.key(), folder.path()).unwrap());
        assert_eq!(kept_bytes(&wanted, folder.path()), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_is_gone_is_waited_for_and_said_so() {
    let content = content(3_000_000);
    let (served, is_back) = (Arc::clone(&content), Arc::new(AtomicBool::new(false)));
    let switch = Arc::clone(&is_back);
    let server = Server::start(move |request| {
        // Gone once some of it has come, until somebody brings it back.
        let is_behind = request.range.is_some_and(|(first, _)| first > 500_000);
        if is_behind && !switch.load(Ordering::SeqCst) {
            return Answer { head: String::new(), body: Body::HangUp };
        }
        ranged(&served, request, "")
    })
    .await;
    let (folder, outside) = (tempfile::tempdir().unwrap(), outside());
    let (wanted, terms) = (wanted(&server, &content), terms());
    let seen = watch::Sender::new(Seen::default());
    let mut watched = seen.subscribe();
    let says_so =
        |seen: &Seen| seen.note.as_ref().is_some_and(|note| note.contains("; asking again in "));
    let bring_back = async {
        drop(watched.wait_for(says_so).await.unwrap());
        is_back.store(true, Ordering::SeqCst);
    };
    let work = fetch(&outside, &wanted, folder.path(), &terms, &seen);
    let (fetched, ()) = tokio::join!(work, bring_back);
    is_whole(&fetched.unwrap(), &content);
    let last = seen.borrow().clone();
    assert_eq!((last.done_bytes, last.whole_bytes), (3_000_000, Some(3_000_000)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bandwidth_limit_is_kept_by_two_pulls_together() {
    let content = content(600_000);
    let served = Arc::clone(&content);
    let server = Server::start(move |request| ranged(&served, request, "")).await;
    let outside = outside();
    let (mut one, mut other) = (wanted(&server, &content), wanted(&server, &content));
    one.addresses = vec![server.url("/one").parse().unwrap()];
    (one.digest, other.digest) = (None, None);
    let limited = Terms { rate: Some(Arc::new(Rate::new(1_000_000))), ..terms() };
    let folder = tempfile::tempdir().unwrap();
    let seen = watch::Sender::new(Seen::default());
    let began = Instant::now();
    let (one, other) = tokio::join!(
        fetch(&outside, &one, folder.path(), &limited, &seen),
        fetch(&outside, &other, folder.path(), &limited, &seen)
    );
    is_whole(&one.unwrap(), &content);
    is_whole(&other.unwrap(), &content);
    let took_s = began.elapsed().as_secs_f64();
    assert!(took_s >= 1.2, "1.2 MB at 1 MB/s in {took_s} s");
}

/// A question more for each range would be a redirect more, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_an_address_leads_is_asked_once() {
    let content = content(3_000_000);
    let served = Arc::clone(&content);
    let server = Server::start(move |request| match request.path.as_str() {
        "/file" => Answer::redirect("/signed?key=1"),
        _ => ranged(&served, request, ""),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    is_whole(&pull(&wanted(&server, &content), folder.path()).await.unwrap(), &content);
    let requests = server.requests();
    let stable = requests.iter().filter(|request| request.path == "/file").count();
    assert!(stable == 1 && requests.len() > 10, "{stable} of {}", requests.len());
}
