//! A KDUMP file as output: pages as they arrive; head, bitmaps and descriptors at the end, when it is known
//! which pages came. Of the dump's own records only the head is taken, so a cut dump lacks nothing.

use super::Error;
use super::pages::PageTable;
use super::unpack::StoredBlock;
use crate::compress::{Codec, PageCompressor};
use crate::kdump::{DescFlags, PageDesc, STATUS_INCOMPLETE};
use crate::reader::DumpHead;
use crate::sink::OutputFile;
use crate::units::PfnRange;

/// Tables are written in pieces of this size.
const PIECE: usize = 1 << 20;
/// A longer run of zero bytes in a bitmap is left a hole: a forged map of a few bytes names pages far apart.
const GAP: u64 = 4 << 10;

/// A KDUMP file being written.
pub(super) struct KdumpFile<'a> {
    output: &'a OutputFile,
    head: DumpHead,
    codec: Codec,
    zero: PageDesc,
    end: u64,
    table: PageTable,
}

impl<'a> KdumpFile<'a> {
    /// Starts a file whose pages are stored with `codec`.
    pub(super) fn start(
        output: &'a OutputFile,
        head: DumpHead,
        codec: Codec,
    ) -> Result<KdumpFile<'a>, Error> {
        let mut zero_page = Vec::new();
        let mut compressor = PageCompressor::new(codec).ok_or(Error::OutOfMemory)?;
        let flags = compressor.append(&vec![0; head.page.len()], &mut zero_page);
        let offset = head.facts.data_offset;
        output.write_at(&zero_page, offset)?;
        let size = u32::try_from(zero_page.len()).unwrap_or(u32::MAX);
        let end = offset + u64::from(size);
        Ok(KdumpFile {
            output,
            head,
            codec,
            zero: PageDesc { offset, size, flags },
            end,
            table: PageTable::default(),
        })
    }

    /// Writes what a record holds of the notes that are not in the head.
    pub(super) fn notes(&mut self, records: &[u8]) -> Result<(), Error> {
        for (offset, data) in self.head.streamed_notes(records) {
            self.output.write_at(data, self.head.kdump.streamed_range().start + offset)?;
        }
        Ok(())
    }

    /// Appends a block's pages.
    pub(super) fn block(&mut self, block: &StoredBlock) -> Result<(), Error> {
        self.output.write_at(&block.bytes, self.end)?;
        self.table.push(&block.map, self.end, &block.stored);
        self.end += block.bytes.len() as u64;
        Ok(())
    }

    /// Writes what was not known before: head, second bitmap, descriptors.
    pub(super) fn finish(mut self, complete: bool) -> Result<(), Error> {
        self.table.sort()?;
        self.write_bitmap(self.head.layout.bitmap1, self.head.present().iter())?;
        self.write_bitmap(self.head.layout.bitmap2, self.table.runs().map(|run| run.pages))?;
        self.write_descriptors()?;
        self.head.kdump.status = self.codec.flags().0 | if complete { 0 } else { STATUS_INCOMPLETE };
        self.output.write_at(&self.head.kdump.encode()?, 0)?;
        // The tables end in a hole when the last bits are clear; the file must still reach its end.
        let len = self.output.file().metadata()?.len();
        Ok(self.output.file().set_len(len.max(self.end))?)
    }

    /// Writes the bitmap at `bitmap` with the bits of all ranges (ascending) set.
    fn write_bitmap(&self, bitmap: u64, ranges: impl Iterator<Item = PfnRange>) -> Result<(), Error> {
        let mut piece = TablePiece::default();
        for range in ranges {
            let mut pfn = range.start.0;
            while pfn < range.end.0 {
                let (byte, end) = (pfn / 8, range.end.0.min((pfn / 8 + 1) * 8));
                if piece.must_end_before(byte) {
                    self.output.write_at(&piece.bytes, bitmap + piece.start)?;
                    piece.bytes.clear();
                }
                *piece.byte(byte) |= bits(pfn % 8, end - byte * 8);
                pfn = end;
            }
        }
        Ok(self.output.write_at(&piece.bytes, bitmap + piece.start)?)
    }

    fn write_descriptors(&self) -> Result<(), Error> {
        let mut at = self.head.layout.descriptors;
        let mut bytes = Vec::with_capacity(PIECE);
        for (_, desc) in self.table.descriptors(self.zero) {
            bytes.extend_from_slice(&desc.encode(self.head.kdump.order));
            if bytes.len() + 24 > PIECE {
                self.output.write_at(&bytes, at)?;
                at += bytes.len() as u64;
                bytes.clear();
            }
        }
        Ok(self.output.write_at(&bytes, at)?)
    }
}

/// The bits of a byte from one to before another, 0 to 8.
fn bits(start: u64, end: u64) -> u8 {
    (0xff_u8 >> (8 - (end - start))) << start
}

/// Bytes of a table that are close together.
#[derive(Default)]
struct TablePiece {
    start: u64,
    bytes: Vec<u8>,
}

impl TablePiece {
    fn must_end_before(&self, byte: u64) -> bool {
        let end = self.start + self.bytes.len() as u64;
        !self.bytes.is_empty() && (byte > end + GAP || byte - self.start >= PIECE as u64)
    }

    fn byte(&mut self, byte: u64) -> &mut u8 {
        if self.bytes.is_empty() {
            self.start = byte;
        }
        let at = usize::try_from(byte - self.start).unwrap_or(0);
        if at >= self.bytes.len() {
            self.bytes.resize(at + 1, 0);
        }
        &mut self.bytes[at]
    }
}

/// A block's pages, each compressed for a KDUMP file.
pub(super) fn pack(
    compressor: &mut PageCompressor,
    page: usize,
    pages: &[u8],
) -> (Vec<u8>, Vec<(u32, DescFlags)>) {
    let mut bytes = Vec::with_capacity(pages.len() / 2);
    let mut stored = Vec::with_capacity(pages.len() / page);
    for page in pages.chunks_exact(page) {
        let before = bytes.len();
        let flags = compressor.append(page, &mut bytes);
        stored.push((u32::try_from(bytes.len() - before).unwrap_or(u32::MAX), flags));
    }
    (bytes, stored)
}
