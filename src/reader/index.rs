//! Which page lies in which block: all maps of a dump in pfn order, from the index pieces that the tail
//! leads to, or from the stream itself when there is no tail. 32 bytes for every run of pages; the maps
//! in the stream take at least two bytes each, so memory is bounded by the dump's own size.

use super::stream::{BlockPlace, Stream};
use super::{Error, Held};
use crate::blocks::{BlockMap, Frame, IndexPiece, RunKind, Splitter, Tail};
use crate::units::{Pfn, PfnRange};

/// Neighbouring pages of one block.
#[derive(Clone, Copy)]
pub struct Run {
    start: u64,
    /// How many pages come before it in the whole dump; set when all runs are sorted.
    rank: u64,
    /// A map has at most 65536 pages.
    count: u32,
    /// Which of its block's data pages is the first.
    first: u32,
    block: u32,
    kind: RunKind,
}

impl Run {
    /// Its pfns.
    pub fn pages(&self) -> PfnRange {
        PfnRange::new(self.start, self.start + u64::from(self.count))
    }
}

/// A page that was found.
#[derive(Clone, Copy)]
pub struct Found {
    /// Data or zero.
    pub kind: RunKind,
    /// Number of its block.
    pub block: u32,
    /// Which of the block's data pages it is.
    pub nth: u64,
}

/// All pages of a dump.
#[derive(Default)]
pub struct PageIndex {
    blocks: Vec<BlockPlace>,
    data_pages: Vec<u32>,
    runs: Vec<Run>,
}

impl PageIndex {
    /// From the chain of index pieces.
    ///
    /// # Errors
    /// A piece is damaged, or does not lie before the one that names it: no chain of a collector does that,
    /// and so every byte of the stream is read at most once.
    pub fn by_tail(stream: &Stream, tail: &Tail) -> Result<PageIndex, Error> {
        let mut index = PageIndex::default();
        let (mut next, mut before) = (tail.last_index, stream.len());
        while let Some(at) = next {
            let (frame, end) = stream.read_frame(at)?;
            let Frame::Tagged { tag: IndexPiece::TAG, content } = frame else {
                return Err(Error::malformed(format!("no index piece lies at byte {at:#x}")));
            };
            if end > before {
                return Err(Error::malformed("the index pieces form no chain"));
            }
            let piece = IndexPiece::parse(&content)?;
            for entry in &piece.entries {
                index.push(BlockPlace { offset: entry.offset, len: entry.len }, &entry.map)?;
            }
            (next, before) = (piece.previous, at);
        }
        index.sort()?;
        Ok(index)
    }

    /// From the frames themselves, front to back. Chunks that are damaged are passed over with the blocks
    /// that lie in them.
    pub fn by_reading_through(stream: &Stream) -> Result<PageIndex, Error> {
        let mut blocks = WholeBlocks::default();
        let mut splitter = Splitter::default();
        let mut chunk = Vec::new();
        let mut position = 0;
        for number in 0..stream.chunks() {
            match stream.read_chunk(number, &mut chunk) {
                Ok(()) => splitter.feed(&chunk),
                Err(Error::Stream(_)) => {
                    blocks.open = None;
                    splitter.skip_to(position + crate::crypt::stream::CHUNK_SIZE as u64);
                }
                Err(error) => return Err(error),
            }
            position += crate::crypt::stream::CHUNK_SIZE as u64;
            while let Some((at, len, frame)) = splitter.next_frame()? {
                blocks.take(at, len as u64, &frame)?;
            }
        }
        blocks.index.sort()?;
        Ok(blocks.index)
    }

    fn push(&mut self, place: BlockPlace, map: &BlockMap) -> Result<(), Error> {
        let too_many = || Error::malformed("it has more than 2^32 blocks");
        let block = u32::try_from(self.blocks.len()).map_err(|_| too_many())?;
        let mut first = 0;
        for run in &map.runs {
            let count = u32::try_from(run.pages.count()).map_err(|_| too_many())?;
            self.runs.push(Run { start: run.pages.start.0, rank: 0, count, first, block, kind: run.kind });
            first += if run.kind == RunKind::Data { count } else { 0 };
        }
        self.blocks.push(place);
        self.data_pages.push(first);
        Ok(())
    }

    /// Puts the runs in pfn order and counts.
    fn sort(&mut self) -> Result<(), Error> {
        self.runs.sort_unstable_by_key(|run| run.start);
        let mut next = Pfn(0);
        let mut rank = 0;
        for run in &mut self.runs {
            if run.pages().start < next {
                return Err(Error::malformed(format!("{} comes in two blocks", run.pages().start)));
            }
            next = run.pages().end;
            run.rank = rank;
            rank += u64::from(run.count);
        }
        Ok(())
    }

