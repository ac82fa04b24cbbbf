//! Memory that is booked for what the hub does not run itself.

use supervisor::{AcquireError, Pressure, Priority, ResidentState};

use crate::hub::{Hub, Setup, WEIGHTS_BYTES, is_gone, is_ready, prompt, texts, within};

/// A budget for one model of the usual size, and not for two.
const ROOM_FOR_ONE: u64 = WEIGHTS_BYTES * 18 / 10;

fn tight() -> Setup {
    Setup { budget_bytes: ROOM_FOR_ONE, ..Setup::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reservation_is_booked_until_it_is_dropped() {
    let hub = Hub::new(&[], Setup::default());
    let reservation =
        within(hub.handle.reserve("speech", 1_000_000, Priority::Interactive)).await.unwrap();
    let resident = hub.resident("speech").await.unwrap();
    assert_eq!((resident.engine, resident.booked_bytes), ("tool", 1_000_000));
    assert_eq!((resident.state, resident.pid), (ResidentState::Ready, None));
    // The ledger counts the larger of promise and measurement.
    reservation.measured(5_000_000).await;
    hub.until("speech", |resident| resident.is_some_and(|one| one.booked_bytes == 5_000_000)).await;
    drop(reservation);
    hub.until("speech", |resident| resident.is_none()).await;
    let metrics = hub.handle.metrics().await;
    assert_eq!((metrics.booked_bytes, metrics.workers_started, metrics.workers_crashed), (0, 0, 0));
    assert!(metrics.pressure <= Pressure::Full);
    hub.goes_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_model_makes_room_for_a_tool_and_one_in_use_is_waited_for() {
    let hub = Hub::new(&["model"], tight());
    drop(hub.acquire("model").await.unwrap());
    let pid = hub.pid("model").await;
    let reservation =
        within(hub.handle.reserve("pictures", WEIGHTS_BYTES, Priority::Interactive)).await.unwrap();
    assert!(is_gone(pid), "memory is free only when the exit was seen");
    let handle = hub.handle.clone();
    let wait = tokio::spawn(async move { handle.acquire("model").await });
    while hub.handle.metrics().await.waiting == 0 {
        tokio::task::yield_now().await;
    }
    assert!(is_ready(hub.resident("pictures").await.as_ref()));
    drop(reservation);
    let lease = within(wait).await.unwrap().unwrap();
    assert_eq!(texts(lease.generate(prompt("say 2"))).await, Ok(2));
    drop(lease);
    hub.goes_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_reservations_of_one_name_are_booked_beside_each_other() {
    let hub = Hub::new(&[], tight());
    let first = within(hub.handle.reserve("speech", ROOM_FOR_ONE / 2, Priority::Interactive))
        .await
        .unwrap();
    let second = within(hub.handle.reserve("speech", ROOM_FOR_ONE / 2, Priority::Interactive))
        .await
        .unwrap();
    assert_eq!(hub.handle.metrics().await.booked_bytes, ROOM_FOR_ONE / 2 * 2);
    drop(first);
    // Only half of it is free, so this waits for the other half.
    let handle = hub.handle.clone();
    let wait = tokio::spawn(async move {
        handle.reserve("speech", ROOM_FOR_ONE, Priority::Interactive).await.map(drop)
    });
    while hub.handle.metrics().await.waiting == 0 {
        tokio::task::yield_now().await;
    }
    drop(second);
    within(wait).await.unwrap().unwrap();
    hub.goes_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_never_fit_is_refused_at_once() {
    let hub = Hub::new(&[], tight());
    let refused = within(hub.handle.reserve("video", ROOM_FOR_ONE + 1, Priority::Interactive))
        .await
        .unwrap_err();
    assert!(matches!(&refused, AcquireError::TooLarge { name, .. } if name == "video"));
    hub.goes_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_reservation_gives_its_memory_back() {
    let hub = Hub::new(&["model"], tight());
    let lease = hub.acquire("model").await.unwrap();
    let handle = hub.handle.clone();
    let wait = tokio::spawn(async move {
        handle.reserve("speech", WEIGHTS_BYTES, Priority::Interactive).await.map(drop)
    });
    while hub.handle.metrics().await.waiting == 0 {
        tokio::task::yield_now().await;
    }
    wait.abort();
    drop(lease);
    while hub.handle.metrics().await.waiting > 0 {
        tokio::task::yield_now().await;
    }
    hub.until("speech", |resident| resident.is_none()).await;
    hub.goes_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_reservation_counts_until_its_holder_let_go() {
    let hub = Hub::new(&[], tight());
    let mut reservation =
        within(hub.handle.reserve("training", WEIGHTS_BYTES, Priority::Interactive)).await.unwrap();
    hub.handle.stop("training").await.unwrap();
    assert!(within(reservation.revoked()).await.contains("operator"));
    let resident = hub.resident("training").await.unwrap();
    let expected = (ResidentState::Stopping, WEIGHTS_BYTES);
    assert_eq!((resident.state, resident.booked_bytes), expected);
    drop(reservation);
    hub.until("training", |resident| resident.is_none()).await;
    let mut reservation =
        within(hub.handle.reserve("training", WEIGHTS_BYTES, Priority::Interactive)).await.unwrap();
    let down = tokio::spawn({
        let handle = hub.handle.clone();
        async move { handle.shutdown().await }
    });
    assert!(within(reservation.revoked()).await.contains("shutting down"));
    drop(reservation);
    within(down).await.unwrap();
}
