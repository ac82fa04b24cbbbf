//! Whole models pulled into a store: what is there already is left, what is missing comes, and what cannot come
//! leaves everything as it was.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use library::{
    manifest::{Manifest, Role},
    name::Name,
    pull::{Error, Progress, Stage, forget, pull},
    source::Source,
    sources::Access,
    store::Store,
    transfer::{self, Terms},
};
use serde_json::json;
use tokio::sync::watch;

use crate::{
    hub::{Hub, entry, layer, weights},
    pulls::{content, digest, terms},
    server::{Answer, Body, Server},
};

/// A store in a folder that goes with it.
pub(crate) struct Here {
    pub(crate) store: Store,
    folder: tempfile::TempDir,
}

impl Here {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { store: Store::open(&folder.path().join("library")).unwrap(), folder }
    }

    pub(crate) async fn pull(&self, access: &Access, text: &str) -> Result<Manifest, Error> {
        self.pull_as(access, text, None, &watch::Sender::default()).await
    }

    async fn pull_as(
        &self,
        access: &Access,
        text: &str,
        name: Option<&str>,
        events: &watch::Sender<Progress>,
    ) -> Result<Manifest, Error> {
        let source = Source::parse(text).unwrap().unwrap();
        let name = name.map(|name| Name::new(name).unwrap());
        // Who finds nobody there does not wait long for them.
        let terms =
            Terms { pace: transfer::Pace { first_tries_max: 2, ..terms().pace }, ..terms() };
        let work = pull(access, &self.store, &terms, &source, name, events);
        tokio::time::timeout(Duration::from_secs(60), work).await.expect("it ends")
    }

    /// The contents of a model's files, in their order.
    pub(crate) fn contents(&self, manifest: &Manifest) -> Vec<Vec<u8>> {
        let files = manifest.files.iter();
        files.map(|file| std::fs::read(self.store.path_of(file)).unwrap()).collect()
    }

    /// Where the library is.
    pub(crate) fn library(&self) -> PathBuf {
        self.folder.path().join("library")
    }

    fn find(&self, name: &str) -> Option<Manifest> {
        self.store.find(&Name::new(name).unwrap())
    }

    fn blobs(&self) -> usize {
        let folder = self.library().join("blobs");
        std::fs::read_dir(folder).map_or(0, Iterator::count)
    }
}

/// How often files were asked for.
fn file_requests(server: &Server) -> usize {
    let requests = server.requests();
    let is_file = |path: &str| path.contains("/resolve/") || path.contains("/blobs/");
    requests.iter().filter(|request| is_file(&request.path)).count()
}

