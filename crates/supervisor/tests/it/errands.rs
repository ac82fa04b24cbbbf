//! Errands at foreign engines: sound in, sound or words out, as bytes and as they come.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dialect::openai::{speech, transcription};
use supervisor::{
    Content, Delivered, Engine, Errand, ManagedCommand, Manner, Model, Patience, Purpose, Ready,
    Residence, StopSignal, Wish,
};
use worker_protocol::{Failure, FailureKind};

use crate::hub::{Hub, Setup, is_ready, prompt, texts, within};

fn hub(manner: Manner) -> Hub {
    let command = ManagedCommand {
        argv: [env!("CARGO_BIN_EXE_fixture-engine"), "--port", "{port}"].map(str::to_owned).into(),
        environment: BTreeMap::from([("FIXTURE_KEY".to_owned(), "{key}".to_owned())]),
        model: None,
        memory_bytes: 50_000_000,
        ready: Ready::Path("/health".to_owned()),
        ready_wait_max: Duration::from_secs(30),
        stop_signal: StopSignal::Terminate,
        stop_grace: Duration::from_secs(30),
        manner,
    };
    let engine = Engine::Command(Arc::new(command));
    let model =
        Model { name: "ear".to_owned(), engine, residence: Residence::default(), kept: None };
    let patience = Patience { measure: Duration::from_millis(20), ..Patience::default() };
    Hub::new(&[], Setup { foreign: vec![model], patience, ..Setup::default() })
}

fn speak(words: &str) -> Errand {
    let body = serde_json::json!({ "input": words, "voice": "nova" }).to_string();
    Errand::Speak(speech::decode(body.as_bytes()).unwrap())
}

async fn listen(sound: &[u8]) -> Errand {
    let content = Content::of(sound).await.unwrap();
    let file = transcription::File { name: Some("a.flac"), bytes: content.bytes() };
    let words = vec![("prompt".to_owned(), b"Names.".to_vec())];
    Errand::Listen { request: transcription::decode(words, Some(file)).unwrap(), content }
}

async fn whole(mut delivered: Delivered) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    while let Some(piece) = within(delivered.next()).await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(String::from_utf8(bytes).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sound_goes_to_a_server_and_comes_from_one() {
    let hub = hub(Manner { model: Some("theirs".to_owned()), ..Manner::default() });
    for purpose in [Purpose::Speak, Purpose::Listen] {
        let served = within(hub.handle.serve("ear", purpose, Wish::default(), None)).await.unwrap();
        let errand = match purpose {
            Purpose::Listen => listen(&b"sound ".repeat(100_000)).await,
            Purpose::Speak
            | Purpose::Generate(_)
            | Purpose::Embed(_)
            | Purpose::Rank(_)
            | Purpose::Short(..) => speak("Hi."),
        };
        let delivered = within(served.lease.run(errand)).await.unwrap();
        assert_eq!(delivered.content_type.as_deref(), Some("audio/echo"));
        let said = whole(delivered).await.unwrap();
        if let Purpose::Listen = purpose {
            assert!(said.starts_with("POST /v1/audio/transcriptions"), "{}", &said[..50]);
            for part in ["theirs", "Names.", "filename=\"a.flac\"", "\r\n\r\nsound sound "] {
                assert!(said.contains(part), "no {part}");
            }
            assert_eq!(said.matches("sound ").count(), 100_000, "all of the file");
        } else {
            let sent = r#"{"model":"theirs","input":"Hi.","voice":"nova"}"#;
            assert_eq!(said, format!("POST /v1/audio/speech HTTP/1.1\r\n{sent}"));
        }
    }
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_errand_holds_its_model_and_its_memory_is_measured() {
    let hub = hub(Manner::default());
    let lease = hub.acquire("ear").await.unwrap();
    let mut endless = within(lease.run(speak("grow 90000000 endless"))).await.unwrap();
    drop(lease);
    assert!(within(endless.next()).await.unwrap().is_some());
    hub.until("ear", |resident| {
        resident.is_some_and(|one| one.leased == 1 && one.booked_bytes > 90_000_000)
    })
    .await;
    // Whoever leaves ends it.
    drop(endless);
    hub.until("ear", |resident| {
        resident
            .is_some_and(|one| one.leased == 0 && one.stats.is_none_or(|stats| stats.running == 0))
    })
    .await;
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_errand_that_breaks_off_says_so_and_harms_no_other() {
    let hub = hub(Manner::default());
    let lease = hub.acquire("ear").await.unwrap();
    let cut = within(lease.run(speak("half-line"))).await.unwrap();
    let failure = whole(cut).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Broken);
    assert!(failure.message.contains("'ear'"), "{failure}");
    assert_eq!(texts(lease.generate(prompt("say 2 "))).await, Ok(2));

    let mut endless = within(lease.run(speak("endless"))).await.unwrap();
    assert!(within(endless.next()).await.unwrap().is_some());
    hub.handle.stop("ear").await.unwrap();
    let failure = whole(endless).await.unwrap_err();
    assert!(failure.message.contains("the operator stopped it"), "{failure}");
    let failure = within(lease.run(speak("Hi."))).await.unwrap_err();
    assert!(failure.message.contains("the operator stopped it"), "{failure}");
    drop(lease);
    hub.until("ear", |resident| resident.is_none()).await;
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_neither_hears_nor_speaks_says_so() {
    let hub = hub(Manner { speech: None, transcriptions: None, ..Manner::default() });
    let lease = hub.acquire("ear").await.unwrap();
    for (errand, what) in [(speak("Hi."), "speech"), (listen(b"x").await, "transcriptions")] {
        let failure = within(lease.run(errand)).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Invalid);
        assert!(failure.message.contains(what), "{failure}");
    }
    assert!(is_ready(hub.resident("ear").await.as_ref()));
    drop(lease);
    crate::gguf::write(&hub.file("worker.gguf"), 1_000_000);
    let lease = hub.acquire("worker").await.unwrap();
    let failure = within(lease.run(speak("Hi."))).await.unwrap_err();
    assert!(failure.message.contains("text only"), "{failure}");
    drop(lease);
    hub.proves_well().await;
}
