//! What a reviewer tried.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use library::{
    name::Name,
    pull::{self, Progress, pull},
    queue::{Job, Pulling, Queue, State, Work},
    source::Source,
    sources::{Access, Options},
    store::Store,
    transfer::{Error, Rate, Seen, Terms, Wanted, fetch, forget, forget_all, kept_bytes},
};
use tokio::sync::watch;

use crate::{
    hub::{Hub, weights},
    pulls::{content, digest, is_whole, outside, ranged, terms, wanted},
    server::{Answer, Body, Request, Server},
};

/// 1: 416 with the right length for a file of one range.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r01_416_for_a_small_file() {
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
    let seen = watch::Sender::new(Seen::default());
    let (outside, terms, wanted) = (outside(), terms(), wanted(&server, &content));
    let work = fetch(&outside, &wanted, folder.path(), &terms, &seen);
    let ended = tokio::time::timeout(Duration::from_secs(5), work).await;
    println!("requests {}, {:?}", server.requests().len(), seen.borrow());
    assert!(ended.is_ok(), "it never ends");
}

fn chunked(body: &[u8]) -> Answer {
    let mut framed = format!("{:x}\r\n", body.len()).into_bytes();
    framed.extend_from_slice(body);
    framed.extend_from_slice(b"\r\n0\r\n\r\n");
    Answer {
        head: "200 OK\r\ntransfer-encoding: chunked\r\n".to_owned(),
        body: Body::Bytes(framed),
    }
}

/// 2: a chunked body without ranges ends well before the length that the source says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r02_short_chunked_body() {
    for has_digest in [true, false] {
        let content = content(300_000);
        let (served, number) = (Arc::clone(&content), AtomicUsize::new(0));
        let server = Server::start(move |request| {
            if request.range.is_some() {
                return Answer::new("200 OK", "", &served);
            }
            // Short once or twice, then whole.
            let short = number.fetch_add(1, Ordering::SeqCst) < 3;
            chunked(if short { &served[..100_000] } else { &served })
        })
        .await;
        let mut wanted = wanted(&server, &content);
        wanted.digest = wanted.digest.filter(|_| has_digest);
        let folder = tempfile::tempdir().unwrap();
        let got = crate::pulls::pull(&wanted, folder.path()).await;
        println!(
            "digest {has_digest}: {:?}",
            got.as_ref().map(|f| f.bytes).map_err(ToString::to_string)
        );
    }
}

struct Site {
    store: Store,
    _folder: tempfile::TempDir,
}

fn site() -> Site {
    let folder = tempfile::tempdir().unwrap();
    Site { store: Store::open(&folder.path().join("library")).unwrap(), _folder: folder }
}

/// 3: two pulls of one model of two files at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r03_two_pulls_of_two_files() {
    let (one, two) = (content(3_000_000), content(2_000_000));
    let server = Hub::default()
        .image("library/m", "latest", &[("model", &one), ("projector", &two)])
        .serve()
        .await;
    let site = site();
    let access = server.access();
    let terms = Terms { rate: Some(Arc::new(Rate::new(4_000_000))), ..terms() };
    let source = Source::parse("ollama:m").unwrap().unwrap();
    let (a, b) = (watch::Sender::default(), watch::Sender::default());
    let name = |text: &str| Some(Name::new(text).unwrap());
    let (first, second) = tokio::join!(
        pull(&access, &site.store, &terms, &source, name("a"), &a),
        pull(&access, &site.store, &terms, &source, name("b"), &b),
    );
    println!("{:?} {:?}", first.map(|m| m.name), second.map(|m| m.name).map_err(|e| e.to_string()));
    server.is_done().await;
    println!("sent {} of {}", server.sent_bytes(), 5_000_000);
    assert!(server.sent_bytes() < 5_500_000, "fetched twice");
}

fn slow(content: &Arc<Vec<u8>>, request: &Request, rate: u64) -> Answer {
    let mut answer = ranged(content, request, "");
    if let Body::File { header, from, to } = answer.body {
        answer.body = Body::Paced { period: header, from, to, rate };
    }
    answer
}

