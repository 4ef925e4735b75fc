//! The stream as frames, in order: facts, flattened records, blocks with their maps, index pieces; cut into the chunks
//! that are sealed. What the frames hold is decided elsewhere (`assemble`, `tables`).

use super::Error;
use super::chunks::{Chunk, Chunker};
use crate::blocks::{
    BlockCompressor, BlockMap, IndexPiece, IndexWriter, RunKind, raw_frame, skippable_frame,
};
use crate::kdump::record_head;
use crate::units::PageSize;
use std::collections::VecDeque;

/// Writes frames.
pub(super) struct Frames {
    chunker: Chunker,
    compressor: BlockCompressor,
    /// Frames that are not cut into chunks yet.
    pending: Vec<u8>,
    index: IndexWriter,
    page: PageSize,
    /// Where the next data page will be in the KDUMP file.
    data_next: u64,
}

impl Frames {
    /// An empty stream; its first data page will be at `data` of the KDUMP file.
    pub(super) fn new(page: PageSize, data: u64) -> Result<Frames, Error> {
        Ok(Frames {
            chunker: Chunker::default(),
            compressor: BlockCompressor::new(1)?,
            pending: Vec::new(),
            index: IndexWriter::default(),
            page,
            data_next: data,
        })
    }

    /// Where the next frame will start in the stream.
    pub(super) fn position(&self) -> u64 {
        self.chunker.position() + self.pending.len() as u64
    }

    /// The frames that are not handed out yet.
    pub(super) fn in_hand(&self) -> &[u8] {
        &self.pending
    }

    /// Bytes of the stream that the next piece of the index takes at most.
    pub(super) fn room(&self) -> u64 {
        self.index.pending()
    }

    /// Writes a frame that only our readers read.
    pub(super) fn tagged(&mut self, tag: [u8; 4], content: &[u8]) {
        skippable_frame(&mut self.pending, tag, content);
    }

    /// Writes 16 bytes as a frame of their own, not compressed.
    pub(super) fn raw(&mut self, content: [u8; 16]) {
        raw_frame(&mut self.pending, content);
    }

    /// Writes a piece of the flattened stream as a frame of its own.
    pub(super) fn compressed(&mut self, content: &[u8]) -> Result<(), Error> {
        Ok(self.compressor.compress(content, &mut self.pending)?)
    }

    /// Writes a frame that was compressed before.
    pub(super) fn whole(&mut self, frame: &[u8]) {
        self.pending.extend_from_slice(frame);
    }

    /// Writes one flattened record as a frame of its own; nothing when it is empty.
    pub(super) fn record(&mut self, offset: u64, data: &[u8]) -> Result<(), Error> {
        if data.is_empty() {
            return Ok(());
        }
        let mut content = Vec::with_capacity(16 + data.len());
        content.extend_from_slice(&record_head(offset, data.len() as u64));
        content.extend_from_slice(data);
        self.compressed(&content)
    }

    /// Writes a block's frames: map, record head, pages. Gives the map its place in the file.
    pub(super) fn block(&mut self, mut map: BlockMap, pages: &[u8]) -> BlockMap {
        let start = self.position();
        map.data_offset = self.data_next;
        let mut encoded = Vec::new();
        map.encode(&mut encoded);
        self.tagged(BlockMap::TAG, &encoded);
        let bytes = map.count(RunKind::Data) << self.page.shift();
        if bytes > 0 {
            self.raw(record_head(self.data_next, bytes));
            self.pending.extend_from_slice(pages);
            self.data_next += bytes;
        }
        self.index.push(start, self.position() - start, &map);
        map
    }

    /// Writes a piece of the index if enough is in hand for one.
    pub(super) fn index_if_due(&mut self) {
        if self.index.is_due() {
            self.index();
        }
    }

    /// Writes what the index has in hand; the place of the last piece, if there is any.
    pub(super) fn index(&mut self) -> Option<u64> {
        if let Some(piece) = self.index.take_piece(self.position()) {
            self.tagged(IndexPiece::TAG, &piece);
        }
        self.index.last_piece()
    }

    /// Hands out the chunks that are full.
    pub(super) fn flush(&mut self, chunks: &mut VecDeque<Chunk>) {
        self.chunker.write(&self.pending, chunks);
        self.pending.clear();
    }

    /// Hands out the rest, the final chunk among them.
    pub(super) fn finish(&mut self, chunks: &mut VecDeque<Chunk>) {
        self.flush(chunks);
        self.chunker.finish(chunks);
    }
}
