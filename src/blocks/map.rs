//! The map of a block: which pfns its frame holds, and which of its pages are zero and hold nothing.
//! A reader that has the maps needs neither bitmaps nor descriptors, so a cut dump restores exactly.

use super::{Error, varint};
use crate::units::{Pfn, PfnRange};

/// The most pages one block may claim: 2^16, far above what a collector writes, small enough that a
/// forged map costs a reader little.
const MAX_PAGES: u64 = 1 << 16;

/// What the pages of a run are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunKind {
    /// Their bytes follow in the block's frame, in pfn order.
    Data,
    /// All their bytes are zero; the frame holds nothing of them.
    Zero,
}

/// Neighbouring pages of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRun {
    /// The pfns; never empty in a parsed map.
    pub pages: PfnRange,
    /// Data or zero.
    pub kind: RunKind,
}

/// The map of one block: runs in ascending, not overlapping pfn order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockMap {
    /// Where the first data page is in the KDUMP file, in bytes; the others follow without a gap.
    pub data_offset: u64,
    /// The runs.
    pub runs: Vec<PageRun>,
}

impl BlockMap {
    /// Tag of the frame that holds a map.
    pub const TAG: [u8; 4] = *b"VCEb";

    /// Adds one page after the last; joins the last run where it fits.
    pub fn push(&mut self, pfn: Pfn, kind: RunKind) {
        self.push_run(PfnRange { start: pfn, end: pfn.saturating_add(1) }, kind);
    }

    /// Adds pages after the last; they join the last run where they fit.
    pub fn push_run(&mut self, pages: PfnRange, kind: RunKind) {
        match self.runs.last_mut() {
            Some(run) if run.pages.end == pages.start && run.kind == kind => run.pages.end = pages.end,
            _ => self.runs.push(PageRun { pages, kind }),
        }
    }

    /// Number of pages of a kind.
    #[must_use]
    pub fn count(&self, kind: RunKind) -> u64 {
        self.runs.iter().filter(|run| run.kind == kind).map(|run| run.pages.count()).sum()
    }

    /// Whether the map names no page at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Appends the map as LEB128 numbers: data offset, first pfn, then for each run
    /// `2 × pages + (1 if zero)` and, before every run but the first, the gap to it.
    /// `docs/format.md` section 3.2.
    pub fn encode(&self, out: &mut Vec<u8>) {
        varint::push(out, self.data_offset);
        let mut next = 0;
        for run in &self.runs {
            varint::push(out, run.pages.start.0 - next);
            varint::push(out, run.pages.count() << 1 | u64::from(run.kind == RunKind::Zero));
            next = run.pages.end.0;
        }
    }

    /// Reads a map back.
    ///
    /// # Errors
    /// [`Error::Malformed`] when numbers are cut, a run is empty or repeats a pfn's successor without
    /// need, pfns leave 64 bits, or there are more than 65536 pages.
    pub fn parse(mut bytes: &[u8]) -> Result<BlockMap, Error> {
        let malformed = |why: &str| Error::malformed("map of a block", why);
        let take = |bytes: &mut &[u8]| varint::take(bytes).ok_or_else(|| malformed("a number is cut"));
        let mut map = BlockMap { data_offset: take(&mut bytes)?, runs: Vec::new() };
        let (mut next, mut pages) = (0u64, 0u64);
        while !bytes.is_empty() {
            let start = next.checked_add(take(&mut bytes)?).ok_or_else(|| malformed("a pfn overflows"))?;
            let coded = take(&mut bytes)?;
            let (count, kind) = (coded >> 1, if coded & 1 == 1 { RunKind::Zero } else { RunKind::Data });
            if count == 0 {
                return Err(malformed("a run is empty"));
            }
            pages = pages.saturating_add(count);
            if pages > MAX_PAGES {
                return Err(malformed("it names more than 65536 pages"));
            }
            next = start.checked_add(count).ok_or_else(|| malformed("a pfn overflows"))?;
            map.runs.push(PageRun { pages: PfnRange::new(start, next), kind });
        }
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> BlockMap {
        let mut map = BlockMap { data_offset: 0x12_3456_7000, runs: Vec::new() };
        for pfn in [5, 6, 7, 9] {
            map.push(Pfn(pfn), RunKind::Data);
        }
        map.push(Pfn(10), RunKind::Zero);
        map.push(Pfn(1 << 40), RunKind::Data);
        map
    }

    #[test]
    fn pages_join_into_runs() {
        let map = sample();
        assert_eq!(map.runs.len(), 4);
        assert_eq!((map.count(RunKind::Data), map.count(RunKind::Zero)), (5, 1));
    }

    #[test]
    fn a_map_comes_back() {
        for map in [sample(), BlockMap::default(), BlockMap { data_offset: u64::MAX, runs: Vec::new() }] {
            let mut bytes = Vec::new();
            map.encode(&mut bytes);
            assert_eq!(BlockMap::parse(&bytes).unwrap(), map);
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_format() {
        let mut map = BlockMap { data_offset: 0x80, runs: Vec::new() };
        map.push(Pfn(3), RunKind::Data);
        map.push(Pfn(5), RunKind::Zero);
        let mut bytes = Vec::new();
        map.encode(&mut bytes);
        assert_eq!(bytes, [0x80, 0x01, 3, 1 << 1, 1, 1 << 1 | 1]);
    }

    #[test]
    fn lies_are_refused() {
        for bad in [
            &[][..],
            &[0, 1],
            &[0, 1, 0],
            &[0, 1, 0x80],
            &[0, 1, 0xff, 0xff, 0xff, 0xff, 0x0f],
            &[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 4],
        ] {
            assert!(BlockMap::parse(bad).is_err(), "{bad:x?}");
        }
    }
}