/// 4a: two wait for one file; the first is cancelled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r04_cancel_makes_the_neighbour_fail() {
    let content = content(1_000_000);
    let served = Arc::clone(&content);
    let server = Server::start(move |request| slow(&served, request, 400_000)).await;
    let folder = tempfile::tempdir().unwrap();
    let wanted = wanted(&server, &content);
    let run = |wanted: Wanted, folder: std::path::PathBuf| {
        tokio::spawn(async move {
            let seen = watch::Sender::new(Seen::default());
            fetch(&outside(), &wanted, &folder, &terms(), &seen).await.map(|f| f.bytes)
        })
    };
    let a = run(wanted.clone(), folder.path().to_owned());
    while kept_bytes(&wanted, folder.path()) < 100_000 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let b = run(wanted.clone(), folder.path().to_owned());
    tokio::time::sleep(Duration::from_millis(100)).await;
    // What `Queue::cancel` does.
    a.abort();
    let _aborted = a.await;
    forget(&wanted, folder.path()).unwrap();
    let b = b.await.unwrap();
    println!("the other pull: {:?}", b.as_ref().map_err(ToString::to_string));
    assert!(b.is_ok());
}

/// 4b: a cancelled pull names a file that another one writes now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r05_cancel_deletes_under_a_running_pull() {
    let content = content(1_000_000);
    let served = Arc::clone(&content);
    let server = Server::start(move |request| slow(&served, request, 400_000)).await;
    let folder = tempfile::tempdir().unwrap();
    let wanted = wanted(&server, &content);
    let (w, f) = (wanted.clone(), folder.path().to_owned());
    let b = tokio::spawn(async move {
        let seen = watch::Sender::new(Seen::default());
        fetch(&outside(), &w, &f, &terms(), &seen).await.map(|f| f.bytes)
    });
    while kept_bytes(&wanted, folder.path()) < 300_000 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    forget(&wanted, folder.path()).unwrap();
    let b = b.await.unwrap();
    server.is_done().await;
    println!(
        "the running pull: {:?}; sent {}, kept {}",
        b.as_ref().map_err(ToString::to_string),
        server.sent_bytes(),
        kept_bytes(&wanted, folder.path())
    );
    assert!(b.is_ok());
}

fn job(source: &str) -> Job {
    Job { source: source.to_owned(), name: None }
}

/// 5: the error of one pull makes the list of all pulls too long to be read again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r06_a_long_error_loses_the_queue() {
    // What a hub with many long names makes of `Error::Several`.
    let files: Vec<_> = (0..10_000)
        .map(|at| serde_json::json!({"type": "file", "path": format!("{at}-{}.gguf", "x".repeat(350)), "size": 1}))
        .collect();
    let list = serde_json::Value::Array(files).to_string();
    println!("list of {} bytes", list.len());
    let next = |n: u32| format!("</api/models/o/r/tree/main?p={n}>; rel=\"next\"");
    let served = list.clone();
    let server = Server::start(move |request| {
        if !request.path.contains("/tree/") {
            return Answer::new("404 Not Found", "", b"");
        }
        let page: u32 = request.path.rsplit("p=").next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let link = if page < 3 { format!("link: {}\r\n", next(page + 1)) } else { String::new() };
        let body = served.replace("xxx.gguf", &format!("{page:03}.gguf"));
        Answer::new("200 OK", &link, body.as_bytes())
    })
    .await;
    let access = server.access();
    let site = site();
    let source = Source::parse("hf:o/r").unwrap().unwrap();
    let error =
        pull(&access, &site.store, &terms(), &source, None, &watch::Sender::default()).await;
    let error = error.unwrap_err().to_string();
    println!("an error of {} bytes", error.len());
    let folder = tempfile::tempdir().unwrap();
    let why = error.clone();
    let work = || {
        let why = why.clone();
        Work {
            pull: Box::new(move |job: Job, _| -> Pulling {
                let why = why.clone();
                Box::pin(async move {
                    if job.source == "bad" { Err(why) } else { std::future::pending().await }
                })
            }),
            forget: Box::new(|_| {}),
        }
    };
    let queue = Queue::open(folder.path(), work());
    let kept = queue.add(job("good")).unwrap();
    queue.pause(kept.id).unwrap();
    queue.add(job("bad")).unwrap();
    while !queue.rows().iter().any(|row| matches!(row.state, State::Failed(_))) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    queue.close();
    drop(queue);
    tokio::time::sleep(Duration::from_millis(300)).await;
    println!(
        "queue.json has {}",
        std::fs::metadata(folder.path().join("queue.json")).unwrap().len()
    );
    let queue = Queue::open(folder.path(), work());
    println!("after a restart: {} pulls", queue.rows().len());
    assert_eq!(queue.rows().len(), 2);
}

