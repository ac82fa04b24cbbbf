//! The models of these tests, and engines' models of them.

use std::path::{Path, PathBuf};
use std::process::Command;

use worker_protocol::{Adapter, Load, LoadFailure, Scale, Speculation};

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
    made_like("tiny", architecture, quantization, folder)
}

/// A model of this shape with random weights, made in `folder`.
pub(crate) fn made_like(
    like: &str,
    architecture: &str,
    quantization: &str,
    folder: &Path,
) -> PathBuf {
    let out = folder.join(format!("{architecture}-{like}-{quantization}.gguf"));
    let made = Command::new(env!("CARGO"))
        .args(["xtask", "make-model", "--arch", architecture, "--like", like])
        .args(["--quant", quantization, "--out"])
        .arg(&out)
        .status()
        .unwrap();
    assert!(made.success());
    out
}

/// An adapter of rank 4 with random weights for a model of this shape, made in `folder`.
pub(crate) fn made_adapter(architecture: &str, like: &str, seed: &str, folder: &Path) -> PathBuf {
    let out = folder.join(format!("adapter-{architecture}-{like}-{seed}.gguf"));
    let made = Command::new(env!("CARGO"))
        .args(["xtask", "make-model", "--arch", architecture, "--like", like])
        .args(["--quant", "f32", "--adapter", "4", "--seed", seed, "--out"])
        .arg(&out)
        .status()
        .unwrap();
    assert!(made.success());
    out
}

/// A model with adapters, each with a scale, for so many sequences.
pub(crate) fn load_adapted(
    path: &Path,
    adapters: &[(&Path, f32)],
    sequences_max: u32,
) -> LlamaModel {
    let adapter = |(place, (path, scale)): (usize, &(&Path, f32))| Adapter {
        name: place.to_string(),
        path: path.to_path_buf(),
        scale: Scale(*scale),
    };
    let adapters = adapters.iter().enumerate().map(adapter).collect();
    loaded(&Load { sequences_max, adapters, ..on(1, path) })
}

/// A projector of this kind with random weights, for a model of this shape, made in `folder`.
pub(crate) fn made_projector(kind: &str, architecture: &str, like: &str, folder: &Path) -> PathBuf {
    let out = folder.join(format!("mmproj-{kind}-{architecture}-{like}.gguf"));
    let made = Command::new(env!("CARGO"))
        .args(["xtask", "make-model", "--arch", architecture, "--like", like])
        .args(["--quant", "f32", "--projector", kind, "--out"])
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
    load_guessing(path, kv_type, sequences_max, &Speculation::default())
}

/// As [`load`], of a model that guesses ahead, and can take back as many tokens as it guesses.
pub(crate) fn load_guessing(
    path: &Path,
    kv_type: &str,
    sequences_max: u32,
    speculation: &Speculation,
) -> LlamaModel {
    let taken_back_max = speculation.tokens.unwrap_or(0);
    loaded(&Load {
        sequences_max,
        kv_type: Some(kv_type.to_owned()),
        speculation: speculation.clone(),
        taken_back_max,
        ..on(1, path)
    })
}

/// A model with a projector, and whether the user named that.
pub(crate) fn load_seeing(
    path: &Path,
    (projector, projector_is_named): (&Path, bool),
    sequences_max: u32,
) -> Result<LlamaModel, LoadFailure> {
    log::silence();
    let projector = Some(projector.to_owned());
    let load = Load { sequences_max, projector, projector_is_named, ..on(1, path) };
    LlamaModel::load(&load, |_| {})
}

/// A model on so many threads.
pub(crate) fn load_on(threads: u32, path: &Path) -> LlamaModel {
    loaded(&on(threads, path))
}

fn on(threads: u32, path: &Path) -> Load {
    Load {
        path: path.to_owned(),
        context_tokens: Some(2048),
        sequences_max: 1,
        threads: Some(threads),
        kv_type: None,
        keep: None,
        speculation: Speculation::default(),
        taken_back_max: 0,
        projector: None,
        projector_is_named: false,
        adapters: Vec::new(),
        chat_template: None,
    }
}

fn loaded(load: &Load) -> LlamaModel {
    log::silence();
    LlamaModel::load(load, |_| {}).unwrap()
}