fn hub_with_parts() -> Hub {
    let (one, two, eyes) = (weights(1), weights(2), weights(3));
    Hub::default().hugging_face(
        "o/r",
        &[
            ("m-Q8_0-00001-of-00002.gguf", &one),
            ("m-Q8_0-00002-of-00002.gguf", &two),
            ("mmproj-F16.gguf", &eyes),
            ("n-Q4_0.gguf", &one),
        ],
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_in_parts_comes_whole_and_is_not_fetched_twice() {
    let server = hub_with_parts().serve().await;
    let (here, events) = (Here::new(), watch::Sender::new(Progress::default()));
    let access = server.access();
    let manifest = here.pull_as(&access, "hf:o/r:Q8_0", None, &events).await.unwrap();
    assert_eq!(manifest.name.as_str(), "m:q8_0");
    assert_eq!(here.contents(&manifest), [weights(1), weights(2), weights(3)]);
    let path = here.store.model_path(&manifest);
    assert_eq!(path.file_name().unwrap(), "m-Q8_0-00001-of-00002.gguf");
    assert!(path.with_file_name("m-Q8_0-00002-of-00002.gguf").exists());
    let progress = events.borrow().clone();
    assert_eq!((progress.stage, progress.files.len()), (Stage::Done, 3));
    assert_eq!(progress.whole_bytes(), Some(progress.done_bytes()));
    assert_eq!(progress.files[0].digest(), Some(digest(&weights(1))));
    // Nothing is left of the way that it took.
    let left = std::fs::read_dir(here.store.pulls()).unwrap();
    assert!(
        left.map(|entry| entry.unwrap().path()).all(|path| path.is_file()),
        "half pulled files"
    );
    let asked = file_requests(&server);
    assert_eq!(here.pull(&access, "hf:o/r:Q8_0").await.unwrap(), manifest);
    // Another model that shares a file, under a name of its own.
    let other = here.pull_as(&access, "hf:o/r:Q4_0", Some("own"), &events).await.unwrap();
    assert_eq!((other.name.as_str(), file_requests(&server)), ("own", asked));
    assert_eq!(here.blobs(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_of_a_registry_keeps_its_settings() {
    let own = weights(1);
    let layers: &[(&str, &[u8])] = &[
        ("model", &own),
        ("system", b"You are kind."),
        ("params", br#"{"temperature":0.5}"#),
        ("messages", br#"[{"role":"user","content":"Hi"}]"#),
    ];
    let server = Hub::default().image("library/m", "latest", layers).serve().await;
    let here = Here::new();
    here.pull(&server.access(), "ollama:m").await.unwrap();
    let manifest = here.find("m").unwrap();
    assert_eq!(manifest.settings.system.as_deref(), Some("You are kind."));
    assert_eq!(manifest.settings.parameters["temperature"], 0.5);
    assert_eq!(manifest.settings.messages[0].content, "Hi");
    assert_eq!(manifest.files_for(Role::Model).count(), 1);
    // What its source says now is what it is.
    let layers: &[(&str, &[u8])] = &[("model", &own), ("system", b"You are curt.")];
    let server = Hub::default().image("library/m", "latest", layers).serve().await;
    here.pull(&server.access(), "ollama:m").await.unwrap();
    let manifest = here.find("m").unwrap();
    assert_eq!(manifest.settings.system.as_deref(), Some("You are curt."));
    assert!(manifest.settings.messages.is_empty());
    assert!(server.requests().iter().all(|one| !one.path.ends_with(&digest(&own).to_string())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_other_sources_come_too() {
    let own = weights(1);
    let server = Hub::default()
        .model_scope("o/r", &[("m-Q8_0.gguf", &own)])
        .page("/files/x.gguf", own.clone())
        .serve()
        .await;
    let here = Here::new();
    let manifest = here.pull(&server.access(), "ms:o/r").await.unwrap();
    assert_eq!(manifest.source, "ms:o/r");
    let manifest = here.pull(&server.access(), &server.url("/files/x.gguf")).await.unwrap();
    assert_eq!((manifest.name.as_str(), manifest.files[0].digest), ("x", digest(&own)));
    assert_eq!(here.blobs(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_version_takes_the_place_of_the_old_one_when_it_is_all_there() {
    let here = Here::new();
    let hub = |content: &[u8]| Hub::default().hugging_face("o/r", &[("m.gguf", content)]);
    let (old, new) = (weights(1), weights(2));
    here.pull(&hub(&old).serve().await.access(), "hf:o/r").await.unwrap();
    // Its list says one thing, and what comes is another.
    let lying = hub(&new).page(&format!("/o/r/resolve/{}/m.gguf", crate::hub::COMMIT), weights(3));
    let server = lying.serve().await;
    let error = here.pull(&server.access(), "hf:o/r").await.unwrap_err();
    assert!(matches!(error, Error::Transfer(transfer::Error::Digest { .. })), "{error}");
    assert_eq!(here.contents(&here.find("m").unwrap()), [old]);
    here.pull(&hub(&new).serve().await.access(), "hf:o/r").await.unwrap();
    assert_eq!(here.contents(&here.find("m").unwrap()), [new]);
    assert_eq!(here.blobs(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_kept_is_not_fetched() {
    let here = Here::new();
    let own = weights(1);
    let server = Hub::default().hugging_face("o/r", &[("m.gguf", &own)]).serve().await;
    here.pull(&server.access(), "hf:o/r").await.unwrap();
    let server = Hub::default().hugging_face("o/r", &[("m.gguf", &weights(2))]).serve().await;
    let events = watch::Sender::default();
    let error = here.pull_as(&server.access(), "hf:o/r", Some("M"), &events).await.unwrap_err();
    assert!(error.to_string().contains("differs from the model 'm' in capitals"), "{error}");
    assert_eq!(file_requests(&server), 0);
    // A model of an exabyte, by its list, or by its manifest.
    let huge: u64 = 1 << 60;
    let mut listed = entry("m.gguf", 5, b"x");
    listed["lfs"]["size"] = json!(huge);
    let mut described = layer("application/vnd.ollama.image.model", b"x");
    described["size"] = json!(huge);
    let server = Hub::default()
        .page("/api/models/o/huge/tree/main", json!([listed]).to_string())
        .page(
            "/ollama/v2/library/huge/manifests/latest",
            json!({"layers": [described]}).to_string(),
        )
        .serve()
        .await;
    for text in ["hf:o/huge", "ollama:huge"] {
        let error = here.pull(&server.access(), text).await.unwrap_err();
        assert!(matches!(error, Error::Transfer(transfer::Error::Space { .. })), "{error}");
        assert_eq!(file_requests(&server), 0);
    }
    assert_eq!(here.store.models().models.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_pulls_of_one_model_at_once_fetch_it_once() {
    let own = content(2_000_000);
    let server = Hub::default()
        .hugging_face("o/r", &[("m.gguf", &own)])
        .page("/x.gguf", [&weights(1)[..], &own].concat())
        .serve()
        .await;
    for text in ["hf:o/r".to_owned(), server.url("/x.gguf")] {
        let (here, access) = (Here::new(), server.access());
        let sent_before = server.sent_bytes();
        let (one, two) = tokio::join!(here.pull(&access, &text), here.pull(&access, &text));
        assert_eq!(one.unwrap().files, two.unwrap().files);
        server.is_done().await;
        let sent = server.sent_bytes() - sent_before;
        assert!(sent < 2_200_000, "{sent}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_that_was_paused_goes_on_and_one_that_is_cancelled_leaves_nothing() {
    let (first, second) = (content(1_000_000), content(3_000_000));
    let server = Hub::default()
        .hugging_face(
            "o/r",
            &[("m-00001-of-00002.gguf", &first), ("m-00002-of-00002.gguf", &second)],
        )
        .serve()
        .await;
    let (here, access) = (Here::new(), server.access());
    let pause = async |events: &watch::Sender<Progress>| {
        let source = Source::parse("hf:o/r").unwrap().unwrap();
        let rate = transfer::Rate::new(4_000_000);
        let slow = Terms { rate: Some(Arc::new(rate)), ..terms() };
        let mut watched = events.subscribe();
        tokio::select! {
            done = pull(&access, &here.store, &slow, &source, None, events) => {
                done.unwrap();
            }
            _ = watched.wait_for(|progress| progress.done_bytes() > 2_000_000) => {}
        }
    };
    let events = watch::Sender::default();
    pause(&events).await;
    assert_eq!(here.blobs(), 0);
    let sent = server.sent_bytes();
    here.pull(&access, "hf:o/r").await.unwrap();
    server.is_done().await;
    let again = server.sent_bytes() - sent;
    assert!(again < 3_000_000, "{again} bytes more");
    assert_eq!(here.contents(&here.find("m").unwrap()), [first.to_vec(), second.to_vec()]);
    here.store.remove(&Name::new("m").unwrap()).unwrap();
    pause(&events).await;
    forget(&events.borrow().keys(), &here.store).unwrap();
    let kept = |folder: &Path| {
        std::fs::read_dir(folder)
            .unwrap()
            .filter(|one| one.as_ref().unwrap().path().is_dir())
            .count()
    };
    assert_eq!(kept(&here.store.pulls()), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_come_from_where_redirects_lead_without_any_secret() {
    let own = weights(1);
    let served = own.clone();
    let cdn = Hub::default().page("/cdn", served).serve().await;
    let to = cdn.url("/cdn?X-Signature=s");
    let server = Hub::default()
        .hugging_face("o/r", &[("m.gguf", &own)])
        .serve_unless(move |request| {
            request.path.contains("/resolve/").then(|| Answer::redirect(&to))
        })
        .await;
    let here = Here::new();
    here.pull(&server.access(), "hf:o/r").await.unwrap();
    let with = |server: &Server| {
        server.requests().iter().filter(|request| request.authorization.is_some()).count()
    };
    assert_eq!((with(&server), with(&cdn)), (server.requests().len(), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_is_not_there_yet_is_waited_for() {
    let is_back = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&is_back);
    let server = Hub::default()
        .hugging_face("o/r", &[("m.gguf", &weights(1))])
        .serve_unless(move |_| {
            let is_gone = !switch.load(Ordering::SeqCst);
            is_gone.then(|| Answer { head: String::new(), body: Body::HangUp })
        })
        .await;
    let (here, access, events) = (Here::new(), server.access(), watch::Sender::default());
    let source = Source::parse("hf:o/r").unwrap().unwrap();
    let patient =
        Terms { pace: transfer::Pace { first_tries_max: u32::MAX, ..terms().pace }, ..terms() };
    let mut watched = events.subscribe();
    let says_so = |progress: &Progress| {
        progress.note.as_ref().is_some_and(|note| note.contains("; asking again in "))
    };
    let bring_back = async {
        drop(watched.wait_for(says_so).await.unwrap());
        is_back.store(true, Ordering::SeqCst);
    };
    let work = pull(&access, &here.store, &patient, &source, None, &events);
    let (pulled, ()) = tokio::join!(work, bring_back);
    assert_eq!(pulled.unwrap().name.as_str(), "m");
    assert_eq!(events.borrow().note, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_answers_is_given_up_after_some_tries() {
    let server = Hub::default()
        .serve_unless(|request| {
            let (status, headers) = match request.path.starts_with("/ollama") {
                true => ("404 Not Found", ""),
                false => ("503 Service Unavailable", "retry-after: 0\r\n"),
            };
            Some(Answer::new(status, headers, b""))
        })
        .await;
    let here = Here::new();
    for (text, tries, may_pass) in [("ms:o/r", 2, true), ("ollama:m", 1, false)] {
        let before = server.requests().len();
        let error = here.pull(&server.access(), text).await.unwrap_err();
        assert_eq!(error.may_pass(), may_pass, "{error}");
        assert_eq!(server.requests().len() - before, tries, "{error}");
    }
    let options = library::sources::Options { offline: true, ..server.options() };
    let error = here.pull(&Access::new(&options).unwrap(), "ms:o/r").await.unwrap_err();
    assert!(error.may_pass(), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_registry_calls_its_models_need_be_no_name_here() {
    let own = weights(1);
    let server = Hub::default()
        .image("_o/m", "latest", &[("model", &own)])
        .image("_o/m", "8b", &[("model", &own)])
        .serve()
        .await;
    let (here, access, events) = (Here::new(), server.access(), watch::Sender::default());
    let mine = here.pull_as(&access, "ollama:_o/m", Some("mine"), &events).await.unwrap();
    assert_eq!(mine.name.as_str(), "mine");
    for (text, expected) in [("ollama:_o/m", "m"), ("ollama:_o/m:8b", "m:8b")] {
        assert_eq!(here.pull(&access, text).await.unwrap().name.as_str(), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_with_one_file_twice_comes_once() {
    let own = weights(1);
    let server = Hub::default()
        .image("library/m", "latest", &[("model", &own), ("projector", &own)])
        .serve()
        .await;
    let here = Here::new();
    let manifest = here.pull(&server.access(), "ollama:m").await.unwrap();
    assert_eq!(here.contents(&manifest), [own.clone(), own]);
    assert_eq!(here.blobs(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_nobody_has_is_said() {
    let server = Hub::default()
        .hugging_face("o/r", &[("m.gguf", &weights(1))])
        .serve_unless(|request| {
            let is_file = request.path.contains("/resolve/");
            is_file.then(|| Answer::new("404 Not Found", "", b""))
        })
        .await;
    let here = Here::new();
    let error = here.pull(&server.access(), "hf:o/r").await.unwrap_err();
    assert!(error.to_string().contains("404"), "{error}");
    assert!(here.find("m").is_none());
}
