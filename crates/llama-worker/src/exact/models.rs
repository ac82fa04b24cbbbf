//! The models of these tests, and engines' models of them.

use std::path::{Path, PathBuf};
use std::process::Command;

use worker_protocol::Load;

use crate::log;
use crate::model::LlamaModel;

/// Architectures of which random models can be made: full attention, mixed experts, sliding windows,
/// delta nets and convolutions beside attention, state-space mixers beside it and alone.
pub(crate) const ARCHITECTURES: [&str; 9] =
    ["llama", "qwen3", "qwen3moe", "gemma3", "qwen35", "lfm2", "granitehybrid", "mamba", "mamba2"];

/// Types of the cache that are tried.
pub(crate) const CACHE_TYPES: [&str; 2] = ["f16", "q8_0"];

/// A tiny model with random weights, made in `folder`.
pub(crate) fn made(architecture: &str, quantization: &str, folder: &Path) -> PathBuf {
    let out = folder.join(format!("{architecture}-{quantization}.gguf"));
    let made = Command::new(env!("CARGO"))
        .args(["xtask", "make-model", "--arch", architecture, "--like", "tiny"])
        .args(["--quant", quantization, "--out"])
        .arg(&out)
        .status()
        .unwrap();
    assert!(made.success());
    out
}

/// The small real model, where the test data is there.
pub(crate) fn real() -> Option<PathBuf> {
    let folder = std::env::var_os("RESIDENT_SHARED_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let path = folder.join("models/stories260K.gguf");
    if !path.is_file() {
        println!("skipped: stories260K is not in the test data folder (RESIDENT_SHARED_DIR)");
    }
    path.is_file().then_some(path)
}

/// A model with its context, for so many sequences. One thread, for the number of threads decides in
/// which order llama.cpp adds up.
pub(crate) fn load(path: &Path, kv_type: &str, sequences_max: u32) -> LlamaModel {
    log::silence();
    let load = Load {
        path: path.to_owned(),
        context_tokens: Some(2048),
        sequences_max,
        threads: Some(1),
        kv_type: Some(kv_type.to_owned()),
        keep: None,
        speculation: Default::default(),
    };
    LlamaModel::load(&load, |_| {}).unwrap()
}
