//! Cuts the stream into the chunks that are sealed, 64 KiB each. The last chunk must carry its own
//! mark and must not be empty, so a full chunk is held until more bytes come.

use crate::crypt::PayloadKey;
use crate::crypt::stream::{CHUNK_SIZE, TAG_SIZE};
use crate::pipeline::Cost;
use std::collections::VecDeque;

/// Plaintext of one chunk of the payload.
pub(super) struct Chunk {
    /// Its number, from 0.
    pub index: u64,
    /// Whether it is the final one.
    pub last: bool,
    /// Its bytes: [`CHUNK_SIZE`] except for the final one.
    pub bytes: Vec<u8>,
}

impl Chunk {
    /// Seals it: its bytes as they are in the file.
    pub(super) fn seal(mut self, key: &PayloadKey) -> Vec<u8> {
        key.seal(self.index, self.last, &mut self.bytes);
        self.bytes
    }
}

impl Cost for Chunk {
    fn bytes(&self) -> usize {
        self.bytes.capacity()
    }
}

/// The cutter.
#[derive(Default)]
pub(super) struct Chunker {
    current: Vec<u8>,
    index: u64,
}

impl Chunker {
    /// Bytes of the stream so far.
    pub(super) fn position(&self) -> u64 {
        self.index * CHUNK_SIZE as u64 + self.current.len() as u64
    }

    /// Adds bytes; hands out every chunk that is full and followed by more.
    pub(super) fn write(&mut self, mut bytes: &[u8], chunks: &mut VecDeque<Chunk>) {
        while !bytes.is_empty() {
            if self.current.len() == CHUNK_SIZE {
                self.hand_out(false, chunks);
            }
            let room = CHUNK_SIZE - self.current.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            if self.current.capacity() == 0 {
                // Sealing appends a tag: with its room there is no second allocation.
                self.current.reserve_exact(CHUNK_SIZE + TAG_SIZE);
            }
            self.current.extend_from_slice(now);
            bytes = later;
        }
    }

    /// Hands out the final chunk.
    pub(super) fn finish(&mut self, chunks: &mut VecDeque<Chunk>) {
        self.hand_out(true, chunks);
    }

    fn hand_out(&mut self, last: bool, chunks: &mut VecDeque<Chunk>) {
        chunks.push_back(Chunk { index: self.index, last, bytes: std::mem::take(&mut self.current) });
        self.index += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(len: usize, piece: usize) -> Vec<(usize, bool)> {
        let (mut chunker, mut chunks) = (Chunker::default(), VecDeque::new());
        for part in vec![0; len].chunks(piece) {
            chunker.write(part, &mut chunks);
        }
        assert_eq!(chunker.position(), len as u64);
        chunker.finish(&mut chunks);
        chunks.iter().map(|chunk| (chunk.bytes.len(), chunk.last)).collect()
    }

    #[test]
    fn only_the_last_chunk_is_final_and_it_is_never_empty() {
        for piece in [1000, CHUNK_SIZE, CHUNK_SIZE + 1, 1 << 20] {
            assert_eq!(sizes(1, piece), [(1, true)]);
            assert_eq!(sizes(CHUNK_SIZE, piece), [(CHUNK_SIZE, true)]);
            assert_eq!(sizes(CHUNK_SIZE + 1, piece), [(CHUNK_SIZE, false), (1, true)]);
            assert_eq!(sizes(2 * CHUNK_SIZE, piece), [(CHUNK_SIZE, false), (CHUNK_SIZE, true)]);
        }
    }
}
