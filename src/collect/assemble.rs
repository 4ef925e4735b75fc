//! Puts the stream together, in order: head, bitmaps and descriptors as flattened records, blocks of
//! pages with their maps, index pieces, tail; and cuts it into the chunks that will be sealed. What
//! happens here happens on one thread at a time, so nothing here touches page contents but the copy
//! of compressed bytes into a chunk.

use super::chunks::{Chunk, Chunker};
use super::read::ReadBlock;
use super::{Error, facts::DumpFacts, pages::Job};
use crate::blocks::{BlockCompressor, BlockMap, ClassCounts, Head, IndexPiece, IndexWriter, RunKind, Tail};
use crate::blocks::{raw_frame, skippable_frame};
use crate::kdump::{self, DESC_LEN, DescFlags, END_RECORD, Layout, PageDesc, record_head};
use crate::units::{ByteOrder, Pfn, PfnRange};

/// Descriptors and bitmap bytes travel in records of about this size: few records, since `crash` pays
/// for each one, yet little memory.
const RECORD_BYTES: usize = 64 << 10;
/// A longer run of zero bytes than this ends a bitmap record; bytes nobody wrote read as zero.
const BITMAP_GAP: u64 = 4 << 10;
/// Room that a size limit keeps for what ends a dump: records in hand, index piece, status, tail.
const TAIL_ROOM: u64 = 4 * RECORD_BYTES as u64 + (64 << 10);

/// The stream under construction.
pub struct Assembler {
    chunker: Chunker,
    compressor: BlockCompressor,
    order: ByteOrder,
    present: u64,
    max_mapnr: u64,
    layout: Layout,
    zero_page: u64,
    data_next: u64,
    table: Table,
    bitmap: BitmapPiece,
    early: Vec<(Pfn, u64)>,
    index: IndexWriter,
    limit: Option<u64>,
    full: bool,
    frames: Vec<u8>,
    /// What was found by content: zero, unreadable and saved pages.
    pub found: ClassCounts,
}

/// Descriptors not yet written.
struct Table {
    rank: u64,
    bytes: Vec<u8>,
}

/// Bytes of the second bitmap not yet written.
#[derive(Default)]
struct BitmapPiece {
    start: u64,
    bytes: Vec<u8>,
}

impl Assembler {
    /// Starts a stream whose plaintext may take `limit` bytes, and writes everything that comes before
    /// the first page: head, KDUMP headers and notes, first bitmap, the shared zero page.
    pub fn start(facts: &DumpFacts, limit: Option<u64>, chunks: &mut Vec<Chunk>) -> Result<Assembler, Error> {
        let layout = facts.layout;
        let data = facts.head.data_offset;
        let mut assembler = Assembler {
            chunker: Chunker::default(),
            compressor: BlockCompressor::new(1)?,
            layout,
            zero_page: data,
            data_next: data + layout.page_size.bytes(),
            table: Table { rank: 0, bytes: Vec::with_capacity(RECORD_BYTES) },
            bitmap: BitmapPiece::default(),
            early: Vec::new(),
            index: IndexWriter::default(),
            limit,
            full: false,
            frames: Vec::new(),
            found: ClassCounts::default(),
            order: facts.kdump.order,
            present: facts.present_pages(),
            max_mapnr: facts.max_mapnr,
        };
        skippable_frame(&mut assembler.frames, Head::TAG, &facts.head.encode()?);
        assembler.write_kdump_head(&facts.kdump)?;
        assembler.write_bitmap1(&facts.present)?;
        let zero_page = vec![0; layout.page_size.len()];
        assembler.record(data, &zero_page)?;
        assembler.flush(chunks);
        Ok(assembler)
    }

    /// The flattened header and the head of the KDUMP file but its status, which the end decides.
    fn write_kdump_head(&mut self, head: &kdump::Head) -> Result<(), Error> {
        let bytes = head.encode()?;
        let (before, rest) = bytes.split_at(usize::try_from(kdump::STATUS_OFFSET).unwrap_or(0));
        let after = &rest[4..];
        let mut content = kdump::flat_header();
        content.extend_from_slice(&record_head(0, before.len() as u64));
        content.extend_from_slice(before);
        content.extend_from_slice(&record_head(kdump::STATUS_OFFSET + 4, after.len() as u64));
        content.extend_from_slice(after);
        self.compressor.compress(&content, &mut self.frames)?;
        Ok(())
    }

