//! Hands the fuzzer's bytes to [`vmcore_encrypt_fuzz::report`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vmcore_encrypt_fuzz::report::run(bytes));
