//! The size limit of a dump: how much of the stream must be kept for what has to follow a page, so that a dump which
//! the limit ends is valid.

use super::read::ReadBlock;
use super::records::RECORD_BYTES;
use crate::kdump::DESC_LEN;

/// Bytes reserved for describing one page that was already sent: about 5 for the descriptor, compressed, under 1 for its
/// bit. An estimate: if it is low, the last pages get no descriptor.
const DESCRIBED: u64 = 8;
/// Room for each run of pages of a block: its numbers in the map and in the index, a record of the bitmap.
const RUN_ROOM: u64 = 256;
/// Room for what follows the records in hand: head of the index piece, status, end record, tail.
const END_ROOM: u64 = 4 << 10;

/// The limit, and whether the dump came up to it.
pub(super) struct Limit {
    /// The most bytes of the stream.
    bytes: Option<u64>,
    reached: bool,
    max_mapnr: u64,
}

impl Limit {
    /// A limit for a dump that describes `max_mapnr` pfns.
    pub(super) fn new(bytes: Option<u64>, max_mapnr: u64) -> Limit {
        Limit { bytes, reached: false, max_mapnr }
    }

    /// Whether it ended the dump.
    pub(super) fn is_reached(&self) -> bool {
        self.reached
    }

    /// Whether a block more fits; if not, the limit is reached. `end` is where the stream would end with what is in
    /// hand, `undescribed` the number of pages that are sent but not described.
    pub(super) fn take_block(&mut self, end: u64, block: &ReadBlock, undescribed: u64) -> bool {
        let asked = block.job.pages().iter().map(|range| range.count()).sum::<u64>();
        let runs = (block.map.runs.len() as u64 + 1) * RUN_ROOM;
        let room = block.frame.len() as u64 + runs + self.room_to_describe(undescribed + asked);
        self.reached |= !self.fits(end + room);
        !self.reached
    }

    /// Whether the stream may go on to `end` with notes; if not, the limit is reached.
    pub(super) fn take_notes(&mut self, end: u64, undescribed: u64) -> bool {
        self.reached |= !self.fits(end + self.room_to_describe(undescribed));
        !self.reached
    }

    /// Whether one page more can be described; if not, the limit is reached.
    pub(super) fn take_page(&mut self, end: u64) -> bool {
        let fits = self.fits(end + RUN_ROOM);
        self.reached |= !fits;
        fits
    }

    fn fits(&self, end: u64) -> bool {
        self.bytes.is_none_or(|limit| end + END_ROOM <= limit)
    }

    /// Bytes of the stream to keep for so many pages that are to be described: what is written of them, and what may be
    /// in hand last, uncompressed.
    fn room_to_describe(&self, pages: u64) -> u64 {
        let record = RECORD_BYTES as u64;
        pages * DESCRIBED + (pages * DESC_LEN as u64).min(record) + (self.max_mapnr / 8).min(record)
    }
}
