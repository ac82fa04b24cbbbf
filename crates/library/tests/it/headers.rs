//! Headers from servers that behave, and what they cost.

use library::remote::{Error, Reader, Remote, Source};

use crate::{
    model::{self, File, Split},
    server::{Answer, Body, Request, Server},
};

/// What planning a model may cost, by this project's own promise.
const PROMISED_BYTES: u64 = 20_000_000;

pub(crate) async fn read(server: &Server, address: &str) -> Result<Remote, Error> {
    let source = Source::parse(address).unwrap().unwrap();
    Reader::new(&server.access()).read(&source).await
}

fn check_thirty(remote: &Remote, file: &File) {
    assert_eq!(remote.file_bytes, file.bytes);
    assert!(file.bytes > 30_000_000_000, "{}", file.bytes);
    assert_eq!(remote.header.vocabulary_tokens(), 151_936);
    assert_eq!(remote.header.tensors.len(), 3 + 48 * 10);
    assert!(remote.header.tensor_bytes() > 30_000_000_000);
}

#[tokio::test]
async fn a_file_of_30_gb_costs_under_20_mb_by_ranges() {
    let file = model::thirty_gigabytes();
    assert!(file.header.len() > 5_000_000, "{}", file.header.len());
    let served = model::thirty_gigabytes();
    let server = Server::start(move |request| Answer::ranged(&served, request)).await;
    let remote = read(&server, &server.url("/m.gguf")).await.unwrap();
    check_thirty(&remote, &file);
    let (sent, rounds) = (server.sent_bytes(), server.requests().len());
    assert!(sent < PROMISED_BYTES && sent < 2 * file.header.len() as u64, "{sent} bytes");
    assert!(rounds <= 5, "{rounds} requests");
    println!("{} bytes of header: {sent} bytes in {rounds} requests", file.header.len());
}

#[tokio::test]
async fn a_file_of_30_gb_costs_under_20_mb_from_a_server_without_ranges() {
    let file = model::thirty_gigabytes();
    let served = model::thirty_gigabytes();
    let server = Server::start(move |_| Answer::whole(&served)).await;
    let remote = read(&server, &server.url("/m.gguf")).await.unwrap();
    check_thirty(&remote, &file);
    assert_eq!(server.requests().len(), 1);
    // The system's own buffers hold some of what was sent and never read.
    server.is_done().await;
    let sent = server.sent_bytes();
    assert!(sent < PROMISED_BYTES, "{sent} bytes");
    println!("{} bytes of header: {sent} bytes in one request", file.header.len());
}

