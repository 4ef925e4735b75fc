//! The chunks of a dump's payload: read one ahead, so that the final one is known, and opened on any thread. What is
//! wrong with one is an error, or in a salvage a fact about it.

use super::Error;
use crate::crypt::stream::ENCRYPTED_CHUNK_SIZE;
use crate::crypt::{PayloadKey, StreamError};
use crate::pipeline::Cost;
use std::io::{self, BufRead, Read};
use std::sync::atomic::{AtomicU32, Ordering};

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

/// How often a salvage looks for the end of the payload in a damaged chunk: each look costs as much as decrypting a few
/// chunks, and a dump may have any number of damaged ones.
pub(super) struct EndSearch(AtomicU32);

impl EndSearch {
    /// Nothing was searched.
    pub(super) fn new() -> EndSearch {
        EndSearch(AtomicU32::new(64))
    }

    fn may_look(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

impl SealedChunk {
    /// Opens it; for a salvage, which brings a `search`, as far as it is authentic.
    pub(super) fn open(mut self, key: &PayloadKey, search: Option<&EndSearch>) -> Result<OpenedChunk, Error> {
        let failed = match self.decrypt(key, search) {
            Err(error) if search.is_none() => return Err(error.into()),
            opened => opened.err(),
        };
        // Cut with nothing left over, or followed by other bytes: then it was opened, only not as the last chunk.
        let opened = matches!(
            failed,
            None | Some(StreamError::Truncated { remainder: 0, .. } | StreamError::TrailingData { .. })
        );
        Ok(OpenedChunk { index: self.index, plaintext: opened.then_some(self.bytes), failed })
    }

    /// What it holds, final or not, without taking it; nothing when that is not authentic.
    fn peek(&self, key: &PayloadKey) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        match key.open_last(self.index, &mut bytes) {
            Ok(()) | Err(StreamError::TrailingData { .. } | StreamError::Truncated { remainder: 0, .. }) => {
                bytes
            }
            Err(_) => Vec::new(),
        }
    }

    /// Decrypts in place. Where the input ends without its final chunk the error is that, not "corrupt".
    fn decrypt(&mut self, key: &PayloadKey, search: Option<&EndSearch>) -> Result<(), StreamError> {
        if self.last {
            return key.open_last(self.index, &mut self.bytes);
        }
        let opened = key.open(self.index, false, &mut self.bytes);
        if opened.is_err() && search.is_none_or(EndSearch::may_look) {
            let end = key.open_last(self.index, &mut self.bytes);
            if matches!(end, Ok(()) | Err(StreamError::TrailingData { .. })) {
                return Err(StreamError::TrailingData { chunk: self.index });
            }
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
