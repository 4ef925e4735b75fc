//! A set of pages, kept as ranges: ascending, disjoint, and with a gap between each two. Memory comes in few ranges
//! however large it is. Also the two ways from bytes to pages: those that are touched, and those that are filled.

use super::{PageSize, Pfn, PfnRange};
use std::iter::Copied;
use std::ops::Range;
use std::slice::Iter;

/// Pages, as merged, ascending, half-open ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PfnSet {
    ranges: Vec<PfnRange>,
}

impl PfnSet {
    /// The pages of which pieces of memory hold at least one byte. A piece is its first byte and its length, both in
    /// bytes; it must not leave the address space.
    #[must_use]
    pub fn touched(pieces: impl Iterator<Item = (u64, u64)>, page: PageSize) -> PfnSet {
        let shift = page.shift();
        pieces
            .filter(|&(_, size)| size > 0)
            .map(|(start, size)| PfnRange::new(start >> shift, ((start + (size - 1)) >> shift) + 1))
            .collect()
    }

    /// The pages of which pieces of memory, put together, hold every byte. A piece is a range of bytes.
    #[must_use]
    pub fn filled(mut pieces: Vec<Range<u64>>, page: PageSize) -> PfnSet {
        merge(&mut pieces);
        let whole =
            |piece: &Range<u64>| PfnRange::new(piece.start.div_ceil(page.bytes()), piece.end >> page.shift());
        pieces.iter().map(whole).collect()
    }

    /// Adds pages. Constant time after the last range, else linear in the number of ranges: many ranges in no order
    /// are collected instead.
    pub fn insert(&mut self, range: PfnRange) {
        if range.is_empty() {
            return;
        }
        let from = match self.ranges.last() {
            Some(last) if last.end >= range.start => self.ranges.partition_point(|r| r.end < range.start),
            _ => self.ranges.len(),
        };
        let joined = self.ranges[from..].partition_point(|r| r.start <= range.end);
        let Some((first, last)) =
            self.ranges[from..from + joined].first().zip(self.ranges[..from + joined].last())
        else {
            return self.ranges.insert(from, range);
        };
        let (start, end) = (first.start.min(range.start), last.end.max(range.end));
        self.ranges[from] = PfnRange { start, end };
        self.ranges.drain(from + 1..from + joined);
    }

    /// Whether a page is in the set.
    #[must_use]
    pub fn contains(&self, pfn: Pfn) -> bool {
        let at = self.after(pfn);
        self.ranges.get(at).is_some_and(|range| range.contains(pfn))
    }

    /// The parts of `range` that are in the set, ascending; none of them is empty.
    pub fn intersect(&self, range: PfnRange) -> impl Iterator<Item = PfnRange> {
        let parts = self.ranges[self.after(range.start)..].iter();
        parts.map(move |part| part.intersect(range)).take_while(|part| !part.is_empty())
    }

    /// The pages of this set that are not in `other`.
    #[must_use]
    pub fn without(&self, other: &PfnSet) -> PfnSet {
        let mut left = Vec::new();
        for range in self {
            let mut start = range.start;
            for taken in other.intersect(range) {
                left.push(PfnRange { start, end: taken.start });
                start = taken.end;
            }
            left.push(PfnRange { start, end: range.end });
        }
        left.retain(|range| !range.is_empty());
        PfnSet { ranges: left }
    }

    /// Where the range is that ends after `pfn`; the number of ranges when there is none.
    fn after(&self, pfn: Pfn) -> usize {
        self.ranges.partition_point(|range| range.end <= pfn)
    }

    /// Number of pages.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.iter().map(PfnRange::count).sum()
    }

    /// Whether no page is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> Copied<Iter<'_, PfnRange>> {
        self.ranges.iter().copied()
    }

    /// The ranges, ascending.
    #[must_use]
    pub fn ranges(&self) -> &[PfnRange] {
        &self.ranges
    }

    /// The ranges, ascending, without a copy.
    #[must_use]
    pub fn into_ranges(self) -> Vec<PfnRange> {
        self.ranges
    }
}

/// Ranges in any order, that may overlap or be empty. Takes `n log n` time for `n` ranges.
impl From<Vec<PfnRange>> for PfnSet {
    fn from(ranges: Vec<PfnRange>) -> PfnSet {
        // Both conversions reuse the vector's memory.
        let mut spans: Vec<_> = ranges.into_iter().map(|range| range.start.0..range.end.0).collect();
        merge(&mut spans);
        PfnSet { ranges: spans.into_iter().map(|span| PfnRange::new(span.start, span.end)).collect() }
    }
}

