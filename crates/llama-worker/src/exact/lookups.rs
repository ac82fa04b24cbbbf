//! How much of a prompt comes back, and to whom.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use engine::Model;
use kv_store::Tiers;
use worker_protocol::Speculation;

use super::life;
use super::lineage::Lineage;
use super::models::{self, ARCHITECTURES};
use super::random::Random;

/// Lengths of prompts: around the ends of blocks, and others up to a thousand tokens. `KEPT_LENGTHS`
/// says how far apart those are; 1 tries all.
fn lengths() -> Vec<usize> {
    let apart = std::env::var("KEPT_LENGTHS").map_or(97, |apart| apart.parse().unwrap());
    let edges =
        [1, 2, 3, 4, 16, 17, 31, 32, 63, 64, 65, 255, 256, 257, 258, 511, 512, 513, 514, 1000];
    let mut lengths: Vec<usize> = (1..=1000).step_by(apart).chain(edges).collect();
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}

/// Prompts of these lengths; no two begin with the same token.
fn prompts(lengths: &[usize], vocabulary: u32) -> Vec<Vec<u32>> {
    let mut random = Random::new(7);
    let mut prompt = |(first, length): (u32, &usize)| {
        let mut prompt = random.tokens(*length, vocabulary);
        prompt[0] = first;
        prompt
    };
    (0..).zip(lengths).map(&mut prompt).collect()
}

/// What of these tokens is kept once `tiers` has read its folder.
fn found(tiers: &Tiers, tokens: &[u32]) -> usize {
    assert_eq!(tiers.flush(Duration::from_secs(30)), 0);
    tiers.find(tokens).tokens
}

#[test]
fn of_prompts_of_any_length_all_but_the_last_token_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let lengths = lengths();
    for architecture in ARCHITECTURES {
        let path = models::made(architecture, "q8_0", folder.path());
        let store = tempfile::tempdir().unwrap();
        let lineage = Rc::new(RefCell::new(Lineage::default()));
        let vocabulary = models::load(&path, "f16", 1).facts().vocabulary;
        let prompts = prompts(&lengths, vocabulary);
        for life in 0..2 {
            let model = models::load(&path, "f16", 1);
            let tiers = life::open(&model, "made", store.path());
            let finished =
                life::live(model, tiers, &lineage, &prompts, false, &Speculation::default());
            for (finished, length) in finished.iter().zip(&lengths) {
                let expected = if life == 0 { 0 } else { length - 1 };
                let usage = finished.usage;
                assert_eq!(
                    usage.cached_tokens as usize, expected,
                    "{architecture}: {length} tokens"
                );
                assert_eq!(usage.cached_ssd_tokens, usage.cached_tokens, "{architecture}");
            }
        }
        println!("{architecture}: {} prompts came back but for their last tokens", prompts.len());
    }
}

/// Keeps a prompt of a model under the digest of its file, and gives the prompt.
fn keep(path: &Path, kv_type: &str, store: &Path) -> Vec<u32> {
    let model = models::load(path, kv_type, 1);
    let prompt = Random::new(3).tokens(300, model.facts().vocabulary);
    let tiers = life::open(&model, &digest(path, store), store);
    let lineage = Rc::new(RefCell::new(Lineage::default()));
    life::live(
        model,
        tiers,
        &lineage,
        std::slice::from_ref(&prompt),
        false,
        &Speculation::default(),
    );
    prompt
}

/// What of a prompt this model finds.
fn finds(path: &Path, kv_type: &str, store: &Path, prompt: &[u32]) -> usize {
    let model = models::load(path, kv_type, 1);
    found(&life::open(&model, &digest(path, store), store), prompt)
}

/// The digest of a file, as a worker takes it.
fn digest(path: &Path, store: &Path) -> String {
    let digest = kv_store::digest(&[path.to_owned()], &store.join("digests.json")).unwrap();
    format!("{digest:?}")
}

#[test]
fn other_weights_other_cache_types_and_other_positions_find_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for architecture in ["llama", "qwen35", "mamba"] {
        let store = tempfile::tempdir().unwrap();
        let made = models::made(architecture, "q8_0", folder.path());
        let other = models::made(architecture, "f16", folder.path());
        let path = folder.path().join("model.gguf");
        fs::copy(&made, &path).unwrap();
        let prompt = keep(&path, "f16", store.path());
        assert!(finds(&path, "f16", store.path(), &prompt) >= 299, "{architecture}: its own");
        assert_eq!(
            finds(&path, "q8_0", store.path(), &prompt),
            0,
            "{architecture}: a cache of q8_0"
        );
        // The same model under the same name in another quantization.
        fs::remove_file(&path).unwrap();
        fs::copy(&other, &path).unwrap();
        assert_eq!(finds(&path, "f16", store.path(), &prompt), 0, "{architecture}: requantised");
        // The first one again, under whatever name.
        assert!(finds(&made, "f16", store.path(), &prompt) >= 299, "{architecture}: its own again");
        if architecture != "mamba" {
            let stretched = folder.path().join("stretched.gguf");
            fs::write(&stretched, with_other_rotation(&made, architecture)).unwrap();
            assert_eq!(finds(&stretched, "f16", store.path(), &prompt), 0, "{architecture}: RoPE");
        }
    }
}

/// The same file with another base of its rotation.
fn with_other_rotation(path: &Path, architecture: &str) -> Vec<u8> {
    let mut file = fs::read(path).unwrap();
    let key = format!("{architecture}.rope.freq_base");
    let at = file.windows(key.len()).position(|bytes| bytes == key.as_bytes()).unwrap();
    // Behind the key stand its type, which is a number of 32 bits, and the number.
    let number = at + key.len() + 4;
    file[number..number + 4].copy_from_slice(&1234.0_f32.to_le_bytes());
    file
}
