//! The chunks of a dump's payload: read one ahead, so that the final one is known, and opened on any thread. What is
//! wrong with one is an error, or in a salvage a fact about it.

use super::Error;
use crate::crypt::stream::{CHUNK_SIZE, ENCRYPTED_CHUNK_SIZE};
use crate::crypt::{PayloadKey, StreamError};
use crate::pipeline::Cost;
use std::io::{self, BufRead, Read};

/// An encrypted chunk.
pub(super) struct SealedChunk {
    index: u64,
    last: bool,
    /// As they are in the file.
    bytes: Vec<u8>,
}

/// A chunk that was opened, or could not be.
pub(super) struct OpenedChunk {
    /// Its number, from 0.
    pub index: u64,
    /// What it holds; none when it could not be opened.
    pub plaintext: Option<Vec<u8>>,
    /// What is wrong with it; nothing unless it is a salvage.
    pub failed: Option<StreamError>,
}

impl Cost for SealedChunk {
    fn bytes(&self) -> usize {
        self.bytes.capacity()
    }
}

impl SealedChunk {
    /// Opens it; for a `salvage` as far as it is authentic.
    pub(super) fn open(mut self, key: &PayloadKey, salvage: bool) -> Result<OpenedChunk, Error> {
        let failed = match self.decrypt(key) {
            Err(error) if !salvage => return Err(error.into()),
            opened => opened.err(),
        };
        // Cut with nothing left over: then it was opened, only not as the final chunk.
        let opened = matches!(failed, None | Some(StreamError::Truncated { remainder: 0, .. }));
        Ok(OpenedChunk { index: self.index, plaintext: opened.then_some(self.bytes), failed })
    }

    /// What it holds, final or not, without taking it; nothing when that is not authentic.
    fn peek(&self, key: &PayloadKey) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        if key.open_next(self.index, &mut bytes).is_err() {
            bytes.clear();
        }
        bytes
    }

    /// Decrypts in place. Where the input ends without its final chunk the error says so, not "corrupt".
    fn decrypt(&mut self, key: &PayloadKey) -> Result<(), StreamError> {
        let sealed_len = self.bytes.len();
        let opened = key.open(self.index, self.last, &mut self.bytes);
        if opened.is_ok() || !self.last {
            return opened;
        }
        let before = self.index * CHUNK_SIZE as u64;
        if key.open(self.index, false, &mut self.bytes).is_ok() {
            return Err(StreamError::Truncated { plaintext: before + CHUNK_SIZE as u64, remainder: 0 });
        }
        if sealed_len < ENCRYPTED_CHUNK_SIZE {
            return Err(StreamError::Truncated { plaintext: before, remainder: sealed_len as u64 });
        }
        opened
    }
}

/// Reads the payload chunk by chunk.
pub(super) struct ChunkSource<'a> {
    input: &'a mut (dyn BufRead + Send),
    /// The first chunk when it was read before its turn.
    first: Option<SealedChunk>,
    index: u64,
    ended: bool,
}

impl<'a> ChunkSource<'a> {
    /// From an input that is positioned at the first chunk.
    pub(super) fn new(input: &'a mut (dyn BufRead + Send)) -> ChunkSource<'a> {
        ChunkSource { input, first: None, index: 0, ended: false }
    }

    /// What the first chunk holds, without taking it; nothing when that is not authentic.
    pub(super) fn peek(&mut self, key: &PayloadKey) -> Result<Vec<u8>, Error> {
        self.first = self.read_chunk()?;
        Ok(self.first.as_ref().map(|first| first.peek(key)).unwrap_or_default())
    }

    /// The encrypted bytes again, as a reader: the first chunk, if it was read, and what follows.
    pub(super) fn into_read(self) -> impl Read + 'a {
        let first = self.first.map(|first| first.bytes).unwrap_or_default();
        io::Cursor::new(first).chain(self.input)
    }

    fn read_chunk(&mut self) -> Result<Option<SealedChunk>, Error> {
        if self.ended {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(ENCRYPTED_CHUNK_SIZE);
        let mut input = (&mut *self.input).take(ENCRYPTED_CHUNK_SIZE as u64);
        input.read_to_end(&mut bytes).map_err(Error::Read)?;
        self.ended = self.input.fill_buf().map_err(Error::Read)?.is_empty();
        let chunk = SealedChunk { index: self.index, last: self.ended, bytes };
        self.index += 1;
        Ok(Some(chunk))
    }
}

impl Iterator for ChunkSource<'_> {
    type Item = Result<SealedChunk, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.first.take() {
            Some(first) => Some(Ok(first)),
            None => self.read_chunk().transpose(),
        }
    }
}
