//! libFuzzer target: see `fuzz::openai_embedding`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::openai_embedding(bytes));