#[tokio::test]
async fn a_file_smaller_than_the_first_range_is_read_whole() {
    let file = model::small();
    let bytes = file.bytes;
    let server = Server::start(move |request| Answer::ranged(&file, request)).await;
    let remote = read(&server, &server.url("/folder/small.gguf?download=true")).await.unwrap();
    assert_eq!((remote.name.as_str(), remote.file_bytes), ("small.gguf", bytes));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_server_that_does_not_know_how_long_the_file_is() {
    // Chunked encoding says nothing of the length, and neither does a range of an unknown whole.
    let server = Server::start(|request| {
        let file = model::small();
        if request.path == "/chunked.gguf" {
            // Some of the weights come too, and then nothing more.
            let body = [&file.header[..], &[0; 2 << 20]].concat();
            let body = [format!("{:x}\r\n", body.len()).into_bytes(), body].concat();
            let head = "200 OK\r\ntransfer-encoding: chunked\r\n".to_owned();
            return Answer { head, body: Body::Stalled(body) };
        }
        let last = file.header.len() - 1;
        let range = format!("content-range: bytes 0-{last}/*\r\n");
        Answer::new("206 Partial Content", &range, &file.header)
    })
    .await;
    for name in ["/chunked.gguf", "/star.gguf"] {
        let remote = read(&server, &server.url(name)).await.unwrap();
        let weights_bytes = 64 * 3 * 4;
        assert_eq!(remote.file_bytes, remote.header.data_offset + weights_bytes, "{name}");
    }
}

/// At most 100 bytes of the small file, however many are asked for.
fn in_small_ranges(request: &Request) -> Answer {
    let (first, last) = request.range.unwrap();
    let short = Request { range: Some((first, last.min(first + 99))), ..request.clone() };
    Answer::ranged(&model::small(), &short)
}

#[tokio::test]
async fn ranges_may_be_shorter_than_asked_for() {
    let server = Server::start(in_small_ranges).await;
    let remote = read(&server, &server.url("/m.gguf")).await.unwrap();
    assert_eq!(remote.header.vocabulary_tokens(), 3);
    assert!(server.requests().len() > 3);
}

/// A server that wants a name and password, sends 100 bytes at a time and first redirects to `to`.
async fn guarded(to: &'static str) -> Server {
    Server::start(move |request| {
        if request.authorization.as_deref() != Some("Basic bWU6cGFzcw==") {
            return Answer::new("401 Unauthorized", "www-authenticate: Basic\r\n", b"");
        }
        if request.path != to {
            return Answer::redirect(to);
        }
        in_small_ranges(request)
    })
    .await
}

#[tokio::test]
async fn every_range_of_an_address_with_a_password_is_asked_with_it() {
    for to in ["/m.gguf", "/elsewhere/m.gguf"] {
        let server = guarded(to).await;
        let address = server.url("/m.gguf").replace("http://", "http://me:pass@");
        let remote = read(&server, &address).await.unwrap();
        assert_eq!(remote.header.vocabulary_tokens(), 3, "{to}");
        assert!(server.requests().len() > 3, "{to}");
    }
}

#[tokio::test]
async fn a_password_is_sent_to_no_other_server() {
    let other = Server::start(in_small_ranges).await;
    let elsewhere = other.url("/m.gguf");
    let server = Server::start(move |_| Answer::redirect(&elsewhere)).await;
    let address = server.url("/m.gguf").replace("http://", "http://me:pass@");
    read(&server, &address).await.unwrap();
    assert!(server.requests()[0].authorization.is_some());
    assert!(other.requests().len() > 3);
    assert!(other.requests().iter().all(|request| request.authorization.is_none()));
}

#[tokio::test]
async fn all_parts_are_read_from_any_of_them() {
    let server = Server::start(|request| {
        let number = request.path.as_bytes()["/m-0000".len()] - b'1';
        let split = Split { number: number.into(), count: 3, tensors: 3 };
        Answer::ranged(&model::part(split), request)
    })
    .await;
    let remote = read(&server, &server.url("/m-00002-of-00003.gguf")).await.unwrap();
    assert_eq!(remote.name, "m-00001-of-00003.gguf");
    assert_eq!(remote.header.tensors.len(), 3);
    let parts = (0..3).map(|number| model::part(Split { number, count: 3, tensors: 3 }).bytes);
    assert_eq!(remote.file_bytes, parts.sum::<u64>());
    let asked: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
    let names = [1, 2, 3].map(|number| format!("/m-0000{number}-of-00003.gguf"));
    assert_eq!(asked, names);
}

#[tokio::test]
async fn parts_that_do_not_belong_together_are_refused() {
    let server = Server::start(|request| {
        let number = request.path.as_bytes()["/m-0000".len()] - b'1';
        let split = Split { number: number.into(), count: 3, tensors: 99 };
        Answer::ranged(&model::part(split), request)
    })
    .await;
    let message = read(&server, &server.url("/m-00001-of-00003.gguf")).await.unwrap_err();
    let message = message.to_string();
    assert!(message.contains("have 3 tensors together and should have 99"), "{message}");
    // The file's name does not say that there are more.
    let message = read(&server, &server.url("/m-00001.gguf")).await.unwrap_err().to_string();
    assert!(message.contains("part 2 of 3 is missing"), "{message}");
}
