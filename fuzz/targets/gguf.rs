//! libFuzzer target: see `fuzz::gguf`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::gguf(bytes));
