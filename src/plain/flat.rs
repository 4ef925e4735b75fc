//! The plain file that flattened records describe, read by position: what `makedumpfile -R` would write.

use super::records::{Record, Records};
use super::{Error, Place};
use crate::read_at::ReadAt;
use crate::vmcore::{Flaw, PhysSource};
use std::io;

/// A flattened file. What no record describes reads as zeros.
pub(super) struct Flat {
    stream: Box<dyn PhysSource>,
    records: Vec<Record>,
    is_cut: bool,
    foreign: Option<u64>,
    overwritten: u64,
}

impl Flat {
    /// The file of these records, whose bytes are in `stream`.
    pub(super) fn new(stream: Box<dyn PhysSource>, records: Records) -> Result<Flat, Error> {
        let (is_cut, foreign) = (!records.is_whole, records.foreign);
        let (records, overwritten) = records.by_place();
        if records.is_empty() {
            return Err(Error::Flattened("there is none".into()));
        }
        Ok(Flat { stream, records, is_cut, foreign, overwritten })
    }

    /// The first record that ends after `offset`.
    fn after(&self, offset: u64) -> usize {
        self.records.partition_point(|record| record.offset + record.len <= offset)
    }
}

impl ReadAt for Flat {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let take = out.len().min(usize::try_from(self.len().saturating_sub(offset)).unwrap_or(usize::MAX));
        let room = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX).min(take);
        match self.records.get(self.after(offset)) {
            Some(record) if record.offset <= offset => {
                let within = offset - record.offset;
                self.stream.read_at(&mut out[..room(record.len - within)], record.at + within)
            }
            Some(record) => {
                let hole = room(record.offset - offset);
                out[..hole].fill(0);
                Ok(hole)
            }
            None => Ok(0),
        }
    }
}

impl PhysSource for Flat {
    fn len(&self) -> u64 {
        self.records.last().map_or(0, |record| record.offset + record.len)
    }
}

impl Place for Flat {
    fn holds(&self, offset: u64, len: u64) -> bool {
        let Some(end) = offset.checked_add(len) else { return false };
        let mut next = offset;
        for record in &self.records[self.after(offset)..] {
            if record.offset > next {
                break;
            }
            next = record.offset + record.len;
            if next >= end {
                return true;
            }
        }
        next >= end
    }

    /// Whether the stream ended without its end record.
    fn is_cut(&self) -> bool {
        self.is_cut
    }

    fn flaw(&self) -> Option<Flaw> {
        if self.is_cut {
            return Some(Flaw::NoEnd);
        }
        self.foreign.map(|at| Flaw::Foreign { at })
    }

    fn next_data(&self, offset: u64) -> Option<u64> {
        self.records.get(self.after(offset)).map(|record| record.offset.max(offset))
    }

    fn overwritten(&self) -> u64 {
        self.overwritten
    }
}

/// The same where a hole is no zeros but what a cut took: an ELF core, which has all of its bytes.
pub(super) struct HolesAreErrors(pub Flat);

impl ReadAt for HolesAreErrors {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset < self.len() && !self.0.holds(offset, 1) {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "no record describes it"));
        }
        self.0.read_at(out, offset)
    }
}

impl PhysSource for HolesAreErrors {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat() -> Flat {
        let mut records = Records::default();
        for (offset, len, at) in [(10, 5, 0), (15, 3, 100), (30, 2, 50)] {
            records.push(Record { offset, len, at }).unwrap();
        }
        Flat::new(Box::new((0..200).collect::<Vec<u8>>()), records).unwrap()
    }

    #[test]
    fn bytes_are_found_and_holes_are_zeros_or_errors() {
        let file = flat();
        let mut all = [9; 40];
        let have = crate::read_at::read_full_at(&file, &mut all, 0).unwrap();
        let expected = [&[0; 10][..], &[0, 1, 2, 3, 4, 100, 101, 102], &[0; 12], &[50, 51]].concat();
        assert_eq!(all[..have], expected);
        let holds =
            [(10, 8), (10, 9), (9, 1), (30, 2), (30, 3), (u64::MAX, 2)].map(|(at, len)| file.holds(at, len));
        assert_eq!(holds, [true, false, false, true, false, false]);
        let next = [0, 12, 18, 29, 31, 32].map(|offset| file.next_data(offset));
        assert_eq!(next, [Some(10), Some(12), Some(30), Some(30), Some(31), None]);
        let strict = HolesAreErrors(file);
        assert_eq!(strict.read_at(&mut all, 12).unwrap(), 3);
        assert!(strict.read_at(&mut all, 20).is_err());
        assert_eq!(strict.read_at(&mut all, 32).unwrap(), 0);
    }
}
