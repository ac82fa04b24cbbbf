//! Tokens of registries: who asks for one gets one, and nobody else sees it, nor any secret of the user's.

use std::sync::{Arc, OnceLock};

use library::sources::{Access, Error, Options};

use crate::{
    found::found_by,
    hub::{Hub, weights},
    pulls::digest,
    server::{Answer, Request, Server},
};

const TOKEN: &str = "Bearer registry-token";

fn model() -> Hub {
    Hub::default().image("library/m", "latest", &[("model", &weights(1)), ("system", b"Kind.")])
}

fn challenge(realm: &str) -> Answer {
    let headers = format!(
        "www-authenticate: Bearer realm=\"{realm}\",service=\"s\",scope=\"repository:library/m:pull\"\r\n"
    );
    Answer::new("401 Unauthorized", &headers, b"")
}

fn token() -> Answer {
    Answer::new("200 OK", "", br#"{"token":"registry-token","expires_in":300}"#)
}

/// A registry that wants a token from `realm`.
async fn registry(realm: String) -> Server {
    model()
        .serve_unless(move |request| {
            (request.authorization.as_deref() != Some(TOKEN)).then(|| challenge(&realm))
        })
        .await
}

async fn found(server: &Server) -> Result<(), Error> {
    // Without a token for Hugging Face, which the same server is here.
    let options = Options { hugging_face_token: None, ..server.options() };
    found_by(&Access::new(&options).unwrap(), "ollama:m").await.map(|_| ())
}

fn authorizations(server: &Server) -> Vec<Option<String>> {
    server.requests().into_iter().map(|request| request.authorization).collect()
}

#[tokio::test]
async fn a_token_is_fetched_once_and_shown_to_the_registry() {
    let realm = Server::start(|_| token()).await;
    let server = registry(realm.url("/token?x=1")).await;
    found(&server).await.unwrap();
    let asked = realm.requests();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].path, "/token?x=1&service=s&scope=repository%3Alibrary%2Fm%3Apull");
    let shown = authorizations(&server);
    assert_eq!(shown[0], None);
    assert!(shown.len() > 2 && shown[1..].iter().all(|shown| shown.as_deref() == Some(TOKEN)));
}

#[tokio::test]
async fn a_token_that_is_too_old_is_replaced() {
    let realm = Server::start(|_| token()).await;
    let (url, refused) = (realm.url("/token"), OnceLock::new());
    let server = model()
        .serve_unless(move |request| {
            let is_shown = request.authorization.as_deref() == Some(TOKEN);
            let is_late = request.path.contains("/blobs/") && refused.set(()).is_ok();
            (!is_shown || is_late).then(|| challenge(&url))
        })
        .await;
    found(&server).await.unwrap();
    assert_eq!(realm.requests().len(), 2);
}

#[tokio::test]
async fn secrets_stay_with_their_server() {
    let elsewhere = Server::start(|request| {
        // Whoever leads there may hope that something comes along.
        if request.path.starts_with("/token") { token() } else { model().answer(request) }
    })
    .await;
    let (realm, cdn) = (elsewhere.url("/token"), elsewhere.url(""));
    let server = model()
        .serve_unless(move |request: &Request| match request.authorization.as_deref() {
            Some(TOKEN) if request.path.contains("/blobs/") => {
                Some(Answer::redirect(&format!("{cdn}{}", request.path)))
            }
            Some(TOKEN) => None,
            Some(_) | None => Some(challenge(&realm)),
        })
        .await;
    // With a secret of the user's for the registry's own server.
    let access = Access::new(&server.options()).unwrap();
    found_by(&access, "ollama:m").await.unwrap();
    let shown = authorizations(&server);
    assert_eq!(shown[0].as_deref(), Some("Bearer hf_secret"));
    let elsewhere = authorizations(&elsewhere);
    assert!(elsewhere.len() >= 3 && elsewhere.iter().all(Option::is_none), "{elsewhere:?}");
}

#[tokio::test]
async fn the_server_that_a_redirect_leads_to_cannot_ask_for_a_token() {
    let elsewhere = Arc::new(OnceLock::<String>::new());
    let own = elsewhere.clone();
    let greedy = Server::start(move |request| {
        if request.path.starts_with("/token") { token() } else { challenge(own.get().unwrap()) }
    })
    .await;
    elsewhere.set(greedy.url("/token")).unwrap();
    let path = format!("/v2/library/m/blobs/{}", digest(b"x"));
    let to = greedy.url(&path);
    let server = model()
        .serve_unless(move |request| {
            request.path.contains("/blobs/").then(|| Answer::redirect(&to))
        })
        .await;
    let message = found(&server).await.unwrap_err().to_string();
    assert!(message.contains("401"), "{message}");
    assert!(greedy.requests().iter().all(|request| !request.path.starts_with("/token")));
}

#[tokio::test]
async fn servers_of_tokens_that_give_none() {
    for (status, body, expected) in [
        ("403 Forbidden", &b""[..], "403"),
        ("302 Found", b"", "302"),
        ("200 OK", b"{}", "should give a token and does not"),
        ("200 OK", br#"{"token":"a\nb"}"#, "should give a token and does not"),
        ("200 OK", &[b' '; 100_000], "should give a token and does not"),
    ] {
        let realm = Server::start(move |_| Answer::new(status, "", body)).await;
        let server = registry(realm.url("/token")).await;
        let message = found(&server).await.unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    for realm in ["file:///etc/passwd", "Authentication required", ""] {
        let server = registry(realm.to_owned()).await;
        let message = found(&server).await.unwrap_err().to_string();
        assert!(message.contains("401") && message.contains("need an account"), "{message}");
    }
    // One that never believes its own tokens is asked twice, and that is the end.
    let realm = Server::start(|_| token()).await;
    let url = realm.url("/token");
    let server = Server::start(move |_| challenge(&url)).await;
    let message = found(&server).await.unwrap_err().to_string();
    assert!(message.contains("401"), "{message}");
    assert_eq!((server.requests().len(), realm.requests().len()), (2, 1));
}
