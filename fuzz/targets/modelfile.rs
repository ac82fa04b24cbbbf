//! libFuzzer target: see `fuzz::modelfile`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::modelfile(bytes));
