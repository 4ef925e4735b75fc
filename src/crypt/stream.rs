//! The payload of an age file: 64 KiB chunks, each sealed on its own with ChaCha20-Poly1305
//! (C2SP age.md "Payload", STREAM). Here are the key, the per-chunk operations a parallel pipeline
//! needs, and the lengths; `writer` and `reader` chain them for small sequential streams, `random`
//! reads any place of a file. Nothing here knows where the key came from or what the plaintext is.

mod random;
mod reader;
mod writer;

use super::secret::SecretKey;
#[cfg(feature = "convert")]
use super::{Entropy, Error, entropy};
use age_core::format::FileKey;
use age_core::secrecy::ExposeSecret;
use chacha20poly1305::Tag;
use chacha20poly1305::aead::AeadInOut;

pub use crate::read_at::ReadAt;
pub use random::RandomAccess;
pub use reader::DecryptReader;
pub use writer::EncryptWriter;

/// Plaintext bytes in every chunk but the last.
pub const CHUNK_SIZE: usize = 64 * 1024;
/// Bytes of the Poly1305 tag after each chunk's ciphertext.
pub const TAG_SIZE: usize = 16;
/// Bytes of a full chunk in the file.
pub const ENCRYPTED_CHUNK_SIZE: usize = CHUNK_SIZE + TAG_SIZE;
/// Bytes of the nonce between header and first chunk, from which the payload key is derived.
pub const NONCE_SIZE: usize = 16;

/// The instructions that ChaCha20 uses on this processor, as the crate `chacha20` 0.10 chooses them: at run time on x86-64, by
/// the target elsewhere.
#[must_use]
pub fn cipher_instructions() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        if cfg!(chacha20_avx512) && has!("avx512f") && has!("avx512vl") {
            return "AVX-512";
        }
        if has!("avx2") { "AVX2" } else { "SSE2" }
    }
    #[cfg(not(target_arch = "x86_64"))]
    if cfg!(all(target_arch = "aarch64", target_feature = "neon")) {
        "NEON"
    } else {
        "no vector instructions"
    }
}

/// Why a payload is no good. Chunks count from 0; plaintext lengths are bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The input ended before a chunk marked final. `plaintext` bytes before it are authentic.
    #[error("truncated after {plaintext} bytes, the final chunk is missing{}", cut_text(*.remainder))]
    Truncated {
        /// Bytes of plaintext that authenticated.
        plaintext: u64,
        /// Encrypted bytes after them that make no chunk: cut short, or a corrupt last chunk.
        remainder: u64,
    },
    /// A chunk fails to authenticate: some bit of it was changed, or it was moved.
    #[error("corrupt: chunk {chunk} (at byte {} of the payload) fails to authenticate", encrypted_offset(*.chunk))]
    Corrupt {
        /// The chunk.
        chunk: u64,
    },
    /// An empty final chunk after others, which only a broken encryptor makes.
    #[error("corrupt: final chunk {chunk} is empty")]
    EmptyFinalChunk {
        /// The chunk.
        chunk: u64,
    },
    /// Bytes after the final chunk. What came before is authentic and complete.
    #[error("corrupt: data follows the final chunk {chunk}")]
    TrailingData {
        /// The final chunk.
        chunk: u64,
    },
    /// No payload can have this length.
    #[error("corrupt: a payload cannot be {length} bytes long")]
    ImpossibleLength {
        /// Encrypted bytes of the payload, without the nonce.
        length: u64,
    },
}

fn cut_text(remainder: u64) -> String {
    match remainder {
        0 => String::new(),
        n => format!(" (the last {n} bytes of the file are a cut chunk, or a corrupt one)"),
    }
}

impl From<StreamError> for std::io::Error {
    fn from(error: StreamError) -> Self {
        let kind = match error {
            StreamError::Truncated { .. } => std::io::ErrorKind::UnexpectedEof,
            _ => std::io::ErrorKind::InvalidData,
        };
        std::io::Error::new(kind, error)
    }
}

impl StreamError {
    /// The payload error inside an I/O error of [`DecryptReader`] or [`RandomAccess`], if it is one.
    #[must_use]
    pub fn find(error: &std::io::Error) -> Option<StreamError> {
        error.get_ref()?.downcast_ref::<StreamError>().copied()
    }
}

/// The key of one file's payload. Wiped on drop (see `secret`); has no `Debug`, no way to read the bytes back.
///
/// Sealing two different plaintexts at one chunk index under one key breaks the cipher: a stream that
/// starts over needs a new key.
pub struct PayloadKey(SecretKey);

