//! Answers that are short or empty, or of another file than before: none of them is believed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use library::transfer::{Error, Pace, Seen, Terms, Wanted, fetch};
use tokio::sync::watch;

use crate::{
    pulls::{content, is_whole, outside, pull, ranged, terms, wanted},
    server::{Answer, Body, Server},
};

/// Serves one file until it is told to serve another.
struct Replaced {
    server: Server,
    is_new: Arc<AtomicBool>,
    wanted: Wanted,
}

impl Replaced {
    /// Both with their headers. The old one comes slowly.
    async fn start(old: (&Arc<Vec<u8>>, &'static str), new: (&Arc<Vec<u8>>, &'static str)) -> Self {
        let is_new = Arc::new(AtomicBool::new(false));
        let (switch, first, second) = (Arc::clone(&is_new), Arc::clone(old.0), Arc::clone(new.0));
        let server = Server::start(move |request| {
            if switch.load(Ordering::SeqCst) {
                return ranged(&second, request, new.1);
            }
            let mut answer = ranged(&first, request, old.1);
            if let Body::File { header, from, to } = answer.body {
                answer.body = Body::Paced { period: header, from, to, rate: 400_000 };
            }
            answer
        })
        .await;
        let mut wanted = wanted(&server, old.0);
        wanted.digest = None;
        Self { server, is_new, wanted }
    }

    fn replace(&self) {
        self.is_new.store(true, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_has_no_beginning_of_a_file_is_asked_for_all_of_it() {
    let content = content(50_000);
    let served = Arc::clone(&content);
    let server = Server::start(move |request| {
        if request.range.is_some() {
            let range = format!("content-range: bytes */{}\r\n", served.len());
            return Answer::new("416 Range Not Satisfiable", &range, b"");
        }
        ranged(&served, request, "")
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    is_whole(&pull(&wanted(&server, &content), folder.path()).await.unwrap(), &content);
    assert!(server.requests().len() < 10, "{}", server.requests().len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_in_chunks_that_ends_too_soon_is_not_the_file() {
    for has_digest in [true, false] {
        let content = content(300_000);
        let (served, number) = (Arc::clone(&content), AtomicUsize::new(0));
        let server = Server::start(move |request| {
            if request.range.is_some() {
                return Answer::new("200 OK", "", &served);
            }
            let is_short = number.fetch_add(1, Ordering::SeqCst) < 3;
            let body = if is_short { &served[..100_000] } else { &served[..] };
            let mut framed = format!("{:x}\r\n", body.len()).into_bytes();
            framed.extend_from_slice(body);
            framed.extend_from_slice(b"\r\n0\r\n\r\n");
            let head = "200 OK\r\ntransfer-encoding: chunked\r\n".to_owned();
            Answer { head, body: Body::Bytes(framed) }
        })
        .await;
        let mut wanted = wanted(&server, &content);
        wanted.digest = wanted.digest.filter(|_| has_digest);
        let folder = tempfile::tempdir().unwrap();
        is_whole(&pull(&wanted, folder.path()).await.unwrap(), &content);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_file_of_last_week_is_not_taken_for_that_of_today() {
    let old = content(400_000);
    // The one is longer, by its source; the other has another ETag.
    for (length, said) in [(500_000, true), (400_000, false)] {
        let new = Arc::new(vec![7_u8; length]);
        let mut place = Replaced::start((&old, "etag: \"a\"\r\n"), (&new, "etag: \"b\"\r\n")).await;
        let folder = tempfile::tempdir().unwrap();
        drop(pull(&place.wanted, folder.path()).await.unwrap());
        // As long as it is the same it is there, whatever was to be fetched.
        let asked = place.server.requests().len();
        is_whole(&pull(&place.wanted, folder.path()).await.unwrap(), &old);
        assert_eq!(place.server.requests().len() - asked, 1);
        place.replace();
        place.wanted.bytes = said.then_some(new.len() as u64);
        is_whole(&pull(&place.wanted, folder.path()).await.unwrap(), &new);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_file_whose_server_is_gone_stays() {
    let old = content(100_000);
    let headers = "last-modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n";
    let server_gone = Arc::new(AtomicBool::new(false));
    let (served, switch) = (Arc::clone(&old), Arc::clone(&server_gone));
    let server = Server::start(move |request| match switch.load(Ordering::SeqCst) {
        true => Answer { head: String::new(), body: Body::HangUp },
        false => ranged(&served, request, headers),
    })
    .await;
    let mut wanted = wanted(&server, &old);
    wanted.digest = None;
    let folder = tempfile::tempdir().unwrap();
    drop(pull(&wanted, folder.path()).await.unwrap());
    server_gone.store(true, Ordering::SeqCst);
    let error = pull(&wanted, folder.path()).await.unwrap_err().to_string();
    assert!(error.contains("broke off"), "{error}");
    server_gone.store(false, Ordering::SeqCst);
    let asked = server.requests().len();
    is_whole(&pull(&wanted, folder.path()).await.unwrap(), &old);
    assert_eq!(server.requests().len() - asked, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_whose_mark_has_vanished_is_another_one() {
    let (old, new) = (content(2_000_000), Arc::new(vec![7_u8; 2_000_000]));
    let place = Replaced::start((&old, "etag: \"a\"\r\n"), (&new, "")).await;
    let folder = tempfile::tempdir().unwrap();
    let seen = watch::Sender::new(Seen::default());
    let mut watched = seen.subscribe();
    let (outside, terms) = (outside(), terms());
    tokio::select! {
        done = fetch(&outside, &place.wanted, folder.path(), &terms, &seen) => panic!("{done:?}"),
        _ = watched.wait_for(|seen| seen.done_bytes >= 500_000) => {}
    }
    place.replace();
    let work = pull(&place.wanted, folder.path());
    let fetched = tokio::time::timeout(Duration::from_secs(60), work).await.unwrap().unwrap();
    is_whole(&fetched, &new);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_without_an_end_stops_before_the_disk_is_full() {
    let server = Server::start(|_| {
        let body = [b"100000\r\n".as_slice(), &[7; 0x0010_0000], b"\r\n"].concat().repeat(64);
        let head = "200 OK\r\ntransfer-encoding: chunked\r\n".to_owned();
        Answer { head, body: Body::Stalled(body) }
    })
    .await;
    let mut wanted = wanted(&server, b"");
    (wanted.bytes, wanted.digest) = (None, None);
    // As on a disk that has nothing to spare.
    let pace = Pace { spare_bytes: u64::MAX, room_bytes: 4 << 20, ..terms().pace };
    let terms = Terms { pace, ..terms() };
    let (folder, outside) = (tempfile::tempdir().unwrap(), outside());
    let seen = watch::Sender::new(Seen::default());
    let work = fetch(&outside, &wanted, folder.path(), &terms, &seen);
    let error = tokio::time::timeout(Duration::from_secs(60), work).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Space { .. }), "{error}");
}
