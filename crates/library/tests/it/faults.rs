//! Every fault that a server, a disk or a neighbour can make, and what becomes of a pull: the right file or a clear
//! error, and in either case the bytes stay.
//!
//! `cargo test -p library --test it faults -- --nocapture` prints them as a table.

mod answers;
mod disk;
mod places;
mod servers;

use std::{
    path::Path,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use library::transfer::{Error, Fetched, Seen, Terms, Wanted, fetch, kept_bytes};
use tokio::sync::watch;

use crate::{
    pulls::{content, is_whole, outside, ranged, terms, wanted},
    server::{Answer, Request, Server},
};

/// The length of the file of most cases: some ranges at the tests' pace.
const BYTES: usize = 2_000_000;

/// The same for all cases: it takes a while to make.
static CONTENT: OnceLock<Arc<Vec<u8>>> = OnceLock::new();

/// What must come of a case.
enum Expected {
    /// The right file.
    Whole,
    /// An error that says this.
    Error(&'static str),
}

/// One fault.
struct Case {
    fault: &'static str,
    content: Arc<Vec<u8>>,
    server: Server,
    wanted: Wanted,
    terms: Terms,
    expected: Expected,
    folder: tempfile::TempDir,
    /// At least so much is kept when it ends with an error.
    kept_bytes_min: u64,
}

/// What became of one, for a person.
struct Row {
    fault: &'static str,
    outcome: String,
    kept_bytes: u64,
    sent: f64,
    took: Duration,
}

impl Case {
    /// A server that answers with what `answer` makes of the number of the question, the question, and the content.
    async fn new(
        fault: &'static str,
        expected: Expected,
        answer: impl Fn(usize, &Request, &Arc<Vec<u8>>) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let content = Arc::clone(CONTENT.get_or_init(|| content(BYTES)));
        let (served, number) = (Arc::clone(&content), AtomicUsize::new(0));
        let server = Server::start(move |request| {
            answer(number.fetch_add(1, Ordering::SeqCst), request, &served)
        })
        .await;
        let wanted = wanted(&server, &content);
        let folder = tempfile::tempdir().unwrap();
        Self { fault, content, server, wanted, terms: terms(), expected, folder, kept_bytes_min: 0 }
    }

    /// Plays it to its end.
    async fn play(&self) -> Row {
        let began = Instant::now();
        let fetched = pull(&self.wanted, self.folder.path(), &self.terms).await;
        let took = began.elapsed();
        let outcome = match (&fetched, &self.expected) {
            (Ok(fetched), Expected::Whole) => {
                is_whole(fetched, &self.content);
                "whole".to_owned()
            }
            (Err(error), Expected::Error(part)) => {
                let message = error.to_string();
                let wrong = if message.contains(part) { "" } else { "WRONG: " };
                wrong.to_owned()
                    + &message.replace(&self.folder.path().display().to_string(), "FOLDER")
            }
            (fetched, _) => format!("WRONG: {fetched:?}"),
        };
        let kept_bytes = kept_bytes(&self.wanted, self.folder.path());
        let least = if fetched.is_ok() { self.content.len() as u64 } else { self.kept_bytes_min };
        let outcome = if kept_bytes < least { format!("WRONG, kept: {outcome}") } else { outcome };
        self.server.is_done().await;
        let sent = self.server.sent_bytes() as f64 / self.content.len() as f64;
        Row { fault: self.fault, outcome, kept_bytes, sent, took }
    }
}

async fn pull(wanted: &Wanted, folder: &Path, terms: &Terms) -> Result<Fetched, Error> {
    let seen = watch::Sender::new(Seen::default());
    let outside = outside();
    let work = fetch(&outside, wanted, folder, terms, &seen);
    let fetched = tokio::time::timeout(Duration::from_secs(60), work).await;
    fetched.unwrap_or_else(|_| panic!("it does not end: {:?}", seen.borrow()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_ends_in_the_right_file_or_a_clear_error() {
    let mut rows = Vec::new();
    answers::play(&mut rows).await;
    servers::play(&mut rows).await;
    places::play(&mut rows).await;
    disk::play(&mut rows).await;
    println!("| fault | outcome | kept | sent, in files | s |\n|---|---|---|---|---|");
    for Row { fault, outcome, kept_bytes, sent, took } in &rows {
        println!("| {fault} | {outcome} | {kept_bytes} | {sent:.2} | {:.2} |", took.as_secs_f64());
    }
    assert!(!rows.iter().any(|row| row.outcome.starts_with("WRONG")), "see the table");
}

/// A value that a server remembers between its answers.
fn shared<T>(value: T) -> Arc<Mutex<T>> {
    Arc::new(Mutex::new(value))
}

fn with<T, R>(shared: &Mutex<T>, act: impl FnOnce(&mut T) -> R) -> R {
    act(&mut shared.lock().unwrap_or_else(PoisonError::into_inner))
}

/// An honest answer whose body is cut at `share` of its length.
fn cut(content: &Arc<Vec<u8>>, request: &Request, share: f64) -> Answer {
    let mut answer = ranged(content, request, "");
    if let crate::server::Body::File { from, to, .. } = &mut answer.body {
        // A server that never sends anything is another one.
        let least = u64::from(share > 0.0);
        *to = *from + (((*to - *from) as f64 * share) as u64).max(least);
    }
    answer
}
