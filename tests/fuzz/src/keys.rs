//! Recipients files and identity files.

use std::sync::Arc;
use vmcore_encrypt::crypt::recipients::parse_lines;
use vmcore_encrypt::crypt::{Identities, NoPrompt, Recipients};

/// Runs the target.
pub fn run(bytes: &[u8]) {
    if let Ok(list) = parse_lines(bytes)
        && let Ok(recipients) = Recipients::new(list)
    {
        assert!(!recipients.fingerprint().is_empty());
    }
    let mut identities = Identities::new(Arc::new(NoPrompt));
    let read = identities.add_file("fuzz", bytes);
    assert!(read.is_err() || !identities.is_empty());
}
