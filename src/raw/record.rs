//! The head of a record: what follows it, how long that is, and whether it is what was written.

use super::DumpId;
use super::crc::crc32;
use super::header::Fields;

/// Bytes of a record's head.
pub const HEAD_LEN: usize = 48;
/// Bytes of a full record, head and data: writes of this size are fast on any disk, and a cut dump loses at
/// most this much.
pub const RECORD_LEN: usize = 256 << 10;
/// The most data a record has; every data record but the last has as much.
pub const RECORD_DATA: usize = RECORD_LEN - HEAD_LEN;

const MAGIC: [u8; 8] = *b"vmcorerc";
/// Where a head's own checksum is; it covers the bytes before.
const SUM_AT: usize = 44;

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes of the dump.
    Data = 1,
    /// The length of the dump in bytes (u64): it is whole.
    End = 2,
}

/// The head of a record. Numbers are little endian: magic (8 bytes), kind (u32), bytes of data (u32), dump id (16),
/// number of the record from 0 (u64), CRC-32 of the data (u32), CRC-32 of the head before (u32).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHead {
    /// What it holds.
    pub kind: Kind,
    /// Bytes of data, at most [`RECORD_DATA`].
    pub len: usize,
    sum: u32,
}

impl RecordHead {
    /// The head for `data`, at most [`RECORD_DATA`] bytes.
    pub fn encode(kind: Kind, id: &DumpId, number: u64, data: &[u8]) -> [u8; HEAD_LEN] {
        let mut head = Vec::with_capacity(HEAD_LEN);
        head.extend_from_slice(&MAGIC);
        head.extend_from_slice(&(kind as u32).to_le_bytes());
        head.extend_from_slice(&u32::try_from(data.len()).unwrap_or(u32::MAX).to_le_bytes());
        head.extend_from_slice(id);
        head.extend_from_slice(&number.to_le_bytes());
        head.extend_from_slice(&crc32(data).to_le_bytes());
        let sum = crc32(&head);
        let mut bytes = [0; HEAD_LEN];
        bytes[..SUM_AT].copy_from_slice(&head);
        bytes[SUM_AT..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads the head of record `number` of dump `id`; `None` when it is not that.
    pub fn parse(head: &[u8; HEAD_LEN], id: &DumpId, number: u64) -> Option<RecordHead> {
        let mut fields = Fields(head);
        let (magic, kind, len) = (fields.take::<8>(), fields.u32(), fields.u32());
        let same = magic == MAGIC && fields.take::<16>() == *id && fields.u64() == number;
        let sum = fields.u32();
        let kind = [Kind::Data, Kind::End].into_iter().find(|&known| known as u32 == kind)?;
        let len = usize::try_from(len).ok().filter(|&len| len <= RECORD_DATA)?;
        (same && fields.u32() == crc32(&head[..SUM_AT])).then_some(RecordHead { kind, len, sum })
    }

    /// Whether `data` is what was written.
    pub fn matches(&self, data: &[u8]) -> bool {
        data.len() == self.len && crc32(data) == self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_as_documented_and_reads_back() {
        let bytes = RecordHead::encode(Kind::Data, &[9; 16], 3, b"123456789");
        assert_eq!(bytes[..16], *b"vmcorerc\x01\0\0\0\x09\0\0\0");
        assert_eq!(bytes[16..40], [[9; 16].as_slice(), &[3, 0, 0, 0, 0, 0, 0, 0]].concat());
        assert_eq!(bytes[40..44], 0xCBF4_3926_u32.to_le_bytes());
        let head = RecordHead::parse(&bytes, &[9; 16], 3).unwrap();
        assert_eq!((head.kind, head.len), (Kind::Data, 9));
        assert!(head.matches(b"123456789") && !head.matches(b"123456780") && !head.matches(b""));
    }

    #[test]
    fn records_of_others_and_damaged_ones_are_none() {
        let bytes = RecordHead::encode(Kind::End, &[9; 16], 3, &[0; 8]);
        assert_eq!(RecordHead::parse(&bytes, &[8; 16], 3), None);
        assert_eq!(RecordHead::parse(&bytes, &[9; 16], 4), None);
        for at in 0..HEAD_LEN {
            let mut bytes = bytes;
            bytes[at] ^= 0x40;
            assert_eq!(RecordHead::parse(&bytes, &[9; 16], 3), None, "{at}");
        }
    }
}
