//! What befalls the files of the KV cache while hubs use them: the text is right, and a line says what was
//! wrong. The store's own tests have each operation and each byte; here is what a user would see.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use serde_json::{Value, json};

use crate::http::Request;
use crate::hub::Hub;
use crate::kept::{cached, prompt, tiny, until_kept};

/// Tokens of a prompt, kept in three entries.
const TOKENS: u32 = 600;

/// How near the two likeliest tokens may be for one to be taken for the other where tokens of a prompt were
/// computed in other steps: llama.cpp rounds by the number of rows. Logits of another prefix are off by far
/// more than this.
const TIE: f64 = 0.05;

/// A hub with the model `m`, which keeps its cache in `kv`.
fn hub(folder: &Path, kv: &Path, more: &str) -> Hub {
    Hub::configured(folder, &configuration(kv, more))
}

fn configuration(kv: &Path, more: &str) -> String {
    format!(
        "threads = 1\n[kv]\nfolder = '{}'\n{more}\n[models.m]\npath = '{}'\n",
        kv.display(),
        tiny("llama", "1").display()
    )
}

#[track_caller]
fn ask(hub: &Hub, prompt: &[u32]) -> Value {
    let body = json!({
        "model": "m", "prompt": prompt, "max_tokens": 12, "temperature": 0, "ignore_eos": true,
        "logprobs": 2
    });
    hub.post("/v1/completions", &body).ok()
}

/// Both answers are the same, up to a near tie.
#[track_caller]
fn assert_same(one: &Value, other: &Value) {
    let logprobs = |answer: &Value| answer["choices"][0]["logprobs"].clone();
    let (one, other) = (logprobs(one), logprobs(other));
    let tokens = |logprobs: &Value| logprobs["tokens"].as_array().unwrap().clone();
    let (texts, others) = (tokens(&one), tokens(&other));
    assert_eq!(texts.len(), others.len());
    let Some(at) = (0..texts.len()).find(|at| texts[*at] != others[*at]) else { return };
    let lead = |logprobs: &Value| {
        let top = logprobs["top_logprobs"][at].as_object().unwrap();
        let of = |text: &Value| top.get(text.as_str().unwrap()).and_then(Value::as_f64);
        Some((of(&texts[at])? - of(&others[at])?).abs())
    };
    let is_tie = |logprobs: &Value| lead(logprobs).is_some_and(|lead| lead < TIE);
    assert!(is_tie(&one) && is_tie(&other), "token {at} differs:\n{one}\n{other}");
    println!("forgave a near tie at token {at}");
}

/// Ends the worker, which writes what it has; the next request gets another one.
fn unload(hub: &Hub) {
    let token = format!("Bearer {}", hub.token());
    let stop = Request::post("/resident/v1/stop", &json!({ "model": "m" }));
    hub.send(&stop.header("authorization", &token)).ok_status();
    hub.wait_for("the worker to be gone", || hub.workers().is_empty().then_some(()));
}

/// Lines of the worker's log with this text.
fn said(hub: &Hub, text: &str) -> Vec<String> {
    let log = fs::read_to_string(hub.data_dir().join("logs/m.log")).unwrap_or_default();
    log.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

/// The entries in the folder, the first blocks first.
fn entries(kv: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    list(kv, &mut files);
    files.retain(|file| file.extension().is_some_and(|ending| ending == "kv"));
    // A name ends with the entry's place in its chain.
    files.sort_by_key(|file| {
        let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
        stem.rsplit('-').next().unwrap().parse::<u32>().expect(&stem)
    });
    files
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(found) = fs::read_dir(folder) else { return };
    for path in found.map(|entry| entry.unwrap().path()) {
        if path.is_dir() { list(&path, files) } else { files.push(path) }
    }
}

#[test]
fn a_folder_that_cannot_be_written_costs_nothing_but_what_it_would_keep() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody can write below a file, not even who may write everywhere.
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    let hub = hub(folder.path(), &file.join("kv"), "");
    let tokens = prompt(TOKENS, 3);
    let cold = ask(&hub, &tokens);
    assert_eq!(cached(&cold), 0);
    assert_same(&ask(&hub, &tokens), &cold);
    let lines = hub.wait_for("a line", || {
        Some(said(&hub, "cannot be written")).filter(|lines| !lines.is_empty())
    });
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains(&file.display().to_string()), "{lines:?}");
    unload(&hub);
    let after = ask(&hub, &tokens);
    assert_eq!(cached(&after), 0, "nothing outlives the worker");
    assert_same(&after, &cold);
    assert_eq!(fs::read_to_string(&file).unwrap(), "x");
}

