//! Roles: which of their models serves a request, given what is true of each now.

use std::{collections::BTreeMap, fs, sync::Arc, time::Duration};

use planner::roles::{Candidate, Role, check};
use serde_json::json;
use supervisor::{
    AcquireError, Engine, ManagedCommand, Manner, Model, Purpose, Ready, Residence, Roles, Server,
    StopSignal, Upstream, Wish,
};
use worker_protocol::{Chat, Generate, Message, Prompt, Role as Speaker};

use crate::{
    gguf,
    hub::{Hub, Setup, WEIGHTS_BYTES, prompt, within},
};

fn roles(name: &str, models: &[&str]) -> Roles {
    let candidates = models.iter().map(|model| Candidate::new(*model)).collect();
    let role = Role { candidates, prefer_resident: None };
    check(BTreeMap::from([(name.to_owned(), role)]), models).unwrap()
}

fn hub(models: &[&str]) -> Hub {
    Hub::new(models, Setup { roles: roles("daily", models), ..Setup::default() })
}

async fn served(hub: &Hub, role: &str, generate: &Generate) -> Result<String, AcquireError> {
    let generates = [generate.clone()];
    let purpose = Purpose::Generate(&generates);
    let served = within(hub.handle.serve(role, purpose, Wish::default(), None)).await?;
    Ok(served.model.expect("a role was asked for"))
}

#[tokio::test]
async fn a_resident_model_stands_in_unless_it_is_smaller() {
    let hub = hub(&["first", "large", "small"]);
    gguf::write(&hub.file("large.gguf"), WEIGHTS_BYTES * 2);
    gguf::write(&hub.file("small.gguf"), WEIGHTS_BYTES / 2);
    drop(hub.acquire("small").await.unwrap());
    let lease = hub.acquire("large").await.unwrap();
    assert_eq!(served(&hub, "daily", &prompt("x")).await.unwrap(), "large");
    drop(lease);
    hub.handle.stop("large").await.unwrap();
    hub.until("large", |resident| resident.is_none()).await;
    assert_eq!(served(&hub, "daily", &prompt("x")).await.unwrap(), "first");
    hub.proves_well().await;
}

#[tokio::test]
async fn a_model_that_keeps_failing_is_passed_over_and_the_error_says_when_it_is_tried_again() {
    let hub = hub(&["load-fails", "model"]);
    let loads_failed = async || hub.handle.metrics().await.loads_failed;
    let mut failed = 0;
    loop {
        assert_eq!(served(&hub, "daily", &prompt("x")).await.unwrap(), "model");
        hub.handle.stop("model").await.unwrap();
        hub.until("model", |resident| resident.is_none()).await;
        let now = loads_failed().await;
        if now == failed {
            break;
        }
        failed = now;
        assert!(failed < 100, "it is tried for ever");
    }
    assert!(failed > 0, "the first of the role was never tried");
    fs::remove_file(hub.file("model.gguf")).unwrap();
    let Err(error) = served(&hub, "daily", &prompt("x")).await else { panic!("who serves?") };
    let AcquireError::NobodyServes { retry_after: Some(_), reasons, last: None, .. } = &error
    else {
        panic!("{error:?}");
    };
    let [failing, gone] = &**reasons else { panic!("{reasons:?}") };
    assert!(failing.contains("'load-fails': kept failing"), "{failing}");
    assert_eq!(gone, "model 'model': not installed");
    hub.proves_well().await;
}

#[tokio::test]
async fn what_would_never_fit_is_passed_over_without_a_try() {
    let models = ["huge", "model"];
    let setup = Setup { budget_bytes: WEIGHTS_BYTES * 3, ..Setup::default() };
    let hub = Hub::new(&models, Setup { roles: roles("daily", &models), ..setup });
    gguf::write(&hub.file("huge.gguf"), WEIGHTS_BYTES * 10);
    assert_eq!(served(&hub, "daily", &prompt("x")).await.unwrap(), "model");
    assert_eq!(hub.handle.metrics().await.requests_refused.get("too_large"), None);
    hub.proves_well().await;
}