impl PayloadKey {
    /// Derives the payload key: HKDF-SHA-256, input the file key, salt the nonce that follows the
    /// header, info `payload`. Source: C2SP age.md "Payload".
    #[must_use]
    pub fn derive(file_key: &FileKey, nonce: &[u8; NONCE_SIZE]) -> PayloadKey {
        PayloadKey(SecretKey::derive(file_key.expose_secret(), nonce, b"payload"))
    }

    /// A fresh key that no header carries, twice: to write what this process alone shall read, and to read it.
    ///
    /// # Errors
    /// No random bytes.
    #[cfg(feature = "convert")]
    pub fn ephemeral(entropy: &mut Entropy<'_>) -> Result<(PayloadKey, PayloadKey), Error> {
        entropy.wait()?;
        let key = FileKey::try_init_with_mut(|key| entropy::fill(key))?;
        let nonce = [0; NONCE_SIZE];
        Ok((PayloadKey::derive(&key, &nonce), PayloadKey::derive(&key, &nonce)))
    }

    /// Seals one chunk in place and appends its 16-byte tag.
    ///
    /// `chunk` holds exactly [`CHUNK_SIZE`] bytes unless it is the last; the last may be shorter, and empty
    /// only as chunk 0 of an empty payload. Anything else is a bug of the caller and panics.
    pub fn seal(&self, index: u64, last: bool, chunk: &mut Vec<u8>) {
        chunk.reserve_exact(TAG_SIZE);
        let tag = self.seal_detached(index, last, chunk);
        chunk.extend_from_slice(&tag);
    }

    /// Seals one chunk in place and returns the tag, which belongs directly after it in the file.
    /// Lengths as for [`PayloadKey::seal`].
    #[must_use]
    #[inline(never)] // What it leaves on the stack is below its caller's frame.
    #[expect(clippy::expect_used, reason = "a chunk is far below the cipher's 256 GiB limit")]
    pub fn seal_detached(&self, index: u64, last: bool, chunk: &mut [u8]) -> [u8; TAG_SIZE] {
        let full = chunk.len() == CHUNK_SIZE;
        let short_end = last && chunk.len() < CHUNK_SIZE && (!chunk.is_empty() || index == 0);
        assert!(full || short_end, "internal error: chunk {index} of {} bytes", chunk.len());
        let nonce = chunk_nonce(index, last);
        self.0
            .cipher()
            .encrypt_inout_detached(&nonce.into(), b"", chunk.into())
            .expect("internal error: sealing a chunk")
            .into()
    }

    /// Opens one chunk in place: `chunk` is ciphertext and tag, and becomes plaintext.
    ///
    /// # Errors
    /// [`StreamError::Corrupt`] when it does not authenticate at this index with this final mark (`chunk` is
    /// left as it was); [`StreamError::EmptyFinalChunk`].
    pub fn open(&self, index: u64, last: bool, chunk: &mut Vec<u8>) -> Result<(), StreamError> {
        let body = self.open_slice(index, last, chunk)?.len();
        chunk.truncate(body);
        Ok(())
    }

    /// Opens one chunk in place when the reader cannot know yet whether it is the last: a full chunk is
    /// tried as an inner one, then as the final one; a shorter chunk can only be final. Returns whether
    /// it is final.
    ///
    /// # Errors
    /// As [`PayloadKey::open`].
    pub fn open_next(&self, index: u64, chunk: &mut Vec<u8>) -> Result<bool, StreamError> {
        if chunk.len() == ENCRYPTED_CHUNK_SIZE && self.open(index, false, chunk).is_ok() {
            return Ok(false);
        }
        self.open(index, true, chunk).map(|()| true)
    }

    /// Opens the last chunk of an input in place, and tells what its end is: the final chunk, that chunk with bytes after
    /// it, an inner chunk, or the beginning of a chunk. The first three leave their plaintext in `chunk`.
    ///
    /// # Errors
    /// [`StreamError::TrailingData`]; [`StreamError::Truncated`], without a remainder when it is an inner chunk;
    /// [`StreamError::Corrupt`] for a chunk of full length; [`StreamError::EmptyFinalChunk`].
    pub fn open_last(&self, index: u64, chunk: &mut Vec<u8>) -> Result<(), StreamError> {
        let sealed = chunk.len();
        let Err(error) = self.open(index, true, chunk) else { return Ok(()) };
        let before = index * CHUNK_SIZE as u64;
        if self.open(index, false, chunk).is_ok() {
            return Err(StreamError::Truncated { plaintext: before + CHUNK_SIZE as u64, remainder: 0 });
        }
        if opens_before_more(self, index, chunk) {
            return Err(StreamError::TrailingData { chunk: index });
        }
        match error {
            StreamError::Corrupt { .. } if sealed < ENCRYPTED_CHUNK_SIZE => {
                Err(StreamError::Truncated { plaintext: before, remainder: sealed as u64 })
            }
            error => Err(error),
        }
    }

