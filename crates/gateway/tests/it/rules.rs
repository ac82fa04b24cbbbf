//! Who may ask: each rule on every route, and on paths that are no route.

use std::net::TcpListener;

use gateway::{BindError, Config, bind};
use serde_json::json;

use crate::client::Ask;
use crate::site::{Site, TOKEN, config, hub};

/// Every route and what is none, with a request that would pass.
fn everywhere() -> Vec<Ask> {
    let post = |path| Ask::post(path, &json!({}));
    let upload = |path, kind| Ask::new("POST", path).with("content-type", kind).body("x");
    vec![
        Ask::get("/health"),
        Ask::get("/metrics"),
        Ask::get("/v1/models"),
        Ask::get("/v1/models/m"),
        post("/v1/chat/completions"),
        post("/v1/completions"),
        post("/v1/embeddings"),
        post("/v1/messages"),
        post("/v1/messages/count_tokens"),
        Ask::get("/v1/messages/no/such/route"),
        post("/v1/audio/speech"),
        upload("/v1/audio/transcriptions", "multipart/form-data; boundary=x"),
        post("/v1/images/generations"),
        upload("/api/tools/t", "audio/wav"),
        Ask::get("/api/version"),
        post("/api/chat"),
        Ask::new("POST", "/api/generate").body("{}"),
        Ask::get("/api/no/such/route"),
        Ask::get("/resident/v1/ps"),
        Ask::get("/resident/v1/models"),
        post("/resident/v1/stop"),
        post("/resident/v1/warm"),
        post("/resident/v1/pin"),
        post("/resident/v1/reload"),
        Ask::get("/resident/v1/explain"),
        post("/resident/v1/what-if"),
        Ask::get("/resident/v1/requests"),
        Ask::get("/resident/v1/events"),
        Ask::get("/"),
        Ask::get("/no/such/route"),
        post("/v1//completions"),
        Ask::new("DELETE", "/v1/models/m"),
        Ask::new("OPTIONS", "/v1/models"),
    ]
}

#[tokio::test]
async fn other_machines_are_let_in_only_with_a_key_and_on_purpose() {
    let folder = tempfile::tempdir().unwrap();
    let hub = hub(folder.path());
    let wide = |key: Option<&str>, allow_lan| Config {
        listen: "0.0.0.0:0".parse().unwrap(),
        key: key.map(str::to_owned),
        allow_lan,
        ..config()
    };
    for refused in
        [wide(None, false), wide(None, true), wide(Some("k"), false), wide(Some(""), true)]
    {
        let error = bind(refused, hub.clone()).await.err().unwrap();
        assert!(matches!(error, BindError::NotLoopback { .. }), "{error}");
        assert!(error.to_string().contains("--allow-lan"), "{error}");
    }
    bind(wide(Some("k"), true), hub).await.unwrap();
}

#[tokio::test]
async fn a_running_hub_is_opened_further_by_the_same_rules_and_does_not_move() {
    let folder = tempfile::tempdir().unwrap();
    let wide = Config {
        listen: "0.0.0.0:0".parse().unwrap(),
        key: Some("k".to_owned()),
        allow_lan: true,
        ..config()
    };
    let door = bind(wide.clone(), hub(folder.path())).await.unwrap().door();
    door.check(&wide).unwrap();
    for open in [Config { key: None, ..wide.clone() }, Config { allow_lan: false, ..wide.clone() }]
    {
        let refused = door.check(&open).unwrap_err().to_string();
        assert!(refused.contains("--allow-lan"), "{refused}");
    }
    let refused = door.check(&Config { listen: "127.0.0.1:1".parse().unwrap(), ..wide });
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.starts_with("listen is 127.0.0.1:1 now, and this hub was started"),
        "{refused}"
    );
}

#[tokio::test]
async fn nobody_reads_a_configuration_again_for_a_hub_that_has_none() {
    let site = Site::new().await;
    let ask = Ask::post("/resident/v1/reload", &json!({}));
    let ask = ask.with("authorization", &format!("Bearer {TOKEN}"));
    let answer = ask.send(site.address).await;
    answer.error(409);
    site.ends().await;
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_holder_and_never_left() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = holder.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let error = bind(Config { listen, ..config() }, hub(folder.path())).await.err().unwrap();
    assert!(matches!(error, BindError::Taken { address, .. } if address == listen));
    let message = error.to_string();
    for word in [&listen.port().to_string(), &std::process::id().to_string(), "--listen"] {
        assert!(message.contains(word), "no {word} in: {message}");
    }
}

#[tokio::test]
async fn a_foreign_host_is_refused_everywhere() {
    let site = Site::new().await;
    for ask in everywhere() {
        let answer = ask.clone().with("host", "rebound.example").send(site.address).await;
        answer.error(421);
        let answer = ask.with("host", "MINI.local:99").send(site.address).await;
        assert_ne!(answer.status, 421);
    }
    site.ends().await;
}

#[tokio::test]
async fn a_foreign_page_is_refused_everywhere() {
    let site = Site::new().await;
    for ask in everywhere() {
        for origin in ["https://evil.example", "null", "file://", "chrome-extension://abcdef"] {
            let answer = ask.clone().with("origin", origin).send(site.address).await;
            answer.error(403);
            assert!(!answer.headers.contains_key("access-control-allow-origin"));
        }
        ask.with("sec-fetch-site", "cross-site").send(site.address).await.error(403);
    }
    site.ends().await;
}

