//! libFuzzer target: see `fuzz::openai_speech`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::openai_speech(bytes));