#[test]
fn a_folder_that_is_removed_while_it_is_used_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let kv = folder.path().join("kv");
    let hub = hub(folder.path(), &kv, "");
    let (first, second) = (prompt(TOKENS, 3), prompt(TOKENS, 4));
    let cold = ask(&hub, &first);
    until_kept(folder.path(), 3);
    fs::remove_dir_all(&kv).unwrap();
    // The live cells know nothing of it, and what comes next is kept.
    let live = ask(&hub, &first);
    assert_eq!(cached(&live), u64::from(TOKENS) - 1);
    assert_same(&live, &cold);
    ask(&hub, &second);
    until_kept(folder.path(), 3);
    unload(&hub);
    let back = ask(&hub, &second);
    assert_eq!(cached(&back), u64::from(TOKENS) - 1, "the log:\n{}", hub.log());
    let again = ask(&hub, &first);
    assert_same(&again, &cold);
}

#[test]
fn two_hubs_share_one_folder_at_the_same_time() {
    let (folder, other_folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let kv = folder.path().join("kv");
    let hubs = [hub(folder.path(), &kv, ""), hub(other_folder.path(), &kv, "")];
    let common = prompt(TOKENS, 3);
    let own = [prompt(TOKENS, 4), prompt(TOKENS, 5)];
    // Both write the same and their own, at once.
    let colds: Vec<[Value; 2]> = thread::scope(|scope| {
        let asking = hubs.iter().zip(&own).map(|(hub, own)| {
            let common = &common;
            scope.spawn(move || [ask(hub, common), ask(hub, own)])
        });
        let asking: Vec<_> = asking.collect();
        asking.into_iter().map(|asking| asking.join().unwrap()).collect()
    });
    assert_same(&colds[0][0], &colds[1][0]);
    // The common prompt is there once.
    until_kept(folder.path(), 9);
    hubs.iter().for_each(unload);
    assert_eq!(entries(&kv).len(), 9);
    for (mine, hub) in hubs.iter().enumerate() {
        let other = 1 - mine;
        let found = ask(hub, &own[other]);
        assert_eq!(cached(&found), u64::from(TOKENS) - 1, "what the other hub wrote");
        assert_same(&found, &colds[other][1]);
        let found = ask(hub, &common);
        assert_eq!(cached(&found), u64::from(TOKENS) - 1);
        assert_same(&found, &colds[mine][0]);
        assert_eq!(said(hub, "KV cache"), Vec::<String>::new(), "nothing went wrong");
    }
}

#[test]
fn files_that_are_cut_or_changed_are_removed_with_a_line_and_computed_again() {
    let cut: fn(&mut Vec<u8>) = |bytes| bytes.truncate(bytes.len() - 1);
    let flip: fn(&mut Vec<u8>) = |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
    };
    // A file of another length is of no use. Of one that was changed in the middle the first parts are: the
    // first block of a worker has small ones.
    for (harm, harmed, good) in [(cut, 0, 0..=0), (flip, 0, 16..=127), (flip, 1, 256..=383)] {
        let folder = tempfile::tempdir().unwrap();
        let kv = folder.path().join("kv");
        let hub = hub(folder.path(), &kv, "");
        let tokens = prompt(TOKENS, 3);
        let cold = ask(&hub, &tokens);
        until_kept(folder.path(), 3);
        unload(&hub);
        let file = entries(&kv)[harmed].clone();
        let mut bytes = fs::read(&file).unwrap();
        harm(&mut bytes);
        fs::write(&file, &bytes).unwrap();
        let mended = ask(&hub, &tokens);
        let cached_tokens = cached(&mended);
        assert!(good.contains(&cached_tokens), "{cached_tokens} up to the damage, not {good:?}");
        assert_same(&mended, &cold);
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let lines = said(&hub, "is removed from the KV cache");
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains(&name), "{lines:?}");
        // What was computed again is kept again, under the same name, since it is the same. How it is cut
        // may differ: the worker has learned how large its cells are.
        hub.wait_for("the entry to be written anew", || {
            fs::read(&file).ok().filter(|now| *now != bytes)
        });
        unload(&hub);
        let back = ask(&hub, &tokens);
        assert_eq!(cached(&back), u64::from(TOKENS) - 1);
        assert_same(&back, &cold);
    }
}

