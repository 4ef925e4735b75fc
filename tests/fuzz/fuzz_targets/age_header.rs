//! An age header, binary and in armor: what is read encodes to the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::Read;
use vmcore_encrypt::crypt::{Header, dearmored};
use vmcore_encrypt_fuzz::IDENTITIES;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(header) = Header::read(&mut &bytes[..]) {
        assert_eq!(header.encode(), bytes[..header.encoded_len()]);
    }
    let _ = IDENTITIES.open(&mut &bytes[..]);
    let mut binary = Vec::new();
    if dearmored(bytes).and_then(|mut inside| inside.read_to_end(&mut binary)).is_ok() {
        let _ = IDENTITIES.open(&mut &binary[..]);
        assert!(binary.len() <= bytes.len());
    }
});
