//! The header block of a frame: what a device holds, in its first 4096 bytes, and its copy at the device's end.

use super::{DumpId, Error};
use crate::read_at::read_full;
use crc32fast::hash as crc32;
use std::io::Read;

/// Bytes of the header block; records start after it.
pub const HEADER_LEN: usize = 4096;
/// The most bytes of the device's former beginning a frame keeps: the largest page of the kernels that
/// write swap signatures, which are in the first page.
pub const MAX_SAVED: usize = 64 << 10;

/// The smallest device that holds a copy of the header: on a smaller one the copy would take a noticeable share.
const MIN_WITH_COPY: u64 = 1 << 20;
/// Bytes of the magic that must be right for a block to count as a damaged header.
const NEAR: usize = 12;

const VERSION: u32 = 1;
/// Where the header's checksum is; it covers the bytes before.
const SUM_AT: usize = 64;

/// What the header holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Name of the dump.
    pub id: DumpId,
    /// Size of the device in bytes, 0 when the writer could not know it.
    pub device_size: u64,
    /// What was at the device's beginning before, to be put back there: at most [`MAX_SAVED`] bytes,
    /// in whole blocks; usually none.
    pub saved: Vec<u8>,
}

impl FrameHeader {
    /// The first bytes of a frame.
    pub const MAGIC: [u8; 16] = *b"vmcore-enc frame";

    /// The header block and the saved bytes after it. Numbers are little endian: magic (16 bytes), version (u32),
    /// bytes of the block (u32), dump id (16), device size (u64), length and CRC-32 of the saved bytes (u32 each),
    /// 8 zeros, CRC-32 of all that (u32), zeros.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut block = Vec::with_capacity(HEADER_LEN);
        block.extend_from_slice(&FrameHeader::MAGIC);
        block.extend_from_slice(&VERSION.to_le_bytes());
        block.extend_from_slice(&4096_u32.to_le_bytes());
        block.extend_from_slice(&self.id);
        block.extend_from_slice(&self.device_size.to_le_bytes());
        block.extend_from_slice(&u32::try_from(self.saved.len()).unwrap_or(u32::MAX).to_le_bytes());
        block.extend_from_slice(&crc32(&self.saved).to_le_bytes());
        block.resize(SUM_AT, 0);
        block.extend_from_slice(&crc32(&block).to_le_bytes());
        block.resize(HEADER_LEN, 0);
        block.extend_from_slice(&self.saved);
        block
    }

    /// Whether bytes begin as a header block does.
    #[must_use]
    pub fn is_at(bytes: &[u8]) -> bool {
        bytes.starts_with(&FrameHeader::MAGIC)
    }

    /// Whether bytes begin nearly as a header block does: one that was damaged. Bytes that are something else match by
    /// chance in one of 2^70 cases.
    #[must_use]
    pub fn is_near(bytes: &[u8]) -> bool {
        bytes.iter().zip(FrameHeader::MAGIC).filter(|(byte, magic)| *byte == magic).count() >= NEAR
    }

    /// Where records start: after the header block and the saved bytes.
    #[must_use]
    pub fn records_start(&self) -> u64 {
        (HEADER_LEN + self.saved.len()) as u64
    }

    /// Where the copy of the header block is: the last whole 4096 bytes of the device; `None` where its size is unknown
    /// or below 1 MiB.
    #[must_use]
    pub fn copy_place(&self) -> Option<u64> {
        copy_place(self.device_size)
    }

    /// The copy, and where it starts: the saved bytes, then the header block in the last whole 4096 bytes of the
    /// device. `None` as for [`FrameHeader::copy_place`].
    #[must_use]
    pub fn copy(&self) -> Option<(u64, Vec<u8>)> {
        let start = self.copy_place()?.checked_sub(self.saved.len() as u64)?;
        let mut bytes = self.encode();
        bytes.rotate_left(HEADER_LEN);
        Some((start, bytes))
    }

    /// Where the room for records ends.
    #[must_use]
    pub fn records_end(&self) -> u64 {
        self.copy().map_or(self.device_size, |(start, _)| start)
    }

    /// Reads the header block and the saved bytes from the beginning of a device or stream.
    ///
    /// # Errors
    /// [`Error::NoFrame`], [`Error::Version`], [`Error::DamagedHeader`], [`Error::Read`].
    pub fn read(mut reader: impl Read) -> Result<FrameHeader, Error> {
        let mut block = [0; HEADER_LEN];
        let filled = read_full(&mut reader, &mut block)?;
        if !FrameHeader::is_at(&block) {
            return Err(Error::NoFrame);
        }
        let block = Block::parse(&block);
        if block.version != VERSION {
            return Err(Error::Version(block.version));
        }
        if !block.is_sound || filled < HEADER_LEN {
            return Err(Error::DamagedHeader);
        }
        let mut header = block.header;
        header.saved.resize(block.saved_len, 0);
        let saved = read_full(&mut reader, &mut header.saved)?;
        if saved == block.saved_len && crc32(&header.saved) == block.saved_sum {
            Ok(header)
        } else {
            Err(Error::DamagedHeader)
        }
    }
}

