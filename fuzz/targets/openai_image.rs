//! libFuzzer target: see `fuzz::openai_image`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::openai_image(bytes));
