//! Hands the fuzzer's bytes to [`vmcore_encrypt_fuzz::plain`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vmcore_encrypt_fuzz::plain::run(bytes));
