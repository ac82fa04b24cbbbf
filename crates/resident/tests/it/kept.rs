//! A conversation outlives its worker, its hub, and a switch to another model.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::http::Answer;
use crate::hub::{Hub, PATIENCE, within};
use crate::made;

/// Full attention, mixed experts, sliding windows, states beside a cache, and states alone.
const ARCHITECTURES: [&str; 7] =
    ["llama", "qwen3", "qwen3moe", "gemma3", "qwen35", "lfm2", "mamba"];

pub(crate) fn tiny(architecture: &str, seed: &str) -> PathBuf {
    let name = format!("{architecture}-tiny-{seed}");
    let arguments = ["--arch", architecture, "--like", "tiny", "--quant", "q8_0", "--seed", seed];
    made::model(&name, &arguments)
}

/// A hub that keeps its cache in `folder`, with these models, of which one is in memory at a time.
pub(crate) fn hub(folder: &Path, models: &[(&str, &Path)]) -> Hub {
    // The number of threads decides in which order llama.cpp adds up.
    let mut text = format!("threads = 1\n[kv]\nfolder = '{}'\n", folder.join("kv").display());
    for (name, path) in models {
        text += &format!("[models.{name}]\npath = '{}'\ngroup = \"main\"\n", path.display());
    }
    Hub::configured(folder, &text)
}

pub(crate) fn prompt(length: u32, seed: u32) -> Vec<u32> {
    (0..length).map(|at| 3 + (at * at * 31 + at * seed + seed) % 200).collect()
}

pub(crate) fn ask(hub: &Hub, model: &str, prompt: &[u32]) -> Answer {
    let body = json!({
        "model": model, "prompt": prompt, "max_tokens": 12, "temperature": 0, "ignore_eos": true
    });
    hub.post("/v1/completions", &body)
}

pub(crate) fn text(answer: &Value) -> &str {
    answer["choices"][0]["text"].as_str().unwrap()
}

pub(crate) fn cached(answer: &Value) -> u64 {
    answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap()
}

/// Waits until so many entries are written.
pub(crate) fn until_kept(folder: &Path, entries: usize) {
    let kept = within(PATIENCE, || (count(&folder.join("kv")) >= entries).then_some(()));
    assert!(kept.is_some(), "{} of {entries} entries are written", count(&folder.join("kv")));
}

pub(crate) fn count(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .map(|path| {
            if path.is_dir() {
                count(&path)
            } else {
                usize::from(path.extension().is_some_and(|ending| ending == "kv"))
            }
        })
        .sum()
}

#[test]
fn a_prompt_comes_back_after_the_hub_was_killed() {
    for architecture in ARCHITECTURES {
        let (folder, path) = (tempfile::tempdir().unwrap(), tiny(architecture, "1"));
        let tokens = prompt(700, 7);
        let mut first = hub(folder.path(), &[("m", &path)]);
        assert_eq!(cached(&ask(&first, "m", &tokens).ok()), 0);
        // What follows when the prefix is still in the context: llama.cpp computes the last token of a
        // prompt by itself then, as after a restore, and rounds it otherwise than among many.
        let before = ask(&first, "m", &tokens).ok();
        assert_eq!(cached(&before), 699);
        // Three blocks; or, of a model without cells, the states before and after the answer.
        until_kept(folder.path(), if architecture == "mamba" { 2 } else { 3 });
        first.kill();
        let second = hub(folder.path(), &[("m", &path)]);
        let after = ask(&second, "m", &tokens).ok();
        assert_eq!(cached(&after), 699, "{architecture}; the log:\n{}", second.log());
        assert_eq!(text(&after), text(&before), "{architecture}");
    }
}

#[test]
fn a_conversation_survives_a_switch_to_another_model_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (tiny("llama", "1"), tiny("qwen3", "1"));
    let hub = hub(folder.path(), &[("one", &one), ("other", &other)]);
    let tokens = prompt(600, 5);
    ask(&hub, "one", &tokens).ok();
    let before = ask(&hub, "one", &tokens).ok();
    ask(&hub, "other", &tokens).ok();
    let after = ask(&hub, "one", &tokens).ok();
    assert_eq!(cached(&after), 599, "the log:\n{}", hub.log());
    assert_eq!(text(&after), text(&before));
}

#[test]
fn a_file_replaced_under_its_name_finds_nothing_of_its_predecessor() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    let tokens = prompt(600, 5);
    fs::copy(tiny("llama", "1"), &path).unwrap();
    let first = hub(folder.path(), &[("m", &path)]);
    let old = ask(&first, "m", &tokens).ok();
    until_kept(folder.path(), 3);
    drop(first);
    fs::remove_file(&path).unwrap();
    fs::copy(tiny("llama", "2"), &path).unwrap();
    let second = hub(folder.path(), &[("m", &path)]);
    let new = ask(&second, "m", &tokens).ok();
    assert_eq!(cached(&new), 0);
    assert_ne!(text(&new), text(&old), "they are different models");
}
