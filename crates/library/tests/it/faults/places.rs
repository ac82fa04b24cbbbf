//! Redirects, signatures that expire, mirrors, and what is no server at all.

use library::outside::{Credential, Options, Outside};
use library::transfer::{Seen, fetch};
use tokio::{net::TcpListener, sync::watch};

use super::{Case, Expected, Row, shared, with};
use crate::{
    pulls::{content, is_whole, ranged},
    server::{Answer, Body, Server},
};

pub(super) async fn play(rows: &mut Vec<Row>) {
    signatures(rows).await;
    redirects(rows).await;
    mirrors(rows).await;
    no_servers(rows).await;
}

async fn signatures(rows: &mut Vec<Row>) {
    // Each signature is good for three questions.
    let uses = shared(Vec::<u32>::new());
    let case = Case::new("signatures that expire", Expected::Whole, move |_, request, content| {
        let Some((_, signature)) = request.path.split_once("?signature=") else {
            let number = with(&uses, |uses| {
                uses.push(0);
                uses.len() - 1
            });
            return Answer::redirect(&format!("/signed?signature={number}"));
        };
        let uses = with(&uses, |uses| {
            let uses = &mut uses[signature.parse::<usize>().unwrap()];
            *uses += 1;
            *uses
        });
        if uses > 3 { Answer::new("403 Forbidden", "", b"") } else { ranged(content, request, "") }
    });
    let case = case.await;
    rows.push(case.play().await);
    let requests = case.server.requests();
    let (stable, signed) =
        requests.iter().partition::<Vec<_>, _>(|request| request.path == "/file");
    // The signed address is used again as long as it is good.
    assert!(stable.len() * 2 <= signed.len() + 4, "{} {}", stable.len(), signed.len());
    let never = Expected::Error("403: it is not for everybody");
    let case = Case::new("signatures that are never good", never, |_, request, _| {
        if request.path == "/file" {
            Answer::redirect("/signed")
        } else {
            Answer::new("403 Forbidden", "", b"")
        }
    });
    rows.push(case.await.play().await);
}

async fn redirects(rows: &mut Vec<Row>) {
    let elsewhere = super::CONTENT.get_or_init(|| content(super::BYTES)).clone();
    let served = elsewhere.clone();
    let other = Server::start(move |request| ranged(&served, request, "")).await;
    let target = other.url("/blob");
    let case = Case::new("a redirect to another server", Expected::Whole, move |_, _, _| {
        Answer::redirect(&target)
    })
    .await;
    let credential = Credential {
        server: case.server.url("").parse().unwrap(),
        token: "hf_secret".to_owned(),
        name: "HF_TOKEN",
    };
    let options = Options { proxies: false, credentials: vec![credential], ..Options::default() };
    let (outside, seen) = (Outside::new(options).unwrap(), watch::Sender::new(Seen::default()));
    let fetched = fetch(&outside, &case.wanted, case.folder.path(), &case.terms, &seen).await;
    is_whole(&fetched.unwrap(), &elsewhere);
    // The credential went to its server, every time, and to the other never.
    let has_it = |request: &crate::server::Request| request.authorization.is_some();
    assert!(case.server.requests().iter().all(has_it));
    assert!(!other.requests().iter().any(has_it) && other.requests().len() > 4);
    rows.push(case.play().await);
    let loops = Expected::Error("redirected more than 5 times");
    let case = Case::new("redirects in a circle", loops, |_, _, _| Answer::redirect("/file"));
    rows.push(case.await.play().await);
    let no_web = Expected::Error("which is no web address");
    let case =
        Case::new("a redirect to a file", no_web, |_, _, _| Answer::redirect("file:///etc/passwd"));
    rows.push(case.await.play().await);
    // From a server that is not this machine's as far as its address says.
    let Some(neighbour) = own_address() else {
        return println!("this machine has no address but its own: no redirect from another to it");
    };
    let target = other.url("/blob");
    let server = Server::start_at(&neighbour, move |_| Answer::redirect(&target)).await;
    let here = Expected::Error("which is on this machine");
    let mut case = Case::new("a redirect to loopback", here, |_, request, content| {
        ranged(content, request, "")
    })
    .await;
    case.wanted.addresses = vec![server.url("/file").parse().unwrap()];
    rows.push(case.play().await);
}

/// An address of this machine in its network, where the system lists them. Nothing is sent to find it.
fn own_address() -> Option<String> {
    let routes = std::fs::read_to_string("/proc/net/fib_trie").ok()?;
    let mut address = None;
    for line in routes.lines() {
        if let Some((_, found)) = line.split_once("|-- ") {
            address = Some(found.trim());
        }
        let is_own = line.trim() == "/32 host LOCAL";
        if let Some(own) = address.filter(|address| is_own && !address.starts_with("127.")) {
            return Some(format!("{own}:0"));
        }
    }
    None
}

async fn mirrors(rows: &mut Vec<Row>) {
    let good = super::CONTENT.get_or_init(|| content(super::BYTES)).clone();
    let served = good.clone();
    let mirror = Server::start(move |request| ranged(&served, request, "etag: \"m\"\r\n")).await;
    let silent =
        Server::start(|_| Answer { head: String::new(), body: Body::Stalled(vec![]) }).await;
    let other = std::sync::Arc::new(good.iter().map(|byte| !byte).collect::<Vec<u8>>());
    let wrong = Server::start(move |request| ranged(&other, request, "")).await;
    for (fault, first) in [
        ("a first mirror without the file", None),
        ("a first mirror that says nothing", Some(silent.url("/file"))),
        ("a first mirror with other content", Some(wrong.url("/file"))),
    ] {
        let mut case =
            Case::new(fault, Expected::Whole, |_, _, _| Answer::new("404 Not Found", "", b""))
                .await;
        case.terms.pace.stall = std::time::Duration::from_millis(300);
        if let Some(first) = first {
            case.wanted.addresses = vec![first.parse().unwrap()];
        }
        case.wanted.addresses.push(mirror.url("/file").parse().unwrap());
        rows.push(case.play().await);
    }
}

async fn no_servers(rows: &mut Vec<Row>) {
    let answer = |_, request: &crate::server::Request, content: &_| ranged(content, request, "");
    let mut case =
        Case::new("TLS that breaks off", Expected::Error("cannot reach https://"), answer).await;
    case.wanted.addresses =
        vec![case.server.url("/file").replace("http:", "https:").parse().unwrap()];
    rows.push(case.play().await);
    let mut case = Case::new("the same, with a mirror", Expected::Whole, answer).await;
    let https = case.server.url("/file").replace("http:", "https:");
    case.wanted.addresses.insert(0, https.parse().unwrap());
    rows.push(case.play().await);
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let mut case =
        Case::new("nobody there, ever", Expected::Error("cannot reach http://"), answer).await;
    case.wanted.addresses = vec![format!("http://127.0.0.1:{port}/file").parse().unwrap()];
    rows.push(case.play().await);
    let mut case =
        Case::new("no address at all", Expected::Error("there is no address"), answer).await;
    case.wanted.addresses.clear();
    rows.push(case.play().await);
}
