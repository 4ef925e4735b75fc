//! Puts the stream together, in order: head, tables (`tables`), blocks of pages with their maps, index pieces, tail
//! (`frames`), within the size limit (`limit`). All of it is done by one thread, so nothing here touches page contents
//! but the copy of compressed bytes into a chunk.

use super::chunks::Chunk;
use super::early::Batch;
use super::frames::Frames;
use super::limit::Limit;
use super::notes::Done;
use super::read::ReadBlock;
use super::tables::Tables;
use super::{Error, Report, facts::DumpFacts, pages::Job};
use crate::blocks::{BlockMap, ClassCounts, HEAD_COPY_TAG, Head, ORDER_TAG, Tail};
use crate::kdump::{self, END_RECORD, record_head};
use crate::units::{ByteOrder, PfnRange};
use crate::vmcore::ReadError;
use std::collections::VecDeque;

/// A head that takes more is not repeated, for the collector keeps it until the end. Notes of a thousand CPUs take some
/// tens of KiB, compressed; a device's dump among the notes may take more.
const MAX_HEAD_COPY: usize = 256 << 10;

/// The stream under construction.
pub(super) struct Assembler {
    frames: Frames,
    tables: Tables,
    limit: Limit,
    order: ByteOrder,
    in_order: bool,
    /// The first two frames, to be repeated at the end.
    head_copy: Vec<u8>,
    /// Counts that need no class: present and left-out pages, and those that could not be read.
    pages: ClassCounts,
    /// The first page that could not be read.
    first_failure: Option<ReadError>,
    notes_lost: u64,
    /// Pages that an earlier collector lost, and whether its dump was whole.
    lost_before: (u64, bool),
}

impl Assembler {
    /// Starts a stream whose plaintext may take `limit` bytes, and writes everything that comes before
    /// the first page: head, KDUMP headers and notes, first bitmap, the shared zero page.
    pub(super) fn start(facts: &DumpFacts, limit: Option<u64>) -> Result<Assembler, Error> {
        let (page, zero_page) = (facts.layout.page_size, facts.head.data_offset);
        let mut frames = Frames::new(page, zero_page + page.bytes())?;
        let tables = Tables::new(facts);
        frames.tagged(Head::TAG, &facts.head.encode()?);
        for ranges in facts.head.encode_more()? {
            frames.tagged(Head::SEGMENTS_TAG, &ranges);
        }
        frames.compressed(&kdump_head(&facts.kdump)?)?;
        let head_copy = Some(frames.in_hand().to_vec()).filter(|copy| copy.len() <= MAX_HEAD_COPY);
        let head_copy = head_copy.unwrap_or_default();
        let limit = limit.map(|limit| limit.saturating_sub(head_copy.len() as u64));
        tables.write_present(&facts.present, &mut frames)?;
        frames.record(zero_page, &vec![0; page.len()])?;
        let (present, total) = (facts.present_pages(), facts.max_mapnr);
        Ok(Assembler {
            frames,
            tables,
            limit: Limit::new(limit, facts.max_mapnr),
            order: facts.kdump.order,
            in_order: false,
            head_copy,
            pages: ClassCounts { present, total, left_out: facts.left_out, ..ClassCounts::default() },
            first_failure: None,
            notes_lost: 0,
            lost_before: facts.lost_before,
        })
    }

    /// Takes what was read: the blocks in their order, then the notes.
    pub(super) fn take(&mut self, done: Done, chunks: &mut VecDeque<Chunk>) -> Result<(), Error> {
        match done {
            Done::Block(block) => self.block(block, chunks),
            Done::Notes(frame, unreadable) => {
                self.notes(&frame, unreadable, chunks);
                Ok(())
            }
        }
    }

    /// Takes a record of notes. Where a size limit leaves no room for it, its place in the file stays empty.
    fn notes(&mut self, frame: &[u8], unreadable: u64, chunks: &mut VecDeque<Chunk>) {
        let end = self.frames.position() + self.frames.room() + self.tables.room() + frame.len() as u64;
        self.notes_lost += unreadable;
        if self.limit.take_notes(end, self.tables.undescribed()) {
            self.frames.whole(frame);
        } else {
            self.notes_lost += frame.len() as u64;
        }
        self.frames.flush(chunks);
    }

