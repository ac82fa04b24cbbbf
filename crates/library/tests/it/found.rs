//! What sources have: files with their addresses, lengths and digests, and every way in which a server can be wrong
//! about that.

use library::{
    manifest::Role,
    remote::Reader,
    source::Source,
    sources::{Access, Error, Found, Options},
};
use serde_json::{Value, json};

use crate::{
    hub::{COMMIT, Hub, entry, layer, weights},
    pulls::digest,
    server::{Answer, Body, Request, Server},
};

/// What `text` means to `access`.
pub(crate) async fn found_by(access: &Access, text: &str) -> Result<Found, Error> {
    let source = Source::parse(text).unwrap()?;
    access.found(&source).await
}

async fn found(server: &Server, text: &str) -> Result<Found, Error> {
    found_by(&server.access(), text).await
}

/// The message of the error, which must come.
async fn refusal(server: &Server, text: &str) -> String {
    let message = found(server, text).await.unwrap_err().to_string();
    assert!(!message.contains("hf_secret"), "{message}");
    println!("{message}");
    message
}

fn roles(found: &Found) -> Vec<(Role, &str)> {
    found.files.iter().map(|file| (file.role, file.name.as_str())).collect()
}

#[tokio::test]
async fn a_repository_with_parts_and_a_projector() {
    let (one, two, eyes) = (weights(1), weights(2), weights(3));
    let server = Hub::default()
        .hugging_face(
            "o/My-8B-GGUF",
            &[
                ("Q8_0/My-8B-Q8_0-00002-of-00002.gguf", &two),
                ("Q8_0/My-8B-Q8_0-00001-of-00002.gguf", &one),
                ("My-8B-Q4_K_M.gguf", &one),
                ("mmproj-BF16.gguf", &eyes),
                ("mmproj-F16.gguf", &eyes),
                ("README.md", b"Hi"),
            ],
        )
        .serve()
        .await;
    let found = found(&server, "hf:o/My-8B-GGUF:Q8_0").await.unwrap();
    assert_eq!(
        roles(&found),
        [
            (Role::Model, "My-8B-Q8_0-00001-of-00002.gguf"),
            (Role::Model, "My-8B-Q8_0-00002-of-00002.gguf"),
            (Role::Projector, "mmproj-F16.gguf"),
        ]
    );
    assert_eq!(found.source, "hf:o/My-8B-GGUF:Q8_0");
    assert_eq!(found.revision.as_deref(), Some(COMMIT));
    assert_eq!(found.quantization.as_deref(), Some("Q8_0"));
    assert_eq!(found.suggested_name.as_str(), "my-8b:q8_0");
    let wanted = &found.files[0].wanted;
    assert_eq!(wanted.digest, Some(digest(&one)));
    assert_eq!(wanted.bytes, Some(one.len() as u64));
    let path = format!("/o/My-8B-GGUF/resolve/{COMMIT}/Q8_0/My-8B-Q8_0-00001-of-00002.gguf");
    assert_eq!(wanted.addresses[0].as_str(), server.url(&path));
    let message = refusal(&server, "hf.co/o/My-8B-GGUF:latest").await;
    assert!(message.contains("several models; name one, as in hf:o/My-8B-GGUF:Q"), "{message}");
    let message = refusal(&server, "hf:o/My-8B-GGUF:mmproj-F16.gguf").await;
    assert!(message.contains("is a projector, and no model"), "{message}");
    let message = refusal(&server, "hf:o/other").await;
    assert!(message.contains("404"), "{message}");
}

#[tokio::test]
async fn a_model_without_a_part_is_refused() {
    let files: &[(&str, &[u8])] = &[("m-00001-of-00002.gguf", b"x")];
    let server = Hub::default().hugging_face("o/r", files).serve().await;
    let message = refusal(&server, "hf:o/r").await;
    assert!(message.contains("part 2 of 2 is missing"), "{message}");
}

