//! libFuzzer target: see `fuzz::ollama_embed`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::ollama_embed(bytes));
