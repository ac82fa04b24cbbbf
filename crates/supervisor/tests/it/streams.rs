//! Streams: credit, cancelling, and who keeps a lease.

use std::time::{Duration, Instant};

use worker_protocol::{Embed, EmbedInput, Event, FailureKind};

use crate::hub::{DEADLINE, Hub, Setup, is_ready, prompt, texts, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_answer_comes_whole_and_in_order() {
    let hub = Hub::new(&["model"], Setup::default());
    let lease = hub.acquire("model").await.unwrap();
    let answers: Vec<_> =
        (0..8).map(|_| tokio::spawn(texts(lease.generate(prompt("say 5000"))))).collect();
    for answer in answers {
        assert_eq!(within(answer).await.unwrap(), Ok(5000));
    }
    drop(lease);
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_does_not_read_holds_up_nobody() {
    let hub = Hub::new(&["model"], Setup::default());
    let lease = hub.acquire("model").await.unwrap();
    let unread = lease.generate(prompt("endless"));
    assert_eq!(texts(lease.generate(prompt("say 1000"))).await, Ok(1000));
    drop((unread, lease));
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_future_dropped_while_it_waits_loses_no_event() {
    let hub = Hub::new(&["model"], Setup::default());
    let lease = hub.acquire("model").await.unwrap();
    let mut answer = lease.generate(prompt("say 500"));
    let mut seen = 0;
    let deadline = Instant::now() + DEADLINE;
    loop {
        assert!(Instant::now() < deadline);
        // Polled once and dropped: whatever is not ready now must come later.
        match tokio::time::timeout(Duration::ZERO, answer.next()).await {
            Ok(Some(Event::Text(piece))) => {
                assert_eq!(piece.text, format!("{seen} "));
                seen += 1;
            }
            Ok(Some(Event::Finished(_))) => break,
            Ok(other) => panic!("unexpected {other:?}"),
            Err(_) => tokio::task::yield_now().await,
        }
    }
    assert_eq!(seen, 500);
    drop((answer, lease));
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_answer_is_cancelled_at_the_worker() {
    let hub = Hub::new(&["model"], Setup::default());
    let lease = hub.acquire("model").await.unwrap();
    let mut answer = lease.generate(prompt("endless"));
    assert!(within(answer.next()).await.is_some());
    drop((answer, lease));
    // The fixture sends counters when a cancel reaches it, and no others before.
    hub.until("model", |resident| resident.is_some_and(|resident| resident.stats.is_some())).await;
    hub.until("model", |resident| resident.is_some_and(|resident| resident.leased == 0)).await;
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_keeps_its_lease() {
    let hub = Hub::new(&["model"], Setup::default());
    let lease = hub.acquire("model").await.unwrap();
    let answer = lease.generate(prompt("endless"));
    drop(lease);
    let leased = |leases| {
        move |resident: Option<&supervisor::Resident>| {
            resident.is_some_and(|resident| resident.leased == leases)
        }
    };
    assert!(leased(1)(hub.resident("model").await.as_ref()));
    drop(answer);
    hub.until("model", leased(0)).await;
    hub.until("model", is_ready).await;
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embeddings_come_one_by_one() {
    let hub = Hub::new(&["model"], Setup::default());
    let lease = hub.acquire("model").await.unwrap();
    assert_eq!(lease.loaded().unwrap().architecture, "llama");
    let inputs = vec![EmbedInput::Text("one".to_owned()), EmbedInput::Tokens(vec![2])];
    let mut answer = lease.embed(Embed { inputs, truncate: false });
    for expected in 0..2 {
        let event = within(answer.next()).await;
        assert!(matches!(event, Some(Event::Embedded { index, .. }) if index == expected));
    }
    assert!(matches!(within(answer.next()).await, Some(Event::Finished(_))));
    assert_eq!(within(answer.next()).await, None);
    drop((answer, lease));
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_counted_by_a_worker_that_knows_the_word() {
    for (program, counts) in [("fixture-worker", true), ("knows-no-count", false)] {
        let hub = Hub::new(&["model"], Setup { program, ..Setup::default() });
        let lease = hub.acquire("model").await.unwrap();
        let mut answer = lease.count(prompt("say 1").prompt);
        match within(answer.next()).await {
            Some(Event::Finished(finished)) if counts => {
                assert_eq!(finished.usage.prompt_tokens, 5)
            }
            Some(Event::Failed(failure)) if !counts => {
                assert_eq!(failure.kind, FailureKind::Invalid);
                assert!(failure.message.contains("cannot count tokens"), "{failure}");
                assert_eq!(answer.loss().await, None, "nobody else would count either");
            }
            other => panic!("unexpected {other:?} of {program}"),
        }
        assert_eq!(within(answer.next()).await, None);
        drop(answer);
        // It lives, and answers as before.
        assert_eq!(texts(lease.generate(prompt("say 2"))).await, Ok(2));
        drop(lease);
        hub.goes_down().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_open_answers_are_refused_and_the_rest_goes_on() {
    let hub = Hub::new(&["model"], Setup::default());
    let lease = hub.acquire("model").await.unwrap();
    let mut open = Vec::new();
    let failure = loop {
        assert!(open.len() <= supervisor::limits::COMMANDS_WAITING_MAX);
        let mut answer = lease.generate(prompt("endless"));
        match within(answer.next()).await {
            Some(Event::Text(_)) => open.push(answer),
            Some(Event::Failed(failure)) => break failure,
            other => panic!("unexpected {other:?}"),
        }
    };
    assert_eq!(failure.kind, FailureKind::Overloaded);
    let mut first = open.swap_remove(0);
    assert!(matches!(within(first.next()).await, Some(Event::Text(_))));
    drop(open);
    assert_eq!(texts(lease.generate(prompt("say 100"))).await, Ok(100));
    drop((first, lease));
    hub.proves_well().await;
}
