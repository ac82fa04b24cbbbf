//! libFuzzer target: see `fuzz::ollama_chat`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::ollama_chat(bytes));
