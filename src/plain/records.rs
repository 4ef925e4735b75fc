//! The records of a flattened stream: where each piece of the plain file is.

use super::foreign::first_byte;
use super::{Error, Place};
use crate::kdump::{END_RECORD, FLAT_FIELDS_LEN, FLAT_HEADER_LEN, parse_record_head};
use crate::read_at::read_full_at;
use std::collections::BTreeMap;

/// More records than any tool writes: pages one by one of 64 GiB.
const MAX_RECORDS: usize = 1 << 24;

/// A piece of the plain file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Where it belongs, bytes.
    pub offset: u64,
    pub len: u64,
    /// Where its bytes are in the stream.
    pub at: u64,
}

/// All records, in the order of the stream.
#[derive(Default)]
pub(super) struct Records {
    list: Vec<Record>,
    /// Whether the stream ended with its end record.
    pub is_whole: bool,
    /// The first byte of the stream that is of no record: after the end, or in the block of the header.
    pub foreign: Option<u64>,
}

impl Records {
    /// None yet; `foreign` is the first byte that is not the header's in its block.
    pub(super) fn new(foreign: Option<u64>) -> Records {
        Records { foreign, ..Records::default() }
    }

    /// One record: a file that is not flattened.
    pub(super) fn whole(len: u64) -> Records {
        Records { list: vec![Record { offset: 0, len, at: 0 }], is_whole: true, foreign: None }
    }

    /// Adds the next one.
    pub(super) fn push(&mut self, record: Record) -> Result<(), Error> {
        if self.list.len() >= MAX_RECORDS {
            return Err(Error::Flattened(format!("there are more than {MAX_RECORDS}")));
        }
        if record.len > 0 {
            self.list.push(record);
        }
        Ok(())
    }

    /// The records by their place, without overlaps: where two describe the same bytes, the later one counts, as
    /// makedumpfile writes its header a second time. And where the last byte that two describe ends, 0 where there is none.
    pub(super) fn by_place(self) -> (Vec<Record>, u64) {
        let mut sorted = self.list.clone();
        sorted.sort_by_key(|record| record.offset);
        let (mut covered, mut overwritten) = (0, 0);
        for record in &sorted {
            let end = record.offset + record.len;
            if record.offset < covered {
                overwritten = overwritten.max(end.min(covered));
            }
            covered = covered.max(end);
        }
        (if overwritten > 0 { by_age(&self.list) } else { sorted }, overwritten)
    }
}

/// From the last record to the first, what no later one covers.
fn by_age(records: &[Record]) -> Vec<Record> {
    let mut taken: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for record in records.iter().rev() {
        let end = record.offset + record.len;
        let mut next = record.offset;
        if let Some((_, &(before, _))) = taken.range(..=next).next_back() {
            next = next.max(before);
        }
        while next < end {
            let (stop, after) = match taken.range(next..end).next() {
                Some((&start, &(taken_end, _))) => (start, taken_end),
                None => (end, end),
            };
            if stop > next {
                taken.insert(next, (stop, record.at + (next - record.offset)));
            }
            next = after;
        }
    }
    let record = |(&offset, &(end, at)): (&u64, &(u64, u64))| Record { offset, len: end - offset, at };
    taken.iter().map(record).collect()
}

/// Place and length of a record's data, `None` for the end record.
pub(super) fn parse_head(head: [u8; 16]) -> Result<Option<(u64, u64)>, Error> {
    if head == END_RECORD {
        return Ok(None);
    }
    let outside = |offset| Error::Flattened(format!("one at {offset:#x} is outside of any file"));
    parse_record_head(head).map(Some).map_err(outside)
}

/// The records of a flattened file. A cut one ends where the file does.
pub(super) fn in_file(source: &dyn Place) -> Result<Records, Error> {
    let mut at = FLAT_HEADER_LEN as u64;
    let foreign = first_byte(source, FLAT_FIELDS_LEN as u64..at).map_err(Error::Read)?;
    let mut records = Records::new(foreign);
    loop {
        let mut head = [0; 16];
        let have = read_full_at(source, &mut head, at).map_err(Error::Read)?;
        if have < head.len() {
            return Ok(records);
        }
        at += head.len() as u64;
        let Some((offset, len)) = parse_head(head)? else {
            records.is_whole = true;
            let after = first_byte(source, at..source.len()).map_err(Error::Read)?;
            records.foreign = records.foreign.or(after);
            return Ok(records);
        };
        let there = len.min(source.len().saturating_sub(at));
        records.push(Record { offset, len: there, at })?;
        if there < len {
            return Ok(records);
        }
        at += len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kdump::{flat_header, record_head};

    fn record(offset: u64, len: u64, at: u64) -> Record {
        Record { offset, len, at }
    }

    #[test]
    fn of_records_over_each_other_the_later_counts() {
        let mut records = Records::default();
        for one in [record(0, 100, 0), record(200, 50, 100), record(50, 160, 1000), record(60, 10, 5000)] {
            records.push(one).unwrap();
        }
        let expected = [
            record(0, 50, 0),
            record(50, 10, 1000),
            record(60, 10, 5000),
            record(70, 140, 1020),
            record(210, 40, 110),
        ];
        assert_eq!(records.by_place(), (expected.to_vec(), 210));
    }

    #[test]
    fn a_file_is_read_up_to_its_end_or_its_cut() {
        let mut file = flat_header();
        for (offset, data) in [(0, &b"KDUMP"[..]), (9, b"abc"), (5, b"")] {
            file.extend_from_slice(&record_head(offset, data.len() as u64));
            file.extend_from_slice(data);
        }
        let first = record(0, 5, 4112);
        let second = record(9, 3, 4133);
        let cut = in_file(&file).unwrap();
        assert!(!cut.is_whole && cut.by_place() == (vec![first, second], 0));
        let shorter = in_file(&file[..4135].to_vec()).unwrap();
        assert_eq!(shorter.by_place(), (vec![first, Record { len: 2, ..second }], 0));
        file.extend_from_slice(&END_RECORD);
        let end = file.len() as u64;
        let whole = in_file(&file).unwrap();
        assert!(whole.is_whole && whole.foreign.is_none());
        file.extend_from_slice(b"\0\0another");
        assert_eq!(in_file(&file).unwrap().foreign, Some(end + 2));
        let mut outside = flat_header();
        outside.extend_from_slice(&record_head(1 << 63, 1));
        assert!(in_file(&outside).is_err());
    }
}