    /// Opens a chunk in place and returns its plaintext, the slice without the tag. Errors as
    /// [`PayloadKey::open`].
    ///
    /// # Errors
    /// As [`PayloadKey::open`].
    #[inline(never)] // As sealing.
    pub fn open_slice<'a>(
        &self,
        index: u64,
        last: bool,
        chunk: &'a mut [u8],
    ) -> Result<&'a mut [u8], StreamError> {
        let corrupt = StreamError::Corrupt { chunk: index };
        let plausible =
            if !last { chunk.len() == ENCRYPTED_CHUNK_SIZE } else { chunk.len() <= ENCRYPTED_CHUNK_SIZE };
        if !plausible {
            return Err(corrupt);
        }
        let (body, tag) = chunk.split_last_chunk_mut::<TAG_SIZE>().ok_or(corrupt)?;
        let nonce = chunk_nonce(index, last);
        let tag: &Tag = (&*tag).into();
        self.0
            .cipher()
            .decrypt_inout_detached(&nonce.into(), b"", (&mut *body).into(), tag)
            .map_err(|_| corrupt)?;
        if body.is_empty() && index > 0 {
            Err(StreamError::EmptyFinalChunk { chunk: index })
        } else {
            Ok(body)
        }
    }
}

/// Opens the last chunk of an input as the final one, in place, where further bytes follow it: a line feed, a sector's
/// padding. Whether it could; then `chunk` is its plaintext.
fn opens_before_more(key: &PayloadKey, index: u64, chunk: &mut Vec<u8>) -> bool {
    let Some(len) = key.0.sealed_prefix(chunk_nonce(index, true), chunk) else { return false };
    let Ok(body) = key.open_slice(index, true, &mut chunk[..len]).map(|body| body.len()) else {
        return false;
    };
    chunk.truncate(body);
    true
}

/// The AEAD nonce of a chunk: its index as an 11-byte big-endian counter, then 1 for the final chunk.
fn chunk_nonce(index: u64, last: bool) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[3..11].copy_from_slice(&index.to_be_bytes());
    nonce[11] = u8::from(last);
    nonce
}

/// Where chunk `index` starts, in bytes from the first chunk.
#[must_use]
pub fn encrypted_offset(index: u64) -> u64 {
    index.saturating_mul(ENCRYPTED_CHUNK_SIZE as u64)
}

/// Encrypted bytes of a payload of `plaintext` bytes, without header and nonce; stops at the largest number.
#[must_use]
pub fn encrypted_len(plaintext: u64) -> u64 {
    let chunks = plaintext.div_ceil(CHUNK_SIZE as u64).max(1);
    plaintext.saturating_add(chunks.saturating_mul(TAG_SIZE as u64))
}

/// Number of chunks in a payload of `encrypted` bytes, header and nonce not counted.
///
/// # Errors
/// [`StreamError::ImpossibleLength`] when no payload has this length: a remainder too short for a tag, or
/// an empty final chunk after others.
pub fn chunk_count(encrypted: u64) -> Result<u64, StreamError> {
    let chunks = encrypted.div_ceil(ENCRYPTED_CHUNK_SIZE as u64);
    let tail = encrypted % ENCRYPTED_CHUNK_SIZE as u64;
    let impossible = match chunks {
        0 => true,
        1 => (1..TAG_SIZE as u64).contains(&tail),
        _ => (1..=TAG_SIZE as u64).contains(&tail),
    };
    if impossible { Err(StreamError::ImpossibleLength { length: encrypted }) } else { Ok(chunks) }
}

/// Plaintext bytes in a payload of `encrypted` bytes. The number is only to be trusted once the last chunk
/// has been opened as the final one.
///
/// # Errors
/// As [`chunk_count`].
pub fn plaintext_len(encrypted: u64) -> Result<u64, StreamError> {
    chunk_count(encrypted).map(|chunks| encrypted - chunks * TAG_SIZE as u64)
}