/// 6: a registry sends us for its token to the server that a secret of the user's belongs to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r07_a_registry_borrows_the_users_secret() {
    let hugging_face =
        Server::start(|_| Answer::new("200 OK", "", br#"{"token":"made-of-the-secret"}"#)).await;
    let realm = hugging_face.url("/api/spaces/me/private/jwt");
    let evil = Hub::default()
        .image("library/m", "latest", &[("model", &weights(1))])
        .serve_unless(move |request| {
            let is_shown = request.authorization.is_some();
            let challenge = format!("www-authenticate: Bearer realm=\"{realm}\"\r\n");
            (!is_shown).then(|| Answer::new("401 Unauthorized", &challenge, b""))
        })
        .await;
    let options = Options { hugging_face: hugging_face.url(""), ..evil.options() };
    let access = Access::new(&options).unwrap();
    let source = Source::parse("ollama:m").unwrap().unwrap();
    drop(access.found(&source).await);
    let at_hugging_face = &hugging_face.requests()[0];
    let at_evil = evil.requests().into_iter().find_map(|request| request.authorization);
    println!(
        "{} got {:?}; the registry got {at_evil:?}",
        at_hugging_face.path, at_hugging_face.authorization
    );
    assert_eq!(at_hugging_face.authorization, None);
}

/// 7: a whole file of last week is taken for that of today.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r08_a_stale_file_without_a_digest() {
    let (old, new) = (content(400_000), Arc::new(vec![7_u8; 500_000]));
    let is_new = Arc::new(AtomicBool::new(false));
    let (o, n, switch) = (Arc::clone(&old), Arc::clone(&new), Arc::clone(&is_new));
    let server = Server::start(move |request| match switch.load(Ordering::SeqCst) {
        false => ranged(&o, request, "etag: \"a\"\r\n"),
        true => ranged(&n, request, "etag: \"b\"\r\n"),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let mut wanted = wanted(&server, &old);
    wanted.digest = None;
    drop(crate::pulls::pull(&wanted, folder.path()).await.unwrap());
    is_new.store(true, Ordering::SeqCst);
    wanted.bytes = Some(new.len() as u64);
    let asked = server.requests().len();
    let got = crate::pulls::pull(&wanted, folder.path()).await.unwrap();
    println!("{} bytes, asked {} times", got.bytes, server.requests().len() - asked);
    is_whole(&got, &new);
}

/// 8: a file whose new answers have no marks is put together out of two.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r09_marks_that_vanish() {
    let (old, new) = (content(2_000_000), Arc::new(vec![7_u8; 2_000_000]));
    let is_new = Arc::new(AtomicBool::new(false));
    let (o, n, switch) = (Arc::clone(&old), Arc::clone(&new), Arc::clone(&is_new));
    let server = Server::start(move |request| match switch.load(Ordering::SeqCst) {
        false => slow_with(&o, request, "etag: \"a\"\r\n"),
        true => ranged(&n, request, ""),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let mut wanted = wanted(&server, &old);
    wanted.digest = None;
    let seen = watch::Sender::new(Seen::default());
    let mut watched = seen.subscribe();
    let (outside, terms) = (outside(), terms());
    tokio::select! {
        done = fetch(&outside, &wanted, folder.path(), &terms, &seen) => drop(done.unwrap()),
        _ = watched.wait_for(|seen| seen.done_bytes >= 500_000) => {}
    }
    is_new.store(true, Ordering::SeqCst);
    let got = crate::pulls::pull(&wanted, folder.path()).await.unwrap();
    let read = std::fs::read(&got.path).unwrap();
    let of_new = read.iter().zip(new.iter()).filter(|(a, b)| a == b).count();
    println!("{of_new} of {} bytes are the new file's", read.len());
    assert!(read == *new || read == *old, "a mixture");
}

fn slow_with(content: &Arc<Vec<u8>>, request: &Request, headers: &str) -> Answer {
    let mut answer = ranged(content, request, headers);
    if let Body::File { header, from, to } = answer.body {
        answer.body = Body::Paced { period: header, from, to, rate: 400_000 };
    }
    answer
}

/// 9: `du --drop-pulls` beside a pull that goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r10_drop_pulls_beside_a_running_pull() {
    let (one, two) = (content(1_000_000), content(1_200_000));
    let served =
        Hub::default().image("library/m", "latest", &[("model", &one), ("projector", &two)]);
    let path = format!("blobs/{}", digest(&two));
    let second = Arc::clone(&two);
    let server = served
        .serve_unless(move |request| {
            request.path.ends_with(&path).then(|| slow(&second, request, 150_000))
        })
        .await;
    let site = Arc::new(site());
    let (access, here) = (server.access(), Arc::clone(&site));
    let events = watch::Sender::<Progress>::default();
    let mut watched = events.subscribe();
    let work = tokio::spawn(async move {
        let source = Source::parse("ollama:m").unwrap().unwrap();
        pull(&access, &here.store, &terms(), &source, None, &events).await.map(|m| m.name)
    });
    watched.wait_for(|p| p.files.len() == 2 && p.files[1].done_bytes > 100_000).await.unwrap();
    let before = server.sent_bytes();
    forget_all(&site.store.pulls()).unwrap();
    println!("{:?}", work.await.unwrap().map_err(|e| e.to_string()));
    server.is_done().await;
    println!("sent {before} before, {} in all, of {}", server.sent_bytes(), 2_200_000);
    assert!(server.sent_bytes() < 2_500_000);
}

/// 10: a pull that is cancelled after a restart, or after it failed at its beginning.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r11_cancel_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let forgotten = Arc::new(Mutex::new(Vec::new()));
    let work = || {
        let forgotten = Arc::clone(&forgotten);
        Work {
            pull: Box::new(move |_, events: watch::Sender<Progress>| -> Pulling {
                Box::pin(async move {
                    let wanted = Wanted {
                        addresses: vec![],
                        bytes: Some(9),
                        digest: None,
                        name: "f".to_owned(),
                    };
                    let file = pull::FileProgress {
                        name: "f".to_owned(),
                        wanted,
                        done_bytes: 5,
                        whole_bytes: Some(9),
                    };
                    events.send_modify(|progress| progress.files.push(file));
                    std::future::pending().await
                })
            }),
            forget: Box::new(move |progress: &Progress| {
                forgotten.lock().unwrap().push(progress.files.len())
            }),
        }
    };
    let queue = Queue::open(folder.path(), work());
    let id = queue.add(job("a")).unwrap().id;
    while queue.rows()[0].progress.files.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    queue.pause(id).unwrap();
    queue.close();
    drop(queue);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let queue = Queue::open(folder.path(), work());
    queue.cancel(id).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    println!("forgotten files: {:?}", forgotten.lock().unwrap());
    assert_eq!(*forgotten.lock().unwrap(), [1]);
}

/// 11: no network when the hub starts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r12_no_network_at_the_beginning() {
    let own = weights(1);
    let is_back = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&is_back);
    let server = Hub::default()
        .hugging_face("o/r", &[("m.gguf", &own)])
        .serve_unless(move |_| {
            (!switch.load(Ordering::SeqCst))
                .then(|| Answer { head: String::new(), body: Body::HangUp })
        })
        .await;
    let site = site();
    let source = Source::parse("hf:o/r").unwrap().unwrap();
    let began = std::time::Instant::now();
    let events = watch::Sender::default();
    let (access, terms) = (server.access(), terms());
    let work = pull(&access, &site.store, &terms, &source, None, &events);
    let bring = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        is_back.store(true, Ordering::SeqCst);
    };
    let (got, ()) = tokio::join!(work, bring);
    println!(
        "{:?} after {:?}",
        got.as_ref().map(|m| &m.name).map_err(|e| e.to_string()),
        began.elapsed()
    );
    assert!(got.is_ok());
}

