//! Whoever dies, the others notice: workers, the hub, clients.

use std::fs::{self, File};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http::{Request, Stream};
use crate::hub::{self, Hub, binary, serve, within};

/// Within this time after the hub's death no worker of it is left.
const ORPHANS_GONE_WITHIN: Duration = Duration::from_secs(2);

/// A hub that was asked to end has ended: the bounds that gateway and supervisor state, and some.
const ENDED_WITHIN: Duration = Duration::from_secs(20);

/// Tokens of an answer that no test waits for.
const ENDLESS_TOKENS: u32 = 30_000;

fn hub_for_long_answers() -> Option<Hub> {
    Hub::with_stories(&["--context", "32768", "--parallel", "2"])
}

fn endless() -> Value {
    json!({
        "model": "stories", "prompt": "Once upon a time", "max_tokens": ENDLESS_TOKENS,
        "temperature": 0, "ignore_eos": true, "stream": true
    })
}

/// An answer that has begun to come and will not end soon.
#[track_caller]
fn begin_endless(hub: &Hub) -> Stream {
    let mut stream = hub.stream("/v1/completions", &endless());
    for _ in 0..5 {
        let data = stream.next_data().unwrap().expect("an event");
        assert!(data.contains("\"text\""), "{data}");
    }
    stream
}

#[track_caller]
fn assert_tells_stories(hub: &Hub) {
    let body = json!({
        "model": "stories", "prompt": "Once upon a time", "max_tokens": 8, "temperature": 0
    });
    let answer = hub.post("/v1/completions", &body).ok();
    assert!(answer["choices"][0]["text"].as_str().unwrap().starts_with(", there"), "{answer}");
}

/// Kills the worker and waits until the hub has seen it: a request in between would be lost too.
#[track_caller]
fn kill_worker(hub: &Hub) {
    hub.workers()[0].kill();
    hub.wait_for("the worker's death to be seen", || hub.resident().is_null().then_some(()));
}

#[test]
fn a_killed_worker_costs_its_requests_and_nothing_else() {
    let Some(hub) = hub_for_long_answers() else { return };
    let mut streams = [begin_endless(&hub), begin_endless(&hub)];
    let [worker] = hub.workers()[..] else { panic!("not one worker: {:?}", hub.workers()) };
    worker.kill();
    for stream in &mut streams {
        let mut data = Vec::new();
        while let Some(next) = stream.next_data().expect("the stream ends well") {
            data.push(next);
        }
        assert_eq!(data.pop().as_deref(), Some("[DONE]"));
        let last: Value = serde_json::from_str(&data.pop().expect("an error")).unwrap();
        let message = last["error"]["message"].as_str().unwrap_or_default();
        assert!(!message.is_empty(), "the last event is no error: {last}");
    }
    assert_tells_stories(&hub);
    let [next] = hub.workers()[..] else { panic!("not one worker: {:?}", hub.workers()) };
    assert_ne!(next, worker);
    assert!(!worker.is_alive());
}

/// The hub has not seen the death yet when the request comes.
#[test]
fn a_request_just_after_a_kill_is_answered_by_the_next_worker() {
    let Some(hub) = hub_for_long_answers() else { return };
    for _ in 0..10 {
        assert_tells_stories(&hub);
        hub.workers()[0].kill();
    }
    assert_tells_stories(&hub);
}

#[test]
fn a_worker_killed_before_its_answer_began_is_an_error_with_a_status() {
    let Some(hub) = hub_for_long_answers() else { return };
    assert_tells_stories(&hub);
    let cells_used = || hub.resident()["cells_used"].as_u64().unwrap();
    let before = cells_used();
    let mut body = endless();
    body["stream"] = json!(false);
    let answer = std::thread::scope(|scope| {
        let asked = scope.spawn(|| hub.post("/v1/completions", &body));
        // What its worker has not begun would be put to the next one.
        hub.wait_for("the request to run", || (cells_used() > before).then_some(()));
        hub.workers()[0].kill();
        asked.join().unwrap()
    });
    assert!((500..600).contains(&answer.status), "{} {}", answer.status, answer.text());
    answer.error(answer.status);
    assert_tells_stories(&hub);
}

#[test]
fn a_killed_hub_leaves_no_worker() {
    let Some(mut hub) = hub_for_long_answers() else { return };
    let _stream = begin_endless(&hub);
    let workers = hub.workers();
    assert_eq!(workers.len(), 1);
    let begun = Instant::now();
    hub.kill();
    let gone = within(ORPHANS_GONE_WITHIN, || (!workers[0].is_alive()).then_some(()));
    assert!(
        gone.is_some(),
        "worker {} lives {:?} after its hub",
        workers[0].pid(),
        begun.elapsed()
    );
}

#[test]
fn a_hub_killed_while_loading_leaves_no_worker() {
    let Some(model) = hub::stories() else { return };
    let model = format!("stories={}", model.display());
    let mut hub = Hub::start(&["--model", &model]);
    let address = hub.address;
    let asked =
        std::thread::spawn(move || Request::post("/v1/completions", &endless()).open(address));
    let workers = hub.wait_for("a worker", || Some(hub.workers()).filter(|list| !list.is_empty()));
    hub.kill();
    let gone = within(ORPHANS_GONE_WITHIN, || (!workers[0].is_alive()).then_some(()));
    assert!(gone.is_some(), "worker {} is left", workers[0].pid());
    drop(asked.join());
}

