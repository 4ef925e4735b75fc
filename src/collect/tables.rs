//! The tables of the KDUMP file: bitmaps and descriptors, in pfn order. A page that was sent ahead is described when
//! its turn comes.

use super::early::{BATCHES, Batch};
use super::frames::Frames;
use super::limit::Limit;
use super::records::{BitmapPiece, Table};
use super::sent::{Place, SentPages};
use super::{Error, facts::DumpFacts};
use crate::blocks::{BlockMap, RunKind};
use crate::kdump::{DescFlags, Layout, PageDesc};
use crate::units::{ByteOrder, Pfn, PfnRange, PfnSet};

/// The tables under construction.
pub(super) struct Tables {
    layout: Layout,
    order: ByteOrder,
    zero_page: u64,
    descriptors: Table,
    bitmap: BitmapPiece,
    sent: [SentPages; BATCHES.len()],
    /// Pages described that have data.
    pub saved: u64,
    /// Pages described that are zero.
    pub zero: u64,
}

impl Tables {
    /// Nothing is described yet.
    pub(super) fn new(facts: &DumpFacts) -> Tables {
        Tables {
            layout: facts.layout,
            order: facts.kdump.order,
            zero_page: facts.head.data_offset,
            descriptors: Table::default(),
            bitmap: BitmapPiece::default(),
            sent: Default::default(),
            saved: 0,
            zero: 0,
        }
    }

    /// Writes the first bitmap: the pages that exist.
    pub(super) fn write_present(&self, present: &PfnSet, frames: &mut Frames) -> Result<(), Error> {
        let mut piece = BitmapPiece::default();
        for range in present {
            let mut next = range.start;
            while next < range.end {
                if piece.must_end_before(next) {
                    write_bitmap(self.layout.bitmap1, &mut piece, frames)?;
                }
                next = piece.set_from(next, range.end);
            }
        }
        write_bitmap(self.layout.bitmap1, &mut piece, frames)
    }

    /// Remembers pages that were sent ahead: which were asked for, and what their map holds of them.
    pub(super) fn sent_ahead(&mut self, batch: Batch, asked: &[PfnRange], map: &BlockMap) {
        self.sent[batch as usize].push(asked, map);
    }

    /// How many pages were sent ahead and are not described.
    pub(super) fn undescribed(&self) -> u64 {
        self.sent.iter().map(SentPages::left).sum()
    }

    /// Bytes of the stream that what is in hand takes at most.
    pub(super) fn room(&self) -> u64 {
        self.bitmap.room() + self.descriptors.room()
    }

    /// Describes pages whose turn has come: those of a block, and between them those that were sent ahead.
    pub(super) fn turn(
        &mut self,
        map: &BlockMap,
        sent: Vec<(Batch, PfnRange)>,
        frames: &mut Frames,
        limit: &mut Limit,
    ) -> Result<(), Error> {
        let mut own = self.places(map).peekable();
        for (batch, range) in sent {
            for pfn in range.iter() {
                while let Some((own, offset)) = own.next_if(|&(own, _)| own < pfn) {
                    self.describe(own, offset, frames, limit)?;
                }
                match self.sent[batch as usize].take(self.layout.page_size.bytes()) {
                    Some(Place::Data(offset)) => self.describe(pfn, offset, frames, limit)?,
                    Some(Place::Zero) => self.describe(pfn, self.zero_page, frames, limit)?,
                    // Not read, or not sent because the dump is full.
                    Some(Place::Missing) | None => {}
                }
            }
        }
        own.try_for_each(|(pfn, offset)| self.describe(pfn, offset, frames, limit))
    }

    /// Every page of a map with the place of its bytes in the file.
    fn places(&self, map: &BlockMap) -> impl Iterator<Item = (Pfn, u64)> + use<> {
        let (zero_page, page) = (self.zero_page, self.layout.page_size.bytes());
        let mut next = map.data_offset;
        let runs = map.runs.clone().into_iter();
        runs.flat_map(|run| (run.pages.start.0..run.pages.end.0).map(move |pfn| (pfn, run.kind))).map(
            move |(pfn, kind)| match kind {
                RunKind::Zero => (Pfn(pfn), zero_page),
                RunKind::Data => {
                    next += page;
                    (Pfn(pfn), next - page)
                }
            },
        )
    }

    /// Adds a page to the second bitmap and its descriptor to the table; pfns only ever ascend. Where a size limit
    /// leaves no room for that, the last pages stay undescribed: then only their maps name them.
    fn describe(
        &mut self,
        pfn: Pfn,
        offset: u64,
        frames: &mut Frames,
        limit: &mut Limit,
    ) -> Result<(), Error> {
        if !limit.take_page(frames.position() + frames.room() + self.room()) {
            return Ok(());
        }
        *(if offset == self.zero_page { &mut self.zero } else { &mut self.saved }) += 1;
        if self.bitmap.must_end_before(pfn) {
            write_bitmap(self.layout.bitmap2, &mut self.bitmap, frames)?;
        }
        self.bitmap.set(pfn);
        let size = 1 << self.layout.page_size.shift();
        let desc = PageDesc { offset, size, flags: DescFlags::RAW };
        if self.descriptors.add(&desc.encode(self.order)) {
            self.write_descriptors(frames)?;
        }
        Ok(())
    }

    fn write_descriptors(&mut self, frames: &mut Frames) -> Result<(), Error> {
        let (rank, bytes) = self.descriptors.take();
        frames.record(self.layout.descriptors + rank, &bytes)
    }

    /// Writes what is in hand.
    pub(super) fn finish(&mut self, frames: &mut Frames) -> Result<(), Error> {
        write_bitmap(self.layout.bitmap2, &mut self.bitmap, frames)?;
        self.write_descriptors(frames)
    }
}

/// Writes a piece of the bitmap that starts at `bitmap` of the file, and empties it.
fn write_bitmap(bitmap: u64, piece: &mut BitmapPiece, frames: &mut Frames) -> Result<(), Error> {
    frames.record(bitmap + piece.start, &piece.bytes)?;
    piece.bytes.clear();
    Ok(())
}