#[cfg(test)]
pub(crate) fn test_key() -> PayloadKey {
    let file_key = FileKey::new(Box::new(*b"YELLOW SUBMARINE"));
    PayloadKey::derive(&file_key, &[7; NONCE_SIZE])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonce_is_counter_then_final_mark() {
        assert_eq!(chunk_nonce(0x0102, false), [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0]);
        assert_eq!(chunk_nonce(u64::MAX, true)[3..], [255, 255, 255, 255, 255, 255, 255, 255, 1]);
    }

    #[test]
    fn chunks_open_only_at_their_place() {
        let key = test_key();
        for len in [0, 1, CHUNK_SIZE - 1, CHUNK_SIZE] {
            let mut sealed = vec![3; len];
            key.seal(0, true, &mut sealed);
            assert_eq!(sealed.len(), len + TAG_SIZE);
            assert_eq!(key.open(0, false, &mut sealed.clone()), Err(StreamError::Corrupt { chunk: 0 }));
            assert_eq!(key.open(1, true, &mut sealed.clone()), Err(StreamError::Corrupt { chunk: 1 }));
            let untouched = sealed.clone();
            let _ = key.open(9, true, &mut sealed);
            assert_eq!(sealed, untouched);
            assert_eq!(key.open_next(0, &mut sealed), Ok(true));
            assert_eq!(sealed, vec![3; len]);
        }
    }

    #[test]
    fn an_empty_final_chunk_behind_others_is_refused() {
        let key = test_key();
        let tag =
            key.0.cipher().encrypt_inout_detached(&chunk_nonce(1, true).into(), b"", (&mut [][..]).into());
        let mut sealed = tag.unwrap().to_vec();
        assert_eq!(key.open(1, true, &mut sealed), Err(StreamError::EmptyFinalChunk { chunk: 1 }));
    }

    #[test]
    fn the_end_of_an_input_is_what_it_is() {
        let key = test_key();
        for len in [1, 15, 16, 17, 1000, CHUNK_SIZE - 20] {
            let mut sealed = vec![3; len];
            key.seal(2, true, &mut sealed);
            for more in [&b""[..], b"\n", &[0; 4], &sealed.clone()] {
                let mut chunk = [&sealed[..], more].concat();
                chunk.truncate(ENCRYPTED_CHUNK_SIZE);
                let expected =
                    if more.is_empty() { Ok(()) } else { Err(StreamError::TrailingData { chunk: 2 }) };
                assert_eq!(key.open_last(2, &mut chunk), expected, "{len} and {}", more.len());
                assert_eq!(chunk, vec![3; len]);
            }
            let (plaintext, cut) = (2 * CHUNK_SIZE as u64, sealed[..sealed.len() - 1].to_vec());
            let remainder = cut.len() as u64;
            assert_eq!(
                key.open_last(2, &mut cut.clone()),
                Err(StreamError::Truncated { plaintext, remainder })
            );
        }
        let mut inner = vec![3; CHUNK_SIZE];
        key.seal(2, false, &mut inner);
        let plaintext = 3 * CHUNK_SIZE as u64;
        let truncated = StreamError::Truncated { plaintext, remainder: 0 };
        assert_eq!(key.open_last(2, &mut inner.clone()), Err(truncated));
        inner[7] ^= 1;
        assert_eq!(key.open_last(2, &mut inner), Err(StreamError::Corrupt { chunk: 2 }));
    }

    #[test]
    #[should_panic(expected = "internal error")]
    fn a_short_inner_chunk_is_never_sealed() {
        test_key().seal(0, false, &mut vec![0; 100]);
    }

    #[test]
    #[should_panic(expected = "internal error")]
    fn an_oversized_chunk_is_never_sealed() {
        test_key().seal(0, true, &mut vec![0; CHUNK_SIZE + 1]);
    }

    #[test]
    fn lengths_follow_from_chunks() {
        let full = ENCRYPTED_CHUNK_SIZE as u64;
        for (plain, encrypted) in [(0, 16), (1, 17), (65535, 65551), (65536, full), (65537, full + 17)] {
            assert_eq!(encrypted_len(plain), encrypted);
            assert_eq!(plaintext_len(encrypted), Ok(plain));
        }
        for bad in [0, 1, 15, full + 1, full + 15, full + 16, 2 * full + 16] {
            assert_eq!(plaintext_len(bad), Err(StreamError::ImpossibleLength { length: bad }));
        }
    }
}
