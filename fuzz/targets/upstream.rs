//! libFuzzer target: see `fuzz::upstream`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::upstream(bytes));
