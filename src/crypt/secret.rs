//! A key in memory. It is in a page of its own that the kernel keeps out of swap and of core files, and is wiped on
//! drop; what computing with it leaves on a thread's stack is wiped when the thread ends and when the key goes.
//! Moving a Rust value copies it, so a key that is a plain value would leave copies wherever it was passed through.

use super::stream::TAG_SIZE;
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use hkdf::Hkdf;
use memmap2::{Advice, MmapMut};
use poly1305::{Poly1305, universal_hash::UniversalHash};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a key.
const KEY_SIZE: usize = 32;
/// Bytes of stack that are wiped: several times what deriving a key or sealing a chunk takes.
const STACK: usize = 64 << 10;

/// A derived key for ChaCha20-Poly1305. Has no `Debug`, no way to read the bytes back.
pub(super) struct SecretKey(Place);

enum Place {
    /// Locked into memory and left out of core files, as far as the kernel allows.
    Page(MmapMut),
    /// Where no page can be mapped.
    Heap(Box<[u8; KEY_SIZE]>),
}

impl SecretKey {
    /// Derives a key by HKDF-SHA-256 (RFC 5869).
    pub(super) fn derive(input: &[u8], salt: &[u8], info: &[u8]) -> SecretKey {
        let mut key = SecretKey(Place::new());
        expand(input, salt, info, key.0.bytes_mut());
        wipe_stack();
        key
    }

    /// The cipher under this key, for one operation; it wipes its own copy. This thread's stack is wiped when the thread exits.
    pub(super) fn cipher(&self) -> ChaCha20Poly1305 {
        AT_THREAD_END.with(|_| {});
        ChaCha20Poly1305::new(self.0.bytes().into())
    }

    /// How many of these bytes, from the first on, are a message sealed with `nonce`, its tag included; `None` when no
    /// beginning of them is. Takes one pass, where trying every length would take one for each.
    /// Source: RFC 8439 sections 2.6 and 2.8.
    pub(super) fn sealed_prefix(&self, nonce: [u8; 12], bytes: &[u8]) -> Option<usize> {
        let mut key = Zeroizing::new([0; KEY_SIZE]);
        ChaCha20::new(self.0.bytes().into(), &nonce.into()).apply_keystream(&mut key[..]);
        let mut mac = Poly1305::new((&*key).into());
        for (number, block) in bytes.chunks(16).enumerate() {
            for rest in 0..block.len() {
                let len = number * 16 + rest;
                let tag = bytes.get(len..len + TAG_SIZE)?;
                let mut lengths = [0; 16];
                lengths[8..].copy_from_slice(&(len as u64).to_le_bytes());
                let mut mac = mac.clone();
                mac.update_padded(&block[..rest]);
                mac.update_padded(&lengths);
                if mac.finalize()[..] == *tag {
                    return Some(len + TAG_SIZE);
                }
            }
            mac.update_padded(block);
        }
        None
    }
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.0.bytes_mut().zeroize();
        wipe_stack();
    }
}

impl Place {
    fn new() -> Place {
        match MmapMut::map_anon(KEY_SIZE) {
            Ok(page) => {
                // Best effort: RLIMIT_MEMLOCK may not allow a page, and core files are ruled out anyway.
                let _ = page.lock();
                let _ = page.advise(Advice::DontDump);
                Place::Page(page)
            }
            Err(_) => Place::Heap(Box::new([0; KEY_SIZE])),
        }
    }

    fn bytes(&self) -> &[u8; KEY_SIZE] {
        match self {
            Place::Page(page) => first(page),
            Place::Heap(bytes) => bytes,
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8; KEY_SIZE] {
        match self {
            Place::Page(page) => first_mut(page),
            Place::Heap(bytes) => bytes,
        }
    }
}

#[expect(clippy::expect_used, reason = "the map was made with this length")]
fn first(page: &[u8]) -> &[u8; KEY_SIZE] {
    page.first_chunk().expect("internal error: a key's page")
}

#[expect(clippy::expect_used, reason = "the map was made with this length")]
fn first_mut(page: &mut [u8]) -> &mut [u8; KEY_SIZE] {
    page.first_chunk_mut().expect("internal error: a key's page")
}

/// Not inlined: what it leaves on the stack must be below its caller's frame, where [`wipe_stack`] wipes.
#[inline(never)]
#[expect(clippy::expect_used, reason = "one block is far below what HKDF can give")]
fn expand(input: &[u8], salt: &[u8], info: &[u8], key: &mut [u8; KEY_SIZE]) {
    Hkdf::<Sha256>::new(Some(salt), input).expand(info, key).expect("internal error: deriving a key");
}

/// Overwrites the stack below its caller's frame: what calls that have returned left there.
#[inline(never)]
fn wipe_stack() {
    let mut below = [0_u8; STACK];
    below.zeroize();
    std::hint::black_box(&below);
}

/// Wipes the stack of a thread that sealed or opened something when the thread ends.
struct AtThreadEnd;

thread_local! {
    static AT_THREAD_END: AtThreadEnd = const { AtThreadEnd };
}

impl Drop for AtThreadEnd {
    fn drop(&mut self) {
        wipe_stack();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5869 appendix A.1, the first 32 bytes.
    #[test]
    fn keys_are_those_of_hkdf() {
        let salt: Vec<u8> = (0..=12).collect();
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        let key = SecretKey::derive(&[0x0b; 22], &salt, &info);
        let expected = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf";
        let hex: String = key.0.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
    }

    #[test]
    fn a_key_without_a_page_works_too() {
        let mut key = SecretKey(Place::Heap(Box::new([0; KEY_SIZE])));
        expand(b"input", b"salt", b"info", key.0.bytes_mut());
        assert_eq!(key.0.bytes(), SecretKey::derive(b"input", b"salt", b"info").0.bytes());
    }
}
