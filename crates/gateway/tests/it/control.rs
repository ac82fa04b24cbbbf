//! The control routes that load, pin and explain.

use gateway::control::{Explained, Requests, Residents};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use supervisor::Happening;
use supervisor::fleet::{Action, Event, Standing, Turn, Verdict};

use crate::client::{Answer, Ask};
use crate::site::{Site, TOKEN};

fn with_token(ask: Ask) -> Ask {
    ask.with("authorization", &format!("Bearer {TOKEN}"))
}

async fn post(site: &Site, path: &str, body: Value) -> Answer {
    with_token(Ask::post(path, &body)).send(site.address).await
}

async fn get<T: DeserializeOwned>(site: &Site, path: &str) -> T {
    let answer = with_token(Ask::get(path)).send(site.address).await;
    serde_json::from_value(answer.ok()).unwrap()
}

#[tokio::test]
async fn warm_answers_when_the_model_is_loaded() {
    let site = Site::new().await;
    let warm = |more: Value| json!({ "model": "m", "keep_alive": more });
    post(&site, "/resident/v1/warm", warm(json!("1h"))).await.ok();
    let ps: Residents = get(&site, "/resident/v1/ps").await;
    let [m] = &*ps.residents else { panic!("{ps:?}") };
    assert_eq!((&*m.state, m.leased, m.pinned, &*m.engine), ("ready", 0, false, "worker"));
    assert!(m.idle_s.is_some());
    assert!((3_500..=3_600).contains(&m.unload_in_s.unwrap()), "{m:?}");
    post(&site, "/resident/v1/warm", warm(json!(90))).await.ok();
    let ps: Residents = get(&site, "/resident/v1/ps").await;
    assert!(ps.residents[0].unload_in_s.unwrap() <= 90, "the newest word counts");
    post(&site, "/resident/v1/warm", warm(json!("never"))).await.ok();
    let ps: Residents = get(&site, "/resident/v1/ps").await;
    assert_eq!(ps.residents[0].unload_in_s, None);

    for wrong in [json!("soon"), json!("-1m"), json!(-1), json!("99999999h"), json!(u64::MAX)] {
        let error = post(&site, "/resident/v1/warm", warm(wrong)).await.error(400);
        assert!(error["message"].as_str().unwrap().contains("10m"), "{error}");
    }
    let error = post(&site, "/resident/v1/warm", json!({ "model": "mm" })).await.error(404);
    assert!(error["message"].as_str().unwrap().contains("did you mean 'm'"), "{error}");
    site.ends().await;
}

#[tokio::test]
async fn a_pin_is_seen_and_taken_back() {
    let site = Site::new().await;
    post(&site, "/resident/v1/warm", json!({ "model": "m" })).await.ok();
    for (word, is_pinned) in [(json!(true), true), (json!(false), false), (json!(null), false)] {
        post(&site, "/resident/v1/pin", json!({ "model": "m", "pinned": word })).await.ok();
        let ps: Residents = get(&site, "/resident/v1/ps").await;
        assert_eq!(ps.residents[0].pinned, is_pinned, "{word}");
    }
    post(&site, "/resident/v1/pin", json!({ "model": "m" })).await.error(400);
    post(&site, "/resident/v1/pin", json!({ "model": "x", "pinned": true })).await.error(404);
    site.ends().await;
}

#[tokio::test]
async fn what_would_happen_is_told_and_nothing_happens() {
    let site = Site::new().await;
    let cold: Explained = get(&site, "/resident/v1/explain?model=m").await;
    assert_eq!((&*cold.model, &cold.explanation.verdict), ("m", &Verdict::Started));
    assert_eq!((cold.explanation.booked_bytes, cold.explanation.departure), (0, None));
    post(&site, "/resident/v1/warm", json!({ "model": "m" })).await.ok();
    site.until_leased(0).await;
    let warm: Explained = get(&site, "/resident/v1/explain?model=m").await;
    assert!(matches!(warm.explanation.verdict, Verdict::Served(_)));
    assert_eq!(warm.explanation.holders[0].standing, Standing::Itself);
    let other: Explained = get(&site, "/resident/v1/explain?model=m%20%E4%BA%8C").await;
    assert_eq!(other.model, "m 二");

    let what_if = json!({ "name": "huge", "bytes": (1_u64 << 40) - 1 });
    let huge = post(&site, "/resident/v1/what-if", what_if).await.ok();
    let huge: Explained = serde_json::from_value(huge).unwrap();
    // It was wanted a moment ago, so it is held for whoever uses it, unless the moment has passed.
    let leaves =
        matches!(huge.explanation.verdict, Verdict::Held { .. } | Verdict::StartedAfterStopping(_));
    assert!(leaves, "{huge:?}");
    assert_eq!(huge.explanation.holders[0].standing, Standing::Chosen);
    assert_eq!(site.hub.residents().await.len(), 1);

    let nameless = with_token(Ask::get("/resident/v1/explain")).send(site.address).await;
    assert_eq!(nameless.error(400)["param"], "model");
    let unknown = with_token(Ask::get("/resident/v1/explain?model=x")).send(site.address).await;
    unknown.error(404);
    site.ends().await;
}

#[tokio::test]
async fn requests_are_listed_with_what_they_use() {
    let site = Site::new().await;
    let none: Requests = get(&site, "/resident/v1/requests").await;
    assert_eq!(none, Requests::default());
    let lease = site.hub.acquire("m").await.unwrap();
    let one: Requests = get(&site, "/resident/v1/requests").await;
    let [row] = &*one.requests else { panic!("{one:?}") };
    let Turn::Using(worker) = row.turn else { panic!("{row:?}") };
    assert_eq!((&*row.model, &*one.workers[&worker]), ("m", "m"));
    drop(lease);
    site.ends().await;
}

#[tokio::test]
async fn events_come_as_they_happen_and_end_with_the_hub() {
    let site = Site::new().await;
    let mut events = with_token(Ask::get("/resident/v1/events")).open(site.address).await;
    assert_eq!(events.response.headers()["content-type"], "text/event-stream");
    assert_eq!(events.piece().await.unwrap(), ": ping\n", "the head does not wait for an event");
    post(&site, "/resident/v1/warm", json!({ "model": "m" })).await.ok();
    let wanted = loop {
        let piece = events.piece().await.unwrap();
        let Some(payload) = piece.strip_prefix("data: ") else { continue };
        match serde_json::from_str(payload.trim_end()).unwrap() {
            Happening::Told { event, actions, .. } => break (event, actions),
            other @ (Happening::Began { .. }
            | Happening::Continues { .. }
            | Happening::Lost { .. }
            | Happening::Ended { .. }) => panic!("{other:?}"),
        }
    };
    let (Event::Wanted { model, .. }, [Action::Start { .. }]) = (&wanted.0, &*wanted.1) else {
        panic!("{wanted:?}");
    };
    assert_eq!(&*model.name, "m");
    site.hub.shutdown().await;
    while events.piece().await.is_some() {}
    site.ends().await;
}
