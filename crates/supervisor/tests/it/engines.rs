//! Foreign engines as real processes, each misbehaving in its own way: its requests get exactly one
//! answer, the ledger is right, the hub stays up, and nothing of the engine is left.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    str::FromStr,
    sync::Arc,
    thread,
    time::Duration,
};

use supervisor::{
    AcquireError, Engine, Group, ManagedCommand, Manner, Model, Patience, Ready, Residence,
    ResidentState, Server, StopSignal, Upstream, Wish,
};
use worker_protocol::{Event, FailureKind};

use crate::hub::{Hub, Setup, assert_broken, is_gone, is_ready, prompt, texts, within};

const SHORT: Duration = Duration::from_millis(300);

/// What every engine here is promised to take.
const PROMISED_BYTES: u64 = 50_000_000;

fn command(words: &[&str]) -> ManagedCommand {
    let argv = [env!("CARGO_BIN_EXE_fixture-engine"), "--port", "{port}"];
    ManagedCommand {
        argv: argv.iter().chain(words).map(ToString::to_string).collect(),
        environment: BTreeMap::new(),
        model: None,
        memory_bytes: PROMISED_BYTES,
        ready: Ready::Path("/health".to_owned()),
        ready_wait_max: Duration::from_secs(30),
        stop_signal: StopSignal::Terminate,
        stop_grace: Duration::from_secs(30),
        manner: Manner::default(),
    }
}

fn model(engine: Engine) -> Model {
    Model { name: "foreign".to_owned(), engine, residence: Residence::default(), kept: None }
}

/// A hub with this engine beside its healthy worker.
fn hub(command: ManagedCommand) -> Hub {
    hub_with(Engine::Command(Arc::new(command)), Setup::default())
}

fn hub_with(engine: Engine, setup: Setup) -> Hub {
    // Memory is looked at often, so that a test need not wait for it.
    let patience = Patience { measure: Duration::from_millis(20), ..setup.patience };
    Hub::new(&[], Setup { foreign: vec![model(engine)], patience, ..setup })
}

/// Acquiring fails with a message that has these words, and the books are clean.
async fn load_fails(hub: &Hub, words: &[&str]) {
    let refused = hub.acquire("foreign").await;
    let Err(error @ AcquireError::LoadFailed { .. }) = refused else {
        panic!("it was expected not to load: {refused:?}");
    };
    let message = error.to_string();
    for word in words {
        assert!(message.contains(word), "no '{word}' in: {message}");
    }
    assert_eq!(hub.handle.residents().await, [], "nothing is left of it");
    assert_eq!(hub.handle.metrics().await.booked_bytes, 0);
}

/// Everything that descends from a process.
fn tree(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next) {
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
        let children = children.unwrap_or_default();
        found.extend(children.split_whitespace().map(|child| child.parse::<u32>().unwrap()));
        next += 1;
    }
    found
}

async fn stopped(hub: &Hub, tree: Vec<u32>) {
    hub.handle.stop("foreign").await.unwrap();
    hub.until("foreign", |resident| resident.is_none()).await;
    for pid in tree {
        assert!(is_gone(pid), "process {pid} is left");
    }
}

