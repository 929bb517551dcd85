//! See `dromon_tests::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dromon_tests::fuzz::h2_to_h1(bytes));