#[tokio::test]
async fn a_server_that_does_not_know_commits_is_asked_for_its_branch() {
    let own = weights(1);
    let hub = Hub::default().hugging_face("o/r", &[("m.gguf", &own)]);
    for state in [r#"{"sha":"../../../x"}"#, r#"{"sha":7}"#, "<html>", "{}"] {
        let server = hub.clone().page("/api/models/o/r/revision/main", state).serve().await;
        let found = found(&server, "hf:o/r").await.unwrap();
        assert_eq!(found.revision, None, "{state}");
        let address = found.files[0].wanted.addresses[0].as_str();
        assert_eq!(address, server.url("/o/r/resolve/main/m.gguf"));
    }
    let server = hub
        .serve_unless(|request| {
            let is_asked = request.path.contains("/revision/");
            is_asked.then(|| Answer::new("404 Not Found", "", b""))
        })
        .await;
    assert_eq!(found(&server, "hf:o/r").await.unwrap().revision, None);
}

#[tokio::test]
async fn mirrors_are_asked_in_turn_and_get_no_token() {
    let own = weights(1);
    let hub = || Hub::default().hugging_face("o/r", &[("m.gguf", &own)]);
    let (first, broken, second) = (
        hub().serve().await,
        Server::start(|_| Answer::new("503 Service Unavailable", "", b"")).await,
        hub().serve().await,
    );
    let options = |endpoint: &Server, mirrors: &[&Server]| Options {
        hugging_face: endpoint.url(""),
        hugging_face_mirrors: mirrors.iter().map(|mirror| mirror.url("")).collect(),
        ..first.options()
    };
    let access = Access::new(&options(&broken, &[&second, &first])).unwrap();
    let found = found_by(&access, "hf:o/r").await.unwrap();
    let hosts: Vec<u16> =
        found.files[0].wanted.addresses.iter().filter_map(reqwest::Url::port).collect();
    assert_eq!(hosts, [second.address.port(), broken.address.port(), first.address.port()]);
    assert!(broken.requests().iter().all(|request| request.authorization.is_some()));
    assert!(second.requests().iter().all(|request| request.authorization.is_none()));
    // When nobody has it, the first one's words are said.
    let access = Access::new(&options(&broken, &[&second])).unwrap();
    let message = found_by(&access, "hf:o/nothing").await.unwrap_err().to_string();
    assert!(message.contains("503"), "{message}");
    let nowhere = Options { hugging_face_mirrors: vec!["mirror".to_owned()], ..first.options() };
    let message = Access::new(&nowhere).err().unwrap().to_string();
    assert!(message.starts_with("RESIDENT_HF_MIRRORS is 'mirror'"), "{message}");
}

#[tokio::test]
async fn lists_that_lie_are_refused() {
    let list =
        |entries: Value| Hub::default().page("/api/models/o/r/tree/main", entries.to_string());
    let with_oid = |oid: &str| {
        let mut entry = entry("m.gguf", 5, b"x");
        entry["lfs"]["oid"] = json!(oid);
        entry
    };
    let many: Vec<Value> = (0..10_001).map(|_| json!({"type": "", "path": ""})).collect();
    for (entries, expected) in [
        (json!([with_oid("../../../etc/passwd")]), "is no digest"),
        (json!([with_oid("sha512:00")]), "is no digest"),
        (json!([{"type": "file", "path": "m.gguf", "size": -1}]), "cannot be read"),
        (json!([{"type": "file", "path": "m.gguf", "size": 1e40}]), "cannot be read"),
        (Value::Array(many), "more than 10000 entries"),
        (json!([entry("../m.gguf", 5, b"x"), entry("/m.gguf", 5, b"x")]), "has no GGUF files"),
        (
            json!([entry("a/../../m.gguf", 5, b"x"), entry("m\0.gguf", 5, b"x")]),
            "has no GGUF files",
        ),
    ] {
        let server = list(entries).serve().await;
        let message = refusal(&server, "hf:o/r").await;
        assert!(message.contains(expected), "{message}");
    }
    let server =
        Server::start(|_| Answer::new("200 OK", "content-encoding: gzip\r\n", &[0x1f, 0x8b, 8, 0]))
            .await;
    for text in ["hf:o/r", "ms:o/r", "ollama:x"] {
        let message = refusal(&server, text).await;
        assert!(message.contains("encoded as gzip"), "{message}");
    }
    let server =
        Server::start(|_| Answer { head: "200 OK\r\n".to_owned(), body: Body::Endless }).await;
    for text in ["hf:o/r", "ms:o/r", "ollama:x"] {
        let message = refusal(&server, text).await;
        assert!(message.contains("longer than 4194304 bytes"), "{message}");
    }
}

