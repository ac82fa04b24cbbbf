//! Another configuration while requests run: nobody is cut off, and what is new holds at once.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use planner::roles::{Candidate, Role, check};
use supervisor::{
    AcquireError, CacheType, KeepMode, KeepSettings, Patience, Purpose, Roles, Settings, Wish,
};
use worker_protocol::Event;

use crate::{
    gguf,
    hub::{Hub, Setup, WEIGHTS_BYTES, is_gone, is_ready, prompt, texts, within},
};

fn roles(role: &str, model: &str) -> Roles {
    let role_of = Role { candidates: vec![Candidate::new(model)], prefer_resident: None };
    check(BTreeMap::from([(role.to_owned(), role_of)]), &[model]).unwrap()
}

async fn served(hub: &Hub, role: &str) -> Result<Option<String>, AcquireError> {
    let generates = [prompt("x")];
    let purpose = Purpose::Generate(&generates);
    Ok(within(hub.handle.serve(role, purpose, Wish::default(), None)).await?.model)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_shrinks_and_a_stream_goes_on_to_its_end() {
    let hub = Hub::new(&["one", "two"], Setup::default());
    let lease = hub.acquire("one").await.unwrap();
    // More than it may send before somebody reads.
    let mut answer = lease.generate(prompt("say 5000"));
    drop(hub.acquire("two").await.unwrap());
    let Some(Event::Text(_)) = within(answer.next()).await else { panic!("it streams") };
    let (one, two) = (hub.pid("one").await, hub.pid("two").await);
    let budget_bytes = WEIGHTS_BYTES / 2;
    hub.change(Settings { budget_bytes, ..hub.settings.clone() }, Vec::new()).await;
    hub.until_left(two).await;
    assert!(is_gone(two), "it was idle, and the budget holds neither");
    assert_eq!(hub.handle.metrics().await.budget_bytes, budget_bytes);
    let refused = hub.acquire("two").await;
    assert!(matches!(refused, Err(AcquireError::TooLarge { .. })), "{refused:?}");
    assert!(is_ready(hub.resident("one").await.as_ref()));
    let mut events = Vec::new();
    while let Some(event) = within(answer.next()).await {
        events.push(event);
    }
    assert_eq!(events.len(), 5000, "all but the first, and the end");
    assert!(matches!(events.last(), Some(Event::Finished(_))), "{:?}", events.last());
    drop((answer, lease));
    hub.until_left(one).await;
    hub.change(hub.settings.clone(), Vec::new()).await;
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_of_other_settings_leaves_with_its_last_user_and_the_next_gets_a_new_one() {
    let hub = Hub::new(&["one"], Setup::default());
    let lease = hub.acquire("one").await.unwrap();
    let pid = hub.pid("one").await;
    let longer = Settings { context_tokens: Some(99), ..hub.settings.clone() };
    hub.change(longer, Vec::new()).await;
    assert_eq!(texts(lease.generate(prompt("say 2"))).await, Ok(2));
    let next = hub.acquire("one").await.unwrap();
    assert_eq!(next.context_tokens(), Some(99));
    drop(lease);
    hub.until_left(pid).await;
    drop(next);
    // Nothing is another now, so nothing leaves.
    let pid = hub.pid("one").await;
    let same = Settings { context_tokens: Some(99), ..hub.settings.clone() };
    hub.change(same, Vec::new()).await;
    drop(hub.acquire("one").await.unwrap());
    assert_eq!(hub.pid("one").await, pid);
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_is_told_what_to_keep_and_another_word_starts_another() {
    const NAME: &str = "tells-what-it-keeps";
    let hub = Hub::new(&[NAME], Setup::default());
    let told = || fs::read_to_string(hub.folder.path().join(NAME).with_extension("keep"));
    drop(hub.acquire(NAME).await.unwrap());
    assert_eq!(told().unwrap(), "", "without settings nothing is kept");
    let keep = KeepSettings {
        mode: KeepMode::Ssd,
        folder: hub.folder.path().join("kv"),
        ram_bytes: 1000,
        ssd_bytes: 1 << 20,
        free_floor_bytes: 0,
        day_write_bytes: 1 << 20,
        compress: false,
        encryption_key: None,
    };
    for (mode, expected) in [
        (KeepMode::Ssd, "tells-what-it-keeps true 1000"),
        (KeepMode::Ram, "tells-what-it-keeps false 1000"),
        (KeepMode::Off, ""),
    ] {
        let keep = Some(KeepSettings { mode, ..keep.clone() });
        hub.change(Settings { keep, ..hub.settings.clone() }, Vec::new()).await;
        drop(hub.acquire(NAME).await.unwrap());
        assert_eq!(told().unwrap(), expected);
    }
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_is_told_how_to_keep_keys_and_values_and_another_type_starts_another() {
    const NAME: &str = "tells-its-type";
    let hub = Hub::new(&[NAME], Setup::default());
    let told = || fs::read_to_string(hub.folder.path().join(NAME).with_extension("type"));
    drop(hub.acquire(NAME).await.unwrap());
    assert_eq!(told().unwrap(), "f16");
    let first = hub.pid(NAME).await;
    let change = |kv_type| Settings { kv_type, ..hub.settings.clone() };
    hub.change(change(CacheType::Bf16), Vec::new()).await;
    drop(hub.acquire(NAME).await.unwrap());
    assert_eq!(told().unwrap(), "bf16");
    assert_ne!(hub.pid(NAME).await, first);
    assert_eq!(hub.resident(NAME).await.unwrap().kv_type, Some(CacheType::Bf16));
    hub.change(change(CacheType::Q8_0), Vec::new()).await;
    let error = hub.acquire(NAME).await.unwrap_err().to_string();
    let why =
        "keys as q8_0 come in blocks of 32, but a head of layer 0 has 16 numbers; keep them as f16";
    assert!(error.contains(why), "{error}");
    hub.change(hub.settings.clone(), Vec::new()).await;
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_idle_and_no_longer_served_leaves_at_once_though_it_was_pinned() {
    let hub = Hub::new(&["one", "two"], Setup::default());
    hub.handle.pin("one", Some(true)).await.unwrap();
    drop(hub.acquire("one").await.unwrap());
    drop(hub.acquire("two").await.unwrap());
    let (one, two) = (hub.pid("one").await, hub.pid("two").await);
    fs::remove_file(hub.file("one.gguf")).unwrap();
    hub.change(hub.settings.clone(), Vec::new()).await;
    hub.until_left(one).await;
    assert_eq!(hub.pid("two").await, two);
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_are_others_from_one_request_to_the_next() {
    let patience = Patience { lookup: Duration::MAX, ..Patience::default() };
    let hub = Hub::new(&["one", "two"], Setup { patience, ..Setup::default() });
    for (role, model, before) in
        [("daily", "one", "fast"), ("daily", "two", "fast"), ("fast", "one", "daily")]
    {
        hub.change(Settings { roles: roles(role, model), ..hub.settings.clone() }, Vec::new())
            .await;
        assert_eq!(served(&hub, role).await.unwrap().as_deref(), Some(model));
        let unknown = served(&hub, before).await;
        assert!(matches!(unknown, Err(AcquireError::UnknownModel { .. })), "{unknown:?}");
        assert_eq!(hub.handle.candidates(role), [model]);
    }
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_warm_model_s_new_file_is_what_is_kept_warm() {
    let hub = Hub::new(&["one"], Setup::default());
    hub.handle.keep_warm(Some("one")).await.unwrap();
    hub.until("one", is_ready).await;
    let pid = hub.pid("one").await;
    // Chosen once more, it is what it was.
    hub.change(hub.settings.clone(), Vec::new()).await;
    hub.handle.keep_warm(Some("one")).await.unwrap();
    assert_eq!(hub.pid("one").await, pid);
    gguf::write(&hub.file("one.gguf"), WEIGHTS_BYTES * 2);
    hub.change(hub.settings.clone(), Vec::new()).await;
    hub.until_left(pid).await;
    hub.handle.keep_warm(Some("one")).await.unwrap();
    hub.until("one", is_ready).await;
    hub.proves_well().await;
}

/// A request may have been looked up just before a change and be told just after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_under_load_leave_nobody_without_an_answer_and_no_old_worker() {
    let hub = Hub::new(&["one"], Setup::default());
    let ask = |handle: supervisor::Handle| async move {
        let mut served = 0;
        while served < 100 {
            handle.acquire("one").await.map(drop).unwrap();
            served += 1;
        }
    };
    let asking: Vec<_> = (0..3).map(|_| tokio::spawn(ask(hub.handle.clone()))).collect();
    for context in 1..=19 {
        let settings = Settings { context_tokens: Some(context), ..hub.settings.clone() };
        hub.change(settings, Vec::new()).await;
    }
    for asking in asking {
        within(asking).await.unwrap();
    }
    let lease = hub.acquire("one").await.unwrap();
    assert_eq!(lease.context_tokens(), Some(19));
    for resident in hub.handle.residents().await {
        match resident.pid {
            Some(other) if resident.leased == 0 => hub.until_left(other).await,
            Some(_) | None => {}
        }
    }
    assert_eq!(hub.handle.residents().await.len(), 1);
    drop(lease);
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_worker_s_program_is_another_for_those_that_start() {
    let hub = Hub::new(&["one", "two"], Setup::default());
    let lease = hub.acquire("one").await.unwrap();
    let worker = PathBuf::from("/nowhere/resident-llama");
    hub.change(Settings { worker, ..hub.settings.clone() }, Vec::new()).await;
    let failed = hub.acquire("two").await.unwrap_err();
    assert!(failed.to_string().contains("/nowhere/resident-llama"), "{failed}");
    assert_eq!(texts(lease.generate(prompt("say 2"))).await, Ok(2));
    drop(lease);
    hub.change(hub.settings.clone(), Vec::new()).await;
    hub.proves_well().await;
}