    /// Whether every page is one of `all`.
    pub fn check(&self, all: PfnRange) -> Result<(), Error> {
        match self.runs.last().filter(|run| run.pages().end > all.end) {
            Some(run) => Err(Error::malformed(format!("{} lies outside of the dump", run.pages().start))),
            None => Ok(()),
        }
    }

    /// Finds a page.
    pub fn find(&self, pfn: Pfn) -> Option<Found> {
        let run = self.runs.get(self.first_run_behind(pfn)).filter(|run| run.pages().contains(pfn))?;
        let nth = u64::from(run.first) + (pfn.0 - run.start);
        Some(Found { kind: run.kind, block: run.block, nth })
    }

    /// The page with `rank` pages before it.
    pub fn by_rank(&self, rank: u64) -> Option<Pfn> {
        let at = self.runs.partition_point(|run| run.rank + u64::from(run.count) <= rank);
        let run = self.runs.get(at)?;
        Some(Pfn(run.start + (rank - run.rank)))
    }

    /// Number of the first run that ends behind a pfn.
    pub fn first_run_behind(&self, pfn: Pfn) -> usize {
        self.runs.partition_point(|run| run.pages().end <= pfn)
    }

    /// All runs, ascending.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Where a block lies.
    pub fn block(&self, number: u32) -> BlockPlace {
        let none = BlockPlace { offset: 0, len: 0 };
        self.blocks.get(number as usize).copied().unwrap_or(none)
    }

    /// How many pages with bytes a block has.
    pub fn pages_of(&self, number: u32) -> u64 {
        self.data_pages.get(number as usize).copied().unwrap_or(0).into()
    }

    /// Counts.
    pub fn held(&self) -> Held {
        let data = self.data_pages.iter().map(|&pages| u64::from(pages)).sum();
        Held { data, zero: self.pages() - data, blocks: self.blocks.len() as u64 }
    }

    /// Number of pages.
    pub fn pages(&self) -> u64 {
        self.runs.last().map_or(0, |run| run.rank + u64::from(run.count))
    }
}

/// Finds whole blocks among frames.
#[derive(Default)]
struct WholeBlocks {
    index: PageIndex,
    open: Option<Open>,
}

/// A map whose data frames are still to come.
struct Open {
    offset: u64,
    map: BlockMap,
    frames: u32,
}

impl WholeBlocks {
    fn take(&mut self, at: u64, len: u64, frame: &Frame) -> Result<(), Error> {
        match (frame, self.open.take()) {
            (Frame::Tagged { tag: BlockMap::TAG, content }, _) => {
                let map = BlockMap::parse(content)?;
                if map.count(RunKind::Data) == 0 {
                    return self.index.push(BlockPlace { offset: at, len }, &map);
                }
                self.open = Some(Open { offset: at, map, frames: 0 });
            }
            (Frame::Data(_), Some(open)) if open.frames == 0 => {
                self.open = Some(Open { frames: 1, ..open });
            }
            (Frame::Data(_), Some(open)) => {
                let place = BlockPlace { offset: open.offset, len: at + len - open.offset };
                self.index.push(place, &open.map)?;
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(blocks: &[&[(u64, u64, RunKind)]]) -> Result<PageIndex, Error> {
        let mut index = PageIndex::default();
        for (number, runs) in blocks.iter().enumerate() {
            let mut map = BlockMap::default();
            for &(start, end, kind) in *runs {
                (start..end).for_each(|pfn| map.push(Pfn(pfn), kind));
            }
            index.push(BlockPlace { offset: number as u64, len: 1 }, &map)?;
        }
        index.sort()?;
        Ok(index)
    }

    #[test]
    fn pages_are_found_whatever_the_order_of_blocks() {
        use RunKind::{Data, Zero};
        let index = index(&[&[(10, 12, Data), (20, 21, Zero), (21, 22, Data)], &[(3, 4, Data)]]).unwrap();
        let found = |pfn| index.find(Pfn(pfn)).map(|found| (found.block, found.nth, found.kind));
        assert_eq!(found(11), Some((0, 1, Data)));
        assert_eq!(found(20), Some((0, 2, Zero)));
        assert_eq!(found(21), Some((0, 2, Data)));
        assert_eq!(found(3), Some((1, 0, Data)));
        assert_eq!([found(2), found(4), found(12), found(22)], [None; 4]);
        let ranked: Vec<_> = (0..6).map(|rank| index.by_rank(rank).map(|pfn| pfn.0)).collect();
        assert_eq!(ranked, [Some(3), Some(10), Some(11), Some(20), Some(21), None]);
        assert_eq!(index.held(), Held { data: 4, zero: 1, blocks: 2 });
        assert!(index.check(PfnRange::new(0, 22)).is_ok());
        assert!(index.check(PfnRange::new(0, 21)).is_err());
    }

    #[test]
    fn a_page_in_two_blocks_is_refused() {
        assert!(index(&[&[(3, 9, RunKind::Zero)], &[(8, 10, RunKind::Data)]]).is_err());
    }
}
