//! What is secret stays with whom it belongs to, and is not left lying about.

use library::{
    source::Source,
    sources::{Access, Options},
};

use crate::{
    hub::{Hub, weights},
    server::{Answer, Server},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_gets_nothing_for_a_secret_that_is_another_servers() {
    let hugging_face =
        Server::start(|_| Answer::new("200 OK", "", br#"{"token":"for-anybody"}"#)).await;
    let realm = hugging_face.url("/api/spaces/me/private/jwt");
    let registry = Hub::default()
        .image("library/m", "latest", &[("model", &weights(1))])
        .serve_unless(move |request| {
            let challenge = format!("www-authenticate: Bearer realm=\"{realm}\"\r\n");
            let is_shown = request.authorization.is_some();
            (!is_shown).then(|| Answer::new("401 Unauthorized", &challenge, b""))
        })
        .await;
    let options = Options { hugging_face: hugging_face.url(""), ..registry.options() };
    let access = Access::new(&options).unwrap();
    // What is public is given to anybody, whoever gives the token.
    access.found(&Source::parse("ollama:m").unwrap().unwrap()).await.unwrap();
    let asked = hugging_face.requests();
    assert!(!asked.is_empty());
    assert!(asked.iter().all(|request| request.authorization.is_none()), "{asked:?}");
    let shown = registry.requests().into_iter().filter_map(|request| request.authorization);
    let shown: Vec<String> = shown.collect();
    assert!(!shown.is_empty() && shown.iter().all(|one| one == "Bearer for-anybody"), "{shown:?}");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_half_here_tells_nobody_the_password_of_its_address() {
    use std::{os::unix::fs::PermissionsExt as _, sync::Arc};

    use library::{
        queue::{Job, Pulling, Queue, Work},
        transfer::{Seen, Wanted, fetch},
    };
    use tokio::sync::watch;

    use crate::{
        pulls::{content, outside, ranged, terms},
        server::Body,
        whole::Here,
    };

    let content = content(1_000_000);
    let served = Arc::clone(&content);
    let server = Server::start(move |request| {
        let mut answer = ranged(&served, request, "");
        if let Body::File { header, from, to } = answer.body {
            answer.body = Body::Paced { period: header, from, to, rate: 400_000 };
        }
        answer
    })
    .await;
    let here = Here::new();
    let address = format!("http://me:s3cret@{}/file?token=k3y", server.address);
    let wanted = Wanted {
        addresses: vec![address.parse().unwrap()],
        bytes: Some(1_000_000),
        digest: None,
        name: "f".to_owned(),
    };
    let seen = watch::Sender::new(Seen::default());
    let mut watched = seen.subscribe();
    let (outside, terms, pulls) = (outside(), terms(), here.store.pulls());
    tokio::select! {
        done = fetch(&outside, &wanted, &pulls, &terms, &seen) => panic!("{done:?}"),
        _ = watched.wait_for(|seen| seen.done_bytes >= 100_000) => {}
    }
    let work = Work {
        pull: Box::new(|_, _| -> Pulling { Box::pin(std::future::pending()) }),
        forget: Box::new(|_| {}),
        retry: std::time::Duration::MAX,
    };
    Queue::open(&pulls, work).add(Job { source: address, name: None }).unwrap();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&pulls), 0o700);
    let mut telling = Vec::new();
    let mut folders = vec![pulls];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            if [b"s3cret".as_slice(), b"k3y"]
                .iter()
                .any(|one| bytes.windows(one.len()).any(|window| window == *one))
            {
                telling.push((path.file_name().unwrap().to_owned(), mode(&path)));
            }
        }
    }
    // It must be asked for again, with all that is in its address.
    assert_eq!(telling, [("queue.json".into(), 0o600)]);
}