async fn number_in<T: FromStr<Err: Debug>>(file: &Path) -> T {
    within(async {
        loop {
            if let Ok(number) = fs::read_to_string(file) {
                return number.parse().unwrap();
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_managed_command_is_started_asked_measured_and_stopped() {
    let hub = hub(command(&[]));
    let facts = hub.handle.model("foreign").unwrap().facts.unwrap();
    assert_eq!((facts.header, facts.needed_bytes, facts.chats), (None, PROMISED_BYTES, true));
    let lease = hub.acquire("foreign").await.unwrap();
    assert_eq!(lease.loaded(), None);
    assert_eq!(texts(lease.generate(prompt("say 5 "))).await, Ok(5));
    assert_eq!(texts(lease.generate(prompt("say 2 "))).await, Ok(2));
    let resident = hub.resident("foreign").await.unwrap();
    assert_eq!((resident.engine, resident.path), ("command", None));
    assert_eq!(resident.booked_bytes, PROMISED_BYTES);
    assert!(resident.measured_bytes.unwrap() > 0);
    let tree = tree(resident.pid.unwrap());
    assert!(tree.len() >= 2, "a guard and its program: {tree:?}");
    drop(lease);
    stopped(&hub, tree).await;
    let metrics = hub.handle.metrics().await;
    assert_eq!((metrics.workers_started, metrics.workers_crashed), (1, 0));
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_a_ready_engine_knows_is_asked_for() {
    let context_from = Some("health.context_window".to_owned());
    let manner = Manner { context_from, ..Manner::default() };
    let hub = hub(ManagedCommand { manner, ready: Ready::Completion, ..command(&[]) });
    assert_eq!(hub.handle.model("foreign").unwrap().facts.unwrap().context_tokens, None);
    let lease = hub.acquire("foreign").await.unwrap();
    assert_eq!(lease.context_tokens(), Some(2048));
    assert_eq!(hub.resident("foreign").await.unwrap().context_tokens, Some(2048));
    drop(lease);
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_does_not_come_up_is_named_with_the_reason() {
    let long = crate::hub::DEADLINE;
    // It must come as far as to answer, on a busy machine too.
    let answered = Duration::from_secs(4);
    for (ready_wait_max, words, expected) in [
        (long, &["exits-at-start"][..], &["exit status: 3", "last words: no such model here"][..]),
        (SHORT, &["never-listens"], &["was not ready within 0.3 s", "refused"]),
        (answered, &["never-ready"], &["was not ready within 4", "503"]),
        (long, &["--port", "1", "exits-at-start"], &["exit status: 3"]),
    ] {
        let hub = hub(ManagedCommand { ready_wait_max, ..command(words) });
        load_fails(&hub, expected).await;
        hub.proves_well().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_not_there_is_named() {
    let argv = vec!["/no/such/engine".to_owned()];
    let hub = hub(ManagedCommand { argv, ..command(&[]) });
    load_fails(&hub, &["/no/such/engine", "No such file"]).await;
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_for_readiness_ends_when_it_is_stopped() {
    let hub = hub(command(&["never-ready"]));
    let handle = hub.handle.clone();
    let wait = tokio::spawn(async move { handle.acquire("foreign").await.map(drop) });
    hub.until("foreign", |resident| resident.is_some_and(|one| one.pid.is_some())).await;
    let resident = hub.resident("foreign").await.unwrap();
    assert_eq!(resident.state, ResidentState::Loading { fraction: 0.0 });
    stopped(&hub, tree(resident.pid.unwrap())).await;
    assert!(matches!(within(wait).await.unwrap(), Err(AcquireError::Stopped { .. })));
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_ignores_its_signal_is_killed_after_its_grace() {
    for stop_signal in [StopSignal::Terminate, StopSignal::Interrupt] {
        let hub =
            hub(ManagedCommand { stop_grace: SHORT, stop_signal, ..command(&["ignores-signals"]) });
        drop(hub.acquire("foreign").await.unwrap());
        let tree = tree(hub.pid("foreign").await);
        stopped(&hub, tree).await;
        hub.proves_well().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grandchild_that_hides_goes_with_its_engine() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let hub = hub(command(&["leaks", file.to_str().unwrap()]));
    let lease = hub.acquire("foreign").await.unwrap();
    let hidden = number_in::<u32>(&file).await;
    let tree = tree(hub.pid("foreign").await);
    assert!(tree.contains(&hidden), "{hidden} in {tree:?}");
    assert_eq!(texts(lease.generate(prompt("say 1 "))).await, Ok(1));
    drop(lease);
    stopped(&hub, tree).await;
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_mid_stream_fails_every_open_answer_once_and_the_next_request_works() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let hub = hub(command(&["leaks", file.to_str().unwrap()]));
    let lease = hub.acquire("foreign").await.unwrap();
    let hidden = number_in::<u32>(&file).await;
    let mut bystander = lease.generate(prompt("endless"));
    assert!(matches!(within(bystander.next()).await, Some(Event::Text(_))));
    let failure = texts(lease.generate(prompt("die-mid-stream"))).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Broken, "{failure}");
    assert!(failure.message.contains("foreign"), "{failure}");
    let ended = loop {
        let event = within(bystander.next()).await.unwrap();
        if let Event::Failed(failure) = event {
            break failure;
        }
        assert!(matches!(event, Event::Text(_)), "unexpected {event:?}");
    };
    assert_eq!(ended.kind, FailureKind::Broken, "{ended}");
    assert_eq!(within(bystander.next()).await, None);
    // Its last words are in the reason that later requests on the dead lease get.
    hub.until("foreign", |resident| resident.is_none()).await;
    let failure = within(async {
        loop {
            let failure = texts(lease.generate(prompt("say 1 "))).await.unwrap_err();
            if failure.message.contains("broke off") {
                return failure;
            }
        }
    });
    assert_broken(&failure.await, &["exit status: 5", "the graph fell over"]);
    assert!(is_gone(hidden), "its grandchild is left");
    drop((lease, bystander));
    assert_eq!(hub.handle.metrics().await.workers_crashed, 1);
    let lease = hub.acquire("foreign").await.unwrap();
    assert_eq!(texts(lease.generate(prompt("say 2 "))).await, Ok(2));
    drop(lease);
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_line_fails_its_request_and_no_other() {
    let hub = hub(command(&[]));
    let lease = hub.acquire("foreign").await.unwrap();
    let failure = texts(lease.generate(prompt("half-line"))).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Broken, "{failure}");
    assert!(failure.message.contains("foreign"), "{failure}");
    assert_eq!(texts(lease.generate(prompt("say 4 "))).await, Ok(4));
    assert!(is_ready(hub.resident("foreign").await.as_ref()));
    drop(lease);
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_on_standard_error_stays_within_its_log() {
    let hub = hub(command(&["floods"]));
    let lease = hub.acquire("foreign").await.unwrap();
    assert_eq!(texts(lease.generate(prompt("flood"))).await, Ok(3));
    drop(lease);
    let log = hub.file("logs/foreign.log");
    let bytes = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_grows_past_its_promise_is_booked_as_it_is() {
    let hub = hub(command(&[]));
    let lease = hub.acquire("foreign").await.unwrap();
    assert_eq!(hub.resident("foreign").await.unwrap().booked_bytes, PROMISED_BYTES);
    assert_eq!(texts(lease.generate(prompt("grow 90000000 "))).await, Ok(3));
    let mut kept_busy = lease.generate(prompt("endless"));
    assert!(matches!(within(kept_busy.next()).await, Some(Event::Text(_))));
    hub.until("foreign", |resident| resident.is_some_and(|one| one.booked_bytes > 90_000_000))
        .await;
    let resident = hub.resident("foreign").await.unwrap();
    assert_eq!(Some(resident.booked_bytes), resident.measured_bytes);
    drop((lease, kept_busy));
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_gets_its_own_variables_and_no_secrets() {
    let environment = BTreeMap::from([("HF_HUB_OFFLINE".to_owned(), "1".to_owned())]);
    let hub = hub(ManagedCommand { environment, ..command(&["shows-environment"]) });
    drop(hub.acquire("foreign").await.unwrap());
    let log = hub.file("logs/foreign.log");
    let words = within(async {
        loop {
            let words = fs::read_to_string(&log).unwrap_or_default();
            if words.contains("HF_HUB_OFFLINE=1") && words.contains("PATH=") {
                return words;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!words.contains("CARGO"), "{words}");
    hub.proves_well().await;
}

/// The port that the program of this tree was told.
fn port_of(tree: &[u32]) -> u16 {
    let arguments = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).ok();
    tree.iter()
        .filter_map(arguments)
        .find_map(|line| line.split('\0').skip_while(|word| *word != "--port").nth(1)?.parse().ok())
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_answers_nobody_but_the_hub() {
    let environment = BTreeMap::from([("FIXTURE_KEY".to_owned(), "{key}".to_owned())]);
    let hub = hub(ManagedCommand { environment, ready: Ready::Completion, ..command(&[]) });
    let lease = hub.acquire("foreign").await.unwrap();
    assert_eq!(texts(lease.generate(prompt("say 2 "))).await, Ok(2));
    let port = port_of(&tree(hub.pid("foreign").await));
    for key in ["", "Authorization: Bearer {key}\r\n", "Authorization: Bearer \r\n"] {
        let mut stranger = TcpStream::connect(("127.0.0.1", port)).unwrap();
        write!(stranger, "POST /v1/completions HTTP/1.1\r\n{key}Content-Length: 0\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stranger.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    }
    drop(lease);
    hub.proves_well().await;
}

/// Somebody who answers everything on a port, until the tests end.
fn impostor(port: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            let mut request = [0; 1 << 10];
            // Whoever only looks whether somebody listens says nothing.
            if connection.read(&mut request).is_ok_and(|bytes| bytes > 0) {
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
                connection.write_all(answer.as_bytes()).ok();
            }
        }
    });
}

/// Whoever takes the port before the program listens there is not believed, whether the program ends
/// for want of it or does not notice.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_takes_an_engines_port_is_not_asked() {
    for word in ["loses-port", "yields-port"] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("port");
        let hub = hub(command(&[word, file.to_str().unwrap()]));
        let (lease, ()) = tokio::join!(hub.acquire("foreign"), async {
            impostor(number_in(&file).await);
        });
        let lease = lease.unwrap();
        assert_eq!(texts(lease.generate(prompt("say 2 "))).await, Ok(2));
        drop(lease);
        hub.proves_well().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_each_time_is_a_failed_load() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("port");
    let hub = hub(command(&["loses-port", file.to_str().unwrap()]));
    let taking = async {
        for _ in 0..supervisor::limits::PORT_TRIES_MAX {
            let port = number_in(&file).await;
            fs::remove_file(&file).unwrap();
            impostor(port);
        }
    };
    tokio::join!(load_fails(&hub, &["another program listens on port"]), taking);
    hub.proves_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_engine_and_a_worker_share_one_budget() {
    let setup = Setup { budget_bytes: PROMISED_BYTES * 18 / 10, ..Setup::default() };
    let hub = hub_with(Engine::Command(Arc::new(command(&[]))), setup);
    crate::gguf::write(&hub.file("model.gguf"), PROMISED_BYTES);
    for _ in 0..2 {
        drop(hub.acquire("foreign").await.unwrap());
        let tree = tree(hub.pid("foreign").await);
        drop(hub.acquire("model").await.unwrap());
        assert!(tree.into_iter().all(is_gone), "memory is free only when all of it is gone");
        assert_eq!(hub.resident("foreign").await, None);
    }
    hub.goes_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_does_not_wait_for_a_long_grace() {
    let patience = Patience { stop_grace: SHORT, ..Patience::default() };
    let command = command(&["ignores-signals"]);
    let setup = Setup { patience, ..Setup::default() };
    let hub = hub_with(Engine::Command(Arc::new(command)), setup);
    drop(hub.acquire("foreign").await.unwrap());
    let tree = tree(hub.pid("foreign").await);
    hub.goes_down().await;
    assert!(tree.into_iter().all(is_gone));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aborted_hub_takes_its_engines_with_it() {
    let hub = hub(command(&["ignores-signals"]));
    drop(hub.acquire("foreign").await.unwrap());
    let tree = tree(hub.pid("foreign").await);
    hub.breaks_off().await;
    within(async {
        while !tree.iter().all(|pid| is_gone(*pid)) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_run_already_are_asked_and_never_stopped() {
    let served = hub(command(&[]));
    drop(served.acquire("foreign").await.unwrap());
    let program = tree(served.pid("foreign").await)[1];
    let arguments = fs::read_to_string(format!("/proc/{program}/cmdline")).unwrap();
    let port = arguments.split('\0').nth(2).unwrap();
    let server = Server { base_url: format!("http://127.0.0.1:{port}"), key: None };
    let health = Ready::Path("/health".to_owned());
    let pool = Upstream { servers: vec![server], manner: Manner::default(), health };
    // The smallest budget there is: servers of somebody else take nothing of it.
    let setup = Setup { budget_bytes: 1, ..Setup::default() };
    let hub = hub_with(Engine::Upstream(Arc::new(pool)), setup);
    let lease = hub.acquire("foreign").await.unwrap();
    assert_eq!(texts(lease.generate(prompt("say 6 "))).await, Ok(6));
    let resident = hub.resident("foreign").await.unwrap();
    assert_eq!((resident.engine, resident.booked_bytes, resident.pid), ("upstream", 0, None));
    drop(lease);
    hub.handle.stop("foreign").await.unwrap();
    hub.until("foreign", |resident| resident.is_none()).await;
    assert!(!is_gone(program));
    stopped(&served, Vec::new()).await;
    load_fails(&hub, &["is not ready", "refused"]).await;
    hub.goes_down().await;
    served.goes_down().await;
}

/// Models without a file, each a healthy command.
fn named(name: &str, residence: Residence) -> Model {
    Model {
        name: name.to_owned(),
        engine: Engine::Command(Arc::new(command(&[]))),
        residence,
        kept: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_an_exclusive_group_one_model_is_resident_though_both_would_fit() {
    let main = Residence { group: Some(Group::Named("main".to_owned())), ..Residence::default() };
    let foreign =
        vec![named("one", main.clone()), named("two", main), named("beside", Residence::default())];
    let hub = Hub::new(&[], Setup { foreign, ..Setup::default() });
    drop(hub.acquire("beside").await.unwrap());
    drop(hub.acquire("one").await.unwrap());
    drop(hub.acquire("two").await.unwrap());
    let residents = hub.handle.residents().await;
    let names: Vec<&str> = residents.iter().map(|resident| &*resident.name).collect();
    assert_eq!(names, ["beside", "two"]);
    hub.goes_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pinned_model_leaves_neither_for_another_nor_by_idling() {
    let pinned = Residence { pinned: true, ..Residence::default() };
    let foreign = vec![named("pinned", pinned), named("other", Residence::default())];
    let budget_bytes = PROMISED_BYTES * 18 / 10;
    let setup = Setup { foreign, budget_bytes, idle_unload: SHORT, ..Setup::default() };
    let hub = Hub::new(&[], setup);
    drop(hub.acquire("pinned").await.unwrap());
    let refused = hub.acquire("other").await.unwrap_err();
    assert!(refused.to_string().contains("pinned"), "{refused}");
    let resident = hub.resident("pinned").await.unwrap();
    assert_eq!((resident.state, resident.unload_in()), (ResidentState::Ready, None));
    hub.goes_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_long_a_model_stays_is_its_own_or_the_request_s() {
    let short = Residence { idle_unload: Some(SHORT), ..Residence::default() };
    let foreign = vec![named("short", short), named("usual", Residence::default())];
    let hub = Hub::new(&[], Setup { foreign, ..Setup::default() });
    drop(hub.acquire("short").await.unwrap());
    hub.until("short", |resident| resident.is_none()).await;
    drop(hub.acquire("usual").await.unwrap());
    assert!(is_ready(hub.resident("usual").await.as_ref()));
    let wish = Wish { keep_alive: Some(Duration::ZERO), ..Wish::default() };
    drop(within(hub.handle.acquire_with("usual", wish)).await.unwrap());
    hub.until("usual", |resident| resident.is_none()).await;
    hub.goes_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_left_for_a_failed_load_comes_back() {
    let broken = Engine::Command(Arc::new(command(&["exits-at-start"])));
    let broken = Model {
        name: "broken".to_owned(),
        engine: broken,
        residence: Residence::default(),
        kept: None,
    };
    let foreign = vec![named("loved", Residence::default()), broken];
    let budget_bytes = PROMISED_BYTES * 18 / 10;
    let hub = Hub::new(&[], Setup { foreign, budget_bytes, ..Setup::default() });
    drop(hub.acquire("loved").await.unwrap());
    let refused = hub.acquire("broken").await.unwrap_err();
    assert!(matches!(refused, AcquireError::LoadFailed { .. }), "{refused}");
    hub.until("loved", is_ready).await;
    assert_eq!(hub.handle.metrics().await.workers_started, 3);
    hub.goes_down().await;
}
