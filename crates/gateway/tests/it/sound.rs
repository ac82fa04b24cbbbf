//! Speech both ways where a server does it: another hub with tools, and roles that name both.

use std::sync::Arc;

use gateway::Config;
use serde_json::json;
use supervisor::{Engine, Manner, Model, Ready, Residence, Roles, Server, Serves, Upstream};

use crate::client::Ask;
use crate::roles::role;
use crate::site::{Site, config};
use crate::tools::{echo, ok, speech, tool, transcription};

/// A model of this name that is all that another hub has.
fn elsewhere(name: &str, site: &Site, manner: Manner) -> Model {
    let servers = vec![Server { base_url: format!("http://{}", site.address), key: None }];
    let health = Ready::Path("/health".to_owned());
    let engine = Engine::Upstream(Arc::new(Upstream { servers, manner, health }));
    Model { name: name.to_owned(), engine, residence: Residence::default(), kept: None }
}

/// What another hub's tool of this name is asked as.
fn manner(model: &str) -> Manner {
    Manner { model: Some(model.to_owned()), ..Manner::default() }
}

/// A hub with a voice and an ear.
async fn back() -> Site {
    let voice = echo("voice", Serves::Speak, "audio/wav", &["{voice}", "{language}"]);
    let script = "cat >/dev/null; printf 'heard %s' \"$1\"";
    let heard = ["sh", "-c", script, "ear", "{language}"];
    let tools = vec![voice, tool("ear", Serves::Listen, "text/plain", &heard)];
    Site::with(Config { tools, ..config() }).await
}

#[tokio::test]
async fn speech_is_had_from_another_hub_by_name() {
    let back = back().await;
    let models = vec![
        elsewhere("lab/ear", &back, manner("ear")),
        elsewhere("lab/mute", &back, Manner { speech: None, ..manner("voice") }),
        elsewhere("lab/voice", &back, manner("voice")),
    ];
    let front = Site::with_engines(config(), models, Roles::default()).await;
    let said = speech(json!({ "model": "lab/voice", "voice": "amy" })).send(front.address).await;
    assert_eq!(ok(&said, "audio/wav"), "Hello.|amy|xx");
    let parts: [(&str, &[u8]); 3] =
        [("model", b"lab/ear"), ("language", b"de"), ("file", &[0xff; 300_000])];
    let heard = transcription(&parts).send(front.address).await;
    assert_eq!(heard.ok()["text"], "heard de");
    let plain = [&parts[..], &[("response_format", b"text".as_slice())]].concat();
    let heard = transcription(&plain).send(front.address).await;
    assert_eq!(ok(&heard, "text/plain; charset=utf-8"), "heard de\n");

    // A refusal of theirs is one of ours.
    let wrong =
        speech(json!({ "model": "lab/voice", "voice": "--help" })).send(front.address).await;
    let error = wrong.error(400);
    assert!(error["message"].as_str().unwrap().contains("must not begin with '-'"), "{error}");
    let error = speech(json!({ "model": "lab/mute" })).send(front.address).await.error(404);
    assert!(error["message"].as_str().unwrap().contains("lab/mute"), "{error}");
    // None of them does nothing else, so that none is asked unless it is named.
    speech(json!({})).send(front.address).await.error(404);
    front.ends().await;
    back.ends().await;
}

#[tokio::test]
async fn without_a_name_whoever_does_nothing_else_is_asked() {
    let back = back().await;
    let only = Manner { chat: false, completions: false, embeddings: false, ..manner("ear") };
    let models = vec![elsewhere("a/chat", &back, manner("m")), elsewhere("b/whisper", &back, only)];
    let front = Site::with_engines(config(), models, Roles::default()).await;
    let heard = transcription(&[("file", b"x")]).send(front.address).await;
    assert_eq!(heard.ok()["text"], "heard xx");
    let chat = json!({ "model": "b/whisper", "prompt": "Hi." });
    let error = Ask::post("/v1/completions", &chat).send(front.address).await.error(400);
    assert!(error["message"].as_str().unwrap().contains("raw completions"), "{error}");
    front.ends().await;
    back.ends().await;
}

#[tokio::test]
async fn a_role_goes_along_servers_and_tools() {
    let (back, gone) = (back().await, back().await);
    let models = || {
        vec![elsewhere("far", &gone, manner("voice")), elsewhere("near", &back, manner("voice"))]
    };
    let tools = || vec![echo("own", Serves::Speak, "audio/wav", &["own"])];
    let ask = |model: &str| speech(json!({ "model": model }));

    let front = Config { tools: tools(), ..config() };
    let front = Site::with_engines(front, models(), role("speak", &["near", "own"])).await;
    for name in ["speak", "near"] {
        assert_eq!(ok(&ask(name).send(front.address).await, "audio/wav"), "Hello.|en|xx");
    }
    assert_eq!(ok(&ask("own").send(front.address).await, "audio/wav"), "Hello.|own");
    let unnamed = speech(json!({})).send(front.address).await;
    assert_eq!(ok(&unnamed, "audio/wav"), "Hello.|en|xx", "the role of what they do");
    front.ends().await;

    let far = models();
    gone.ends().await;
    for (candidates, said) in
        [(&["far", "near", "own"][..], "Hello.|en|xx"), (&["far", "own"], "Hello.|own")]
    {
        let front = Config { tools: tools(), ..config() };
        let front = Site::with_engines(front, far.clone(), role("speak", candidates)).await;
        assert_eq!(ok(&ask("speak").send(front.address).await, "audio/wav"), said);
        front.ends().await;
    }
    back.ends().await;
}