/// 12: what of an address is on the disk while it is pulled.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r13_secrets_in_the_journal() {
    use std::os::unix::fs::PermissionsExt as _;
    let content = content(1_000_000);
    let served = Arc::clone(&content);
    let server = Server::start(move |request| slow(&served, request, 400_000)).await;
    let site = site();
    let address = format!("http://me:s3cret@{}/file?token=k3y", server.address);
    let wanted = Wanted {
        addresses: vec![address.parse().unwrap()],
        bytes: Some(1_000_000),
        digest: None,
        name: "f".to_owned(),
    };
    let seen = watch::Sender::new(Seen::default());
    let mut watched = seen.subscribe();
    let (outside, terms) = (outside(), terms());
    let pulls = site.store.pulls();
    tokio::select! {
        done = fetch(&outside, &wanted, &pulls, &terms, &seen) => drop(done.unwrap()),
        _ = watched.wait_for(|seen| seen.done_bytes >= 100_000) => {}
    }
    let queue = Queue::open(
        &site.store.pulls(),
        Work {
            pull: Box::new(|_, _| -> Pulling { Box::pin(std::future::pending()) }),
            forget: Box::new(|_| {}),
        },
    );
    queue.add(job(&address)).unwrap();
    let mut found = Vec::new();
    let mut folders = vec![site.store.pulls()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            if bytes.windows(6).any(|w| w == b"s3cret") {
                let mode = path.metadata().unwrap().permissions().mode() & 0o777;
                found.push(format!("{} {mode:o}", path.file_name().unwrap().to_string_lossy()));
            }
        }
    }
    println!("{found:?}");
    assert!(found.is_empty(), "{found:?}");
}

