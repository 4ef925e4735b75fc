//! How a frame ends: its last record, and the end record after it. Here is what each kind of damage there leaves.

use super::DumpId;
use super::cipher::credible_len;
use super::record::{END_LEN, HEAD_LEN, Kind, Look, RECORD_DATA, RECORD_LEN, RecordHead};

/// Bytes that tell how a frame ends: the last record's and the end record's.
pub(super) const LAST_LEN: usize = RECORD_LEN + END_LEN;

/// Whether the end record is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndMark {
    /// As it was written: the dump is whole.
    Sound,
    /// It is there, but damaged; or damage hides whether it is.
    Damaged,
    /// It was never written: the dump is cut.
    Missing,
}

/// The last record of a frame, and what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Last {
    /// Bytes of data in the record.
    pub len: usize,
    /// What follows them.
    pub mark: EndMark,
}

impl Last {
    /// No record at all.
    const NOTHING: Last = Last { len: 0, mark: EndMark::Missing };

    /// What is in place `number` of dump `id`, given that no later place holds a record of it. `bytes` starts with
    /// that place, and has [`LAST_LEN`] bytes unless the device ends.
    pub(super) fn at(bytes: &[u8], id: &DumpId, number: u64) -> Last {
        match Look::at(bytes, id, number) {
            Look::Ours(RecordHead { kind: Kind::End, .. }) => {
                Last { len: 0, mark: end_mark(bytes, id, number, number, 0) }
            }
            Look::Ours(head) => by_head(bytes, id, number, &head),
            Look::Similar(kind, len) => {
                by_end(bytes, id, number).unwrap_or_else(|| by_damaged_head(bytes, number, kind, len))
            }
            Look::Other => by_end(bytes, id, number).unwrap_or(Last::NOTHING),
        }
    }
}

/// A data record with a sound head. Without an end record, and with data that are not what was written, the cut tore
/// it: what the disk got of it comes first.
fn by_head(bytes: &[u8], id: &DumpId, number: u64, head: &RecordHead) -> Last {
    let data = data(bytes, head.len);
    let mark = end_mark(&bytes[HEAD_LEN + data.len()..], id, number, number + 1, head.len);
    let is_torn = mark == EndMark::Missing && !head.matches(data);
    Last { len: if is_torn { credible_len(number, data) } else { data.len() }, mark }
}

/// A record with a damaged head and no end record in sight, so damage hit that too.
fn by_damaged_head(bytes: &[u8], number: u64, kind: Option<Kind>, len: Option<usize>) -> Last {
    let is_end = kind == Some(Kind::End) || (kind.is_none() && len == Some(END_LEN - HEAD_LEN));
    let len = if is_end { 0 } else { data(bytes, len.unwrap_or(RECORD_DATA)).len() };
    let len = credible_len(number, data(bytes, len));
    Last { len, mark: EndMark::Damaged }
}

/// A record whose length only the end record after it tells, by its place and by the length of the dump in it.
fn by_end(bytes: &[u8], id: &DumpId, number: u64) -> Option<Last> {
    let most = bytes.len().checked_sub(HEAD_LEN + END_LEN)?.min(RECORD_DATA);
    let is_end = |len: &usize| {
        let at = &bytes[HEAD_LEN + len..];
        RecordHead::starts_at(at) && end_mark(at, id, number, number + 1, *len) == EndMark::Sound
    };
    (1..=most).find(is_end).map(|len| Last { len, mark: EndMark::Sound })
}

fn data(bytes: &[u8], len: usize) -> &[u8] {
    let data = bytes.get(HEAD_LEN..).unwrap_or_default();
    &data[..len.min(data.len())]
}

