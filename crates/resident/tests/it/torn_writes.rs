//! A worker is killed in whatever phase of a write: what it kept is a miss at worst, its text stays
//! right, and what it left half-made goes with the next one who writes.
//!
//! How many kills meet a file half-made is chance, and printed. That each single operation may be the last
//! of its process is shown in `kv-store`, without chance.
#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::hub::{Hub, PATIENCE, within};
use crate::kv_folder;
use crate::made;
use crate::process::Process;
use crate::soak::verdict::{ALTERNATIVES, Noise, Said, Verdict, compare};

/// How often a worker is killed.
const KILLS: usize = 50;

/// Room for some prompts of the many, so that writers remove as well.
const FOLDER_BYTES: u64 = 15_000_000;

/// Different prompts, asked in turn.
const PROMPTS: u32 = 8;
const PROMPT_TOKENS: usize = 520;
const ANSWER_TOKENS: usize = 6;

/// The longest pause between an answer and the kill: about what writing the prompt takes.
const PAUSE_US_MAX: u64 = 30_000;

/// Deep, so that a block has 1.5 MB and takes its time to be written.
fn model() -> PathBuf {
    let shape = ["--arch", "llama", "--like", "tiny", "--layers", "12", "--quant", "f16"];
    made::model("llama-tiny-12-layers-f16-7", &[&shape[..], &["--seed", "7"]].concat())
}

fn hub(folder: &Path, cache: &str) -> Hub {
    let text = format!(
        "threads = 1\nparallel = 2\n[kv]\ncache = '{cache}'\nfolder = '{}'\nssd = '{FOLDER_BYTES}'\n\
         free_floor = '100MB'\ndaily_writes = '1000GB'\n[models.m]\npath = '{}'\n",
        folder.join("kv").display(),
        model().display()
    );
    Hub::configured(folder, &text)
}

fn prompt(number: u32) -> Vec<u32> {
    let mut state = number.wrapping_mul(2_654_435_761).wrapping_add(7);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        3 + (state >> 8) % 900
    };
    (0..PROMPT_TOKENS).map(|_| next()).collect()
}

fn ask(hub: &Hub, prompt: &[u32]) -> Said {
    let body = json!({
        "model": "m", "prompt": prompt, "max_tokens": ANSWER_TOKENS, "temperature": 0,
        "ignore_eos": true, "logprobs": ALTERNATIVES
    });
    Said::whole(&hub.post("/v1/completions", &body).ok())
}

/// What every prompt is answered by a hub without files, and how far rounding goes.
fn expected(folder: &Path) -> (Vec<Said>, Noise) {
    let hub = hub(folder, "off");
    let pairs: Vec<(Said, Said)> =
        (0..PROMPTS).map(prompt).map(|prompt| (ask(&hub, &prompt), ask(&hub, &prompt))).collect();
    assert!(pairs.iter().all(|(cold, live)| cold.hits.tokens() == 0 && live.hits.live > 0));
    let noise = Noise::measure(pairs.iter().map(|(cold, live)| (cold, live)));
    (pairs.into_iter().map(|(cold, _)| cold).collect(), noise)
}

#[track_caller]
fn assert_right(said: &Said, expected: &Said, noise: Noise, when: &str) -> bool {
    match compare(said, expected, noise) {
        Verdict::Equal { .. } => false,
        Verdict::Tie { .. } => true,
        Verdict::Wrong(why) => panic!("{when}: {why}; cached {:?}", said.hits),
    }
}

