//! What is too large, too slow or too late.

use gateway::limits::BODY_BYTES_MAX;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::client::{Ask, time_flies, within};
use crate::site::Site;

#[tokio::test]
async fn a_body_over_the_limit_is_refused_and_its_sender_hears_it() {
    let site = Site::new().await;
    let huge = Ask::post("/v1/completions", &json!({})).body(vec![b' '; BODY_BYTES_MAX + 1]);
    let error = huge.send(site.address).await.error(413);
    assert!(error["message"].as_str().unwrap().contains("32 MiB"));
    Ask::completion("say 1", json!({})).send(site.address).await.ok();
    site.ends().await;
}

#[tokio::test]
async fn a_body_that_does_not_say_its_length_has_the_same_limit() {
    let site = Site::new().await;
    let mut socket = TcpStream::connect(site.address).await.unwrap();
    let head = format!(
        "POST /v1/completions HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\
         content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n",
        site.address
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let piece = [b"100000\r\n".as_slice(), &vec![b' '; 1 << 20], b"\r\n"].concat();
    for _ in 0..=BODY_BYTES_MAX >> 20 {
        socket.write_all(&piece).await.unwrap();
    }
    socket.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    within(socket.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    site.ends().await;
}

#[tokio::test]
async fn headers_that_never_end_end_the_connection() {
    let site = Site::new().await;
    let mut socket = TcpStream::connect(site.address).await.unwrap();
    socket.write_all(b"GET /health HTTP/1.1\r\nx-slow: ").await.unwrap();
    let mut rest = Vec::new();
    time_flies(socket.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"), "{rest:?}");
    site.ends().await;
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let site = Site::new().await;
    let mut socket = TcpStream::connect(site.address).await.unwrap();
    let head = format!(
        "POST /v1/completions HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
         content-length: 100\r\n\r\n{{\"model\"",
        site.address
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut begin = [0; 12];
    time_flies(socket.read_exact(&mut begin)).await.unwrap();
    assert_eq!(&begin, b"HTTP/1.1 408");
    site.ends().await;
}

#[tokio::test]
async fn what_is_no_http_is_no_trouble() {
    let site = Site::new().await;
    for bytes in
        [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(), b"\r\n\r\nhello\r\n\r\n"]
    {
        let mut socket = TcpStream::connect(site.address).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        socket.shutdown().await.unwrap();
        let mut rest = Vec::new();
        within(socket.read_to_end(&mut rest)).await.unwrap();
    }
    Ask::get("/health").send(site.address).await.ok();
    site.ends().await;
}

#[tokio::test]
async fn an_open_answer_is_cut_off_when_the_hub_stops() {
    let site = Site::new().await;
    let ask = Ask::completion("endless", json!({ "stream": true }));
    let mut open = ask.open(site.address).await;
    open.piece().await.unwrap();
    // Nobody can wait for the end of this one, so this returns only if the wait is bounded.
    let address = site.address;
    site.ends().await;
    assert!(TcpStream::connect(address).await.is_err());
}
