//! libFuzzer target: see `fuzz::anthropic_messages`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::anthropic_messages(bytes));