    fn write_bitmap1(&mut self, present: &[PfnRange]) -> Result<(), Error> {
        let mut piece = BitmapPiece::default();
        for range in present {
            let mut next = range.start;
            while next < range.end {
                if piece.must_end_before(next) {
                    self.write_bitmap_piece(self.layout.bitmap1, &mut piece)?;
                }
                next = piece.set_from(next, range.end);
            }
        }
        self.write_bitmap_piece(self.layout.bitmap1, &mut piece)
    }

    /// Takes the next part. After a size limit was reached parts are dropped.
    pub fn part(&mut self, part: ReadBlock, chunks: &mut Vec<Chunk>) -> Result<(), Error> {
        if self.is_over_limit(&part) {
            self.full = true;
        }
        if self.full {
            return Ok(());
        }
        self.found.unreadable += part.unreadable;
        match part.job {
            Job::Early(_) => self.early_block(part.map, &part.frame),
            Job::Pages(_) => self.block(part.map, &part.frame)?,
            Job::Sent(ranges) => self.sent(&ranges)?,
        }
        if self.index.is_due() {
            self.write_index();
        }
        self.flush(chunks);
        Ok(())
    }

    fn is_over_limit(&self, part: &ReadBlock) -> bool {
        self.limit.is_some_and(|limit| self.chunker.position() + part.frame.len() as u64 + TAIL_ROOM > limit)
    }

    /// Whether the size limit ended the dump.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// A block that is sent ahead of its turn: its descriptors follow when their turn comes.
    fn early_block(&mut self, map: BlockMap, frame: &[u8]) {
        let map = self.write_block(map, frame);
        for (pfn, offset) in self.offsets(&map) {
            self.early.push((pfn, offset));
        }
    }

    fn block(&mut self, map: BlockMap, frame: &[u8]) -> Result<(), Error> {
        let map = self.write_block(map, frame);
        for (pfn, offset) in self.offsets(&map) {
            self.describe(pfn, offset)?;
        }
        Ok(())
    }

    /// Pages of early blocks whose turn has come.
    fn sent(&mut self, ranges: &[PfnRange]) -> Result<(), Error> {
        for range in ranges {
            let from = self.early.partition_point(|&(pfn, _)| pfn < range.start);
            let to = self.early.partition_point(|&(pfn, _)| pfn < range.end);
            for at in from..to {
                let (pfn, offset) = self.early[at];
                self.describe(pfn, offset)?;
            }
        }
        Ok(())
    }

    /// Writes a block's frames: map, record head, pages. Gives the map its place in the file.
    fn write_block(&mut self, mut map: BlockMap, frame: &[u8]) -> BlockMap {
        let start = self.position();
        map.data_offset = self.data_next;
        let mut encoded = Vec::new();
        map.encode(&mut encoded);
        skippable_frame(&mut self.frames, BlockMap::TAG, &encoded);
        let bytes = map.count(RunKind::Data) << self.layout.page_size.shift();
        if bytes > 0 {
            raw_frame(&mut self.frames, record_head(self.data_next, bytes));
            self.frames.extend_from_slice(frame);
            self.data_next += bytes;
        }
        self.index.push(start, self.position() - start, &map);
        map
    }

    /// Every page of a map with the place of its bytes in the file.
    fn offsets(&self, map: &BlockMap) -> impl Iterator<Item = (Pfn, u64)> + use<> {
        let (zero_page, page) = (self.zero_page, self.layout.page_size.bytes());
        let mut next = map.data_offset;
        map.runs
            .clone()
            .into_iter()
            .flat_map(|run| (run.pages.start.0..run.pages.end.0).map(move |pfn| (pfn, run.kind)))
            .map(move |(pfn, kind)| match kind {
                RunKind::Zero => (Pfn(pfn), zero_page),
                RunKind::Data => {
                    next += page;
                    (Pfn(pfn), next - page)
                }
            })
    }

    /// Adds a page to the second bitmap and its descriptor to the table; pfns only ever ascend.
    fn describe(&mut self, pfn: Pfn, offset: u64) -> Result<(), Error> {
        if offset == self.zero_page {
            self.found.zero += 1;
        } else {
            self.found.saved += 1;
        }
        if self.bitmap.must_end_before(pfn) {
            let mut piece = std::mem::take(&mut self.bitmap);
            self.write_bitmap_piece(self.layout.bitmap2, &mut piece)?;
        }
        self.bitmap.set(pfn);
        let size = 1 << self.layout.page_size.shift();
        let desc = PageDesc { offset, size, flags: DescFlags::RAW };
        self.table.bytes.extend_from_slice(&desc.encode(self.order));
        if self.table.bytes.len() + DESC_LEN > RECORD_BYTES {
            self.write_table()?;
        }
        Ok(())
    }

