//! A sequential encryptor for small streams: what is written comes out as sealed chunks. One chunk is
//! held back, because only [`EncryptWriter::finish`] can say which one is the last.

use super::{CHUNK_SIZE, ENCRYPTED_CHUNK_SIZE, PayloadKey};
use std::io::{self, Write};
use zeroize::Zeroizing;

/// Encrypts everything written to it into `W`, after a header and nonce already written there.
///
/// Dropped without [`EncryptWriter::finish`] the stream lacks its final chunk, and every reader reports it.
pub struct EncryptWriter<W> {
    inner: W,
    key: PayloadKey,
    chunk: Zeroizing<Vec<u8>>,
    index: u64,
    failed: bool,
}

impl<W: Write> EncryptWriter<W> {
    /// Starts at chunk 0 of a payload under `key`, which must not have sealed anything else.
    #[must_use]
    pub fn new(inner: W, key: PayloadKey) -> Self {
        let chunk = Zeroizing::new(Vec::with_capacity(ENCRYPTED_CHUNK_SIZE));
        EncryptWriter { inner, key, chunk, index: 0, failed: false }
    }

    /// Seals what is held back as the final chunk, flushes, and returns the inner writer.
    ///
    /// # Errors
    /// Whatever the inner writer reports; the stream is then incomplete and readers notice.
    pub fn finish(mut self) -> io::Result<W> {
        self.write_chunk(true)?;
        self.inner.flush()?;
        Ok(self.inner)
    }

    /// After a failed write nobody knows what arrived; sealing again at that index would be a second
    /// plaintext under one nonce, so the writer stays failed.
    fn write_chunk(&mut self, last: bool) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("an earlier chunk could not be written"));
        }
        self.failed = true;
        self.key.seal(self.index, last, &mut self.chunk);
        self.inner.write_all(&self.chunk)?;
        self.chunk.clear();
        self.index += 1;
        self.failed = false;
        Ok(())
    }
}

impl<W: Write> Write for EncryptWriter<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.failed || (self.chunk.len() == CHUNK_SIZE && !data.is_empty()) {
            self.write_chunk(false)?;
        }
        let take = data.len().min(CHUNK_SIZE - self.chunk.len());
        self.chunk.extend_from_slice(&data[..take]);
        Ok(take)
    }

    /// Flushes the inner writer; the chunk held back stays, since a short chunk can only be the last.
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DecryptReader, TAG_SIZE, test_key};
    use super::*;
    use std::io::Read;

    #[test]
    fn round_trips_at_the_boundaries() {
        for len in [0, 1, 65535, 65536, 65537, 131_072, 200_001] {
            let plain: Vec<u8> = (0..len).map(|i: u32| i.to_le_bytes()[0] ^ i.to_le_bytes()[1]).collect();
            let mut writer = EncryptWriter::new(Vec::new(), test_key());
            for piece in plain.chunks(1000) {
                writer.write_all(piece).unwrap();
            }
            let sealed = writer.finish().unwrap();
            let chunks = plain.len().div_ceil(CHUNK_SIZE).max(1);
            assert_eq!(sealed.len(), plain.len() + chunks * TAG_SIZE);
            let mut back = Vec::new();
            DecryptReader::new(&sealed[..], test_key()).read_to_end(&mut back).unwrap();
            assert_eq!(back, plain);
        }
    }

    struct FullDisk;
    impl Write for FullDisk {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_failed_writer_never_seals_again() {
        let mut writer = EncryptWriter::new(FullDisk, test_key());
        writer.write_all(&[0; CHUNK_SIZE]).unwrap();
        assert_eq!(writer.write(b"x").unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(writer.write(b"y").unwrap_err().kind(), io::ErrorKind::Other);
        assert!(writer.finish().is_err());
    }
}
