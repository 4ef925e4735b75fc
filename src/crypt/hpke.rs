//! The one mode of HPKE that age uses: base mode, one message, HKDF-SHA-256, ChaCha20-Poly1305, empty associated
//! data, sealing a file key. The KEM's shared secret comes in from outside. Source: RFC 9180
//! sections 4 and 5.

use super::stream::TAG_SIZE;
use age_core::format::FILE_KEY_BYTES;
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

/// KDF and AEAD identifiers of RFC 9180 section 7: HKDF-SHA256, ChaCha20Poly1305.
const KDF_ID: u16 = 0x0001;
const AEAD_ID: u16 = 0x0003;
const MODE_BASE: u8 = 0;

/// A sealed file key: ciphertext and tag.
pub(super) type SealedKey = [u8; FILE_KEY_BYTES + TAG_SIZE];

/// A KEM and the application's info string.
pub(super) struct Suite {
    /// The KEM's identifier.
    pub kem_id: u16,
    /// What the key is for.
    pub info: &'static [u8],
}

impl Suite {
    /// Seals a file key under a KEM's shared secret, which must be fresh.
    #[expect(clippy::expect_used, reason = "16 bytes are below the cipher's limit")]
    pub(super) fn seal(&self, secret: &[u8; 32], file_key: &[u8; FILE_KEY_BYTES]) -> Vec<u8> {
        let (cipher, nonce) = self.schedule(secret);
        let mut body = file_key.to_vec();
        let tag = cipher
            .encrypt_inout_detached(&nonce.into(), b"", body.as_mut_slice().into())
            .expect("internal error: sealing a file key");
        body.extend_from_slice(&tag);
        body
    }

    /// Opens a sealed file key; `None` when it is not for this shared secret.
    pub(super) fn open(
        &self,
        secret: &[u8; 32],
        sealed: &SealedKey,
    ) -> Option<Zeroizing<[u8; FILE_KEY_BYTES]>> {
        let (cipher, nonce) = self.schedule(secret);
        let (body, tag) = sealed.split_first_chunk::<FILE_KEY_BYTES>()?;
        let tag: &[u8; TAG_SIZE] = tag.try_into().ok()?;
        let mut key = Zeroizing::new(*body);
        cipher.decrypt_inout_detached(&nonce.into(), b"", key.as_mut_slice().into(), tag.into()).ok()?;
        Some(key)
    }

    /// The key schedule of RFC 9180 section 5.1, without PSK.
    fn schedule(&self, secret: &[u8; 32]) -> (ChaCha20Poly1305, [u8; 12]) {
        let mut context = vec![MODE_BASE];
        for (label, value) in [(&b"psk_id_hash"[..], &b""[..]), (b"info_hash", self.info)] {
            context.extend_from_slice(&*self.extract(b"", label, value).0);
        }
        let (_, secret) = self.extract(secret, b"secret", b"");
        let mut key = Zeroizing::new([0; 32]);
        self.expand(&secret, b"key", &context, &mut *key);
        let mut nonce = [0; 12];
        self.expand(&secret, b"base_nonce", &context, &mut nonce);
        (ChaCha20Poly1305::new((&*key).into()), nonce)
    }

    /// LabeledExtract, section 4.
    fn extract(&self, salt: &[u8], label: &[u8], value: &[u8]) -> (Zeroizing<[u8; 32]>, Hkdf<Sha256>) {
        let input = [b"HPKE-v1", &self.id()[..], label, value].concat();
        let (prk, hkdf) = Hkdf::extract(Some(salt), &input);
        (Zeroizing::new(prk.into()), hkdf)
    }

    /// LabeledExpand, section 4.
    #[expect(clippy::expect_used, reason = "12 and 32 bytes are below HKDF's limit of 8,160")]
    fn expand(&self, secret: &Hkdf<Sha256>, label: &[u8], context: &[u8], out: &mut [u8]) {
        let length = u16::try_from(out.len()).expect("internal error: HKDF output length").to_be_bytes();
        secret
            .expand_multi_info(&[&length, b"HPKE-v1", &self.id(), label, context], out)
            .expect("internal error: HKDF output length");
    }

    /// `suite_id` of section 5.1.
    fn id(&self) -> [u8; 10] {
        let [k0, k1] = self.kem_id.to_be_bytes();
        let [d0, d1] = KDF_ID.to_be_bytes();
        let [a0, a1] = AEAD_ID.to_be_bytes();
        [b'H', b'P', b'K', b'E', k0, k1, d0, d1, a0, a1]
    }
}
