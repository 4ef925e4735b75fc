//! Bitmap and descriptors of a KDUMP file as they travel: gathered into records of a middle size, and how much room
//! these take in the stream at worst.

use crate::kdump::DESC_LEN;
use crate::units::Pfn;

/// Descriptors and bitmap bytes travel in records of about this size: few records, since `crash` pays
/// for each one, yet little memory.
pub(super) const RECORD_BYTES: usize = 64 << 10;
/// A longer run of zero bytes than this ends a bitmap record; bytes nobody wrote read as zero.
const BITMAP_GAP: u64 = 4 << 10;
/// What a record takes beyond its data: its head of 16 bytes, and the frame around it.
const AROUND: u64 = 64;

/// Descriptors not yet written.
#[derive(Default)]
pub(super) struct Table {
    /// How many were written before.
    rank: u64,
    bytes: Vec<u8>,
}

impl Table {
    /// Adds a descriptor; whether the record is full.
    pub(super) fn add(&mut self, descriptor: &[u8; DESC_LEN]) -> bool {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve_exact(RECORD_BYTES);
        }
        self.bytes.extend_from_slice(descriptor);
        self.bytes.len() + DESC_LEN > RECORD_BYTES
    }

    /// The record and its place in the table of descriptors, in bytes.
    pub(super) fn take(&mut self) -> (u64, Vec<u8>) {
        let bytes = std::mem::take(&mut self.bytes);
        let at = self.rank * DESC_LEN as u64;
        self.rank += (bytes.len() / DESC_LEN) as u64;
        (at, bytes)
    }

    /// Bytes of the stream that it takes at most, with one descriptor more.
    pub(super) fn room(&self) -> u64 {
        room(self.bytes.len() + DESC_LEN)
    }
}

/// Bytes of a bitmap not yet written.
#[derive(Default)]
pub(super) struct BitmapPiece {
    /// Which byte of the bitmap is the first.
    pub start: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl BitmapPiece {
    /// Whether `pfn` does not fit after what is here: too far on, or the piece is large enough.
    pub(super) fn must_end_before(&self, pfn: Pfn) -> bool {
        let (byte, end) = (pfn.0 / 8, self.start + self.bytes.len() as u64);
        !self.bytes.is_empty() && (byte > end + BITMAP_GAP || byte >= self.start + RECORD_BYTES as u64)
    }

    /// Sets the bits from `pfn` to the end of its byte, or of the pages; gives the first pfn not set.
    pub(super) fn set_from(&mut self, pfn: Pfn, end: Pfn) -> Pfn {
        let stop = Pfn((pfn.0 / 8 + 1) * 8).min(end);
        if stop.0 - pfn.0 == 8 {
            *self.byte(pfn) = 0xff;
        } else {
            (pfn.0..stop.0).for_each(|pfn| self.set(Pfn(pfn)));
        }
        stop
    }

    pub(super) fn set(&mut self, pfn: Pfn) {
        *self.byte(pfn) |= 1 << (pfn.0 % 8);
    }

    /// The byte of a page, at or after the last one of the piece.
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

    /// Bytes of the stream that it takes at most, with one bit more: that lies a gap further on, or in a piece of its
    /// own, which takes less.
    pub(super) fn room(&self) -> u64 {
        room(self.bytes.len() + usize::try_from(BITMAP_GAP).unwrap_or(0) + 1)
    }
}

/// Bytes of the stream that a record of so many bytes takes at most: zstd adds less than a 256th to what it cannot
/// compress. Source: zstd `lib/zstd.h`, `ZSTD_COMPRESSBOUND`.
fn room(len: usize) -> u64 {
    let len = len as u64;
    len + len / 256 + AROUND + 64
}
