//! Sealing of single lines: each is encrypted and authenticated on its own, so that a log which loses some
//! still gives the others. Not a payload of age: the key comes from an age header's file key, but by a name of its
//! own, so neither can be taken for the other. What lines look like is not decided here.

use super::secret::SecretKey;
use super::stream::NONCE_SIZE;
use age_core::format::FileKey;
use age_core::secrecy::ExposeSecret;
use chacha20poly1305::aead::Aead;

/// Name the key is derived by.
const INFO: &[u8] = b"vmcore-encrypt kmsg v1";

/// The key of one log's lines. Wiped on drop (see `secret`); has no `Debug`, no way to read the bytes back.
pub struct LineKey(SecretKey);

impl LineKey {
    /// HKDF-SHA-256: input the file key, salt the nonce after the header, info [`INFO`].
    pub(super) fn derive(file_key: &FileKey, nonce: &[u8; NONCE_SIZE]) -> LineKey {
        LineKey(SecretKey::derive(file_key.expose_secret(), nonce, INFO))
    }

    /// Seals a line; 16 bytes longer. `number` must be another one for every line under this key, else
    /// the cipher breaks: count from 0 and never go back.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a line is far below the cipher's 256 GiB limit")]
    pub fn seal(&self, number: u64, line: &[u8]) -> Vec<u8> {
        self.0.cipher().encrypt(&nonce(number).into(), line).expect("internal error: sealing a line")
    }

    /// Opens a line that was sealed under this number; `None` when any bit of it, or its number, was changed.
    #[must_use]
    pub fn open(&self, number: u64, sealed: &[u8]) -> Option<Vec<u8>> {
        self.0.cipher().decrypt(&nonce(number).into(), sealed).ok()
    }
}

/// The number as 12 bytes, big endian.
fn nonce(number: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number.to_be_bytes());
    nonce
}

#[cfg(test)]
mod tests {
    use super::super::stream::PayloadKey;
    use super::*;

    fn key() -> LineKey {
        LineKey::derive(&FileKey::new(Box::new([7; 16])), &[9; NONCE_SIZE])
    }

    #[test]
    fn a_line_opens_under_its_number_and_unchanged_only() {
        for line in [&b""[..], b"x", &[5; 624]] {
            let sealed = key().seal(3, line);
            assert_eq!(sealed.len(), line.len() + 16);
            assert_eq!(key().open(3, &sealed).as_deref(), Some(line));
            assert_eq!(key().open(4, &sealed), None);
            assert_eq!(key().open(3, &sealed[1..]), None);
            for bit in 0..sealed.len() * 8 {
                let mut changed = sealed.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(key().open(3, &changed), None);
            }
        }
    }

    #[test]
    fn a_line_is_no_chunk_of_an_age_file() {
        let mut chunk = b"text".to_vec();
        PayloadKey::derive(&FileKey::new(Box::new([7; 16])), &[9; NONCE_SIZE]).seal(0, true, &mut chunk);
        assert_ne!(key().seal(0, b"text"), chunk);
        assert_eq!(key().open(0, &chunk), None);
    }

    /// Computed with Python: `HKDF(SHA256, 32, salt, info)` and `ChaCha20Poly1305` of the package cryptography.
    #[test]
    fn expected_bytes() {
        let hex: String = key().seal(258, b"line").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "bf0106e90deb62b2229743c6f61781340ba176d1");
    }
}
