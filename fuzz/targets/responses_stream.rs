//! libFuzzer target: see `fuzz::responses_stream`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::responses_stream(bytes));
