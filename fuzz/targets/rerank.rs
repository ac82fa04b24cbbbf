//! libFuzzer target: see `fuzz::rerank`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::rerank(bytes));