    fn write_table(&mut self) -> Result<(), Error> {
        let bytes = std::mem::take(&mut self.table.bytes);
        let entries = (bytes.len() / DESC_LEN) as u64;
        self.record(self.layout.descriptors + self.table.rank * DESC_LEN as u64, &bytes)?;
        self.table.rank += entries;
        self.table.bytes = bytes;
        self.table.bytes.clear();
        Ok(())
    }

    fn write_bitmap_piece(&mut self, bitmap: u64, piece: &mut BitmapPiece) -> Result<(), Error> {
        self.record(bitmap + piece.start, &piece.bytes)?;
        piece.bytes.clear();
        Ok(())
    }

    /// Writes one flattened record as a frame of its own; nothing when it is empty.
    fn record(&mut self, offset: u64, data: &[u8]) -> Result<(), Error> {
        if data.is_empty() {
            return Ok(());
        }
        let mut content = Vec::with_capacity(16 + data.len());
        content.extend_from_slice(&record_head(offset, data.len() as u64));
        content.extend_from_slice(data);
        self.compressor.compress(&content, &mut self.frames)?;
        Ok(())
    }

    fn write_index(&mut self) {
        if let Some(piece) = self.index.take_piece(self.position()) {
            skippable_frame(&mut self.frames, IndexPiece::TAG, &piece);
        }
    }

    /// Ends the stream: what is in hand, status, end record, index, tail. `classes` are the counts of
    /// the classifier; what was found by content is added.
    pub fn finish(&mut self, classes: ClassCounts, chunks: &mut Vec<Chunk>) -> Result<ClassCounts, Error> {
        let mut piece = std::mem::take(&mut self.bitmap);
        self.write_bitmap_piece(self.layout.bitmap2, &mut piece)?;
        self.write_table()?;
        let status = if self.full { kdump::STATUS_INCOMPLETE } else { 0 };
        self.record(kdump::STATUS_OFFSET, &self.order.u32_bytes(status))?;
        raw_frame(&mut self.frames, END_RECORD);
        self.write_index();
        let ClassCounts { zero, unreadable, saved, .. } = self.found;
        let (present, total) = (self.present, self.max_mapnr);
        let pages = ClassCounts { present, total, zero, unreadable, saved, ..classes };
        let tail = Tail { pages, last_index: self.index.last_piece(), complete: !self.full };
        let content = tail.encode(self.position())?;
        skippable_frame(&mut self.frames, Tail::TAG, &content);
        self.flush(chunks);
        self.chunker.finish(chunks);
        Ok(pages)
    }

    /// Where the next frame will start in the stream.
    fn position(&self) -> u64 {
        self.chunker.position() + self.frames.len() as u64
    }

    fn flush(&mut self, chunks: &mut Vec<Chunk>) {
        self.chunker.write(&self.frames, chunks);
        self.frames.clear();
    }
}

impl BitmapPiece {
    /// Whether `pfn` does not fit behind what is here: too far on, or the piece is large enough.
    fn must_end_before(&self, pfn: Pfn) -> bool {
        let (byte, end) = (pfn.0 / 8, self.start + self.bytes.len() as u64);
        !self.bytes.is_empty() && (byte > end + BITMAP_GAP || byte >= self.start + RECORD_BYTES as u64)
    }

    /// Sets the bits from `pfn` to the end of its byte, or of the pages; gives the first pfn not set.
    fn set_from(&mut self, pfn: Pfn, end: Pfn) -> Pfn {
        let stop = Pfn((pfn.0 / 8 + 1) * 8).min(end);
        if stop.0 - pfn.0 == 8 {
            *self.byte(pfn) = 0xff;
        } else {
            (pfn.0..stop.0).for_each(|pfn| self.set(Pfn(pfn)));
        }
        stop
    }

    fn set(&mut self, pfn: Pfn) {
        *self.byte(pfn) |= 1 << (pfn.0 % 8);
    }

    /// The byte of a page, at or behind the last one of the piece.
    fn byte(&mut self, pfn: Pfn) -> &mut u8 {
        let byte = pfn.0 / 8;
        if self.bytes.is_empty() {
            self.start = byte;
        }
        let at = usize::try_from(byte - self.start).unwrap_or(usize::MAX);
        if at >= self.bytes.len() {
            self.bytes.resize(at + 1, 0);
        }
        &mut self.bytes[at]
    }
}
