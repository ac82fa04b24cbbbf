//! libFuzzer target: see `fuzz::kv_entry`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::kv_entry(bytes));
