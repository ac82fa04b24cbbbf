//! libFuzzer target: see `fuzz::openai_completion`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::openai_completion(bytes));
