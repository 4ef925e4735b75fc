//! Hands the fuzzer's bytes to [`vmcore_encrypt_fuzz::btf`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vmcore_encrypt_fuzz::btf::run(bytes));
