//! Pulls beside each other: what one of them gives up, finishes or has cleared away costs the others nothing.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use library::{
    name::Name,
    pull::{Progress, pull},
    source::Source,
    sources::Access,
    transfer::{Error, Rate, Seen, Terms, Wanted, fetch, forget, forget_all},
};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    hub::Hub,
    pulls::{content, digest, outside, ranged, terms, wanted},
    server::{Answer, Body, Request, Server},
    whole::Here,
};

/// An honest answer that takes its time.
fn slow(content: &Arc<Vec<u8>>, request: &Request, rate: u64) -> Answer {
    let mut answer = ranged(content, request, "");
    if let Body::File { header, from, to } = answer.body {
        answer.body = Body::Paced { period: header, from, to, rate };
    }
    answer
}

/// A fetch that goes on by itself, and what is seen of it.
struct Fetching {
    work: JoinHandle<Result<u64, Error>>,
    seen: watch::Receiver<Seen>,
}

impl Fetching {
    fn begin(wanted: &Wanted, folder: &tempfile::TempDir) -> Self {
        let (wanted, folder) = (wanted.clone(), folder.path().to_owned());
        let (sender, seen) = watch::channel(Seen::default());
        let work = tokio::spawn(async move {
            let fetched = fetch(&outside(), &wanted, &folder, &terms(), &sender).await;
            fetched.map(|fetched| fetched.bytes)
        });
        Self { work, seen }
    }

    async fn until(&mut self, is_so: impl FnMut(&Seen) -> bool) {
        drop(self.seen.wait_for(is_so).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_one_that_is_given_up_begins_anew() {
    let content = content(1_000_000);
    let served = Arc::clone(&content);
    let server = Server::start(move |request| slow(&served, request, 400_000)).await;
    let folder = tempfile::tempdir().unwrap();
    let wanted = wanted(&server, &content);
    let mut first = Fetching::begin(&wanted, &folder);
    first.until(|seen| seen.done_bytes >= 100_000).await;
    let mut second = Fetching::begin(&wanted, &folder);
    second.until(|seen| seen.note.is_some()).await;
    // As when a pull is cancelled.
    first.work.abort();
    drop(first.work.await);
    while !forget(&wanted.key(), folder.path()).unwrap() && !second.work.is_finished() {
        tokio::task::yield_now().await;
    }
    assert_eq!(second.work.await.unwrap().unwrap(), 1_000_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_works_on_is_not_forgotten() {
    let content = content(1_000_000);
    let served = Arc::clone(&content);
    let server = Server::start(move |request| slow(&served, request, 400_000)).await;
    let folder = tempfile::tempdir().unwrap();
    let wanted = wanted(&server, &content);
    let mut fetching = Fetching::begin(&wanted, &folder);
    fetching.until(|seen| seen.done_bytes >= 300_000).await;
    assert!(!forget(&wanted.key(), folder.path()).unwrap());
    assert_eq!(fetching.work.await.unwrap().unwrap(), 1_000_000);
    server.is_done().await;
    assert!(server.sent_bytes() < 1_100_000, "{}", server.sent_bytes());
}

/// Pulls under a name at a rate at which others come in between.
async fn pull_as(
    here: &Here,
    access: &Access,
    name: &str,
    events: &watch::Sender<Progress>,
) -> Result<String, String> {
    let source = Source::parse("ollama:m").unwrap().unwrap();
    let terms = Terms { rate: Some(Arc::new(Rate::new(4_000_000))), ..terms() };
    let name = Some(Name::new(name).unwrap());
    let pulled = pull(access, &here.store, &terms, &source, name, events).await;
    pulled.map(|manifest| manifest.name.to_string()).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_pulls_of_a_model_of_two_files_fetch_each_once() {
    let (one, two) = (content(3_000_000), content(2_000_000));
    let server = Hub::default()
        .image("library/m", "latest", &[("model", &one), ("projector", &two)])
        .serve()
        .await;
    let (here, access) = (Here::new(), server.access());
    let (a, b) = (watch::Sender::default(), watch::Sender::default());
    let (first, second) =
        tokio::join!(pull_as(&here, &access, "a", &a), pull_as(&here, &access, "b", &b));
    assert_eq!((first.as_deref(), second.as_deref()), (Ok("a"), Ok("b")));
    server.is_done().await;
    assert!(server.sent_bytes() < 5_500_000, "{}", server.sent_bytes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_a_running_pull_has_already_are_not_cleared_away() {
    let (one, two) = (content(1_000_000), content(1_200_000));
    let hub = Hub::default().image("library/m", "latest", &[("model", &one), ("projector", &two)]);
    // The file that comes last stops in its middle until the rest has been cleared away.
    let last = if digest(&one) > digest(&two) { one } else { two };
    let path = format!("blobs/{}", digest(&last));
    let is_cleared = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&is_cleared);
    let server = hub
        .serve_unless(move |request| {
            let is_slow = request.path.ends_with(&path) && !switch.load(Ordering::SeqCst);
            is_slow.then(|| slow(&last, request, 150_000))
        })
        .await;
    let (here, access) = (Here::new(), server.access());
    let events = watch::Sender::<Progress>::default();
    let mut watched = events.subscribe();
    let clear = async {
        let is_between = |progress: &Progress| {
            let done = |at: usize| progress.files.get(at).map_or(0, |file| file.done_bytes);
            let least = done(0).min(done(1));
            least > 100_000 && done(0).max(done(1)) >= 1_000_000
        };
        drop(watched.wait_for(is_between).await.unwrap());
        forget_all(&here.store.pulls()).unwrap();
        is_cleared.store(true, Ordering::SeqCst);
    };
    let (pulled, ()) = tokio::join!(pull_as(&here, &access, "m", &events), clear);
    assert_eq!(pulled.as_deref(), Ok("m"));
    server.is_done().await;
    assert!(server.sent_bytes() < 2_500_000, "{}", server.sent_bytes());
}
