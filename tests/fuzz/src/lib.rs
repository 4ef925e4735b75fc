//! What several targets share: the tests' key pair, and authentic files around any bytes, as a forger makes them
//! who knows a recipient.

use std::io::Write;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use vmcore_encrypt::crypt::recipients::parse_lines;
use vmcore_encrypt::crypt::{EncryptWriter, Entropy, Identities, NoPrompt, Recipients};

/// The tests' identity, and its recipient in a comment.
pub const IDENTITY: &str = include_str!("../../vectors/identity.txt");

/// The identity, read.
pub static IDENTITIES: LazyLock<Identities> = LazyLock::new(|| {
    let mut identities = Identities::new(Arc::new(NoPrompt));
    identities.add_file("fuzz", IDENTITY.as_bytes()).unwrap();
    identities
});

/// The recipient, read.
pub static RECIPIENTS: LazyLock<Recipients> = LazyLock::new(|| {
    let line = IDENTITY.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    Recipients::new(parse_lines(line.as_bytes()).unwrap()).unwrap()
});

/// Calls `action` with randomness.
pub fn with_entropy<T>(action: impl FnOnce(&mut Entropy<'_>) -> T) -> T {
    action(&mut Entropy { limit: Duration::from_secs(10), notify: &mut |_| {} })
}

/// An authentic age file that holds `plain`.
pub fn sealed(plain: &[u8]) -> Vec<u8> {
    let (header, key) = with_entropy(|entropy| RECIPIENTS.wrap(entropy)).unwrap();
    let mut writer = EncryptWriter::new(header, key);
    writer.write_all(plain).unwrap();
    writer.finish().unwrap()
}
