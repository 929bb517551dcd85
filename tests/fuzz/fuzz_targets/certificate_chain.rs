//! See `tests/src/fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dromon_fuzz::fuzz::certificate_chain(bytes));