#[test]
fn a_client_that_vanishes_frees_its_place() {
    let Some(hub) = Hub::with_stories(&["--context", "32768", "--parallel", "1"]) else { return };
    for _ in 0..3 {
        drop(begin_endless(&hub));
        hub.wait_until_idle();
        assert_tells_stories(&hub);
    }
    // A place that is freed late would be seen here: as many tokens as nobody waited for.
    let made = hub.wait_for("the worker's counters", || tokens_made(&hub));
    assert!(made < ENDLESS_TOKENS.into(), "{made} tokens were made for clients that had gone");
    assert_eq!(hub.workers().len(), 1, "the worker lives on");
}

#[test]
fn a_client_that_does_not_read_stops_only_itself() {
    let Some(hub) = hub_for_long_answers() else { return };
    let unread = begin_endless(&hub);
    for _ in 0..5 {
        assert_tells_stories(&hub);
    }
    drop(unread);
    hub.wait_until_idle();
}

/// Tokens that workers made, by the hub's metrics.
fn tokens_made(hub: &Hub) -> Option<u64> {
    let metrics = hub.get("/metrics").text();
    let line = metrics.lines().find(|line| {
        !line.starts_with('#') && line.contains("decode_tokens") && line.contains("stories")
    });
    let value = line.and_then(|line| line.rsplit(' ').next());
    Some(value.unwrap_or_else(|| panic!("no count of tokens in {metrics}")).parse().unwrap())
}

#[test]
fn a_hub_that_is_told_to_end_ends_in_time_and_well() {
    let Some(mut hub) = hub_for_long_answers() else { return };
    let mut stream = begin_endless(&hub);
    let workers = hub.workers();
    hub.terminate();
    let status =
        hub.ended_within(ENDED_WITHIN).unwrap_or_else(|| panic!("it goes on:\n{}", hub.log()));
    assert_eq!(status.code(), Some(0), "{status}; {}", hub.log());
    assert!(!workers[0].is_alive(), "its worker goes on");
    // The client is not left hanging; whether it gets all of the goodbye is up to the network.
    while let Ok(Some(_)) = stream.next_data() {}
}

#[test]
fn an_idle_hub_ends_at_once_when_told_to() {
    let Some(mut hub) = Hub::with_stories(&[]) else { return };
    assert_tells_stories(&hub);
    let workers = hub.workers();
    hub.terminate();
    let status =
        hub.ended_within(ENDED_WITHIN).unwrap_or_else(|| panic!("it goes on:\n{}", hub.log()));
    assert_eq!(status.code(), Some(0), "{}", hub.log());
    assert!(!workers[0].is_alive());
}

#[test]
fn a_second_hub_on_the_same_port_says_who_has_it() {
    let hub = Hub::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let output = run(serve(&binary("resident"), folder.path(), hub.address));
    assert_eq!(output.status.code(), Some(5));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    let (port, pid) = (hub.address.port().to_string(), hub.pid().to_string());
    for part in ["resident", "--listen", port.as_str(), pid.as_str()] {
        assert!(message.contains(part), "'{part}' is missing in: {message}");
    }
    hub.get("/health").ok_status();
}

#[test]
fn an_address_for_everybody_needs_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let port = hub::free_address().port();
    let mut command =
        serve(&binary("resident"), folder.path(), format!("0.0.0.0:{port}").parse().unwrap());
    let output = run({
        command.arg("--allow-lan");
        command
    });
    assert!(!output.status.success());
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("key"), "{message}");
}

/// Runs a command that must end by itself.
fn run(mut command: Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let ended = within(hub::PATIENCE, || child.try_wait().unwrap());
    if ended.is_none() {
        child.kill().unwrap();
    }
    let output = child.wait_with_output().unwrap();
    assert!(ended.is_some(), "it goes on: {output:?}");
    output
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_costs_the_log_and_nothing_else() {
    let Some(model) = hub::stories() else { return };
    let hub = Hub::start_with(|command| {
        command.arg("--model").arg(format!("stories={}", model.display()));
        // The hub's own words, and those of its worker, go where every write says "no space left".
        let full = File::options().write(true).open("/dev/full").unwrap();
        command.stdout(full.try_clone().unwrap()).stderr(full);
        let folder = command.get_args().skip_while(|word| *word != "--data-dir").nth(1).unwrap();
        let logs = std::path::Path::new(folder).join("logs");
        fs::create_dir_all(&logs).unwrap();
        std::os::unix::fs::symlink("/dev/full", logs.join("stories.log")).unwrap();
    });
    assert_tells_stories(&hub);
    drop(begin_endless_default(&hub));
    kill_worker(&hub);
    assert_tells_stories(&hub);
}

/// As [`begin_endless`], in a context of the default size.
#[cfg(target_os = "linux")]
fn begin_endless_default(hub: &Hub) -> Stream {
    let mut stream = hub.stream("/v1/completions", &endless());
    assert!(stream.next_data().unwrap().is_some());
    stream
}

#[cfg(target_os = "linux")]
#[test]
fn files_that_cannot_grow_cost_the_log_and_nothing_else() {
    let Some(model) = hub::stories() else { return };
    // The first run makes the token; from then on no file may grow by a single byte.
    let first = Hub::start(&[]);
    let token = fs::read(first.data_dir().join("token")).unwrap();
    drop(first);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), token).unwrap();
    fs::set_permissions(
        folder.path().join("token"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    let address = hub::free_address();
    let inner = serve(&binary("resident"), folder.path(), address);
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\""])
        .arg(inner.get_program())
        .args(inner.get_args())
        .arg("--model")
        .arg(format!("stories={}", model.display()))
        .stdin(Stdio::null());
    let hub = Hub::spawn(&mut command, folder, address);
    assert_tells_stories(&hub);
    kill_worker(&hub);
    assert_tells_stories(&hub);
}
