//! Two models that do not fit together take turns under load: no request fails, memory stays within
//! the budget by the machine's own account, nothing is swapped, and whatever is killed leaves no
//! process.
#![cfg(target_os = "linux")]

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::http::Request;
use crate::hub::{Hub, demo, stories, within};
use crate::process::Process;

/// Switches from one model to the other.
const SWITCHES: usize = 200;

/// Clients that each ask one model and then the other.
const CLIENTS: usize = 4;

/// Between two looks at the workers' memory. Far shorter than a worker lives.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(10);

/// How often the hub is killed.
const KILLS: u64 = 50;

/// The longest pause between the requests and the kill: about a load, a switch and an answer.
const PAUSE_MS_MAX: u64 = 400;

/// Within this time after the hub's death no worker of it is left.
const ORPHANS_GONE_WITHIN: Duration = Duration::from_secs(5);

/// Two models of which only one at a time has room.
struct Pair {
    models: [String; 2],
    budget_bytes: u64,
}

impl Pair {
    fn new() -> Option<Self> {
        let models = [("stories", stories()?), ("demo", demo())];
        let models = models.map(|(name, path)| format!("{name}={}", path.display()));
        let needed = needed_bytes(&models);
        let [largest, smallest] = [needed.iter().max(), needed.iter().min()].map(Option::unwrap);
        Some(Self { budget_bytes: largest + smallest / 2, models })
    }

    fn serve(&self, command: &mut Command) {
        with_models(command, &self.models, self.budget_bytes);
    }
}

fn with_models(command: &mut Command, models: &[String], budget_bytes: u64) {
    for model in models {
        command.args(["--model", model]);
    }
    command.args(["--context", "1024", "--parallel", "4", "--budget", &budget_bytes.to_string()]);
}

/// What each model needs, by a hub with room for all.
fn needed_bytes(models: &[String]) -> Vec<u64> {
    let hub = Hub::start_with(|command| with_models(command, models, 1 << 40));
    let answer = hub.control("/resident/v1/models");
    let rows = answer["models"].as_array().unwrap();
    rows.iter().map(|row| row["facts"]["needed_bytes"].as_u64().unwrap()).collect()
}

fn question(model: &str, client: usize) -> Value {
    let prompt = format!("Client {client} says: once upon a time");
    json!({ "model": model, "prompt": prompt, "max_tokens": 4, "temperature": 0 })
}

/// The most that the hub's workers held at one moment, until `done`; panics at a swapped page.
fn watch(hub: &Hub, done: &AtomicBool) -> (u64, usize) {
    let (mut most, mut samples) = (0, 0);
    while !done.load(Ordering::Relaxed) {
        let workers = hub.workers();
        let bytes = |worker: &Process| worker.proportional_bytes().unwrap_or(0);
        most = most.max(workers.iter().map(bytes).sum());
        for worker in &workers {
            assert_eq!(worker.swapped_bytes().unwrap_or(0), 0, "{worker:?} is swapped");
        }
        samples += 1;
        thread::sleep(SAMPLE_INTERVAL);
    }
    (most, samples)
}

#[test]
fn two_models_take_turns_under_load_within_the_budget() {
    let Some(pair) = Pair::new() else { return };
    let budget_bytes = pair.budget_bytes;
    let hub = Hub::start_with(|command| pair.serve(command));
    let done = AtomicBool::new(false);
    let (failed, (most_bytes, samples)) = thread::scope(|scope| {
        let watch = scope.spawn(|| watch(&hub, &done));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let hub = &hub;
                scope.spawn(move || {
                    let models = ["stories", "demo"].into_iter().cycle();
                    let asked = models.take(SWITCHES).map(|model| {
                        let answer = hub.post("/v1/completions", &question(model, client));
                        (answer.status != 200).then(|| answer.text())
                    });
                    asked.flatten().collect::<Vec<String>>()
                })
            })
            .collect();
        let failed: Vec<String> =
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        done.store(true, Ordering::Relaxed);
        (failed, watch.join().unwrap())
    });
    let started = started_workers(&hub);
    println!(
        "{} requests, {} failed; {started} workers started; at most {most_bytes} of {budget_bytes} \
         bytes in {samples} samples",
        CLIENTS * SWITCHES,
        failed.len()
    );
    assert_eq!(failed, Vec::<String>::new());
    assert!(started >= SWITCHES as u64, "only {started} workers were started");
    assert!(most_bytes <= budget_bytes, "{most_bytes} bytes of {budget_bytes}");
    assert!(samples >= SWITCHES, "only {samples} samples");
}

fn started_workers(hub: &Hub) -> u64 {
    let metrics = hub.get("/metrics").text();
    let line =
        metrics.lines().find_map(|line| line.strip_prefix("resident_workers_started_total "));
    line.unwrap_or_else(|| panic!("no count of workers in:\n{metrics}")).parse().unwrap()
}

/// Each time at another moment of a switch: the pause before the kill comes from a seed.
#[test]
fn a_hub_killed_at_any_moment_leaves_no_process() {
    let Some(pair) = Pair::new() else { return };
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut found = 0;
    for kill in 0..KILLS {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pause = Duration::from_millis((seed >> 33) % PAUSE_MS_MAX);
        let mark = format!("of-kill-{kill}-by-{}", std::process::id());
        let mut hub = Hub::start_with(|command| {
            pair.serve(command);
            // Workers inherit what begins like this, so that each is known whenever it was started.
            command.env("RESIDENT_WORKER_MARK", &mark);
        });
        thread::scope(|scope| {
            for model in ["stories", "demo"] {
                let (hub, request) = (&hub, Request::post("/v1/completions", &question(model, 0)));
                // It breaks off with the hub, or was answered before.
                scope.spawn(move || drop(hub.try_send(&request)));
            }
            // Not to wait for something, but to kill at another moment each time.
            thread::sleep(pause);
            found += Process::with_variable(&mark).len() - 1;
            Process::of(hub.pid()).expect("the hub runs").kill();
        });
        hub.kill();
        let gone = || Process::with_variable(&mark).is_empty().then_some(());
        assert!(
            within(ORPHANS_GONE_WITHIN, gone).is_some(),
            "kill {kill} after {pause:?} left {:?}",
            Process::with_variable(&mark)
        );
    }
    println!("{KILLS} kills, {found} workers at work at the time, none left");
    assert!(found > 0, "no kill met a worker");
}