#[tokio::test]
async fn known_pages_may_call_and_read() {
    let site = Site::new().await;
    let own = format!("http://{}", site.address);
    for origin in ["https://chat.example", &own] {
        let preflight = Ask::new("OPTIONS", "/v1/chat/completions")
            .with("origin", origin)
            .with("access-control-request-method", "POST")
            .with("access-control-request-headers", "content-type")
            .send(site.address)
            .await;
        assert_eq!(preflight.status, 204);
        assert_eq!(preflight.headers["access-control-allow-origin"], origin);
        let allowed = preflight.headers["access-control-allow-headers"].to_str().unwrap();
        for header in [
            "authorization",
            "content-type",
            "x-api-key",
            "anthropic-version",
            "anthropic-beta",
            "anthropic-dangerous-direct-browser-access",
            "x-stainless-lang",
        ] {
            assert!(allowed.split(", ").any(|known| known == header), "{header} in {allowed}");
        }
        let answer = Ask::get("/v1/models").with("origin", origin).send(site.address).await;
        answer.ok();
        assert_eq!(answer.headers["access-control-allow-origin"], origin);
        assert!(!answer.headers.contains_key("access-control-allow-credentials"));
    }
    let answer = Ask::get("/v1/models").send(site.address).await;
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
    site.ends().await;
}

#[tokio::test]
async fn a_post_that_a_page_could_send_unasked_is_refused() {
    let site = Site::new().await;
    for path in ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/nowhere"] {
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
            let ask = Ask::new("POST", path).with("content-type", kind).body("{}");
            ask.send(site.address).await.error(415);
        }
        Ask::new("POST", path).body("{}").send(site.address).await.error(415);
    }
    for (path, kind) in [
        ("/v1/audio/speech", "multipart/form-data"),
        ("/v1/images/generations", "text/plain"),
        ("/v1/audio/transcriptions", "text/plain"),
        ("/v1/audio/transcriptions", "application/json"),
        ("/api/tools/t", "text/plain"),
        ("/api/tools/t", "application/x-www-form-urlencoded"),
        ("/api/tools/t", "multipart/form-data; boundary=x"),
    ] {
        let ask = Ask::new("POST", path).with("content-type", kind).body("{}");
        ask.send(site.address).await.error(415);
        Ask::new("POST", path).body("{}").send(site.address).await.error(415);
    }
    site.ends().await;
}

#[tokio::test]
async fn control_needs_the_token_even_here() {
    let site = Site::new().await;
    let asks = [
        Ask::get("/resident/v1/ps"),
        Ask::get("/resident/v1/models"),
        Ask::post("/resident/v1/stop", &json!({ "model": "m" })),
    ];
    for ask in asks {
        ask.send(site.address).await.error(401);
        let wrong = TOKEN.replace('0', "1");
        for (header, value) in [
            ("authorization", format!("Bearer {wrong}")),
            ("authorization", format!("Basic {TOKEN}")),
            ("x-api-key", TOKEN[1..].to_owned()),
        ] {
            ask.clone().with(header, &value).send(site.address).await.error(401);
        }
        let bearer = format!("Bearer {TOKEN}");
        let answer = ask.with("authorization", &bearer).send(site.address).await;
        assert_ne!(answer.status, 401);
    }
    let in_the_url = Ask::get(&format!("/resident/v1/ps?key={TOKEN}"));
    in_the_url.send(site.address).await.error(401);
    site.ends().await;
}

#[tokio::test]
async fn a_key_holds_everywhere_but_for_health() {
    let site = Site::with(Config { key: Some("s3cret".to_owned()), ..config() }).await;
    Ask::get("/health").send(site.address).await.ok();
    // All but health, which comes first, and a preflight, which comes last and carries no key.
    let asks = everywhere();
    for ask in &asks[1..asks.len() - 1] {
        ask.send(site.address).await.error(401);
    }
    for path in ["/v1/models", "/v1/models/m", "/metrics", "/nowhere"] {
        Ask::get(path).send(site.address).await.error(401);
        Ask::get(path).with("x-api-key", "s3cre").send(site.address).await.error(401);
        let answer = Ask::get(path).with("x-api-key", "s3cret").send(site.address).await;
        assert_ne!(answer.status, 401);
    }
    let ask = Ask::completion("say 1", json!({}));
    ask.send(site.address).await.error(401);
    ask.with("authorization", "Bearer s3cret").send(site.address).await.ok();
    site.ends().await;
}

#[tokio::test]
async fn no_spelling_of_a_path_gets_past_its_policy() {
    let site = Site::new().await;
    for path in [
        "/resident/v1/./ps",
        "//resident/v1/ps",
        "/resident//v1/ps",
        "/v1/../resident/v1/ps",
        "/resident%2Fv1/ps",
        "/resident/v1/%70s",
        "/RESIDENT/v1/ps",
        "/resident/v1/ps/",
        "/resident/v1/ps;x",
    ] {
        let answer = Ask::get(path).send(site.address).await;
        answer.error(404);
    }
    site.ends().await;
}