#[tokio::test]
async fn gated_and_private_repositories_say_what_to_do() {
    for (headers, expected) in [
        ("x-error-code: GatedRepo\r\n", "wants to be asked first"),
        ("", "or is private; check the name, or set HF_TOKEN"),
    ] {
        let server = Server::start(move |_| Answer::new("401 Unauthorized", headers, b"")).await;
        let message = refusal(&server, "hf:o/r").await;
        assert!(message.contains(expected), "{message}");
    }
}

#[tokio::test]
async fn a_repository_of_model_scope() {
    let own = weights(1);
    let server = Hub::default().model_scope("Qwen/Q-GGUF", &[("q-Q8_0.gguf", &own)]).serve().await;
    let options = Options { model_scope_token: Some("ms_secret".to_owned()), ..server.options() };
    let access = Access::new(&Options { hugging_face_token: None, ..options }).unwrap();
    let found = found_by(&access, "ms:Qwen/Q-GGUF").await.unwrap();
    assert_eq!(found.files[0].wanted.digest, Some(digest(&own)));
    let address = found.files[0].wanted.addresses[0].as_str();
    assert_eq!(address, server.url("/ms/models/Qwen/Q-GGUF/resolve/master/q-Q8_0.gguf"));
    let asked = &server.requests()[0];
    assert_eq!(asked.authorization.as_deref(), Some("Bearer ms_secret"));
    assert!(asked.path.ends_with("?Revision=master&Recursive=true"), "{}", asked.path);
}

