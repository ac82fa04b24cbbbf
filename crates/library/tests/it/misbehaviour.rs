//! Servers that lie, loop, refuse, stall and never end: each is one clear error, soon.

use std::time::Duration;

use library::{
    remote::{Error, Options, Reader, Source},
    sources::Access,
};

use crate::{
    headers::read,
    model,
    server::{Answer, Body, Request, Server},
};

/// The message of the error, which must come and name the address.
async fn refusal(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> String {
    let server = Server::start(answer).await;
    let error = read(&server, &server.url("/m.gguf?secret=1")).await.unwrap_err();
    let message = error.to_string();
    assert!(message.contains("/m.gguf") || message.contains("m.gguf:"), "{message}");
    assert!(!message.contains("secret"), "{message}");
    println!("{message}");
    message
}

#[tokio::test]
async fn lengths_that_contradict_each_other_are_refused() {
    let partial = |range: &'static str, body: Vec<u8>| {
        move |_: &Request| {
            Answer::new("206 Partial Content", &format!("content-range: {range}\r\n"), &body)
        }
    };
    let header = model::small().header;
    for (answer, expected) in [
        (partial("bytes 5-104/1000", vec![0; 100]), "it sends 5 to 104"),
        (partial("bytes 0-99999999/100000000", vec![0; 100]), "it sends 0 to 99999999"),
        (partial("bytes 0-49/1000", vec![0; 100]), "100 bytes and 0 to 49"),
        (partial("bytes 0-199/1000", vec![0; 100]), "100 bytes and 0 to 199"),
        (partial("bytes 9-3/10", vec![0; 100]), "does not say which"),
        (partial("", vec![0; 100]), "does not say which"),
    ] {
        let message = refusal(answer).await;
        assert!(message.contains(expected), "{expected}: {message}");
    }
    let begun = header[..100].to_vec();
    let message = refusal(move |request| {
        let (first, _) = request.range.unwrap();
        let file_bytes = 100_000 + first;
        let range = format!("content-range: bytes {first}-{}/{file_bytes}\r\n", first + 99);
        Answer::new("206 Partial Content", &range, &begun)
    })
    .await;
    assert!(message.contains("the file has 100000 bytes and then 100100"), "{message}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_said() {
    let message = refusal(|_| Answer {
        head: "206 Partial Content\r\ncontent-length: 100\r\ncontent-range: bytes 0-99/1000\r\n"
            .to_owned(),
        body: Body::Bytes(model::small().header[..50].to_vec()),
    })
    .await;
    assert!(message.contains("the answer broke off"), "{message}");
    let message = refusal(|_| Answer {
        head: "200 OK\r\n".to_owned(),
        body: Body::Bytes(model::small().header[..50].to_vec()),
    })
    .await;
    assert!(message.contains("truncated"), "{message}");
    let message = refusal(|_| Answer {
        head: "206 Partial Content\r\ntransfer-encoding: chunked\r\n\
               content-range: bytes 0-99/1000\r\n"
            .to_owned(),
        body: Body::Bytes(b"3\r\nGGU\r\n0\r\n\r\n".to_vec()),
    })
    .await;
    assert!(message.contains("of bytes 0 to 99 it sends 3"), "{message}");
}

#[tokio::test]
async fn more_than_a_header_may_have_is_not_downloaded() {
    const FILE_BYTES: u64 = 30_000_000_000;
    // A string that fills the file, from a server with ranges and from one without.
    let message =
        refusal(|request| Answer::ranged(&model::endless_string(FILE_BYTES), request)).await;
    assert!(message.contains("over the limit"), "{message}");
    for head in ["200 OK\r\n", "200 OK\r\ncontent-length: 40000000000\r\n"] {
        let server =
            Server::start(move |_| Answer { head: head.to_owned(), body: Body::Endless }).await;
        let message = read(&server, &server.url("/m.gguf")).await.unwrap_err().to_string();
        assert!(message.contains("not a GGUF file"), "{message}");
        assert!(server.sent_bytes() < 5_000_000, "{}", server.sent_bytes());
    }
}

/// A header that is honest about being long, and longer than the limit.
#[tokio::test]
async fn the_limit_holds_for_ranges_streams_and_lists() {
    for has_ranges in [true, false] {
        let server = Server::start(move |request| {
            let file = model::thirty_gigabytes();
            if has_ranges { Answer::ranged(&file, request) } else { Answer::whole(&file) }
        })
        .await;
        let source = Source::parse(&server.url("/m.gguf")).unwrap().unwrap();
        let mut reader = Reader::within(&server.access(), 3_000_000);
        let message = reader.read(&source).await.unwrap_err().to_string();
        assert!(message.contains("more than the 3000000 bytes"), "{message}");
        assert!(
            reader.downloaded_bytes() <= 3_000_000 + (1 << 20),
            "{}",
            reader.downloaded_bytes()
        );
        // It stays spent.
        assert!(matches!(reader.read(&source).await, Err(Error::Limit { .. })));
    }
}

/// What is said of a server that answers so, by a reader with little patience.
async fn impatient(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Error {
    let server = Server::start(answer).await;
    let options = Options {
        silence_max: Duration::from_millis(500),
        whole_wait_max: Duration::from_secs(2),
        ..server.options()
    };
    let source = Source::parse(&server.url("/m.gguf")).unwrap().unwrap();
    Reader::new(&Access::new(&options).unwrap()).read(&source).await.unwrap_err()
}

#[tokio::test]
async fn silence_is_bounded() {
    for head in [
        "206 Partial Content\r\ncontent-length: 100\r\ncontent-range: bytes 0-99/1000\r\n",
        "200 OK\r\ncontent-length: 5000\r\n",
    ] {
        let stalls =
            |_: &Request| Answer { head: head.to_owned(), body: Body::Stalled(b"GGUF".to_vec()) };
        let message = impatient(stalls).await.to_string();
        assert!(message.contains("sent nothing for 0.5 s"), "{message}");
    }
}

#[tokio::test]
async fn a_server_that_is_never_quite_silent_is_bounded_too() {
    let error = impatient(|_| Answer {
        head: "200 OK\r\ncontent-length: 5000\r\n".to_owned(),
        body: Body::Dripping(model::small().header),
    })
    .await;
    assert!(matches!(error, Error::Slow { .. }), "{error}");
}

#[tokio::test]
async fn redirects_are_followed_five_times() {
    let server = Server::start(|request| {
        let number: u32 = request.path.trim_start_matches("/m.gguf").parse().unwrap_or(0);
        if number == 0 {
            Answer::ranged(&model::small(), request)
        } else {
            Answer::redirect(&format!("/m.gguf{}", number - 1))
        }
    })
    .await;
    read(&server, &server.url("/m.gguf5")).await.unwrap();
    let message = read(&server, &server.url("/m.gguf6")).await.unwrap_err().to_string();
    assert!(message.contains("redirected more than 5 times"), "{message}");
    let message = refusal(|_| Answer::redirect("/m.gguf")).await;
    assert!(message.contains("redirected more than 5 times"), "{message}");
}

#[tokio::test]
async fn redirects_lead_only_to_the_web() {
    for to in ["file:///etc/passwd", "ftp://127.0.0.1/m.gguf", "gopher:x"] {
        let message = refusal(move |_| Answer::redirect(to)).await;
        assert!(message.contains("redirected to"), "{to}: {message}");
    }
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    for (status, headers, parts) in [
        ("401 Unauthorized", "", ["401", "HF_TOKEN"]),
        ("401 Unauthorized", "x-error-code: GatedRepo\r\n", ["401", "wants to be asked"]),
        ("403 Forbidden", "", ["403", "HF_TOKEN"]),
        ("404 Not Found", "", ["404", "check the name"]),
        ("416 Range Not Satisfiable", "", ["416", "shorter"]),
        ("429 Too Many Requests", "retry-after: 17\r\n", ["429", "in 17 s"]),
        ("429 Too Many Requests", "retry-after: soon\r\n", ["429", "later"]),
        ("503 Service Unavailable", "", ["503", "later"]),
        ("302 Found", "", ["302", "to nowhere"]),
    ] {
        let message = refusal(move |_| Answer::new(status, headers, b"")).await;
        for part in parts {
            assert!(message.contains(part), "{status}: {part}: {message}");
        }
    }
}

#[tokio::test]
async fn what_is_no_model_is_said() {
    for (body, expected) in [
        (&b"<!DOCTYPE html><html></html>"[..], "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"", "truncated"),
    ] {
        let message = refusal(move |_| Answer::new("200 OK", "", body)).await;
        assert!(message.contains(expected), "{message}");
    }
    let message =
        refusal(|_| Answer::new("200 OK", "content-encoding: gzip\r\n", b"\x1f\x8b")).await;
    assert!(message.contains("encoded as gzip"), "{message}");
}

#[tokio::test]
async fn nobody_there_is_said() {
    let server = Server::start(|_| Answer::new("200 OK", "", b"")).await;
    // A port that was just given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let message = read(&server, &format!("http://127.0.0.1:{port}/m.gguf")).await.unwrap_err();
    let message = message.to_string();
    assert!(message.starts_with("cannot reach http://127.0.0.1"), "{message}");
}

/// The same without encryption is what all others are; this one shows that there is TLS at all.
#[tokio::test]
async fn a_server_without_tls_is_no_https_server() {
    let server = Server::start(|_| Answer::new("200 OK", "", b"")).await;
    let address = server.url("/m.gguf").replace("http:", "https:");
    let message = read(&server, &address).await.unwrap_err().to_string();
    assert!(message.starts_with("cannot reach https://127.0.0.1"), "{message}");
}