/// 13: behind a proxy in the user's network a server of the internet leads inward. Needs `HTTP_PROXY` set to REVIEW_PROXY.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r14_a_proxy_makes_every_server_a_neighbour() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let Ok(address) = std::env::var("REVIEW_PROXY") else { return };
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            let line = head.lines().next().unwrap().to_owned();
            log.lock().unwrap().push(line.clone());
            let answer = if line.contains("hub.example") {
                "HTTP/1.1 302 Found\r\nlocation: http://10.9.9.9/secret\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            } else {
                "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let outside = library::outside::Outside::new(library::outside::Options::default()).unwrap();
    let url = "http://hub.example/model.gguf".parse().unwrap();
    let got = outside.ask(&url, &[]).await;
    println!(
        "{:?}; asked {:?}",
        got.map(|r| r.status()).map_err(|e| e.to_string()),
        asked.lock().unwrap()
    );
    assert_eq!(asked.lock().unwrap().len(), 1);
}

/// 14: a body without an end and without a length.
#[allow(dead_code)]
fn unused(_: Error) {}

/// 15: what cannot be read is taken for damaged. Run as nobody.
#[cfg(unix)]
#[test]
fn r15_what_cannot_be_read_is_moved_aside() {
    use library::{
        manifest::{File, Manifest, Role, Settings},
        store::Store,
    };
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("library")).unwrap();
    let own = weights(1);
    let sum = digest(&own);
    store.add(&mut own.as_slice(), &sum).unwrap();
    let file = File::new(Role::Model, "m.gguf", sum, own.len() as u64);
    let manifest = Manifest {
        name: Name::new("m").unwrap(),
        source: "hf:o/r".to_owned(),
        revision: None,
        added_unix_s: 0,
        quantization: None,
        files: vec![file.clone()],
        settings: Settings::default(),
    };
    store.put(&manifest).unwrap();
    let blob = store.path_of(&file);
    std::fs::set_permissions(&blob, std::fs::Permissions::from_mode(0)).unwrap();
    if std::fs::read(&blob).is_ok() {
        println!("run it as somebody else");
        return;
    }
    let verified = store.verify(&[], &mut |_| std::ops::ControlFlow::Continue(())).unwrap();
    println!("{:?}; models left: {}", verified.damaged, store.models().models.len());
    assert!(blob.exists(), "a file that is right was moved away");
}

/// 16: how long a list of hostile names takes.
#[test]
fn r16_names_of_many_parts() {
    let files: Vec<_> = (0..10_000)
        .map(|at| serde_json::json!({"type": "file", "path": format!("{at}{}-{:05}-of-01024.gguf", "x".repeat(330), 1 + at % 1024), "size": 1}))
        .collect();
    let list = serde_json::Value::Array(files).to_string();
    let began = std::time::Instant::now();
    let models =
        library::sources::read_list(library::source::Hub::HuggingFace, list.as_bytes()).unwrap();
    println!(
        "{} bytes, {} models, {:?} for one page of four",
        list.len(),
        models.len(),
        began.elapsed()
    );
}

/// 17: the way out that is named is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r17_a_name_that_cannot_be_given() {
    let server = Hub::default().image("_o/m", "latest", &[("model", &weights(1))]).serve().await;
    let site = site();
    let source = Source::parse("ollama:_o/m").unwrap().unwrap();
    let name = Some(Name::new("mine").unwrap());
    let access = server.access();
    let got = pull(&access, &site.store, &terms(), &source, name, &watch::Sender::default()).await;
    println!("{:?}", got.as_ref().map(|m| &m.name).map_err(ToString::to_string));
    assert!(got.is_ok());
}
