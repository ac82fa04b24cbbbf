//! libFuzzer target: see `fuzz::ollama_generate`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::ollama_generate(bytes));
