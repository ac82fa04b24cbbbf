//! libFuzzer target: see `fuzz::responses_request`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::responses_request(bytes));
