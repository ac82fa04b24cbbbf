//! libFuzzer target: see `fuzz::infill`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::infill(bytes));