#[tokio::test]
async fn a_model_of_a_registry_with_its_texts() {
    let (own, eyes) = (weights(1), weights(2));
    let server = Hub::default()
        .image(
            "library/m",
            "8b",
            &[
                ("projector", &eyes),
                ("model", &own),
                ("template", b"{{ .Prompt }}"),
                ("params", br#"{"stop":["</s>"],"temperature":0.5}"#),
                ("license", b"Free."),
            ],
        )
        .serve()
        .await;
    let found = found(&server, "ollama:m:8b").await.unwrap();
    assert_eq!(roles(&found), [(Role::Model, "m-8b.gguf"), (Role::Projector, "mmproj-m-8b.gguf")]);
    assert_eq!(found.suggested_name.as_str(), "m:8b");
    assert_eq!(found.quantization.as_deref(), Some("Q8_0"));
    assert_eq!(found.settings.template.as_deref(), Some("{{ .Prompt }}"));
    assert_eq!(found.settings.parameters["temperature"], 0.5);
    assert_eq!(found.settings.licenses, ["Free."]);
    assert!(found.revision.unwrap().starts_with("sha256:"));
    let path = format!("/ollama/v2/library/m/blobs/{}", digest(&own));
    assert_eq!(found.files[0].wanted.addresses[0].as_str(), server.url(&path));
    // The weights were left where they are.
    assert!(server.requests().iter().all(|request| request.path != path));
}

#[tokio::test]
async fn gguf_files_in_any_registry() {
    let own = weights(1);
    let mut titled = layer("application/octet-stream", &own);
    titled["annotations"] = json!({"org.opencontainers.image.title": "../../My-Q4_K_M.gguf"});
    let manifest = json!({"schemaVersion": 2, "layers": [titled]}).to_string();
    let server = Hub::default().page("/v2/team/m/manifests/v1", manifest).serve().await;
    let text = format!("ollama:{}/team/m:v1", server.address);
    let found = found(&server, &text).await.unwrap();
    assert_eq!(roles(&found), [(Role::Model, "My-Q4_K_M.gguf")]);
    assert_eq!(found.source, text);
}

/// A registry's manifest of these layers.
fn manifest(layers: Value) -> Hub {
    let manifest = json!({"schemaVersion": 2, "layers": layers}).to_string();
    Hub::default().page("/ollama/v2/library/m/manifests/latest", manifest)
}

#[tokio::test]
async fn manifests_that_cannot_be_used_are_refused() {
    let of = |kind: &str| layer(&format!("application/vnd.ollama.image.{kind}"), b"x");
    let with = |field: &str, value: Value| {
        let mut layer = of("model");
        layer[field] = value;
        layer
    };
    let endless: Vec<Value> = (0..20_000).map(|_| of("embed")).collect();
    for (layers, expected) in [
        (json!([of("tensor"), of("tensor")]), "pull a GGUF of the same model"),
        (json!([]), "it has no GGUF file"),
        (json!([of("template")]), "it has no GGUF file"),
        (json!([with("digest", json!("sha256:../../../../etc/passwd"))]), "is no digest"),
        (json!([with("digest", json!(format!("sha256:{}", "Z".repeat(64))))]), "is no digest"),
        (json!([with("size", json!(-5))]), "expected u64"),
        (Value::Array(endless), "more than 1000 entries"),
        (json!({"0": of("model")}), "a list of at most"),
    ] {
        let server = manifest(layers).serve().await;
        let message = refusal(&server, "ollama:m").await;
        assert!(message.contains(expected), "{expected}: {message}");
        assert!(message.starts_with("ollama:m: "), "{message}");
    }
    let body = "[".repeat(1 << 20);
    let server = Hub::default().page("/ollama/v2/library/m/manifests/latest", body).serve().await;
    let message = refusal(&server, "ollama:m").await;
    assert!(message.contains("cannot be used"), "{message}");
    let cloud = Hub::default().image("library/m", "latest", &[]);
    let config = br#"{"remote_host":"https://ollama.com"}"#;
    let served = json!({"config": layer("x", config), "layers": []}).to_string();
    let server = cloud
        .page("/ollama/v2/library/m/manifests/latest", served)
        .page(&format!("/ollama/v2/library/m/blobs/{}", digest(config)), *config)
        .serve()
        .await;
    let message = refusal(&server, "ollama:m").await;
    assert!(message.contains("runs on its maker's servers"), "{message}");
}

#[tokio::test]
async fn texts_that_are_not_what_they_should_be_are_refused() {
    let layers: &[(&str, &[u8])] = &[("model", b"x"), ("system", b"You are kind.")];
    let hub = Hub::default().image("library/m", "latest", layers);
    let path = format!("/ollama/v2/library/m/blobs/{}", digest(b"You are kind."));
    for (content, expected) in [
        (b"You are evil.".to_vec(), "has the digest sha256:"),
        (b"You are".to_vec(), "has the digest sha256:"),
        (vec![b'x'; 1 << 20], "longer than 13 bytes"),
    ] {
        let server = hub.clone().page(&path, content).serve().await;
        let message = refusal(&server, "ollama:m").await;
        assert!(message.contains(expected), "{message}");
    }
    let lying = |request: &Request| {
        let headers = format!("docker-content-digest: sha256:{}\r\n", "0".repeat(64));
        request.path.contains("/manifests/").then(|| Answer::new("200 OK", &headers, b"{}"))
    };
    let server = hub.serve_unless(lying).await;
    let message = refusal(&server, "ollama:m").await;
    assert!(message.contains("and should have sha256:0000"), "{message}");
}

#[tokio::test]
async fn a_model_at_an_address() {
    let own = weights(1);
    let server = Hub::default()
        .page("/f/My-Q8_0.gguf", own.clone())
        .page("/page.gguf", "<!DOCTYPE html><html></html>")
        .page("/p-00001-of-00002.gguf", own.clone())
        .page("/p-00002-of-00002.gguf", weights(2))
        .serve_unless(|request| {
            let file = weights(1);
            match request.path.as_str() {
                "/whole.gguf" => Some(Answer::new("200 OK", "", &file)),
                "/zip.gguf" => Some(Answer::new("200 OK", "content-encoding: br\r\n", &file)),
                _ => None,
            }
        })
        .await;
    let found_at = async |path: &str| found(&server, &server.url(path)).await;
    let found = found_at("/f/My-Q8_0.gguf?key=1").await.unwrap();
    assert_eq!(found.suggested_name.as_str(), "my-q8_0");
    assert_eq!(found.quantization.as_deref(), Some("Q8_0"));
    assert_eq!(found.files[0].wanted.bytes, Some(own.len() as u64));
    assert_eq!(found.source, server.url("/f/My-Q8_0.gguf"));
    assert_eq!(found_at("/whole.gguf").await.unwrap().bytes(), own.len() as u64);
    assert_eq!(found_at("/p-00002-of-00002.gguf").await.unwrap().files.len(), 2);
    for (path, expected) in [
        ("/page.gguf", "web page"),
        ("/zip.gguf", "encoded as br"),
        ("/nothing.gguf", "404"),
        ("/x-00002-of-00001.gguf", "which cannot be"),
    ] {
        let message = found_at(path).await.unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[tokio::test]
async fn headers_are_read_wherever_a_model_is() {
    let own = weights(1);
    let files: &[(&str, &[u8])] = &[("m.gguf", &own)];
    let server = Hub::default()
        .hugging_face("o/r", files)
        .model_scope("o/r", files)
        .image("library/m", "latest", &[("model", &own), ("license", b"Free.")])
        .page("/files/m.gguf", own.clone())
        .serve()
        .await;
    for text in ["hf:o/r", "ms:o/r", "ollama:m", &server.url("/files/m.gguf")] {
        let source = Source::parse(text).unwrap().unwrap();
        let remote = Reader::new(&server.access()).read(&source).await.unwrap();
        assert_eq!(remote.header.vocabulary_tokens(), 3, "{text}");
        assert_eq!(remote.file_bytes, own.len() as u64, "{text}");
    }
    let server = manifest(json!([])).serve().await;
    let source = Source::parse("ollama:m").unwrap().unwrap();
    let message = Reader::new(&server.access()).read(&source).await.unwrap_err().to_string();
    assert!(message.contains("it has no GGUF file"), "{message}");
    // A first server that does not answer is not the last one.
    let gone = Server::start(|_| Answer::new("503 Service Unavailable", "", b"")).await;
    let mirror = Hub::default().hugging_face("o/r", files).serve().await;
    let options = Options { hugging_face_mirrors: vec![mirror.url("")], ..gone.options() };
    let source = Source::parse("hf:o/r").unwrap().unwrap();
    let mut reader = Reader::new(&Access::new(&options).unwrap());
    assert_eq!(reader.read(&source).await.unwrap().file_bytes, own.len() as u64);
}

#[tokio::test]
async fn words_find_models() {
    let models =
        json!([{"id": "a/b-GGUF", "downloads": 7, "likes": 2, "gated": "auto"}, {"id": "c/d"}]);
    let server = Hub::default()
        .page("/api/models", models.to_string())
        .page("/ms/openapi/v1/models", json!({"data": {"models": models}}).to_string())
        .serve()
        .await;
    let access = server.access();
    let hits = access.search("qwen 3", 1).await.unwrap();
    assert_eq!((hits.len(), hits[0].source.as_str(), hits[0].is_gated), (1, "hf:a/b-GGUF", true));
    assert_eq!(access.search("ms:qwen", 9).await.unwrap()[1].source, "ms:c/d");
    let asked: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
    assert!(asked[0].starts_with("/api/models?search=qwen+3&filter=gguf&"), "{asked:?}");
    let server = Hub::default().page("/api/models", "<html>").serve().await;
    let message = server.access().search("x", 5).await.unwrap_err().to_string();
    assert!(message.contains("cannot be used"), "{message}");
}

#[tokio::test]
async fn offline_asks_nobody() {
    let server = Hub::default().serve().await;
    let access = Access::new(&Options { offline: true, ..server.options() }).unwrap();
    for text in ["hf:o/r", "ms:o/r", "ollama:m", &server.url("/m.gguf")] {
        let message = found_by(&access, text).await.unwrap_err().to_string();
        assert!(message.contains("because offline is set"), "{message}");
    }
    assert!(access.search("x", 5).await.is_err());
    assert!(server.requests().is_empty());
}
