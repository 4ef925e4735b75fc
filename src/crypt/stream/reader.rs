//! A sequential decryptor for small streams and for readers without a length: chunk after chunk, each
//! released only once it authenticated. Ends cleanly only after a final chunk.

use super::{ENCRYPTED_CHUNK_SIZE, PayloadKey, StreamError};
use std::io::{self, BufRead, Read};
use zeroize::Zeroizing;

/// Decrypts the payload that `R` delivers, from the first chunk on.
///
/// Errors are [`io::Error`]s with a [`StreamError`] inside ([`StreamError::find`] takes it out): truncated is
/// `UnexpectedEof`, corrupt is `InvalidData`. Everything read before the error is authentic.
pub struct DecryptReader<R> {
    inner: R,
    key: PayloadKey,
    chunk: Zeroizing<Vec<u8>>,
    position: usize,
    index: u64,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Reading,
    Finished,
    Failed(StreamError),
}

/// What a chunk that could be opened is.
enum Opened {
    Inner,
    Final,
    /// The final one, and bytes follow it in the same read.
    BeforeMore(StreamError),
}

impl<R: Read> DecryptReader<R> {
    /// Starts at chunk 0; `inner` stands directly after the nonce.
    #[must_use]
    pub fn new(inner: R, key: PayloadKey) -> Self {
        let chunk = Zeroizing::new(Vec::with_capacity(ENCRYPTED_CHUNK_SIZE));
        DecryptReader { inner, key, chunk, position: 0, index: 0, state: State::Reading }
    }

    /// Makes at least one plaintext byte ready, or finds the end.
    fn refill(&mut self) -> io::Result<()> {
        match self.state {
            State::Finished => return Ok(()),
            State::Failed(error) => return Err(error.into()),
            State::Reading => {}
        }
        self.position = 0;
        read_chunk(&mut self.inner, &mut self.chunk)?;
        match self.open_chunk() {
            Ok(Opened::Inner) => self.index += 1,
            Ok(Opened::Final) => self.check_end()?,
            Ok(Opened::BeforeMore(error)) => self.state = State::Failed(error),
            Err(error) => {
                self.chunk.clear();
                self.state = State::Failed(error);
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Opens the chunk; whether it is the final one. Only the last one of an input is short.
    fn open_chunk(&mut self) -> Result<Opened, StreamError> {
        if self.chunk.len() == ENCRYPTED_CHUNK_SIZE {
            let is_final = self.key.open_next(self.index, &mut self.chunk)?;
            return Ok(if is_final { Opened::Final } else { Opened::Inner });
        }
        match self.key.open_last(self.index, &mut self.chunk) {
            Ok(()) => Ok(Opened::Final),
            Err(error @ StreamError::TrailingData { .. }) => Ok(Opened::BeforeMore(error)),
            Err(error) => Err(error),
        }
    }

    /// The final chunk is authentic and is released; data after it fails the read after that.
    fn check_end(&mut self) -> io::Result<()> {
        let mut probe = Vec::with_capacity(1);
        (&mut self.inner).take(1).read_to_end(&mut probe)?;
        self.state = if probe.is_empty() {
            State::Finished
        } else {
            State::Failed(StreamError::TrailingData { chunk: self.index })
        };
        Ok(())
    }
}

/// Reads up to one encrypted chunk; less only at the end of the input.
fn read_chunk(input: &mut impl Read, chunk: &mut Vec<u8>) -> io::Result<()> {
    chunk.clear();
    input.take(ENCRYPTED_CHUNK_SIZE as u64).read_to_end(chunk).map(|_| ())
}

impl<R: Read> BufRead for DecryptReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.position == self.chunk.len() {
            self.chunk.clear();
            self.position = 0;
            self.refill()?;
        }
        Ok(&self.chunk[self.position..])
    }

    fn consume(&mut self, amount: usize) {
        self.position = (self.position + amount).min(self.chunk.len());
    }
}

impl<R: Read> Read for DecryptReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let take = available.len().min(out.len());
        out[..take].copy_from_slice(&available[..take]);
        self.consume(take);
        Ok(take)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CHUNK_SIZE, TAG_SIZE, test_key};
    use super::*;

    fn sealed(chunks: &[(usize, bool)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (index, &(len, last)) in chunks.iter().enumerate() {
            let mut chunk = vec![b'a'; len];
            test_key().seal(index as u64, last, &mut chunk);
            out.extend(chunk);
        }
        out
    }

    fn decrypt(bytes: &[u8]) -> (u64, Option<StreamError>) {
        let mut out = Vec::new();
        let result = DecryptReader::new(bytes, test_key()).read_to_end(&mut out);
        (out.len() as u64, result.err().map(|e| StreamError::find(&e).expect("a stream error")))
    }

    #[test]
    fn a_cut_is_told_from_a_changed_chunk() {
        let stream = sealed(&[(CHUNK_SIZE, false), (CHUNK_SIZE, false), (5, true)]);
        let full = ENCRYPTED_CHUNK_SIZE;
        let plain = CHUNK_SIZE as u64;
        let truncated =
            |chunks: u64, remainder| Some(StreamError::Truncated { plaintext: chunks * plain, remainder });
        assert_eq!(decrypt(&stream), (2 * plain + 5, None));
        assert_eq!(decrypt(&[]), (0, truncated(0, 0)));
        assert_eq!(decrypt(&stream[..full]), (plain, truncated(1, 0)));
        assert_eq!(decrypt(&stream[..full + 100]), (plain, truncated(1, 100)));
        assert_eq!(decrypt(&stream[..2 * full]), (2 * plain, truncated(2, 0)));
        assert_eq!(decrypt(&stream[..stream.len() - 1]), (2 * plain, truncated(2, 20)));
        let mut changed = stream.clone();
        changed[full + 7] ^= 1;
        assert_eq!(decrypt(&changed), (plain, Some(StreamError::Corrupt { chunk: 1 })));
    }

    #[test]
    fn data_after_the_final_chunk_is_an_error_after_it() {
        let mut stream = sealed(&[(5, true)]);
        stream.push(0);
        assert_eq!(decrypt(&stream), (5, Some(StreamError::TrailingData { chunk: 0 })));
        let mut stream = sealed(&[(CHUNK_SIZE, true)]);
        stream.extend([0; TAG_SIZE]);
        assert_eq!(decrypt(&stream), (CHUNK_SIZE as u64, Some(StreamError::TrailingData { chunk: 0 })));
    }

    #[test]
    fn an_error_stays() {
        let stream = sealed(&[(CHUNK_SIZE, false)]);
        let mut reader = DecryptReader::new(&stream[..], test_key());
        let mut sink = Vec::new();
        assert!(reader.read_to_end(&mut sink).is_err());
        assert!(reader.read(&mut [0; 8]).is_err());
    }
}