#[test]
fn a_worker_killed_in_any_phase_of_a_write_costs_what_it_was_writing() {
    let (plain, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (expected, noise) = expected(plain.path());
    let kv = folder.path().join("kv");
    let hub = hub(folder.path(), "ssd");
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let (mut kills, mut torn, mut ties, mut tokens_found, mut bytes_max) = (0, 0, 0, 0, 0);
    while kills < KILLS {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let number = (seed >> 40) as u32 % PROMPTS;
        let worker = worker(&hub);
        let said = ask(&hub, &prompt(number));
        let when = format!("kill {kills}, prompt {number}");
        let pause = Duration::from_micros((seed >> 33) % PAUSE_US_MAX);
        // Every other kill waits for a file that is being written, and no longer than the others.
        if kills % 2 == 0 {
            wait(pause)
        } else {
            wait_for_half_made(&kv, pause)
        }
        kills += usize::from(worker.kill_if_there());
        let is_same = |row: &Value| row["pid"].as_u64() == Some(u64::from(worker.pid()));
        hub.wait_for("its death to be seen", || (!is_same(&hub.resident())).then_some(()));
        ties += usize::from(assert_right(&said, &expected[number as usize], noise, &when));
        tokens_found += said.hits.ssd;
        let files = kv_folder::files(&kv);
        torn += usize::from(files.keys().any(|path| kv_folder::is_half_made(path)));
        let bytes: u64 = files
            .iter()
            .filter(|(path, _)| kv_folder::is_entry(path) || kv_folder::is_half_made(path))
            .map(|(_, bytes)| bytes)
            .sum();
        bytes_max = bytes_max.max(bytes);
        assert!(bytes <= FOLDER_BYTES, "{when}: {bytes} bytes of {FOLDER_BYTES}");
    }
    for number in 0..PROMPTS {
        let said = ask(&hub, &prompt(number));
        let when = format!("after the kills, prompt {number}");
        ties += usize::from(assert_right(&said, &expected[number as usize], noise, &when));
    }
    let settled = assert_settles(hub, folder.path());
    println!(
        "{kills} kills, {torn} of them left a half-made file; {tokens_found} tokens came from files, \
         {ties} ties, rounding {noise}; at most {bytes_max} of {FOLDER_BYTES} bytes; at the end \
         {} entries of {} bytes",
        settled.0, settled.1
    );
    assert!(tokens_found > 0, "nothing was ever found in files");
}

/// The hub writes one more and ends; then nothing half-made is left, and the folder is what it says.
fn assert_settles(mut hub: Hub, folder: &Path) -> (u64, u64) {
    let kv = folder.join("kv");
    let before = kv_folder::files(&kv);
    ask(&hub, &prompt(PROMPTS));
    let written = within(PATIENCE, || {
        let is_new = |path: &PathBuf| kv_folder::is_entry(path) && !before.contains_key(path);
        kv_folder::files(&kv).keys().any(is_new).then_some(())
    });
    assert!(written.is_some(), "nothing is written any more:\n{}", hub.log());
    hub.terminate();
    assert!(hub.ended_within(PATIENCE).is_some(), "the hub goes on:\n{}", hub.log());
    let files = kv_folder::files(&kv);
    assert!(!files.keys().any(|path| kv_folder::is_half_made(path)), "{files:?}");
    kv_folder::assert_consistent(&folder.join("config.toml"), &kv)
}

/// The hub's only worker, which is started if there is none. Looking for it takes longer than writing, so
/// it is known before there is something to write.
fn worker(hub: &Hub) -> Process {
    let body = json!({"model": "m", "prompt": [1], "max_tokens": 1});
    hub.post("/v1/completions", &body).ok();
    let pid = hub.resident()["pid"].as_u64().expect("a worker that has just answered");
    Process::of(u32::try_from(pid).unwrap()).expect("a worker that has just answered")
}

/// Not to wait for something, but to kill at another moment each time. Sleeping is too coarse.
fn wait(pause: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < pause {
        thread::yield_now();
    }
}

fn wait_for_half_made(kv: &Path, at_most: Duration) {
    let begun = Instant::now();
    let is_half_made = |path: &PathBuf| kv_folder::is_half_made(path);
    while begun.elapsed() < at_most && !kv_folder::files(kv).keys().any(is_half_made) {}
}

/// The process is looked at by its number and the time of its start.
#[test]
fn a_process_that_ended_is_not_killed() {
    let mut child = std::process::Command::new("true").spawn().unwrap();
    let process = Process::of(child.id());
    child.wait().unwrap();
    assert!(process.is_none_or(|process| !process.kill_if_there()));
}
