//! Puts the stream together, in order: head, bitmaps and descriptors as flattened records (`records`), blocks of
//! pages with their maps, index pieces, tail; and cuts it into the chunks that will be sealed. What
//! happens here happens on one thread at a time, so nothing here touches page contents but the copy
//! of compressed bytes into a chunk.

use super::chunks::{Chunk, Chunker};
use super::early::{BATCHES, Batch};
use super::read::ReadBlock;
use super::records::{BitmapPiece, RECORD_BYTES, Table};
use super::sent::{Place, SentPages};
use super::{Error, facts::DumpFacts, pages::Job};
use crate::blocks::{BlockCompressor, BlockMap, ClassCounts, Head, IndexPiece, IndexWriter, RunKind, Tail};
use crate::blocks::{ORDER_TAG, raw_frame, skippable_frame};
use crate::kdump::{self, DESC_LEN, DescFlags, END_RECORD, Layout, PageDesc, record_head};
use crate::units::{ByteOrder, Pfn, PfnRange};

/// Room that a size limit keeps for each page that was sent ahead and is not described yet: a descriptor takes 5 bytes,
/// compressed, and its bit less than one. It is a guess; where it is too low the last of them stay undescribed.
const DESCRIBED: u64 = 8;
/// Room for each run of pages of a block: its numbers in the map and in the index, a record of the bitmap.
const RUN_ROOM: u64 = 256;
/// Room for what follows the records in hand: head of the index piece, status, end record, tail.
const END_ROOM: u64 = 4 << 10;

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
    early: [SentPages; BATCHES.len()],
    in_order: bool,
    index: IndexWriter,
    limit: Option<u64>,
    full: bool,
    frames: Vec<u8>,
    /// What was found by content: zero, unreadable and saved pages.
    pub found: ClassCounts,
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
            table: Table::default(),
            bitmap: BitmapPiece::default(),
            early: Default::default(),
            in_order: false,
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

    /// Takes the next part. After a size limit was reached parts are dropped, but for what they say of pages that
    /// were sent ahead.
    pub fn part(&mut self, part: ReadBlock, chunks: &mut Vec<Chunk>) -> Result<(), Error> {
        self.full |= self.is_over_limit(&part);
        if !self.full {
            self.found.unreadable += part.unreadable;
        }
        match part.job {
            Job::Early(..) if self.full => {}
            Job::Early(batch, pages) => {
                let map = self.write_block(part.map, &part.frame);
                self.early[batch as usize].push(&pages, &map);
            }
            Job::Turn { sent, .. } => self.turn(part.map, &part.frame, sent)?,
        }
        if self.index.is_due() {
            self.write_index();
        }
        self.flush(chunks);
        Ok(())
    }

    fn is_over_limit(&self, part: &ReadBlock) -> bool {
        let Some(limit) = self.limit else { return false };
        let asked = part.job.pages().iter().map(|range| range.count()).sum::<u64>();
        let due = self.early.iter().map(SentPages::left).sum::<u64>() + asked;
        let runs = (part.map.runs.len() as u64 + 1) * RUN_ROOM;
        let block = part.frame.len() as u64 + runs;
        self.position() + block + self.in_hand() + self.room_to_describe(due) > limit
    }

    /// Bytes of the stream to keep for so many pages that are to be described: what is written of them, and what may be
    /// in hand last, uncompressed.
    fn room_to_describe(&self, pages: u64) -> u64 {
        let record = RECORD_BYTES as u64;
        pages * DESCRIBED + (pages * DESC_LEN as u64).min(record) + (self.max_mapnr / 8).min(record)
    }

    /// Bytes of the stream that what is in hand takes at most, to the end.
    fn in_hand(&self) -> u64 {
        self.bitmap.room() + self.table.room() + self.index.pending() + END_ROOM
    }

    /// Whether the size limit ended the dump.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Pages whose turn has come: those of a block, and between them those that were sent ahead.
    fn turn(&mut self, map: BlockMap, frame: &[u8], sent: Vec<(Batch, PfnRange)>) -> Result<(), Error> {
        let map = match self.full || map.is_empty() {
            true => BlockMap::default(),
            false => {
                self.begin_order();
                self.write_block(map, frame)
            }
        };
        let mut own = self.offsets(&map).peekable();
        for (batch, range) in sent {
            for pfn in range.iter() {
                while let Some((own, offset)) = own.next_if(|&(own, _)| own < pfn) {
                    self.describe(own, offset)?;
                }
                match self.early[batch as usize].take(self.layout.page_size.bytes()) {
                    Some(Place::Data(offset)) => self.describe(pfn, offset)?,
                    Some(Place::Zero) => self.describe(pfn, self.zero_page)?,
                    // Not read, or not sent because the dump is full.
                    Some(Place::Missing) | None => {}
                }
            }
        }
        own.try_for_each(|(pfn, offset)| self.describe(pfn, offset))
    }

    /// Says that from here on blocks come in pfn order.
    fn begin_order(&mut self) {
        if !self.in_order {
            self.in_order = true;
            skippable_frame(&mut self.frames, ORDER_TAG, &[]);
        }
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

    /// Adds a page to the second bitmap and its descriptor to the table; pfns only ever ascend. Where a size limit
    /// leaves no room for that the last pages stay undescribed: only their maps tell of them then.
    fn describe(&mut self, pfn: Pfn, offset: u64) -> Result<(), Error> {
        if !self.has_room() {
            self.full = true;
            return Ok(());
        }
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
        if self.table.add(&desc.encode(self.order)) {
            self.write_table()?;
        }
        Ok(())
    }

    /// Whether one page more can be described within the limit.
    fn has_room(&self) -> bool {
        self.limit.is_none_or(|limit| self.position() + self.in_hand() + RUN_ROOM <= limit)
    }

    fn write_table(&mut self) -> Result<(), Error> {
        let (rank, bytes) = self.table.take();
        self.record(self.layout.descriptors + rank, &bytes)
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
        let ClassCounts { zero, unreadable, saved, .. } = self.found;
        let (present, total) = (self.present, self.max_mapnr);
        let pages = ClassCounts { present, total, zero, unreadable, saved, ..classes };
        let complete = !self.full && !pages.is_lacking();
        let status = if complete { 0 } else { kdump::STATUS_INCOMPLETE };
        self.record(kdump::STATUS_OFFSET, &self.order.u32_bytes(status))?;
        raw_frame(&mut self.frames, END_RECORD);
        self.write_index();
        let tail = Tail { pages, last_index: self.index.last_piece(), complete };
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
