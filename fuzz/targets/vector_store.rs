//! libFuzzer target: see `fuzz::vector_store`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::vector_store(bytes));