/// The fields of a header block, damaged or not.
pub(super) struct Block {
    pub version: u32,
    /// Without the saved bytes.
    pub header: FrameHeader,
    /// Bytes that are saved: a whole number of blocks, at most [`MAX_SAVED`].
    pub saved_len: usize,
    /// Sum of the saved bytes.
    pub saved_sum: u32,
    /// Whether the block is as it was written.
    pub is_sound: bool,
}

impl Block {
    /// Takes the block apart. An impossible length of the saved bytes reads as 0.
    pub(super) fn parse(block: &[u8; HEADER_LEN]) -> Block {
        let (head, sum) = block.split_at(SUM_AT);
        let mut fields = Fields(head);
        let magic = fields.take::<16>();
        let (version, block_length) = (fields.u32(), fields.u32() as usize);
        let header = FrameHeader { id: fields.take(), device_size: fields.u64(), saved: Vec::new() };
        let (saved, saved_sum) = (fields.u32() as usize, fields.u32());
        let plausible = saved <= MAX_SAVED && saved.is_multiple_of(HEADER_LEN);
        let sums = Fields(sum).u32() == crc32(head);
        Block {
            version,
            header,
            saved_len: if plausible { saved } else { 0 },
            saved_sum,
            is_sound: magic == FrameHeader::MAGIC && block_length == HEADER_LEN && plausible && sums,
        }
    }

    /// Whether the block is sound and of a format that is known.
    pub(super) fn is_known(&self) -> bool {
        self.is_sound && self.version == VERSION
    }
}

/// Where a device of `size` bytes has the copy of the header block.
pub(super) fn copy_place(size: u64) -> Option<u64> {
    let block = HEADER_LEN as u64;
    (size >= MIN_WITH_COPY).then(|| (size / block - 1) * block)
}

/// Fields of a block that is long enough for them, one after the other.
pub(super) struct Fields<'a>(pub &'a [u8]);

impl Fields<'_> {
    /// The next `N` bytes; zeros where the block ends, which no caller reaches.
    pub(super) fn take<const N: usize>(&mut self) -> [u8; N] {
        let Some((field, rest)) = self.0.split_first_chunk() else { return [0; N] };
        self.0 = rest;
        *field
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_is_as_documented_and_reads_back() {
        let saved = b"123456789".iter().copied().cycle().take(4096).collect();
        let header = FrameHeader { id: [7; 16], device_size: 0x1234, saved };
        let bytes = header.encode();
        assert_eq!(bytes[..16], *b"vmcore-enc frame");
        assert_eq!(bytes[16..24], [1, 0, 0, 0, 0, 16, 0, 0]);
        assert_eq!(bytes[24..40], [7; 16]);
        assert_eq!(bytes[40..52], [0x34, 0x12, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0]);
        assert!(bytes[68..4096].iter().all(|&byte| byte == 0));
        assert_eq!(bytes[4096..], header.saved);
        assert_eq!(FrameHeader::read(&bytes[..]).unwrap(), header);
    }

    #[test]
    fn what_is_no_header_is_told_apart_from_a_damaged_one() {
        let good = FrameHeader { id: [7; 16], device_size: 0, saved: vec![1; 4096] }.encode();
        let read = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            FrameHeader::read(&bytes[..])
        };
        assert!(matches!(read(0, b'V'), Err(Error::NoFrame)));
        assert!(matches!(read(16, 2), Err(Error::Version(2))));
        for at in [20, 24, 40, 48, 51, 52, 66, 4096, 8191] {
            assert!(matches!(read(at, 0xfe), Err(Error::DamagedHeader)), "{at}");
        }
        assert!(matches!(FrameHeader::read(&good[..100]), Err(Error::DamagedHeader)));
        assert!(matches!(FrameHeader::read(&b""[..]), Err(Error::NoFrame)));
    }
}
