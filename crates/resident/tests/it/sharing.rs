//! What many conversations begin with is on the disk once, and what was made by other weights is of no
//! use to anybody.
#![cfg(unix)]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::hub::{Hub, PATIENCE};
use crate::kv_folder;
use crate::made;

/// Tokens that all conversations begin with.
const SYSTEM_TOKENS: usize = 4_000;

const CONVERSATIONS: u32 = 50;

/// Tokens of a block.
const BLOCK: usize = 256;

/// What the user says, and what is answered.
const OWN_TOKENS: usize = 60;
const ANSWER_TOKENS: usize = 8;

/// An entry says which tokens it holds, and a few things more.
const HEADER_BYTES_MAX: u64 = 1_300;

/// What shared beginnings may take more than one of them.
const SHARE_PERCENT_MAX: u64 = 110;

/// A model with a context for it that computes so many tokens in seconds.
fn model() -> PathBuf {
    let shape = ["--arch", "qwen3", "--like", "small", "--layers", "2", "--quant", "q8_0"];
    made::model("qwen3-small-2-layers-q8_0-1", &[&shape[..], &["--seed", "1"]].concat())
}

fn hub(folder: &Path, model: &Path) -> Hub {
    let kv = folder.join("kv");
    let text = format!(
        "threads = 1\nparallel = 4\ncontext = 8192\n[kv]\nfolder = '{}'\nfree_floor = '100MB'\n\
         [models.m]\npath = '{}'\n",
        kv.display(),
        model.display()
    );
    Hub::configured(folder, &text)
}

fn ask(hub: &Hub, prompt: &[u32], answer_tokens: usize) -> Value {
    let body = json!({
        "model": "m", "prompt": prompt, "max_tokens": answer_tokens, "temperature": 0,
        "ignore_eos": true
    });
    hub.post("/v1/completions", &body).ok()
}

fn cached(answer: &Value) -> usize {
    let cached = answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64();
    usize::try_from(cached.unwrap()).unwrap()
}

/// Tokens without a pattern.
fn tokens(count: usize, seed: u32) -> Vec<u32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        3 + (state >> 8) % 1_000
    };
    (0..count).map(|_| next()).collect()
}

/// Asks the hub to end, which writes what is not written yet, and gives the bytes of the folder.
fn bytes_at_end(mut hub: Hub, folder: &Path) -> (u64, u64) {
    hub.terminate();
    assert!(hub.ended_within(PATIENCE).is_some(), "the hub goes on:\n{}", hub.log());
    kv_folder::assert_consistent(&folder.join("config.toml"), &folder.join("kv"))
}

#[test]
fn fifty_conversations_take_one_copy_of_their_common_system_prompt() {
    let model = model();
    let system = tokens(SYSTEM_TOKENS, 1);
    let alone = tempfile::tempdir().unwrap();
    let one = hub(alone.path(), &model);
    ask(&one, &system, 1);
    let (_, one_bytes) = bytes_at_end(one, alone.path());
    let token_bytes = one_bytes / SYSTEM_TOKENS as u64;

    let shared = tempfile::tempdir().unwrap();
    let all = hub(shared.path(), &model);
    for conversation in 0..CONVERSATIONS {
        let mut prompt = system.clone();
        prompt.extend(tokens(OWN_TOKENS, 100 + conversation));
        let answer = ask(&all, &prompt, ANSWER_TOKENS);
        assert!(conversation == 0 || cached(&answer) >= SYSTEM_TOKENS, "{}", answer["usage"]);
    }
    let (entries, all_bytes) = bytes_at_end(all, shared.path());
    // The last block of the system prompt is not whole, and each conversation's own tokens begin in it,
    // so that each tail holds the 160 tokens behind the last whole block once more.
    let behind = SYSTEM_TOKENS % BLOCK;
    let tail_bytes =
        (behind + OWN_TOKENS + ANSWER_TOKENS) as u64 * token_bytes + 2 * HEADER_BYTES_MAX;
    let tails_bytes = u64::from(CONVERSATIONS) * tail_bytes;
    let share = all_bytes.saturating_sub(tails_bytes) * 100 / one_bytes;
    println!(
        "{CONVERSATIONS} conversations have {entries} entries of {all_bytes} bytes: tails of \
         {tails_bytes}, and {share} % of the {one_bytes} of one system prompt alone"
    );
    assert!(share <= SHARE_PERCENT_MAX, "{share} % of one prompt beside the tails");
    // Everybody's tail is there, or else that would be easy.
    let least = one_bytes * 9 / 10 + u64::from(CONVERSATIONS) * (OWN_TOKENS as u64) * token_bytes;
    assert!(all_bytes >= least, "{all_bytes} bytes of at least {least}: something is missing");
    let again = hub(shared.path(), &model);
    let mut prompt = system;
    prompt.extend(tokens(OWN_TOKENS, 100 + CONVERSATIONS - 1));
    assert_eq!(cached(&ask(&again, &prompt, 1)), prompt.len() - 1, "{}", again.log());
}

/// The same weights in other encodings compute otherwise, so what one computed is nothing to the others,
/// under whatever name and in whatever order they come.
#[test]
fn a_requantised_model_under_its_name_finds_nothing_of_its_predecessor() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.gguf");
    let prompt = tokens(600, 3);
    let mut texts = Vec::new();
    for quantization in ["q8_0", "f16", "q4_0"] {
        let _ = fs::remove_file(&path);
        fs::copy(tiny(quantization), &path).unwrap();
        let hub = hub(folder.path(), &path);
        let first = ask(&hub, &prompt, ANSWER_TOKENS);
        assert_eq!(cached(&first), 0, "{quantization} found what another had computed");
        let before = kv_folder::files(&folder.path().join("kv"));
        // Its own it finds again, after another start of the hub as well.
        assert_eq!(cached(&ask(&hub, &prompt, ANSWER_TOKENS)), prompt.len() - 1);
        bytes_at_end(hub, folder.path());
        assert!(kv_folder::files(&folder.path().join("kv")).len() >= before.len());
        let hub = self::hub(folder.path(), &path);
        let again = ask(&hub, &prompt, ANSWER_TOKENS);
        assert_eq!(cached(&again), prompt.len() - 1, "{quantization}: {}", hub.log());
        texts.push(again["choices"][0]["text"].as_str().unwrap().to_owned());
    }
    // The first one comes back, and what it left is still good for it.
    let _ = fs::remove_file(&path);
    fs::copy(tiny("q8_0"), &path).unwrap();
    let hub = hub(folder.path(), &path);
    let back = ask(&hub, &prompt, ANSWER_TOKENS);
    assert_eq!(cached(&back), prompt.len() - 1, "{}", hub.log());
    assert_eq!(back["choices"][0]["text"], texts[0].as_str());
}

fn tiny(quantization: &str) -> PathBuf {
    let shape = ["--arch", "llama", "--like", "tiny", "--seed", "1", "--quant", quantization];
    made::model(&format!("llama-tiny-{quantization}-1"), &shape)
}