    /// Takes the next block. After a size limit was reached blocks are dropped, except for what they hold of pages that
    /// were sent ahead.
    fn block(&mut self, block: ReadBlock, chunks: &mut VecDeque<Chunk>) -> Result<(), Error> {
        let end = self.frames.position() + self.frames.room() + self.tables.room();
        let fits = self.limit.take_block(end, &block, self.tables.undescribed());
        if fits {
            self.pages.unreadable += block.unreadable;
            self.pages.image_lost += if block.job.is_of_image() { block.unreadable } else { 0 };
            self.first_failure = self.first_failure.take().or(block.first_failure);
        }
        match block.job {
            Job::Early(batch, pages) if fits => {
                let map = self.frames.block(block.map, &block.frame);
                self.tables.sent_ahead(batch, &pages, &map);
            }
            Job::Early(..) => {}
            Job::Turn { sent, .. } => self.turn(block.map, &block.frame, sent, fits)?,
        }
        self.frames.index_if_due();
        self.frames.flush(chunks);
        Ok(())
    }

    /// Pages whose turn has come: those of a block, and between them those that were sent ahead.
    fn turn(
        &mut self,
        map: BlockMap,
        frame: &[u8],
        sent: Vec<(Batch, PfnRange)>,
        fits: bool,
    ) -> Result<(), Error> {
        let mut own = BlockMap::default();
        if fits && !map.is_empty() {
            self.begin_order();
            own = self.frames.block(map, frame);
        }
        self.tables.turn(&own, sent, &mut self.frames, &mut self.limit)
    }

    /// Marks that from here on blocks come in pfn order.
    fn begin_order(&mut self) {
        if !self.in_order {
            self.in_order = true;
            self.frames.tagged(ORDER_TAG, &[]);
        }
    }

    /// Whether the size limit ended the dump.
    pub(super) fn is_full(&self) -> bool {
        self.limit.is_reached()
    }

    /// Ends the stream: what is in hand, status, end record, index, tail. `classes` are the counts of
    /// the classifier; what was found by content is added.
    pub(super) fn finish(&mut self, classes: ClassCounts, chunks: &mut VecDeque<Chunk>) -> Result<(), Error> {
        self.tables.finish(&mut self.frames)?;
        let (Tables { saved, zero, .. }, ClassCounts { present, total, left_out, unreadable, .. }) =
            (&self.tables, self.pages);
        let image_lost = self.pages.image_lost + classes.image_lost;
        self.pages = ClassCounts {
            present,
            total,
            left_out,
            zero: *zero,
            unreadable,
            image_lost,
            saved: *saved,
            ..classes
        };
        self.pages.missing += self.lost_before.0;
        let complete = !self.is_full() && self.lost_before.1 && !self.pages.is_lacking();
        let status = if complete { 0 } else { kdump::STATUS_INCOMPLETE };
        self.frames.record(kdump::STATUS_OFFSET, &self.order.u32_bytes(status))?;
        self.frames.raw(END_RECORD);
        let head_copy = self.repeat_head();
        let tail = Tail { pages: self.pages, last_index: self.frames.index(), complete, head_copy };
        self.frames.tagged(Tail::TAG, &tail.encode(self.frames.position())?);
        self.frames.finish(chunks);
        Ok(())
    }

    /// Writes the copy of the head; its place, where there is one.
    fn repeat_head(&mut self) -> Option<u64> {
        let at = self.frames.position();
        let copy = std::mem::take(&mut self.head_copy);
        (!copy.is_empty()).then(|| self.frames.tagged(HEAD_COPY_TAG, &copy)).map(|()| at)
    }

    /// What became of a dump of `written` bytes, after its end.
    pub(super) fn report(self, written: u64) -> Report {
        let (pages, complete) = (self.pages, !self.is_full());
        let (first_failure, notes_lost) = (self.first_failure, self.notes_lost);
        Report { pages, complete, written, first_failure, notes_lost, proof: None }
    }
}

/// The flattened header and the head of the KDUMP file but its status, which the end decides.
fn kdump_head(head: &kdump::Head) -> Result<Vec<u8>, Error> {
    let bytes = head.encode()?;
    let (before, rest) = bytes.split_at(usize::try_from(kdump::STATUS_OFFSET).unwrap_or(0));
    let after = &rest[4..];
    let mut content = kdump::flat_header();
    content.extend_from_slice(&record_head(0, before.len() as u64));
    content.extend_from_slice(before);
    content.extend_from_slice(&record_head(kdump::STATUS_OFFSET + 4, after.len() as u64));
    content.extend_from_slice(after);
    Ok(content)
}