fn foreign(name: &str, tools: bool) -> Model {
    let command = ManagedCommand {
        argv: [env!("CARGO_BIN_EXE_fixture-engine"), "--port", "{port}"].map(str::to_owned).into(),
        environment: BTreeMap::new(),
        model: None,
        memory_bytes: WEIGHTS_BYTES,
        ready: Ready::Path("/health".to_owned()),
        ready_wait_max: Duration::from_secs(30),
        stop_signal: StopSignal::Terminate,
        stop_grace: Duration::from_secs(30),
        manner: Manner { tools, ..Manner::default() },
    };
    let engine = Engine::Command(Arc::new(command));
    Model { name: name.to_owned(), engine, residence: Residence::default(), kept: None }
}

fn chat(tools: bool) -> Generate {
    let tool = json!({ "type": "function", "function": { "name": "look" } });
    Generate::new(Prompt::Chat(Chat {
        messages: vec![Message::text(Speaker::User, "hi")],
        tools: if tools { vec![tool] } else { Vec::new() },
        ..Chat::default()
    }))
}

#[tokio::test]
async fn the_built_in_role_asks_whoever_takes_tools_and_conversations() {
    let foreign = vec![foreign("b", false), foreign("c", true)];
    let hub = Hub::new(&["a"], Setup { foreign, ..Setup::default() });
    // A raw prompt is for anyone, a conversation not for a model without a template.
    assert_eq!(served(&hub, "auto", &prompt("x")).await.unwrap(), "a");
    assert_eq!(served(&hub, "auto", &chat(false)).await.unwrap(), "b");
    assert_eq!(served(&hub, "auto", &chat(true)).await.unwrap(), "c");
    hub.handle.stop("b").await.unwrap();
    hub.handle.stop("c").await.unwrap();
    hub.until("b", |resident| resident.is_none()).await;
    hub.until("c", |resident| resident.is_none()).await;
    hub.proves_well().await;
}

#[tokio::test]
async fn a_model_of_exactly_that_name_comes_before_the_built_in_role() {
    let hub = Hub::new(&["auto", "model"], Setup::default());
    let generates = [prompt("x")];
    let purpose = Purpose::Generate(&generates);
    let served = within(hub.handle.serve("auto", purpose, Wish::default(), None)).await.unwrap();
    assert_eq!(served.model, None);
    drop(served);
    assert!(hub.resident("auto").await.is_some());
    hub.proves_well().await;
}

#[tokio::test]
async fn the_operators_stop_is_no_reason_to_load_another() {
    let hub = hub(&["stalls-while-loading", "model"]);
    let handle = hub.handle.clone();
    let wait = tokio::spawn(async move {
        let generates = [prompt("x")];
        let purpose = Purpose::Generate(&generates);
        handle.serve("daily", purpose, Wish::default(), None).await.map(drop)
    });
    hub.until("stalls-while-loading", |resident| resident.is_some()).await;
    hub.handle.stop("stalls-while-loading").await.unwrap();
    let refused = within(wait).await.unwrap();
    assert!(matches!(refused, Err(AcquireError::Stopped { .. })), "{refused:?}");
    hub.until("stalls-while-loading", |resident| resident.is_none()).await;
    hub.proves_well().await;
}

/// Whoever says `auto` did not say that others may read the request.
#[tokio::test]
async fn auto_stays_on_this_machine() {
    let server = Server { base_url: "http://127.0.0.1:9".to_owned(), key: None };
    let manner = Manner { chat: true, completions: true, ..Manner::default() };
    let upstream = Upstream { servers: vec![server], manner, health: Ready::Path("/".to_owned()) };
    let elsewhere = Model {
        name: "elsewhere".to_owned(),
        engine: Engine::Upstream(Arc::new(upstream)),
        residence: Residence::default(),
        kept: None,
    };
    let foreign = vec![elsewhere];
    let hub = Hub::new(
        &["here"],
        Setup { foreign, roles: roles("daily", &["here"]), ..Setup::default() },
    );
    // Only the other one takes conversations.
    let refused = served(&hub, "auto", &chat(false)).await;
    assert!(matches!(refused, Err(AcquireError::NobodyServes { .. })), "{refused:?}");
    assert_eq!(served(&hub, "auto", &prompt("x")).await.unwrap(), "here");
    hub.proves_well().await;
}
