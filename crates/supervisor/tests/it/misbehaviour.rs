//! Each misbehaviour of a worker: its requests get exactly one answer, the hub stays up, the next
//! request works, and no process is left.

use std::{fs, time::Duration};

use supervisor::{AcquireError, Patience};
use worker_protocol::{Event, FailureKind};

use crate::hub::{Hub, Setup, assert_broken, is_gone, prompt, texts, within};

const SHORT: Duration = Duration::from_millis(300);

/// Acquiring fails with a message that has these words.
async fn load_fails(hub: &Hub, model: &str, words: &[&str]) {
    match hub.acquire(model).await {
        Err(error @ AcquireError::LoadFailed { .. }) => {
            let message = error.to_string();
            for word in words {
                assert!(message.contains(word), "no '{word}' in: {message}");
            }
        }
        other => panic!("{model} was expected not to load: {other:?}"),
    }
    assert_eq!(hub.handle.residents().await, [], "nothing is left of {model}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_cannot_greet_is_named_with_the_reason() {
    for (program, words) in [
        ("exits-at-start", ["exit status: 3", "no engine for this machine"]),
        ("silent-at-start", ["did not speak", "killed"]),
        ("chatters-at-start", ["a frame of", "killed"]),
        ("wrong-version", ["install both from the same release", "wrong-version"]),
    ] {
        let patience = Patience { hello: SHORT, ..Patience::default() };
        let hub = Hub::new(&["any"], Setup { program, patience, ..Setup::default() });
        load_fails(&hub, "any", &words).await;
        hub.goes_down().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_not_there_is_named() {
    let hub = Hub::new(&["any"], Setup::default());
    fs::remove_file(hub.file("fixture-worker")).unwrap();
    load_fails(&hub, "any", &["fixture-worker", "install it beside"]).await;
    hub.goes_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_that_ends_badly_is_told_and_the_hub_goes_on() {
    for (model, words) in [
        ("aborts-while-loading", ["SIGABRT", "tensor 7 is odd"]),
        ("load-fails", ["load-fails", "the vocabulary is empty"]),
        ("stalls-while-loading", ["no progress for 0.3 s", "killed"]),
        ("speaks-out-of-turn", ["Hello out of turn", "killed"]),
    ] {
        let patience = Patience { load_progress: SHORT, ..Patience::default() };
        let hub = Hub::new(&[model], Setup { patience, ..Setup::default() });
        load_fails(&hub, model, &words).await;
        hub.proves_well().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_who_wait_for_a_load_hear_that_it_failed_once() {
    let hub = Hub::new(&["load-fails"], Setup::default());
    let waits = (0..20).map(|_| {
        let handle = hub.handle.clone();
        tokio::spawn(async move { handle.acquire("load-fails").await.map(drop) })
    });
    for wait in waits.collect::<Vec<_>>() {
        let refused = within(wait).await.unwrap();
        assert!(matches!(refused, Err(AcquireError::LoadFailed { .. })), "{refused:?}");
    }
    let metrics = hub.handle.metrics().await;
    assert_eq!(metrics.requests_refused.values().sum::<u64>(), 20);
    assert_eq!(metrics.waiting, 0);
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_third_failure_in_a_row_trips_the_breaker_and_a_changed_file_resets_it() {
    let hub = Hub::new(&["load-fails"], Setup::default());
    for _ in 0..planner::fleet::limits::LOAD_FAILURES_MAX {
        load_fails(&hub, "load-fails", &["the vocabulary is empty"]).await;
    }
    let started = hub.handle.metrics().await.workers_started;
    load_fails(&hub, "load-fails", &["the vocabulary is empty", "is not tried again for"]).await;
    assert_eq!(hub.handle.metrics().await.workers_started, started, "no process was started");
    crate::gguf::write(&hub.file("load-fails.gguf"), 1_000_000);
    load_fails(&hub, "load-fails", &["the vocabulary is empty"]).await;
    assert_eq!(hub.handle.metrics().await.workers_started, started + 1);
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_that_failed_once_is_tried_again() {
    let hub = Hub::new(&["fails-once"], Setup::default());
    fs::write(hub.file("fails-once.fail"), "").unwrap();
    load_fails(&hub, "fails-once", &["exit status: 4"]).await;
    let lease = hub.acquire("fails-once").await.unwrap();
    assert_eq!(texts(lease.generate(prompt("say 2"))).await, Ok(2));
    drop(lease);
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_mid_request_fails_every_open_answer_once_and_the_next_request_works() {
    for (misdeed, words) in [
        ("abort-before-answer", ["'model'", "SIGABRT"]),
        ("abort-mid-answer", ["SIGABRT", "the graph fell over"]),
        ("exit-mid-answer", ["exit status: 5", "send the request again"]),
        ("garbage", ["malformed frame", "killed"]),
        ("huge-frame", ["over the limit", "killed"]),
        ("over-credit 1000", ["more events than it had credit for", "killed"]),
    ] {
        let hub = Hub::new(&["model"], Setup::default());
        let lease = hub.acquire("model").await.unwrap();
        let pid = hub.pid("model").await;
        let bystander = tokio::spawn(texts(lease.generate(prompt("silence"))));
        let failure = texts(lease.generate(prompt(misdeed))).await.unwrap_err();
        assert_broken(&failure, &words);
        assert_broken(&within(bystander).await.unwrap().unwrap_err(), &words);
        let late = texts(lease.generate(prompt("say 1"))).await.unwrap_err();
        assert_broken(&late, &words);
        drop(lease);

        let lease = hub.acquire("model").await.unwrap();
        assert_ne!(hub.pid("model").await, pid, "a new worker answers after: {misdeed}");
        assert!(is_gone(pid), "the old worker is left after: {misdeed}");
        assert_eq!(texts(lease.generate(prompt("say 3"))).await, Ok(3));
        drop(lease);
        assert_eq!(hub.handle.metrics().await.workers_crashed, 1);
        hub.proves_well().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_right_after_the_answer_does_not_take_the_answer_back() {
    let hub = Hub::new(&["model"], Setup::default());
    let lease = hub.acquire("model").await.unwrap();
    assert_eq!(texts(lease.generate(prompt("abort-after-answer 10"))).await, Ok(10));
    drop(lease);
    hub.proves_well().await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_from_outside_is_named() {
    let hub = Hub::new(&["model"], Setup::default());
    let lease = hub.acquire("model").await.unwrap();
    let mut answer = lease.generate(prompt("endless"));
    assert!(within(answer.next()).await.is_some());
    let pid = hub.pid("model").await.to_string();
    let killed = std::process::Command::new("kill").args(["-KILL", &pid]).status().unwrap();
    assert!(killed.success());
    let failure = loop {
        let event = within(answer.next()).await.unwrap();
        if let Event::Failed(failure) = event {
            break failure;
        }
        assert!(matches!(event, Event::Text(_)), "unexpected {event:?}");
    };
    assert_broken(&failure, &["SIGKILL"]);
    drop((answer, lease));
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_does_not_read_its_commands_is_killed() {
    let patience = Patience { write: SHORT, ..Patience::default() };
    let hub = Hub::new(&["model"], Setup { patience, ..Setup::default() });
    let lease = hub.acquire("model").await.unwrap();
    // It reads once more after this, so the commands that follow are many and large.
    assert_eq!(texts(lease.generate(prompt("stop-reading"))).await, Ok(3));
    let large = format!("say {}", " ".repeat(1 << 20));
    let answers: Vec<_> = (0..4).map(|_| lease.generate(prompt(&large))).collect();
    for answer in answers {
        assert_broken(&texts(answer).await.unwrap_err(), &["did not read a command"]);
    }
    drop(lease);
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_ignores_the_end_of_its_input_is_killed() {
    let patience = Patience { stop_grace: SHORT, ..Patience::default() };
    let hub = Hub::new(&["ignores-eof"], Setup { patience, ..Setup::default() });
    drop(hub.acquire("ignores-eof").await.unwrap());
    let pid = hub.pid("ignores-eof").await;
    hub.handle.stop("ignores-eof").await.unwrap();
    hub.until("ignores-eof", |resident| resident.is_none()).await;
    assert!(is_gone(pid));
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_an_unknown_request_are_dropped() {
    let hub = Hub::new(&["model"], Setup::default());
    let lease = hub.acquire("model").await.unwrap();
    assert_eq!(texts(lease.generate(prompt("stranger 4"))).await, Ok(4));
    drop(lease);
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_on_standard_error_stays_within_its_log() {
    let hub = Hub::new(&["model"], Setup::default());
    let lease = hub.acquire("model").await.unwrap();
    assert_eq!(texts(lease.generate(prompt("flood"))).await, Ok(3));
    drop(lease);
    let log = hub.file("logs/model.log");
    let bytes = |path: &std::path::Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    within(async {
        while bytes(&log) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    for path in [&log, &log.with_extension("log.old")] {
        assert!(bytes(path) <= supervisor::limits::LOG_BYTES_MAX, "{} is too long", path.display());
    }
    hub.proves_well().await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_costs_the_log_and_nothing_else() {
    let hub = Hub::new(&["model"], Setup::default());
    fs::create_dir(hub.file("logs")).unwrap();
    std::os::unix::fs::symlink("/dev/full", hub.file("logs/model.log")).unwrap();
    let lease = hub.acquire("model").await.unwrap();
    assert_eq!(texts(lease.generate(prompt("flood"))).await, Ok(3));
    // The last words are kept in memory, so the message is whole.
    let failure = texts(lease.generate(prompt("abort-mid-answer"))).await.unwrap_err();
    assert_broken(&failure, &["the graph fell over"]);
    drop(lease);
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_gets_no_secrets() {
    let hub = Hub::new(&["model"], Setup::default());
    let lease = hub.acquire("model").await.unwrap();
    let mut answer = lease.generate(prompt("environment"));
    let Some(Event::Text(names)) = within(answer.next()).await else {
        panic!("the names were expected");
    };
    // Cargo sets dozens of CARGO_ variables for every test, none of which a worker needs.
    assert!(names.text.contains("PATH"), "{}", names.text);
    assert!(!names.text.contains("CARGO"), "{}", names.text);
    drop((answer, lease));
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_too_large_for_a_frame_fails_alone() {
    let hub = Hub::new(&["model"], Setup::default());
    let lease = hub.acquire("model").await.unwrap();
    let huge = prompt(&"x".repeat(worker_protocol::limits::FRAME_BYTES_MAX + 1));
    let failure = texts(lease.generate(huge)).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Invalid);
    assert_eq!(texts(lease.generate(prompt("say 1"))).await, Ok(1));
    drop(lease);
    hub.proves_well().await;
}
