//! libFuzzer target: see `fuzz::source`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::source(bytes));
