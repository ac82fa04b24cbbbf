//! libFuzzer target: see `fuzz::anthropic_count`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::anthropic_count(bytes));
