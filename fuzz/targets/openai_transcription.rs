//! libFuzzer target: see `fuzz::openai_transcription`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::openai_transcription(bytes));
