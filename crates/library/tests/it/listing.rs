//! Repositories on a server that speaks like Hugging Face.

use library::remote::{Error, Reader, Remote, Source};

use crate::{
    headers::read,
    model::{self, Split},
    server::{Answer, Request, Server},
};

const LIST: &str = "/api/models/owner/repo-GGUF/tree/main?recursive=true";

fn entry(path: &str, bytes: u64) -> String {
    format!(
        r#"{{"type":"file","oid":"0","size":{bytes},"path":"{path}","xetHash":"1",
            "lfs":{{"oid":"{}","size":{bytes},"pointerSize":134}}}}"#,
        "2".repeat(64)
    )
}

/// A repository with two encodings and a split one, over two pages.
fn repository(request: &Request, address: &str) -> Answer {
    let small = model::small();
    let part = |number| model::part(Split { number, count: 2, tensors: 2 });
    let second = format!("{LIST}&cursor=x");
    match request.path.as_str() {
        path if path == LIST => {
            let link = format!("link: <http://{address}{second}>; rel=\"next\"\r\n");
            let entries = [
                r#"{"type":"directory","oid":"0","size":0,"path":"BF16"}"#.to_owned(),
                entry("m-Q8_0.gguf", small.bytes),
                entry("README.md", 7),
            ];
            Answer::new("200 OK", &link, format!("[{}]", entries.join(",")).as_bytes())
        }
        path if path == second => {
            let entries = [
                entry("m-Q4_K_M.gguf", small.bytes),
                entry("BF16/m-BF16-00001-of-00002.gguf", part(0).bytes),
                entry("BF16/m-BF16-00002-of-00002.gguf", part(1).bytes),
                entry("lies-Q2_K.gguf", small.bytes + 1),
            ];
            Answer::new("200 OK", "", format!("[{}]", entries.join(",")).as_bytes())
        }
        "/owner/repo-GGUF/resolve/main/m-Q8_0.gguf"
        | "/owner/repo-GGUF/resolve/main/lies-Q2_K.gguf" => Answer::ranged(&small, request),
        "/owner/repo-GGUF/resolve/main/BF16/m-BF16-00001-of-00002.gguf" => {
            Answer::ranged(&part(0), request)
        }
        "/owner/repo-GGUF/resolve/main/BF16/m-BF16-00002-of-00002.gguf" => {
            Answer::ranged(&part(1), request)
        }
        _ => Answer::new("404 Not Found", "", b"Entry not found"),
    }
}

async fn hub() -> Server {
    Server::start(|request| repository(request, "localhost")).await
}

/// A server whose list names its own address.
async fn paged_hub() -> Server {
    let address = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let known = address.clone();
    let server = Server::start(move |request| repository(request, known.get().unwrap())).await;
    address.set(server.address.to_string()).unwrap();
    server
}

async fn read_hub(server: &Server, text: &str) -> Result<Remote, Error> {
    read(server, text).await
}

#[tokio::test]
async fn a_repository_is_listed_over_several_pages() {
    let server = paged_hub().await;
    let Some(Ok(Source::Repository { repository, .. })) = Source::parse("hf:owner/repo-GGUF")
    else {
        panic!("a repository");
    };
    let models = Reader::new(&server.access()).models(&repository).await.unwrap();
    let labels: Vec<&str> = models.iter().map(library::remote::Model::label).collect();
    assert_eq!(labels, ["BF16", "Q2_K", "Q4_K_M", "Q8_0"]);
    assert!(
        server
            .requests()
            .iter()
            .all(|request| { request.authorization.as_deref() == Some("Bearer hf_secret") })
    );
}

#[tokio::test]
async fn an_encoding_a_file_or_any_part_is_found() {
    let server = paged_hub().await;
    for (text, tensors) in [
        ("hf:owner/repo-GGUF:Q8_0", 1),
        ("hf:owner/repo-GGUF:m-Q8_0.gguf", 1),
        ("hf:owner/repo-GGUF:bf16", 2),
        ("hf:owner/repo-GGUF:BF16/m-BF16-00002-of-00002.gguf", 2),
    ] {
        let remote = read_hub(&server, text).await.unwrap();
        assert_eq!(remote.header.tensors.len(), tensors, "{text}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_repository_is_said() {
    let server = paged_hub().await;
    for (text, expected) in [
        ("hf:owner/repo-GGUF", "several models"),
        ("hf:owner/repo-GGUF:Q5_K_M", "no model 'Q5_K_M'; it has BF16, Q2_K, Q4_K_M, Q8_0"),
        ("hf:owner/repo-GGUF:Q4_K_M", "404"),
        ("hf:owner/repo-GGUF:Q2_K", "the file has "),
        ("hf:owner/other", "404"),
    ] {
        let message = read_hub(&server, text).await.unwrap_err().to_string();
        assert!(message.contains(expected), "{expected}: {message}");
    }
    // A list that goes on elsewhere would take the token along.
    let message = read_hub(&hub().await, "hf:owner/repo-GGUF").await.unwrap_err().to_string();
    assert!(message.contains("goes on at another server"), "{message}");
}

#[tokio::test]
async fn lists_that_are_none_are_refused() {
    for (body, expected) in [
        (b"<html>".to_vec(), "cannot be read"),
        (br#"{"error":"x"}"#.to_vec(), "cannot be read"),
        (b"[]".to_vec(), "has no GGUF files"),
        (vec![b' '; 5 << 20], "longer than"),
    ] {
        let server = Server::start(move |_| Answer::new("200 OK", "", &body)).await;
        let message = read_hub(&server, "hf:o/r").await.unwrap_err().to_string();
        assert!(message.contains(expected), "{expected}: {message}");
    }
    let endless = Server::start(|request| {
        let link = format!("link: <{}>; rel=\"next\"\r\n", request.path);
        Answer::new("200 OK", &link, b"[]")
    })
    .await;
    let message = read_hub(&endless, "hf:o/r").await.unwrap_err().to_string();
    assert!(message.contains("goes on after 4 pages"), "{message}");
}

#[tokio::test]
async fn the_token_stays_behind_when_the_file_lies_elsewhere() {
    let elsewhere = Server::start(|request| Answer::ranged(&model::small(), request)).await;
    let to = elsewhere.url("/cdn/abc?X-Signature=s");
    let server = Server::start(move |request| match request.path.as_str() {
        "/api/models/o/r/tree/main?recursive=true" => {
            let entries = format!("[{}]", entry("m.gguf", model::small().bytes));
            Answer::new("200 OK", "", entries.as_bytes())
        }
        _ => Answer::redirect(&to),
    })
    .await;
    read_hub(&server, "hf:o/r").await.unwrap();
    let with_token = |server: &Server| {
        let requests = server.requests();
        (requests.iter().filter(|request| request.authorization.is_some()).count(), requests.len())
    };
    assert_eq!(with_token(&server), (2, 2));
    assert_eq!(with_token(&elsewhere), (0, 1));
    // Nor does an address that somebody typed take it along.
    read_hub(&server, &elsewhere.url("/m.gguf")).await.unwrap();
    assert_eq!(with_token(&elsewhere), (0, 2));
}
