//! Streams of other collectors: flattened records as a slice, and restored from an authentic file, plain and in zstd.

use super::{IDENTITIES, sealed};
use std::io::Cursor;
use std::num::NonZero;
use vmcore_encrypt::restore::{self, Output};
use vmcore_encrypt::unstable::kdump::{Records, flat_header};

/// Runs the target.
pub fn run(bytes: &[u8]) {
    let total: usize = Records::new(bytes).filter_map(Result::ok).map(|(_, data)| data.len()).sum();
    assert!(total <= bytes.len());
    let stream = [flat_header(), bytes.to_vec()].concat();
    passed_on(&stream, &stream);
    if let Ok(frames) = zstd::encode_all(&stream[..], 1) {
        passed_on(&frames, &stream);
    }
    // Frames of anybody's making.
    passed_on(&[&[0x28, 0xb5, 0x2f, 0xfd], bytes].concat(), &[]);
}

/// What is restored in the flattened form is the stream itself.
fn passed_on(plain: &[u8], stream: &[u8]) {
    let mut out = Vec::new();
    let result = restore::restore(
        &mut Cursor::new(sealed(plain)),
        &IDENTITIES,
        Output::Flattened(&mut out),
        NonZero::<usize>::MIN,
    );
    assert!(stream.is_empty() || stream.starts_with(&out));
    assert!(stream.is_empty() || result.is_err() || out == stream);
}
