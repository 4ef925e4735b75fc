//! The head of a record: what follows it, how long that is, and whether it is what was written.

use super::DumpId;
use super::header::Fields;
use crc32fast::hash as crc32;

/// Bytes of a record's head.
pub(super) const HEAD_LEN: usize = 48;
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
pub(super) enum Kind {
    /// Bytes of the dump.
    Data = 1,
    /// The length of the dump in bytes (u64): it is whole.
    End = 2,
}

impl Kind {
    fn of(number: u32) -> Option<Kind> {
        [Kind::Data, Kind::End].into_iter().find(|&known| known as u32 == number)
    }
}

/// The fields of a head, as they are.
struct HeadFields {
    magic: [u8; 8],
    kind: u32,
    len: u32,
    id: DumpId,
    number: u64,
    sum: u32,
    /// Whether the head's own sum is right.
    is_sound: bool,
}

impl Fields<'_> {
    fn of_head(head: &[u8; HEAD_LEN]) -> HeadFields {
        let mut fields = Fields(head);
        HeadFields {
            magic: fields.take(),
            kind: fields.u32(),
            len: fields.u32(),
            id: fields.take(),
            number: fields.u64(),
            sum: fields.u32(),
            is_sound: fields.u32() == crc32(&head[..SUM_AT]),
        }
    }
}

impl HeadFields {
    fn len(&self) -> Option<usize> {
        usize::try_from(self.len).ok().filter(|&len| len <= RECORD_DATA)
    }
}

/// Bytes of the end record.
pub(super) const END_LEN: usize = HEAD_LEN + 8;
/// How many of the 32 bytes of a head that are known beforehand (magic, dump id, number) must be right for the head to
/// count as a damaged one of this dump. Another dump's head has at most 16 and a few by chance.
const SIMILAR: usize = 24;

/// What is in the place of a record's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// The head of that record.
    Ours(RecordHead),
    /// Its head, damaged: what it reads as, where that is possible.
    Similar(Option<Kind>, Option<usize>),
    /// Something else, such as a record of an older dump.
    Other,
}

impl Look {
    /// What `head` is where record `number` of dump `id` should be. Fewer bytes than a head are something else.
    pub(super) fn at(head: &[u8], id: &DumpId, number: u64) -> Look {
        let Some(head) = head.first_chunk() else { return Look::Other };
        let fields = Fields::of_head(head);
        if let Some(ours) = RecordHead::parse(head, id, number) {
            return Look::Ours(ours);
        }
        let known = [MAGIC.as_slice(), id, &number.to_le_bytes()].concat();
        let found = [fields.magic.as_slice(), &fields.id, &fields.number.to_le_bytes()].concat();
        let right = known.iter().zip(found).filter(|(known, found)| *known == found).count();
        let is_anothers = fields.is_sound && fields.id != *id;
        if right >= SIMILAR && !is_anothers {
            Look::Similar(Kind::of(fields.kind), fields.len())
        } else {
            Look::Other
        }
    }

    /// Whether it is of this dump.
    pub(super) fn is_ours(&self) -> bool {
        *self != Look::Other
    }
}

/// The dump that a record with this number belongs to, by a head that is as it was written.
pub(super) fn owner(head: &[u8], number: u64) -> Option<DumpId> {
    let fields = Fields::of_head(head.first_chunk()?);
    RecordHead::parse(head.first_chunk()?, &fields.id, number).map(|_| fields.id)
}

/// The head of a record. Numbers are little endian: magic (8 bytes), kind (u32), bytes of data (u32), dump id (16),
/// number of the record from 0 (u64), CRC-32 of the data (u32), CRC-32 of the head before (u32).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RecordHead {
    /// What it holds.
    pub kind: Kind,
    /// Bytes of data, at most [`RECORD_DATA`].
    pub len: usize,
    sum: u32,
}

impl RecordHead {
    /// The head for `data`, at most [`RECORD_DATA`] bytes.
    pub(super) fn encode(kind: Kind, id: &DumpId, number: u64, data: &[u8]) -> [u8; HEAD_LEN] {
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

    /// Whether bytes begin as a head does.
    pub(super) fn starts_at(bytes: &[u8]) -> bool {
        bytes.starts_with(&MAGIC)
    }

    /// Reads the head of record `number` of dump `id`; `None` when it is not that.
    pub(super) fn parse(head: &[u8; HEAD_LEN], id: &DumpId, number: u64) -> Option<RecordHead> {
        let fields = Fields::of_head(head);
        let same = fields.magic == MAGIC && fields.id == *id && fields.number == number;
        let (kind, len) = (Kind::of(fields.kind)?, fields.len()?);
        (same && fields.is_sound).then_some(RecordHead { kind, len, sum: fields.sum })
    }

    /// Whether `data` is what was written.
    pub(super) fn matches(&self, data: &[u8]) -> bool {
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
    fn a_damaged_head_is_still_of_this_dump() {
        let bytes = RecordHead::encode(Kind::Data, &[9; 16], 3, &[1; 100]);
        for at in 0..HEAD_LEN {
            let mut bytes = bytes;
            bytes[at] ^= 0x40;
            assert!(matches!(Look::at(&bytes, &[9; 16], 3), Look::Similar(..)), "{at}");
        }
        assert_eq!(Look::at(&bytes, &[8; 16], 3), Look::Other);
        assert_eq!(Look::at(&[0; HEAD_LEN], &[9; 16], 3), Look::Other);
        assert_eq!(Look::at(&bytes[..47], &[9; 16], 3), Look::Other);
        assert_eq!((owner(&bytes, 3), owner(&bytes, 2)), (Some([9; 16]), None));
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