/// As from a vector: in any order.
impl FromIterator<PfnRange> for PfnSet {
    fn from_iter<I: IntoIterator<Item = PfnRange>>(ranges: I) -> PfnSet {
        ranges.into_iter().collect::<Vec<_>>().into()
    }
}

impl<'a> IntoIterator for &'a PfnSet {
    type Item = PfnRange;
    type IntoIter = Copied<Iter<'a, PfnRange>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Sorts half-open ranges of pages or of bytes, drops empty ones and joins those that overlap or touch.
pub(crate) fn merge(spans: &mut Vec<Range<u64>>) {
    spans.retain(|span| !span.is_empty());
    spans.sort_unstable_by_key(|span| span.start);
    spans.dedup_by(|next, last| {
        let joins = next.start <= last.end;
        if joins {
            last.end = last.end.max(next.end);
        }
        joins
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(pairs: &[(u64, u64)]) -> Vec<PfnRange> {
        pairs.iter().map(|&(start, end)| PfnRange::new(start, end)).collect()
    }

    fn set(pairs: &[(u64, u64)]) -> PfnSet {
        ranges(pairs).into()
    }

    /// Pages 0 to 11 as bits.
    fn from_bits(bits: u32) -> PfnSet {
        (0..12).filter(|bit| bits >> bit & 1 == 1).map(|bit| PfnRange::new(bit, bit + 1)).collect()
    }

    fn to_bits(set: &PfnSet) -> u32 {
        set.iter().flat_map(PfnRange::iter).map(|pfn| 1 << pfn.0).sum()
    }

    #[test]
    fn ranges_in_any_order_are_merged() {
        let merged = set(&[(8, 10), (1, 2), (4, 12), (2, 3), (20, 20)]);
        assert_eq!(merged.ranges(), ranges(&[(1, 3), (4, 12)]));
        assert_eq!((merged.count(), merged.is_empty(), set(&[(7, 7)]).is_empty()), (10, false, true));
        assert!(merged.contains(Pfn(4)) && !merged.contains(Pfn(3)) && !merged.contains(Pfn(12)));
        let inverted = PfnRange { start: Pfn(9), end: Pfn(4) };
        assert!(PfnSet::from(vec![inverted]).is_empty());
    }

    #[test]
    fn every_set_of_twelve_pages_is_as_its_bits() {
        for bits in 0..1 << 12 {
            let set = from_bits(bits);
            assert_eq!(to_bits(&set), bits);
            assert_eq!(set.count(), u64::from(bits.count_ones()));
            // A gap between each two.
            assert!(set.ranges().windows(2).all(|pair| pair[0].end < pair[1].start), "{set:?}");
            for (start, end) in [(0, 12), (3, 7), (5, 5), (4, 20)] {
                let window = PfnRange::new(start, end);
                let mask = (start..end).map(|bit| 1_u32 << bit).sum::<u32>();
                let inside = set.intersect(window).collect::<Vec<_>>();
                assert!(inside.iter().all(|range| !range.is_empty()));
                assert_eq!(to_bits(&inside.into()), bits & mask);
                let other = from_bits(mask & 0xfff);
                assert_eq!(to_bits(&set.without(&other)), bits & !mask);
                let mut grown = set.clone();
                grown.insert(window);
                assert_eq!(grown, set.iter().chain([window]).collect());
            }
        }
    }

    #[test]
    fn touched_pages_count_fractions() {
        let pieces = [(0x2fff, 2), (0x1000, 0x1000), (0x8000, 0), (0x9000, 1)];
        assert_eq!(PfnSet::touched(pieces.into_iter(), PageSize::K4), set(&[(1, 4), (9, 10)]));
        let top = PfnSet::touched([(u64::MAX - 1, 1)].into_iter(), PageSize::K4);
        assert_eq!(top, set(&[(u64::MAX >> 12, (u64::MAX >> 12) + 1)]));
    }

    #[test]
    fn pieces_fill_a_page_together() {
        let pieces = vec![0x2800..0x3000, 0x1001..0x2800, 0x5000..0x5fff, 0x7000..0x9000];
        assert_eq!(PfnSet::filled(pieces, PageSize::K4), set(&[(2, 3), (7, 9)]));
    }
}