/// What `bytes` are, in the place of end record `end` after `len` bytes of record `number`.
fn end_mark(bytes: &[u8], id: &DumpId, number: u64, end: u64, len: usize) -> EndMark {
    let total = number.saturating_mul(RECORD_DATA as u64).saturating_add(len as u64).to_le_bytes();
    match Look::at(bytes, id, end) {
        Look::Ours(head) => {
            let data = data(bytes, head.len);
            let is_sound = head.kind == Kind::End && head.matches(data) && data == total;
            if is_sound { EndMark::Sound } else { EndMark::Damaged }
        }
        Look::Similar(..) => EndMark::Damaged,
        Look::Other => EndMark::Missing,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FrameHeader, FrameWriter, HEADER_LEN};
    use super::*;
    use std::io::Write;

    const ID: DumpId = [7; 16];

    /// The places of a frame from record 1 on, whose dump is one full record and `len` bytes.
    fn second(len: usize) -> Vec<u8> {
        let header = FrameHeader { id: ID, device_size: 0, saved: Vec::new() };
        let mut writer = FrameWriter::new(Vec::new(), &header);
        let data: Vec<u8> = (0..RECORD_DATA + len).map(|at| (at ^ (at >> 8)).to_le_bytes()[0]).collect();
        writer.write_all(&data).unwrap();
        writer.finish().unwrap().split_off(HEADER_LEN + RECORD_LEN)
    }

    #[test]
    fn sound_ends() {
        for len in [0, 1, 5000, RECORD_DATA - 1, RECORD_DATA] {
            let mut bytes = second(len);
            assert_eq!(Last::at(&bytes, &ID, 1), Last { len, mark: EndMark::Sound }, "{len}");
            bytes.resize(LAST_LEN, 0xee);
            assert_eq!(Last::at(&bytes, &ID, 1), Last { len, mark: EndMark::Sound }, "{len}");
        }
    }

    #[test]
    fn a_damaged_head_costs_nothing_where_the_end_record_is_there() {
        for len in [1, 5000, RECORD_DATA - 20, RECORD_DATA] {
            for at in 0..HEAD_LEN {
                let mut bytes = second(len);
                bytes[at] ^= 0x10;
                assert_eq!(Last::at(&bytes, &ID, 1), Last { len, mark: EndMark::Sound }, "{len}, {at}");
            }
            let mut bytes = second(len);
            bytes[..HEAD_LEN].fill(0);
            assert_eq!(Last::at(&bytes, &ID, 1), Last { len, mark: EndMark::Sound }, "{len}");
        }
    }

    #[test]
    fn a_damaged_end_record_is_no_cut() {
        for len in [0, 5000] {
            let from = if len == 0 { 0 } else { HEAD_LEN + len };
            for at in 0..END_LEN {
                let mut bytes = second(len);
                bytes[from + at] ^= 0x10;
                assert_eq!(Last::at(&bytes, &ID, 1), Last { len, mark: EndMark::Damaged }, "{len}, {at}");
            }
        }
        // Both heads: the length is taken from the damaged one.
        let mut bytes = second(5000);
        bytes[3] ^= 1;
        bytes[HEAD_LEN + 5000 + 3] ^= 1;
        assert_eq!(Last::at(&bytes, &ID, 1), Last { len: 5000, mark: EndMark::Damaged });
    }

    #[test]
    fn a_cut_keeps_what_reached_the_disk() {
        let cut = |len: usize, keep: usize, rest: u8| {
            let mut bytes = second(len);
            bytes[keep..].fill(rest);
            bytes.resize(LAST_LEN, rest);
            Last::at(&bytes, &ID, 1)
        };
        let missing = |len| Last { len, mark: EndMark::Missing };
        assert_eq!(cut(5000, HEAD_LEN + 5000, 0), missing(5000));
        assert_eq!(cut(RECORD_DATA, 3 * 4096, 0), missing(3 * 4096 - HEAD_LEN));
        assert_eq!(cut(RECORD_DATA, 10, 0), missing(0));
        assert_eq!(cut(RECORD_DATA, 0, 0xee), missing(0));
        assert_eq!(Last::at(&second(RECORD_DATA)[..100], &ID, 1), missing(52));
        assert_eq!(Last::at(b"", &ID, 1), missing(0));
        // Another dump's record.
        assert_eq!(Last::at(&second(5000), &[8; 16], 1), missing(0));
    }
}
