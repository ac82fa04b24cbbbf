//! libFuzzer target: see `fuzz::openai_chat`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::openai_chat(bytes));
