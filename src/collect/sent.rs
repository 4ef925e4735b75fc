//! What was sent ahead of its turn, kept small until its turn comes: which pages (`SentRanges`, beside the source of
//! blocks) and where their bytes went (`SentPages`, beside the assembler). Both are filled and read in pfn order.

use super::early::{BATCHES, Batch};
use crate::blocks::{BlockMap, RunKind, varint};
use crate::units::{Pfn, PfnRange};

/// Where a page went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Its bytes are at this place in the KDUMP file.
    Data(u64),
    /// It is zero.
    Zero,
    /// It could not be read and is nowhere.
    Missing,
}

/// The pages of each batch, as LEB128 numbers: gap, count. A few bytes for a run of pages.
#[derive(Default)]
pub(super) struct SentRanges {
    batches: [Ranges; BATCHES.len()],
}

#[derive(Default)]
struct Ranges {
    bytes: Vec<u8>,
    end: Pfn,
    /// How many bytes were read, up to which pfn, and what was read but not used up.
    read: usize,
    reached: Pfn,
    current: PfnRange,
}

impl SentRanges {
    /// Adds pages after those of the same batch.
    pub(super) fn push(&mut self, batch: Batch, range: PfnRange) {
        let ranges = &mut self.batches[batch as usize];
        varint::push(&mut ranges.bytes, range.start.0 - ranges.end.0);
        varint::push(&mut ranges.bytes, range.count());
        ranges.end = range.end;
    }

    /// Bytes that it takes.
    pub(super) fn len(&self) -> usize {
        self.batches.iter().map(|ranges| ranges.bytes.len()).sum()
    }

    /// Takes the lowest pages that were not taken yet, as far as they are before `end`. No page is in two batches.
    pub(super) fn take(&mut self, end: Pfn) -> Option<(Batch, PfnRange)> {
        let lowest =
            BATCHES.into_iter().filter_map(|batch| Some((self.batches[batch as usize].peek()?, batch)));
        let (range, batch) = lowest.min_by_key(|(range, _)| range.start)?;
        let taken = PfnRange::new(range.start.0, range.end.min(end).0);
        self.batches[batch as usize].current.start = taken.end;
        (!taken.is_empty()).then_some((batch, taken))
    }
}

impl Ranges {
    fn peek(&mut self) -> Option<PfnRange> {
        if self.current.is_empty() {
            let mut rest = self.bytes.get(self.read..)?;
            let start = self.reached.0 + varint::take(&mut rest)?;
            self.current = PfnRange::new(start, start + varint::take(&mut rest)?);
            self.reached = self.current.end;
            self.read = self.bytes.len() - rest.len();
        }
        Some(self.current)
    }
}

/// The places of one batch's pages: two bits each, since their data are one after the other.
#[derive(Default)]
pub(super) struct SentPages {
    kinds: Vec<u8>,
    count: usize,
    taken: usize,
    next: u64,
}

impl SentPages {
    const PER_BYTE: usize = 4;

    /// Adds the pages of a block after those before: which were asked for, and what its map holds of them.
    pub(super) fn push(&mut self, asked: &[PfnRange], map: &BlockMap) {
        if self.count == 0 {
            self.next = map.data_offset;
        }
        let mut found =
            map.runs.iter().flat_map(|run| run.pages.iter().map(|pfn| (pfn, run.kind))).peekable();
        for pfn in asked.iter().flat_map(|range| range.iter()) {
            let kind = match found.next_if(|&(found, _)| found == pfn) {
                Some((_, RunKind::Data)) => 0,
                Some((_, RunKind::Zero)) => 1,
                None => 2,
            };
            if self.count.is_multiple_of(Self::PER_BYTE) {
                self.kinds.push(0);
            }
            if let Some(last) = self.kinds.last_mut() {
                *last |= kind << (self.count % Self::PER_BYTE * 2);
            }
            self.count += 1;
        }
    }

    /// Takes the next page's place; `None` when no page is left.
    pub(super) fn take(&mut self, page_bytes: u64) -> Option<Place> {
        if self.taken == self.count {
            return None;
        }
        let kinds = self.kinds.get(self.taken / Self::PER_BYTE)?;
        let kind = kinds >> (self.taken % Self::PER_BYTE * 2) & 3;
        self.taken += 1;
        Some(match kind {
            0 => {
                self.next += page_bytes;
                Place::Data(self.next - page_bytes)
            }
            1 => Place::Zero,
            _ => Place::Missing,
        })
    }

    /// How many pages were not taken yet.
    pub(super) fn left(&self) -> u64 {
        (self.count - self.taken) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> PfnRange {
        PfnRange::new(start, end)
    }

    #[test]
    fn ranges_come_back_in_order_whatever_their_batch() {
        let mut sent = SentRanges::default();
        sent.push(Batch::Image, range(500, 600));
        sent.push(Batch::Kernel, range(3, 4));
        sent.push(Batch::Kernel, range(490, 500));
        sent.push(Batch::Kernel, range(1 << 40, (1 << 40) + 9));
        sent.push(Batch::Text, range(400, 480));
        let mut found = Vec::new();
        for end in [450, 550, 551, u64::MAX] {
            found.extend(std::iter::from_fn(|| sent.take(Pfn(end))));
            found.push((Batch::Image, range(0, 0)));
        }
        let stop = (Batch::Image, range(0, 0));
        let expected = [
            (Batch::Kernel, range(3, 4)),
            (Batch::Text, range(400, 450)),
            stop,
            (Batch::Text, range(450, 480)),
            (Batch::Kernel, range(490, 500)),
            (Batch::Image, range(500, 550)),
            stop,
            (Batch::Image, range(550, 551)),
            stop,
            (Batch::Image, range(551, 600)),
            (Batch::Kernel, range(1 << 40, (1 << 40) + 9)),
            stop,
        ];
        assert_eq!(found, expected);
        assert_eq!(sent.len(), 3 + 2 + 3 + 7 + 3);
    }

    #[test]
    fn places_come_back() {
        let mut map = BlockMap { data_offset: 0x5000, runs: Vec::new() };
        map.push_run(range(3, 5), RunKind::Data);
        map.push_run(range(6, 8), RunKind::Zero);
        map.push_run(range(20, 21), RunKind::Data);
        let mut sent = SentPages::default();
        sent.push(&[range(3, 8), range(19, 21)], &map);
        let mut next = BlockMap { data_offset: 0x8000, runs: Vec::new() };
        next.push_run(range(30, 31), RunKind::Data);
        sent.push(&[range(30, 31)], &next);
        assert_eq!(sent.left(), 8);
        let found: Vec<_> = std::iter::from_fn(|| sent.take(0x1000)).collect();
        let (data, zero, missing) = (Place::Data, Place::Zero, Place::Missing);
        let expected = [data(0x5000), data(0x6000), missing, zero, zero, missing, data(0x7000), data(0x8000)];
        assert_eq!(found, expected);
        assert_eq!(sent.left(), 0);
    }
}
