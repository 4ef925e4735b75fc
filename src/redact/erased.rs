//! A dump's memory and notes with ranges overwritten by `X`, as makedumpfile overwrites what it erases: nobody takes that
//! for data.

use super::{Plan, record};
use crate::read_at::ReadAt;
use crate::vmcore::{Pages, PhysSource, Vmcore};
use std::io;
use std::ops::Range;

/// What is written over secrets. Source: makedumpfile `erase_info.c`.
const ERASED: u8 = b'X';
/// Notes with floating-point and vector registers: `NT_PRFPREG`; of s390x `NT_S390_VXRS_LOW` and `_HIGH`. Source: Linux
/// `include/uapi/linux/elf.h`.
const VECTOR_NOTES: [u32; 3] = [2, 0x309, 0x30a];

/// Ranges of physical memory, bytes: ascending, apart from each other.
pub(super) struct Ranges(Vec<Range<u64>>);

impl Ranges {
    /// The union of ranges in any order.
    pub(super) fn of(ranges: impl Iterator<Item = Range<u64>>) -> Ranges {
        let mut sorted: Vec<Range<u64>> = ranges.filter(|range| !range.is_empty()).collect();
        sorted.sort_by_key(|range| range.start);
        let mut joined: Vec<Range<u64>> = Vec::new();
        for range in sorted {
            match joined.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => joined.push(range),
            }
        }
        Ranges(joined)
    }

    /// Overwrites what of `bytes`, which are at `offset`, is in a range.
    fn erase(&self, bytes: &mut [u8], offset: u64) {
        let end = offset.saturating_add(bytes.len() as u64);
        let first = self.0.partition_point(|range| range.end <= offset);
        for range in self.0[first..].iter().take_while(|range| range.start < end) {
            let place = |at: u64| usize::try_from(at.clamp(offset, end) - offset).unwrap_or(bytes.len());
            let (from, to) = (place(range.start), place(range.end));
            bytes[from..to].fill(ERASED);
        }
    }
}

/// Memory that reads as `X` in some ranges.
struct Erased {
    source: Box<dyn PhysSource>,
    ranges: Ranges,
}

impl ReadAt for Erased {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let done = self.source.read_at(out, offset)?;
        self.ranges.erase(&mut out[..done], offset);
        Ok(done)
    }
}

impl PhysSource for Erased {
    fn len(&self) -> u64 {
        self.source.len()
    }
}

/// See [`Plan::apply`].
pub(super) fn apply(plan: Plan, pages: Pages) -> Pages {
    let mut origin = pages.origin;
    origin.eraseinfo.extend_from_slice(&plan.eraseinfo);
    let record = record::note(pages.byte_order, &plan.eraseinfo);
    let streamed = (!plan.device_dumps).then_some(pages.notes);
    let notes = Box::new(Notes { kept: plan.notes, streamed, record });
    let source = Box::new(Erased { source: pages.source, ranges: plan.ranges });
    Pages { notes, origin, source, ..pages }
}

/// The notes of a vmcore that are kept in memory, those with vector registers overwritten where that is asked for.
pub(super) fn kept_notes(vmcore: &Vmcore, registers: bool) -> Vec<u8> {
    let notes = vmcore.notes();
    let mut bytes = notes.bytes().to_vec();
    for note in notes.list().iter().filter(|note| registers && VECTOR_NOTES.contains(&note.kind)) {
        bytes[note.desc.clone()].fill(ERASED);
    }
    bytes
}

/// Notes one after the other: those that are kept in memory, the large ones as they are, and the record of what was erased.
struct Notes {
    kept: Vec<u8>,
    /// The notes before the redaction, of which those after the kept ones count; absent where they are left out.
    streamed: Option<Box<dyn PhysSource>>,
    record: Vec<u8>,
}

impl Notes {
    fn large(&self) -> u64 {
        let all = self.streamed.as_ref().map_or(0, |notes| notes.len());
        all.saturating_sub(self.kept.len() as u64)
    }
}

impl ReadAt for Notes {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let (kept, large) = (self.kept.len() as u64, self.large());
        let copy = |from: &[u8], at: u64, out: &mut [u8]| {
            let rest = usize::try_from(at).ok().and_then(|at| from.get(at..)).unwrap_or_default();
            let len = rest.len().min(out.len());
            out[..len].copy_from_slice(&rest[..len]);
            len
        };
        match &self.streamed {
            _ if offset < kept => Ok(copy(&self.kept, offset, out)),
            Some(notes) if offset - kept < large => {
                let room = usize::try_from(large - (offset - kept)).unwrap_or(usize::MAX).min(out.len());
                notes.read_at(&mut out[..room], offset)
            }
            _ => Ok(copy(&self.record, offset - kept - large, out)),
        }
    }
}

impl PhysSource for Notes {
    fn len(&self) -> u64 {
        (self.kept.len() as u64).saturating_add(self.large()).saturating_add(self.record.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_joined_and_overwritten_wherever_a_read_begins() {
        let ranges = Ranges::of([30..40, 10..12, 11..20, 20..22, 5..5].into_iter());
        assert_eq!(ranges.0, [10..22, 30..40]);
        for from in 0..45_u64 {
            for len in 0..45 {
                let mut bytes = vec![0; len];
                ranges.erase(&mut bytes, from);
                for (byte, at) in bytes.iter().zip(from..) {
                    let inside = (10..22).contains(&at) || (30..40).contains(&at);
                    assert_eq!(*byte == ERASED, inside, "{at} of {from} {len}");
                }
            }
        }
        let mut bytes = [0; 8];
        Ranges::of(std::iter::once(0..u64::MAX)).erase(&mut bytes, u64::MAX - 3);
        assert_eq!(bytes[..3], [ERASED; 3]);
    }

    #[test]
    fn notes_are_followed_by_the_large_ones_and_the_record() {
        let original: Vec<u8> = [vec![1; 8], vec![2; 8]].concat();
        for (streamed, expected) in [(true, "11111111XXXX"), (false, "11111111XXXX")] {
            let large: Option<Box<dyn PhysSource>> = streamed.then(|| Box::new(original.clone()) as _);
            let notes = Notes { kept: vec![1; 8], streamed: large, record: vec![b'X'; 4] };
            let mut all = Vec::new();
            while (all.len() as u64) < notes.len() {
                let mut byte = [0; 3];
                let done = notes.read_at(&mut byte, all.len() as u64).unwrap();
                all.extend(&byte[..done]);
            }
            let shown: String = all
                .iter()
                .filter(|byte| **byte != 2)
                .map(|byte| if *byte == 1 { '1' } else { 'X' })
                .collect();
            assert_eq!(shown, expected);
            assert_eq!(all.contains(&2), streamed);
        }
    }
}
