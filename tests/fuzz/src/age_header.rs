//! An age header, binary and in armor: what is read encodes to the same bytes.

use super::IDENTITIES;
use std::io::Read;
use vmcore_encrypt::crypt::{Header, dearmored};

/// Runs the target.
pub fn run(bytes: &[u8]) {
    if let Ok(header) = Header::read(&mut &bytes[..]) {
        assert_eq!(header.encode(), bytes[..header.encoded_len()]);
    }
    let _ = IDENTITIES.open(&mut &bytes[..]);
    let mut binary = Vec::new();
    if dearmored(bytes).and_then(|mut inside| inside.read_to_end(&mut binary)).is_ok() {
        let _ = IDENTITIES.open(&mut &binary[..]);
        assert!(binary.len() <= bytes.len());
    }
}
