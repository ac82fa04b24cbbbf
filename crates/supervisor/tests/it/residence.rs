//! Who is resident: the fleet's decisions carried out with real processes.

use std::{fs, io::Write, time::Duration};

use supervisor::{AcquireError, Patience, Pressure, ResidentState, StopError};
use worker_protocol::Event;

use crate::{
    gguf,
    hub::{Hub, Setup, WEIGHTS_BYTES, assert_broken, is_gone, is_ready, prompt, texts, within},
};

/// A budget for one model of the usual size, and not for two.
const ROOM_FOR_ONE: u64 = WEIGHTS_BYTES * 18 / 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_model_makes_room_for_another() {
    let hub = Hub::new(&["one", "two"], Setup { budget_bytes: ROOM_FOR_ONE, ..Setup::default() });
    drop(hub.acquire("one").await.unwrap());
    let pid = hub.pid("one").await;
    drop(hub.acquire("two").await.unwrap());
    assert!(is_gone(pid), "memory is free only when the exit was seen");
    assert_eq!(hub.resident("one").await, None);
    hub.goes_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_left_for_a_load_that_failed_comes_back_unasked() {
    let setup = Setup { budget_bytes: ROOM_FOR_ONE, ..Setup::default() };
    let hub = Hub::new(&["one", "load-fails"], setup);
    drop(hub.acquire("one").await.unwrap());
    let failed = hub.acquire("load-fails").await;
    assert!(matches!(failed, Err(AcquireError::LoadFailed { .. })), "{failed:?}");
    hub.until("one", is_ready).await;
    let metrics = hub.handle.metrics().await;
    assert_eq!((metrics.workers_started, metrics.loads_failed), (3, 1));
    hub.goes_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_in_use_is_waited_for() {
    let hub = Hub::new(&["one", "two"], Setup { budget_bytes: ROOM_FOR_ONE, ..Setup::default() });
    let lease = hub.acquire("one").await.unwrap();
    let handle = hub.handle.clone();
    let wait = tokio::spawn(async move { handle.acquire("two").await.map(drop) });
    while hub.handle.metrics().await.waiting == 0 {
        tokio::task::yield_now().await;
    }
    assert!(is_ready(hub.resident("one").await.as_ref()));
    assert_eq!(texts(lease.generate(prompt("say 2"))).await, Ok(2));
    drop(lease);
    within(wait).await.unwrap().unwrap();
    hub.goes_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_wait_is_forgotten() {
    let hub = Hub::new(&["one", "two"], Setup { budget_bytes: ROOM_FOR_ONE, ..Setup::default() });
    let lease = hub.acquire("one").await.unwrap();
    let handle = hub.handle.clone();
    let wait = tokio::spawn(async move { handle.acquire("two").await.map(drop) });
    while hub.handle.metrics().await.waiting == 0 {
        tokio::task::yield_now().await;
    }
    wait.abort();
    while hub.handle.metrics().await.waiting > 0 {
        tokio::task::yield_now().await;
    }
    drop(lease);
    hub.until("one", |resident| resident.is_some_and(|resident| resident.leased == 0)).await;
    let metrics = hub.handle.metrics().await;
    assert_eq!((metrics.requests_abandoned, metrics.workers_started), (1, 1));
    hub.goes_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_over_the_budget_is_refused_in_bytes_before_anything_is_stopped() {
    let hub = Hub::new(&["one"], Setup { budget_bytes: ROOM_FOR_ONE, ..Setup::default() });
    gguf::write(&hub.file("huge.gguf"), ROOM_FOR_ONE * 100);
    drop(hub.acquire("one").await.unwrap());
    let refused = hub.acquire("huge").await.unwrap_err();
    assert!(matches!(refused, AcquireError::TooLarge { .. }), "{refused:?}");
    assert!(refused.to_string().contains("85.8 MiB"), "{refused}");
    assert!(is_ready(hub.resident("one").await.as_ref()));
    hub.goes_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_model_unloads_after_its_time() {
    let idle_unload = Duration::from_millis(200);
    let hub = Hub::new(&["one"], Setup { idle_unload, ..Setup::default() });
    let lease = hub.acquire("one").await.unwrap();
    let resident = hub.resident("one").await.unwrap();
    assert_eq!((resident.leased, resident.idle_for, resident.unload_in()), (1, None, None));
    drop(lease);
    hub.until("one", |resident| resident.is_none()).await;
    assert_eq!(hub.handle.metrics().await.workers_crashed, 0);
    hub.goes_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_s_stop_wins_over_leases() {
    let hub = Hub::new(&["one"], Setup::default());
    let lease = hub.acquire("one").await.unwrap();
    let mut answer = lease.generate(prompt("silence"));
    let pid = hub.pid("one").await;
    hub.handle.stop("one").await.unwrap();
    let Some(Event::Failed(failure)) = within(answer.next()).await else {
        panic!("the answer was expected to fail");
    };
    assert_broken(&failure, &["'one'", "the operator stopped it"]);
    assert_eq!(within(answer.next()).await, None);
    let again = hub.acquire("one").await.unwrap();
    assert_eq!(texts(again.generate(prompt("say 1"))).await, Ok(1));
    hub.until("one", |resident| resident.is_some_and(|resident| resident.pid != Some(pid))).await;
    drop((answer, lease, again));
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_what_does_not_run_is_an_error() {
    let hub = Hub::new(&["one"], Setup::default());
    let error = hub.handle.stop("one").await.unwrap_err();
    assert_eq!(error, StopError::NotRunning { name: "one".to_owned() });
    hub.goes_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_of_a_load_is_shown_and_a_stop_ends_it() {
    let hub = Hub::new(&["loads-until-told"], Setup::default());
    let handle = hub.handle.clone();
    let wait = tokio::spawn(async move { handle.acquire("loads-until-told").await.map(drop) });
    let quarter = ResidentState::Loading { fraction: 0.25 };
    hub.until("loads-until-told", |resident| {
        resident.is_some_and(|resident| resident.state == quarter && resident.waiting == 1)
    })
    .await;
    hub.handle.stop("loads-until-told").await.unwrap();
    let refused = within(wait).await.unwrap().unwrap_err();
    assert_eq!(refused, AcquireError::Stopped { name: "loads-until-told".to_owned() });
    hub.until("loads-until-told", |resident| resident.is_none()).await;
    fs::write(hub.file("loads-until-told.go"), "").unwrap();
    drop(hub.acquire("loads-until-told").await.unwrap());
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_ends_waits_answers_and_processes() {
    let hub = Hub::new(&["one", "two"], Setup { budget_bytes: ROOM_FOR_ONE, ..Setup::default() });
    let lease = hub.acquire("one").await.unwrap();
    let mut answer = lease.generate(prompt("silence"));
    let handle = hub.handle.clone();
    let wait = tokio::spawn(async move { handle.acquire("two").await.map(drop) });
    while hub.handle.metrics().await.waiting == 0 {
        tokio::task::yield_now().await;
    }
    hub.goes_down().await;
    assert_eq!(within(wait).await.unwrap(), Err(AcquireError::ShuttingDown));
    let Some(Event::Failed(failure)) = within(answer.next()).await else {
        panic!("the answer was expected to fail");
    };
    assert_broken(&failure, &["shutting down"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_file_is_another_model_of_the_same_name() {
    let hub = Hub::new(&["one"], Setup::default());
    drop(hub.acquire("one").await.unwrap());
    let pid = hub.pid("one").await;
    gguf::write(&hub.file("one.gguf"), WEIGHTS_BYTES * 2);
    drop(hub.acquire("one").await.unwrap());
    // Nobody will ask for what the file was before.
    hub.until_left(pid).await;
    assert!(is_gone(pid));
    assert!(is_ready(hub.resident("one").await.as_ref()));
    assert_eq!(hub.handle.metrics().await.workers_crashed, 0);
    hub.goes_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_found_a_moment_ago_still_holds() {
    let patience = Patience { lookup: Duration::MAX, ..Patience::default() };
    let hub = Hub::new(&["one"], Setup { patience, ..Setup::default() });
    drop(hub.acquire("one").await.unwrap());
    let pid = hub.pid("one").await;
    gguf::write(&hub.file("one.gguf"), WEIGHTS_BYTES * 2);
    drop(hub.acquire("one").await.unwrap());
    let pids: Vec<_> = hub.handle.residents().await.iter().map(|resident| resident.pid).collect();
    assert_eq!(pids, [Some(pid)]);
    // What was not found is looked for again.
    hub.acquire("two").await.unwrap_err();
    gguf::write(&hub.file("two.gguf"), WEIGHTS_BYTES);
    drop(hub.acquire("two").await.unwrap());
    hub.goes_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_files_are_refused_with_the_file_the_problem_and_the_way_out() {
    let hub = Hub::new(&["good"], Setup::default());
    fs::write(hub.file("text.gguf"), "this is no model").unwrap();
    fs::write(hub.file("empty.gguf"), "").unwrap();
    fs::create_dir(hub.file("folder.gguf")).unwrap();
    let whole = fs::read(hub.file("good.gguf")).unwrap();
    fs::write(hub.file("short.gguf"), &whole[..100]).unwrap();
    fs::write(hub.file("cut.gguf"), &whole[..whole.len() / 2]).unwrap();
    for (name, words) in [
        ("text", ["text.gguf", "not a GGUF file"]),
        ("empty", ["empty.gguf", "again"]),
        ("folder", ["folder.gguf", "not a file"]),
        ("short", ["short.gguf", "download"]),
        ("cut", ["cut.gguf", "truncated"]),
    ] {
        let refused = hub.acquire(name).await.unwrap_err();
        assert!(matches!(refused, AcquireError::Unusable { .. }), "{name}: {refused:?}");
        for word in words {
            assert!(refused.to_string().contains(word), "no '{word}' in: {refused}");
        }
        assert!(hub.handle.model(name).unwrap().facts.is_err());
    }
    let facts = hub.handle.model("good").unwrap().facts.unwrap();
    let header = facts.header.unwrap();
    assert_eq!((&*header.architecture, header.context_tokens_trained), ("llama", Some(2048)));
    assert!(facts.needed_bytes >= WEIGHTS_BYTES - 256);
    assert_eq!(hub.handle.models().len(), 6);
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repaired_file_is_served_even_if_it_looks_the_same() {
    let hub = Hub::new(&["one"], Setup::default());
    let path = hub.file("one.gguf");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    for (magic, usable) in [(b"XXXX", false), (b"GGUF", true)] {
        let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all(magic).unwrap();
        file.set_modified(modified).unwrap();
        assert_eq!(hub.handle.model("one").unwrap().facts.is_ok(), usable);
    }
    drop(hub.acquire("one").await.unwrap());
    hub.goes_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_name_is_answered_with_the_nearest() {
    let hub = Hub::new(&["qwen3-8b", "gemma"], Setup::default());
    let refused = hub.acquire("qwen3-8").await.unwrap_err();
    assert_eq!(refused.to_string(), "no model is named 'qwen3-8'; did you mean 'qwen3-8b'?");
    let refused = hub.acquire("zzz").await.unwrap_err();
    assert_eq!(refused.to_string(), "no model is named 'zzz'");
    hub.goes_down().await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_is_measured_and_the_larger_figure_is_booked() {
    let hub = Hub::new(&["one"], Setup::default());
    drop(hub.acquire("one").await.unwrap());
    let resident = hub.resident("one").await.unwrap();
    let measured_bytes = resident.measured_bytes.unwrap();
    assert!(measured_bytes > 0);
    let promised_bytes = hub.handle.model("one").unwrap().facts.unwrap().needed_bytes;
    assert_eq!(resident.booked_bytes, promised_bytes.max(measured_bytes));
    let metrics = hub.handle.metrics().await;
    assert_eq!(metrics.booked_bytes, resident.booked_bytes);
    assert_eq!((metrics.workers_started, metrics.requests_granted), (1, 1));
    hub.goes_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_outlive_the_worker_that_counted() {
    let hub = Hub::new(&["one"], Setup::default());
    for _ in 0..2 {
        let lease = hub.acquire("one").await.unwrap();
        assert_eq!(texts(lease.generate(prompt("say 6"))).await, Ok(6));
        drop(lease);
        hub.handle.stop("one").await.unwrap();
        hub.until("one", |resident| resident.is_none()).await;
    }
    let metrics = hub.handle.metrics().await;
    assert_eq!(metrics.models.len(), 1);
    assert_eq!((&*metrics.models[0].name, metrics.models[0].decode_tokens), ("one", 12));
    hub.goes_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_models_leave_a_machine_that_is_about_to_swap() {
    let hub = Hub::new(&["idle", "used"], Setup::default());
    drop(hub.acquire("idle").await.unwrap());
    let lease = hub.acquire("used").await.unwrap();
    let pid = hub.pid("idle").await;
    hub.pressure.send(Pressure::Some).unwrap();
    while hub.handle.metrics().await.pressure != Pressure::Some {
        tokio::task::yield_now().await;
    }
    assert!(is_ready(hub.resident("idle").await.as_ref()));
    hub.pressure.send(Pressure::Full).unwrap();
    hub.until("idle", |resident| resident.is_none()).await;
    assert!(is_gone(pid));
    assert_eq!(texts(lease.generate(prompt("say 2"))).await, Ok(2));
    drop(lease);
    hub.until("used", |resident| resident.is_none()).await;
    hub.pressure.send(Pressure::Calm).unwrap();
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_is_asked_to_trim_once_while_the_machine_is_short_if_it_knows_the_word() {
    for (program, trims) in [("fixture-worker", 1), ("knows-no-trim", 0)] {
        let hub = Hub::new(&["used"], Setup { program, ..Setup::default() });
        let lease = hub.acquire("used").await.unwrap();
        hub.pressure.send(Pressure::Some).unwrap();
        while hub.handle.metrics().await.pressure != Pressure::Some {
            tokio::task::yield_now().await;
        }
        // What the fleet decided was done before anybody was told of the pressure.
        assert_eq!(texts(lease.generate(prompt("trims"))).await, Ok(trims), "{program}");
        drop(lease);
        hub.goes_down().await;
    }
}