/// The tokens as a file would hold them: as 32-bit numbers, eight in a row.
fn holds(kv: &Path, tokens: &[u32]) -> bool {
    let wanted: Vec<u8> = tokens[..8].iter().flat_map(|token| token.to_le_bytes()).collect();
    let mut files = Vec::new();
    list(kv, &mut files);
    files.iter().any(|file| {
        let bytes = fs::read(file).unwrap();
        bytes.windows(wanted.len()).any(|window| window == wanted)
    })
}

#[cfg(unix)]
#[test]
fn nobody_reads_an_encrypted_cache_without_its_key() {
    use std::os::unix::fs::PermissionsExt;

    let tokens = prompt(TOKENS, 3);
    for encrypts in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let kv = folder.path().join("kv");
        let hub = hub(folder.path(), &kv, &format!("encrypt = {encrypts}"));
        let cold = ask(&hub, &tokens);
        until_kept(folder.path(), 3);
        assert_eq!(holds(&kv, &tokens), !encrypts, "a file tells the prompt");
        unload(&hub);
        let back = ask(&hub, &tokens);
        assert_eq!(cached(&back), u64::from(TOKENS) - 1);
        assert_same(&back, &cold);
        let mut files = Vec::new();
        list(&kv, &mut files);
        for file in files {
            let mode = fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{} is for its owner alone", file.display());
        }
        let key = hub.data_dir().join("kv.key");
        if !encrypts {
            assert!(!key.exists());
            continue;
        }
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        // With the key the files are lost, and nothing else.
        unload(&hub);
        fs::remove_file(&key).unwrap();
        let anew = ask(&hub, &tokens);
        assert_eq!(cached(&anew), 0);
        assert_same(&anew, &cold);
    }
}

/// A model that must not be stopped gives up what it keeps in memory, and goes on.
#[test]
#[cfg(unix)]
fn kept_memory_is_given_back_when_the_machine_is_short() {
    let folder = tempfile::tempdir().unwrap();
    let pressure = folder.path().join("pressure");
    fs::write(&pressure, "calm").unwrap();
    let text = configuration(&folder.path().join("kv"), "cache = 'ram'") + "pin = true\n";
    let hub = Hub::configured_with(folder.path(), &text, |command| {
        command.env("RESIDENT_PRESSURE_FILE", &pressure);
    });
    let prompt = prompt(1, TOKENS);
    let before = ask(&hub, &prompt);
    let held = || {
        let metrics = hub.get("/metrics").text();
        let line = metrics
            .lines()
            .find(|line| line.starts_with("resident_kv_bytes{") && line.contains("tier=\"ram\""));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    hub.wait_for("something in memory", || (held() > 0).then_some(()));
    fs::write(&pressure, "full").unwrap();
    hub.wait_for("nothing in memory", || (held() == 0).then_some(()));
    assert_eq!(said(&hub, "the cache gave memory back").len(), 1);
    assert_eq!(hub.workers().len(), 1, "it was not stopped");
    assert_same(&before, &ask(&hub, &prompt));
}
